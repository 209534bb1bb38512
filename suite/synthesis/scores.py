"""Scores of a visualisation: pure functions of (B, 3, H, W) in [0, 1]; (B,) float64 each."""

import torch
from torch import Tensor, nn

from suite.core.passes import predict, score
from suite.core.pixels import luminance, neighbour_differences
from suite.metrics.similarity import ssim


def seen(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """A network's outputs for the pictures: the target's `score` and softmax `confidence`, and `top1` (1 or 0)."""
    scores = predict(model, images).double()
    confidence = score(scores.softmax(1), targets)
    return {"score": score(scores, targets), "confidence": confidence, "top1": (scores.argmax(1) == targets).double()}


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of the luminance: 0 for one grey, 0.5 for half black and half white."""
    return luminance(images.double()).flatten(1).std(1, correction=0)


def saturated(images: Tensor) -> Tensor:
    """Share of the values that an 8-bit file holds as 0 or 255."""
    levels = (images * 255).round()
    return ((levels <= 0) | (levels >= 255)).double().flatten(1).mean(1)


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of values that touch sideways or up and down: 0 for one colour, 1 for a chequerboard."""
    return torch.cat(neighbour_differences(images.double()), 1).abs().mean(1)


def high_frequency(images: Tensor) -> Tensor:
    """Share of the energy about the mean at more than a quarter of a cycle a pixel.

    White noise has 0.80 (the square of frequencies less a disc of half its side's radius), a photo about 0.01; NaN for
    one colour.
    """
    x = images.double() - images.double().mean((2, 3), keepdim=True)
    energy = torch.fft.fft2(x).abs().square().sum(1)
    height, width = images.shape[2:]
    axes = (torch.fft.fftfreq(n, device=images.device, dtype=torch.float64) for n in (height, width))
    fast = torch.hypot(*torch.meshgrid(*axes, indexing="ij")) > 0.25
    share: Tensor = (energy * fast).sum((1, 2)) / energy.sum((1, 2))
    return share


def diversity(images: Tensor) -> float:
    """1 - SSIM of the luminance, the mean over pairs of pictures: 0 where all are one; NaN for fewer than two."""
    if len(images) < 2:
        return float("nan")
    first, second = torch.combinations(torch.arange(len(images))).unbind(1)
    grey = luminance(images)[:, 0]
    return float((1 - ssim(grey[first], grey[second], data_range=1.0)).mean())


PICTURE_SCORES = {measure.__name__: measure for measure in (contrast, saturated, total_variation, high_frequency)}
