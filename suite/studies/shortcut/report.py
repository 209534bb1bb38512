"""The section on the planted shortcut: does a map show the patch when, and only when, the network uses it? No torch."""

from collections.abc import Iterable, Mapping, Sequence
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
    verdicts, mass = [], []
    good = ok(rows)
    gates = _gates(good[good["method"] == ""])
    for (model, method), group in groups(good[good["method"] != ""], "model", "method"):
        for patch, part in group[group["metric"] == "mass_in_patch"].groupby("patch"):
            shares = seeds_with_interval("mean", part["value"], part["seed"])
            mass.append({"model": model, "method": method, "patch": patch} | shares)
        shares = {}
        for name, patch in (("detection", "used"), ("false_alarm", "unused")):
            part = group[(group["metric"] == "pointing") & (group["patch"] == patch)]
            shares |= seeds_with_interval(name, (part["value"] > 0.5).astype(float), part["seed"])
        del shares["n"]
        failed = [gate for gate in gates if gate["model"] == model and gate["held"] == "no"]
        verdict, reason = _verdict(shares, failed)
        line = {"model": model, "method": method, "measure": "overall"} | shares
        verdicts.append(line | {"verdict": verdict, "reason": reason, "control": bool(group["control"].any())})
    tables = {"shortcut_verdicts": verdicts, "shortcut_mass": mass, "shortcut_gates": gates}
    return {name: pd.DataFrame(lines) for name, lines in tables.items()}


def _gates(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Whether each training uses the patch as it should."""
    gates = []
    for (model, patch, metric, seed), group in groups(rows, "model", "patch", "metric", "seed"):
        line = share_with_interval("accuracy", group["value"], confidence=0.99)
        share, with_patch = line["accuracy"], metric == "correct_with_patch"
        if patch == "used":
            held = share >= 0.95 if with_patch else line["accuracy_low"] <= 0.1 <= line["accuracy_high"]
        else:
            held = share >= 0.9 or not with_patch
        gate = {"model": model, "patch": patch, "metric": metric, "seed": seed} | line
        gates.append(gate | {"held": "yes" if held else "no"})
    return gates


def _verdict(shares: Mapping[str, float], failed: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    if failed:
        return WITHHELD, "{patch}: {metric} {accuracy:.3f}, seed {seed}".format(**failed[0])
    if shares["seeds"] < 3:
        return judging.UNDECIDED, f"{shares['seeds']} seeds: an interval needs three"
    if shares["detection_high"] < 0.5:
        return judging.FAIL, "it misses the patch"
    if shares["false_alarm_low"] > 0.5:
        return judging.FAIL, "it shows the patch that is not used"
    if shares["detection_low"] > 0.5 and shares["false_alarm_high"] < 0.5:
        return judging.PASS, "it shows the patch when it is used, and only then"
    return judging.UNDECIDED, "an interval holds one half, or there are no maps"


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
    order=("patch", "method"),
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
