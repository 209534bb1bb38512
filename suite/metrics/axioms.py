"""Two networks that compute one function, and what a map must then do. Knows no method, study or file."""

import copy

import torch
from torch import Tensor, nn

from suite.core.network import Network
from suite.errors import NotApplicable
from suite.metrics.cards import Card

_SHIFT = 0.25  # in pixel units


@Card(takes="scores", better="lower", span="at least 0", paper="Sundararajan et al. 2017")
def completeness_gap(maps: Tensor, clean: Tensor, base: Tensor) -> Tensor:
    """How far the map's sum is from the score it should explain, relative. Only for maps that promise it.

    |sum of the map - (f(x) - f(baseline))| / |f(x) - f(baseline)|: (B, ...), (B,), (B,) -> (B,), at least 0.

    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, proposition 1. NaN where
    the two scores are equal.
    """
    change = (clean - base).double()
    return ((maps.flatten(1).double().sum(1) - change) / change).abs().masked_fill(change == 0, torch.nan)


@Card(takes="network", better="lower", span="at least 0", paper="Kindermans et al. 2017")
def input_invariance(network: Network, images: Tensor, shift: float = _SHIFT) -> tuple[Network, Tensor]:
    """Relative change of the map when a constant is added to the pixels and taken away again inside the network.

    Source: Kindermans et al., The (Un)reliability of Saliency Methods, 2017, section 3: a map must not change.

    Returns:
        A network whose answer to `images + shift` is this one's to `images`, weights shared, and those images.
    """
    mean, std = ([float(v) for v in t.flatten()] for t in (network.mean + shift, network.std))
    twin = Network(network.body, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), network.card)
    return twin.to(network.mean), images + shift


class _Rewritten(nn.Module):
    """max(x, 0) as x + max(-x, 0): the same function, another graph."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(-x)


@Card(takes="network", better="lower", span="at least 0", paper="Sundararajan et al. 2017")
def implementation_invariance(network: Network, images: Tensor) -> tuple[Network, Tensor]:
    """Relative change of the map when each ReLU is computed by other operations.

    Source: Sundararajan et al. 2017, section 2.2: a map must not change.

    Returns:
        A copy in which every nn.ReLU is written as x + max(-x, 0), and the same images.

    Raises:
        NotApplicable: there is no nn.ReLU to rewrite.
    """
    twin = copy.deepcopy(network)
    rectifiers = [(parent, n) for parent in twin.modules() for n, m in parent.named_children() if type(m) is nn.ReLU]
    if not rectifiers:
        raise NotApplicable("implementation invariance needs a network with nn.ReLU, which can be written another way")
    for parent, name in rectifiers:
        setattr(parent, name, _Rewritten())
    return twin, images
