"""Rows by the column: what a study hands over, and the one table that is checked and written. No torch, no files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from suite.results.schema import KEY, SCHEMA, row

_KNOWN = frozenset(SCHEMA.names)
_OF_EACH = ("image", "target", "value", "status", "message")  # columns in which the rows of one block differ


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


def as_table(rows: pa.Table | Iterable[Block | Mapping[str, Any]]) -> pa.Table:
    """Blocks and single rows as one table of `SCHEMA`; such a table is left as it is.

    Raises:
        ValueError: as `suite.results.schema.row` does, which checks what a block's rows share; or a value is NaN
            without a reason.
    """
    if isinstance(rows, pa.Table):
        return rows
    lines = [line if isinstance(line, Block) else _single(line) for line in rows]
    if not lines:
        return SCHEMA.empty_table()
    shared = _shared(lines)
    index = pa.array(np.repeat(np.arange(len(lines)), [len(line) for line in lines]))
    values = np.concatenate([np.asarray(line.values, np.float64) for line in lines])
    missing, status = np.isnan(values), [str(line.fields.get("status", "not_applicable")) for line in lines]
    columns = {name: of_lines.take(index) for name, of_lines in shared.items()}
    why = _texts([text for line in lines for text in _each(line.undefined, len(line))])
    columns |= {
        "image": _texts([name for line in lines for name in line.images]),
        "target": pa.array([target for line in lines for target in line.targets], pa.int64()),
        "value": pa.array(values),
        "status": pc.if_else(missing, pa.array(status).take(index), "ok"),
        "message": pc.if_else(missing, why, columns["message"]),
    }
    if bool(pc.any(pc.and_(missing, pc.equal(columns["message"], ""))).as_py()):
        raise ValueError("a row that is not ok needs a message: a block's `undefined` says why its values are NaN")
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _shared(lines: Sequence[Block]) -> dict[str, pa.Array]:
    """The columns that a block's rows share, an entry a block: checked as a whole, and one by one where that fails."""
    names = [entry for entry in SCHEMA if entry.name not in _OF_EACH] + [SCHEMA.field("message")]
    blank = row(study="-", metric="-", value=0.0)
    try:
        columns = {n.name: _typed([line.fields.get(n.name, blank[n.name]) for line in lines], n.type) for n in names}
        unknown = {key for line in lines for key in line.fields} - _KNOWN
        empty = any(pc.any(pc.equal(columns[name], "")).as_py() for name in ("study", "metric"))
        sound = not unknown and not empty and not pc.any(pc.is_nan(columns["x"])).as_py()
    except (pa.ArrowException, TypeError, ValueError):
        sound = False
    if sound:
        return columns
    checked = [row(**{k: v for k, v in line.fields.items() if k != "status"} | {"value": 0.0}) for line in lines]
    return {n.name: pa.array([line[n.name] for line in checked], n.type) for n in names}


def _typed(entries: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """As pyarrow has it, which would cut a fraction off a whole number without a word."""
    return pa.array(entries, pa.float64()).cast(kind) if kind == pa.int64() else pa.array(entries, kind)


def _single(one: Mapping[str, Any]) -> Block:
    """A row of its own as a block of one."""
    checked = row(**one)
    fields = {name: value for name, value in checked.items() if name not in ("image", "target", "value")}
    if checked["status"] == "ok":
        del fields["status"]
    return Block([checked["image"]], [checked["target"]], np.array([checked["value"]]), checked["message"], fields)


def _each(text: str | Sequence[str], count: int) -> Sequence[str]:
    return [text] * count if isinstance(text, str) else text


def _texts(texts: Sequence[str]) -> pa.Array:
    """Odd bytes of file names in another encoding are written out as escapes."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())


def with_note(table: pa.Table, note: str) -> pa.Table:
    """The same rows, each message with a note behind it."""
    told = pc.if_else(pc.equal(table["message"], ""), note, pc.binary_join_element_wise(table["message"], note, "; "))
    return table.set_column(SCHEMA.get_field_index("message"), SCHEMA.field("message"), told)


def without_doubles(table: pa.Table) -> pa.Table:
    """The first of the rows that have one key."""
    doubled = table.select(list(KEY)).to_pandas().duplicated(keep="first").to_numpy()
    return table.filter(pa.array(~doubled))
