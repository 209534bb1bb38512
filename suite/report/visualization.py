"""The section on class visualisation: what the network looks for, made as pictures, and scored. No torch."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageDraw

from suite.report.overlay import INK as DARK
from suite.report.overlay import PAPER, QUIET, clip, typeface, wrap

MARGIN, GAP, SIDE, HEAD, BELOW = 20, 10, 208, 26, 42

Tile = tuple[NDArray[Any], str]  # (H, W, 3) uint8, and what stands below it


def sheet(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Tile | None]]]) -> Image.Image:
    """Pictures under their columns' names, beside their rows', each with a line or two below.

    Args:
        title: above all.
        columns: names.
        rows: name and a tile a column, None where there is none.
    """
    left = MARGIN + (110 if any(name for name, _ in rows) else 0)
    wide = left + len(columns) * (SIDE + GAP) - GAP + MARGIN
    canvas = Image.new("RGB", (wide, MARGIN + 2 * HEAD + len(rows) * (SIDE + BELOW + GAP) + MARGIN // 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    bold = typeface(15, bold=True)
    draw.text((MARGIN, MARGIN - 6), clip(title, bold, wide - 2 * MARGIN), DARK, bold)
    for k, name in enumerate(columns):
        draw.text((left + k * (SIDE + GAP), MARGIN + HEAD), clip(name, typeface(14), SIDE), DARK, typeface(14))
    for j, (name, tiles) in enumerate(rows):
        y = MARGIN + 2 * HEAD + j * (SIDE + BELOW + GAP)
        for line, part in enumerate(wrap(name, typeface(14, bold=True), 100, 4)):
            draw.text((MARGIN, y + 18 * line), part, DARK, typeface(14, bold=True))
        for k, tile in enumerate(tiles):
            if tile is not None:
                x = left + k * (SIDE + GAP)
                picture = Image.fromarray(tile[0])
                few = Image.Resampling.NEAREST if picture.width < 100 else Image.Resampling.LANCZOS
                canvas.paste(picture.resize((SIDE, SIDE), few), (x, y))
                for line, part in enumerate(wrap(tile[1], typeface(12), SIDE, 2)):
                    draw.text((x, y + SIDE + 5 + 16 * line), part, QUIET, typeface(12))
    return canvas
