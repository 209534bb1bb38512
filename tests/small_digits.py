"""Two hundred random pictures in the place of the digits, and a cache of their own, for tests that train."""

import pytest
import torch

from suite.data.digits import Pictures
from suite.training import fit


@pytest.fixture(autouse=True)
def tiny_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(20)
    pictures = torch.rand(200, 3, 28, 28, generator=generator)
    monkeypatch.setattr(fit, "_pictures", lambda *_: Pictures(pictures, labels, pictures[:50], labels[:50]))
