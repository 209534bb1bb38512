"""Similarities of maps made ready: equal to the plain measures, and every pair without one says why."""

import pytest
import torch
import torch.nn.functional as F

from suite.core.partners import NO_PARTNER, WHY_NONE
from suite.errors import ConfigError
from suite.metrics.similarity import cosine, hog_correlation, normalise, spearman, ssim
from suite.sanity.compared import Compared, Flaw, Measure, flaws_of, hog_cell, measures_for

SIDE = 32
SIZE = (SIDE, SIDE)


def maps(seed, count=3, channels=1, side=SIDE):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_similarities_are_those_of_the_plain_measures():
    a, b = maps(0), maps(1)
    measures = measures_for(True, SIZE, (1,))
    ready, other = Compared(a, measures, SIZE), Compared(b, measures, SIZE)
    assert {measure.metric for measure in measures} == {
        f"{measure}_{sign}" for measure in ("spearman", "cosine", "ssim", "hog") for sign in ("abs", "signed")
    }
    for measure in measures:
        x, y = (m.abs()[:, 0] if measure.sign == "abs" else m[:, 0] for m in (a, b))
        expected = {
            "spearman": spearman(x, y),
            "cosine": cosine(x, y),
            "ssim": ssim(normalise(x), normalise(y), data_range=1.0 if measure.sign == "abs" else 2.0),
            "hog": hog_correlation(normalise(x), normalise(y), pixels_per_cell=hog_cell(SIDE)),
        }[measure.name]
        torch.testing.assert_close(ready.similarity(measure, other), expected)


def test_cells_are_means_of_the_map_at_the_size_of_the_image():
    a, b = maps(0, channels=3, side=8), maps(1, channels=3, side=8)
    measure = Measure("spearman", "abs", 4)
    found = Compared(a, [measure], SIZE).similarity(measure, Compared(b, [measure], SIZE))
    large = [F.interpolate(m.abs().sum(1, keepdim=True), size=SIZE, mode="bilinear") for m in (a, b)]
    torch.testing.assert_close(found, spearman(*(m.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)) for m in large)))


def test_small_maps_are_not_measured_by_what_needs_more_values():
    assert [measure.name for measure in measures_for(False, (11, 40), (1,))] == ["spearman", "cosine", "ssim", "hog"]
    assert [measure.name for measure in measures_for(False, (10, 40), (1,))] == ["spearman", "cosine", "hog"]
    assert [measure.name for measure in measures_for(False, (10, 40), (2,))] == ["spearman", "cosine"]
    assert measures_for(True, (7, 7), (4,)) == []


def test_cells_divide_one_another():
    with pytest.raises(ConfigError, match="6 is no multiple of 4"):
        Compared(maps(0), [Measure("spearman", "abs", cell) for cell in (6, 4)], SIZE)


def test_constant_zero_and_nan_maps_have_reasons():
    flawed = maps(0, 4).abs()
    flawed[1], flawed[2], flawed[3, 0, 0, 0] = 0, 0.5, torch.nan
    ready = Compared(flawed, measures_for(True, (SIDE, SIDE), (1, 4)), (SIDE, SIDE))
    for measure in ready.features:
        assert ready.similarity(measure, ready).isnan().tolist() == [False, True, True, True], measure
        turned = ready.at([1, 0, 0, 1])  # a zero map against another one, a constant and a NaN against sound ones
        assert ready.similarity(measure, turned)[:2].tolist() == [0, 0], measure
        assert ready.similarity(measure, turned)[2:].isnan().all(), measure
        assert ready.similarity(measure, ready)[0] == pytest.approx(1)
    assert [w.removeprefix("the intact network's map ") for w in ready.reasons(ready)] == [
        "", "is zero everywhere", "is constant", "holds NaN or infinity",
    ]  # fmt: skip
    assert flaws_of(flawed) == ["", "is zero everywhere", "is constant", "holds NaN or infinity"]


def test_a_photo_without_a_partner_and_a_method_that_failed_say_so():
    measure = Measure("cosine", "abs", 1)
    ready = Compared(maps(0), [measure], SIZE)
    alone = ready.at([1, NO_PARTNER, 0])
    assert ready.similarity(measure, alone).isnan().tolist() == [False, True, False]
    assert ready.reasons(alone) == ["", WHY_NONE, ""]
    assert alone.flaws[1] is Flaw.NO_PARTNER
    failed = Compared(torch.full((3, 1, *SIZE), torch.nan), [measure], SIZE, failure="boom")
    for pair in ((ready, failed), (failed, ready), (failed, failed.at([0, NO_PARTNER, 1]))):
        assert pair[0].similarity(measure, pair[1]).isnan().all()
        assert pair[0].reasons(pair[1]) == ["boom"] * 3
