"""Rows of the study speed to tables: what a method costs, how near the floor, what batching gains. No torch."""

from typing import Any

import numpy as np
import pandas as pd

FOUR_MAPS = {"saliency", "guided_backprop", "grad_cam", "guided_grad_cam"}
_UNIT = ["model", "stage", "x"]


def ok_rows(rows: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of one study that hold a number."""
    return rows[(rows["study"] == study) & (rows["status"] == "ok")]


def speed(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """What each method costs, by hand and in the reference: medians over the rounds with the middle half of them.

    `captum_over_own` is taken within each round, before the median, so that a slow moment of the machine hits both.
    """
    study = ok_rows(rows, "speed")
    study = study[study["implementation"].isin(["own", "captum"])]
    lines = []
    for key, group in study.groupby([*_UNIT, "method"], dropna=False, sort=False):
        seconds = _by_round(group, "seconds")
        line = dict(zip([*_UNIT, "method"], key, strict=True)) | {"rounds": len(seconds)}
        for name in ("own", "captum"):
            line |= _quartiles(f"{name}_passes", _by_round(group, "passes").get(name))
        both = seconds.get("captum", pd.Series(dtype=float)) / seconds.get("own", pd.Series(dtype=float))
        line |= _quartiles("captum_over_own", both)
        memory = group[group["metric"] == "peak_memory"].groupby("implementation")["value"].max()
        for name in ("own", "captum"):
            line[f"{name}_seconds"] = seconds[name].median() if name in seconds else np.nan
        for name in ("own", "captum"):
            line[f"{name}_mib"] = memory.get(name, np.nan)
        lines.append(line)
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def speed_floor(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """The bare passes, the forward's share f of one, and how near the four maps together come to their floor 2 - f."""
    study = ok_rows(rows, "speed")
    names = {info.get("name", label) for label, info in manifest.get("methods", {}).items() if not info.get("control")}
    lines = []
    for key, group in study.groupby(_UNIT, dropna=False, sort=False):
        bare = group[(group["implementation"] == "bare") & (group["metric"] == "seconds")]
        seconds = bare.pivot_table(index="draw", columns="method", values="value")
        if not {"forward", "forward_and_gradient"} <= set(seconds.columns):
            continue
        f = float((seconds["forward"] / seconds["forward_and_gradient"]).median())
        line = dict(zip(_UNIT, key, strict=True)) | {"rounds": len(seconds)}
        line |= {name: float(seconds[name].median()) for name in ("forward", "forward_and_gradient")} | {
            "f": f,
            "floor": 2 - f,
        }
        together = group[(group["method"] == "all methods") & (group["implementation"] == "own")]
        if names == FOUR_MAPS and len(together):
            passes = float(together.loc[together["metric"] == "passes", "value"].median())
            line |= {"four_maps_passes": passes, "over_floor": passes / (2 - f)}
        lines.append(line)
    return pd.DataFrame(lines)


def speed_batching(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Seconds a photo in one batch beside one photo at a time; `x` is the number of photos that `seconds` covers."""
    study = ok_rows(rows, "speed")
    study = study[study["metric"] == "seconds"]
    study = study.assign(each=study["value"] / study["x"].fillna(1))
    each = study.pivot_table(
        index=["model", "method", "implementation"], columns="stage", values="each", aggfunc="median", sort=False
    )
    if not {"batch", "one_by_one"} <= set(each.columns):
        return pd.DataFrame()
    each["gain"] = each["one_by_one"] / each["batch"]
    return each[["batch", "one_by_one", "gain"]].dropna().reset_index()


def _by_round(group: pd.DataFrame, metric: str) -> pd.DataFrame:
    return group[group["metric"] == metric].pivot_table(index="draw", columns="implementation", values="value")


def _quartiles(name: str, values: "pd.Series[float] | None") -> dict[str, float]:
    q = (np.nan,) * 3 if values is None or values.dropna().empty else values.quantile([0.5, 0.25, 0.75])
    return dict(zip([name, f"{name}_low", f"{name}_high"], map(float, q), strict=True))
