"""How alike two maps are: pure functions of torch tensors. Knows no method, network, study or file.

All take batches (B, ...) of real numbers, compare map i of one with map i of the other, work in float64 and give (B,)
float64 on their device. What is undefined (a constant map, a NaN inside) is NaN, never a number that looks like a
result. Two batches of different shapes, and one without values, are a ValueError.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from suite.core.partners import NO_PARTNER, WHY_NONE

_SIGMA = 1.5
_RADIUS = 5  # scikit-image truncates its Gaussian at 3.5 sigma: 11 taps
_K1, _K2 = 0.01, 0.03
_HYS = 0.2  # where L2-Hys clips


def ranks(a: Tensor) -> Tensor:
    """Ranks of each map's values, tied values sharing the mean of their places.

    Equal to `scipy.stats.rankdata(method="average")`: (B, ...) -> (B, n) float64 in 1..n, n the number of values of a
    map; a map with a NaN inside has NaN ranks. Keep the result where one map meets many others.
    """
    values = _flat(a, "a")
    n = values.shape[1]
    if values.device.type == "cpu":  # numpy sorts nearly three times as fast; the order of tied values does not matter
        order = torch.from_numpy(np.argsort(values.numpy(), axis=1))
        ordered = values.gather(1, order)
    else:
        ordered, order = values.sort(dim=1)
    opens = torch.ones_like(ordered, dtype=torch.bool)  # where a run of equal values begins
    opens[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = opens.flatten().nonzero()[:, 0]
    lengths = torch.diff(starts, append=starts.new_tensor([opens.numel()]))
    tied = ((starts % n).double() + (lengths + 1) / 2).repeat_interleave(lengths, output_size=opens.numel())
    tied = tied.view_as(ordered)
    ranked = torch.empty_like(tied).scatter_(1, order, tied)
    return ranked.masked_fill(values.isnan().any(dim=1, keepdim=True), torch.nan)


def rank_correlation(ranks_a: Tensor, ranks_b: Tensor) -> Tensor:
    """Spearman's correlation of maps whose `ranks` (B, n) are at hand: (B,) in [-1, 1]; NaN where one is constant."""
    _same_shape(ranks_a, ranks_b)
    middle = (ranks_a.shape[1] + 1) / 2  # the mean of ranks, ties or not, exactly
    a, b = ranks_a - middle, ranks_b - middle
    scale = a.square().sum(dim=1).sqrt() * b.square().sum(dim=1).sqrt()
    return ((a * b).sum(dim=1) / scale).clamp(-1, 1)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of each pair of maps, ties averaged; equal to `scipy.stats.spearmanr`.

    In [-1, 1]; NaN where either map is constant. Signs count, so pass |a| to compare magnitudes.

    Source: C. Spearman, The proof and measurement of association between two things, 1904.
    """
    _same_shape(a, b)
    return rank_correlation(ranks(a), ranks(b))


def normalise(a: Tensor, *, percentile: float = 99.0) -> Tensor:
    """Divides each map by the 99th percentile of its magnitude and clips to [-1, 1], so no lone pixel sets the scale.

    A map without negative values lands in [0, 1], and zero stays zero. Percentiles interpolate linearly, as numpy's do.
    Where the percentile is 0 (fewer than 1 in 100 values differ from zero) the largest magnitude takes its place.

    Source: J. Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, as in the authors' code (diverging maps).

    Args:
        a: (B, ...) real numbers.
        percentile: of |a| that becomes 1, in (0, 100]; anything else is a ValueError.

    Returns:
        As a, float64 in [-1, 1]; a map that is zero everywhere has no scale and becomes NaN.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}, expected more than 0 and at most 100")
    values = _flat(a, "a").double()
    magnitude = values.abs()
    position = percentile / 100 * (magnitude.shape[1] - 1)
    low = min(int(position), magnitude.shape[1] - 1)
    high = min(low + 1, magnitude.shape[1] - 1)
    ends = [magnitude.kthvalue(k + 1, dim=1).values for k in (low, high)]
    scale = torch.lerp(ends[0], ends[1], position - low)
    scale = torch.where(scale == 0, magnitude.amax(dim=1), scale)
    scaled: Tensor = (values / scale[:, None]).clamp(-1, 1)
    return scaled.reshape(a.shape)


