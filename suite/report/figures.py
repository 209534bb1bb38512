"""Plots that several studies use: intervals, strips of dots, curves with bands, square tables. No pyplot, no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.report.sections import records
from suite.report.style import COLOURS, GRID, INK, MARKERS, PALETTE, Axes, Figure, canvas, label

PAIRS_SHOWN = 40
MEASURES = {
    "spearman": "Spearman rank correlation",
    "ssim": "SSIM (structural similarity)",
    "top10_overlap": "Overlap of the top 10% of pixels",
}


def methods_down(ax: Axes, methods: Sequence[str], length: int = 30) -> None:
    """Methods down the axis, the first on top."""
    ax.set_yticks(range(len(methods)), [label(method, length) for method in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)


def legend(figure: Figure, columns: int, ax: Axes | None = None) -> None:
    """A legend above all axes; with `ax` only that one's entries, where all axes have the same."""
    entries = ax.get_legend_handles_labels() if ax is not None else ()
    figure.legend(*entries, loc="outside upper left", ncols=columns)


def log_scale(ax: Axes, along: str = "x") -> None:
    """A logarithmic axis, `along` x or y, whose numbers are written out."""
    ax.set(**{f"{along}scale": "log"})
    (ax.xaxis if along == "x" else ax.yaxis).set_major_formatter("{x:g}")
    ax.minorticks_off()


def draw_intervals(
    ax: Axes,
    table: pd.DataFrame,
    y: Any,
    text: str,
    colour: str = COLOURS["own"],
    marker: str = "o",
    name: str = "mean",
) -> None:
    """A mark at the number `name` of each line, with its interval."""
    ax.hlines(y, table[f"{name}_low"], table[f"{name}_high"], color=colour, lw=1.6)
    ax.scatter(table[name], y, s=30, color=colour, marker=marker, zorder=3, label=text)


def draw_parts(ax: Axes, methods: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> None:
    """Means of several tables under each other at every method; `parts` are named as the legend has them."""
    for k, (text, part) in enumerate(parts.items()):
        y = part["method"].map(methods.index).to_numpy(float) + 0.7 * ((k + 0.5) / len(parts) - 0.5)
        draw_intervals(ax, part, y, text, PALETTE[k % 10], MARKERS[k % 5])
    methods_down(ax, methods)


def draw_sides(
    table: pd.DataFrame, sides: Mapping[str, tuple[str, str, str]], *, numbers: bool = False
) -> tuple[Figure, Axes]:
    """Several numbers of one method under each other: column -> words, key of `COLOURS`, marker; a line a method.

    With `numbers` each is also written beside its interval.
    """
    figure, ax = canvas(1.4 + (0.2 + (0.16 if numbers else 0.1) * len(sides)) * len(table))
    for k, (name, (text, colour, marker)) in enumerate(sides.items()):
        y = np.arange(len(table)) + 0.48 * ((k + 0.5) / len(sides) - 0.5)
        draw_intervals(ax, table, y, text, COLOURS[colour], marker, name)
        for value, *at in zip(table[name], table[f"{name}_high"], y, strict=True) if numbers else ():
            ax.annotate(f"{value:.2f}", at, (6, 0), textcoords="offset points", va="center", fontsize=8.5)
    methods_down(ax, list(table["method"]))
    legend(figure, len(sides))
    return figure, ax


def draw_strips(ax: Axes, strips: Mapping[str, "pd.Series[float]"], *, middle: bool = True) -> None:
    """A strip of dots a name, one a photo, spread at random; with `middle`, the median and a band from 25% to 75%."""
    jitter = np.random.default_rng(0)
    for y, values in enumerate(strips.values()):
        ax.scatter(values, y + jitter.uniform(-0.2, 0.2, len(values)), s=20, color=COLOURS["own"], alpha=0.7, lw=0)
        if middle:
            ax.hlines(y, *values.quantile([0.25, 0.75]), color=GRID, lw=12, zorder=0.5)
            ax.vlines(values.median(), y - 0.3, y + 0.3, color=INK, lw=1.8)
    methods_down(ax, list(strips))


def draw_curve(ax: Axes, x: Any, middle: Any, ends: tuple[Any, Any], text: str, **look: Any) -> None:
    """A line within a band; `look` is the line's, its colour the band's too."""
    ax.fill_between(x, *ends, color=look["color"], alpha=0.14, lw=0)
    ax.plot(x, middle, label=text, **look)


def draw_matrix(values: pd.DataFrame, cell: float, fontsize: float, **look: Any) -> tuple[Figure, Axes]:
    """A square table in colours, its numbers inside, `cell` inches each; NaN is left empty."""
    import seaborn as sns

    side, names = cell * len(values), [label(name, 24) for name in values.index]
    figure, ax = canvas(side + 1.5, width=side + 3)
    sns.heatmap(
        values, annot=True, fmt=".2f", ax=ax, square=True, cbar=False, xticklabels=False, yticklabels=False,
        annot_kws={"fontsize": fontsize}, **look,
    )  # fmt: skip
    for text in ax.texts:
        text.set_in_layout(False)  # they lie inside their cells; measuring hundreds of them takes seconds
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set(xlabel="", ylabel="")
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(len(names)) + 0.5, names, rotation=0)
    return figure, ax


def draw_pairs(pairs: pd.DataFrame, words: str, name: str, length: int) -> Figure:
    """Pairs, the most alike first: the mean on one photo with its interval, and the level of unrelated photos.

    `name` is a form of a pair's columns, each cut to `length` characters.
    """
    shown = pairs.sort_values("mean", ascending=False).head(PAIRS_SHOWN)
    figure, ax = canvas(1.5 + 0.3 * len(shown))
    y = np.arange(len(shown))
    ax.scatter(shown["unrelated_mean"], y, marker="|", s=90, color=INK, lw=1.5, label="unrelated photos: mean")
    band = {"color": COLOURS["captum"], "lw": 5, "alpha": 0.6, "label": "to their 95th percentile"}
    ax.hlines(y, shown["unrelated_mean"], shown["unrelated_p95"], **band)
    draw_intervals(ax, shown, y, "same photo: mean, 95% interval")
    cut = shown.filter(regex="method$|model$").map(lambda text: label(text, length))
    methods_down(ax, [name.format(**line) for line in records(cut)], 80)
    left_out = f" ({len(shown)} most alike of {len(pairs)} pairs)" if len(pairs) > len(shown) else ""
    ax.set_xlabel(f"{words}; 1 is the same{left_out}")
    legend(figure, 2)
    return figure
