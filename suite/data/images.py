"""From one image file to a tensor, by ImageNet's standard evaluation. Torch and PIL; leaves PIL's settings alone."""

import stat
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from suite.errors import ConfigError, ImageError

MIN_SIDE = 8  # pixels
MAX_PIXELS = 128_000_000  # width times height, as the file declares them and after resizing
_LIMIT = f"{MAX_PIXELS // 1_000_000} megapixels"
# No format whose reader starts other programs (EPS) or that holds no photo.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
_MODE_NAMES = {
    "1": "black and white", "L": "greyscale", "LA": "greyscale with alpha", "P": "palette", "PA": "palette with alpha",
}  # fmt: skip


def load_image(path: str | Path, *, resize: int | None, crop: tuple[int, int] | None) -> tuple[Tensor, str]:
    """One image as a network takes it.

    The EXIF orientation is applied, transparency laid over white, 16-bit greyscale scaled to 8 bits, the first frame
    taken. Then, as torchvision's Resize, CenterCrop and ToTensor on a PIL image: the shorter side to `resize`
    (bilinear, antialiased) and the middle `crop` cut out. Colour profiles are not applied, as torchvision does not.

    Args:
        path: the file.
        resize: pixels of the shorter side before the crop; None resizes straight to `crop`.
        crop: (height, width) of the result, pixels; None leaves the resized image whole.

    Returns:
        The image, (3, H, W) float32 RGB in [0, 1], and a note on its conversion, such as "converted from CMYK"; "" for
        a plain RGB file.

    Raises:
        ImageError: one line that names the file: unreadable, empty, no image, truncated, smaller than 8x8 pixels,
            larger than 128 megapixels.
        ConfigError: `resize` or `crop` is no size, or the crop does not fit.
    """
    _check_sizes(resize, crop)
    path = Path(path)
    _check_file(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with Image.open(path, formats=FORMATS) as opened:
                _check_declared_size(opened.size, resize, path)
                rgb, notes = _to_rgb(opened, path)
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            formats = ", ".join(FORMATS)
            raise ImageError(
                f"image {path.name!r} cannot be identified as an image: expected one of {formats}"
            ) from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"image {path.name!r} is a decompression bomb: it declares over {_LIMIT}") from error
        # On broken bytes PIL's readers raise OSError, SyntaxError, struct.error, MemoryError...
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"image {path.name!r} cannot be decoded: {reason}") from error
    bomb = Image.DecompressionBombWarning
    notes += [f"PIL: {warning.message}" for warning in caught if not issubclass(warning.category, bomb)]
    pixels = torch.from_numpy(np.array(_cut(rgb, resize, crop)))  # (H, W, 3) uint8
    note = "; ".join(" ".join(note.split()) for note in notes)
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255), note


def _check_sizes(resize: int | None, crop: tuple[int, int] | None) -> None:
    if crop is None:
        if resize is None or resize < 1:
            raise ConfigError(f"resize {resize}: a whole image needs the pixels of its shorter side, at least 1")
        return
    if min(crop) < 1 or (resize is not None and resize < 1):
        raise ConfigError(f"resize {resize} and crop {crop[0]}x{crop[1]}: sizes are at least 1 pixel")
    if resize is not None and max(crop) > resize:
        raise ConfigError(
            f"crop {crop[0]}x{crop[1]} does not fit an image whose shorter side is resized to {resize}: "
            "give resize >= crop, or no resize"
        )


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"image {path.name!r} is not a regular file")
        if status.st_size == 0:
            raise ImageError(f"image {path.name!r} is empty (0 bytes)")
        path.open("rb").close()
    except OSError as error:
        raise ImageError(f"image {path.name!r} cannot be read: {error.strerror}") from error


def _check_declared_size(size: tuple[int, int], resize: int | None, path: Path) -> None:
    declared = f"{size[0]}x{size[1]} pixels"
    if min(size) < MIN_SIDE:
        raise ImageError(f"image {path.name!r} is {declared}: at least {MIN_SIDE}x{MIN_SIDE} are needed")
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"image {path.name!r} is a decompression bomb: it declares {declared}, over {_LIMIT}")
    # A file of 8 by a million pixels is small, and 256 by 32 million once its shorter side is 256.
    if resize is not None and resize * resize * max(size) // min(size) > MAX_PIXELS:
        raise ImageError(
            f"image {path.name!r} is too narrow: {declared}, over {_LIMIT} once the shorter side is {resize}"
        )


def _to_rgb(image: Image.Image, path: Path) -> tuple[Image.Image, list[str]]:
    notes = ["first frame of several"] if getattr(image, "is_animated", False) else []
    # PIL reads 16-bit colour as 8-bit without a word; only the raw mode of the tiles still tells.
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and image.mode in {"RGB", "RGBA"}
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        notes.append("turned as its EXIF orientation says")
    upright = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        notes.append("converted from 16-bit greyscale")
        values = np.asarray(upright).astype(np.int64)  # (H, W) in 0..65535
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB"), notes
    if image.mode in {"I", "F"}:
        raise ImageError(
            f"image {path.name!r} holds 32-bit values of no known range (mode {image.mode}): save it with 8 or 16 bits"
        )
    if image.mode != "RGB" or upright.has_transparency_data or deep:
        notes.append(f"converted from {'16-bit ' * deep}{_MODE_NAMES.get(image.mode, image.mode)}")
    if upright.has_transparency_data:
        notes[-1] += ", transparency over white"
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), notes
    return upright.convert("RGB"), notes


def _cut(image: Image.Image, resize: int | None, crop: tuple[int, int] | None) -> Image.Image:
    if resize is None:
        assert crop is not None
        return image.resize(crop[::-1], Image.Resampling.BILINEAR)
    shorter = min(image.size)
    # torchvision truncates the longer side and rounds the crop's corner half to even.
    size = (int(resize * image.width / shorter), int(resize * image.height / shorter))
    image = image.resize(size, Image.Resampling.BILINEAR)
    if crop is None:
        return image
    height, width = crop
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
