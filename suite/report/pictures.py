"""Saved maps to pictures: a sheet a photo (own, Captum, difference) and grids of photos by methods. No torch."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from suite.core.atomic import write_bytes
from suite.errors import SuiteError
from suite.report.overlay import (
    PAPER,
    QUIET,
    TILE,
    colour_strip,
    draw_map,
    fit_photo,
    in_words,
    scale,
    write,
    write_lines,
)  # fmt: skip
from suite.report.sections import records
from suite.report.style import slug

GAP, MARGIN, STRIP = 14, 22, 34
COLUMNS = 6  # methods side by side before the sheet goes on below
GRID_TILE, GRID_ROWS, GRID_PAGES = 136, 10, 4
THUMBNAIL, PICTURE_BYTES = 1300, 80_000  # what the page embeds: pixels across, and bytes
SIDES = ("own", "captum", "difference")
NOTE = (
    "Colour ends at the 99th percentile of the own map's size; own and Captum share that scale, the difference has its "
    "own. Small maps are enlarged bilinearly."
)


Picture = tuple[Path, str, str]  # a PNG, its title, and its text for those who cannot see it


def titles_of(manifest: dict[str, Any]) -> dict[str, str]:
    """The networks' names by their folders."""
    return {info["folder"]: title for title, info in manifest.get("models", {}).items()}


def signed_methods(manifest: dict[str, Any]) -> dict[str, bool]:
    """Which methods' maps have a sign."""
    return {label: bool(info.get("signed")) for label, info in manifest.get("methods", {}).items()}


@dataclass(frozen=True)
class Tiles:
    """One photo's maps as the page shows them.

    Attributes:
        full: the sheet, a PNG.
        path: a WebP beside it: the photo and then a column a method, a row each of `SIDES`.
        ratio: a tile's height over its width.
        title: the label and the network.
        image: the photo's name.
        sees: what the network sees.
        methods: label -> whether there is a reference beside it.
    """

    full: Path
    path: Path
    ratio: float
    title: str
    image: str
    sees: str
    methods: dict[str, bool]


@dataclass(frozen=True)
class Sheet:
    """One photo of one network: where its arrays lie, where its picture goes, and what was predicted."""

    source: Path
    picture: Path
    image: str
    model: str
    label: str = ""
    top1: str = ""
    confidence: float = float("nan")
    correct: str = ""

    @property
    def prediction(self) -> str:
        """The network's top class in words, with its confidence and whether it is right."""
        if not self.top1:
            return ""
        mark = {"yes": " (right)", "no": " (wrong)"}.get(self.correct, "")
        return f"{self.top1}, {self.confidence:.1%}{mark}"


def draw_pictures(run_dir: Path, predictions: pd.DataFrame | None, manifest: dict[str, Any]) -> list[Tiles]:
    """Draws pages of photos by methods, and a sheet and tiles beside each saved .npz; what is newer than that is kept.

    Returns:
        Photo by photo, the networks of one photo side by side.
    """
    known: dict[tuple[str, str], dict[str, Any]] = {}
    if predictions is not None:
        known = {(line["model"], line["image"]): line for line in records(predictions)}
    titles, signed = titles_of(manifest), signed_methods(manifest)
    sheets = []
    for source in sorted((run_dir / "images").glob("*/[0-9]*.npz"), key=lambda path: (path.stem, path.parent.name)):
        model, image = titles.get(source.parent.name, source.parent.name), str(load(source, "id")["id"])
        line = known.get((model, image), {})
        words = {key: line[key] for key in ("label", "top1", "confidence", "correct") if key in line}
        sheet = Sheet(source, source.with_suffix(".png"), image, model, **words)
        if not newer(sheet.picture, source):
            save_png(_sheet(load(source), sheet, signed), sheet.picture)
        if not newer(source.with_suffix(".webp"), source):
            save_webp(_tiles(load(source), signed), source.with_suffix(".webp"))
        sheets.append(sheet)
    _draw_grids(sheets, signed, run_dir / "plots")
    return [_described(sheet) for sheet in sheets]


def _described(sheet: Sheet) -> Tiles:
    keys = names(sheet.source)
    methods = {key[4:]: f"captum|{key[4:]}" in keys for key in keys if key.startswith("own|")}
    path = sheet.source.with_suffix(".webp")
    with Image.open(path) as image:
        ratio = (image.height / len(SIDES)) / (image.width / (1 + len(methods)))
    title = f"{sheet.label or sheet.image} · {sheet.model}"
    return Tiles(sheet.picture, path, ratio, title, sheet.image, sheet.prediction, methods)


def newer(path: Path, *sources: Path) -> bool:
    """Whether `path` is there and no source was written after it."""
    return path.exists() and path.stat().st_mtime_ns >= max(source.stat().st_mtime_ns for source in sources)


def _tiles(arrays: dict[str, NDArray[Any]], signed: dict[str, bool]) -> Image.Image:
    labels = [key[4:] for key in arrays if key.startswith("own|")]
    photo = fit_photo(arrays, TILE if len(labels) <= COLUMNS else GRID_TILE)
    canvas = Image.new("RGB", ((1 + len(labels)) * photo.width, len(SIDES) * photo.height), PAPER)
    canvas.paste(photo, (0, 0))
    for column, label in enumerate(labels, start=1):
        for row, (tile, _, _) in enumerate(_sides(arrays, label, photo, signed)):
            canvas.paste(tile, (column * photo.width, row * photo.height))
    return canvas


