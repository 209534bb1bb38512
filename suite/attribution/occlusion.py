"""Occlusion: what the score loses when a window of the image is covered."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.core.draws import ImageDraws
from suite.core.memory import images_per_forward
from suite.core.network import scores_of
from suite.core.passes import Cost, score
from suite.core.state import in_use


def windows(height: int, width: int, window: int, stride: int) -> list[tuple[slice, slice]]:
    """All positions of the window, column by column as Captum goes; the last are cut at the border: all is covered."""

    def starts(length: int) -> range:
        steps = max(0, -(-(length - window) // stride))
        return range(0, steps * stride + 1, stride)

    return [
        (slice(top, min(top + window, height)), slice(left, min(left + window, width)))
        for left in starts(width)
        for top in starts(height)
    ]


def masks_of(positions: list[tuple[slice, slice]], images: Tensor) -> Tensor:
    """(n, 1, 1, H, W) of the images' kind: 1 inside each window."""
    ends = torch.tensor([[(s.start, s.stop) for s in window] for window in positions]).to(images.device)
    inside = []
    for axis, length in enumerate(images.shape[2:]):
        at = torch.arange(length, device=images.device)
        inside.append((at >= ends[:, axis, :1]) & (at < ends[:, axis, 1:]))  # (n, length)
    return (inside[0][:, :, None] & inside[1][:, None, :]).to(images.dtype)[:, None, None]


@dataclass(frozen=True)
class Occlusion(SampledPass):
    """Mean loss of score over the windows that cover a pixel: (B, 1, H, W), signed, in score units.

    Args:
        window, stride: in pixels.
        baseline: what covers; see `suite.attribution.baselines`.

    Source: Zeiler & Fergus 2014, sec. 4.2. All colours are covered at once; Captum's Occlusion with windows of the full
    channel depth gives this map in every channel.
    """

    window: int = 32
    stride: int = 16
    baseline: str | Tensor = "zeros"

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.window:
            raise ValueError(f"expected 1 <= stride <= window, got stride {self.stride} and window {self.window}")
        check_baseline(self.baseline)

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        cover = baseline(self.baseline, images)
        height, width = images.shape[2:]
        positions = windows(height, width, self.window, self.stride)
        per_pass = max(1, images_per_forward(images) // len(images))
        total = images.new_zeros(len(images), 1, height, width)
        weight = images.new_zeros(height, width)
        with in_use(model), torch.no_grad():
            clean = score(scores_of(model, images), targets)  # (B,)
            for first in range(0, len(positions), per_pass):
                chunk = positions[first : first + per_pass]
                masks = masks_of(chunk, images)
                covered = torch.where(masks.bool(), cover, images).flatten(0, 1)  # (n B, 3, H, W), window-major
                drop = clean.repeat(len(chunk)) - score(scores_of(model, covered), targets.repeat(len(chunk)))
                total += (drop.view(len(chunk), -1, 1, 1, 1) * masks).sum(0)  # one sum a chunk, in Captum's order
                weight += masks.sum(0)[0, 0]
        return total / weight

    def cost(self) -> Cost:
        return Cost(1 + len(windows(224, 224, self.window, self.stride)), 0)
