"""The figure of costs: numbers, floor, and a log axis where one method costs very much."""

import numpy as np
import pandas as pd
import pytest

from suite.studies.speed.report import SECTION


def table(**passes: float) -> pd.DataFrame:
    lines = []
    for method, value in passes.items():
        sides = {f"{side}_passes{end}": value for side in ("own", "captum") for end in ("", "_low", "_high")}
        lines.append({"model": "m", "job": "batch", "method": method.replace("_", " ")} | sides)
    return pd.DataFrame(lines)


def axes(speed: pd.DataFrame, **tables: pd.DataFrame):
    (plot,) = SECTION.plots(pd.DataFrame(), {"speed": speed, **tables})
    assert plot.name == "cost-m-batch"
    (ax,) = plot.draw().axes
    return ax


def test_each_number_is_written_and_the_floor_is_drawn_where_there_is_one() -> None:
    floor = pd.DataFrame({"model": ["m"], "job": ["batch"], "floor": [1.4], "four_maps_passes": [1.5]})
    ax = axes(table(saliency=1.0, all_methods=1.5), speed_floor=floor)
    words = [text.get_text() for text in ax.texts]
    assert words == ["1.00", "1.50", "1.00", "1.50", "floor 1.40"]
    assert ax.get_xscale() == "linear"
    assert "floor 1.40" not in [text.get_text() for text in axes(table(saliency=1.0, all_methods=1.5)).texts]


def test_what_costs_very_much_takes_a_log_axis() -> None:
    assert axes(table(saliency=1.0, occlusion=60.0)).get_xscale() == "log"


def test_a_method_without_a_reference_has_one_mark() -> None:
    speed = table(saliency=1.0).drop(columns=[f"captum_passes{end}" for end in ("", "_low", "_high")])
    assert [text.get_text() for text in axes(speed).texts] == ["1.00"]


@pytest.mark.parametrize("lines", [0, 2])
def test_findings_are_of_the_batch(lines: int) -> None:
    speed = pd.concat([table(a=1.5, b=np.nan), table(c=1.0).assign(job="one_by_one")])[: lines or None]
    findings = list(SECTION.findings({"speed": speed}))
    assert [(line["method"], line["verdict"]) for line in findings] == [("a", "1.50 passes")]
