"""SmoothGrad and VarGrad: the mean and the variance of the gradient over noisy copies of the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.core.draws import ImageDraws
from suite.core.memory import parts_that_fit
from suite.core.passes import Cost, pixel_gradient


@dataclass(frozen=True)
class SmoothGrad(SampledPass):
    """Mean gradient over noisy copies: (B, 3, H, W), signed, in score units per pixel unit.

    Args:
        samples: noisy copies an image.
        sigma: standard deviation of the noise in pixel units [0, 1]; the paper's is a share of the image's range.
        seed: of the noise; each image has its own stream.

    Source: Smilkov et al. 2017, sec. 3. Captum: NoiseTunnel(Saliency(abs=False)), nt_type "smoothgrad".
    """

    samples: int = 50
    sigma: float = 0.15
    seed: int = 0
    sensitivity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0:
            raise ValueError(f"expected samples >= 1 and sigma >= 0, got {self.samples} and {self.sigma}")

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        parts = parts_that_fit(model, images, draws)
        moments = [self._moments(model, images[s], targets[s], own, copies) for s, own, copies in parts]
        return torch.cat([self.reduce(*of_part) for of_part in moments])

    def _moments(
        self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws, per_pass: int
    ) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) twice: the means of the gradient and of its square over `images + sigma * noise`."""
        total, total_of_squares = torch.zeros_like(images), torch.zeros_like(images)
        for first in range(0, self.samples, per_pass):
            count = min(per_pass, self.samples - first)
            copies = images.repeat_interleave(count, 0) + (self.sigma * draws.normal(count)).flatten(0, 1)
            gradients = pixel_gradient(model, copies, targets.repeat_interleave(count))  # (B n, 3, H, W)
            gradients = gradients.view(len(images), count, *images.shape[1:])
            total = total + gradients.sum(1)
            total_of_squares = total_of_squares + gradients.pow(2).sum(1)
        return total / self.samples, total_of_squares / self.samples

    def reduce(self, mean: Tensor, mean_of_squares: Tensor) -> Tensor:
        """The map from the two moments."""
        return mean

    def cost(self) -> Cost:
        return Cost(self.samples, self.samples)


@dataclass(frozen=True)
class VarGrad(SmoothGrad):
    """Variance of the gradient over noisy copies: (B, 3, H, W), non-negative up to rounding.

    Source: Adebayo et al. 2018, sec. 2 (their VarGrad); the biased variance E[g^2] - E[g]^2, as Captum's "vargrad".
    """

    signed: ClassVar[bool] = False

    def reduce(self, mean: Tensor, mean_of_squares: Tensor) -> Tensor:
        return mean_of_squares - mean * mean
