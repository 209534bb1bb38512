"""The pictures that `suite explain` leaves: maps over the photo, and the object cut out. No torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from suite.errors import SuiteError
from suite.report.pictures import save_png
from suite.report.style import slug
from suite.report.tiles import map_tile


def write_explained(
    folder: Path,
    photo: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.float32]],
    masks: Mapping[str, NDArray[np.bool_]],
    boxes: Mapping[str, tuple[int, int, int, int] | None],
    signed: Mapping[str, bool],
    *,
    crop: bool,
    mask: bool,
) -> list[Path]:
    """Writes `photo.png`, each map as `<method>.png`, and on request `<method>-crop.png` and `<method>-mask.png`.

    A method whose mask is empty has no crop. The maps' own numbers are in `maps.npz`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{folder} cannot be written ({error.strerror}); give another --out") from None
    shown = Image.fromarray(photo)
    pictures = {"photo": shown}
    for name, values in maps.items():
        pictures[slug(name)] = map_tile(name, values, signed[name]).draw(shown, max(shown.size))
        box = boxes[name]
        if crop and box is not None:
            pictures[f"{slug(name)}-crop"] = shown.crop(box)
        if mask:
            pictures[f"{slug(name)}-mask"] = Image.fromarray(masks[name].astype(np.uint8) * 255)
    for name, picture in pictures.items():
        save_png(picture, folder / f"{name}.png")
    arrays = {slug(name): values for name, values in maps.items()}
    np.savez_compressed(folder / "maps.npz", allow_pickle=False, **arrays)
    return [*(folder / f"{name}.png" for name in pictures), folder / "maps.npz"]
