"""How concentrated a map is: hand-worked maps, formulas written another way, invariants."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from suite.metrics.complexity import effective_complexity, entropy, gini, largest_component_mass, total_variation

ALL = [entropy, gini, total_variation, largest_component_mass]
MAPS = hnp.arrays(
    np.float64, st.tuples(st.just(1), st.integers(2, 12), st.integers(2, 12)), elements=st.integers(-8, 8).map(float)
).filter(np.any)


def lone_pixel(size=8):
    a = torch.zeros(1, size, size)
    a[0, 2, 3] = -5.0
    return a


def chequered(size=8):
    return (torch.arange(size)[:, None] + torch.arange(size)).remainder(2).double()[None]


def test_extremes():
    flat = torch.full((1, 8, 8), 0.3)
    assert entropy(flat).item() == pytest.approx(1)
    assert entropy(lone_pixel()).item() == 0
    assert gini(flat).item() == pytest.approx(0, abs=1e-15)
    assert gini(lone_pixel()).item() == pytest.approx(1 - 1 / 64)
    assert total_variation(flat).item() == 0
    assert total_variation(chequered()).item() == pytest.approx(2)
    assert total_variation(lone_pixel()).item() == pytest.approx(4 * 64 / (2 * 8 * 7))
    assert largest_component_mass(flat).item() == pytest.approx(1)
    assert largest_component_mass(lone_pixel()).item() == 1


def test_small_maps_by_hand():
    a = torch.tensor([[[1.0, -3.0], [0.0, 4.0]]])
    p = np.array([1, 3, 4]) / 8
    assert entropy(a).item() == pytest.approx(-(p * np.log(p)).sum() / np.log(4))
    assert gini(a).item() == pytest.approx((-3 * 0 - 1 * 1 + 1 * 3 + 3 * 4) / (4 * 8))
    # neighbours: 1-3, 0-4 across; 1-0, 3-4 down: mean difference (2 + 4 + 1 + 1) / 4 over the mean 8 / 4
    assert total_variation(a).item() == pytest.approx(1.0)


@given(MAPS)
def test_entropy_is_scipys(a):
    share = np.abs(a).ravel() / np.abs(a).sum()
    expected = scipy.stats.entropy(share, base=share.size)
    assert entropy(torch.from_numpy(a)).item() == pytest.approx(expected, abs=1e-12)


@given(MAPS)
def test_gini_is_the_mean_difference_of_all_pairs(a):
    magnitude = np.abs(a).ravel()
    expected = np.abs(magnitude[:, None] - magnitude).mean() / (2 * magnitude.mean())
    assert gini(torch.from_numpy(a)).item() == pytest.approx(expected, abs=1e-12)


@given(MAPS)
def test_ranges(a):
    maps = torch.from_numpy(a)
    assert -1e-12 <= entropy(maps).item() <= 1 + 1e-12
    assert -1e-12 <= gini(maps).item() <= 1 - 1 / a.size + 1e-12
    assert total_variation(maps).item() >= 0
    assert 0 < largest_component_mass(maps).item() <= 1 + 1e-12


@pytest.mark.parametrize("function", ALL)
@given(a=MAPS, scale=st.sampled_from([-1.0, 2.0**-1070, 2.0**1020, -4.0]))
def test_scale_sign_and_reflection_change_nothing(function, a, scale):
    maps = torch.from_numpy(a)
    expected = function(maps)
    torch.testing.assert_close(function(maps * scale), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(function(maps.abs()), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(function(maps.mT), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(function(maps.flip(2)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", ALL)
def test_batches_keep_images_apart_and_bad_maps_are_nan(function):
    a = torch.randn(5, 16, 20, generator=torch.Generator().manual_seed(0))
    good = function(a)
    assert good.shape == (5,)
    assert good.dtype == torch.float64
    broken = a.clone()
    broken[1] = 0
    broken[3, 2, 2] = torch.nan
    broken[4, 2, 2] = torch.inf
    result = function(broken)
    assert result.isnan().tolist() == [False, True, False, True, True]
    assert torch.equal(result[[0, 2]], good[[0, 2]])
    assert function(a[:0]).shape == (0,)


@pytest.mark.parametrize("function", ALL)
def test_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"maps have shape \(2, 3, 8, 8\), expected \(B, H, W\)"):
        function(torch.ones(2, 3, 8, 8))


def test_one_pixel_has_no_entropy_and_no_neighbours():
    assert entropy(torch.ones(1, 1, 1)).isnan()
    assert total_variation(torch.ones(1, 1, 1)).isnan()
    assert gini(torch.ones(1, 1, 1)).item() == 0


def test_total_variation_of_exponential_noise_is_one_at_any_size():
    for size in (20, 80):
        a = torch.empty(40, size, size).exponential_(generator=torch.Generator().manual_seed(size))
        assert total_variation(a).mean().item() == pytest.approx(1, abs=0.02)


def test_smooth_is_less_varied_than_rough():
    rough = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(rough, 5, stride=1)
    assert total_variation(smooth).item() < 0.5 * total_variation(rough).item()


def test_component_joins_corners_and_weighs_by_magnitude():
    a = torch.full((1, 10, 10), 1.0)  # mass 100 less the eight below
    diagonal = [(1, 1), (2, 2), (3, 3)]  # touch at corners only: 3 x 20
    row = [(7, c) for c in range(4, 9)]  # five pixels: 5 x 10
    for place in diagonal:
        a[0][place] = 20.0
    for place in row:
        a[0][place] = 10.0
    total = 92 + 60 + 50
    assert largest_component_mass(a, fraction=0.08).item() == pytest.approx(60 / total)
    assert largest_component_mass(a, fraction=0.03).item() == pytest.approx(60 / total)
    assert largest_component_mass(a, fraction=1.0).item() == pytest.approx(1)


def test_component_counts_all_that_tie_with_the_last_but_never_zeros():
    tied = torch.zeros(1, 10, 10)
    tied[0, 0, :4] = 1.0  # top 1% is one pixel; the four tie
    tied[0, 9, 9] = 0.5
    assert largest_component_mass(tied, fraction=0.01).item() == pytest.approx(4 / 4.5)
    assert largest_component_mass(tied, fraction=0.9).item() == pytest.approx(4 / 4.5)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_component_refuses_impossible_fractions(fraction):
    with pytest.raises(ValueError, match=f"fraction is {fraction}"):
        largest_component_mass(torch.ones(1, 4, 4), fraction=fraction)


def test_effective_complexity_counts():
    assert effective_complexity(torch.tensor([[[1.0, 0.5, 0.005, 0.0]]])).tolist() == [0.5]
    assert effective_complexity(torch.zeros(1, 2, 2)).isnan().all()
