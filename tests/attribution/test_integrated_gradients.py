"""Integrated gradients: linear networks, completeness, the quadrature."""

import networks as nets
import pytest
import torch
import torch.nn.functional as F
from known import DOUBLE, TARGETS, close, weights_of
from networks import pictures, seeded

from suite.attribution.baselines import baseline
from suite.attribution.integrated_gradients import IntegratedGradients, gauss_legendre


@pytest.mark.parametrize("start", ["zeros", "white", "mean", "blurred", torch.full((1, 3, 8, 8), 0.3)])
def test_linear_network_integrated_gradients(linear, start):
    x = pictures(dtype=DOUBLE)
    found = IntegratedGradients(steps=7, baseline=start)(linear, x, TARGETS)
    base = baseline(start, x)
    close(found, weights_of(linear) * (x - base), 1e-6)  # the quadrature's weights are float32, as Captum's
    gap = (linear(x) - linear(base)).gather(1, TARGETS[:, None])[:, 0]
    close(found.sum((1, 2, 3)), gap.detach(), 1e-6)


def test_integrated_gradients_is_complete_on_a_curved_network():
    net = seeded(lambda: nets.TwoLayer(F.softplus), dtype=DOUBLE)
    x = pictures(dtype=DOUBLE)
    gap = (net(x) - net(torch.zeros_like(x))).gather(1, TARGETS[:, None])[:, 0].detach()
    close(IntegratedGradients(steps=30)(net, x, TARGETS).sum((1, 2, 3)), gap, 1e-6)
    coarse = IntegratedGradients(steps=1)(net, x, TARGETS).sum((1, 2, 3))
    assert (coarse - gap).abs().max() > 1e-4  # one step is not enough: the test above can fail


def test_gauss_legendre_integrates_polynomials_exactly():
    weights, nodes = gauss_legendre(5)
    for degree in range(10):
        assert sum(w * n**degree for w, n in zip(weights, nodes, strict=True)) == pytest.approx(1 / (degree + 1))
    assert sum(w * n**10 for w, n in zip(weights, nodes, strict=True)) != pytest.approx(1 / 11, rel=1e-9)
