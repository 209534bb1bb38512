"""GradientSHAP of a linear network is the weight times the way gone."""

import torch
from known import DOUBLE, TARGETS, close, weights_of
from networks import pictures

from suite.attribution.gradient_shap import GradientShap


def test_gradient_shap_of_a_linear_network_is_weight_times_way(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    close(GradientShap(samples=4, sigma=0.0, baselines=("white",))(linear, x, TARGETS), w * (x - 1))
    several = GradientShap(samples=300, sigma=0.0, baselines=("zeros", "white"))(linear, x, TARGETS)
    close(several, w * (x - 0.5), 0.1)  # in expectation: 300 draws of the baseline
    assert not torch.allclose(several, w * x)
