"""Makes tables, plots, pictures and report.html from a run directory alone, finished or not. No torch."""

from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from suite.errors import SuiteError
from suite.report.html import write_html
from suite.report.pictures import draw_pictures
from suite.report.plots import draw_plots
from suite.report.present import display, texts, write_tables
from suite.report.sections import MARKS, Section, Tables, headline, sections
from suite.report.tables import build_tables
from suite.results import read_manifest

__all__ = ["build", "build_with_tables", "terminal_summary"]


_STYLES = {"good": "green", "bad": "bold red", "plain": "blue"}
_NEEDED = {"config": dict, "models": dict, "status": str}
_MAY_BE = {"methods": dict, "data": dict, "class_names": dict}


def build(run_dir: Path | str) -> Path:
    """Writes tables/, plots/, the pictures beside their arrays, and report.html; returns the last one's path."""
    return build_with_tables(run_dir)[0]


def build_with_tables(run_dir: Path | str) -> tuple[Path, Tables]:
    """As `build`; also returns the tables, so that their intervals are computed once.

    Studies without rows are left out. Pictures newer than their arrays are kept.

    Raises:
        SuiteError: There is no run here, or one of its files is damaged.
    """
    run_dir = Path(run_dir)
    manifest, rows = read_manifest(run_dir), run_dir  # study by study: all at once may not fit
    kinds = _NEEDED | {key: kind for key, kind in _MAY_BE.items() if key in manifest}
    if lacking := [key for key, kind in kinds.items() if not isinstance(manifest.get(key), kind)]:
        raise SuiteError(f"{run_dir / 'run.json'} has no {lacking[0]!r} as a run writes it; give the run again")
    tables = build_tables(rows, manifest)
    write_tables(tables, run_dir / "tables")
    plots = draw_plots(rows, tables, run_dir / "plots")
    pictures = {section.study: section.draw(run_dir, manifest) for section in sections()}
    leading = [section.study for section in sections() if section.beside and pictures[section.study]]
    pictures = {study: pictures[study] for study in leading or pictures}
    captions = {key: words for section in sections() for key, words in section.captions(tables).items()}
    photos = draw_pictures(run_dir, captions, manifest)
    return write_html(run_dir, manifest, tables, plots, pictures, photos), tables


def terminal_summary(tables: Tables) -> Group:
    """The verdicts, the studies' terminal tables, and the failures, for a rich console. Names are never markup."""
    shown: list[Table | Text] = []
    for section in sections():
        if section.verdicts in tables:
            verdicts = headline(tables[section.verdicts])
            verdicts = verdicts.filter(["model", "method", "verdict", "stability", "reason"])
            shown += [_summary(verdicts, section.verdicts, section), Text()]
    for section in sections():
        for name, columns in section.terminal.items():
            if name in tables:
                ends = [f"{column}{end}" for column in columns for end in ("", "_low", "_high")]
                table = tables[name].filter(ends) if columns else tables[name]
                shown += [_summary(table, name), Text()]
    failures = tables.get("failures", pd.DataFrame({"status": []})).query("status != 'not_applicable'")  # on the page
    if len(failures):
        shown += [_summary(failures, "failures"), Text()]
    return Group(*shown)


def _summary(table: pd.DataFrame, name: str, judged_by: Section | None = None) -> Table:
    """A table as text; its verdicts are marked where a section judges by them."""
    text = display(table, name)
    title = Text(judged_by.title if judged_by else texts()[name][0], style="bold")
    summary = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in text.columns:
        summary.add_column(Text(column), overflow="fold")
    for line in text.to_dict("records"):
        if judged_by:
            tone = judged_by.tone(line["verdict"])
            line["verdict"] = Text(f"{MARKS[tone]} {line['verdict']}", _STYLES[tone])
        summary.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in line.values()))
    return summary
