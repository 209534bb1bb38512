"""Grad-CAM of a 1x1 convolution under a mean, worked out by hand; transformers' tokens."""

import networks as nets
import pytest
import torch
from known import DOUBLE, TARGETS, close
from networks import pictures, seeded

from suite.attribution.grad_cam import GradCam
from suite.attribution.gradient import Gradient
from suite.attribution.guided_backprop import GuidedBackprop
from suite.errors import NetworkError, NotApplicable


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_by_hand(relu):
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    activation = net.conv(x).detach()
    by_hand = (net.fc.weight.detach()[TARGETS][:, :, None, None] / 64 * activation).sum(1, keepdim=True)
    assert by_hand.min() < 0 < by_hand.max()
    close(GradCam("conv", relu=relu)(net, x, TARGETS), by_hand.clamp_min(0) if relu else by_hand)


def test_grad_cam_relu_comes_after_the_sum_over_channels():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    terms = net.fc.weight.detach()[TARGETS][:, :, None, None] / 64 * net.conv(x).detach()
    before = terms.clamp_min(0).sum(1, keepdim=True)
    assert (GradCam("conv")(net, x, TARGETS) - before).abs().max() > 1e-3


def test_transformer_tokens():
    net, x = seeded(nets.Tokens, dtype=DOUBLE), pictures(dtype=DOUBLE)
    inputs = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(inputs).gather(1, TARGETS[:, None]).sum(), inputs)
    close(Gradient()(net, x, TARGETS), wanted)
    assert GradCam()(net, x, TARGETS).shape == (4, 1, 4, 4)  # the patches are its only 4-D map
    with pytest.raises(NetworkError, match=r"Grad-CAM needs .*\(4, 16, 12\)"):
        GradCam("norm")(net, x, TARGETS)
    with pytest.raises(NotApplicable, match="GELU"):
        GuidedBackprop()(net, x, TARGETS)
