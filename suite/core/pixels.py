"""Images as tensors: 8 bits and PNG files, luminance, blur. Knows no network, method or study."""

import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from suite.core.atomic import write_bytes
from suite.errors import SuiteError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1], clamped and rounded to 8 bits -> (H, W, C) uint8."""
    scaled = (image.detach().float().clamp(0, 1) * 255).round()
    return np.asarray(scaled.byte().permute(1, 2, 0).cpu())


def png(image: Tensor) -> bytes:
    """(3, H, W) or (1, H, W) in [0, 1] as a PNG file."""
    array, file = pixels(image), io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, "PNG", compress_level=1)
    return file.getvalue()


def from_png(data: bytes) -> Tensor:
    """(C, H, W) in [0, 1]; the file's pixels as they are, not resized."""
    array = np.array(Image.open(io.BytesIO(data)))
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1).float() / 255


def as_saved(images: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] as 8-bit files hold them: whole multiples of 1/255."""
    return ((images.float().clamp(0, 1) * 255).round() / 255).to(images)


def write_png(image: Tensor, file: Path) -> Tensor:
    """Writes (C, H, W) in [0, 1] as PNG, wholly or not at all; gives (1, C, H, W) as it is read back.

    Raises:
        SuiteError: in one line, where it cannot be written.
    """
    try:
        write_bytes(file, png(image))
        return from_png(file.read_bytes())[None]
    except OSError as error:
        raise SuiteError(f"{file}: the picture cannot be written: {error.strerror}; give another --out") from None


def luminance(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W); another number of channels is averaged."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def neighbour_differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """(B, ..., H, W) -> differences of pixels that touch, (B, n) down and (B, m) across: total variation sums them."""
    return images.diff(dim=-2).flatten(1), images.diff(dim=-1).flatten(1)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian over (B, C, H, W), cut at 4 sigma, edges repeated (scipy's mode "nearest")."""
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
