"""Draws the sections' figures as SVG. Draws on figures of its own, never on pyplot's; no torch."""

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from suite.registry import studies
from suite.report.sections import Tables, sections
from suite.report.style import figure_style, save, slug
from suite.report.tables import Rows, rows_of, stream_of


def draw_plots(rows: Rows, tables: Tables, folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """Draws what the rows allow into `folder`; a figure that was made of the same by the same code is kept.

    Returns:
        Study -> SVGs, each with its text.
    """
    drawn: dict[str, list[tuple[Path, str]]] = {}
    for section in sections():
        if section.plot_rows:
            of_study = section.plot_rows(stream_of(rows, [section.study]))
        else:
            of_study = rows_of(rows, [section.study])
        own = {name: tables[name] for name in section.texts if name in tables}
        plots = list(section.plots(of_study, own)) if len(of_study) or section.plot_rows else []
        digest_of = _digest(of_study, own) if plots else ""
        for plot in plots:
            path = folder / f"{slug(plot.name)}.svg"
            if not (path.exists() and f">{digest_of}<".encode() in path.read_bytes()):
                with figure_style():
                    save(plot.draw(), path, digest_of)
            drawn.setdefault(section.study, []).append((path, plot.text))
    return drawn


def _digest(rows: pd.DataFrame, tables: Tables) -> str:
    """Names what a study's figures are made of: rows, tables and the code that draws."""
    digest = hashlib.blake2b(_code(), digest_size=16)
    for frame in (rows, *tables.values()):
        digest.update(repr(list(frame.columns)).encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


@cache
def _code() -> bytes:
    files = (find_spec(f"{package}.report") for package in studies().values())
    sources = [
        *sorted(Path(__file__).parent.glob("*.py")),
        *(Path(spec.origin) for spec in files if spec and spec.origin),
    ]
    return b"".join([version("matplotlib").encode(), *(path.read_bytes() for path in sources)])
