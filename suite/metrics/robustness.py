"""How much a map changes when the image hardly does. Pure functions of tensors; knows no study or file."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def relative_change(maps: Tensor, others: Tensor) -> Tensor:
    """||a(x + d) - a(x)|| / ||a(x)||, Frobenius over all of a map: (B, ...) -> (B,); NaN where a(x) is 0 everywhere."""
    size = maps.flatten(1).double().norm(dim=1)
    found: Tensor = (others - maps).flatten(1).double().norm(dim=1) / size
    return found.masked_fill(size == 0, torch.nan)


def sensitivity(explain: Callable[[Tensor], Tensor], images: Tensor, noises: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest and the mean relative change of the map over given perturbations of the image.

    Source: Yeh et al. 2019, definition 4; the mean is Bhatt et al. 2020's. Captum: `sensitivity_max`, to which the
    first is equal with the same noise.

    Args:
        explain: (B, C, H, W) -> (B, ...), the map of the same targets.
        images: (B, C, H, W).
        noises: perturbations d (B, C, H, W) with |d| at most the radius, in pixel units; the same for all methods.

    Returns:
        two tensors (B,) float64, at least 0; NaN where the clean map is 0 everywhere.
    """
    clean = explain(images)
    changes = torch.stack([relative_change(clean, explain(images + noise)) for noise in noises])  # (n, B)
    return changes.amax(0), changes.mean(0)
