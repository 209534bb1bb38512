"""How tables read: words for columns, numbers as text, and CSV, Markdown and LaTeX files. No torch, no HTML."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.report.tables import columns_with_interval
from suite.results.atomic import write_bytes

# file name -> (title, what the numbers mean and which direction is better)
TEXTS = {
    "agreement_verdicts": ("Verdicts", "Is the handwritten method the same as the reference?"),
    "agreement": (
        "Agreement",
        "The handwritten map against the reference's, pixel by pixel. A difference of 0 is equality. Relative L2 is "
        "the length of the difference over that of the reference's map: smaller is nearer. Spearman is 1 when both put "
        "the pixels in the same order.",
    ),
    "accuracy": (
        "Accuracy",
        "Share of labelled photos whose label comes first, or among the first five. In brackets: Wilson's 95% "
        "interval, wide where the photos are few.",
    ),
    "predictions": ("Predictions", "What the network sees in each photo. Confidence is the softmax of its top class."),
    "speed": (
        "Cost of each method",
        "One pass is a bare forward with the gradient at the input, timed in the same round: fewer passes are cheaper. "
        "Medians, in brackets the middle half of the rounds. Captum / own says how many times as long Captum takes: "
        "above 1, the handwritten method is faster.",
    ),
    "speed_floor": (
        "The floor",
        "Four maps need one forward and two backwards. With f, the forward's share of a pass, that is 2 − f passes, "
        "and nothing can do with fewer. Over floor is what was reached divided by that: 1 is the best possible.",
    ),
    "speed_batching": (
        "Batch against one photo at a time",
        "Seconds a photo. The gain is their ratio: above 1, the batch is faster. It is linear at most, for every photo "
        "still needs its own arithmetic.",
    ),
    "comparison": (
        "Method against method",
        "How alike two methods' maps of the same photo are: 1 is the same, with the 95% bootstrap interval of the "
        "mean. Beside it, maps of unrelated photos: only what lies clearly above them says something about the photo.",
    ),
    "sharpness": (
        "Sharpness",
        "How concentrated the maps are, with the 95% bootstrap interval of the mean. Sharper means a lower entropy, a "
        "higher Gini index, and more mass in the largest connected region. Sharper is not the same as right.",
    ),
    "methods": ("Methods", "What stands behind each label."),
    "networks": ("Networks", "Where the networks came from."),
    "failures": ("Failures", "What could not be done, by reason. Not applicable: mathematics leaves it undefined."),
}

_HEADERS = {
    "bit_equal_n": "bit-equal",
    "within_tolerance_n": "within tolerance",
    "max_abs_difference": "max |difference|",
    "relative_l2": "median relative L2",
    "spearman": "median Spearman",
    "x": "photos",
    "own_passes": "own (passes)",
    "captum_passes": "Captum (passes)",
    "captum_over_own": "Captum / own",
    "own_seconds": "own (s)",
    "captum_seconds": "Captum (s)",
    "own_mib": "own peak (MiB)",
    "captum_mib": "Captum peak (MiB)",
    "forward": "forward (s)",
    "forward_and_gradient": "forward and gradient (s)",
    "floor": "floor 2 − f (passes)",
    "four_maps_passes": "four maps (passes)",
    "batch": "batch (s a photo)",
    "one_by_one": "one by one (s a photo)",
    "metric": "measure",
    "other": "with",
    "mean": "mean [95%]",
    "unrelated_p95": "unrelated 95th percentile",
    "unrelated_mean": "unrelated mean",
    "top1": "top-1",
    "top5": "top-5",
    "n": "n",
}


def number(value: Any) -> str:
    """A cell as text: three significant digits, whole numbers exact, a dash for what is not there.

    A value that merely rounds to a whole number keeps its point (1.00), so that it cannot pass for the exact one (1).
    """
    if isinstance(value, str):
        text = " ".join(value.split())
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:.0f}"
    return f"{value:.2e}"


def header(column: str) -> str:
    """The words for a column."""
    return _HEADERS.get(column, column.replace("_", " "))


def is_numeric(values: "pd.Series[Any]") -> bool:
    """Whether a column stands to the right and sorts as numbers."""
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def display(table: pd.DataFrame) -> pd.DataFrame:
    """All cells as text under readable headers; a number and its interval become one cell."""
    shown = {}
    intervals = columns_with_interval(list(table.columns))
    bounds = {f"{name}_{end}" for name in intervals for end in ("low", "high")}
    for column in table.columns:
        if column in bounds:
            continue
        cells = [number(value) for value in table[column]]
        if column in ("stage", "metric", "measure", "status"):
            cells = [cell.replace("_", " ") for cell in cells]
        if column in intervals:
            ends = zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
            cells = [
                f"{cell} [{number(low)}, {number(high)}]" if pd.notna(low) else cell
                for cell, (low, high) in zip(cells, ends, strict=True)
            ]
        shown[header(column)] = cells
    return pd.DataFrame(shown, dtype=object)


def _markdown(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|")


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table as .csv (all digits), .md and .tex (as shown, escaped)."""
    for name, table in tables.items():
        shown = display(table)
        align = ["right" if is_numeric(table[c]) else "left" for c in table.columns if header(c) in shown.columns]
        marked = shown.map(_markdown).rename(columns=_markdown)
        markdown = marked.to_markdown(index=False, disable_numparse=True, colalign=align)
        latex = shown.to_latex(index=False, escape=True, column_format="".join(side[0] for side in align))
        files = {"csv": table.to_csv(index=False, lineterminator="\n"), "md": markdown + "\n", "tex": latex}
        for suffix, text in files.items():
            write_bytes(folder / f"{name}.{suffix}", text.encode("utf-8", "backslashreplace"))
