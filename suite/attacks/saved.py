"""Pictures as 8-bit files hold them: written, and read back to be judged as others will see them."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from suite.errors import SuiteError
from suite.results.atomic import write_bytes


def pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1], clamped and rounded to 8 bits -> (H, W, C) uint8."""
    made: np.ndarray = (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return made


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
    """(B, C, H, W) in [0, 1] as read back from 8-bit PNG files."""
    return torch.stack([from_png(png(image)) for image in images]).to(images)


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
