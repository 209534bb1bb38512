"""Rows and run.json to tables: pure functions, one numeric DataFrame a question. No torch, no files, no layout.

A number with an interval takes three columns: `name`, `name_low`, `name_high`. Empty tables are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.registry import studies
from suite.report.sections import Tables, by_metric, ok, records, sections, share_with_interval, summarise, unreadable
from suite.report.words import class_name

Rows = pd.DataFrame | Callable[[Sequence[str]], pd.DataFrame]  # all of them, or what reads those of some studies


def rows_of(rows: Rows, studies: Sequence[str]) -> pd.DataFrame:
    """Those of some studies."""
    return rows(studies) if callable(rows) else rows[rows["study"].isin(studies)]


def build_tables(rows: Rows, manifest: dict[str, Any]) -> Tables:
    """Every table that this run has rows for, by file name: verdicts first, then the run's own, then by section."""
    made: Tables = {}
    with_section = {section.study for section in sections()}
    seen = rows_of(rows, [name for name in studies() if name not in with_section])
    undone = [seen]
    for section in sections():
        mine = rows_of(rows, [section.study, *section.also])
        own = mine["study"] == section.study
        if own.any():
            made |= section.tables(mine, manifest)
        undone.append(mine[own & (mine["status"] != "ok")])
    for section in sections():
        made |= section.overview(made, manifest)
    verdicts = {s.verdicts: made.pop(s.verdicts) for s in sections() if s.verdicts in made}
    made = verdicts | made | {"accuracy": accuracy(seen), "predictions": predictions(seen, manifest)}
    made |= {"methods": methods(manifest), "networks": networks(seen, manifest)}
    made["failures"] = failures(pd.concat(undone))
    return {name: _ordered(name, table, manifest) for name, table in made.items() if len(table)}


def _ordered(name: str, table: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Methods and networks stand in the order of the configuration, all methods together last."""
    if name in ("failures", "methods", "networks"):
        return table
    place = {column: {key: i for i, key in enumerate(manifest.get(column + "s", {}))} for column in ("model", "method")}
    place["other"] = place["method"]
    keys = [key for key in ("metric", "model", "stage", "x", "method", "other", "image") if key in table]

    def rank(column: "pd.Series[Any]") -> "pd.Series[Any]":
        known = place.get(str(column.name))
        return column if known is None else column.map(lambda label: known.get(label, len(known)))

    return table.sort_values(keys, key=rank, kind="stable", ignore_index=True)


def predictions(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """What the network says of each photo. `label` is empty where none was given: the top class is then explained."""

    def line(group: pd.DataFrame) -> dict[str, Any]:
        values, target = ok(group).set_index("metric")["value"], group["target"].dropna()
        return {
            "label": class_name(target.iloc[0], manifest) if "correct" in values and len(target) else "",
            "top1": class_name(values["top1"], manifest) if "top1" in values else "",
            "confidence": values.get("confidence", np.nan),
            "correct": {1.0: "yes", 0.0: "no"}.get(values.get("correct", np.nan), ""),
            "status": "failed" if (group["status"] == "failed").any() else "ok",
            "note": "; ".join(filter(None, group["message"].unique())),
        }

    study = rows[(rows["study"] == "predictions") & (rows["image"] != "")]
    return summarise(study, ["model", "image"], line)


def accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of the labelled photos whose label is the top class, or among the five highest; Wilson's 95% interval."""

    def line(group: pd.DataFrame) -> dict[str, float]:
        values, nothing = by_metric(ok(group)), pd.Series(dtype=float)
        made = {"photos": group["image"].nunique()} | share_with_interval("top1", values.get("correct", nothing))
        n = made["n"]
        made |= share_with_interval("top5", values.get("correct_top5", nothing)) | {"n": n}
        return made | {"failed": len(unreadable(rows, group["model"].iloc[0]))}

    return summarise(rows[(rows["study"] == "predictions") & (rows["image"] != "")], ["model"], line)


def methods(manifest: dict[str, Any]) -> pd.DataFrame:
    """Which method stands behind each label."""
    return pd.DataFrame(
        [
            {
                "method": label,
                "name": info.get("name", label),
                "parameters": ", ".join(f"{key}={value}" for key, value in info.get("parameters", {}).items()),
                "caption": info.get("caption", ""),
                "signed": "yes" if info.get("signed") else "no",
                "control": "yes" if info.get("control") else "no",
            }
            for label, info in manifest.get("methods", {}).items()
        ]
    )


def networks(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Where each network came from, and which could not be had."""
    lines = []
    for name, info in manifest.get("models", {}).items():
        known = {key: value if isinstance(value, int | float) else _flat(value) for key, value in info.items()}
        lines.append({"model": name} | known | {"model": name, "status": "loaded"})
    absent = records(rows[(rows["metric"] == "network") & (rows["status"] != "ok")])
    lines += [{"model": line["model"], "status": f"{line['status']}: {line['message']}"} for line in absent]
    return pd.DataFrame(lines)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_flat(part)}" for key, part in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else "" if value is None else str(value)


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """Everything that is not ok, grouped by its reason; what failed comes first."""

    def line(group: pd.DataFrame) -> dict[str, Any]:
        images = [name for name in group["image"].unique() if name]
        return {"rows": len(group), "images": len(images), "such_as": ", ".join(images[:3])}

    keys = ["status", "study", "model", "method", "message"]
    order = {status: place for place, status in enumerate(("failed", "skipped", "not_applicable"))}
    undone = rows[rows["status"] != "ok"].sort_values(keys, key=lambda s: s.replace(order) if s.name == "status" else s)
    return summarise(undone, keys, line)
