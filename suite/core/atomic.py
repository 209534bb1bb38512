"""Writes whole files or nothing: for what nobody may ever see half-written. Standard library only."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill beside `path`, which takes its place at the end of the block.

    A reader, or a kill at any moment, finds the old file or the new, never a part; after a kill, a `.tmp` beside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        _on_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a disk that is full does not say what was being written
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        _on_disk(path.parent)  # the rename itself is safe only once the folder is on the disk


def _on_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, wholly or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
