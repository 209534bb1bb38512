"""The figure and table of sharpness."""

import pandas as pd

from suite.studies.sharpness.report import SECTION, sharpness

ROWS = pd.DataFrame(
    [("gini", method, model, value, "ok", method == "control_edges")
     for model in ("small", "large") for method in ("saliency", "control_edges") for value in (0.4, 0.6)],
    columns=["metric", "method", "model", "value", "status", "control"],
)  # fmt: skip


def test_means_and_controls_by_hand() -> None:
    table = sharpness(ROWS).set_index(["method", "model"])
    assert (table["mean"] == 0.5).all()
    assert (table["n"] == 2).all()
    assert table.loc[("control_edges", "small"), "control"]


def test_networks_stand_under_each_other_at_each_method() -> None:
    (plot,) = SECTION.plots(ROWS, {"sharpness": sharpness(ROWS)})
    assert plot.name == "sharpness-gini"
    figure = plot.draw()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["saliency", "control_edges"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small", "large"]
