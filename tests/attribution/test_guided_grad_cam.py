"""Guided Grad-CAM is the product of its factors."""

import pytest
import torch
import torch.nn.functional as F
from known import TARGETS
from networks import pictures, seeded
from torch import nn

from suite.attribution.grad_cam import GradCam
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.guided_grad_cam import GuidedGradCam


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_guided_grad_cam_is_the_product_of_its_factors(mode):
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    )
    x = pictures(size=(12, 9))
    cam, guided = GradCam("2")(net, x, TARGETS), GuidedBackprop()(net, x, TARGETS)
    wanted = guided * F.interpolate(cam, (12, 9), mode=mode)
    assert torch.equal(GuidedGradCam("2", upsample=mode)(net, x, TARGETS), wanted)
