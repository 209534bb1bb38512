"""A map over a photo, by hand."""

import numpy as np
import pytest
from PIL import Image

from suite.report.overlay import draw_map, overlay, scale


def test_overlay_by_hand() -> None:
    photo = np.full((1, 3, 3), 100, np.uint8)
    signed = overlay(photo, np.array([[-2.0, 0.0, 1.0]], np.float32), 1.0, signed=True)[0].astype(int)
    assert set(signed[1]) <= {54, 55}  # 0 shows the darkened grey photo alone: 0.55 * 100
    assert signed[0][2] > signed[0][0]  # below 0 is blue
    assert signed[2][0] > signed[2][2]  # above 0 is orange
    plain = overlay(photo, np.array([[0.0, 0.5, 1.0]], np.float32), 1.0, signed=False)[0].astype(int)
    assert plain[0].sum() < plain[1].sum() < plain[2].sum()


def test_scale_clips_outliers_but_never_to_nothing() -> None:
    values = np.zeros((100, 100), np.float32)
    assert scale(values) == 0
    values[0, 0] = 5
    assert scale(values) == 5  # more than 99% are 0: the maximum then
    values = np.linspace(-1, 1, 10001, dtype=np.float32)
    values[0] = -1000
    assert scale(values) == pytest.approx(0.99, abs=1e-3)
    assert scale(np.array([np.nan, 1.0], np.float32)) == 0


def test_a_small_map_is_enlarged_to_the_photo() -> None:
    photo = Image.new("RGB", (40, 20), (100, 100, 100))
    picture = np.asarray(draw_map(np.array([[0.0, 1.0]]), photo, 1.0, signed=False)).astype(int).sum(2)
    assert picture.shape == (20, 40)
    assert picture[10, 0] < picture[10, 20] < picture[10, 39]
