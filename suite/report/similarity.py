"""Similarities of maps beside those of unrelated photos: their names, and the plot of pairs. No torch."""

import numpy as np
import pandas as pd

from suite.report.sections import records
from suite.report.style import COLOURS, INK, Figure, canvas, draw_intervals, label

PAIRS_SHOWN = 40
MEASURES = {
    "spearman": "Spearman rank correlation",
    "ssim": "SSIM (structural similarity)",
    "top10_overlap": "Overlap of the top 10% of pixels",
}


def draw_pairs(pairs: pd.DataFrame, words: str, name: str, length: int) -> Figure:
    """The most alike first: the mean on one photo with its interval, and what unrelated photos reach.

    A pair's `name` is made of its columns, each cut to `length` characters.
    """
    shown = pairs.sort_values("mean", ascending=False).head(PAIRS_SHOWN)
    figure, ax = canvas(1.5 + 0.3 * len(shown))
    y = np.arange(len(shown))
    ax.scatter(shown["unrelated_mean"], y, marker="|", s=90, color=INK, lw=1.5, label="unrelated photos: mean")
    band = {"color": COLOURS["captum"], "lw": 5, "alpha": 0.6, "label": "to their 95th percentile"}
    ax.hlines(y, shown["unrelated_mean"], shown["unrelated_p95"], **band)
    draw_intervals(ax, shown, y, "same photo: mean, 95% interval")
    cut = shown[["method", "model", "other"]].map(lambda text: label(text, length))
    ax.set_yticks(y, [name.format(**line) for line in records(cut)])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    left_out = f" ({len(shown)} most alike of {len(pairs)} pairs)" if len(pairs) > len(shown) else ""
    ax.set_xlabel(f"{words}; 1 is the same{left_out}")
    figure.legend(loc="outside upper left", ncols=2)
    return figure
