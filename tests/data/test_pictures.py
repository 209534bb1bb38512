"""Pictures by path, by name, or by what stands in."""

import numpy as np
import pytest
from PIL import Image

from suite.data.pictures import find_picture, load_picture, packaged, picture_or_stand_in
from suite.errors import ImageError


def test_pictures_by_name_and_by_path(tmp_path) -> None:
    assert {"astronaut", "coffee", "rocket", "chelsea"} <= packaged().keys()
    for path in packaged().values():
        image, _ = load_picture(path, 32)
        assert min(image.shape[2:]) == 32
        assert image.shape[:2] == (1, 3)
    with pytest.raises(ImageError, match="did you mean 'astronaut'"):
        find_picture("astronot")
    Image.fromarray(np.zeros((10, 100, 3), np.uint8)).save(tmp_path / "thin.png")
    with pytest.raises(ImageError, match="crop it first"):
        load_picture(tmp_path / "thin.png", 32)


def test_a_picture_of_ones_own_comes_before_what_stands_in(tmp_path) -> None:
    assert picture_or_stand_in("starry_night", "") == (
        packaged()["hubble_deep_field"],
        "hubble_deep_field stands in for starry_night",
    )
    assert picture_or_stand_in("coffee", str(tmp_path)) == (packaged()["coffee"], "")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "starry_night.png")
    assert picture_or_stand_in("starry_night", str(tmp_path)) == (tmp_path / "starry_night.png", "")
    with pytest.raises(ImageError, match="no such folder"):
        picture_or_stand_in("coffee", str(tmp_path / "none"))
