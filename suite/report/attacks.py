"""The section on attacks: how easily the network is fooled, whether the attack is sound, and how it looks. No torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from suite.report.overlay import INK, PAPER, QUIET, TILE, typeface, wrap

MARGIN, GAP = 22, 14


def strip(photo: NDArray[Any], adversarial: NDArray[Any], before: str, after: str, words: Sequence[str]) -> Image.Image:
    """Photo, adversarial image, their difference, and the difference magnified ten times, side by side.

    Args:
        photo: (H, W, 3) in [0, 1].
        adversarial: likewise.
        before: what the network sees in the photo.
        after: what it sees in the other.
        words: lines below.
    """
    difference = np.asarray(adversarial, np.float32) - photo
    tiles = [photo, adversarial, 0.5 + difference, 0.5 + 10 * difference]
    titles = ["photo", "adversarial", "difference", "difference × 10"]
    below = [before, after, "grey is no change", f"largest change {np.abs(difference).max() * 255:.1f} of 255"]
    canvas = Image.new("RGB", (2 * MARGIN + 4 * TILE + 3 * GAP, 2 * MARGIN + TILE + 66 + 18 * len(words)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for k, (tile, title, text) in enumerate(zip(tiles, titles, below, strict=True)):
        x = MARGIN + k * (TILE + GAP)
        draw.text((x, MARGIN), title, INK, typeface(14, bold=True))
        drawn = Image.fromarray((np.clip(tile, 0, 1) * 255).round().astype(np.uint8))
        method = Image.Resampling.NEAREST if drawn.width < 100 else Image.Resampling.BILINEAR
        canvas.paste(drawn.resize((TILE, TILE), method), (x, MARGIN + 22))
        for line, part in enumerate(wrap(text, typeface(13), TILE, 2)):
            draw.text((x, MARGIN + 28 + TILE + 17 * line), part, INK if k < 2 else QUIET, typeface(13, bold=k < 2))
    for line, text in enumerate(words):
        draw.text((MARGIN, MARGIN + TILE + 68 + 18 * line), text, QUIET, typeface(12))
    return canvas
