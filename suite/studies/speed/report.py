"""The section on speed: what a method costs, how near the floor, what batching gains. Pure; no torch, no files."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from suite.report.figures import draw_sides, log_scale
from suite.report.sections import Compared, Plot, Section, Tables, groups, median_with_quartiles, ok, summarise
from suite.report.style import INK, Figure
from suite.report.words import as_words, number

FOUR_MAPS = {"saliency", "guided_backprop", "grad_cam", "guided_grad_cam"}
_UNIT = ["model", "job", "photos"]
_SIDES = ["own", "captum"]
TEXTS = {
    "speed": (
        "Cost of each method",
        "One pass is a bare forward with the gradient at the input, timed in the same round: fewer passes are cheaper. "
        "Medians, in brackets the middle half of the rounds. Captum / own says how many times as long Captum takes: "
        "above 1, the handwritten method is faster.",
    ),
    "speed_floor": (
        "The floor",
        "Four maps need one forward and two backwards. With f, the forward's share of a pass, that is 2 − f passes. "
        "Over floor is what was reached divided by that: below 1 where the two backwards begin alike and that part is "
        "run once.",
    ),
    "speed_batching": (
        "Batch against one photo at a time",
        "Seconds a photo. The gain is their ratio: above 1, the batch is faster. It is linear at most, for every photo "
        "still needs its own arithmetic.",
    ),
}


def speed(rows: pd.DataFrame) -> pd.DataFrame:
    """What each method costs, by hand and in the reference: medians over the rounds with the middle half of them.

    `captum_over_own` is taken within each round, before the median, so that a slow moment of the machine hits both.
    """

    def line(group: pd.DataFrame) -> dict[str, Any]:
        seconds, passes = (_by_round(group, metric).reindex(columns=_SIDES) for metric in ("seconds", "passes"))
        memory = group[group["metric"] == "peak_memory"].groupby("implementation")["value"].max()
        numbers: dict[str, Any] = {"rounds": len(seconds)}
        for name in _SIDES:
            numbers |= median_with_quartiles(f"{name}_passes", passes[name])
        numbers |= median_with_quartiles("captum_over_own", seconds["captum"] / seconds["own"])
        numbers |= {f"{name}_seconds": seconds[name].median() for name in _SIDES}
        return numbers | {f"{name}_mib": memory.get(name, np.nan) for name in _SIDES}

    study = ok(rows)
    lines = summarise(study[study["implementation"].isin(_SIDES)], [*_UNIT, "method"], line)
    return lines.dropna(axis="columns", how="all")


def speed_floor(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """The bare passes, the forward's share f of one, and how the four maps together stand to 2 - f."""
    names = {info.get("name", label) for label, info in manifest.get("methods", {}).items() if not info.get("control")}

    def line(group: pd.DataFrame) -> dict[str, Any] | None:
        bare = group[(group["implementation"] == "bare") & (group["metric"] == "seconds")]
        seconds = bare.pivot_table(index="round", columns="method", values="value")
        if not {"forward", "forward_and_gradient"} <= set(seconds):
            return None
        f = float((seconds["forward"] / seconds["forward_and_gradient"]).median())
        numbers: dict[str, Any] = {"rounds": len(seconds)}
        numbers |= dict(seconds[["forward", "forward_and_gradient"]].median())
        numbers |= {"f": f, "floor": 2 - f}
        together = group[(group["method"] == "all methods") & (group["implementation"] == "own")]
        if names == FOUR_MAPS and len(together):
            passes = float(together.loc[together["metric"] == "passes", "value"].median())
            numbers |= {"four_maps_passes": passes, "over_floor": passes / (2 - f)}
        return numbers

    return summarise(ok(rows), _UNIT, line)


def speed_batching(rows: pd.DataFrame) -> pd.DataFrame:
    """Seconds a photo in one batch beside one photo at a time; `x` is the number of photos that `seconds` covers."""
    study = ok(rows)
    study = study[study["metric"] == "seconds"]
    study = study.assign(each=study["value"] / study["photos"].fillna(1))
    seconds = study.pivot_table(
        index=["model", "method", "implementation"], columns="job", values="each", aggfunc="median", sort=False
    )
    if not {"batch", "one_by_one"} <= set(seconds.columns):
        return pd.DataFrame()
    seconds["gain"] = seconds["one_by_one"] / seconds["batch"]
    return seconds[["batch", "one_by_one", "gain"]].dropna().reset_index()


