"""A picture as an optimiser's variable, and its regularisers: jitter, blur, small turns. Pure functions.

Knows no network, no objective and no step. Everything works on a batch in which each image has its own draws.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.core.pixels import gaussian_blur

# Square root of the covariance of ImageNet's colours, its columns decorrelated directions (Olah et al. 2017, Lucid).
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))


def roll(images: Tensor, offsets: Tensor) -> Tensor:
    """(B, C, H, W), each image moved by its own (B, 2) int64 pixels right and down, round the edge."""
    return torch.stack(
        [x.roll((down, right), (1, 2)) for x, (right, down) in zip(images, offsets.tolist(), strict=True)]
    )


def blur(images: Tensor, sigma: float) -> Tensor:
    """(B, C, H, W) under a Gaussian of `sigma` pixels: scipy's gaussian_filter1d along H, then W, mode reflect."""
    radius = int(4 * sigma + 0.5)
    rows, columns = (_mirrored(n, radius).to(images.device) for n in images.shape[2:])
    blurred = gaussian_blur(images[:, :, rows][..., columns], sigma)
    return blurred[..., radius : blurred.shape[2] - radius, radius : blurred.shape[3] - radius]


def _mirrored(n: int, radius: int) -> Tensor:
    """Indices -radius..n+radius-1 folded back, the edge pixel twice: torch's own "reflect" has it once."""
    index = torch.arange(-radius, n + radius) % (2 * n)
    return torch.minimum(index, 2 * n - 1 - index)


def turned(images: Tensor, shift: Tensor, zoom: Tensor, angle: Tensor) -> Tensor:
    """Moves, enlarges and turns each image about its middle, bilinearly; pixels from outside are mid grey.

    Args:
        images: (B, C, H, W) in [0, 1].
        shift: (B, 2) pixels right and down.
        zoom: (B,) 1 leaves the size.
        angle: (B,) radians, against the clock.
    """
    height, width = images.shape[2:]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    right, down = -2 * shift[:, 0] / width, -2 * shift[:, 1] / height
    rows = [cos, -sin * height / width, right, sin * width / height, cos, down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images - 0.5, grid, align_corners=False) + 0.5


@cache
def _fall(height: int, width: int) -> Tensor:
    """(H, W//2+1): 1 / frequency, as natural pictures fall off, so that all frequencies move at one pace."""
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    return 1 / radius.clamp_min(1 / max(height, width))


def fourier_image(spectrum: Tensor, width: int) -> Tensor:
    """Spectrum of decorrelated colours -> picture: inverse transform, colours correlated again, sigmoid.

    Source: C. Olah, A. Mordvintsev and L. Schubert, Feature Visualization, 2017, and their Lucid.

    Args:
        spectrum: (B, 3, H, W//2+1, 2) real and imaginary parts, each divided by 1/frequency; any values.
        width: W, which the spectrum alone leaves open.

    Returns:
        (B, 3, H, W) within (0, 1), whatever the spectrum.
    """
    height = spectrum.shape[2]
    waves = torch.view_as_complex(spectrum) * _fall(height, width).to(spectrum)
    plain = torch.fft.irfft2(waves, s=(height, width), norm="ortho") / 4
    return torch.einsum("cd,bdhw->bchw", _colours(spectrum), plain).sigmoid()


def fourier_spectrum(images: Tensor) -> Tensor:
    """The spectrum of which `fourier_image` is the given picture, (B, 3, H, W) in [0, 1]; black and white move in."""
    plain = torch.einsum("cd,bdhw->bchw", _colours(images).inverse(), images.clamp(0.01, 0.99).logit())
    waves = torch.fft.rfft2(4 * plain, norm="ortho") / _fall(images.shape[2], images.shape[3]).to(images)
    return torch.view_as_real(waves).contiguous()


def _colours(like: Tensor) -> Tensor:
    mixed = like.new_tensor(_COLOURS)
    unit: Tensor = mixed / mixed.norm(dim=0).max()
    return unit
