"""Layer activation is the layer's output."""

import networks as nets
import torch
from networks import pictures, seeded

from suite.attribution.layer_activation import LayerActivation


def test_layer_activation_is_the_layers_output():
    net, x = seeded(nets.Gap), pictures()
    assert torch.equal(LayerActivation("conv")(net, x, 0), net.conv(x).detach())
    assert torch.equal(LayerActivation("conv", channel=1)(net, x, 0), net.conv(x).detach()[:, 1:2])
    assert torch.equal(LayerActivation("fc")(net, x, 0), net(x).detach()[:, :, None, None])
