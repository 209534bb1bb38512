"""Saliency and its like on a network whose gradient is its weights."""

import pytest
import torch
from known import DOUBLE, TARGETS, weights_of
from networks import pictures

from suite.attribution.fused import attribute
from suite.attribution.saliency import Saliency
from suite.errors import DataError


def test_linear_network_first_order_methods_are_the_weight(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    found = attribute(linear, x, TARGETS, ["gradient", "saliency", "input_x_gradient"])
    assert torch.equal(found["gradient"], w)
    assert torch.equal(found["saliency"], w.abs().amax(1, keepdim=True))
    assert torch.equal(found["input_x_gradient"], x * w)


def test_saliency_is_a_maximum_and_not_a_mean(linear):
    assert not Saliency.signed
    with pytest.raises(DataError):
        Saliency()(linear, pictures(dtype=DOUBLE), 5)
