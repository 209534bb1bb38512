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

SIDE, GAP, MARGIN, LABEL, HEAD = 224, 14, 22, 164, 24
PAPER, INK, QUIET, EMPTY = (253, 253, 252), (27, 33, 38), (96, 106, 115), (233, 236, 238)


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        title: stands above it.
        pixels: (H, W, 3) in 0..255 of a photo; (h, w) of a map, in any unit; words for a tile that has nothing to show.
        kind: photo, map, or signed map (colours diverge around 0). A map lies over the photo that comes before it.
        below: stands under it.
        limit: where a map's colours end, which a colour scale then says; without it, at `scale` of the map, unsaid.
    """

    title: str
    pixels: NDArray[Any] | str
    kind: Literal["photo", "map", "signed map"] = "photo"
    below: str = ""
    limit: float = 0.0

    def draw(self, photo: Image.Image | None, side: int) -> Image.Image:
        """The picture alone, a photo's longer side `side` pixels; a map of which nothing can be drawn says why."""
        if isinstance(self.pixels, str):
            return _in_words(self.pixels, (side, side) if photo is None else photo.size)
        if self.kind == "photo":
            return fit(self.pixels, side)
        photo = photo or Image.new("RGB", (side, side), INK)
        if not np.isfinite(self.pixels).all():
            return _in_words("not finite", photo.size)
        if not self.pixels.any():
            return _in_words("0 everywhere", photo.size)
        limit = self.limit or scale(self.pixels)
        return draw_map(self.pixels, photo, limit, signed=self.kind == "signed map")


Row = tuple[str, Sequence[Tile | None]]  # a label, whose first line is in bold, and its tiles; None is left empty


def map_tile(title: str, values: NDArray[Any], signed: bool | None = None, *, limit: float = 0.0) -> Tile:
    """A map's tile; where `signed` is not known, a map that has negative values is drawn with a sign."""
    signed = bool((values < 0).any()) if signed is None else signed
    return Tile(title, values, "signed map" if signed else "map", limit=limit)


def sheet(rows: Sequence[Row], *, title: str = "", notes: Sequence[str] = (), side: int = SIDE) -> Image.Image:
    """Rows of tiles under each other.

    Args:
        rows: at least one.
        title: above all.
        notes: lines below all.
        side: pixels of the longer side of a photo.
    """
    left = MARGIN + (LABEL if any(label for label, _ in rows) else 0)
    width = left + max(len(tiles) for _, tiles in rows) * (side + GAP) - GAP + MARGIN
    photo = None
    parts: list[Image.Image] = [_line(title, width, 15, bold=True)] if title else []
    for row in rows:
        part, photo = _row(row, photo, left, width, side)
        parts.append(part)
    parts += [_line(note, width, 12) for note in notes]
    canvas = Image.new("RGB", (width, MARGIN + sum(part.height for part in parts) + MARGIN - GAP), PAPER)
    for k, part in enumerate(parts):
        canvas.paste(part, (0, MARGIN + sum(above.height for above in parts[:k])))
    return canvas


def _row(
    row: Row, photo: Image.Image | None, left: int, width: int, side: int
) -> tuple[Image.Image, Image.Image | None]:
    """A row, and the photo that stands last in it."""
    label, tiles = row
    canvas = Image.new("RGB", (width, HEAD + side + 100), PAPER)
    draw = ImageDraw.Draw(canvas)
    top = HEAD if any(tile and tile.title for tile in tiles) else 0
    name, _, more = label.partition("\n")
    bottom = _write(draw, (MARGIN, top), name, 13, left - MARGIN - GAP, 3, bold=True)
    bottom = _write(draw, (MARGIN, bottom + 4), more, 12, left - MARGIN - GAP, 5)
    for k, tile in enumerate(tiles):
        if tile is None:
            continue
        x = left + k * (side + GAP)
        picture = tile.draw(photo, side)
        photo = picture if tile.kind == "photo" and not isinstance(tile.pixels, str) else photo
        _write(draw, (x, 0), tile.title, 14 if side >= SIDE else 12, side, 1, bold=True)
        canvas.paste(picture, (x, top))
        draw.rectangle((x - 1, top - 1, x + picture.width, top + picture.height), outline=EMPTY)
        y = top + picture.height + 6
        if tile.limit and not isinstance(tile.pixels, str):
            y = _colour_scale(canvas, (x, y - 2), tile, picture.width)
        bottom = max(bottom, top + picture.height, _write(draw, (x, y), tile.below, 13, side, 3))
    return canvas.crop((0, 0, width, bottom + GAP)), photo


def _line(text: str, width: int, size: int, *, bold: bool = False) -> Image.Image:
    """Words across the sheet."""
    canvas = Image.new("RGB", (width, 3 * size + 40), PAPER)
    bottom = _write(ImageDraw.Draw(canvas), (MARGIN, 0), text, size, width - 2 * MARGIN, 2, bold=bold)
    return canvas.crop((0, 0, width, bottom + size // 2))


def _colour_scale(canvas: Image.Image, at: tuple[int, int], tile: Tile, width: int) -> int:
    """The colours of a map over mid grey, and the numbers at their ends; returns where it ends."""
    (x, y), limit, signed = at, tile.limit, tile.kind == "signed map"
    ramp = np.tile(np.linspace(-limit if signed else 0, limit, width, dtype=np.float32), (6, 1))
    canvas.paste(Image.fromarray(overlay(np.full((6, width, 3), 128, np.uint8), ramp, limit, signed=signed)), (x, y))
    beyond = "≥ " if np.abs(tile.pixels).max() > limit else ""
    ends = [(f"≤ −{number(limit)}", "l"), ("0", "m")] if signed else [("0", "l")]
    for text, anchor in (*ends, (f"{beyond}{number(limit)}", "r")):
        across = {"l": 0.0, "m": width / 2, "r": width}[anchor]
        ImageDraw.Draw(canvas).text((x + across, y + 9), text, QUIET, _font(12), anchor=f"{anchor}a")
    return y + 26


def fit(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    """A photo (H, W, 3) at its own proportions, its longer side `side` pixels; the pixels of a tiny one stay sharp."""
    photo = Image.fromarray(pixels)
    factor = side / max(photo.size)
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    return photo.resize(size, Image.Resampling.NEAREST if photo.width < 100 else Image.Resampling.BILINEAR)


def _in_words(text: str, size: tuple[int, int]) -> Image.Image:
    """An empty tile that says why it is empty."""
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
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, width: int, lines: int, *, bold: bool = False
) -> int:
    """Text wrapped into a width, quiet unless in bold; returns where it ends."""
    parts = wrap(text, _font(size, bold), width, lines)
    for k, part in enumerate(parts):
        draw.text((at[0], at[1] + k * (size + 4)), part, INK if bold else QUIET, _font(size, bold))
    return at[1] + len(parts) * (size + 4)
