"""How much a map changes when the image hardly does. Pure functions of tensors; knows no study or file."""

import torch
from torch import Tensor

from suite.metrics.cards import Card


def relative_change(maps: Tensor, others: Tensor) -> Tensor:
    """||a(x + d) - a(x)|| / ||a(x)||, Frobenius over all of a map: (B, ...) -> (B,); NaN where a(x) is 0 everywhere."""
    size = maps.flatten(1).double().norm(dim=1)
    change: Tensor = (others - maps).flatten(1).double().norm(dim=1) / size
    return change.masked_fill(size == 0, torch.nan)


@Card(
    takes="changes",
    better="lower",
    span="at least 0",
    paper="Yeh et al. 2019",
    says="Largest relative change of the map under small noise. A map that ignores the network can be perfectly "
    "stable.",
)
def max_sensitivity(changes: Tensor) -> Tensor:
    """The largest of `relative_change` under n noises: (B, n) -> (B,), at least 0.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, definition 4; equal to
    Captum's `sensitivity_max` with the same noises.
    """
    return changes.amax(1)


@Card(
    takes="changes",
    better="lower",
    span="at least 0",
    cost="n maps, shared with the largest",
    paper="Bhatt et al. 2020",
)
def mean_sensitivity(changes: Tensor) -> Tensor:
    """The mean change.

    Of `relative_change` under n noises: (B, n) -> (B,), at least 0.

    Source: Bhatt, Weller and Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
    """
    return changes.mean(1)
