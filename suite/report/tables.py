"""Rows and run.json to tables: pure functions, one numeric DataFrame a question. No torch, no files, no layout.

A number with an interval takes three columns: `name`, `name_low`, `name_high`. Empty tables are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from suite.registry import studies
from suite.report.sections import Tables, records, sections, summarise

Rows = pd.DataFrame | Callable[[Sequence[str]], pd.DataFrame]  # all of them, or what reads those of some studies


def rows_of(rows: Rows, studies: Sequence[str]) -> pd.DataFrame:
    """Those of some studies."""
    return rows(studies) if callable(rows) else rows[rows["study"].isin(studies)]


def build_tables(rows: Rows, manifest: dict[str, Any]) -> Tables:
    """Every table that this run has rows for, by file name: verdicts first, then the run's own, then by section."""
    made: Tables = {}
    with_section = {section.study for section in sections()}
    undone = [rows_of(rows, [name for name in studies() if name not in with_section])]
    for section in sections():
        mine = rows_of(rows, [section.study, *section.also])
        own = mine["study"] == section.study
        if own.any():
            tables = section.tables(mine, manifest)
            made |= {name: _ordered(table, section.order, manifest) for name, table in tables.items()}
        undone.append(mine[own & (mine["status"] != "ok")])
    for section in sections():
        tables = section.overview(made, manifest)
        made |= {name: _ordered(table, section.order, manifest) for name, table in tables.items()}
    verdicts = {s.verdicts: made.pop(s.verdicts) for s in sections() if s.verdicts in made}
    not_ok = pd.concat(undone)
    made = verdicts | made | {"methods": methods(manifest), "networks": networks(not_ok, manifest)}
    made["failures"] = failures(not_ok)
    return {name: table for name, table in made.items() if len(table)}


def _ordered(table: pd.DataFrame, order: Sequence[str], manifest: dict[str, Any]) -> pd.DataFrame:
    """Methods and networks stand in the order of the configuration, all methods together last."""
    place = {column: {key: i for i, key in enumerate(manifest.get(column + "s", {}))} for column in ("model", "method")}
    place["other_method"] = place["method"]
    keys = [key for key in ("metric", "model", *order) if key in table]

    def rank(column: "pd.Series[Any]") -> "pd.Series[Any]":
        known = place.get(str(column.name))
        return column if known is None else column.map(lambda label: known.get(label, len(known)))

    return table.sort_values(keys, key=rank, kind="stable", ignore_index=True) if keys else table


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
