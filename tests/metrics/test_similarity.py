"""Map similarity against scipy and scikit-image, hand-worked cases, invariants."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.feature import hog
from skimage.metrics import structural_similarity

from suite.metrics.similarity import (
    cosine,
    hog_correlation,
    hog_features,
    max_abs_difference,
    normalise,
    rank_correlation,
    ranks,
    relative_l2,
    spearman,
    ssim,
    top_overlap,
)

TIED = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 40)), elements=st.integers(-4, 4).map(float))
PAIRS = st.integers(2, 60).flatmap(
    lambda n: hnp.arrays(np.float64, (2, n), elements=st.integers(-9, 9).map(float), unique=False)
)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(TIED)
def test_ranks_are_scipys(values):
    np.testing.assert_array_equal(ranks(torch.from_numpy(values)).numpy(), scipy.stats.rankdata(values, axis=1))


def test_ranks_by_hand():
    given_values = torch.tensor([[[3.0, -1.0], [3.0, 0.0]], [[0.0, -0.0], [5.0, -torch.inf]]])
    assert ranks(given_values).tolist() == [[3.5, 1.0, 3.5, 2.0], [2.5, 2.5, 4.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_ranks_of_other_types(dtype):
    values = (noise(2, 50) * 3).abs().to(dtype)
    theirs = scipy.stats.rankdata(values.double().numpy(), axis=1)
    np.testing.assert_array_equal(ranks(values).numpy(), theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zeros", [0.0, 0.6, 0.99])
@pytest.mark.parametrize("shape", [(224, 224), (3, 224, 224)])
def test_spearman_is_scipys_on_whole_maps_with_large_ties(shape, zeros, dtype):
    # torchmetrics 1.9 gives 0.9796 for 0.9484 on 150,528 values of which 60% are zeros: its tie counts overflow.
    a = noise(2, *shape, dtype=dtype)
    b = a + 0.3 * noise(2, *shape, seed=1, dtype=dtype)
    keep = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2)) >= zeros
    a, b = a * keep, b * keep
    theirs = [scipy.stats.spearmanr(x.flatten().numpy(), y.flatten().numpy()).statistic for x, y in zip(a, b)]  # noqa: B905
    np.testing.assert_allclose(spearman(a, b).numpy(), theirs, rtol=0, atol=1e-12)


@given(PAIRS)
def test_spearman_is_scipys_and_symmetric_and_blind_to_monotone_maps(pair):
    a, b = torch.from_numpy(pair)[:, None]
    ours = spearman(a, b)
    assert ours.dtype == torch.float64
    assert ours.shape == (1,)
    if len(set(pair[0])) == 1 or len(set(pair[1])) == 1:
        assert ours.isnan().all()
        return
    np.testing.assert_allclose(ours.item(), scipy.stats.spearmanr(*pair).statistic, atol=1e-12)
    torch.testing.assert_close(spearman(b, a), ours, rtol=0, atol=0)
    torch.testing.assert_close(spearman(a.exp(), 3 * b + 7), ours, rtol=0, atol=0)
    torch.testing.assert_close(spearman(-a, b), -ours)
    torch.testing.assert_close(spearman(a, a), torch.ones(1).double())


def test_spearman_of_a_constant_or_a_broken_map_is_nan_and_leaves_its_neighbours_alone():
    a, b = noise(4, 5, 5), noise(4, 5, 5, seed=1)
    a[1] = 2.0
    b[2, 3, 3] = torch.nan
    assert spearman(a, b).isnan().tolist() == [False, True, True, False]


def test_ranks_can_be_used_again():
    a, b = noise(3, 4, 9, 9), noise(3, 4, 9, 9, seed=1)
    assert torch.equal(rank_correlation(ranks(a), ranks(b)), spearman(a, b))


@pytest.mark.parametrize("function", [spearman, top_overlap, relative_l2, max_abs_difference])
def test_batch_is_one_map_after_another(function):
    a, b = noise(5, 3, 12, 17), noise(5, 3, 12, 17, seed=1)
    alone = torch.cat([function(a[i : i + 1], b[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(function(a, b), alone, rtol=1e-14, atol=0)
    assert function(a[:0], b[:0]).shape == (0,)


@pytest.mark.parametrize("function", [spearman, top_overlap, relative_l2, max_abs_difference])
def test_shapes_that_would_broadcast_are_refused(function):
    with pytest.raises(ValueError, match=r"maps have shapes \(2, 3, 8, 8\) and \(2, 1, 8, 8\)"):
        function(noise(2, 3, 8, 8), noise(2, 1, 8, 8))
    with pytest.raises(ValueError, match="expected"):
        function(noise(8), noise(8))


def test_inputs_stay_as_they_were():
    a, b = noise(2, 16, 16).requires_grad_(), noise(2, 16, 16, seed=1)
    before = a.detach().clone(), b.clone()
    for result in (
        spearman(a, b),
        ssim(a, b, data_range=2),
        top_overlap(a, b),
        relative_l2(a, b),
        max_abs_difference(a, b),
        normalise(a),
    ):
        assert not result.requires_grad
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("shape", [(11, 11), (13, 40), (224, 224)])
def test_ssim_is_scikit_images(shape, data_range):
    a = noise(3, *shape).abs().clamp(max=1) * data_range
    b = (a + 0.2 * data_range * noise(3, *shape, seed=1)).clamp(0, data_range)
    theirs = [
        structural_similarity(
            x.numpy(), y.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=data_range
        )
        for x, y in zip(a, b, strict=True)
    ]
    ours = ssim(a, b, data_range=data_range)
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(ssim(b, a, data_range=data_range), ours)
    torch.testing.assert_close(ssim(a, a, data_range=data_range), torch.ones(3).double())
    assert (ours < 0.999).all()


def test_ssim_works_in_double_on_floats():
    a, b = noise(2, 30, 30, dtype=torch.float32), noise(2, 30, 30, seed=1, dtype=torch.float32)
    assert torch.equal(ssim(a, b, data_range=2), ssim(a.double(), b.double(), data_range=2))


def test_ssim_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"shape \(1, 10, 30\), expected \(B, H, W\) with H and W at least 11"):
        ssim(noise(1, 10, 30), noise(1, 10, 30), data_range=1)
    with pytest.raises(ValueError, match=r"expected \(B, H, W\)"):
        ssim(noise(1, 3, 30, 30), noise(1, 3, 30, 30), data_range=1)
    with pytest.raises(ValueError, match="data_range is 0"):
        ssim(noise(1, 30, 30), noise(1, 30, 30), data_range=0)
    with pytest.raises(ValueError, match="maps have shapes"):
        ssim(noise(1, 30, 30), noise(2, 30, 30), data_range=1)


def test_clipping_keeps_a_shared_outlier_from_making_unrelated_maps_alike():
    a, b = noise(1, 64, 64).abs(), noise(1, 64, 64, seed=1).abs()
    a[0, 5, 5] = b[0, 5, 5] = 1000.0
    by_maximum = ssim(a / a.amax(), b / b.amax(), data_range=1)
    clipped = ssim(normalise(a), normalise(b), data_range=1)
    assert by_maximum.item() > 0.9
    assert clipped.item() < 0.2


@pytest.mark.parametrize("percentile", [50.0, 99.0, 99.9, 100.0])
@pytest.mark.parametrize("n", [2, 13, 224])
def test_normalise_is_numpys_percentile(n, percentile):
    a = noise(3, n, n)
    scale = np.percentile(a.abs().flatten(1).numpy(), percentile, axis=1)
    expected = np.clip(a.numpy() / scale[:, None, None], -1, 1)
    np.testing.assert_allclose(normalise(a, percentile=percentile).numpy(), expected, rtol=1e-12)


def test_normalise_keeps_signs_and_zero_and_forgets_scale():
    a = noise(2, 20, 20)
    a[:, :10] = 0
    out = normalise(a)
    assert (out.sign() == a.sign()).all()
    torch.testing.assert_close(normalise(1e-30 * a), out)
    assert normalise(a.abs()).min() == 0


def test_normalise_of_a_nearly_empty_map_and_of_an_empty_one():
    a = torch.zeros(2, 30, 30)
    a[0, 3, 4], a[0, 5, 6] = -8.0, 2.0
    out = normalise(a)
    assert out[0, 3, 4] == -1
    assert out[0, 5, 6] == 0.25
    assert out[1].isnan().all()
    assert ssim(out, out, data_range=2).isnan().tolist() == [False, True]


@pytest.mark.parametrize("percentile", [0, 101, -1])
def test_normalise_refuses_impossible_percentiles(percentile):
    with pytest.raises(ValueError, match=f"percentile is {percentile}"):
        normalise(noise(1, 4, 4), percentile=percentile)


def test_top_overlap_by_hand():
    a = torch.arange(20.0)[None]  # top 10%: places 18 and 19
    assert top_overlap(a, a).item() == 1
    assert top_overlap(a, -a).item() == 0
    b = a.clone()
    b[0, 18], b[0, 0] = 0.0, 18.0  # top: places 0 and 19
    assert top_overlap(a, b).item() == pytest.approx(0.5)
    assert top_overlap(a, b, fraction=0.01).item() == 1  # at least one place: 19


def test_top_overlap_shares_a_place_among_the_tied():
    # k = 2 of 10. a holds place 0 wholly and 1/9 of each other; b holds places 8 and 9 wholly.
    a = torch.tensor([[1.0] + [0.0] * 9])
    b = torch.arange(10.0)[None]
    held = (2 / 9) / np.sqrt((1 + 9 / 81) * 2)
    assert top_overlap(a, b, fraction=0.2).item() == pytest.approx(held)
    assert top_overlap(a, a, fraction=0.2).item() == pytest.approx(1)


def test_top_overlap_shares_all_the_places_that_are_left():
    # k = 5 of 10. a: place 0 wholly, the other four places among nine; b: places 5..9 wholly.
    a = torch.tensor([[1.0] + [0.0] * 9])
    b = torch.arange(10.0)[None]
    held = 5 * (4 / 9) / np.sqrt((1 + 9 * (4 / 9) ** 2) * 5)
    assert top_overlap(a, b, fraction=0.5).item() == pytest.approx(held)


@given(st.integers(0, 10_000), st.integers(10, 300), st.sampled_from([0.05, 0.1, 0.5]))
def test_top_overlap_without_ties_is_the_share_of_places_in_common(seed, n, fraction):
    generator = np.random.default_rng(seed)
    a, b = generator.permutation(n), generator.permutation(n)
    k = max(1, round(fraction * n))
    common = len(set(np.argsort(a)[-k:]) & set(np.argsort(b)[-k:])) / k
    ours = top_overlap(torch.from_numpy(a)[None], torch.from_numpy(b)[None], fraction=fraction)
    assert ours.item() == pytest.approx(common)


@given(PAIRS, st.randoms(use_true_random=False))
def test_top_overlap_does_not_know_the_raster(pair, random):
    order = list(range(pair.shape[1]))
    random.shuffle(order)
    a, b = torch.from_numpy(pair)[:, None]
    ours = top_overlap(a, b)
    torch.testing.assert_close(top_overlap(a[:, order], b[:, order]), ours, equal_nan=True)
    torch.testing.assert_close(top_overlap(b, a), ours, equal_nan=True)
    constant = len(set(pair[0])) == 1 or len(set(pair[1])) == 1
    assert ours.isnan().item() == constant
    assert constant or 0 <= ours.item() <= 1


def test_top_overlap_of_unrelated_maps_is_the_fraction():
    ours = top_overlap(noise(30, 60, 60), noise(30, 60, 60, seed=1))
    assert ours.mean().item() == pytest.approx(0.1, abs=0.01)


def test_top_overlap_of_a_broken_map_is_nan():
    a = noise(2, 30)
    a[1, 4] = torch.nan
    assert top_overlap(a, noise(2, 30, seed=1)).isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match="fraction is 10"):
        top_overlap(a, a, fraction=10)


def test_distances_by_hand():
    reference = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [1.0, torch.nan]])
    a = torch.tensor([[3.0, 1.0], [0.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert relative_l2(a, reference)[:3].tolist() == [0.6, 0.0, torch.inf]
    assert max_abs_difference(a, reference)[:3].tolist() == [3.0, 0.0, 2.0]
    assert relative_l2(a, reference)[3].isnan()
    assert max_abs_difference(a, reference)[3].isnan()


def test_distances_are_taken_in_double():
    a = torch.full((1, 3, 224, 224), 1.0)
    b = a.clone()
    b[0, 0, 0, 0] += 2**-23
    assert max_abs_difference(a, b).item() == 2**-23
    assert relative_l2(b, a).item() == pytest.approx(2**-23 / np.sqrt(150_528), rel=1e-12)


@pytest.mark.parametrize(("side", "cell"), [(56, 4), (48, 16), (15, 2)])
def test_hog_is_scikit_images(side, cell):
    maps = noise(2, side, side + 3)
    theirs = np.stack([hog(one.numpy(), 9, (cell, cell), (3, 3)) for one in maps])
    np.testing.assert_allclose(hog_features(maps, pixels_per_cell=cell), theirs, atol=1e-6)  # theirs adds in float32
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(theirs, theirs[::-1], strict=True)]
    np.testing.assert_allclose(hog_correlation(maps, maps.flip(0), pixels_per_cell=cell), expected, atol=1e-6)
    assert hog_correlation(maps[:1] * torch.nan, maps[:1], pixels_per_cell=cell).isnan().all()


def test_cosine_by_hand():
    a, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[4.0, 3.0], [1.0, 0.0]])
    found = cosine(a, b)
    assert float(found[0]) == pytest.approx(24 / 25)
    assert found[1].isnan()
