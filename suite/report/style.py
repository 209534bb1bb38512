"""The look of all plots, and the names of their files. No pyplot, no torch.

Libraries that draw are imported when something is drawn: a second report, whose plots are kept, needs none of them.
"""

import io
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
_STYLE = Path(__file__).parent / "templates" / "plots.mplstyle"


def slug(text: str) -> str:
    """A file name for `text`: letters, digits, dot, dash and underscore only."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)


def figure_style() -> AbstractContextManager[None]:
    """The settings of one figure, whatever the user's are."""
    import matplotlib.style

    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    rest = {"axes.edgecolor": GRID, "grid.color": GRID, "figure.facecolor": PAPER, "axes.facecolor": PAPER}
    return matplotlib.style.context([_STYLE, ink | rest], after_reset=True)


def save(figure: Figure, path: Path, made_of: str) -> None:
    """Writes an SVG with real text, crowds of marks as pixels, and `made_of` as its identifier."""
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
    """A figure, `height` by `width` inches, and its axes as `Figure.subplots` gives them: one, or an array of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **more)
