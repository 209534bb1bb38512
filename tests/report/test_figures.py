"""Shared kinds of figures: what is drawn where."""

import numpy as np
import pandas as pd
import pytest

from suite.report.figures import (
    PAIRS_SHOWN,
    draw_curve,
    draw_matrix,
    draw_pairs,
    draw_parts,
    draw_sides,
    draw_strips,
    legend,
    log_scale,
    methods_down,
)
from suite.report.style import canvas, figure_style

TABLE = pd.DataFrame({"method": ["a", "b"], "mean": [1.0, 2.0], "mean_low": [0.5, 1.5], "mean_high": [1.5, 2.5]})


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def test_methods_stand_from_the_top_down() -> None:
    _, ax = canvas(2)
    methods_down(ax, ["first", "second " * 10])
    assert texts(ax)[0] == "first"
    assert texts(ax)[1].endswith("…")
    assert ax.yaxis_inverted()


def test_parts_lie_under_each_other_at_their_method() -> None:
    figure, ax = canvas(2)
    draw_parts(ax, ["b", "a"], {"x": TABLE, "y": TABLE[:1]})
    marks = [points.get_offsets().data for points in ax.collections[1::2]]
    np.testing.assert_allclose(marks[0], [[1, 1 - 0.175], [2, -0.175]])
    np.testing.assert_allclose(marks[1], [[1, 1 + 0.175]])
    ends = ax.collections[0].get_segments()
    np.testing.assert_allclose(ends[0][:, 0], [0.5, 1.5])
    legend(figure, 2, ax)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y"]


def test_sides_write_their_numbers_where_asked() -> None:
    sides = {"mean": ("words", "own", "o")}
    assert not draw_sides(TABLE, sides)[1].texts
    figure, ax = draw_sides(TABLE, sides, numbers=True)
    assert [text.get_text() for text in ax.texts] == ["1.00", "2.00"]
    assert texts(ax) == ["a", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["words"]


def test_a_strip_holds_each_value_and_the_middle_ones() -> None:
    strips = {"a": pd.Series([1.0, 2, 3, 4, 100]), "b": pd.Series([5.0])}
    for middle, count in ((True, 6), (False, 2)):
        _, ax = canvas(2)
        draw_strips(ax, strips, middle=middle)
        assert len(ax.collections) == count
        dots = ax.collections[0].get_offsets().data
        assert list(dots[:, 0]) == [1, 2, 3, 4, 100]
        assert np.abs(dots[:, 1]).max() <= 0.2
    _, ax = canvas(2)
    draw_strips(ax, strips)
    (band,), (bar,) = (ax.collections[k].get_segments() for k in (1, 2))
    assert list(band[:, 0]) == [2, 4]
    assert bar[0, 0] == 3


def test_a_curve_lies_within_its_band() -> None:
    _, ax = canvas(2)
    draw_curve(ax, [0, 1], [5, 6], ([4, 5], [7, 8]), "words", color="#ff0000", ls="--")
    (line,) = ax.lines
    assert (line.get_label(), line.get_linestyle(), line.get_color()) == ("words", "--", "#ff0000")
    corners = ax.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (4, 8)


@pytest.mark.parametrize("along", ["x", "y"])
def test_a_log_scale_writes_its_numbers_out(along: str) -> None:
    figure, ax = canvas(2)
    ax.plot([0.01, 10], [0.01, 10])
    log_scale(ax, along)
    figure.draw_without_rendering()
    axis = getattr(ax, f"{along}axis")
    assert axis.get_scale() == "log"
    assert {"0.01", "1"} <= {text.get_text() for text in axis.get_ticklabels()}


def test_a_matrix_writes_its_numbers_and_leaves_out_what_is_not_there() -> None:
    names = ["a", "b$x_1$"]
    with figure_style():
        figure, ax = draw_matrix(pd.DataFrame([[1, np.nan], [np.nan, 0.5]], names, names), 0.5, 8, vmin=0, vmax=1)
        figure.draw_without_rendering()
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.50"]
    assert texts(ax) == names


def test_the_most_alike_pairs_come_first_and_the_rest_is_counted() -> None:
    n = PAIRS_SHOWN + 2
    mean = np.linspace(0, 1, n)
    pairs = pd.DataFrame({"model": "m", "method": [f"p{i}" for i in range(n)], "other_method": "q", "mean": mean})
    pairs = pairs.assign(mean_low=mean - 0.1, mean_high=mean + 0.1, unrelated_mean=0.1, unrelated_p95=0.2)
    (ax,) = draw_pairs(pairs, "words", "{method} · {other_method}", 20).axes
    assert texts(ax)[0] == f"p{n - 1} · q"
    assert len(texts(ax)) == PAIRS_SHOWN
    assert ax.get_xlabel() == f"words; 1 is the same ({PAIRS_SHOWN} most alike of {n} pairs)"
