"""Two networks that compute one function, and what a map must then do. Knows no method, study or file."""

import copy

import torch
from torch import Tensor, nn

from suite.core.network import Network
from suite.errors import NotApplicable


def completeness_gap(maps: Tensor, clean: Tensor, base: Tensor) -> Tensor:
    """|sum of the map - (f(x) - f(baseline))| / |f(x) - f(baseline)|: (B, ...), (B,), (B,) -> (B,), at least 0.

    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, proposition 1. NaN where
    the two scores are equal.
    """
    change = (clean - base).double()
    return ((maps.flatten(1).double().sum(1) - change) / change).abs().masked_fill(change == 0, torch.nan)


def shifted(network: Network, shift: float) -> Network:
    """A network whose answer to `images + shift` is this one's to `images`; weights are shared.

    Source: Kindermans et al., The (Un)reliability of Saliency Methods, 2017, section 3: a map must not change.
    """
    mean, std = ([float(v) for v in t.flatten()] for t in (network.mean + shift, network.std))
    return Network(network.body, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), network.card).to(network.mean)


class _Rewritten(nn.Module):
    """max(x, 0) as x + max(-x, 0): the same function, another graph."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(-x)


def rewritten(network: Network) -> Network:
    """A copy in which every nn.ReLU is written as x + max(-x, 0): the same function by other operations.

    Source: Sundararajan et al. 2017, section 2.2, implementation invariance: a map must not change.

    Raises:
        NotApplicable: there is no nn.ReLU to rewrite.
    """
    twin = copy.deepcopy(network)
    places = [(parent, name) for parent in twin.modules() for name, m in parent.named_children() if type(m) is nn.ReLU]
    if not places:
        raise NotApplicable("implementation invariance needs a network with nn.ReLU, which can be written another way")
    for parent, name in places:
        setattr(parent, name, _Rewritten())
    return twin
