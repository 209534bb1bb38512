"""Saved maps to pictures: a sheet a photo (own, Captum, difference) and grids of photos by methods. No torch."""

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from suite.core.atomic import write_bytes
from suite.errors import SuiteError
from suite.report.overlay import scale
from suite.report.sections import Captions
from suite.report.style import slug
from suite.report.tiles import PAPER, SIDE, Row, Tile, fit, map_tile, sheet

COLUMNS = 6  # methods side by side before the sheet goes on below
GRID_SIDE, GRID_ROWS, GRID_PAGES = 136, 10, 4
THUMBNAIL, PICTURE_BYTES = 1300, 80_000  # of a picture in the page: pixels across, and bytes
SIDES = ("own", "captum", "difference")
NOTE = (
    "Colour ends at the 99th percentile of the own map's size; own and Captum share that scale, the difference has its "
    "own. Small maps are enlarged bilinearly."
)

Picture = tuple[Path, str, str]  # a PNG, its title, and its text for those who cannot see it
Arrays = dict[str, NDArray[Any]]


def titles_of(manifest: dict[str, Any]) -> dict[str, str]:
    """The networks' names by their folders."""
    return {info["folder"]: title for title, info in manifest.get("models", {}).items()}


def signed_methods(manifest: dict[str, Any]) -> dict[str, bool]:
    """Which methods' maps have a sign."""
    return {label: bool(info.get("signed")) for label, info in manifest.get("methods", {}).items()}


class Photo(NamedTuple):
    """One photo of one network, and the maps that were saved of it.

    Attributes:
        source: its arrays; beside them lie the sheet and the strip.
        label: its class, or else its name.
        sees: what the network sees in it, in words.
        methods: label -> whether there is a reference beside it.
    """

    source: Path
    image: str
    model: str
    label: str
    sees: str
    methods: dict[str, bool]

    @property
    def title(self) -> str:
        return f"{self.label} · {self.model}"

    @property
    def full(self) -> Path:
        """The sheet, a PNG."""
        return self.source.with_suffix(".png")

    @property
    def strip(self) -> Path:
        """A WebP of all tiles without gaps: the photo and then a column a method, a row each of `SIDES`."""
        return self.source.with_suffix(".webp")


def draw_pictures(run_dir: Path, captions: Captions, manifest: dict[str, Any]) -> list[Photo]:
    """Draws pages of photos by methods, and a sheet and a strip beside each saved .npz; newer files are kept.

    Returns:
        Photo by photo, the networks of one photo side by side.
    """
    titles, signed = titles_of(manifest), signed_methods(manifest)
    photos = []
    for source in sorted((run_dir / "images").glob("*/[0-9]*.npz"), key=lambda path: (path.stem, path.parent.name)):
        model, image = titles.get(source.parent.name, source.parent.name), str(load(source, "id")["id"])
        label, sees = captions.get((model, image), ("", ""))
        photo = Photo(source, image, model, label or image, sees, _methods(source))
        if not newer(photo.full, source):
            save_png(_sheet(load(source), photo, signed), photo.full)
        if not newer(photo.strip, source):
            save_webp(_strip(load(source), photo, signed), photo.strip)
        photos.append(photo)
    _draw_grids(photos, signed, run_dir / "plots")
    return photos


def _methods(source: Path) -> dict[str, bool]:
    with np.load(source, allow_pickle=False) as file:  # their names alone are read
        return {key[4:]: f"captum|{key[4:]}" in file.files for key in file.files if key.startswith("own|")}


def newer(path: Path, *sources: Path) -> bool:
    """Whether `path` is there and no source was written after it."""
    return path.exists() and path.stat().st_mtime_ns >= max(source.stat().st_mtime_ns for source in sources)


def saved(run_dir: Path, pattern: str, manifest: dict[str, Any]) -> Iterator[tuple[Path, str, Arrays]]:
    """The files of a pattern under images/, each with its network's name and its arrays."""
    titles = titles_of(manifest)
    for path in sorted((run_dir / "images").glob(f"*/{pattern}")):
        yield path, titles.get(path.parent.name, path.parent.name), load(path)