def ssim(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Mean structural similarity of each pair of maps.

    Equal to `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`:
    an 11 x 11 Gaussian window at every place where it lies wholly inside the map. Maps are taken as they are: put them
    on a common scale with `normalise` first, then data_range is 1 for maps without negatives, 2 for signed ones.

    Source: Z. Wang et al., Image quality assessment, IEEE Transactions on Image Processing 13, 2004, section III.

    Args:
        a: (B, H, W), H and W at least 11.
        b: as a.
        data_range: the span that values could take, more than 0; it sets the two stabilising constants.

    Returns:
        (B,) float64 in [-1, 1]; NaN where either map holds a NaN.

    Raises:
        ValueError: the shape is not (B, H, W), a side is under 11 pixels, or data_range is not positive.
    """
    _same_shape(a, b)
    if a.ndim != 3 or min(a.shape[1:]) < 2 * _RADIUS + 1:
        raise ValueError(
            f"maps have shape {tuple(a.shape)}, expected (B, H, W) with H and W at least {2 * _RADIUS + 1}"
        )
    if not data_range > 0:
        raise ValueError(f"data_range is {data_range}, expected the span of the values, such as 1 for maps in [0, 1]")
    x, y = a.detach().double(), b.detach().double()
    down, across = (_window(side, x) for side in x.shape[1:])
    mean_x, mean_y, xx, yy, xy = down @ torch.stack([x, y, x * x, y * y, x * y]) @ across.mT  # (B, H - 10, W - 10) each
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    variances = xx - mean_x.square() + yy - mean_y.square()
    structure = (2 * (xy - mean_x * mean_y) + c2) / (variances + c2)
    similarity: Tensor = luminance * structure
    return similarity.mean(dim=(1, 2))


def units(a: Tensor) -> Tensor:
    """Each map as a vector of length 1, so that the cosine of two is their dot product: (B, ...) -> (B, n) float64.

    Ranks or HOG features less their mean give Spearman's and Pearson's correlation. NaN where a map is zero everywhere.
    """
    values = _flat(a, "a").double()
    length: Tensor = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values / length


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between each pair of maps, as vectors of all their values.

    In [-1, 1]; NaN where either map is zero everywhere.
    """
    _same_shape(a, b)
    return (units(a) * units(b)).sum(dim=1).clamp(-1, 1)


def hog_features(a: Tensor, *, pixels_per_cell: int = 16) -> Tensor:
    """Histograms of oriented gradients: 9 orientations, overlapping blocks of 3 x 3 cells, L2-Hys.

    Equal to `skimage.feature.hog(map, 9, (pixels_per_cell, pixels_per_cell), (3, 3))`.

    Source: N. Dalal and B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.

    Args:
        a: (B, H, W) on a common scale (`normalise`), H and W at least 3 cells.
        pixels_per_cell: side of a cell; Adebayo et al. 2018 take 16 of about 224 pixels.

    Returns:
        (B, F) float64; NaN where a map holds a NaN.

    Raises:
        ValueError: a map is smaller than 3 x 3 cells.
    """
    if a.ndim != 3 or min(a.shape[1:]) < 3 * pixels_per_cell:
        raise ValueError(f"maps have shape {tuple(a.shape)}, expected (B, H, W) of at least {3 * pixels_per_cell}")
    maps = a.detach().double()
    down, right = torch.zeros_like(maps), torch.zeros_like(maps)
    down[:, 1:-1], right[:, :, 1:-1] = maps[:, 2:] - maps[:, :-2], maps[:, :, 2:] - maps[:, :, :-2]
    angle = torch.rad2deg(torch.atan2(down, right)) % 180
    bins = (angle / 20).nan_to_num().long().clamp(0, 8)
    size = torch.hypot(down, right)
    votes = size.new_zeros(9, *size.shape).scatter_(0, bins[None], size[None]).movedim(0, 1)
    cells = torch.nn.functional.avg_pool2d(votes, pixels_per_cell)  # (B, 9, rows, columns)
    blocks = cells.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 4, 5, 1).flatten(3)  # (B, rows, columns, 81)
    for ceiling in (_HYS, torch.inf):
        blocks = (blocks / (blocks.square().sum(-1, keepdim=True) + 1e-10).sqrt()).clamp(max=ceiling)
    return blocks.flatten(1)


def hog_correlation(a: Tensor, b: Tensor, *, pixels_per_cell: int = 16) -> Tensor:
    """Pearson's correlation of two maps' HOG features.

    Of maps as `hog_features` takes them: in [-1, 1]; NaN where a map has no gradient.
    """
    _same_shape(a, b)
    both = [hog_features(maps, pixels_per_cell=pixels_per_cell) for maps in (a, b)]
    return cosine(*(f - f.mean(1, keepdim=True) for f in both))


