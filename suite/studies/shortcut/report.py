"""The section on the planted shortcut: does a map show the patch when, and only when, the network uses it? No torch."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from suite.report.figures import draw_sides
from suite.report.randomised import BAD, GOOD, SENTENCES, WITHHELD
from suite.report.sections import Plot, Section, Tables, groups, ok, seeds_with_interval, share_with_interval
from suite.report.style import INK, Figure
from suite.sanity import verdict as judging

TEXTS = {
    "shortcut_verdicts": (
        "Verdicts",
        "Detection: share of pictures on which the map's largest value lies on the planted patch, in a network that "
        "provably uses it; false alarm: the same in one that ignores it. 95% interval of the mean over trainings "
        "(Student's t over seeds, at least three of them). PASS: detection above half and false alarm below.",
    ),
    "shortcut_mass": (
        "Mass in the patch",
        "Share of the map's size that lies in the patch, with the interval of the verdicts; an even map has the "
        "patch's area there.",
    ),
    "shortcut_gates": (
        "Does the network use the patch?",
        "Each training for itself. Used: right in at least 95% with the patch, at chance (10% inside Wilson's 99% "
        "interval) without. Unused: right in at least 90% although the patch lies anywhere.",
    ),
}


def tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    """Gates, detection and mass."""
    known, verdicts, mass = [], [], []
    good = ok(rows)
    for (model, stage, metric, seed), group in groups(good[good["method"] == ""], "model", "stage", "metric", "draw"):
        found = share_with_interval("accuracy", group["value"], confidence=0.99)
        share, low, high = (found[f"accuracy{end}"] for end in ("", "_low", "_high"))
        patched = metric == "correct_with_patch"
        held = (share >= 0.95 if patched else low <= 0.1 <= high) if stage == "used" else (share >= 0.9 or not patched)
        line = {"model": model, "stage": stage, "metric": metric, "seed": seed} | found
        known.append(line | {"held": "yes" if held else "no"})
    for (model, method), group in groups(good[good["method"] != ""], "model", "method"):
        for stage, part in group[group["metric"] == "mass_in_patch"].groupby("stage"):
            line = {"model": model, "method": method, "stage": stage}
            mass.append(line | seeds_with_interval("mean", part["value"], part["draw"]))
        found = {}
        for name, stage in (("detection", "used"), ("false_alarm", "unused")):
            part = group[(group["metric"] == "pointing") & (group["stage"] == stage)]
            found |= seeds_with_interval(name, (part["value"] > 0.5).astype(float), part["draw"])
        del found["n"]
        low, high = found["detection_low"], found["detection_high"]
        least, most = found["false_alarm_low"], found["false_alarm_high"]
        failed = [k for k in known if k["model"] == model and k["held"] == "no"]
        if failed:
            verdict, why = WITHHELD, f"{failed[0]['stage']}: {failed[0]['metric']} {failed[0]['accuracy']:.3f}"
            why += f", seed {failed[0]['seed']}"
        elif found["seeds"] < 3:
            verdict, why = judging.UNDECIDED, f"{found['seeds']} seeds: an interval needs three"
        elif high < 0.5 or least > 0.5:
            verdict, why = judging.FAIL, "it misses the patch" if high < 0.5 else "it shows the patch that is not used"
        elif low > 0.5 and most < 0.5:
            verdict, why = judging.PASS, "it shows the patch when it is used, and only then"
        else:
            verdict, why = judging.UNDECIDED, "an interval holds one half, or there are no maps"
        line = {"model": model, "method": method, "measure": "overall"} | found
        verdicts.append(line | {"verdict": verdict, "reason": why, "control": bool(group["control"].any())})
    made = {"shortcut_verdicts": verdicts, "shortcut_mass": mass, "shortcut_gates": known}
    return {name: pd.DataFrame(lines) for name, lines in made.items()}


def _detection(lines: pd.DataFrame) -> Figure:
    used = ("the network uses the patch: detection", "own", "o")
    figure, ax = draw_sides(lines, {"detection": used, "false_alarm": ("it does not: false alarm", "captum", "s")})
    ax.axvline(0.5, color=INK, lw=1, ls=":")
    ax.set(xlim=(-0.02, 1.02), xlabel="share of pictures whose map is largest on the patch")
    return figure


def plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    """Detection beside false alarm, a figure a network."""
    for model, lines in groups(tables.get("shortcut_verdicts", pd.DataFrame()), "model"):
        text = f"How often each method's map is largest on the planted patch, used and unused, on {model}."
        yield Plot(f"shortcut-{model}", text, partial(_detection, lines))


SECTION = Section(
    study="shortcut",
    title="Does the map show a shortcut that the network takes?",
    question="Does the map depend on the network?",
    texts=TEXTS,
    tables=tables,
    plots=plots,
    good=GOOD,
    bad=BAD,
    sentences={
        judging.PASS: "shows the shortcut when it is taken.",
        judging.FAIL: "does not tell whether the shortcut is taken.",
        judging.UNDECIDED: SENTENCES[judging.UNDECIDED],
        WITHHELD: SENTENCES[WITHHELD],
    },
    headers={"mean": "mean [95%]"},
)
