"""One map over one photo, and where its colours end, with Pillow: fast, and no figure in between. No torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

POSITIVE, NEGATIVE = np.array([255, 168, 48.0]), np.array([72, 178, 255.0])  # orange and blue, told apart by all


def overlay(photo: NDArray[np.uint8], values: NDArray[np.float32], limit: float, *, signed: bool) -> NDArray[np.uint8]:
    """A map laid over the darkened grey photo.

    Args:
        photo: (H, W, 3), 0..255.
        values: (H, W), any unit; 0 shows the photo alone.
        limit: The size of value that gets the full colour, > 0.
        signed: Diverging colours around 0 (orange above, blue below) instead of sequential ones.

    Returns:
        (H, W, 3), 0..255.
    """
    grey = 0.55 * (photo @ np.array([0.299, 0.587, 0.114]))[..., None]
    size = np.clip(np.abs(values) / limit, 0, 1)[..., None]
    if signed:
        colour = np.where(values[..., None] >= 0, POSITIVE, NEGATIVE)
    else:
        from matplotlib import colormaps

        colour = 255 * colormaps["inferno"](0.12 + 0.86 * size[..., 0])[..., :3]
    opacity = 0.95 * size ** (0.55 if signed else 0.7)
    return np.asarray(np.clip(grey * (1 - opacity) + colour * opacity, 0, 255), np.uint8)


def scale(values: NDArray[np.float32]) -> float:
    """The 99th percentile of |values|, or their maximum where that is 0; 0 where the map is 0 or not finite."""
    size = np.abs(values)
    if not np.isfinite(size).all():
        return 0.0
    return float(np.percentile(size, 99) or size.max())


def draw_map(values: NDArray[Any], photo: Image.Image, limit: float, *, signed: bool) -> Image.Image:
    """A map (h, w) of finite numbers enlarged bilinearly to the photo's size, over it; `limit` as in `overlay`."""
    resized = Image.fromarray(np.asarray(values, np.float32)).resize(photo.size, Image.Resampling.BILINEAR)
    return Image.fromarray(overlay(np.asarray(photo), np.asarray(resized), limit, signed=signed))
