"""The section on the planted shortcut: does a map show the patch when, and only when, the network uses it? No torch."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from suite.metrics.statistics import wilson_interval
from suite.report.sanity import SECTION as SANITY
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok
from suite.report.style import COLOURS, WIDTH, label
from suite.sanity import verdict as judging

WITHHELD = "WITHHELD"
TEXTS = {
    "shortcut_verdicts": (
        "Verdicts",
        "Detection: share of pictures on which the map's largest value lies on the planted patch, in a network that "
        "provably uses it; false alarm: the same in one that ignores it. Wilson's 95% interval. PASS: detection above "
        "half and false alarm below.",
    ),
    "shortcut_mass": (
        "Mass in the patch",
        "Share of the map's size that lies in the patch; an even map has the patch's area there.",
    ),
    "shortcut_gates": (
        "Does the network use the patch?",
        "Used: right in at least 95% with the patch, at chance (10% inside the 99% interval) without. Unused: right in "
        "at least 90% although the patch lies anywhere.",
    ),
}


def tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    """Gates, detection and mass."""
    known, verdicts, mass = [], [], []
    good = ok(rows)
    for (model, stage, metric), group in good[good["method"] == ""].groupby(["model", "stage", "metric"], sort=False):
        low, high = wilson_interval(int(group["value"].sum()), len(group), confidence=0.99)
        share, patched = float(group["value"].mean()), metric == "correct_with_patch"
        held = (share >= 0.95 if patched else low <= 0.1 <= high) if stage == "used" else (share >= 0.9 or not patched)
        line = {"model": model, "stage": stage, "metric": metric, "n": len(group), "accuracy": share}
        known.append(line | {"accuracy_low": low, "accuracy_high": high, "held": "yes" if held else "no"})
    for (model, method), group in good[good["method"] != ""].groupby(["model", "method"], sort=False):
        for stage, part in group[group["metric"] == "mass_in_patch"].groupby("stage"):
            mass.append({"model": model, "method": method, "stage": stage} | mean_with_interval("mean", part["value"]))
        shown = {"model": model, "method": method, "measure": "overall"}
        found = {}
        for name, stage in (("detection", "used"), ("false_alarm", "unused")):
            hits = group.loc[(group["metric"] == "pointing") & (group["stage"] == stage), "value"] > 0.5
            found[name] = wilson_interval(int(hits.sum()), len(hits))
            shown |= {name: float(hits.mean()), f"{name}_low": found[name][0], f"{name}_high": found[name][1]}
        (low, high), (least, most) = found["detection"], found["false_alarm"]
        failed = [k for k in known if k["model"] == model and k["held"] == "no"]
        if failed:
            verdict, why = WITHHELD, f"{failed[0]['stage']}: {failed[0]['metric']} {failed[0]['accuracy']:.3f}"
        elif high < 0.5 or least > 0.5:
            verdict, why = judging.FAIL, "it misses the patch" if high < 0.5 else "it shows the patch that is not used"
        elif low > 0.5 and most < 0.5:
            verdict, why = judging.PASS, "it shows the patch when it is used, and only then"
        else:
            verdict, why = judging.UNDECIDED, "an interval holds one half, or there are no maps"
        verdicts.append(shown | {"verdict": verdict, "reason": why, "control": bool(group["control"].any())})
    made = {"shortcut_verdicts": verdicts, "shortcut_mass": mass, "shortcut_gates": known}
    return {name: pd.DataFrame(lines) for name, lines in made.items()}


def _detection(lines: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(lines)))
    axes = figure.add_subplot()
    places = range(len(lines))[::-1]
    for name, words, shift, colour, marker in (
        ("detection", "the network uses the patch: detection", 0.1, "own", "o"),
        ("false_alarm", "it does not: false alarm", -0.1, "captum", "s"),
    ):
        middle, low, high = (lines[name + end] for end in ("", "_low", "_high"))
        axes.errorbar(
            middle, [p + shift for p in places], xerr=[middle - low, high - middle], fmt=marker, color=COLOURS[colour],
            label=words,
        )  # fmt: skip
    axes.axvline(0.5, linestyle=":", color="black", linewidth=1)
    axes.set(xlim=(-0.02, 1.02), xlabel="share of pictures whose map is largest on the patch")
    axes.set_yticks(list(places), [label(method) for method in lines["method"]])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return figure


def plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    """Detection beside false alarm, a figure a network."""
    for model, lines in groups(tables.get("shortcut_verdicts", pd.DataFrame(columns=["model"])), "model"):
        text = f"How often each method's map is largest on the planted patch, used and unused, on {model}."
        yield Plot(f"shortcut-{model}", text, partial(_detection, lines))


SECTION = Section(
    study="shortcut",
    title="Does the map show a shortcut that the network takes?",
    texts=TEXTS,
    tables=tables,
    plots=plots,
    good=SANITY.good,
    bad=SANITY.bad,
    sentences={
        judging.PASS: "shows the shortcut when it is taken.",
        judging.FAIL: "does not tell whether the shortcut is taken.",
        judging.UNDECIDED: SANITY.sentences[judging.UNDECIDED],
        WITHHELD: "is not judged: the networks did not learn what they should.",
    },
    headers={"mean": "mean [95%]"},
)
