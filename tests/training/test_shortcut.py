"""Patches: ten corners, and what is measured inside them, by hand."""

import pytest
import torch

from suite.data.digits import Pictures
from suite.metrics.localisation import mass_inside
from suite.studies.shortcut.study import pointing
from suite.training import fit
from suite.training.shortcut import SIZE, regions

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def tiny_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(20)
    made = torch.rand(200, 3, 28, 28, generator=generator)
    monkeypatch.setattr(fit, "_pictures", lambda *_: Pictures(made, labels, made[:50], labels[:50]))


def test_patches_are_ten_places_and_measured_by_hand():
    inside = regions(torch.arange(10), 28)
    assert inside.sum((1, 2)).tolist() == [SIZE**2] * 10
    assert inside.sum(0).max() == 1
    size = torch.zeros(3, 28, 28, dtype=torch.float64)
    size[0][inside[0]], size[1, 20, 14] = 2.0, 1.0
    assert mass_inside(size[:2], inside[:2]).tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[:2].tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[2].isnan()
