"""Intervals against scipy's, hand-worked cases, and what they must refuse."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from suite.metrics.statistics import (
    benjamini_hochberg,
    holm,
    kendall_w,
    mean_interval,
    paired_test,
    pairs_needed,
    smallest_effect,
    wilson_interval,
)


def test_mean_interval_is_students():
    values = np.random.default_rng(3).exponential(size=12)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(mean_interval(values, confidence=0.9), theirs)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_values_have_no_interval(values):
    assert np.isnan(mean_interval(values)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=r"values holds 1 NaN or infinite of 3"):
        mean_interval([1.0, bad, 2.0])
    with pytest.raises(ValueError, match=r"b holds 1 NaN or infinite of 2"):
        paired_test([1.0, 2.0], [bad, 2.0])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, -0.5, np.nan])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="confidence is"):
        mean_interval([1.0, 2.0], confidence=confidence)
    with pytest.raises(ValueError, match="alpha is"):
        paired_test([1.0, 2.0], [1.0, 2.0], alpha=confidence)
    with pytest.raises(ValueError, match="confidence is"):
        wilson_interval(1, 2, confidence=confidence)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"values has shape \(2, 2\)"):
        mean_interval([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="a has 2 values and b has 3"):
        paired_test([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("n", [6, 9, 12])
def test_p_of_few_pairs_is_scipys_exact_permutation_test(n):
    for seed in range(5):
        a, b = np.random.default_rng(seed).normal(size=(2, n)).round(seed % 2 + 1)  # with ties and zeros
        theirs = scipy.stats.permutation_test(
            (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf
        )
        assert paired_test(a, b).p == pytest.approx(theirs.pvalue)


def _flipped(differences, shift):
    """Two-sided p of the sign-flip test of one shift, by all assignments of signs."""
    centred = differences - shift
    sums = np.array(list(product([1, -1], repeat=len(centred)))) @ centred
    tails = (sums >= centred.sum() - 1e-9).mean(), (sums <= centred.sum() + 1e-9).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("n", [6, 7, 10])
def test_the_interval_of_few_pairs_is_the_sign_flip_test_inverted(n, alpha):
    differences = np.random.default_rng(n).exponential(size=n) - 0.3
    test = paired_test(differences, 0 * differences, alpha=alpha)
    for end, outwards in ((test.low, -1), (test.high, 1)):
        assert _flipped(differences, end + outwards * 1e-6) < alpha
        assert _flipped(differences, end - outwards * 1e-6) >= alpha


@given(st.lists(st.integers(-20, 60), min_size=1, max_size=18), st.sampled_from([0.01, 0.05, 0.2]))
def test_p_is_below_alpha_exactly_where_the_interval_leaves_out_zero(differences, alpha):
    test = paired_test(np.array(differences) / 10, np.zeros(len(differences)), alpha=alpha)
    assert (test.p < alpha) == (test.low > 0 or test.high < 0)
    back = paired_test(np.zeros(len(differences)), np.array(differences) / 10, alpha=alpha)
    np.testing.assert_allclose((back.mean, back.low, back.high, back.p), (-test.mean, -test.high, -test.low, test.p))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))
def test_binary_pairs_are_mcnemars_exact_test(won, lost, equal):
    a = np.repeat([1, 0, 1], [won, lost, equal])
    b = np.repeat([0, 1, 1], [won, lost, equal])
    test = paired_test(a, b)
    expected = scipy.stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert test.p == pytest.approx(expected)
    assert (test.p < 0.05) == (test.low > 0 or test.high < 0)
    assert -1 <= test.low <= test.mean + 1e-12
    assert test.mean - 1e-12 <= test.high <= 1


@pytest.mark.parametrize("n", [6, 14, 30])
def test_the_interval_of_binary_pairs_covers(n):
    counts = np.array([(w, q) for w in range(n + 1) for q in range(n + 1 - w)])
    sides = [[w, q, n - w - q] for w, q in counts]
    tests = [paired_test(np.repeat([1, 0, 0], some), np.repeat([0, 1, 0], some)) for some in sides]
    low, high = (np.array([getattr(test, end) for test in tests]) for end in ("low", "high"))
    for won, lost in [(0.5, 0.5), (0.5, 0.4), (0.9, 0.1), (0.3, 0.0), (0.05, 0.05), (1.0, 0.0), (0.6, 0.1)]:
        rest = n - counts.sum(1)
        chance = scipy.stats.multinomial.pmf(np.c_[counts, rest], n, [won, lost, max(0, 1 - won - lost)])
        inside = (low <= won - lost + 1e-12) & (won - lost - 1e-12 <= high)
        assert chance[inside].sum() >= 0.95, (won, lost)


def test_equal_outcomes_of_few_photos_are_no_proof_of_equality():
    test = paired_test(np.ones(10), np.ones(10))
    assert test.p == 1
    assert test.low < -0.3 < 0.3 < test.high


@pytest.mark.parametrize("n", [17, 40, 50_000])
def test_many_pairs_are_students_t(n):
    a, b = np.random.default_rng(n).normal(size=(2, n))
    theirs, test = scipy.stats.ttest_rel(a + 0.01, b), paired_test(a + 0.01, b)
    assert test.p == pytest.approx(theirs.pvalue)
    np.testing.assert_allclose((test.low, test.high), theirs.confidence_interval())
    np.testing.assert_allclose(mean_interval(a), scipy.stats.ttest_1samp(a, 0).confidence_interval())


def test_one_outlier_does_not_turn_nineteen_photos():
    differences = np.array([-0.01] * 19 + [1.0])  # nineteen worse, and a mean above 0
    test = paired_test(differences, 0 * differences)
    assert test.mean > 0
    assert test.p > 0.05
    assert test.low < 0


def test_pairs_cancel_what_an_image_does_to_both():
    images = np.random.default_rng(3).normal(scale=100, size=25)
    test = paired_test(images + 0.5, images)
    np.testing.assert_allclose((test.low, test.high), (0.5, 0.5), atol=1e-10)
    assert 0 < test.p < 1e-6
    same = paired_test(images, images)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_five_pairs_reach_no_interval(n):
    test = paired_test(np.arange(n) + 1.5, np.zeros(n))
    assert np.isnan([test.low, test.high]).all()
    assert test.n == n
    assert np.isnan(test.p) if n == 0 else test.p == 2.0 ** (1 - n)


def test_pairs_needed_is_where_the_smallest_p_survives_the_correction():
    assert [pairs_needed(tests) for tests in (1, 4, 7, 11)] == [6, 8, 9, 9]
    for tests in range(1, 200):
        n = pairs_needed(tests)
        assert tests * 2.0 ** (1 - n) < 0.05 <= tests * 2.0 ** (2 - n)
    smallest = paired_test(np.arange(6) + 0.5, np.zeros(6)).p
    assert smallest == 2.0**-5


@pytest.mark.slow
@pytest.mark.parametrize(("n", "alpha"), [(10, 0.05), (14, 0.0125), (40, 0.05)])
def test_the_smallest_effect_is_found_four_times_in_five(n, alpha):
    generator, effect = np.random.default_rng(0), smallest_effect(1.0, n, alpha=alpha)
    found = [paired_test(generator.normal(effect, 1, n), np.zeros(n), alpha=alpha).low > 0 for _ in range(1000)]
    assert 0.75 < np.mean(found) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 10, 14])
def test_intervals_cover_as_often_as_they_say(n):
    generator, trials = np.random.default_rng(n), 4000
    for draw, truth, least, most in (
        (lambda: generator.normal(3, 1, n), 3.0, 0.93, 0.97),
        (lambda: generator.lognormal(0, 1, n), np.exp(0.5), 0.80, 0.97),  # the honest bound: skewed, t falls short
    ):
        hits = 0
        for _ in range(trials):
            low, high = mean_interval(draw())
            hits += low <= truth <= high
        assert least <= hits / trials <= most
    hits = 0
    for _ in range(trials):
        test = paired_test(generator.normal(1, 1, n), np.zeros(n))
        hits += test.low <= 1 <= test.high
    assert 0.94 <= hits / trials <= 0.98  # exact: 1 - 2 k / 2^n, 0.969 for six pairs


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


def test_benjamini_hochberg_is_scipys_and_leaves_out_what_is_no_test():
    p = np.random.default_rng(0).uniform(size=20) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p))
    np.testing.assert_allclose(benjamini_hochberg([0.04, np.nan, 0.01, 0.03]), [0.04, np.nan, 0.03, 0.04])
    assert benjamini_hochberg([]).size == 0


def test_kendalls_w_by_hand():
    assert kendall_w([[1, 2, 3], [10, 20, 30]]) == pytest.approx(1)
    assert kendall_w([[1, 2, 3], [3, 2, 1]]) == pytest.approx(0)
    assert kendall_w([[1, 2, 2], [5, 7, 7], [0, 3, 3]]) == pytest.approx(1)  # with ties corrected
    assert np.isnan(kendall_w([[1, 1], [2, 2]]))
    assert np.isnan(kendall_w([[1, 2]]))
