"""One map over one photo, its colour scale and its words, with Pillow: fast, and no figure in between. No torch."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from suite.report.words import number

TILE = 224
PAPER, INK, QUIET, EMPTY = (253, 253, 252), (27, 33, 38), (96, 106, 115), (233, 236, 238)
POSITIVE, NEGATIVE = np.array([255, 168, 48.0]), np.array([72, 178, 255.0])  # orange and blue, told apart by all


def overlay(photo: NDArray[np.uint8], values: NDArray[np.float32], limit: float, *, signed: bool) -> NDArray[np.uint8]:
    """A map laid over the darkened grey photo.

    Args:
        photo: (H, W, 3), 0..255.
        values: (H, W), any unit; 0 shows the photo alone.
        limit: The size of value that gets the full colour, > 0.
        signed: Diverging colours around 0 (orange above, blue below) instead of sequential ones.

    Returns:
        (H, W, 3), 0..255.
    """
    grey = 0.55 * (photo @ np.array([0.299, 0.587, 0.114]))[..., None]
    size = np.clip(np.abs(values) / limit, 0, 1)[..., None]
    if signed:
        colour = np.where(values[..., None] >= 0, POSITIVE, NEGATIVE)
    else:
        from matplotlib import colormaps

        colour = 255 * colormaps["inferno"](0.12 + 0.86 * size[..., 0])[..., :3]
    opacity = 0.95 * size ** (0.55 if signed else 0.7)
    return np.asarray(np.clip(grey * (1 - opacity) + colour * opacity, 0, 255), np.uint8)


def scale(values: NDArray[np.float32]) -> float:
    """The 99th percentile of |values|, or their maximum where that is 0; 0 where the map is 0 or not finite."""
    size = np.abs(values)
    if not np.isfinite(size).all():
        return 0.0
    return float(np.percentile(size, 99) or size.max())


@cache
def typeface(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that Matplotlib carries, so that it is there on every machine."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def fit_photo(arrays: dict[str, NDArray[Any]], tile: int) -> Image.Image:
    """The photo at its own proportions, its longer side `tile` pixels."""
    photo = Image.fromarray(arrays["photo"])
    factor = tile / max(photo.size)
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    return photo.resize(size, Image.Resampling.BILINEAR)


def draw_map(values: NDArray[Any], photo: Image.Image, limit: float, signed: bool) -> Image.Image:
    """The map drawn at the photo's drawn size; in words where there is nothing to draw."""
    if not np.isfinite(values).all():
        return in_words("not finite", photo.size)
    if limit == 0 or not values.any():
        return in_words("0 everywhere", photo.size)
    resized = Image.fromarray(np.asarray(values, np.float32)).resize(photo.size, Image.Resampling.BILINEAR)
    return Image.fromarray(overlay(np.asarray(photo), np.asarray(resized), limit, signed=signed))


def in_words(text: str, size: tuple[int, int]) -> Image.Image:
    """An empty tile that says why it is empty."""
    image = Image.new("RGB", size, EMPTY)
    middle = size[0] / 2, size[1] / 2
    write(ImageDraw.Draw(image), middle, text, 13 if size[0] > 150 else 11, colour=QUIET, anchor="mm")
    return image


def clip(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """`text` cut to `width` pixels, with "…" where it was."""
    text = number(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> Iterator[str]:
    """At most `lines` lines of at most `width` pixels; the last one ends in "…" where text was left out."""
    words = number(text).split(" ")
    for line in range(lines):
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        yield clip(" ".join(words if line == lines - 1 else words[:taken]), font, width)
        words = words[taken:]
        if not words:
            return


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, *,
    width: float | None = None, bold: bool = False, colour: tuple[int, int, int] = INK, anchor: str | None = None,
) -> None:  # fmt: skip
    """A line of text, cut to `width` pixels where that is given."""
    font = typeface(size, bold)
    draw.text(at, text if width is None else clip(text, font, width), colour, font, anchor=anchor)


def write_lines(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, width: float, lines: int, step: int, *,
    bold: bool = False, colour: tuple[int, int, int] = INK,
) -> int:  # fmt: skip
    """Text wrapped into at most `lines` lines, `step` pixels apart; how many it took."""
    parts = list(wrap(text, typeface(size, bold), width, lines))
    for k, part in enumerate(parts):
        write(draw, (at[0], at[1] + step * k), part, size, bold=bold, colour=colour)
    return len(parts)


def colour_strip(draw: ImageDraw.ImageDraw, x: int, y: int, limit: float, signed: bool, above: str) -> None:
    """The colour scale under a map, over mid grey, with its ends in numbers."""
    ramp = np.linspace(-limit if signed else 0, limit, TILE, dtype=np.float32)
    colours = overlay(np.full((1, TILE, 3), 128, np.uint8), ramp[None], limit or 1, signed=signed)[0]
    for i, colour in enumerate(colours):
        draw.line([(x + i, y + 4), (x + i, y + 10)], tuple(int(c) for c in colour))
    write(draw, (x, y + 13), f"≤ −{number(limit)}" if signed else "0", 12, colour=QUIET)
    if signed:
        write(draw, (x + TILE / 2, y + 13), "0", 12, colour=QUIET, anchor="ma")
    write(draw, (x + TILE, y + 13), f"{above}{number(limit)}", 12, colour=QUIET, anchor="ra")
