"""Folders and tables for tests of image sources, and what is read of them."""

import csv
from pathlib import Path

import pytest

from suite.core.classes import ClassNames
from suite.data.sources import ImageList, list_images
from suite.errors import DataError

IMAGENET = ClassNames.imagenet()


def touch(root: Path, *names: str) -> Path:
    """Files whose bytes are their names: listing decodes nothing, so anything will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def table(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)
    return path


def labels(images: ImageList) -> dict[str, int | None]:
    return {file.id: file.label for file in sorted(images.files, key=lambda file: file.id)}


def refused(source: str | Path, *parts: str, classes: ClassNames = IMAGENET, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        list_images(source, classes=classes, **options)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    assert all(part in said for part in parts), said
    return said
