"""Controls: maps that know nothing of the network, or of the image. A metric or a verdict that likes them is wrong."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.core.draws import ImageDraws
from suite.core.partners import NO_PARTNER, WHY_NONE, partners
from suite.core.passes import Cost, classes_of, pixel_gradient
from suite.core.pixels import gaussian_blur, luminance
from suite.errors import NotApplicable


@dataclass(frozen=True)
class Control(SampledPass):
    """A map (B, 1, H, W) that must lose; it costs no pass."""

    control: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def cost(self) -> Cost:
        return Cost()


@dataclass(frozen=True)
class Constant(Control):
    """The same value everywhere."""

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        return torch.ones_like(images[:, :1])


@dataclass(frozen=True)
class Noise(Control):
    """Independent standard normal values."""

    seed: int = 0
    signed: ClassVar[bool] = True

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        return draws.normal(1)[:, 0, :1]


@dataclass(frozen=True)
class AbsoluteNoise(Noise):
    """The absolute value of `Noise`: where one sign is right nearly everywhere, a harder control than both signs."""

    signed: ClassVar[bool] = False

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        return super().compute(model, images, targets, draws).abs()


@dataclass(frozen=True)
class SmoothNoise(Control):
    """Normal noise under a Gaussian of `sigma` pixels: as smooth as a Grad-CAM, and about nothing."""

    sigma: float = 16.0
    seed: int = 0
    signed: ClassVar[bool] = True

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        return gaussian_blur(draws.normal(1)[:, 0, :1], self.sigma)


@dataclass(frozen=True)
class Center(Control):
    """A Gaussian in the middle, where photographers put things; `spread` is its standard deviation over the side."""

    spread: float = 0.25

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        height, width = images.shape[2:]
        rows = torch.linspace(-0.5, 0.5, height).to(images).view(-1, 1)
        columns = torch.linspace(-0.5, 0.5, width).to(images).view(1, -1)
        bump = torch.exp(-0.5 * (rows**2 + columns**2) / self.spread**2)
        return bump.expand(len(images), 1, height, width).clone()


@dataclass(frozen=True)
class Edges(Control):
    """Sobel's gradient magnitude of the luminance."""

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        kernel = images.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]).view(1, 1, 3, 3)
        grey = F.pad(luminance(images), (1, 1, 1, 1), mode="replicate")
        return (F.conv2d(grey, kernel) ** 2 + F.conv2d(grey, kernel.transpose(2, 3)) ** 2).sqrt()


@dataclass(frozen=True)
class CenterEdges(Control):
    """Edges, weighted by a Gaussian in the middle, under a Gaussian of 1/28 of the side: a guess at the object.

    Unblurred it loses to its own blurred forms wherever a measure likes smooth maps.
    """

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        edges = Center().compute(model, images, targets, draws) * Edges().compute(model, images, targets, draws)
        return gaussian_blur(edges, max(images.shape[2:]) / 28)


@dataclass(frozen=True)
class Luminance(Control):
    """The image's own brightness."""

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        return luminance(images)


@dataclass(frozen=True)
class OtherImage(Control):
    """The saliency of the next image of another class: a real map of something else; a batch of one class has none."""

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        partner = partners(classes_of(targets))
        if NO_PARTNER in partner:
            raise NotApplicable(WHY_NONE)
        return pixel_gradient(model, images[partner], targets[partner]).abs().amax(1, keepdim=True)

    def cost(self) -> Cost:
        return Cost(1, 1)
