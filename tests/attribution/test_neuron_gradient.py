"""Neuron gradients that are rows of weights."""

import networks as nets
import torch
from known import DOUBLE, TARGETS
from networks import pictures, seeded

from suite.attribution.neuron_gradient import NeuronGradient


def test_neuron_gradient_is_the_weight_row():
    net, x = seeded(lambda: nets.TwoLayer(torch.tanh), dtype=DOUBLE), pictures(dtype=DOUBLE)
    found = NeuronGradient("first", channel=7)(net, x, TARGETS)
    assert torch.equal(found, net.first.weight.detach()[7].view(1, 3, 8, 8).expand_as(found))


def test_neuron_gradient_of_one_unit_and_of_a_channel():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    kernel = net.conv.weight.detach()[2]  # (3, 1, 1)
    unit = NeuronGradient("conv", channel=2, position=(5, 1))(net, x, 0)
    wanted = torch.zeros_like(x)
    wanted[:, :, 5, 1] = kernel[:, 0, 0]
    assert torch.equal(unit, wanted)
    assert torch.equal(NeuronGradient("conv", channel=2)(net, x, 0), kernel.expand_as(x))