def _sides(
    arrays: dict[str, NDArray[Any]], label: str, photo: Image.Image, signed: dict[str, bool]
) -> Iterator[tuple[Image.Image, float, bool]]:
    """A method's maps over the photo in the order of `SIDES`, each with where its colours end and whether signed."""
    sides = [arrays[f"{side}|{label}"] for side in SIDES if f"{side}|{label}" in arrays]
    is_signed = signed.get(label, bool((sides[0] < 0).any()))
    limit = scale(sides[0]) or max(map(scale, sides))
    for row, values in enumerate(sides):
        if row == 2 and not values.any():
            yield in_words("equal to the last bit", photo.size), 0.0, False
        else:
            ends, plain = (limit, is_signed) if row < 2 else (float(values.max()), False)
            yield draw_map(values, photo, ends, plain), ends, plain


def _draw_grids(sheets: list[Sheet], signed: dict[str, bool], folder: Path) -> None:
    """Pages of photo by method for each network, ten photos a page, four pages at most."""
    for model in dict.fromkeys(sheet.model for sheet in sheets):
        mine = [sheet for sheet in sheets if sheet.model == model]
        for page in range(min(GRID_PAGES, -(-len(mine) // GRID_ROWS))):
            path = folder / f"grid-{slug(model)}-{page + 1}.png"
            shown = mine[page * GRID_ROWS : (page + 1) * GRID_ROWS]
            if not newer(path, *(sheet.source for sheet in shown)):
                lines = [(s.label or s.image, s.prediction and f"sees {s.prediction}", load(s.source)) for s in shown]
                save_png(photo_grid(lines, signed), path)


def names(path: Path) -> list[str]:
    """The names of one photo's arrays, without reading them."""
    with np.load(path, allow_pickle=False) as file:
        return list(file.files)


def load(path: Path, *names: str) -> dict[str, NDArray[Any]]:
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
        if image.width > THUMBNAIL:
            size = THUMBNAIL, round(image.height * THUMBNAIL / image.width)
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
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


def _sheet(arrays: dict[str, NDArray[Any]], sheet: Sheet, signed: dict[str, bool]) -> Image.Image:
    labels = [key.partition("|")[2] for key in arrays if key.startswith("own|")]
    compared = [label for label in labels if f"captum|{label}" in arrays]
    alone = [label for label in labels if label not in compared]
    blocks = [
        (some[i : i + COLUMNS], rows)
        for some, rows in ((compared, 3), (alone, 1))
        for i in range(0, len(some), COLUMNS)
    ]
    left = MARGIN + TILE + 88
    width = left + max(1, *(len(block) for block, _ in blocks), 1) * (TILE + GAP) - GAP + MARGIN
    height = MARGIN + max(2 * TILE, sum(30 + rows * (TILE + STRIP) for _, rows in blocks)) + 52
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)

    photo = fit_photo(arrays, TILE)
    canvas.paste(photo, (MARGIN, MARGIN + 30))
    y = float(MARGIN + 30 + photo.height + 10)
    facts = (("photo", sheet.image), ("label", sheet.label or "none given"), ("network", sheet.model))
    for title, text in (*facts, ("sees", sheet.prediction or "no prediction saved")):
        write(draw, (MARGIN, y), title, 12, colour=QUIET)
        y += 17 * write_lines(draw, (MARGIN, y + 17), text, 14, TILE, 3, 17, bold=title in ("label", "sees")) + 26

    top = MARGIN
    for block, rows in blocks:
        for row, title in enumerate(("own", "Captum", "difference")[:rows]):
            middle = top + 30 + row * (TILE + STRIP) + photo.height / 2
            write(draw, (left - 12, middle), title, 14, anchor="rm")
        for column, label in enumerate(block):
            x = left + column * (TILE + GAP)
            write(draw, (x, top), label, 15, width=TILE, bold=True)
            for row, (tile, ends, plain) in enumerate(_sides(arrays, label, photo, signed)):
                y_map = top + 30 + row * (TILE + STRIP)
                canvas.paste(tile, (x, y_map))
                if np.isfinite(ends) and ends > 0:
                    colour_strip(draw, x, y_map + photo.height, ends, plain, "" if row == 2 else "≥ ")
        top += 30 + rows * (TILE + STRIP)
    write_lines(draw, (MARGIN, height - 40), NOTE, 12, width - 2 * MARGIN, 2, 17, colour=QUIET)
    return canvas


def photo_grid(lines: list[tuple[str, str, dict[str, NDArray[Any]]]], signed: dict[str, bool]) -> Image.Image:
    """A line a photo: two texts, the photo, and its maps (arrays named `own|...`) under their names.

    A map whose name `signed` does not know is drawn with a sign where it has negative values.
    """
    labels = list(dict.fromkeys(key.partition("|")[2] for *_, arrays in lines for key in arrays if key[:4] == "own|"))
    step, words = GRID_TILE + 8, 170
    size = 2 * MARGIN + words + (1 + len(labels)) * step, 2 * MARGIN + 24 + len(lines) * step
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, label in enumerate(labels, start=1):
        write(draw, (MARGIN + words + column * step, MARGIN), label, 13, width=GRID_TILE, bold=True)
    for row, (title, words_below, arrays) in enumerate(lines):
        y = MARGIN + 24 + row * step
        photo = fit_photo(arrays, GRID_TILE)
        for half, text in enumerate((title, words_below)):
            write_lines(draw, (MARGIN, y + 54 * half), text, 12, words - 12, 3, 16, bold=not half)
        canvas.paste(photo, (MARGIN + words, y))
        for column, label in enumerate(labels, start=1):
            if (own := arrays.get(f"own|{label}")) is not None:
                tile = draw_map(own, photo, scale(own), signed.get(label, bool((own < 0).any())))
                canvas.paste(tile, (MARGIN + words + column * step, y))
    return canvas
