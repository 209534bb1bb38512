"""What a run leaves behind: rows and run.json. Knows nothing of how they came about; no torch."""

from suite.results.columns import Block, as_table
from suite.results.manifest import RunLock, read_manifest, write_manifest
from suite.results.schema import KEY, SCHEMA, STATUSES, row
from suite.results.store import read, scan, shard_is_valid, write_shard

__all__ = [
    "KEY",
    "SCHEMA",
    "STATUSES",
    "Block",
    "RunLock",
    "as_table",
    "read",
    "read_manifest",
    "row",
    "scan",
    "shard_is_valid",
    "write_manifest",
    "write_shard",
]
