"""The section on label randomisation: gates, verdicts, measures, true against permuted side by side. No torch."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from suite.metrics.statistics import wilson_interval
from suite.report.figures import legend, methods_down
from suite.report.randomised import BAD, GOOD, HEADERS, SENTENCES, WITHHELD, draw_cascades, stage_similarities
from suite.report.sections import Plot, Section, Tables, groups, records, with_ends
from suite.report.style import INK, PALETTE, Figure, canvas
from suite.report.words import as_words
from suite.sanity import verdict as judging

CHANCE = 0.1
TEXTS = {
    "labels_verdicts": (
        "Verdicts",
        "S is 0 for a map that stays the same when the network has learned permuted labels, and 1 for one that "
        "shares no more with it than another photo's map does. PASS: its 95% interval over photos and seeds lies "
        "above 0.5, which is necessary, not sufficient: it says nothing of whether the map is right. Kept, pairs and "
        "stability: as in sanity. No verdict is given where a network did not learn what it should have: see the "
        "gates.",
    ),
    "labels_gates": (
        "What the networks learned",
        "The network on permuted labels must know its training pictures by heart (95%) and nothing else (chance, 10%, "
        "inside the 99% interval of its test accuracy); the one on true labels must be good (95%; the MLP 90%).",
    ),
    "labels_measures": ("Verdicts by measure", "S by every measure, at the default noise."),
    "labels_architectures": (
        "Between architectures",
        "How alike two architectures' maps of the same photo are, both trained on true labels; `null`: another photo.",
    ),
}


def gates(rows: pd.DataFrame) -> pd.DataFrame:
    """What each network has learned, and whether that is what it should."""
    lines = []
    for line in records(rows[rows["kind"] == "gate"]):
        accuracy, labels, pictures = line["value"], line["labels"], line["metric"].removeprefix("accuracy_")
        low, high = wilson_interval(round(accuracy * line["pictures"]), int(line["pictures"]), confidence=0.99)
        needed, held = "", True
        if (labels, pictures) == (judging.PERMUTED, "train"):
            needed, held = "at least 0.95", accuracy >= 0.95
        elif labels == judging.PERMUTED:
            needed, held = "0.10 inside the interval", low <= CHANCE <= high
        elif pictures == "test":
            least = 0.9 if line["block"] == "mlp" else 0.95
            needed, held = f"at least {least}", accuracy >= least
        gate = {"model": line["model"], "labels": labels, "pictures": pictures, "seed": line["draw"]}
        gate |= with_ends("accuracy", accuracy, (low, high)) | {"needed": needed, "held": "yes" if held else "no"}
        lines.append(gate | {"why": f"{labels} labels: {pictures} accuracy {accuracy:.3f}, needed {needed}"})
    return pd.DataFrame(lines)


def tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    """Gates, verdicts, measures, architectures."""
    settings = manifest["config"]["studies"].get("labels")
    if not settings:
        return {}
    learned, verdicts, measures, between = gates(rows), [pd.DataFrame()], [pd.DataFrame()], []
    for model, own in rows[(rows["kind"] != "gate") & (rows["metric"] != "item")].groupby("model", sort=False):
        similarities = judging.arrange(own, float(settings["noise"]))
        overall, by_measure, _ = judging.verdicts(similarities, own)
        failed = learned[(learned["model"] == model) & (learned["held"] == "no")]
        if len(failed):
            overall = overall.assign(verdict=WITHHELD, reason="; ".join(failed["why"]), stability="")
        verdicts.append(_one_stage(model, overall))
        measures.append(_one_stage(model, by_measure))
        for key, architecture, means in stage_similarities(similarities, own):
            if key.order == "architecture":
                line = {"model": model, "method": key.method, "architecture": architecture, "metric": key.metric}
                between.append(line | means)
    tables = {
        "labels_verdicts": pd.concat(verdicts, ignore_index=True),
        "labels_gates": learned.drop(columns="why"),
        "labels_measures": pd.concat(measures, ignore_index=True),
        "labels_architectures": pd.DataFrame(between),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _one_stage(model: Any, table: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of sanity where its two stages are one, in the words of labels."""
    table = table.drop(columns=[c for c in table if str(c).startswith("s_half")])
    names = {c: str(c).replace("_everything", "") for c in table} | {"r_stage": "r_permuted", "draws": "seeds"}
    return pd.concat([pd.Series(model, table.index, name="model"), table.rename(columns=names)], axis=1)


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    table = tables.get("labels_verdicts", pd.DataFrame())
    for model, part in groups(table[~table["control"].astype(bool)] if len(table) else table, "model"):
        text = f"Maps of {model} trained on true and on permuted labels: similarity, "
        text += "beside the noise floor and the null."
        yield Plot(f"labels-{model}", text, partial(_side_by_side, part))


def _side_by_side(table: pd.DataFrame) -> Figure:
    figure, ax = canvas(1.3 + 0.36 * len(table))
    y = range(len(table))
    ax.hlines(y, table["r_null"], table["r_self"], color=INK, lw=1, alpha=0.4)
    marks = {"r_self": "same network, noisy copy", "r_permuted": "permuted labels", "r_null": "another photo"}
    for k, (column, words) in enumerate(marks.items()):
        ax.scatter(table[column], y, s=36, marker="osD"[k], color=PALETTE[k], label=words, zorder=3)
    methods_down(ax, list(table["method"]))
    ax.set_xlabel(f"{as_words('spearman_abs')}: how alike the maps are")
    legend(figure, 3)
    return figure


SECTION = Section(
    study="labels",
    title="Does the map depend on what the labels meant?",
    order=("method", "architecture"),
    question="Does the map depend on the network?",
    texts=TEXTS,
    tables=tables,
    plots=_plots,
    draw=partial(draw_cascades, study="labels", title="True against permuted labels"),
    good=GOOD,
    bad=BAD,
    sentences={
        **SENTENCES,
        judging.PASS: "depends on what was learned.",
        judging.FAIL: "does not follow what was learned enough.",
    },
    headers={**HEADERS, "r_permuted": "r permuted"},
)
