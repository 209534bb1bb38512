"""The section on label randomisation: gates, verdicts, measures, true against permuted side by side. No torch."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from suite.metrics.statistics import wilson_interval
from suite.report.figures import methods_down
from suite.report.randomised import BAD, CELL, GOOD, HEADERS, SENTENCES, WITHHELD, draw_cascades, mean_similarity
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
    """What each network knows, and whether that is what it should."""
    lines = []
    for line in records(rows[rows["other"] == "gate"]):
        low, high = wilson_interval(round(line["value"] * line["x"]), int(line["x"]), confidence=0.99)
        part, permuted = line["metric"].removeprefix("accuracy_"), line["stage"] == "permuted"
        needed, held = "", True
        if permuted and part == "train":
            needed, held = "at least 0.95", line["value"] >= 0.95
        elif permuted:
            needed, held = "0.10 inside the interval", low <= CHANCE <= high
        elif part == "test":
            least = 0.9 if line["model"].startswith("mlp") else 0.95
            needed, held = f"at least {least}", line["value"] >= least
        shown = {"model": line["model"], "labels": line["stage"], "pictures": part, "seed": line["draw"]}
        shown |= with_ends("accuracy", line["value"], (low, high))
        why = f"{line['stage']} labels: {part} accuracy {line['value']:.3f}, needed {needed}"
        lines.append(shown | {"needed": needed, "held": "yes" if held else "no", "why": why})
    return pd.DataFrame(lines)


def tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    """Gates, verdicts, measures, architectures."""
    settings = manifest["config"]["studies"].get("labels") or {}
    if not settings:
        return {}
    noise, known = float(settings["noise"]), gates(rows)
    verdicts: list[pd.DataFrame] = []
    measures: list[pd.DataFrame] = []
    between = []
    for model, mine in rows[(rows["other"] != "gate") & (rows["metric"] != "item")].groupby("model", sort=False):
        failed = "; ".join(known.loc[(known["model"] == model) & (known["held"] == "no"), "why"])
        found = judging.arrange(mine, noise)
        overall, by_measure, _ = judging.verdicts(found, mine)
        overall = overall.assign(verdict=WITHHELD, reason=failed, stability="") if failed else overall
        for table, made in ((overall, verdicts), (by_measure, measures)):
            made.append(_one_stage(table.assign(model=model)))
        names = mine.drop_duplicates(["stage", "x"]).set_index(["stage", "x"])["layer"].to_dict()
        for (method, stage, k, kind, sd, cell, metric), values in found.arrays.items():
            if stage == "architecture" and kind == "stage" and (sd, cell) == (round(noise, 9), CELL):
                null = found.find(method, stage, k, "null", noise, cell, metric)
                line = {"model": model, "method": method, "other": names[stage, k], "metric": metric}
                line |= mean_similarity("similarity", values)
                between.append(line | (mean_similarity("null", null) if null is not None else {}))
    tables = {"labels_verdicts": pd.concat(verdicts) if verdicts else pd.DataFrame()}
    tables |= {"labels_gates": known.drop(columns="why")}
    tables |= {"labels_measures": pd.concat(measures) if measures else pd.DataFrame()}
    tables |= {"labels_architectures": pd.DataFrame(between)}
    return {name: table.reset_index(drop=True) for name, table in tables.items() if len(table)}


def _one_stage(table: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of sanity where its two stages are one, in the words of labels."""
    table = table.drop(columns=[c for c in table if str(c).startswith("s_half")])
    names = {c: str(c).replace("_everything", "") for c in table} | {"r_stage": "r_permuted", "draws": "seeds"}
    table = table.rename(columns=names)
    return table[["model", *(c for c in table if c != "model")]]


def _plots(rows: pd.DataFrame, made: Tables) -> Iterable[Plot]:
    table = made.get("labels_verdicts", pd.DataFrame())
    for model, part in groups(table[~table["control"].astype(bool)] if len(table) else table, "model"):
        text = (
            f"Maps of {model} trained on true and on permuted labels: similarity, beside the noise floor and the null."
        )
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
    figure.legend(loc="outside upper left", ncols=3)
    return figure


SECTION = Section(
    study="labels",
    title="Does the map depend on what the labels meant?",
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
