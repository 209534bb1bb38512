"""Intervals, paired tests, their correction, and agreement of ranks. No torch, no studies, no files.

Every function is pure. Resampling draws from its own generator, seeded by the caller: equal input, equal intervals.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

_CHUNK = 1_000_000  # resampled values held at once: 8 MB, whatever n is


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Args:
        values: (n,) numbers, one an independent unit (an image), none of them NaN or infinite.
        confidence: share of the bootstrap means inside the interval, strictly between 0 and 1.
        resamples: how many times n values are drawn with replacement, at least 1.
        seed: of the generator that draws.

    Returns:
        (low, high) in the unit of the values; (nan, nan) for fewer than two values, from which no spread can be had.

    Raises:
        ValueError: values are not one-dimensional or hold NaN or infinity; confidence or resamples out of range.
    """
    sample = _finite_sample(values, "values")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, expected a number strictly between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    if sample.size < 2:
        return nan, nan
    means = np.concatenate([counts @ sample for counts in _resamples(sample.size, resamples, seed)]) / sample.size
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resamples(n: int, resamples: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """How often each of n values is drawn, (rows, n) at a time, `resamples` rows in all; small ones are kept."""
    return _kept(n, resamples, seed) if n * resamples <= _CHUNK else _counts(n, resamples, seed)


@lru_cache(maxsize=16)
def _kept(n: int, resamples: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(_counts(n, resamples, seed))


def _counts(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        drawn = generator.integers(n, size=(min(rows, resamples - start), n))
        drawn += n * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of a - b, where a[i] and b[i] belong to the same image.

    Pairs are drawn, never the two sides apart, so what an image does to both cancels.

    Args:
        a: (n,) finite numbers.
        b: (n,) finite numbers, in the same order of images.
        confidence: as in `bootstrap_interval`.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

    Returns:
        (low, high) of the mean difference; (nan, nan) for fewer than two pairs.

    Raises:
        ValueError: the two differ in length, or as in `bootstrap_interval`.
    """
    first, second = _finite_sample(a, "a"), _finite_sample(b, "b")
    if first.size != second.size:
        raise ValueError(
            f"a has {first.size} values and b has {second.size}: pairs need as many of one as of the other"
        )
    return bootstrap_interval(first - second, confidence=confidence, resamples=resamples, seed=seed)


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, without continuity correction.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    Args:
        successes: how many of the trials succeeded, 0..n.
        n: how many trials there were.
        confidence: nominal coverage, strictly between 0 and 1.

    Returns:
        (low, high) inside [0, 1]; (nan, nan) for n = 0.

    Raises:
        ValueError: successes outside 0..n, or confidence out of range.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes is {successes} of n = {n}, expected 0 <= successes <= n")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, expected a number strictly between 0 and 1, such as 0.95")
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
    known = np.isfinite(values)
    n, by_photo, by_draw = int(known.sum()), known.sum(1), known.sum(0)
    if not n:
        return CrossedMean(nan, nan, 0, nan)
    mean = float(values[known].mean())
    apart = np.where(known, values - mean, 0)
    (photo, df_photo), (draw, df_draw) = (
        _cluster_variance(apart.sum(axis)[m > 0], n) for axis, m in ((1, by_photo), (0, by_draw))
    )
    df_residual = n - 1 - df_photo - df_draw
    residual = _additive_residual(apart, known) / df_residual / n if df_residual > 0 else 0.0
    parts = [(v, df) for v, df in ((photo, df_photo), (draw, df_draw), (residual, df_residual)) if df > 0]
    whole, spent = photo + draw - residual, sum(v**2 / df for v, df in parts)
    variance, df = max((whole, whole**2 / spent if spent else n - 1), (photo, df_photo), (draw, df_draw))
    return CrossedMean(mean, variance, df, max(0.0, draw - residual))


def _cluster_variance(sums: NDArray[np.float64], n: int) -> tuple[float, int]:
    """The variance of a mean of n values from the sums of its clusters, and its degrees of freedom."""
    df = sums.size - 1
    return (float(np.square(sums).sum()) * sums.size / df / n**2, df) if df else (0.0, 0)


def _additive_residual(values: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    """The sum of squares that an effect of each row and of each column leaves; zero stands where nothing is known."""
    some = known.any(1)
    values, known = values[some], known[some]
    share = known / known.sum(1, keepdims=True)
    normal = np.diag(known.sum(0)) - known.T @ share  # columns alone, rows taken out
    columns = np.linalg.lstsq(normal, values.sum(0) - values.sum(1) @ share, rcond=None)[0]
    left = np.where(known, values - columns, 0)
    return float(np.square(np.where(known, left - left.sum(1, keepdims=True) / known.sum(1, keepdims=True), 0)).sum())


def wilcoxon_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test of a - b, where a[i] and b[i] belong to the same image.

    Source: F. Wilcoxon, Individual comparisons by ranking methods, 1945, with J. W. Pratt's treatment of zeros, 1959;
    exact for up to 50 pairs without ties or zeros, else by the normal approximation, as `scipy.stats.wilcoxon` has it
    (whose import alone takes longer than all the tests of a report).

    Returns:
        p in (0, 1]; 1 where all differences are 0; NaN without a pair.
    """
    first, second = _finite_sample(a, "a"), _finite_sample(b, "b")
    if first.size != second.size:
        raise ValueError(f"a has {first.size} values and b has {second.size}: a paired test needs as many of each")
    difference = first - second
    if not difference.size:
        return nan
    if not difference.any():
        return 1.0
    size = np.abs(difference)
    rank, ties = _ranks(size)
    n, zeros = size.size, int((size == 0).sum())
    positive = float(rank[difference > 0].sum())
    if n <= 50 and zeros == 0 and ties.max() == 1:
        below = np.cumsum(_signed_rank_counts(n))
        w = int(min(positive, n * (n + 1) // 2 - positive))
        return float(min(1.0, 2 * below[w] / below[-1]))
    ties = ties[1:] if zeros else ties  # the zeros come first, and are taken out as Pratt has it
    mean = (n * (n + 1) - zeros * (zeros + 1)) / 4
    spread = n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1) - float((ties**3 - ties).sum()) / 2
    return 2 * NormalDist().cdf(-abs(positive - mean) / sqrt(spread / 24))


def _ranks(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ranks from 1, equal values sharing their mean, and how many share each, ascending."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place], counts.astype(np.int64)


@lru_cache(maxsize=64)
def _signed_rank_counts(n: int) -> NDArray[np.float64]:
    """In how many of the 2^n choices of signs the positive ranks sum to 0, 1, ..., n (n + 1) / 2."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.concatenate([counts, np.zeros(rank)]) + np.concatenate([np.zeros(rank), counts])
    return counts


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected for their number, in the order given; NaN is no test, is not counted and stays NaN.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return adjusted


def kendall_w(values: ArrayLike) -> float:
    """Kendall's coefficient of concordance: do the images rank the methods alike?

    Source: M. G. Kendall and B. Babington Smith, The problem of m rankings, 1939, corrected for ties.

    Args:
        values: (n, m) finite numbers, a row an image, a column a method.

    Returns:
        0 (no agreement) to 1 (all images rank alike); NaN for fewer than two images or methods, or where every image
        gives all methods the same value.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"values of shape {table.shape}: expected finite numbers, a row an image, a column a method")
    n, m = table.shape
    if n < 2 or m < 2:
        return nan
    ranked = [_ranks(line) for line in table]
    ranks = np.array([rank for rank, _ in ranked])
    ties = sum(float((counts**3 - counts).sum()) for _, counts in ranked)
    spread = 12 * float(np.square(ranks.sum(0) - n * (m + 1) / 2).sum())
    most = n**2 * (m**3 - m) - n * ties
    return spread / most if most > 0 else nan


def _finite_sample(values: ArrayLike | Sequence[float], name: str) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"{name} has shape {sample.shape}, expected one dimension: one number an image")
    bad = int(np.count_nonzero(~np.isfinite(sample)))
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN or infinite of {sample.size}: leave out what is not ok before averaging"
        )
    return sample
