"""Intervals against scipy's, hand-worked cases, and what they must refuse."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from suite.metrics.statistics import bootstrap_interval, holm, kendall_w, paired_bootstrap, wilcoxon_p, wilson_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [5, 20, 200])
def test_bootstrap_matches_scipy_percentile(n, confidence):
    values = np.random.default_rng(n).exponential(size=n)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=20_000, method="percentile", rng=7
    )
    ours = bootstrap_interval(values, confidence=confidence, resamples=20_000)
    spread = values.std() / np.sqrt(n)
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.06 * spread)


def test_bootstrap_of_two_values_is_known():
    # The mean of two draws from {0, 1} is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 1.0], confidence=0.95) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)


def test_bootstrap_draws_as_often_as_asked():
    low, high = bootstrap_interval([0.0, 1.0, 5.0], resamples=1)
    assert low == high  # of one mean


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(400):
        low, high = bootstrap_interval(generator.normal(3.0, 1.0, size=40), resamples=500, seed=trial)
        hits += low <= 3.0 <= high
    assert 0.90 <= hits / 400 <= 0.98


def test_bootstrap_is_seeded():
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_bootstrap_does_not_touch_the_global_generator():
    np.random.seed(0)  # noqa: NPY002 - the state that must stay
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_interval([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_bootstrap_of_many_values_goes_in_portions():
    values = np.random.default_rng(2).normal(size=300_000)
    low, high = bootstrap_interval(values, resamples=50)
    assert low < values.mean() < high
    assert high - low < 6 * values.std() / np.sqrt(values.size)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_values_have_no_interval(values):
    assert np.isnan(bootstrap_interval(values)).all()
    assert np.isnan(paired_bootstrap(values, values)).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(-1e3, 1e3))
def test_bootstrap_lies_within_the_values_and_moves_with_them(values, shift):
    low, high = bootstrap_interval(values, resamples=200)
    slack = 1e-9 * (1 + max(map(abs, values)) + abs(shift))
    assert min(values) - slack <= low <= high <= max(values) + slack
    moved = bootstrap_interval(np.add(values, shift), resamples=200)
    np.testing.assert_allclose(moved, (low + shift, high + shift), rtol=0, atol=slack)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=r"values holds 1 NaN or infinite of 3"):
        bootstrap_interval([1.0, bad, 2.0])
    with pytest.raises(ValueError, match=r"b holds 1 NaN or infinite of 2"):
        paired_bootstrap([1.0, 2.0], [bad, 2.0])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, -0.5, np.nan])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="confidence is"):
        bootstrap_interval([1.0, 2.0], confidence=confidence)
    with pytest.raises(ValueError, match="confidence is"):
        wilson_interval(1, 2, confidence=confidence)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"values has shape \(2, 2\)"):
        bootstrap_interval([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_interval([1.0, 2.0], resamples=0)
    with pytest.raises(ValueError, match="a has 2 values and b has 3"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0])


def test_pairs_cancel_what_an_image_does_to_both():
    images = np.random.default_rng(3).normal(scale=100, size=25)
    np.testing.assert_allclose(paired_bootstrap(images + 0.5, images), (0.5, 0.5), atol=1e-10)
    apart = bootstrap_interval(images)
    assert apart[1] - apart[0] > 10


def test_pairs_match_scipy():
    a, b = np.random.default_rng(4).normal(size=(2, 40))
    theirs = scipy.stats.bootstrap(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), paired=True, n_resamples=20_000, method="percentile", rng=1
    )
    np.testing.assert_allclose(paired_bootstrap(a, b, resamples=20_000), theirs.confidence_interval, atol=0.02)
    np.testing.assert_allclose(paired_bootstrap(b, a, seed=5), np.negative(paired_bootstrap(a, b, seed=5))[::-1])


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("n", [1, 2, 20, 1000])
def test_wilson_matches_scipy(n, confidence):
    for successes in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        theirs = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
        np.testing.assert_allclose(wilson_interval(successes, n, confidence=confidence), theirs, atol=1e-12)


def test_wilson_of_nothing_and_of_everything():
    assert np.isnan(wilson_interval(0, 0)).all()
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"successes is {successes} of n = {n}"):
        wilson_interval(successes, n)


def test_holm_by_hand_and_in_the_order_given():
    np.testing.assert_allclose(holm([0.04, 0.01, np.nan, 0.03]), [0.06, 0.03, np.nan, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).size == 0


def test_wilcoxon_is_scipys_and_knows_no_difference():
    a, b = np.arange(8.0), np.arange(8.0) - np.array([1, 2, 3, -0.5, 4, 5, 6, 7])
    assert wilcoxon_p(a, b) == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)
    assert wilcoxon_p(a, a) == 1.0
    assert np.isnan(wilcoxon_p([], []))


def test_kendalls_w_by_hand():
    assert kendall_w([[1, 2, 3], [10, 20, 30]]) == pytest.approx(1)
    assert kendall_w([[1, 2, 3], [3, 2, 1]]) == pytest.approx(0)
    assert kendall_w([[1, 2, 2], [5, 7, 7], [0, 3, 3]]) == pytest.approx(1)  # with ties corrected
    assert np.isnan(kendall_w([[1, 1], [2, 2]]))
    assert np.isnan(kendall_w([[1, 2]]))
