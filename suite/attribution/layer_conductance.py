"""Layer conductance: how much of an integrated gradient flows through each unit of a layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.attribution.integrated_gradients import gauss_legendre, points_between
from suite.attribution.layer_activation import as_map, pick_channel
from suite.core.draws import ImageDraws
from suite.core.memory import parts_that_fit
from suite.core.passes import Cost, Needs, resolve_layer, run_pass


@dataclass(frozen=True)
class LayerConductance(SampledPass):
    """How much of the score flows through each unit of a layer: (B, C, h, w), signed, in score units.

    Args:
        layer: by name; "" is the default target layer.
        steps: differences along the path.
        baseline: see `suite.attribution.baselines`.
        channel: keep one channel.

    Source: Dhamdhere, Sundararajan & Yan 2019, eq. 3, in the discrete form of Shrikumar et al. 2018 that Captum uses;
    the ends of the path are not among the points, so it sums to the difference of scores only nearly.
    """

    layer: str = ""
    steps: int = 20
    baseline: str | Tensor = "zeros"
    channel: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")
        check_baseline(self.baseline)

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        layer = resolve_layer(model, images, self.layer)
        start = baseline(self.baseline, images)
        maps = []
        for s, _, copies in parts_that_fit(model, images, draws):
            maps.append(reduce(torch.add, self._terms(model, images[s], targets[s], start[s], layer, copies)))
        return pick_channel(as_map(torch.cat(maps), layer), self.channel, layer)

    def _terms(
        self, model: nn.Module, images: Tensor, targets: Tensor, start: Tensor, layer: str, per_pass: int
    ) -> Iterator[Tensor]:
        """(A_{k+1} - A_k) * dScore/dA_k at steps + 1 Gauss-Legendre points of the path, summed over a chunk of points.

        Chunks meet at a point whose activation and gradient are kept, so nothing is computed twice.
        """
        _, alphas = gauss_legendre(self.steps + 1)
        size, last = len(images), None
        for first in range(0, self.steps + 1, per_pass):
            chunk = alphas[first : first + per_pass]
            points = points_between(start, images, chunk)
            needs = Needs(layers=frozenset({layer}))
            activation, gradient = run_pass(model, points, targets.repeat(len(chunk)), needs).layer(layer)
            summed = None if last is None else (activation[:size] - last[0]) * last[1]
            if len(chunk) > 1:
                shape = (-1, *activation[:size].shape)
                inner = ((activation[size:] - activation[:-size]) * gradient[:-size]).view(shape).sum(0)
                summed = inner if summed is None else summed + inner
            last = activation[-size:].clone(), gradient[-size:].clone()
            del points, activation, gradient  # freed before the next chunk
            if summed is not None:
                yield summed

    def cost(self) -> Cost:
        return Cost(self.steps + 1, self.steps + 1)
