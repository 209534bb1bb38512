"""What `suite explain` leaves behind."""

from pathlib import Path

import numpy as np
from PIL import Image

from suite.report.explained import Explanation, write_explained

PHOTO = np.full((40, 60, 3), 90, np.uint8)
MAPS = {"grad cam": np.eye(8, dtype=np.float32), "flat": np.zeros((8, 8), np.float32)}
MASKS = {"grad cam": np.eye(40, 60) > 0, "flat": np.zeros((40, 60), bool)}


def written(folder: Path, **asked: bool) -> set[str]:
    boxes = {"grad cam": (5, 10, 25, 30), "flat": None}
    explanations = {name: Explanation(MAPS[name], name != "flat", MASKS[name], box) for name, box in boxes.items()}
    paths = write_explained(folder, PHOTO, explanations, **asked)
    assert all(path.is_file() for path in paths)
    return {path.name for path in paths}


def test_maps_have_the_photos_size_and_crops_the_box(tmp_path: Path) -> None:
    assert written(tmp_path, crop=False, mask=False) == {"photo.png", "grad_cam.png", "flat.png", "maps.npz"}
    names = written(tmp_path, crop=True, mask=True) - {"photo.png", "grad_cam.png", "flat.png", "maps.npz"}
    assert names == {"grad_cam-crop.png", "grad_cam-mask.png", "flat-mask.png"}  # no box, no crop
    drawn = {path.stem: np.asarray(Image.open(path)) for path in tmp_path.glob("*.png")}
    assert drawn["flat"].shape == drawn["grad_cam"].shape == (40, 60, 3)
    assert drawn["grad_cam-crop"].shape == (20, 20, 3)
    np.testing.assert_array_equal(drawn["grad_cam-mask"] > 0, MASKS["grad cam"])
    np.testing.assert_array_equal(np.load(tmp_path / "maps.npz")["grad_cam"], MAPS["grad cam"])
