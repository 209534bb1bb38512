"""Does the score fall as the map says when some of the pixels go? Pure functions; knows no method, study or file."""

import torch
from torch import Tensor

from suite.metrics.cards import Card
from suite.metrics.similarity import spearman


def subset_sums(values: Tensor, masks: Tensor) -> Tensor:
    """(B, H, W) and (B, S, H, W) bool -> (B, S) float64: what the map says of each removed subset."""
    return torch.einsum("bshw,bhw->bs", masks.to(values.dtype), values).double()


@Card(
    takes="subsets",
    better="higher",
    span="[-1, 1]",
    paper="Bhatt et al. 2020",
    margin=0.1,
    also=("control_constant", "control_absolute_noise"),
)
def faithfulness_correlation(sums: Tensor, drops: Tensor) -> Tensor:
    """Correlation of what the map says of a subset with the score lost when it is removed.

    Pearson's, over subsets: (B, S) -> (B,) in [-1, 1]; NaN where either is constant.

    Source: Bhatt, Weller and Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
    """
    a, b = (t.double() - t.double().mean(1, keepdim=True) for t in (sums, drops))
    flat = (a.abs().amax(1) == 0) | (b.abs().amax(1) == 0)
    correlation: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return correlation.clamp(-1, 1).masked_fill(flat, torch.nan)


@Card(
    takes="subsets",
    better="higher",
    span="[-1, 1]",
    paper="Fel et al. 2022",
    margin=0.1,
    also=("control_constant", "control_absolute_noise"),
)
def mu_fidelity(sums: Tensor, drops: Tensor) -> Tensor:
    """The same by ranks.

    Spearman's correlation, on superpixels: (B, S) -> (B,) in [-1, 1]; NaN where either is constant.

    Source: Fel et al., How Good is your Explanation? Algorithmic Stability Measures, WACV 2022.
    """
    return spearman(sums, drops)


def infidelity(predicted: Tensor, drops: Tensor, *, normalise: bool = True) -> Tensor:
    """Mean over perturbations I of (b I.a - (f(x) - f(x - I)))^2: (B, S) -> (B,), in squared score units.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019. Captum: `infidelity`, to
    which it is equal, with `normalize=True` where b = E[(I.a)(drop)] / E[(I.a)^2], so that the map's scale is no
    matter; b = 1 otherwise.

    Args:
        predicted: I.a for each perturbation.
        drops: f(x) - f(x - I).
        normalise: see above; a map that predicts 0 of all perturbations keeps b = 1, as in Captum.
    """
    predicted, drops = predicted.double(), drops.double()
    if normalise:
        over, under = (predicted * drops).mean(1, keepdim=True), predicted.square().mean(1, keepdim=True)
        predicted = predicted * torch.where(under == 0, 1.0, over / under)
    return (predicted - drops).square().mean(1)


@Card(
    takes="predictions",
    better="lower",
    span="[0, 1]",
    paper="Yeh et al. 2019; Captum's normalize=True over E[(f(x) - f(x - I))^2]",
    says="Squared error of the loss that the map predicts, at its best scale, over the mean squared loss: 1 is what an "
    "empty map gets. Signed gradients predict by gradient times change, all else by its sum.",
    also=("control_constant", "control_absolute_noise"),
)
def relative_infidelity(predicted: Tensor, drops: Tensor) -> Tensor:
    """`infidelity` over what an empty map has: (B, S) -> (B,) in [0, 1]; NaN where the score never moves."""
    return infidelity(predicted, drops) / drops.square().mean(1)
