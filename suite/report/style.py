"""The look of all plots, the names of their files, and what several plots draw alike. No pyplot, no torch.

Libraries that draw are imported when something is drawn: a second report, whose plots are kept, needs none of them.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.core.atomic import write_bytes
from suite.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:
    Axes = Figure = Any

# Colours that the page replaces in the dark; no other use may be made of these exact values.
INK, GRID, PAPER = "#1b2126", "#d5dade", "#fffffe"
CROWD = 2000  # marks beyond which a scatter is drawn as pixels: an SVG of 50,000 photos would be megabytes
WIDTH = 6.6  # inches; two plots stand side by side on a page and can still be read
# Okabe and Ito, 2008, and seaborn's palette after them: told apart with any colour vision.
PALETTE = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
MARKERS = "os^Dv"
COLOURS = {"own": "#0072b2", "captum": "#e69f00", "bare": "#7f7f7f"}


def slug(text: str) -> str:
    """A file name for `text`: letters, digits, dot, dash and underscore only."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)


@contextmanager
def figure_style() -> Iterator[None]:
    """A quiet style for one figure; text is never read as mathematics, whatever a name contains."""
    import matplotlib as mpl

    ours = {
        "text.parse_math": False,
        "svg.hashsalt": "suite",
        "svg.fonttype": "none",
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "legend.fontsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "grid.color": GRID,
        "legend.frameon": False,
        "ytick.left": False,
        "hatch.linewidth": 0.6,
    }
    ours |= {key: INK for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    ours |= {key: GRID for key in ("axes.edgecolor",)} | {key: PAPER for key in ("figure.facecolor", "axes.facecolor")}
    settings: Any = {**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"], **ours}
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, path: Path, made_of: str) -> None:
    """Writes `path` as SVG whose text is text and whose crowds of marks are pixels; `made_of` stands inside."""
    from matplotlib.collections import PathCollection

    for crowd in figure.findobj(PathCollection):
        crowd.set_rasterized(np.size(crowd.get_offsets()) // 2 > CROWD)
    file = io.BytesIO()
    metadata: Any = {"Date": None, "Identifier": made_of}
    figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.12, dpi=130, metadata=metadata)
    write_bytes(path, file.getvalue())


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager, ft2font

    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def label(text: str, length: int = 30) -> str:
    """`text` short enough for an axis, with "?" for what the font cannot draw."""
    drawable = "".join(c if ord(c) in _glyphs() else "?" for c in number(text))
    return drawable if len(drawable) <= length else drawable[: length - 1] + "…"


def canvas(height: float, rows: int = 1, columns: int = 1, *, width: float = WIDTH, **more: Any) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes as `Figure.subplots` gives them: one, or an array of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **more)


def methods_down(ax: Axes, methods: Sequence[str], length: int = 30) -> None:
    """Methods down the axis, the first on top."""
    ax.set_yticks(range(len(methods)), [label(method, length) for method in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)


def draw_intervals(
    ax: Axes, table: pd.DataFrame, y: Any, text: str, colour: str = COLOURS["own"], marker: str = "o", of: str = "mean"
) -> None:
    """A mark at each line's `of` with its interval."""
    ax.hlines(y, table[f"{of}_low"], table[f"{of}_high"], color=colour, lw=1.6)
    ax.scatter(table[of], y, s=30, color=colour, marker=marker, zorder=3, label=text)


def draw_parts(ax: Axes, methods: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> None:
    """Means of several tables under each other at every method; `parts` are named as the legend has them."""
    for k, (text, part) in enumerate(parts.items()):
        y = part["method"].map(methods.index).to_numpy(float) + 0.7 * ((k + 0.5) / len(parts) - 0.5)
        draw_intervals(ax, part, y, text, PALETTE[k % 10], MARKERS[k % 5])
    methods_down(ax, methods)


def draw_sides(table: pd.DataFrame, sides: Mapping[str, tuple[str, str, str]]) -> tuple[Figure, Axes]:
    """Several numbers of one method under each other: column -> words, key of `COLOURS`, marker; a line a method."""
    figure, ax = canvas(1.4 + (0.2 + 0.1 * len(sides)) * len(table))
    for k, (name, (text, colour, marker)) in enumerate(sides.items()):
        y = np.arange(len(table)) + 0.48 * ((k + 0.5) / len(sides) - 0.5)
        draw_intervals(ax, table, y, text, COLOURS[colour], marker, name)
    methods_down(ax, list(table["method"]))
    figure.legend(loc="outside upper left", ncols=len(sides))
    return figure, ax


def draw_matrix(ax: Axes, values: NDArray[Any], names: Sequence[str], fontsize: float, **look: Any) -> None:
    """A square table in colours, its numbers inside; NaN is left empty."""
    import seaborn as sns

    sns.heatmap(
        values, annot=True, fmt=".2f", ax=ax, square=True, cbar=False, xticklabels=names, yticklabels=names,
        annot_kws={"fontsize": fontsize}, **look,
    )  # fmt: skip
    for text in ax.texts:
        text.set_in_layout(False)  # they lie inside their cells; measuring hundreds of them takes seconds
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xticks(ax.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(ax.get_yticks(), names, rotation=0)
