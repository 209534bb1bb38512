"""Patches: ten corners, and what is measured inside them, by hand."""

import pytest
import torch
from small_digits import tiny_pictures  # noqa: F401 - a fixture of every test

from suite.metrics.localisation import mass_inside
from suite.studies.shortcut.study import pointing
from suite.training.shortcut import SIZE, regions

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


def test_patches_are_ten_places_and_measured_by_hand():
    inside = regions(torch.arange(10), 28)
    assert inside.sum((1, 2)).tolist() == [SIZE**2] * 10
    assert inside.sum(0).max() == 1
    size = torch.zeros(3, 28, 28, dtype=torch.float64)
    size[0][inside[0]], size[1, 20, 14] = 2.0, 1.0
    assert mass_inside(size[:2], inside[:2]).tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[:2].tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[2].isnan()
