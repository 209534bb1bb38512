"""Sections' figures on disk: drawn once, and anew when their rows change."""

import re
from pathlib import Path

import pytest
from report_fixture import make_run

from suite.report.plots import draw_plots
from suite.report.tables import build_tables
from suite.results import read, read_manifest

pytestmark = pytest.mark.slow


def test_zero_stays_visible_on_the_log_axis(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=5, studies=("agreement",))
    tables = build_tables(read(run), read_manifest(run))
    ((path, text),) = draw_plots(read(run), tables, tmp_path / "plots")["agreement"]
    svg = path.read_text()
    assert {"4 of 4", "3 of 4", "bit-equal"} <= set(re.findall(">([^<]+)</text>", svg))
    assert "exactly equal" in text


def test_a_figure_is_kept_until_its_rows_change(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=3, studies=("sharpness",))
    rows, manifest = read(run), read_manifest(run)
    tables = build_tables(rows, manifest)
    paths = [path for path, _ in draw_plots(rows, tables, tmp_path / "plots")["sharpness"]]
    assert len(paths) == 4
    written = [path.stat().st_mtime_ns for path in paths]
    draw_plots(rows, tables, tmp_path / "plots")
    assert [path.stat().st_mtime_ns for path in paths] == written
    rows["value"] *= 2
    draw_plots(rows, build_tables(rows, manifest), tmp_path / "plots")
    assert all(path.stat().st_mtime_ns > before for path, before in zip(paths, written, strict=True))
