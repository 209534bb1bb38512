"""Intervals, paired tests, their correction, and agreement of ranks: arrays alone; no torch, no studies, no files.

Every function is pure, and nothing is resampled: equal input, equal intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2, nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, stdtr, stdtrit

_EXACT = 16  # pairs up to which all 2^n choices of signs are counted: 65,536 means


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, its interval and its p-value, all of one test.

    Attributes:
        mean: of a - b.
        low, high: ends of the 1 - alpha interval; NaN where there are too few pairs for one.
        p: two-sided, of a mean difference of 0; p < alpha exactly where the interval leaves out 0. NaN without a pair.
        sd: standard deviation of the differences; NaN for fewer than two pairs.
        n: pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    sd: float
    n: int


def paired_test(a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05) -> PairedTest:
    """Is the mean of a - b other than 0, and between what ends is it? a[i] and b[i] belong to the same image.

    Up to 16 pairs, the sign-flip (randomisation) test of the mean and the interval that inverts it: its ends are order
    statistics of the means of all non-empty subsets of the differences. Above, Student's t, which that test approaches.
    Pairs of 0 and 1 alone, McNemar's exact test (the sign test of the pairs that differ); the interval multiplies
    Clopper and Pearson's of the share of pairs that differ and of the share of these that `a` wins.

    Sources: R. A. Fisher, The Design of Experiments, 1935, section 21; J. A. Hartigan, Using subsample values as
    typical values, JASA 64, 1969; C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits, 1934.

    Args:
        a: (n,) finite numbers.
        b: as a, in the same order of images.
        alpha: error rate of test and interval, both sides together, strictly between 0 and 1.

    Raises:
        ValueError: the two differ in length, are not one-dimensional, hold NaN or infinity, or alpha is out of range.
    """
    first, second = _finite_sample(a, "a"), _finite_sample(b, "b")
    if first.size != second.size:
        sizes = f"a has {first.size} values and b has {second.size}"
        raise ValueError(f"{sizes}: pairs need as many of one as of the other")
    _within(alpha, "alpha", "0.05")
    n, differences = first.size, first - second
    if not n:
        return PairedTest(nan, nan, nan, nan, nan, 0)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1)) if n > 1 else nan
    if all(((side == 0) | (side == 1)).all() for side in (first, second)):
        low, high, p = _discordant(int((differences > 0).sum()), int((differences < 0).sum()), n, alpha)
    elif n <= _EXACT:
        low, high, p = _sign_flips(differences, alpha)
    else:
        low, high = mean_interval(differences, confidence=1 - alpha)
        p = 2 * float(stdtr(n - 1, -abs(mean) * sqrt(n) / sd)) if sd else float(mean == 0)
        p = max(p, 2.0 ** (1 - n))  # the smallest that the sign-flip test can reach
    return PairedTest(mean, low, high, p, sd, n)


def _sign_flips(differences: NDArray[np.float64], alpha: float) -> tuple[float, float, float]:
    """Low, high and p from the means of all non-empty subsets."""
    n = differences.size
    sums = np.zeros(2**n)
    for i, value in enumerate(differences):
        np.add(sums[: 2**i], value, out=sums[2**i : 2 ** (i + 1)])
    sums[np.abs(sums) < 1e-12 * np.abs(differences).sum()] = 0  # a tie with 0 but for rounding
    means = sums[1:] / np.bitwise_count(np.arange(1, 2**n))
    tail = 1 + min(int((means <= 0).sum()), int((means >= 0).sum()))  # 1: no sign flipped
    p = min(1.0, 2 * tail / 2**n)
    k = int(alpha / 2 * 2**n)
    if not k:
        return nan, nan, p
    ends = np.partition(means, (k - 1, means.size - k))
    return float(ends[k - 1]), float(ends[-k]), p


def _discordant(wins: int, losses: int, n: int, alpha: float) -> tuple[float, float, float]:
    """Low, high and p where `wins` of n pairs are 1 and 0, and `losses` are 0 and 1."""
    differ = wins + losses
    p = min(1.0, 2 * float(bdtr(min(wins, losses), differ, 0.5))) if differ else 1.0
    share, (least, most) = _clopper_pearson(differ, n, alpha), _clopper_pearson(wins, differ, alpha)
    return min(s * (2 * least - 1) for s in share), max(s * (2 * most - 1) for s in share), p


def _clopper_pearson(successes: int, n: int, alpha: float) -> tuple[float, float]:
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return low, high


def pairs_needed(tests: int, *, alpha: float = 0.05) -> int:
    """The fewest pairs whose smallest sign-flip p, 2^(1 - n), is below alpha once corrected for a number of tests."""
    return floor(log2(2 * tests / alpha)) + 1


def smallest_effect(sd: float, n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The mean difference that n pairs show with a probability of `power`, by Student's t; NaN for n < 2.

    `sd` is the standard deviation of the paired differences, `alpha` the two-sided level after any correction.

    Source: W. G. Cochran and G. M. Cox, Experimental Designs, 1957, section 2.21.
    """
    if n < 2:
        return nan
    return float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, power)) * sd / sqrt(n)


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean of independent units (images): (n,) -> (low, high), NaN for fewer than two.

    Source: Student, The probable error of a mean, Biometrika 6, 1908.

    Raises:
        ValueError: values are not one-dimensional or hold NaN or infinity, or confidence is out of range.
    """
    sample = _finite_sample(values, "values")
    _within(confidence, "confidence", "0.95")
    if sample.size < 2:
        return nan, nan
    return interval_of_mean(float(sample.mean()), float(sample.std(ddof=1)), sample.size, confidence=confidence)


def interval_of_mean(mean: float, sd: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The same of n values by their mean and standard deviation (n - 1 below)."""
    if n < 2:
        return nan, nan
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / sqrt(n)
    return mean - half, mean + half


def wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, without continuity correction.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    Args:
        successes: how many of the trials succeeded, 0..n; where trials have shares of success, their sum: no share of
            that mean varies more than 0 and 1 do, so the interval is wide enough. (scipy's takes whole numbers alone.)
        n: how many trials there were.
        confidence: nominal coverage, strictly between 0 and 1.

    Returns:
        (low, high) inside [0, 1]; (nan, nan) for n = 0.

    Raises:
        ValueError: successes outside 0..n, or confidence out of range.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes is {successes} of n = {n}, expected 0 <= successes <= n")
    _within(confidence, "confidence", "0.95")
    if n == 0:
        return nan, nan
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class CrossedMean:
    """A mean over two crossed factors, photos and draws, both random.

    Attributes:
        value: the mean.
        variance: of the mean.
        df: its degrees of freedom, by Satterthwaite's rule.
        draws: the part of the variance that draws cause, which more photos do not lessen.
    """

    value: float
    variance: float
    df: float
    draws: float

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the length of Student's interval; NaN where one value is all there is."""
        return float(stdtrit(self.df, (1 + confidence) / 2) * sqrt(self.variance)) if self.df > 0 else nan


def crossed_mean(values: NDArray[np.float64]) -> CrossedMean:
    """The mean of all that is known, with the variance of a two-way random-effects model.

    V = V_photo + V_draw - V_residual, at least the larger of the first two. Without missing values these are the mean
    squares over P D (H. Scheffe, The Analysis of Variance, 1959, chapter 7). With them, V_photo and V_draw are cluster
    sums of squares (A. C. Cameron, J. B. Gelbach and D. L. Miller, Robust inference with multiway clustering, 2011) and
    V_residual is that of the additive least-squares fit. Degrees of freedom: F. E. Satterthwaite, 1946; those of the
    larger one where it stands in.

    Args:
        values: (P, D), NaN where missing; a factor of one level adds no variance.

    Returns:
        All NaN, with no degrees of freedom, where nothing is known.
    """
    present = np.isfinite(values)
    n, by_photo, by_draw = int(present.sum()), present.sum(1), present.sum(0)
    if not n:
        return CrossedMean(nan, nan, 0, nan)
    mean = float(values[present].mean())
    apart = np.where(present, values - mean, 0)
    (photo, df_photo), (draw, df_draw) = (
        _cluster_variance(apart.sum(axis)[m > 0], n) for axis, m in ((1, by_photo), (0, by_draw))
    )
    df_residual = n - 1 - df_photo - df_draw
    residual = _additive_residual(apart, present) / df_residual / n if df_residual > 0 else 0.0
    parts = [(v, df) for v, df in ((photo, df_photo), (draw, df_draw), (residual, df_residual)) if df > 0]
    whole, spent = photo + draw - residual, sum(v**2 / df for v, df in parts)
    variance, df = max((whole, whole**2 / spent if spent else n - 1), (photo, df_photo), (draw, df_draw))
    return CrossedMean(mean, variance, df, max(0.0, draw - residual))


def _cluster_variance(sums: NDArray[np.float64], n: int) -> tuple[float, int]:
    """The variance of a mean of n values from the sums of its clusters, and its degrees of freedom."""
    df = sums.size - 1
    return (float(np.square(sums).sum()) * sums.size / df / n**2, df) if df else (0.0, 0)


def _additive_residual(values: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """The sum of squares that an effect of each row and of each column leaves; zero stands where nothing is known."""
    kept = present.any(1)
    values, present = values[kept], present[kept]
    share = present / present.sum(1, keepdims=True)
    normal = np.diag(present.sum(0)) - present.T @ share  # columns alone, rows taken out
    columns = np.linalg.lstsq(normal, values.sum(0) - values.sum(1) @ share, rcond=None)[0]
    left = np.where(present, values - columns, 0)
    left = left - left.sum(1, keepdims=True) / present.sum(1, keepdims=True)
    return float(np.square(np.where(present, left, 0)).sum())


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected for their number, in the order given; NaN is no test, is not counted and stays NaN.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted = np.array(p_values, dtype=np.float64)
    order = np.argsort(adjusted, kind="stable")[: np.count_nonzero(~np.isnan(adjusted))]  # NaN comes last
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(adjusted[order] * factors))
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected so that the false discovery rate is held, in the order given; NaN as in `holm`.

    Valid for independent tests and for positively dependent ones.

    Sources: Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, 1995; Y. Benjamini and D. Yekutieli,
    The control of the false discovery rate in multiple testing under dependency, 2001, theorem 1.2.
    """
    from scipy.stats import false_discovery_control  # takes a third of a second to import

    adjusted = np.array(p_values, dtype=np.float64)
    tested = ~np.isnan(adjusted)
    adjusted[tested] = false_discovery_control(adjusted[tested])
    return adjusted


def kendall_w(values: ArrayLike) -> float:
    """Kendall's coefficient of concordance: do the images rank the methods alike?

    Of (n, m) finite numbers, a row an image, a column a method: 0 (no agreement) to 1 (all images rank alike); NaN for
    fewer than two of either, or where every image gives all methods the same value.

    Source: M. G. Kendall and B. Babington Smith, The problem of m rankings, 1939, corrected for ties.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"values of shape {table.shape}: expected finite numbers, a row an image, a column a method")
    if min(table.shape) < 2:
        return nan
    from scipy.stats import rankdata  # takes a third of a second to import

    ranks = rankdata(table, axis=1) - (table.shape[1] + 1) / 2
    most = table.shape[0] * float(np.square(ranks).sum())
    return float(np.square(ranks.sum(0)).sum()) / most if most else nan


def _within(value: float, name: str, such_as: str) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}, expected a number strictly between 0 and 1, such as {such_as}")


def _finite_sample(values: ArrayLike | Sequence[float], name: str) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"{name} has shape {sample.shape}, expected one dimension: one number an image")
    bad = int(np.count_nonzero(~np.isfinite(sample)))
    if bad:
        of = f"{name} holds {bad} NaN or infinite of {sample.size}"
        raise ValueError(f"{of}: leave out what is not ok before averaging")
    return sample
