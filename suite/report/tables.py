"""Rows and run.json to tables: pure functions, one numeric DataFrame a question. No torch, no files, no layout.

A number with an interval takes three columns: `name`, `name_low`, `name_high`. Empty tables are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.metrics.statistics import wilson_interval
from suite.report import (
    agreement,
    attacks,
    between_networks,
    comparison,
    differentiate,
    labels,
    sanity,
    scores,
    sharpness,
    shortcut,
    speed,
    style_transfer,
    visualization,
)
from suite.report.agreement import unreadable
from suite.report.sections import Section, Tables

SECTIONS: tuple[Section, ...] = (
    agreement.SECTION,
    sanity.SECTION,
    labels.SECTION,
    shortcut.SECTION,
    scores.SECTION,
    attacks.SECTION,
    style_transfer.SECTION,
    comparison.SECTION,
    sharpness.SECTION,
    between_networks.SECTION,
    differentiate.SECTION,
    visualization.SECTION,
    speed.SECTION,
)


Rows = pd.DataFrame | Callable[[Sequence[str]], pd.DataFrame]  # all of them, or what reads those of some studies


def rows_of(rows: Rows, studies: Sequence[str]) -> pd.DataFrame:
    """Those of some studies."""
    return rows(studies) if callable(rows) else rows[rows["study"].isin(studies)]


def build_tables(rows: Rows, manifest: dict[str, Any]) -> Tables:
    """Every table that this run has rows for, by file name: verdicts first, then the run's own, then by section."""
    made: Tables = {}
    seen = rows_of(rows, ["predictions"])
    undone = [seen[seen["status"] != "ok"]]
    for section in SECTIONS:
        mine = rows_of(rows, [section.study, *section.also])
        own = mine["study"] == section.study
        if own.any():
            made |= section.tables(mine, manifest)
        undone.append(mine[own & (mine["status"] != "ok")])
    verdicts = {s.verdicts: made.pop(s.verdicts) for s in SECTIONS if s.verdicts in made}
    makers = {
        "accuracy": accuracy,
        "predictions": predictions,
        "methods": methods,
        "networks": networks,
    }
    made = verdicts | made | {name: make(seen, manifest) for name, make in makers.items()}
    made["failures"] = failures(pd.concat(undone), manifest)
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
    study = rows[(rows["study"] == "predictions") & (rows["image"] != "")]
    lines = []
    for (model, image), group in study.groupby(["model", "image"]):
        ok = group[group["status"] == "ok"].set_index("metric")
        target, top = group["target"].dropna(), ok["value"].get("top1")
        labelled = "correct" in ok.index
        lines.append(
            {
                "model": model,
                "image": image,
                "label": class_name(target.iloc[0], manifest) if labelled and len(target) else "",
                "top1": class_name(top, manifest) if top is not None else "",
                "confidence": ok["value"].get("confidence", np.nan),
                "correct": {1.0: "yes", 0.0: "no"}.get(ok["value"].get("correct", np.nan), ""),
                "status": "failed" if (group["status"] == "failed").any() else "ok",
                "note": "; ".join(dict.fromkeys(text for text in group["message"] if text)),
            }
        )
    return pd.DataFrame(lines)


def class_name(index: float, manifest: dict[str, Any]) -> str:
    """The name of a class, or "class 7" where the run knows none."""
    return str(manifest.get("class_names", {}).get(str(int(index)), f"class {int(index)}"))


def accuracy(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Share of the labelled photos whose label is the top class, or among the five highest; Wilson's 95% interval."""
    study = rows[(rows["study"] == "predictions") & (rows["image"] != "")]
    lines: list[dict[str, Any]] = []
    for model, group in study.groupby("model"):
        ok = group[group["status"] == "ok"]
        line: dict[str, Any] = {
            "model": model,
            "photos": group["image"].nunique(),
            "n": int((ok["metric"] == "correct").sum()),
        }
        for name, metric in (("top1", "correct"), ("top5", "correct_top5")):
            hits = ok.loc[ok["metric"] == metric, "value"]
            low, high = wilson_interval(int(hits.sum()), len(hits))
            line |= {name: hits.mean(), f"{name}_low": low, f"{name}_high": high}
        lines.append(line | {"failed": len(unreadable(rows, str(model)))})
    return pd.DataFrame(lines)


def methods(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
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
    lines = [
        {"model": name}
        | {
            key: value if isinstance(value, int | float) else _flat(value)
            for key, value in info.items()
            if key != "model"
        }
        | {"status": "loaded"}
        for name, info in manifest.get("models", {}).items()
    ]
    absent = rows[(rows["metric"] == "network") & (rows["status"] != "ok")]
    lines += [
        {"model": line["model"], "status": f"{line['status']}: {line['message']}"} for line in absent.to_dict("records")
    ]
    return pd.DataFrame(lines)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_flat(part)}" for key, part in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else "" if value is None else str(value)


def failures(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Everything that is not ok, grouped by its reason; what failed comes first."""
    keys = ["status", "study", "model", "method", "message"]
    lines: list[dict[str, Any]] = []
    for key, group in rows[rows["status"] != "ok"].groupby(keys):
        images = [name for name in dict.fromkeys(group["image"]) if name]
        counts = {"rows": len(group), "images": len(images), "such_as": ", ".join(images[:3])}
        lines.append({**dict(zip(keys, key, strict=True)), **counts})
    order = ["failed", "skipped", "not_applicable"]
    lines.sort(key=lambda line: order.index(line["status"]))
    return pd.DataFrame(lines)


def columns_with_interval(names: Sequence[str]) -> list[str]:
    """Those of `names` that have a `_low` and a `_high` beside them."""
    return [name for name in names if f"{name}_low" in names and f"{name}_high" in names]
