"""The kinds of image source, each as a list of files with labels. No torch; reads names and tables, no image."""

import importlib.metadata
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from suite.core.classes import SYNSET_ID, ClassNames
from suite.data.labels import read_labels, read_table, resolve_label
from suite.errors import DataError

EMBEDDED = "embedded"
DIGITS = "digits"
EMBEDDED_COUNT = 20
IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
)
_EMBEDDED_NAME = re.compile(r"imagenet_\d+_(\d+)\.jpg", re.ASCII)


@dataclass(frozen=True)
class ImageFile:
    """One image of a source.

    Attributes:
        id: posix path relative to the source's root, the same on every machine; never absolute, never with "..".
        path: where the file lies on this machine.
        label: class index, or None where the source has no labels.
        sha256: of the file's bytes, "" where they cannot be read (loading the image then says why). Before the file is
            read it is the digest in the list, if any.
        pixels: (3, H, W) in [0, 1], for an image in memory that has no file.
    """

    id: str
    path: Path
    label: int | None
    sha256: str = ""
    pixels: Any = field(default=None, compare=False, repr=False)


def list_files(source: str, *, labels: Path | None, classes: ClassNames) -> tuple[list[ImageFile], Path | None]:
    """All files of a source, and the folder that their ids are relative to (None for the embedded photos).

    See `suite.data.sources.list_images` for the sources and errors; an OSError is one of the source itself.
    """
    path = Path(source).expanduser()
    if source == DIGITS:
        from suite.data.digits import digits_folder  # torch

        path = digits_folder()
    root: Path | None
    accepted = f"give a folder of images, a CSV of file,label, or {EMBEDDED!r}"
    if source != EMBEDDED and path.is_dir():
        files, root = _from_folder(path, labels=labels, classes=classes), path
    elif labels is not None:
        raise DataError(f"labels {str(labels)!r} go with a folder of images only, and the data is {source!r}")
    elif source == EMBEDDED:
        files, root = _from_package(classes), None
    elif not path.exists():
        raise DataError(f"data {source!r}: no such file or folder; {accepted}")
    elif path.suffix.lower() == ".csv" and path.is_file():
        files, root = _from_csv(path, classes)
    else:
        raise DataError(f"data {source!r} is of unknown kind: {accepted}")
    for file in files:
        _check_id(file.id, where=f"data {source!r}")
    return files, root


def _from_package(classes: ClassNames) -> list[ImageFile]:
    files = []
    for name, path in embedded_photos().items():
        index = name.removesuffix(".jpg").rpartition("_")[2]
        files.append(ImageFile(name, path, resolve_label(classes, int(index), where=f"embedded photo {name!r}")))
    return files


def embedded_photos() -> dict[str, Path]:
    """File name -> path of the photos in the installed foolbox distribution, which is not imported."""
    needed = f"the {EMBEDDED_COUNT} embedded photos are those of the package foolbox 3.3.4"
    try:
        recorded = importlib.metadata.files("foolbox")
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"{needed}, which is not installed: pip install foolbox==3.3.4, or give a folder of images as data"
        ) from error
    photos = {}
    for file in recorded or ():
        path = Path(str(file.locate()))
        if file.parent.as_posix() == "foolbox/data" and _EMBEDDED_NAME.fullmatch(file.name) and path.is_file():
            photos[file.name] = path
    if len(photos) != EMBEDDED_COUNT:
        repair = "pip install --force-reinstall --no-deps foolbox==3.3.4"
        raise DataError(f"{needed}, and the one installed holds {len(photos)}: {repair}")
    return photos


