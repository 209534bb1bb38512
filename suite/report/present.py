"""How tables read: words for columns, numbers as text, and CSV, Markdown and LaTeX files. No torch, no HTML."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from suite.core.atomic import write_bytes
from suite.report.sections import sections
from suite.report.words import as_words, number

# file name -> (title, what the numbers mean and which direction is better)
_TEXTS = {
    "methods": ("Methods", "What stands behind each label."),
    "networks": ("Networks", "Where the networks came from."),
    "failures": ("Failures", "What could not be done, by reason. Not applicable: mathematics leaves it undefined."),
}

_MARKDOWN = str.maketrans({"|": "\\|", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Columns of short names, which are shown as words.
_NAMED = ("job", "question", "variant", "patch", "pairing", "metric", "measure", "status")


@cache
def texts() -> Mapping[str, tuple[str, str]]:
    """Table -> (title, what the numbers mean and which direction is better)."""
    return _TEXTS | {name: text for part in sections() for name, text in part.texts.items()}


@cache
def _headers(table: str) -> Mapping[str, str]:
    of_section = (part.headers for part in sections() if table in part.texts)
    return {"metric": "measure", **next(of_section, {})}


def header(column: str, table: str) -> str:
    """The words for a column of the table of that name."""
    return _headers(table).get(column, as_words(column))


def is_numeric(values: "pd.Series[Any]") -> bool:
    """Whether a column stands to the right and sorts as numbers."""
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def has_interval(column: Any, table: pd.DataFrame) -> bool:
    """Whether the ends of its interval stand in columns of their own."""
    return f"{column}_low" in table and f"{column}_high" in table


def columns_shown(table: pd.DataFrame) -> list[Any]:
    """All columns but the ends of intervals, which stand in their number's cell."""
    ends = {f"{column}_{end}" for column in table if has_interval(column, table) for end in ("low", "high")}
    return [column for column in table if column not in ends]


def display(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """All cells as text under readable headers; a number and its interval become one cell."""
    shown = {}
    for column in columns_shown(table):
        cells = [number(value) for value in table[column]]
        if column in _NAMED:
            cells = [as_words(cell) for cell in cells]
        if has_interval(column, table):
            ends = zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
            cells = [
                f"{cell} [{number(low)}, {number(high)}]" if pd.notna(low) else cell
                for cell, (low, high) in zip(cells, ends, strict=True)
            ]
        shown[header(column, name)] = cells
    return pd.DataFrame(shown, dtype=object)


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table as .csv (all digits), .md and .tex (as shown, escaped)."""
    for name, table in tables.items():
        shown = display(table, name)
        align = ["right" if is_numeric(table[column]) else "left" for column in columns_shown(table)]
        look: Any = {"index": False, "disable_numparse": True, "colalign": align}
        escaped = shown.map(_markdown).rename(columns=_markdown)
        files = {"csv": table.to_csv(index=False, lineterminator="\n"), "md": escaped.to_markdown(**look) + "\n"}
        files["tex"] = shown.to_markdown(tablefmt="latex_booktabs", **look) + "\n"
        for suffix, text in files.items():
            write_bytes(folder / f"{name}.{suffix}", text.encode("utf-8", "backslashreplace"))


def _markdown(text: str) -> str:
    return text.translate(_MARKDOWN)
