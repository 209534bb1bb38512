"""Rows on disk: one parquet shard a work item, gathered into large parts, read back sorted. No torch, no meaning.

`rows/<study>/` holds shards; `parts.json` there names the parts that shards were gathered into, and which. A shard that
stands in `parts.json` is not read, so that a kill between its writing and the shards' removal doubles nothing.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from suite.core.atomic import replacing, write_bytes
from suite.errors import SuiteError
from suite.results.columns import Block, as_table
from suite.results.schema import KEY, SCHEMA

PART_ROWS, GROUP_ROWS = 1_000_000, 100_000  # of a part, and of what is read or written at a time
_INDEX = "parts.json"
_PACKED: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
_Index = dict[str, dict[str, Any]]  # part -> bytes, and the shards it holds


def write_shard(path: Path, rows: pa.Table | Iterable[Block | Mapping[str, Any]], run: str = "") -> None:
    """Writes the rows of one item (none at all is allowed) as one checked, atomic parquet file.

    Args:
        path: under a run's rows/.
        rows: blocks and single rows, or the table of them (`suite.results.columns.as_table`).
        run: identifies the run; shards of two runs are not read together.
    """
    table = as_table(rows).replace_schema_metadata({"run": run})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **_PACKED)
    write_bytes(Path(path), sink.getvalue().to_pybytes())


def _run_of(schema: pa.Schema) -> str:
    return str((schema.metadata or {}).get(b"run", b""), "utf-8")


def _open(path: Path) -> pq.ParquetFile:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    if not file.schema_arrow.equals(SCHEMA):
        raise pa.ArrowInvalid("its columns are not those of suite.results.schema")
    return file


def shard_is_valid(path: Path) -> bool:
    """Whether `path` is a whole, undamaged shard with the right columns, so that its item is done."""
    try:
        _open(Path(path)).read()
    except (OSError, pa.ArrowException):
        return False
    return True


def _failed(table: pa.Table) -> bool:
    """Whether the item of a shard failed as a whole, so that it is worth trying again."""
    failed = pc.and_(pc.equal(table["metric"], "item"), pc.equal(table["status"], "failed"))
    return bool(pc.any(failed).as_py())


def _index(folder: Path) -> _Index:
    path = folder / _INDEX
    try:
        found = json.loads(path.read_bytes())
        return {part: {"bytes": int(at["bytes"]), "shards": list(map(str, at["shards"]))} for part, at in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SuiteError(f"{path} is damaged ({error}); delete {folder} and run again") from error


def _write_index(folder: Path, index: _Index) -> None:
    write_bytes(folder / _INDEX, json.dumps(index).encode())


def _whole(folder: Path, part: str, index: _Index) -> bool:
    path = folder / part
    return path.is_file() and path.stat().st_size == index[part]["bytes"]


def _shards_in(index: _Index) -> set[str]:
    return {name for about in index.values() for name in about["shards"]}


def mend(run_dir: Path) -> None:
    """Removes what a kill or a damage left: unfinished files, parts and shards that are of no more use."""
    for kind in ("rows", "images"):
        for path in (run_dir / kind).rglob(".*.tmp"):
            path.unlink(missing_ok=True)
    for path in (run_dir / "rows").glob(f"*/{_INDEX}"):
        folder, index = path.parent, _index(path.parent)
        whole = {part: about for part, about in index.items() if _whole(folder, part, index)}
        if whole != index:
            _write_index(folder, whole)
        for name in _shards_in(whole) | {p.name for p in folder.glob("part-*.parquet")} - whole.keys():
            (folder / name).unlink(missing_ok=True)


def done(run_dir: Path, run: str = "") -> set[str]:
    """The shards, as `study/name`, whose items need not be worked on again: whole, and their items did not fail.

    Raises:
        SuiteError: one is of another run.
    """
    found: set[str] = set()
    for folder in (path for path in sorted((run_dir / "rows").glob("*")) if path.is_dir()):
        index = _index(folder)
        for part in (part for part in index if _whole(folder, part, index)):
            found |= {f"{folder.name}/{name}" for name in index[part]["shards"]}
        for path in _loose(folder, index):
            try:
                table = _open(path).read()
            except (OSError, pa.ArrowException):
                continue
            if (other := _run_of(table.schema)) != run:
                raise SuiteError(
                    f"{path} is of another run ({other or 'none'}, this one's is {run}); delete it and run again"
                )
            if not _failed(table):
                found.add(f"{folder.name}/{path.name}")
    return found


def names(run_dir: Path) -> set[str]:
    """All shards there are, as `study/name`, by their names alone."""
    found = set()
    for folder in (path for path in (run_dir / "rows").glob("*") if path.is_dir()):
        index = _index(folder)
        found |= {f"{folder.name}/{name}" for name in (*_shards_in(index), *(p.name for p in _loose(folder, index)))}
    return found


def _loose(folder: Path, index: _Index) -> list[Path]:
    """Shards that are in no part."""
    gathered = _shards_in(index)
    return sorted(p for p in folder.glob("*.parquet") if not p.name.startswith("part-") and p.name not in gathered)


def compact(folder: Path, shards: Collection[str]) -> None:
    """Gathers shards of a study into parts of about `PART_ROWS` rows. What failed stays a shard, to be tried again.

    Args:
        folder: the study's.
        shards: names of those that are of items.

    Raises:
        SuiteError: one of them is damaged.
    """
    index = _index(folder)
    todo = ((path, table) for path in _loose(folder, index) if path.name in shards for table in [_whole_shard(path)])
    kept = ((path, table) for path, table in todo if not _failed(table))
    number = max((int(part[5:11]) for part in index), default=-1)
    for first in kept:  # one turn a part
        number += 1
        part, gathered = folder / f"part-{number:06d}.parquet", list[Path]()
        with replacing(part) as temporary, pq.ParquetWriter(temporary, first[1].schema, **_PACKED) as writer:
            waiting, held, rows = list[pa.Table](), 0, 0
            for path, table in chain([first], kept):
                gathered.append(path)
                waiting.append(table)
                held, rows = held + len(table), rows + len(table)
                if held >= GROUP_ROWS or rows >= PART_ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting, held = [], 0
                if rows >= PART_ROWS:
                    break
            if waiting:
                writer.write_table(pa.concat_tables(waiting))
        index[part.name] = {"bytes": part.stat().st_size, "shards": [path.name for path in gathered]}
        _write_index(folder, index)
        for path in gathered:
            path.unlink(missing_ok=True)


def _unreadable(path: Path, error: Exception) -> SuiteError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return SuiteError(f"{path} is not a readable shard ({reason}); delete it and run again")


def _may_hold(group: pq.RowGroupMetaData, studies: Collection[str]) -> bool:
    """Whether a row group can have rows of one of the studies, by the least and greatest name that it says it holds."""
    known = group.column(SCHEMA.get_field_index("study")).statistics
    return known is None or not known.has_min_max or any(known.min <= study <= known.max for study in studies)


def _whole_shard(path: Path) -> pa.Table:
    try:
        return _open(path).read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def scan(run_dir: Path | str, studies: Collection[str] = (), columns: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The rows of a run in tables of some 100,000 at most, in no order.

    Args:
        run_dir: the run's.
        studies: those wanted; all by default.
        columns: likewise.

    Raises:
        SuiteError: A shard cannot be read, or is of another run than the others.
    """
    run_dir, first = Path(run_dir), None
    if not run_dir.is_dir():
        raise SuiteError(f"{run_dir} is not a folder; expected a run directory")
    for folder in sorted(path for path in (run_dir / "rows", *(run_dir / "rows").glob("*")) if path.is_dir()):
        index = _index(folder)
        for path in [*(folder / part for part in index), *_loose(folder, index)]:
            try:
                file = _open(path)
                run = _run_of(file.schema_arrow)
                first = first or (run, path)
                if run != first[0]:
                    raise SuiteError(f"{path} is of another run than {first[1].name}; delete the one that strayed here")
                for group in range(file.num_row_groups):
                    if studies and not _may_hold(file.metadata.row_group(group), studies):
                        continue
                    table = file.read_row_group(group, list({"study", *columns}) if columns else None)
                    yield table.filter(pc.is_in(table["study"], pa.array(studies))) if studies else table
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error


def read(run_dir: Path | str, studies: Collection[str] = ()) -> pd.DataFrame:
    """All rows of a run, or those of some studies, sorted by `KEY`; `target` and `draw` are nullable integers.

    Raises:
        SuiteError: A shard cannot be read, or two rows have one key.
    """
    tables = [SCHEMA.empty_table(), *scan(run_dir, studies)]
    types = {pa.int64(): pd.Int64Dtype()}.get
    frame: pd.DataFrame = pa.concat_tables(tables).replace_schema_metadata().to_pandas(types_mapper=types)
    doubled = frame[frame.duplicated(list(KEY), keep="first")]
    if len(doubled):
        values = doubled.iloc[0][list(KEY)]
        first = ", ".join(f"{name}={value}" for name, value in values.items() if pd.notna(value) and value != "")
        raise SuiteError(
            f"{run_dir} holds {len(doubled)} row(s) whose key is there already, first {first}; "
            "two shards hold the same item: delete rows/ and run again"
        )
    return frame.sort_values(list(KEY), kind="stable", na_position="first", ignore_index=True)
