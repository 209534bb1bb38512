"""How much a map changes when the image hardly does. Pure functions of tensors; knows no study or file."""

import torch
from torch import Tensor


def relative_change(maps: Tensor, others: Tensor) -> Tensor:
    """||a(x + d) - a(x)|| / ||a(x)||, Frobenius over all of a map: (B, ...) -> (B,); NaN where a(x) is 0 everywhere.

    Its maximum over perturbations d, |d| at most the radius, is the max-sensitivity of Yeh et al. 2019 (definition 4),
    equal to Captum's `sensitivity_max` with the same d; its mean is the average sensitivity of Bhatt et al. 2020.
    """
    size = maps.flatten(1).double().norm(dim=1)
    found: Tensor = (others - maps).flatten(1).double().norm(dim=1) / size
    return found.masked_fill(size == 0, torch.nan)
