"""GradientSHAP: gradients at random points between random baselines and noisy copies of the image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.core.draws import ImageDraws
from suite.core.memory import parts_that_fit
from suite.core.passes import Cost, pixel_gradient


@dataclass(frozen=True)
class GradientShap(SampledPass):
    """Integrated gradients at random points from random baselines: (B, 3, H, W), signed, in score units.

    In expectation it sums to f(image) - mean f(baseline).

    Args:
        samples: random points an image.
        sigma: standard deviation of noise added to the image, in pixel units.
        baselines: the background distribution, drawn from with equal chances.
        seed: each image has its own stream.

    Source: Lundberg & Lee 2017 (expected gradients: Erion et al. 2021, eq. 3); Captum's GradientShap.
    """

    samples: int = 20
    sigma: float = 0.0
    baselines: tuple[str, ...] = ("zeros", "mean", "white")
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0 or not self.baselines:
            raise ValueError("expected samples >= 1, sigma >= 0 and at least one baseline")
        for kind in self.baselines:
            check_baseline(kind)

    @property
    def complete_from(self) -> tuple[str | Tensor, ...]:
        return self.baselines

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        parts = parts_that_fit(model, images, draws)
        return torch.cat([self._part(model, images[s], targets[s], own, copies) for s, own, copies in parts])

    def _part(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws, per_pass: int) -> Tensor:
        background = torch.stack([baseline(kind, images) for kind in self.baselines])  # (N, B, 3, H, W)
        rows = torch.arange(len(images), device=images.device)
        total = torch.zeros_like(images)
        for first in range(0, self.samples, per_pass):
            count = min(per_pass, self.samples - first)
            chosen = draws.choice(count, len(background))  # (B, n)
            starts = background[chosen, rows.unsqueeze(1)].flatten(0, 1)  # (B n, 3, H, W)
            ends = images.repeat_interleave(count, 0) + (self.sigma * draws.normal(count)).flatten(0, 1)
            along = draws.uniform(count).reshape(-1, 1, 1, 1)
            points = along * ends + (1.0 - along) * starts
            terms = (ends - starts) * pixel_gradient(model, points, targets.repeat_interleave(count))
            total = total + terms.view(len(images), count, *images.shape[1:]).sum(1)
        return total / self.samples

    def cost(self) -> Cost:
        return Cost(self.samples, self.samples)
