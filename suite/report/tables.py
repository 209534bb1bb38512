"""Rows and run.json to tables, one numeric DataFrame a question; reads study by study. No torch, no layout.

A number with an interval takes three columns: `name`, `name_low`, `name_high`. Empty tables are left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from sys import intern
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from suite.registry import studies
from suite.report.sections import Section, Tables, groups, records, sections
from suite.results import key_of, read, scan
from suite.results.schema import AT_ONCE

Rows = pd.DataFrame | Path  # all of them, or the run's directory, from which those of some studies are read
_REASON = ["status", "study", "model", "method", "message"]


def rows_of(rows: Rows, studies: Sequence[str]) -> pd.DataFrame:
    """Those of some studies, without what is said of memory."""
    rows = read(rows, studies) if isinstance(rows, Path) else rows[rows["study"].isin(studies)]
    held = rows["metric"] == AT_ONCE
    return rows[~held] if held.any() else rows


def stream_of(rows: Rows, studies: Sequence[str]) -> Iterable[pa.Table]:
    """Those of some studies, as `suite.results.scan` gives them."""
    if isinstance(rows, Path):
        return scan(rows, studies)
    return [pa.Table.from_pandas(rows_of(rows, studies), preserve_index=False)]


def build_tables(rows: Rows, manifest: dict[str, Any]) -> Tables:
    """Every table that this run has rows for, by file name: verdicts first, then the run's own, then by section."""
    tables: Tables = {}
    with_section = {section.study for section in sections()}
    failures = [Failures()]
    failures[0].add(rows_of(rows, [name for name in studies() if name not in with_section]))
    for section in sections():
        failures.append(Failures())
        of_section = _of_section(section, rows, manifest, failures[-1])
        tables |= {name: _ordered(table, section.order, manifest) for name, table in of_section.items()}
    for section in sections():
        overview = section.overview(tables, manifest)
        tables |= {name: _ordered(table, section.order, manifest) for name, table in overview.items()}
    verdicts = {s.verdicts: tables.pop(s.verdicts) for s in sections() if s.verdicts in tables}
    absent = pd.concat([some.networks for some in failures])
    tables = verdicts | tables | {"methods": methods(manifest), "networks": networks(absent, manifest)}
    order = {status: i for i, status in enumerate(("failed", "skipped", "not_applicable"))}
    undone = pd.concat([some.table() for some in failures])
    tables["failures"] = undone.sort_values(
        _REASON, key=lambda s: s.replace(order) if s.name == "status" else s, ignore_index=True
    )
    return {name: table for name, table in tables.items() if len(table)}


def _of_section(section: Section, rows: Rows, manifest: dict[str, Any], failures: "Failures") -> Tables:
    """A section's tables; what is not ok is noted on the way."""
    both = [section.study, *section.also]
    if section.gather:
        gathered = section.gather(failures.watch(stream_of(rows, both), section.study))
    else:
        gathered = rows_of(rows, both)
        failures.add(gathered[gathered["study"] == section.study])
    return section.tables(gathered, manifest) if failures.seen else {}


def _ordered(table: pd.DataFrame, order: Sequence[str], manifest: dict[str, Any]) -> pd.DataFrame:
    """Methods and networks stand in the order of the configuration, all methods together last."""
    positions = {
        column: {key: i for i, key in enumerate(manifest.get(column + "s", {}))} for column in ("model", "method")
    }
    positions["other_method"] = positions["method"]
    keys = [key for key in ("metric", "model", *order) if key in table]

    def rank(column: "pd.Series[Any]") -> "pd.Series[Any]":
        position = positions.get(str(column.name))
        return column if position is None else column.map(lambda label: position.get(label, len(position)))

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
        fields = {key: value if isinstance(value, int | float) else _flat(value) for key, value in info.items()}
        lines.append({"model": name} | fields | {"model": name, "status": "loaded"})
    absent = records(rows[(rows["metric"] == "network") & (rows["status"] != "ok")])
    lines += [{"model": line["model"], "status": f"{line['status']}: {line['message']}"} for line in absent]
    return pd.DataFrame(lines)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_flat(part)}" for key, part in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else "" if value is None else str(value)


class Failures:
    """Everything of a study that is not ok, grouped by its reason, as its rows go by."""

    def __init__(self) -> None:
        self.seen = 0  # rows, ok or not
        self.networks = pd.DataFrame({"status": [], "metric": []})
        self._rows = Counter[tuple[str, ...]]()
        self._images: dict[tuple[str, ...], set[str]] = {}
        self._first: pd.DataFrame | None = None  # of each reason the rows of its first three photos

    def watch(self, tables: Iterable[pa.Table], study: str) -> Iterator[pa.Table]:
        """The same tables, once their rows of the study are added."""
        for table in tables:
            own = table.filter(pc.equal(table["study"], study))
            self.seen += len(own)
            self._add(own.filter(pc.not_equal(own["status"], "ok")).to_pandas())
            yield table

    def add(self, rows: pd.DataFrame) -> None:
        """Adds rows of the study."""
        self.seen += len(rows)
        self._add(rows[rows["status"] != "ok"])

    def _add(self, rows: pd.DataFrame) -> None:
        if rows.empty:
            return
        self.networks = pd.concat([self.networks, rows[rows["metric"] == "network"]])
        for reason, group in groups(rows, *_REASON):
            self._rows[reason] += len(group)
            self._images.setdefault(reason, set()).update(map(intern, group["image"].unique()))
        first = pd.concat([self._first, rows[rows["image"] != ""]])
        first = first.sort_values(key_of(first.columns.tolist()), kind="stable", na_position="first")
        self._first = first.drop_duplicates([*_REASON, "image"]).groupby(_REASON).head(3)

    def table(self) -> pd.DataFrame:
        """A line a reason: its rows, photos, and the names of some."""
        such_as = {} if self._first is None else self._first.groupby(_REASON)["image"].agg(", ".join).to_dict()
        lines = []
        for reason, count in self._rows.items():
            numbers = {"rows": count, "images": len(self._images[reason] - {""}), "such_as": such_as.get(reason, "")}
            lines.append(dict(zip(_REASON, reason, strict=True)) | numbers)
        return pd.DataFrame(lines, columns=[*_REASON, "rows", "images", "such_as"])
