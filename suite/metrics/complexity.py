"""How concentrated and how ragged a map is: pure functions of its magnitude. Knows no method, network, study or file.

All take (B, H, W), work on |a| in float64, do not change when a map is scaled, and give (B,) float64 on the map's
device. A map that is zero everywhere, or holds NaN or infinity, gives NaN; any other shape is a ValueError. Resolution
matters (an upsampled map is smoother): compare maps of one size.
"""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from suite.core.pixels import neighbour_differences
from suite.metrics.cards import Card

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int64)


@Card(takes="magnitude", better="higher", span="[0, 1)", paper="Chalasani et al. 2020")
def gini(a: Tensor) -> Tensor:
    """How unevenly the magnitude is spread; says nothing of truth.

    The Gini index sum_i (2i - n - 1) |a|_(i) / (n sum |a|), |a|_(i) ascending, i = 1..n: 0 for a flat map, 1 - 1/n for
    one pixel alone.

    Source: P. Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020.
    """
    share = _shares(a).flatten(1).sort(dim=1).values
    n = share.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=share.dtype, device=share.device) - n - 1
    return (share * weights).sum(dim=1) / n


@Card(takes="magnitude", better="lower", span="[0, 1]", paper="Bhatt et al. 2020")
def entropy(a: Tensor) -> Tensor:
    """Entropy of the magnitude over log n; says nothing of truth.

    -sum p ln p / ln n with p = |a| / sum |a|, n the number of pixels: 0 for one pixel alone, 1 for a flat map, NaN for
    a map of one pixel.

    Source: U. Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020 (complexity),
    here divided by ln n.
    """
    share = _shares(a).flatten(1)
    surprise: Tensor = torch.special.entr(share)
    most = math.log(share.shape[1]) if share.shape[1] > 1 else math.nan
    return surprise.sum(dim=1) / most


@Card(takes="magnitude", better="lower", span="(0, 1]", paper="Nguyen and Martínez 2020")
def effective_complexity(a: Tensor, *, threshold: float = 0.01) -> Tensor:
    """Share of pixels above a hundredth of the highest; says nothing of truth.

    Source: A. Nguyen and M. R. Martínez, On quantitative aspects of model interpretability, 2020, counted as Quantus
    does; the threshold, in [0, 1) of the highest, is ours (theirs is absolute, so it moves with the scale of the map).

    Raises:
        ValueError: the threshold is out of range.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}, expected at least 0 and less than 1, such as 0.01")
    share = _shares(a).flatten(1)
    counted = (share > threshold * share.amax(1, keepdim=True)).double().mean(1)
    return counted.masked_fill(share.isnan().any(1), torch.nan)


def total_variation(a: Tensor) -> Tensor:
    """Mean absolute difference of pixels that touch sideways or up and down, over the mean magnitude.

    The anisotropic total variation of |a| a pair of neighbours, after scaling the map to mean 1: 0 for a flat map, 2
    for a checkerboard, NaN for a map of one pixel. Independent exponential noise gives 1 on average at any size.

    Source: L. Rudin, S. Osher and E. Fatemi, Nonlinear total variation based noise removal algorithms, 1992; the
    scaling is ours.
    """
    unit = _shares(a) * (a.shape[1] * a.shape[2])
    return torch.cat(neighbour_differences(unit), dim=1).abs().mean(dim=1)


def largest_component_mass(a: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Share of the whole map's magnitude that lies in the weightiest connected region of its top pixels, in (0, 1].

    Top pixels are those not zero and not below the k-th largest magnitude, k = fraction of the pixels, rounded, at
    least 1 (values tied with the k-th all count, so a flat map is one region that holds everything). Pixels that touch
    at a side or a corner are connected. The weightiest region is the one with the most magnitude, not the most pixels.

    Raises:
        ValueError: the fraction is not more than 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected more than 0 and at most 1, such as 0.1")
    shares = _shares(a)
    heaviest = [_weightiest(share, fraction) for share in shares.cpu().numpy()]
    return torch.tensor(heaviest, dtype=shares.dtype, device=shares.device)


def _weightiest(share: np.ndarray[tuple[int, int], np.dtype[np.float64]], fraction: float) -> float:
    if not np.isfinite(share).all():
        return math.nan
    k = max(1, round(fraction * share.size))
    threshold = np.partition(share, share.size - k, axis=None)[share.size - k]
    regions, _ = ndimage.label((share >= threshold) & (share > 0), structure=_EIGHT_NEIGHBOURS)
    return float(np.bincount(regions.ravel(), weights=share.ravel())[1:].max())


def _shares(a: Tensor) -> Tensor:
    if a.ndim != 3 or a.shape[1] == 0 or a.shape[2] == 0:
        raise ValueError(f"maps have shape {tuple(a.shape)}, expected (B, H, W)")
    magnitude = a.detach().double().abs()
    magnitude = magnitude / magnitude.amax(dim=(1, 2), keepdim=True)  # so that no sum over- or underflows
    return magnitude / magnitude.sum(dim=(1, 2), keepdim=True)