def _from_folder(root: Path, *, labels: Path | None, classes: ClassNames) -> list[ImageFile]:
    where = f"data {str(root)!r}"
    folders, images = _entries(root)
    by_folder = {folder: below for folder in folders if (below := list(_images_below(folder)))}
    if images and by_folder:
        first = min(by_folder).name
        raise DataError(f"{where} holds both images and a folder of images {first!r}: give one or the other")
    if images:
        return _from_flat_folder(root, images, labels=labels, classes=classes)
    if not by_folder:
        kinds = "files such as .jpg or .png, or folders of them named by class"
        raise DataError(f"{where} holds no images: expected {kinds}")
    if labels is not None:
        why = f"{where} is labelled by its folders' names"
        raise DataError(f"labels {str(labels)!r} go with one folder of images; {why}")
    files = []
    for folder, below in by_folder.items():
        label = resolve_label(classes, folder.name, where=f"{where}: class folder {folder.name!r}")
        files += [ImageFile(image.relative_to(root).as_posix(), image, label) for image in below]
    return files


def _from_flat_folder(root: Path, images: list[Path], *, labels: Path | None, classes: ClassNames) -> list[ImageFile]:
    if labels is not None:
        table = read_labels(labels.expanduser(), classes)
        files = [ImageFile(image.name, image, table.get(image.name, table.get(image.stem))) for image in images]
        if bare := [file.id for file in files if file.label is None]:
            raise DataError(f"labels {str(labels)!r} have none for {bare[0]!r} ({len(bare)} of {len(images)} files)")
        return files
    if classes.synsets is None or not any(SYNSET_ID.match(image.name) for image in images):
        return [ImageFile(image.name, image, None) for image in images]
    files = []
    for image in images:
        where, synset = f"data {str(root)!r}: {image.name!r}", SYNSET_ID.match(image.name)
        if synset is None:
            remedy = "rename it, or give labels, a CSV of file,label"
            raise DataError(f"{where} does not begin with a synset id as others do: {remedy}")
        files.append(ImageFile(image.name, image, resolve_label(classes, synset[0], where=where)))
    return files


def _from_csv(path: Path, classes: ClassNames) -> tuple[list[ImageFile], Path | None]:
    rows = read_table(path, columns=("file", "label"))
    if not rows:
        raise DataError(f"data {str(path)!r} lists no files")
    sources = sorted({row.get("source", "") for row in rows})
    if len(sources) > 1:
        raise DataError(f"data {str(path)!r}: the column source holds both {sources[0]!r} and {sources[1]!r}: give one")
    photos = embedded_photos() if sources == [EMBEDDED] else None
    root = path.parent / Path(sources[0]).expanduser()
    files: dict[PurePosixPath, ImageFile] = {}
    for row in rows:
        name = row["file"]
        where = f"data {str(path)!r}: {name!r}"
        _check_id(name, where=f"data {str(path)!r}")
        if PurePosixPath(name) in files:
            raise DataError(f"{where} is listed twice")
        file = root / name if photos is None else photos.get(name)
        if file is None or not os.path.lexists(file) or _is_folder(file):
            source = "among the embedded photos" if photos is not None else f"in {str(root)!r}"
            raise DataError(f"{where} is no file {source}; files are relative to the CSV, or to its column source")
        label = resolve_label(classes, row["label"], where=where) if row["label"].strip() else None
        files[PurePosixPath(name)] = ImageFile(name, file, label, row.get("sha256", "").strip().lower())
    return list(files.values()), root if photos is None else None


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and image files of a folder, sorted, without hidden ones; a link counts as what it points at."""
    try:
        visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error
    visible.sort(key=lambda entry: entry.name)
    folders = [entry for entry in visible if _is_folder(entry)]
    return folders, [entry for entry in visible if entry.suffix.lower() in IMAGE_EXTENSIONS and entry not in folders]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:  # a link to nowhere or to itself: listed as a file, and refused when it is loaded
        return False


def _images_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    target = folder.resolve()
    if target in above:
        raise DataError(f"folder {str(folder)!r} is a link to a folder that holds it: remove the link")
    folders, images = _entries(folder)
    yield from images
    for inner in folders:
        yield from _images_below(inner, (*above, target))


def _check_id(name: str, *, where: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the file name {name!r} is not UTF-8: rename it") from error
    path = PurePosixPath(name)
    if not name.strip() or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: {name!r} is not a path below the list's folder; name another in the column source")
