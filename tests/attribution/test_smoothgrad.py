"""SmoothGrad and VarGrad: linear networks, and the moments of the gradients they draw."""

import networks as nets
import torch
from known import DOUBLE, TARGETS, close, weights_of
from networks import pictures, seeded

from suite.attribution.gradient import Gradient
from suite.attribution.smoothgrad import SmoothGrad, VarGrad


def test_smoothgrad_and_vargrad_of_a_linear_network(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    close(SmoothGrad(samples=6, sigma=0.5)(linear, x, TARGETS), w)
    close(VarGrad(samples=6, sigma=0.5)(linear, x, TARGETS), torch.zeros_like(w))


def test_vargrad_is_the_variance_of_the_gradients_smoothgrad_averages():
    net, x = seeded(nets.TwoLayer, dtype=DOUBLE), pictures(1, dtype=DOUBLE)
    from suite.core.draws import ImageDraws

    noise = ImageDraws(x, ["a"], 0, "VarGrad").normal(5)[0]
    each = torch.cat([Gradient()(net, x + 0.4 * n, 2) for n in noise])
    close(VarGrad(samples=5, sigma=0.4)(net, x, 2, ids=["a"])[0], each.var(0, unbiased=False))
    assert each.var(0).max() > 1e-4
