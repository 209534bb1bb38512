"""Guided Grad-CAM: guided backpropagation's detail where Grad-CAM looks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from suite.attribution.base import SharedPass
from suite.attribution.grad_cam import grad_cam
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class GuidedGradCam(SharedPass):
    """Guided backpropagation times the upsampled Grad-CAM: (B, 3, H, W), signed.

    Args:
        layer: Grad-CAM's layer; "" is the default one.
        upsample: "nearest" as Captum does, or the paper's "bilinear".

    Source: Selvaraju et al. 2017, sec. 3.2.
    """

    layer: str = ""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    sensitivity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.upsample not in ("nearest", "bilinear"):
            raise ValueError(f"upsample: expected nearest or bilinear, got {self.upsample!r}")

    def needs(self) -> Needs:
        return Needs(frozenset({"guided"}), frozenset({self.layer}))

    def from_pass(self, shared: Pass) -> Tensor:
        guided = shared.gradient("guided")
        cam = grad_cam(*shared.layer(self.layer))
        return guided * F.interpolate(cam, size=guided.shape[2:], mode=self.upsample)
