"""How concentrated and how ragged a map is: pure functions of its magnitude. Knows no method, network, study or file.

All take (B, H, W), work on |a| in float64, do not change when a map is scaled, and give (B,) float64 on the map's
device. A map that is zero everywhere, or holds NaN or infinity, gives NaN. Resolution matters (an upsampled map is
smoother): compare maps of one size.
"""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from suite.core.pixels import neighbour_differences

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int64)


def entropy(a: Tensor) -> Tensor:
    """Shannon entropy of where the magnitude lies, as a share of the most it could be.

    It is -sum p ln p / ln n with p = |a| / sum |a|, n the number of pixels.

    Source: U. Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020 (complexity),
    here divided by ln n.

    Args:
        a: (B, H, W) real numbers.

    Returns:
        (B,) float64 in [0, 1]: 0 for one pixel alone, 1 for a flat map; NaN for a zero map or a map of one pixel.

    Raises:
        ValueError: a is not (B, H, W).
    """
    share = _shares(a).flatten(1)
    surprise: Tensor = torch.special.entr(share)
    most = math.log(share.shape[1]) if share.shape[1] > 1 else math.nan
    return surprise.sum(dim=1) / most


def gini(a: Tensor) -> Tensor:
    """Gini index of the magnitude: sum_i (2i - n - 1) |a|_(i) / (n sum |a|), |a|_(i) ascending, i = 1..n.

    Source: P. Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020.

    Args:
        a: (B, H, W) real numbers.

    Returns:
        (B,) float64 in [0, 1 - 1/n]: 0 for a flat map, 1 - 1/n for one pixel alone; NaN for a zero map.

    Raises:
        ValueError: a is not (B, H, W).
    """
    share = _shares(a).flatten(1).sort(dim=1).values
    n = share.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=share.dtype, device=share.device) - n - 1
    return (share * weights).sum(dim=1) / n


def total_variation(a: Tensor) -> Tensor:
    """Mean absolute difference of pixels that touch sideways or up and down, over the mean magnitude.

    The anisotropic total variation of |a| a pair of neighbours, after scaling the map to mean 1. Independent
    exponential noise gives 1 on average whatever the size of the map.

    Source: L. Rudin, S. Osher and E. Fatemi, Nonlinear total variation based noise removal algorithms, 1992; the
    scaling is ours.

    Args:
        a: (B, H, W) real numbers.

    Returns:
        (B,) float64, at least 0: 0 for a flat map, 2 for a checkerboard; NaN for a zero map or a map of one pixel.

    Raises:
        ValueError: a is not (B, H, W).
    """
    unit = _shares(a) * (a.shape[1] * a.shape[2])
    return torch.cat(neighbour_differences(unit), dim=1).abs().mean(dim=1)


def largest_component_mass(a: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Share of the whole map's magnitude that lies in the weightiest connected region of its top pixels.

    Top pixels are those not zero and not below the k-th largest magnitude, k = fraction of the pixels, rounded, at
    least 1 (values tied with the k-th all count, so a flat map is one region that holds everything). Pixels that touch
    at a side or a corner are connected. The weightiest region is the one with the most magnitude, not the most pixels.

    Args:
        a: (B, H, W) real numbers.
        fraction: of the pixels that are the top, more than 0 and at most 1.

    Returns:
        (B,) float64 in (0, 1]; NaN for a zero map.

    Raises:
        ValueError: a is not (B, H, W), or fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected more than 0 and at most 1, such as 0.1")
    shares = _shares(a)
    return torch.tensor(
        [_weightiest(share, fraction) for share in shares.cpu().numpy()], dtype=shares.dtype, device=shares.device
    )


def _weightiest(share: np.ndarray[tuple[int, int], np.dtype[np.float64]], fraction: float) -> float:
    if not np.isfinite(share).all():
        return float("nan")
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


def effective_complexity(a: Tensor, *, threshold: float = 0.01) -> Tensor:
    """Share of the pixels whose magnitude exceeds `threshold` of the largest.

    Source: A. Nguyen and M. R. Martínez, On quantitative aspects of model interpretability, 2020, counted as Quantus
    does; the threshold is ours (theirs is absolute, so it moves with the scale of the map).

    Args:
        a: (B, H, W) real numbers.
        threshold: in [0, 1).

    Returns:
        (B,) float64 in (0, 1]; NaN for a zero map.

    Raises:
        ValueError: a is not (B, H, W), or threshold is out of range.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}, expected at least 0 and less than 1, such as 0.01")
    share = _shares(a).flatten(1)
    counted = (share > threshold * share.amax(1, keepdim=True)).double().mean(1)
    return counted.masked_fill(share.isnan().any(1), torch.nan)
