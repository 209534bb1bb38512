"""Makes tables, plots, pictures and report.html from a run directory alone, finished or not. No torch."""

from functools import partial
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from suite.errors import SuiteError
from suite.report.html import write_html
from suite.report.pictures import draw_pictures
from suite.report.plots import draw_plots
from suite.report.present import display, texts, write_tables
from suite.report.sections import MARKS, Tables, headline, sections
from suite.report.tables import build_tables
from suite.results import read, read_manifest

__all__ = ["build", "build_with_tables", "terminal_summary"]


_NEEDED = {"config": dict, "models": dict, "status": str}
_MAY_BE = {"methods": dict, "data": dict, "class_names": dict}


def build(run_dir: Path | str) -> Path:
    """Writes tables/, plots/, the pictures beside their arrays, and report.html; returns the last one's path."""
    return build_with_tables(run_dir)[0]


def build_with_tables(run_dir: Path | str) -> tuple[Path, Tables]:
    """As `build`; returns the tables too, whose intervals take seconds to work out.

    What a run has no rows for is left out. Pictures newer than their arrays are kept.

    Raises:
        SuiteError: There is no run here, or one of its files is damaged.
    """
    run_dir = Path(run_dir)
    manifest, rows = read_manifest(run_dir), partial(read, run_dir)  # study by study: all at once may not fit
    kinds = _NEEDED | {key: kind for key, kind in _MAY_BE.items() if key in manifest}
    if lacking := [key for key, kind in kinds.items() if not isinstance(manifest.get(key), kind)]:
        raise SuiteError(f"{run_dir / 'run.json'} has no {lacking[0]!r} as a run writes it; give the run again")
    tables = build_tables(rows, manifest)
    write_tables(tables, run_dir / "tables")
    plots = draw_plots(rows, tables, run_dir / "plots")
    pictures = {section.study: section.draw(run_dir, manifest) for section in sections()}
    leading = [section.study for section in sections() if section.beside and pictures[section.study]]
    pictures = {study: pictures[study] for study in leading or pictures}
    maps = draw_pictures(run_dir, tables.get("predictions"), manifest)
    return write_html(run_dir, manifest, tables, plots, pictures, maps), tables


def terminal_summary(tables: Tables) -> Group:
    """The verdicts, the speed and what failed, for a rich console. Names are shown as they are, never as markup."""
    judging = {section.verdicts: section for section in sections()}
    shown: list[Table | Text] = []
    for name in (*judging, "accuracy", "speed", "speed_floor", "failures"):
        if name not in tables:
            continue
        table = tables[name]
        if name in judging:
            table = headline(table)
            wanted = ["model", "method", "verdict", "stability", "reason"]
            table = table[[c for c in wanted if c in table]]
        elif name == "speed":
            wanted = ["model", "stage", "method", "own_passes", "captum_passes", "captum_over_own", "own_seconds"]
            table = table[[c for c in table.columns if c.removesuffix("_low").removesuffix("_high") in wanted]]
        elif name == "failures":
            table = table[table["status"] != "not_applicable"]  # that is on the page
            if table.empty:
                continue
        text = display(table, name)
        title = Text(judging[name].title if name in judging else texts()[name][0], style="bold")
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in text.columns:
            made.add_column(Text(column), overflow="fold")
        for line in text.to_dict("records"):
            tone = judging[name].tone(line["verdict"]) if name in judging else ""
            style = {"good": "green", "bad": "bold red", "plain": "blue"}.get(tone, "")
            marked = line | ({"verdict": f"{MARKS[tone]} {line['verdict']}"} if tone else {})
            made.add_row(*(Text(cell, style if column == "verdict" else "") for column, cell in marked.items()))
        shown += [made, Text()]
    return Group(*shown)
