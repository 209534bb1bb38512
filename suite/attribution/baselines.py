"""Baselines: what an image is compared with. In pixel units [0, 1]."""

from pathlib import Path

import torch
from torch import Tensor

from suite.core.pixels import gaussian_blur
from suite.data.images import load_image
from suite.errors import ConfigError, DataError, did_you_mean
from suite.models.embedded import IMAGENET_MEAN

KINDS = ("zeros", "white", "mean", "blurred")
_BLUR_SIGMA = 10.0  # pixels; at 224 it leaves colours and no shapes


def check_baseline(kind: str | Tensor) -> None:
    """Raises ValueError where a baseline is neither a kind, nor `image:PATH`, nor a tensor."""
    if isinstance(kind, str) and kind not in KINDS and not kind.startswith("image:"):
        raise ValueError(f"baseline {kind!r}: expected {', '.join(KINDS)} or image:PATH{did_you_mean(kind, KINDS)}")


def baseline(kind: str | Tensor, images: Tensor) -> Tensor:
    """The baseline of each image.

    Args:
        kind: zeros (black), white, mean (the mean colour of ImageNet), blurred (the image under a Gaussian of 10
            pixels), image:PATH (another picture), or a tensor that broadcasts to the images.
        images: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W).
    """
    if isinstance(kind, Tensor):
        if not bool(torch.isfinite(kind).all()):
            raise DataError("baseline: the tensor holds NaN or infinity")
        return kind.to(images).expand_as(images)
    check_baseline(kind)
    if kind == "zeros":
        return torch.zeros_like(images)
    if kind == "white":
        return torch.ones_like(images)
    if kind == "mean":
        if images.shape[1] != 3:
            raise ConfigError(f"baseline 'mean': needs 3 channels, the images have {images.shape[1]}; use zeros")
        return images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1).expand_as(images)
    if kind == "blurred":
        return gaussian_blur(images, _BLUR_SIGMA)
    picture, _ = load_image(Path(kind.removeprefix("image:")), resize=None, crop=(images.shape[2], images.shape[3]))
    return picture.to(images).expand_as(images)
