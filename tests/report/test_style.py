"""The look of plots: names of files, words on axes, settings that are nobody else's."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from report_fixture import make_run

from suite.report.plots import draw_plots
from suite.report.style import CROWD, INK, canvas, figure_style, label, save, slug
from suite.report.tables import build_tables
from suite.results import read, read_manifest


@pytest.mark.slow
def test_plots_leave_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, studies=("speed",))
    before = dict(mpl.rcParams)
    mpl.rcParams["axes.facecolor"] = "red"  # nor do a user's settings reach the plots
    try:
        tables = build_tables(read(run), read_manifest(run))
        drawn = draw_plots(read(run), tables, tmp_path / "plots")
    finally:
        mpl.rcParams["axes.facecolor"] = before["axes.facecolor"]
    assert dict(mpl.rcParams) == before
    path = next(path for path, _ in drawn["speed"] if path.stem == "cost-squeezenet1_1-batch")
    assert "#ff0000" not in path.read_text()


def test_names_of_files_and_words_on_axes() -> None:
    assert slug("a/b:c größe") == "a_b_c_gr__e"
    assert label("甲 " + "x" * 40, 10) == "? xxxxxxx…"
    assert label("x\ny") == "x y"


@pytest.mark.parametrize(("marks", "pixels"), [(CROWD, False), (CROWD + 1, True)])
def test_text_stays_text_and_crowds_become_pixels(tmp_path: Path, marks: int, pixels: bool) -> None:
    with figure_style():
        figure, ax = canvas(2)
        ax.scatter(np.arange(marks), np.arange(marks), label="$x_1$")
        ax.set_title("$x_1$ & <b>")
        save(figure, tmp_path / "a.svg", "digest")
    svg = (tmp_path / "a.svg").read_text()
    assert ("<image" in svg) is pixels
    assert "$x_1$ &amp; &lt;b&gt;" in svg
    assert ">digest<" in svg
    assert INK in svg
