"""The pictures that `suite explain` leaves: maps over the photo, and the object cut out. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from suite.report.pictures import save_png
from suite.report.style import slug
from suite.report.tiles import map_tile


class Explanation(NamedTuple):
    """One method's map of a photo (H, W), and the object by that map alone.

    Attributes:
        values: (h, w) the map, its channels summed.
        signed: whether the map's sign means something.
        mask: (H, W) the object.
        box: (x0, y0, x1, y1) the smallest box around the mask, None around an empty one.
    """

    values: NDArray[np.float32]
    signed: bool
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int] | None


def write_explained(
    folder: Path, photo: NDArray[np.uint8], explanations: Mapping[str, Explanation], *, crop: bool, mask: bool
) -> list[Path]:
    """Writes `photo.png`, each map as `<method>.png`, and on request `<method>-crop.png` and `<method>-mask.png`.

    `explanations` are by method. A method whose mask is empty has no crop. The maps' own numbers are in `maps.npz`.
    """
    photo_image = Image.fromarray(photo)
    pictures = {"photo": photo_image}
    for method, explanation in explanations.items():
        name = slug(method)
        tile = map_tile(method, explanation.values, explanation.signed)
        pictures[name] = tile.draw(photo_image, max(photo_image.size))
        if crop and explanation.box is not None:
            pictures[f"{name}-crop"] = photo_image.crop(explanation.box)
        if mask:
            pictures[f"{name}-mask"] = Image.fromarray(explanation.mask.astype(np.uint8) * 255)
    for name, picture in pictures.items():
        save_png(picture, folder / f"{name}.png")
    arrays = {slug(method): explanation.values for method, explanation in explanations.items()}
    np.savez_compressed(folder / "maps.npz", allow_pickle=False, **arrays)
    return [*(folder / f"{name}.png" for name in pictures), folder / "maps.npz"]