def top_overlap(a: Tensor, b: Tensor, *, fraction: float = 0.1) -> Tensor:
    """The share of their largest values' places that two maps have in common.

    The top are the k largest values, k = fraction of the values, rounded, at least 1.

    Ties: where values equal to the k-th largest are more than the places left for them, each holds an equal part of a
    place (no raster order, no chance), and the overlap is the cosine of the two maps' holdings. That is the plain share
    when nothing is tied at the threshold, 1 for a map with itself, 0 where no place is held by both.

    Args:
        a: (B, ...) real numbers; the largest count, so pass |a| where magnitude is meant.
        b: as a, of the same shape.
        fraction: of the values that are the top, more than 0 and less than 1; anything else is a ValueError. Unrelated
            maps without ties overlap by about this much.

    Returns:
        (B,) float64 in [0, 1]; NaN where either map is constant or holds a NaN.
    """
    _same_shape(a, b)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}, expected a number between 0 and 1, such as 0.1")
    top_a, top_b = _top_places(_flat(a, "a"), fraction), _top_places(_flat(b, "b"), fraction)
    common = (top_a * top_b).sum(dim=1)
    return (common / (top_a.square().sum(dim=1) * top_b.square().sum(dim=1)).sqrt()).clamp(0, 1)


def relative_l2(a: Tensor, reference: Tensor) -> Tensor:
    """The least r with |a - reference| <= r |reference|, in the Euclidean norm over all values of a map.

    0 where the two are equal (also where both are zero), infinite where only the reference is zero everywhere.
    """
    _same_shape(a, reference)
    values, expected = _flat(a, "a").double(), _flat(reference, "reference").double()
    distance = torch.linalg.vector_norm(values - expected, dim=1)
    return torch.where(distance == 0, distance, distance / torch.linalg.vector_norm(expected, dim=1))


def max_abs_difference(a: Tensor, b: Tensor) -> Tensor:
    """The largest absolute difference between two maps, in their own unit."""
    _same_shape(a, b)
    return (_flat(a, "a").double() - _flat(b, "b").double()).abs().amax(dim=1)


class Comparable:
    """Magnitudes of one kind of map, with what every comparison needs of them computed once.

    Args:
        maps: (B, H, W), none negative.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    @cached_property
    def ranks(self) -> Tensor:
        """See `ranks`."""
        return ranks(self.maps)

    @cached_property
    def scaled(self) -> Tensor:
        """See `normalise`."""
        return normalise(self.maps)

    def compare(self, other: "Comparable", partner: Sequence[int] | None = None) -> Iterator[tuple[str, Tensor, str]]:
        """Spearman, SSIM (data range 1) and the overlap of the top tenth: metric, (B,) values, and why one is NaN.

        Args:
            other: the maps compared with, of the same shape.
            partner: the place of each photo's partner (`suite.core.partners`), whose map of `other` is taken; None for
                the same photo. Where one photo has no partner none has: the batch is of one class.
        """
        small, nothing = min(self.maps.shape[1:]) < 2 * _RADIUS + 1, self.maps.new_full((len(self.maps),), torch.nan)
        if NO_PARTNER in (partner or ()):
            yield from ((metric, nothing, WHY_NONE) for metric in ("spearman", "ssim", "top10_overlap"))
            return
        at = slice(None) if partner is None else torch.tensor(partner, device=self.maps.device)
        why = "a map is constant, so there is nothing to compare"
        yield "spearman", rank_correlation(self.ranks, other.ranks[at]), why
        if small:
            yield "ssim", nothing, f"SSIM needs {2 * _RADIUS + 1} pixels a side, the width of its window"
        else:
            yield "ssim", ssim(self.scaled, other.scaled[at], data_range=1.0), why
        yield "top10_overlap", top_overlap(self.maps, other.maps[at], fraction=0.1), why


def _flat(a: Tensor, name: str) -> Tensor:
    if a.ndim < 2 or a[:1].numel() == 0 < a.shape[0]:
        shape = tuple(a.shape)
        raise ValueError(f"{name} has shape {shape}, expected (B, ...): a batch of maps with at least one value each")
    flat = a.detach().flatten(1).contiguous()
    return flat if flat.dtype in (torch.float32, torch.float64) else flat.double()


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ValueError(f"maps have shapes {shapes}, expected the same: bring them to one size first")


def _window(n: int, like: Tensor) -> Tensor:
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=like.dtype, device=like.device)
    taps = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    band = like.new_zeros(n - 2 * _RADIUS, n)
    for offset, tap in enumerate(taps / taps.sum()):
        band.diagonal(offset).fill_(tap)
    return band


def _top_places(values: Tensor, fraction: float) -> Tensor:
    n = values.shape[1]
    k = max(1, round(fraction * n))
    threshold = values.kthvalue(n - k + 1, dim=1, keepdim=True).values
    above, tied = (values > threshold).double(), (values == threshold).double()
    shares = above + tied * (k - above.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
    constant = (values == values[:, :1]).all(dim=1, keepdim=True)
    return shares.masked_fill(constant | values.isnan().any(dim=1, keepdim=True), torch.nan)
