"""Writes whole files or nothing. Standard library only."""

import os
import uuid
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path` so that a reader, or a kill at any moment, leaves the old file or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The rename itself is safe only once the folder is on the disk.
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
