"""Rows on disk: one parquet shard a work item, read back as one sorted frame. No torch, no meaning of rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suite.errors import SuiteError
from suite.results.atomic import write_bytes
from suite.results.schema import KEY, SCHEMA, row


def write_shard(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the rows of one item (none at all is allowed) as one checked, atomic parquet file."""
    table = pa.Table.from_pylist([row(**fields) for fields in rows], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_bytes(Path(path), sink.getvalue().to_pybytes())


def _read_shard(path: Path) -> pa.Table:
    table = pq.ParquetFile(path, page_checksum_verification=True).read()
    if not table.schema.equals(SCHEMA):
        raise pa.ArrowInvalid("its columns are not those of suite.results.schema")
    return table


def shard_is_valid(path: Path) -> bool:
    """Whether `path` is a whole, undamaged shard with the right columns, so that its item is done."""
    try:
        _read_shard(Path(path))
    except (OSError, pa.ArrowException):
        return False
    return True


def shard_failed(path: Path) -> bool:
    """Whether the item of a valid shard failed as a whole, so that it is worth trying again."""
    table = _read_shard(Path(path)).select(["metric", "status"]).to_pylist()
    return any(line == {"metric": "item", "status": "failed"} for line in table)


def read(run_dir: Path | str) -> pd.DataFrame:
    """All rows of a run, sorted by `KEY`; `target` and `draw` are nullable integers.

    Raises:
        SuiteError: A shard cannot be read, or two rows have one key.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise SuiteError(f"{run_dir} is not a folder; expected a run directory")
    tables = [SCHEMA.empty_table()]
    for path in sorted((run_dir / "rows").rglob("*.parquet")):
        try:
            tables.append(_read_shard(path))
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise SuiteError(f"{path} is not a readable shard ({reason}); delete it and run again") from error
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    doubled = frame[frame.duplicated(list(KEY), keep="first")]
    if len(doubled):
        values = doubled.iloc[0][list(KEY)]
        first = ", ".join(f"{name}={value}" for name, value in values.items() if pd.notna(value) and value != "")
        raise SuiteError(
            f"{run_dir} holds {len(doubled)} row(s) whose key is there already, first {first}; "
            "two shards hold the same item: delete rows/ and run again"
        )
    return frame.sort_values(list(KEY), kind="stable", na_position="first", ignore_index=True)
