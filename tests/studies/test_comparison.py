"""Method against method: the plain measures on the photo itself, a stranger's map beside, and no method in silence."""

import pytest
import tiny
import works

from suite.core.partners import partners
from suite.metrics.similarity import spearman
from suite.studies.base import magnitude
from suite.studies.comparison.report import SECTION
from suite.studies.comparison.study import Comparison


def test_pairs_are_compared_on_one_photo_and_with_a_strangers_map() -> None:
    given = works.work(["saliency", "input_x_gradient"])
    frame = works.rows(Comparison(), given)
    a, b = (magnitude(given.maps[label], given.size) for label in ("saliency", "input_x_gradient"))
    found = works.values(frame, "spearman", method="saliency", other_method="input_x_gradient", pairing="same_photo")
    assert found == pytest.approx(spearman(a, b).tolist())
    partner = partners(given.targets.tolist())
    found = works.values(
        frame, "spearman", method="saliency", other_method="input_x_gradient", pairing="unrelated_photos"
    )
    assert found == pytest.approx(spearman(a, b[partner]).tolist())
    itself = frame[frame["method"] == frame["other_method"]]
    assert set(itself["pairing"]) == {"unrelated_photos"}  # a map is 1 with itself, which says nothing
    assert set(frame["metric"]) == {"spearman", "ssim", "top10_overlap"}


def test_a_method_without_a_map_has_rows_that_say_why() -> None:
    frame = works.rows(Comparison(), works.work({"saliency": "saliency", "broken": tiny.raising}))
    broken = frame[frame["method"] == "broken"]
    assert set(broken["status"]) == {"failed"}
    assert "boom" in broken["message"].iloc[0]
    assert len(broken) == 4


def test_the_section_holds_every_pair_of_methods() -> None:
    frame = works.rows(Comparison(), works.work(["saliency", "input_x_gradient", "gradient"]))
    pairs = SECTION.tables(frame, {})["comparison"].query("metric == 'spearman'")
    named = {tuple(sorted((line["method"], line["other_method"]))) for line in pairs.to_dict("records")}
    assert len(named) == len(pairs) == 6  # three pairs, and each method with strangers' maps of its own
    same = pairs[(pairs["method"] == "gradient") & (pairs["other_method"] == "saliency")]
    values = works.values(frame, "spearman", method="saliency", other_method="gradient", pairing="same_photo")
    assert same["mean"].item() == pytest.approx(sum(values) / 4)
