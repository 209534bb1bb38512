"""Rows on disk: one parquet shard a work item, gathered into large parts, read back sorted. No torch, no meaning.

`rows/<study>/` holds shards and parts. The footer of a part names the shards that it holds, which are not read, so that
a kill between the writing of a part and the removal of its shards doubles nothing.
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
from suite.errors import SuiteError, did_you_mean
from suite.results.columns import Block, as_table, union
from suite.results.manifest import FILE_NAME, read_manifest
from suite.results.schema import COMMON, Keys, key_of, schema_of

PART_ROWS, GROUP_ROWS = 1_000_000, 100_000  # of a part, and of what is read or written at a time
_PACKED: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
_COMMON = schema_of({})


def write_shard(
    path: Path, rows: pa.Table | Iterable[Block | Mapping[str, Any]], run: str = "", keys: Keys | None = None
) -> None:
    """Writes the rows of one item (none at all is allowed) as one checked, atomic parquet file.

    Args:
        path: under a run's rows/.
        rows: blocks and single rows, or the table of them (`suite.results.columns.as_table`).
        run: identifies the run; shards of two runs are not read together.
        keys: the study's own columns.
    """
    table = as_table(rows, keys or {}).replace_schema_metadata({"run": run})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **_PACKED)
    write_bytes(Path(path), sink.getvalue().to_pybytes())


def _run_of(schema: pa.Schema) -> str:
    return str((schema.metadata or {}).get(b"run", b""), "utf-8")


def _shards_in(part: Path) -> set[str]:
    """The shards that a part holds; none of what is no part, or is damaged.

    Raises:
        SuiteError: the disk does not let the part be read now, which says nothing of what it holds.
    """
    try:
        metadata = _open(part).metadata.metadata or {}
        return set(json.loads(metadata.get(b"shards", b"[]")))
    except (pa.ArrowException, ValueError):
        return set()
    except OSError as error:
        if error.errno is None:  # how pyarrow says that a file is damaged
            return set()
        raise SuiteError(f"{part} cannot be read now ({error.strerror}); give the same command again") from error


def _open(path: Path) -> pq.ParquetFile:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    columns = file.schema_arrow
    if not {*COMMON} <= {*columns.names} or any(columns.field(f.name).type != f.type for f in _COMMON):
        raise pa.ArrowInvalid("its columns are not those of suite.results.schema")
    return file


def shard_is_valid(path: Path) -> bool:
    """Whether `path` is a whole, undamaged shard with the right columns, so that its item is done."""
    return _whole(path) is not None


def _whole(path: Path) -> pa.Table | None:
    try:
        return _open(path).read()
    except (OSError, pa.ArrowException):
        return None


def _failed(table: pa.Table) -> bool:
    """Whether the item of a shard failed as a whole, so that it is worth trying again."""
    failed = pc.and_(pc.equal(table["metric"], "item"), pc.equal(table["status"], "failed"))
    return bool(pc.any(failed).as_py())


def _folders(run_dir: Path) -> list[Path]:
    return sorted(path for path in (run_dir / "rows").glob("*") if path.is_dir())


def studies_in(run_dir: Path | str) -> list[str]:
    """The studies that a run has rows of, by name."""
    return sorted({name for table in scan(run_dir, columns=["study"]) for name in table["study"].unique().to_pylist()})


def _parts_and_shards(folder: Path) -> tuple[dict[Path, set[str]], list[Path]]:
    """The parts with what they hold, and the shards that are in no part."""
    parts = {path: _shards_in(path) for path in sorted(folder.glob("part-*.parquet"))}
    gathered = set().union(*parts.values())
    shards = (path for path in folder.glob("*.parquet") if path not in parts)
    return parts, sorted(path for path in shards if path.name not in gathered)


def mend(run_dir: Path) -> None:
    """Removes what a kill or a damage left: unfinished files, damaged parts, and shards that are in a part."""
    for kind in ("rows", "images"):
        for path in (run_dir / kind).rglob(".*.tmp"):
            path.unlink(missing_ok=True)
    for folder in _folders(run_dir):
        for part, shards in _parts_and_shards(folder)[0].items():
            if not shards:
                part.unlink()
            for name in shards:
                (folder / name).unlink(missing_ok=True)


def done(run_dir: Path, run: str = "") -> set[str]:
    """The shards, as `study/name`, whose items need not be worked on again: whole, and their items did not fail.

    Raises:
        SuiteError: one is of another run.
    """
    finished: set[str] = set()
    for folder in _folders(run_dir):
        parts, shards = _parts_and_shards(folder)
        finished |= {f"{folder.name}/{name}" for names in parts.values() for name in names}
        for path in shards:
            if (table := _whole(path)) is None:
                continue
            if (other := _run_of(table.schema)) != run:
                raise SuiteError(
                    f"{path} is of another run ({other or 'none'}, this one's is {run}); delete it and run again"
                )
            if not _failed(table):
                finished.add(f"{folder.name}/{path.name}")
    return finished


def names(run_dir: Path) -> set[str]:
    """All shards there are, as `study/name`, by their names alone."""
    existing = set()
    for folder in _folders(run_dir):
        parts, shards = _parts_and_shards(folder)
        gathered = set().union(*parts.values())
        existing |= {f"{folder.name}/{name}" for name in (*gathered, *(path.name for path in shards))}
    return existing


def compact(folder: Path, shards: Collection[str]) -> None:
    """Gathers shards of a study into parts of about `PART_ROWS` rows. What failed stays a shard, to be tried again.

    Args:
        folder: the study's.
        shards: names of those that are of items.

    Raises:
        SuiteError: one of them is damaged.
    """
    parts, loose = _parts_and_shards(folder)
    tables = ((path, _readable(path)) for path in loose if path.name in shards)
    kept = ((path, table) for path, table in tables if not _failed(table))
    number = max((int(part.stem[5:]) for part in parts), default=-1)
    for first in kept:  # one turn a part
        number += 1
        part, schema = folder / f"part-{number:06d}.parquet", first[1].schema
        gathered = _write_part(part, schema, chain([first], kept))
        for path in gathered:
            path.unlink(missing_ok=True)


def _write_part(part: Path, schema: pa.Schema, tables: Iterable[tuple[Path, pa.Table]]) -> list[Path]:
    """Takes tables until the part is full; the paths of their shards."""
    gathered, waiting = list[Path](), list[pa.Table]()
    held = rows = 0
    with replacing(part) as temporary, pq.ParquetWriter(temporary, schema, **_PACKED) as writer:
        for path, table in tables:
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
        writer.add_key_value_metadata({"shards": json.dumps([path.name for path in gathered])})
    return gathered


def _may_hold(group: pq.RowGroupMetaData, studies: Collection[str]) -> bool:
    """Whether a row group can have rows of one of the studies, by the least and greatest name that it says it holds."""
    study = group.column(0)
    known = study.statistics if study.path_in_schema == "study" else None
    return not studies or known is None or not known.has_min_max or any(known.min <= s <= known.max for s in studies)


def _unreadable(path: Path, error: Exception) -> SuiteError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return SuiteError(f"{path} is not a readable shard ({reason}); delete it and run again")


def _readable(path: Path) -> pa.Table:
    try:
        return _open(path).read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def scan(run_dir: Path | str, studies: Collection[str] = (), columns: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The rows of a run in tables of some 100,000 at most, in no order; each has the columns that its item wrote.

    Args:
        run_dir: the run's.
        studies: those wanted; all by default.
        columns: likewise.

    Raises:
        SuiteError: A shard cannot be read, or is of another run than the others; the rows are of another schema.
    """
    run_dir, first = Path(run_dir), None
    if not run_dir.is_dir():
        raise SuiteError(f"{run_dir} is not a folder; expected a run directory")
    if (run_dir / FILE_NAME).is_file():
        read_manifest(run_dir)  # which refuses another schema
    for folder in _folders(run_dir):
        parts, shards = _parts_and_shards(folder)
        for path in (*parts, *shards):
            try:
                file = _open(path)
                run = _run_of(file.schema_arrow)
                first = first or (run, path)
                if run != first[0]:
                    raise SuiteError(f"{path} is of another run than {first[1].name}; delete the one that strayed here")
                for table in _groups(file, studies, columns):
                    yield table.filter(pc.is_in(table["study"], pa.array(studies))) if studies else table
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error


