"""Deconvolution passes what is positive from above, whatever the activation was."""

import networks as nets
import torch
from known import DOUBLE, TARGETS, close
from networks import pictures, seeded

from suite.attribution.deconvolution import Deconvolution


def test_it_sees_no_activation():
    net, x = seeded(nets.TwoLayer, dtype=DOUBLE), pictures(dtype=DOUBLE)
    by_hand = (net.second.weight[TARGETS].clamp_min(0) @ net.first.weight).view_as(x).detach()
    close(Deconvolution()(net, x, TARGETS), by_hand)
    assert torch.equal(Deconvolution()(net, 1 - x, TARGETS), Deconvolution()(net, x, TARGETS))
