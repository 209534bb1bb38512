"""Photos and maps laid out in rows, with words around them: every sheet of pictures is made here. No torch."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from suite.report.overlay import draw_map, overlay, scale
from suite.report.words import number

SIDE, GAP, MARGIN, LABEL, HEAD, FOOT = 224, 14, 22, 164, 24, 120
PAPER, INK, QUIET, EMPTY = (253, 253, 252), (27, 33, 38), (96, 106, 115), (233, 236, 238)


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        title: stands above it.
        pixels: (H, W, 3) in 0..255 of a photo; (h, w) of a map, in any unit; words where there is nothing to show.
        kind: photo, map, or signed map (colours diverge around 0). A map lies over the photo that comes before it.
        below: stands under it.
        limit: the value at which a map's colours end, shown by a scale below it; 0 ends them at `scale`, with none.
    """

    title: str
    pixels: NDArray[Any] | str
    kind: Literal["photo", "map", "signed map"] = "photo"
    below: str = ""
    limit: float = 0.0

    def draw(self, photo: Image.Image, side: int) -> Image.Image:
        """The picture alone, a photo's longer side `side` pixels; where nothing can be drawn, words."""
        if isinstance(self.pixels, str):
            return _in_words(self.pixels, photo.size)
        if self.kind == "photo":
            return fit(self.pixels, side)
        if not np.isfinite(self.pixels).all():
            return _in_words("not finite", photo.size)
        if not self.pixels.any():
            return _in_words("0 everywhere", photo.size)
        return draw_map(self.pixels, photo, self.limit or scale(self.pixels), signed=self.kind == "signed map")


Row = tuple[str, Sequence[Tile | None]]  # a label, whose first line is in bold, and its tiles; None is left empty


def map_tile(title: str, values: NDArray[Any], signed: bool | None = None, *, limit: float = 0.0) -> Tile:
    """A map's tile; where `signed` is not known, a map that has negative values is drawn with a sign."""
    signed = bool((values < 0).any()) if signed is None else signed
    beyond = "≥ " * bool(np.abs(values).max() > limit)
    below = f"{f'≤ −{number(limit)}' if signed else '0'} to {beyond}{number(limit)}" if limit else ""
    return Tile(title, values, "signed map" if signed else "map", below, limit)


def sheet(
    rows: Sequence[Row], *, title: str = "", columns: Sequence[str] = (), notes: Sequence[str] = (), side: int = SIDE
) -> Image.Image:
    """Rows of tiles below each other, photos `side` pixels on their longer side.

    `title` stands above all, `columns` are names above the first row, `notes` stand below all.
    """
    left = MARGIN + (LABEL if any(label for label, _ in rows) else 0)
    width = left + max(len(tiles) for _, tiles in rows) * (side + GAP) - GAP + MARGIN
    lines = [*rows, *((f"\n{note}", ()) for note in notes)]
    canvas = Image.new("RGB", (width, (len(lines) + 1) * (HEAD + side + FOOT)), PAPER)
    y, photo = MARGIN, Image.new("RGB", (side, side), INK)
    if title:
        y, photo = _draw_row(canvas, y, title, (), photo, width)
    for k, name in enumerate(columns):
        _write_title(canvas, (left + k * (side + GAP), y), name, side)
    y += HEAD * bool(columns)
    for label, tiles in lines:
        y, photo = _draw_row(canvas, y, label, tiles, photo, left if tiles else width)
    return canvas.crop((0, 0, width, y - GAP + MARGIN))


def _draw_row(
    canvas: Image.Image, y: int, label: str, tiles: Sequence[Tile | None], photo: Image.Image, left: int
) -> tuple[int, Image.Image]:
    """Draws a row at `y`, its tiles from `left`; returns the next row's `y`, and the last photo."""
    draw, side = ImageDraw.Draw(canvas), max(photo.size)
    top = y + HEAD * any(tile and tile.title for tile in tiles)
    name, _, more = label.partition("\n")
    bottom = _write(draw, (MARGIN, top), name, 13, left - MARGIN - GAP, bold=True)
    bottom = _write(draw, (MARGIN, bottom + 4 * bool(name)), more, 12, left - MARGIN - GAP)
    for k, tile in enumerate(tiles):
        if tile is None:
            continue
        x, picture = left + k * (side + GAP), tile.draw(photo, side)
        _write_title(canvas, (x, y), tile.title, side)
        canvas.paste(picture, (x, top))
        draw.rectangle((x - 1, top - 1, x + picture.width, top + picture.height), outline=EMPTY)
        under = top + picture.height + 5 * bool(tile.below)
        if tile.limit:
            signed = tile.kind == "signed map"
            ramp = np.tile(np.linspace(-signed, 1, picture.width, dtype=np.float32), (6, 1))
            colours = overlay(np.full((*ramp.shape, 3), 128, np.uint8), ramp, 1, signed=signed)
            canvas.paste(Image.fromarray(colours), (x, under))
            under += 9
        bottom = max(bottom, _write(draw, (x, under), tile.below, 13, side))
        photo = picture if tile.kind == "photo" and not isinstance(tile.pixels, str) else photo
    return bottom + GAP, photo


def fit(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    """A photo (H, W, 3) at its own proportions, its longer side `side` pixels; the pixels of a tiny one stay sharp."""
    photo = Image.fromarray(pixels)
    factor = side / max(photo.size)
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    return photo.resize(size, Image.Resampling.NEAREST if photo.width < 100 else Image.Resampling.BILINEAR)


def _in_words(text: str, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, EMPTY)
    ImageDraw.Draw(image).text((size[0] / 2, size[1] / 2), text, QUIET, _font(13 if size[0] > 150 else 11), anchor="mm")
    return image


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that Matplotlib carries, so that it is there on every machine."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """At most `lines` lines of at most `width` pixels; the last one ends in "…" where text was left out."""
    text = number(text)
    for columns in range(len(text), 0, -1):
        parts = textwrap.wrap(text, columns)
        shown = parts[:lines]
        if len(parts) > lines:
            shown[-1] = f"{shown[-1][: columns - 1]}…"
        if all(font.getlength(part) <= width for part in shown):
            return shown
    return []


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    width: int,
    *,
    lines: int = 3,
    bold: bool = False,
) -> int:
    """Writes text wrapped into a width, in grey unless bold; returns the `y` of its end."""
    font = _font(size, bold)
    parts = wrap(text, font, width, lines)
    for k, part in enumerate(parts):
        draw.text((at[0], at[1] + k * (size + 4)), part, INK if bold else QUIET, font)
    return at[1] + len(parts) * (size + 4)


def _write_title(canvas: Image.Image, at: tuple[int, int], text: str, side: int) -> None:
    _write(ImageDraw.Draw(canvas), at, text, 14 if side >= SIDE else 12, side, lines=1, bold=True)
