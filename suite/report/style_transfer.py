"""The section on style transfer: how the pictures came about, how good they are, and what they do to maps. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from suite.report.overlay import INK as DARK
from suite.report.overlay import PAPER, QUIET, TILE, typeface, wrap
from suite.report.pictures import load, save_png
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok
from suite.report.style import COLOURS, WIDTH, label

MARGIN, GAP = 22, 14


def strip(
    content: NDArray[Any], style: NDArray[Any], snapshots: Mapping[str, NDArray[Any]], words: Sequence[str]
) -> Image.Image:
    """Photo, painting and result side by side; below, how it came about.

    Args:
        content, style: (H, W, 3) in 0..255.
        snapshots: words -> picture, the result last.
        words: lines below.
    """
    *_, result = snapshots.values()
    width = 2 * MARGIN + 3 * int(1.5 * TILE) + 2 * GAP
    lines = [
        ([("photo", content), ("painting", style), ("result", result)], int(1.5 * TILE)),
        (list(snapshots.items()), (width - 2 * MARGIN - (len(snapshots) - 1) * GAP) // len(snapshots)),
    ]
    drawn = [[(name, _fitted(picture, side, 2 * TILE)) for name, picture in line] for line, side in lines]
    tall = [max(picture.height for _, picture in line) for line in drawn]
    below = [part for text in words for part in wrap(text, typeface(13), width - 2 * MARGIN, 2)]
    canvas = Image.new("RGB", (width, 2 * MARGIN + sum(tall) + 2 * 40 + 18 * len(below)), PAPER)
    draw, y = ImageDraw.Draw(canvas), MARGIN
    for row, ((_, side), pictures) in enumerate(zip(lines, drawn, strict=True)):
        for k, (name, picture) in enumerate(pictures):
            x = MARGIN + k * (side + GAP)
            draw.text((x, y), name, DARK, typeface(14 if row == 0 else 12, bold=row == 0))
            canvas.paste(picture, (x, y + 22))
        y += tall[row] + 40
    for k, text in enumerate(below):
        draw.text((MARGIN, y + 18 * k), text, QUIET, typeface(13))
    return canvas


def _fitted(picture: NDArray[Any], width: int, height: int) -> Image.Image:
    image = Image.fromarray(picture)
    factor = min(width / image.width, height / image.height)
    return image.resize(
        (max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BICUBIC
    )
