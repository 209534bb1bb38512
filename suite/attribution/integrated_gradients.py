"""Integrated gradients: the gradient averaged along the straight path from a baseline, times the way gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.core.draws import ImageDraws
from suite.core.memory import parts_that_fit
from suite.core.passes import Cost, pixel_gradient


@cache
def gauss_legendre(steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weights and nodes of Gauss-Legendre quadrature on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return tuple((0.5 * weights).tolist()), tuple((0.5 * (1 + nodes)).tolist())


def points_between(start: Tensor, end: Tensor, alphas: Sequence[float]) -> Tensor:
    """(k B, C, H, W): start + alpha (end - start) for each of k alphas; all images at the first come first."""
    steps = torch.tensor(alphas, dtype=torch.float64).to(end).view(-1, 1, 1, 1, 1)
    return (start + steps * (end - start)).flatten(0, 1)


@dataclass(frozen=True)
class IntegratedGradients(SampledPass):
    """Pixel less baseline, times the mean gradient between: (B, 3, H, W), signed; sums to f(image) - f(baseline).

    Args:
        steps: nodes of the Gauss-Legendre quadrature.
        baseline: see `suite.attribution.baselines`.

    Source: Sundararajan, Taly & Yan 2017, eq. 1; the quadrature is Captum's default. Steps run in chunks of a fixed
    memory budget, as Captum's do with `internal_batch_size`.
    """

    steps: int = 50
    baseline: str | Tensor = "zeros"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")
        check_baseline(self.baseline)

    @property
    def complete_from(self) -> tuple[str | Tensor, ...]:
        return (self.baseline,)

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        start = baseline(self.baseline, images)
        parts = parts_that_fit(model, images, draws)
        return torch.cat([self._part(model, images[s], targets[s], start[s], copies) for s, _, copies in parts])

    def _part(self, model: nn.Module, images: Tensor, targets: Tensor, start: Tensor, per_pass: int) -> Tensor:
        """Sum over k of w_k * gradient(start + a_k (images - start)), times (images - start)."""
        weights, alphas = gauss_legendre(self.steps)

        def summed(chunk: slice) -> Tensor:
            points = points_between(start, images, alphas[chunk])
            count = len(alphas[chunk])
            gradients = pixel_gradient(model, points, targets.repeat(count))
            weighted = gradients.reshape(count, -1) * torch.tensor(weights[chunk]).float().view(count, 1).to(gradients)
            return weighted.view(count, *images.shape).sum(0) * (images - start)

        chunks = [slice(first, first + per_pass) for first in range(0, self.steps, per_pass)]
        return reduce(torch.add, map(summed, chunks))

    def cost(self) -> Cost:
        return Cost(self.steps, self.steps)
