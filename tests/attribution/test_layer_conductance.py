"""Layer conductance of a linear layer by hand, and its completeness."""

import networks as nets
import torch
from known import DOUBLE, TARGETS, close
from networks import pictures, seeded

from suite.attribution.integrated_gradients import gauss_legendre
from suite.attribution.layer_conductance import LayerConductance


def test_conductance_of_a_linear_layer_and_its_completeness():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    _, nodes = gauss_legendre(11)
    way = (net.conv(x) - net.conv(torch.zeros_like(x))).detach() * (nodes[-1] - nodes[0])
    by_hand = way * net.fc.weight.detach()[TARGETS][:, :, None, None] / 64
    close(LayerConductance("conv", steps=10)(net, x, TARGETS), by_hand)
    gap = (net(x) - net(torch.zeros_like(x))).gather(1, TARGETS[:, None])[:, 0].detach()
    total = LayerConductance("conv", steps=50)(net, x, TARGETS).sum((1, 2, 3))
    close(total, gap, 5e-3)  # the path's ends are not among its points
