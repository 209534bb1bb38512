"""Layer conductance: how much of an integrated gradient flows through each unit of a layer."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.attribution.integrated_gradients import gauss_legendre
from suite.attribution.layer_activation import as_map, pick_channel
from suite.core.draws import ImageDraws
from suite.core.memory import parts_that_fit
from suite.core.passes import Cost, Needs, resolve_layer, run_pass


def layer_conductance(
    model: nn.Module, images: Tensor, targets: Tensor, start: Tensor, *, layer: str, steps: int, points_per_pass: int
) -> Tensor:
    """Sum over k of (A_{k+1} - A_k) * dScore/dA_k at steps + 1 Gauss-Legendre points of the path.

    Chunks meet at a point whose activation and gradient are kept, so nothing is computed twice.

    Args:
        model: (B, 3, H, W) -> (B, K).
        images: (B, 3, H, W).
        start: (B, 3, H, W), the baselines.
        targets: (B,).
        layer: its real name.
        steps: differences taken.
        points_per_pass: path points that share a pass.

    Returns:
        the layer's output shape, signed.
    """
    _, alphas = gauss_legendre(steps + 1)
    total: Tensor | None = None
    last: tuple[Tensor, Tensor] | None = None
    for first in range(0, steps + 1, points_per_pass):
        chunk = alphas[first : first + points_per_pass]
        summed, last = _chunk(model, images, targets, start, layer, chunk, last)
        if summed is not None:
            total = summed if total is None else total + summed
    assert total is not None
    return total


def _chunk(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    start: Tensor,
    layer: str,
    alphas: list[float],
    last: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
    """The chunk's sum (None of a lone first point), and activation and gradient at its last point.

    All else is freed before the next chunk.
    """
    size = len(images)
    points = torch.cat([start + alpha * (images - start) for alpha in alphas])  # (k B, 3, H, W)
    found = run_pass(model, points, targets.repeat(len(alphas)), Needs(layers=frozenset({layer})))
    activation, gradient = found.activations[layer], found.layer_gradients[layer]
    summed = None if last is None else (activation[:size] - last[0]) * last[1]
    if len(alphas) > 1:
        terms = (activation[size:] - activation[:-size]) * gradient[:-size]
        inner = terms.view(-1, *activation[:size].shape).sum(0)
        summed = inner if summed is None else summed + inner
    return summed, (activation[-size:].clone(), gradient[-size:].clone())


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
        along = partial(layer_conductance, model, layer=layer, steps=self.steps)
        parts = parts_that_fit(model, images, draws)
        maps = [along(images[s], targets[s], start[s], points_per_pass=copies) for s, _, copies in parts]
        return pick_channel(as_map(torch.cat(maps), layer), self.channel, layer)

    def cost(self) -> Cost:
        return Cost(self.steps + 1, self.steps + 1)
