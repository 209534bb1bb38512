"""The section on sharpness: how concentrated the maps are. Pure; no torch, no files."""

from collections.abc import Iterable
from functools import partial

import pandas as pd

from suite.report.figures import draw_parts, legend
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok, summarise
from suite.report.style import Figure, canvas, label
from suite.report.words import as_words

TEXTS = {
    "sharpness": (
        "Sharpness",
        "How concentrated the maps are, with the mean's 95% interval (Student's t). Sharper means a lower entropy, a "
        "higher Gini index, and more mass in the largest connected region. Sharper is not the same as right.",
    ),
}


def sharpness(rows: pd.DataFrame) -> pd.DataFrame:
    """How concentrated the maps are: a mean with its interval for each model, method and measure."""
    return summarise(
        ok(rows),
        ["metric", "method", "model"],
        lambda group: {"control": bool(group["control"].any())} | mean_with_interval("mean", group["value"]),
    )


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for metric, table in groups(tables.get("sharpness", pd.DataFrame()), "metric"):
        text = f"{as_words(metric).capitalize()} of the maps: mean and 95% interval."
        yield Plot(f"sharpness-{metric}", text, partial(_sharpness, table, metric))


def _sharpness(table: pd.DataFrame, metric: str) -> Figure:
    methods, models = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["model"]))
    figure, ax = canvas(1.4 + 0.16 * len(methods) * (1.5 + len(models)))
    draw_parts(ax, methods, {label(model): table[table["model"] == model] for model in models})
    ax.set_xlabel(f"{as_words(metric)}: mean over photos and 95% interval")
    legend(figure, 2)
    return figure


SECTION = Section(
    page="studies/comparison",
    study="sharpness",
    title="How concentrated are the maps?",
    texts=TEXTS,
    tables=lambda rows, manifest: {"sharpness": sharpness(rows)},
    plots=_plots,
    headers={"mean": "mean [95%]"},
)
