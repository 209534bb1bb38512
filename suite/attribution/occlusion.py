"""Occlusion: what the score loses when a window of the image is covered."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.baselines import baseline, check_baseline
from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.passes import Cost, score
from suite.core.state import in_use

_IMAGES_PER_FORWARD = 32


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
        per_pass = max(1, _IMAGES_PER_FORWARD // len(images))
        total = images.new_zeros(len(images), 1, height, width)
        weight = images.new_zeros(height, width)
        with in_use(model), torch.no_grad():
            clean = score(scores_of(model, images), targets)  # (B,)
            for first in range(0, len(positions), per_pass):
                chunk = positions[first : first + per_pass]
                covered = images.repeat(len(chunk), 1, 1, 1)  # (n B, 3, H, W), window-major
                for index, (rows, columns) in enumerate(chunk):
                    block = slice(index * len(images), (index + 1) * len(images))
                    covered[block, :, rows, columns] = cover[:, :, rows, columns]
                drop = clean.repeat(len(chunk)) - score(scores_of(model, covered), targets.repeat(len(chunk)))
                masks = images.new_zeros(len(chunk), 1, 1, height, width)
                for mask, (rows, columns) in zip(masks, chunk, strict=True):
                    mask[..., rows, columns] = 1
                total += (drop.view(len(chunk), -1, 1, 1, 1) * masks).sum(0)  # one sum a chunk, in Captum's order
                weight += masks.sum(0)[0, 0]
        return total / weight

    def cost(self) -> Cost:
        return Cost(1 + len(windows(224, 224, self.window, self.stride)), 0)
