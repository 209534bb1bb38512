"""Draws the sections' figures, each as SVG and PNG. Draws on figures of its own, never on pyplot's; no torch."""

from pathlib import Path
from typing import NamedTuple

from suite.report.sections import Tables
from suite.report.style import figure_style, save, slug
from suite.report.tables import SECTIONS, Rows, rows_of


class Drawn(NamedTuple):
    """A figure on disk: the study it belongs to, the SVG beside which a PNG of the same name lies, and its text."""

    study: str
    path: Path
    text: str


def draw_plots(rows: Rows, tables: Tables, folder: Path) -> list[Drawn]:
    """Draws what the rows allow into `folder`."""
    drawn = []
    for section in SECTIONS:
        for plot in section.plots(rows_of(rows, [section.study]), tables):
            path = folder / f"{slug(plot.name)}.svg"
            with figure_style():
                save(plot.draw(), path)
            drawn.append(Drawn(section.study, path, plot.text))
    return drawn
