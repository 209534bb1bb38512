"""How concentrated maps are: the plain measures, and reasons where there is no map or nothing in it."""

import pytest
import tiny
import torch
import works

from suite.metrics.complexity import entropy, gini, largest_component_mass, total_variation
from suite.studies.base import magnitude
from suite.studies.sharpness.report import SECTION
from suite.studies.sharpness.study import Sharpness


def zeros(model, images, targets):
    return torch.zeros_like(images)


def test_metrics_are_the_plain_ones_at_the_size_of_the_image() -> None:
    given = works.work(["input_x_gradient"])
    frame = works.rows(Sharpness(), given)
    maps = magnitude(given.maps["input_x_gradient"], given.size)
    assert set(frame["metric"]) == {"entropy", "gini", "total_variation", "largest_component_mass"}
    for measure in (entropy, gini, total_variation, largest_component_mass):
        assert works.values(frame, measure.__name__) == pytest.approx(measure(maps).tolist())


def test_no_map_and_an_empty_map_say_so() -> None:
    frame = works.rows(Sharpness(), works.work({"broken": tiny.raising, "zero": zeros}))
    assert set(frame.loc[frame["method"] == "broken", "status"]) == {"failed"}
    empty = frame[(frame["method"] == "zero") & (frame["metric"] == "gini")]
    assert set(empty["status"]) == {"not_applicable"}
    assert set(empty["message"]) == {"the map is zero everywhere"}


def test_the_section_has_a_line_a_method() -> None:
    frame = works.rows(Sharpness(), works.work(["saliency", "input_x_gradient"]))
    (table,) = SECTION.tables(frame, {}).values()
    assert set(table["method"]) == {"saliency", "input_x_gradient"}
