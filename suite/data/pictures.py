"""Pictures by path, or by the name of one that scikit-image carries in its package. Fetches nothing."""

import importlib.util
from pathlib import Path

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


def packaged() -> dict[str, Path]:
    """Name -> file of the pictures inside the installed scikit-image; others of its data it would have to download."""
    found = importlib.util.find_spec("skimage")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else Path()
    return {path.stem: path for path in sorted((folder / "data").glob("*")) if path.suffix in (".png", ".jpg")}


def find_picture(given: str) -> Path:
    """The file meant by a path or a packaged picture's name.

    Raises:
        ImageError: there is neither; names what there is.
    """
    path, known = Path(given), packaged()
    if path.exists():
        return path
    if given in known:
        return known[given]
    raise ImageError(
        f"picture {given!r}: no such file, nor a picture that scikit-image ships{did_you_mean(given, known)}; "
        f"it ships {', '.join(known)}"
    )


def picture_or_stand_in(name: str, folder: str) -> tuple[Path, str]:
    """The picture of that name in a folder, else one packaged, else the one that stands in for it; and a note if so.

    Raises:
        ImageError: as `find_picture`; or the folder does not exist.
    """
    if folder and not Path(folder).is_dir():
        raise ImageError(f"paintings {folder!r}: no such folder; leave it out for pictures that scikit-image ships")
    found = [path for suffix in SUFFIXES if (path := Path(folder) / f"{name}{suffix}").is_file()] if folder else []
    if found:
        return found[0], ""
    if name in STAND_INS:
        return find_picture(STAND_INS[name]), f"{STAND_INS[name]} stands in for {name}"
    return find_picture(name), ""


def load_picture(path: Path, size: int) -> tuple[Tensor, str]:
    """A whole picture, (1, 3, H, W) in [0, 1], its shorter side `size` pixels, and what was done to it on reading.

    Raises:
        ImageError: as `load_image`; or one side is more than four times the other.
    """
    image, note = load_image(path, resize=size, crop=None)
    if max(image.shape[1:]) > LONGEST * size:
        raise ImageError(f"image {path.name!r} is longer than {LONGEST} times its shorter side: crop it first")
    return image[None], note
