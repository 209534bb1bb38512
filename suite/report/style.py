"""The look of all plots and the names of their files. Draws nothing itself; no pyplot, no torch."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager, ft2font
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from suite.report.words import number
from suite.results.atomic import write_bytes

# Colours that the page replaces in the dark; no other use may be made of these exact values.
INK, GRID, PAPER = "#1b2126", "#d5dade", "#fffffe"
CROWD = 2000  # marks beyond which a scatter is drawn as pixels: an SVG of 50,000 photos would be megabytes
WIDTH = 6.6  # inches; two plots stand side by side on a page and can still be read
# Okabe and Ito, 2008, and seaborn's palette after them: told apart with any colour vision.
PALETTE = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
COLOURS = {"own": "#0072b2", "captum": "#e69f00", "bare": "#7f7f7f"}


def slug(text: str) -> str:
    """A file name for `text`: letters, digits, dot, dash and underscore only."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)


@contextmanager
def figure_style() -> Iterator[None]:
    """A quiet style for one figure; text is never read as mathematics, whatever a name contains."""
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
    for crowd in figure.findobj(PathCollection):
        crowd.set_rasterized(np.size(crowd.get_offsets()) // 2 > CROWD)
    file = io.BytesIO()
    metadata: Any = {"Date": None, "Identifier": made_of}
    figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.12, dpi=130, metadata=metadata)
    write_bytes(path, file.getvalue())


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def label(text: str, length: int = 30) -> str:
    """`text` short enough for an axis, with "?" for what the font cannot draw."""
    drawable = "".join(c if ord(c) in _glyphs() else "?" for c in number(text))
    return drawable if len(drawable) <= length else drawable[: length - 1] + "…"
