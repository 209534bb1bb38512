"""Grad-CAM: a layer's channels, weighted by how much the score wants each of them."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass
from suite.errors import NetworkError


def grad_cam(activation: Tensor, gradient: Tensor, *, relu: bool = True) -> Tensor:
    """The map from a layer's output and the score's gradient with respect to it.

    Args:
        activation: (B, C, h, w).
        gradient: of the same shape.
        relu: keep only what speaks for the target, after the sum over channels.

    Returns:
        (B, 1, h, w): sum over c of mean over positions of gradient_c, times activation_c.
    """
    if activation.ndim != 4:
        raise NetworkError(
            f"Grad-CAM needs a layer whose output is (B, C, h, w), this one's is {tuple(activation.shape)}: name a "
            "convolutional layer"
        )
    weights = gradient.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    cam = (weights * activation).sum(1, keepdim=True)
    return cam.relu() if relu else cam


@dataclass(frozen=True)
class GradCam(SharedPass):
    """Channels weighted by their mean gradients, summed: (B, 1, h, w) at the layer's size, non-negative with `relu`.

    Args:
        layer: any layer by name; "" is the one the literature takes for the network's family.
        relu: the paper's ReLU after the sum over channels; Captum leaves it out by default.

    Source: Selvaraju et al. 2017, eq. 1 and 2.
    """

    layer: str = ""
    relu: bool = True
    signed: ClassVar[bool] = False

    def needs(self) -> Needs:
        return Needs(layers=frozenset({self.layer}))

    def from_pass(self, shared: Pass) -> Tensor:
        return grad_cam(*shared.layer(self.layer), relu=self.relu)
