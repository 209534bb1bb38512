"""Makes tables, plots, pictures and report.html from a run directory alone, finished or not. No torch."""

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from suite.report.html import MARKS, write_html
from suite.report.pictures import draw_grids, draw_pictures
from suite.report.plots import draw_plots
from suite.report.present import TEXTS, display, write_tables
from suite.report.tables import build_tables
from suite.results import read, read_manifest

__all__ = ["build", "terminal_summary"]

_STYLES = {"equal": "green", "within tolerance": "blue", "differs": "bold red", "failed": "bold red"}


def build(run_dir: Path | str) -> Path:
    """Writes tables/, plots/, the pictures beside their arrays, and report.html; returns the last one's path.

    What a run has no rows for is left out. Pictures newer than their arrays are kept.

    Raises:
        SuiteError: There is no run here, or one of its files is damaged.
    """
    run_dir = Path(run_dir)
    manifest, rows = read_manifest(run_dir), read(run_dir)
    tables = build_tables(rows, manifest)
    write_tables(tables, run_dir / "tables")
    plots = draw_plots(rows, tables, run_dir / "plots")
    sheets = draw_pictures(run_dir, tables.get("predictions"), manifest)
    grids = draw_grids(sheets, manifest, run_dir / "plots")
    return write_html(run_dir, manifest, tables, plots, sheets, grids)


def terminal_summary(run_dir: Path | str) -> Group:
    """The verdicts, the speed and what failed, for a rich console. Names are shown as they are, never as markup."""
    tables = build_tables(read(run_dir), read_manifest(run_dir))
    shown: list[Table | Text] = []
    for name in ("agreement_verdicts", "accuracy", "speed", "speed_floor", "failures"):
        if name not in tables:
            continue
        table = tables[name]
        if name == "agreement_verdicts":
            table = table.drop(columns="measure")
        elif name == "speed":
            wanted = ["model", "stage", "method", "own_passes", "captum_passes", "captum_over_own", "own_seconds"]
            table = table[[c for c in table.columns if c.removesuffix("_low").removesuffix("_high") in wanted]]
        text = display(table)
        made = Table(title=Text(TEXTS[name][0], style="bold"), title_justify="left", box=None, pad_edge=False)
        for column in text.columns:
            made.add_column(Text(column), overflow="fold")
        for line in text.itertuples(index=False, name=None):
            made.add_row(
                *(Text(f"{MARKS[cell]} {cell}" if cell in MARKS else cell, _STYLES.get(cell, "")) for cell in line)
            )
        shown += [made, Text()]
    return Group(*shown)