def _sides(arrays: Arrays, label: str, signed: dict[str, bool]) -> Iterator[Tile]:
    """A method's maps in the order of `SIDES`, with the values at which colours end; the first has its name."""
    maps = {side: arrays[f"{side}|{label}"] for side in SIDES if f"{side}|{label}" in arrays}
    limit = scale(maps["own"]) or max(map(scale, maps.values()))
    for side, values in maps.items():
        if side != "difference":
            is_signed = signed.get(label, bool((maps["own"] < 0).any()))
            yield map_tile(label * (side == "own"), values, is_signed, limit=limit)
        elif values.any():
            yield map_tile("", values, False, limit=float(np.nan_to_num(values.max(), posinf=0)))
        else:
            yield Tile("", "equal to the last bit")


def _sheet(arrays: Arrays, photo: Photo, signed: dict[str, bool]) -> Image.Image:
    """Blocks of at most `COLUMNS` methods, those that have a reference first; the photo stands in the first."""
    corner: Tile | None = Tile("photo", arrays["photo"])
    rows: list[Row] = []
    for compared, sides in ((True, SIDES), (False, SIDES[:1])):
        labels = [label for label, has_reference in photo.methods.items() if has_reference is compared]
        for start in range(0, len(labels), COLUMNS):
            columns = [_sides(arrays, label, signed) for label in labels[start : start + COLUMNS]]
            for side, *tiles in zip(sides, *columns, strict=True):
                rows.append((side.replace("captum", "Captum"), [corner, *tiles]))
                corner = None
    title = photo.title + (f" · sees {photo.sees}" if photo.sees else "")
    return sheet(rows or [("", [corner])], title=title, notes=[photo.image, NOTE])


def _strip(arrays: Arrays, photo: Photo, signed: dict[str, bool]) -> Image.Image:
    corner = fit(arrays["photo"], SIDE if len(photo.methods) <= COLUMNS else GRID_SIDE)
    strip = Image.new("RGB", ((1 + len(photo.methods)) * corner.width, len(SIDES) * corner.height), PAPER)
    strip.paste(corner)
    for column, label in enumerate(photo.methods, start=1):
        for row, tile in enumerate(_sides(arrays, label, signed)):
            strip.paste(tile.draw(corner, SIDE), (column * corner.width, row * corner.height))
    return strip


def _draw_grids(photos: list[Photo], signed: dict[str, bool], folder: Path) -> None:
    """Pages of photo by method for each network, ten photos a page, four pages at most."""
    for model in dict.fromkeys(photo.model for photo in photos):
        of_model = [photo for photo in photos if photo.model == model]
        for page in range(GRID_PAGES):
            path, shown = folder / f"grid-{slug(model)}-{page + 1}.png", of_model[page * GRID_ROWS :][:GRID_ROWS]
            if shown and not newer(path, *(photo.source for photo in shown)):
                lines = [(p.label, p.sees and f"sees {p.sees}", load(p.source)) for p in shown]
                save_png(photo_grid(lines, signed), path)


def photo_grid(lines: list[tuple[str, str, Arrays]], signed: dict[str, bool]) -> Image.Image:
    """A line a photo: two texts, the photo, and its maps (arrays named `own|...`) under their names.

    A map whose name `signed` does not know is drawn with a sign where it has negative values.
    """
    labels = list(dict.fromkeys(key[4:] for *_, arrays in lines for key in arrays if key.startswith("own|")))
    rows: list[Row] = []
    for title, words, arrays in lines:
        maps = [(label, arrays.get(f"own|{label}")) for label in labels]
        tiles = [None if values is None else map_tile("", values, signed.get(label)) for label, values in maps]
        rows.append((f"{title}\n{words}", [Tile("", arrays["photo"]), *tiles]))
    return sheet(rows, columns=["", *labels], side=GRID_SIDE)


def load(path: Path, *names: str) -> Arrays:
    """The arrays of one photo, or those of them that are named.

    Raises:
        SuiteError: The file is damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in names or file.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise SuiteError(f"{path} holds no readable arrays ({error}); delete it and run again") from error


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a picture, atomically."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=4)
    write_bytes(path, file.getvalue())


def thumbnail(path: Path) -> Path:
    """The WebP beside a PNG, made where it is not there or older."""
    small = path.with_suffix(".webp")
    if not newer(small, path):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((THUMBNAIL, image.height), Image.Resampling.LANCZOS)
        save_webp(image, small)
    return small


def save_webp(image: Image.Image, path: Path) -> None:
    """Writes at most `PICTURE_BYTES`: coarser, then smaller, until it fits."""
    while True:
        for quality in (80, 62, 45):
            file = BytesIO()
            image.save(file, "WEBP", quality=quality, method=2)
            if file.tell() <= PICTURE_BYTES:
                write_bytes(path, file.getvalue())
                return
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS, reducing_gap=2)
