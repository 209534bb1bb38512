"""Pictures by path, or by the name of one that scikit-image carries in its package. Fetches nothing."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from suite.data.images import load_image
from suite.errors import ImageError, did_you_mean

LONGEST = 4  # times the shorter side
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
# Where the coursework's own pictures are absent: a photo of something, a swarm of colours, swathes of red, a night sky.
STAND_INS = {
    "tubingen": "astronaut",
    "composition_vii": "ihc",
    "the_scream": "retina",
    "starry_night": "hubble_deep_field",
}


@dataclass(frozen=True)
class PictureResult:
    """The result of a command on one picture.

    Attributes:
        file: the PNG.
        frames: (title, (H, W, 3) uint8, caption) of each picture in the figure.
        numbers: for JSON.
        problem: why the command did not reach its end, "" where it did.
    """

    file: Path
    frames: list[tuple[str, NDArray[np.uint8], str]]
    numbers: dict[str, Any]
    problem: str


def packaged() -> dict[str, Path]:
    """Name -> file of the pictures inside the installed scikit-image; others of its data it would have to download."""
    package = importlib.util.find_spec("skimage")
    folder = Path(next(iter(package.submodule_search_locations or ()))) if package else Path()
    return {path.stem: path for path in sorted((folder / "data").glob("*")) if path.suffix in (".png", ".jpg")}


def find_picture(name: str) -> Path:
    """The file of a path or a packaged picture's name.

    Raises:
        ImageError: neither exists; the packaged names are listed.
    """
    path, files = Path(name), packaged()
    if not path.exists() and name not in files:
        raise ImageError(
            f"picture {name!r}: no such file, nor a picture that scikit-image ships{did_you_mean(name, files)}; "
            f"it ships {', '.join(files)}"
        )
    return path if path.exists() else files[name]


def picture_or_stand_in(name: str, folder: str) -> tuple[Path, str]:
    """A picture by name: in the folder, else its stand-in, else packaged; and a note where it is a stand-in.

    Raises:
        ImageError: as `find_picture`; or the folder does not exist.
    """
    if folder and not Path(folder).is_dir():
        raise ImageError(f"paintings {folder!r}: no such folder; leave it out for pictures that scikit-image ships")
    for suffix in SUFFIXES if folder else ():
        if (path := Path(folder) / f"{name}{suffix}").is_file():
            return path, ""
    if name in STAND_INS:
        return find_picture(STAND_INS[name]), f"{STAND_INS[name]} stands in for {name}"
    return find_picture(name), ""


def load_picture(path: Path, size: int) -> tuple[Tensor, str]:
    """A whole picture, (1, 3, H, W) in [0, 1], its shorter side `size` pixels, and a note on its conversion.

    Raises:
        ImageError: as `load_image`; or one side is more than four times the other.
    """
    image, note = load_image(path, resize=size, crop=None)
    if max(image.shape[1:]) > LONGEST * size:
        raise ImageError(f"image {path.name!r} is longer than {LONGEST} times its shorter side: crop it first")
    return image[None], note
