"""What a run leaves behind: rows and run.json. Knows nothing of how they came about; no torch."""

from suite.results.columns import Block, as_table
from suite.results.manifest import RunLock, read_manifest, write_manifest
from suite.results.schema import COMMON, STATUSES, VERSION, Keys, key_of, schema_of
from suite.results.store import read, scan, shard_is_valid, studies_in, write_shard

__all__ = [
    "COMMON",
    "STATUSES",
    "VERSION",
    "Block",
    "Keys",
    "RunLock",
    "as_table",
    "key_of",
    "read",
    "read_manifest",
    "scan",
    "schema_of",
    "shard_is_valid",
    "studies_in",
    "write_manifest",
    "write_shard",
]