def _by_round(group: pd.DataFrame, metric: str) -> pd.DataFrame:
    return group[group["metric"] == metric].pivot_table(index="round", columns="implementation", values="value")


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    return {
        "speed": speed(rows),
        "speed_floor": speed_floor(rows, manifest),
        "speed_batching": speed_batching(rows),
    }


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for (model, job), table in groups(tables.get("speed", pd.DataFrame()), "model", "job"):
        text = f"Cost of each method on {model} ({as_words(job)}) in bare passes: medians and the middle half."
        yield Plot(f"cost-{model}-{job}", text, partial(_cost, table, _floor(tables, model, job)))


def _findings(tables: Tables) -> Iterable[dict[str, Any]]:
    table = tables.get("speed", pd.DataFrame())
    for line in table[table["job"] == "batch"].to_dict("records") if "own_passes" in table else []:
        if pd.isna(line["own_passes"]):
            continue
        ratio = line.get("captum_over_own", np.nan)
        against = f"; Captum takes {number(ratio)} times as long" if pd.notna(ratio) else ""
        spread = f"middle half of the rounds {number(line['own_passes_low'])} to {number(line['own_passes_high'])}"
        yield {
            "model": line["model"],
            "method": line["method"],
            "verdict": f"{number(line['own_passes'])} passes",
            "reason": f"In bare forward and gradient passes, in a batch; {spread}{against}",
        }


def _floor(tables: Tables, model: str, job: str) -> float | None:
    table = tables.get("speed_floor", pd.DataFrame())
    if "four_maps_passes" not in table:
        return None
    floors = table[(table["model"] == model) & (table["job"] == job)]["floor"]
    return float(floors.iloc[0]) if len(floors) else None


def _cost(table: pd.DataFrame, floor: float | None) -> Figure:
    words = {"own_passes": ("own (handwritten)", "own", "o"), "captum_passes": ("Captum", "captum", "s")}
    sides = {column: look for column, look in words.items() if column in table}
    figure, ax = draw_sides(table, sides, numbers=True)
    ax.axvline(1, color=INK, lw=1, ls=":")
    methods = list(table["method"])
    if floor is not None and "all methods" in methods:
        y = methods.index("all methods")
        ax.vlines(floor, y - 0.48, y + 0.48, color=INK, lw=2)
        ax.annotate(f"floor {floor:.2f}", (floor, y + 0.48), (-4, 2), textcoords="offset points", ha="right")
    ax.set_xlabel("bare passes (forward and gradient at the input); fewer is cheaper; dotted: one")
    ax.margins(x=0.12)
    ax.set_xlim(left=0)
    least, most = (end(table[list(sides)].to_numpy(float)) for end in (np.nanmin, np.nanmax))
    if most > 25 * least:
        log_scale(ax)
        ax.set_xlim(0.6 * min(1, least), 2 * most)
    return figure


SECTION = Section(
    study="speed",
    title="What does it cost?",
    order=("job", "photos", "method"),
    question="At what cost?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    findings=_findings,
    compared=Compared(
        lower=frozenset({"passes"}),
        where={"implementation": "own"},
        skipped=frozenset({"seconds", "peak_memory"}),
        averaged=(),
        units=("round",),
        of_machine=True,
        margin=0.1,
    ),
    terminal={
        "speed": ("model", "job", "method", "own_passes", "captum_passes", "captum_over_own", "own_seconds"),
        "speed_floor": (),
    },
    headers={
        "own_passes": "own (passes)",
        "captum_passes": "Captum (passes)",
        "captum_over_own": "Captum / own",
        "own_seconds": "own (s)",
        "captum_seconds": "Captum (s)",
        "own_mib": "own peak (MiB)",
        "captum_mib": "Captum peak (MiB)",
        "forward": "forward (s)",
        "forward_and_gradient": "forward and gradient (s)",
        "floor": "floor 2 − f (passes)",
        "four_maps_passes": "four maps (passes)",
        "batch": "batch (s a photo)",
        "one_by_one": "one by one (s a photo)",
    },
)