def _groups(file: pq.ParquetFile, studies: Collection[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups of a file that can hold rows of one of the studies."""
    wanted = sorted({"study", *columns}) if columns else None
    for group in range(file.num_row_groups):
        if _may_hold(file.metadata.row_group(group), studies):
            yield file.read_row_group(group, wanted)


def read(run_dir: Path | str, study: str | Collection[str] = ()) -> pd.DataFrame:
    """Rows of a run, sorted by their key; whole numbers are nullable integers.

    Args:
        run_dir: the run's.
        study: one, whose rows have its own columns (and those of other studies where one item made rows of several); or
            several, or all, whose rows have the columns of all: "" or null where a study does not have them.

    Raises:
        SuiteError: A shard cannot be read, two rows have one key, the run's rows are of another schema, or the study
            named has none.
    """
    table = union(scan(run_dir, [study] if isinstance(study, str) else study))
    if isinstance(study, str) and not len(table) and not (Path(run_dir) / "rows" / study).is_dir():
        present = studies_in(run_dir)
        hint = did_you_mean(study, present)
        raise SuiteError(f"{run_dir} has no rows of the study {study!r}{hint}; it has {', '.join(present) or 'none'}")
    types = {pa.int64(): pd.Int64Dtype()}.get
    frame: pd.DataFrame = table.replace_schema_metadata().to_pandas(types_mapper=types)
    last = [name for name in COMMON if name not in ("study", "model", "method")]
    columns = [*(str(name) for name in frame if name not in last), *last]
    frame, key = frame[columns], key_of(columns)
    doubled = frame[frame.duplicated(key, keep="first")]
    if len(doubled):
        named = {name: value for name, value in doubled.iloc[0][key].items() if pd.notna(value) and value != ""}
        first = ", ".join(f"{name}={value}" for name, value in named.items())
        raise SuiteError(
            f"{run_dir} holds {len(doubled)} row(s) whose key is there already, first {first}; "
            "two shards hold the same item: delete rows/ and run again"
        )
    return frame.sort_values(key, kind="stable", na_position="first", ignore_index=True)
