"""Rows by the column: what a study hands over, and the one table that is checked and written. No torch, no files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from suite.results.schema import STATUSES, Keys, columns_of, key_of, schema_of

_OF_EACH = ("image", "target", "value", "status")  # columns in which the rows of one block differ
_NO_KEYS: Keys = MappingProxyType({})


@dataclass(frozen=True)
class Block:
    """Numbers of several images, which all other columns name together.

    Attributes:
        images: (n,) the images' names.
        targets: (n,) the classes explained.
        values: (n,) NaN where there is none.
        undefined: why a value is NaN: one reason for all, or (n,).
        fields: the other columns, each the same for all n. `message` is that of the rows with a value; `status` that of
            the rows without one, not_applicable by default.
    """

    images: Sequence[str]
    targets: Sequence[int] | Sequence[int | None]
    values: NDArray[np.float64]
    undefined: str | Sequence[str] = "the value is undefined for this map"
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def only(self, kept: Sequence[bool]) -> "Block":
        """The rows of some of the images."""
        at = [i for i, wanted in enumerate(kept) if wanted]
        why = self.undefined if isinstance(self.undefined, str) else [self.undefined[i] for i in at]
        images, targets = [self.images[i] for i in at], [self.targets[i] for i in at]
        return replace(self, images=images, targets=targets, values=self.values[at], undefined=why)


def as_table(rows: pa.Table | Iterable[Block | Mapping[str, Any]], keys: Keys = _NO_KEYS) -> pa.Table:
    """Blocks and single rows (name -> value) as one checked table; a table is left as it is.

    Args:
        rows: as a study hands them over. A single row without a value says its `status` and `message`.
        keys: the study's own columns.

    Raises:
        ValueError: a column is unknown or of the wrong type; study or metric is empty; a number of the key is NaN; a
            row without a value has no message; a single row has a value although its status is not ok (of a block, rows
            with a value are always ok). These are faults of the study, not of the data.
    """
    if isinstance(rows, pa.Table):
        return rows
    kinds, schema = columns_of(keys), schema_of(keys)
    blocks = [block if isinstance(block, Block) else _single(block) for block in rows]
    if not blocks:
        return schema.empty_table()
    if unknown := {name for block in blocks for name in block.fields} - kinds.keys():
        raise ValueError(f"a row has no column {sorted(unknown)}; the columns are {', '.join(kinds)}")
    shared = {
        name: _column(name, kind, [block.fields.get(name) for block in blocks])
        for name, kind in kinds.items()
        if name not in _OF_EACH
    }
    _check(shared)
    index = pa.array(np.repeat(np.arange(len(blocks)), [len(block) for block in blocks]))
    columns = {name: column.take(index) for name, column in shared.items()}
    values = np.concatenate([np.asarray(block.values, np.float64) for block in blocks])
    absent, status = np.isnan(values), [block.fields.get("status", "not_applicable") for block in blocks]
    if strange := {*status} - {*STATUSES}:
        raise ValueError(f"status {min(map(str, strange))!r} is none of {', '.join(STATUSES)}")
    reasons = [text for block in blocks for text in _each(block.undefined, len(block))]
    columns |= {
        "image": _column("image", str, [name for block in blocks for name in block.images]),
        "target": _column("target", int, [target for block in blocks for target in block.targets]),
        "value": pa.array(values),
        "status": pc.if_else(absent, pa.array(status).take(index), "ok"),
        "message": pc.if_else(absent, _column("message", str, reasons), columns["message"]),
    }
    if pc.any(pc.and_(absent, pc.equal(columns["message"], ""))).as_py():
        raise ValueError("a row that is not ok needs a message: why there is no value")
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _column(name: str, kind: type, entries: Sequence[Any]) -> pa.Array:
    """One column; None is "" and False in those that are never null."""
    try:
        if kind is int:  # pyarrow itself would cut a fraction off without a word
            return pa.array(entries, pa.float64()).cast(pa.int64())
        if kind is float:
            return pa.array(entries, pa.float64())
        if kind is bool:
            return pa.array([bool(entry) for entry in entries])
        return pa.array(["" if entry is None else entry for entry in entries], pa.string())
    except UnicodeEncodeError:  # odd bytes of file names in another encoding are written out as escapes
        return pa.array([str(entry or "").encode("utf-8", "backslashreplace").decode() for entry in entries])
    except (pa.ArrowException, TypeError, ValueError):
        wrong = next((entry for entry in entries if not _fits(kind, entry)), "a number beyond what it holds")
        raise ValueError(f"column {name} takes {kind.__name__}, not {wrong!r}") from None


def _fits(kind: type, entry: Any) -> bool:
    if entry is None or kind is str:
        return entry is None or isinstance(entry, str)
    try:
        return float(kind(entry)) == float(entry) or isnan(entry)
    except (TypeError, ValueError, OverflowError):
        return False


def _check(shared: Mapping[str, pa.Array]) -> None:
    for name in ("study", "metric"):
        if pc.any(pc.equal(shared[name], "")).as_py():
            raise ValueError("study and metric of a row must be named")
    for name in key_of(list(shared)):
        if pa.types.is_floating(shared[name].type) and pc.any(pc.is_nan(shared[name])).as_py():
            raise ValueError(f"{name} is part of the key and cannot be NaN")


def _single(row: Mapping[str, Any]) -> Block:
    """A row of its own as a block of one."""
    value, status = float(row.get("value", nan)), row.get("status", "ok")
    if status == "ok" and isnan(value):
        raise ValueError("an ok row needs a value; what is undefined is not_applicable, with its reason")
    if status != "ok" and not isnan(value):
        raise ValueError(f"a row that is {status} has a message and no value")
    fields = {name: entry for name, entry in row.items() if name not in ("image", "target", "value")}
    if status == "ok":
        fields.pop("status", None)
    reason = str(row.get("message", ""))
    return Block([row.get("image", "")], [row.get("target")], np.array([value]), reason, fields)


def _each(text: str | Sequence[str], count: int) -> Sequence[str]:
    return [text] * count if isinstance(text, str) else text


def union(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of several studies, with the columns of all: "" or null where a study does not have one."""
    nullable = [table.cast(pa.schema([column.with_nullable(True) for column in table.schema])) for table in tables]
    table = pa.concat_tables(nullable or [schema_of({}).empty_table()], promote_options="default")
    for i, column in enumerate(table.schema):
        if pa.types.is_string(column.type) and table[i].null_count:
            table = table.set_column(i, column, pc.fill_null(table[i], ""))
    return table


def with_note(table: pa.Table, note: str) -> pa.Table:
    """The same rows, each message with a note behind it."""
    column = table.schema.get_field_index("message")
    message = table["message"]
    noted = pc.if_else(pc.equal(message, ""), note, pc.binary_join_element_wise(message, note, "; "))
    return table.set_column(column, table.schema.field(column), noted)


def without_doubles(table: pa.Table) -> pa.Table:
    """The first of the rows that have one key."""
    doubled = table.select(key_of(table.column_names)).to_pandas().duplicated(keep="first").to_numpy()
    return table.filter(pa.array(~doubled))
