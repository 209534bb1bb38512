"""One photo explained: its predictions, its maps, and a failure that leaves the other methods alone."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from suite.config import NetworkConfig
from suite.models.load import wrap
from suite.run import explain as module
from suite.run.explain import explain


@pytest.fixture
def photo(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = wrap(tiny.net(), NetworkConfig(name="tiny", input_size=32))
    monkeypatch.setattr(module, "load_model", lambda name, weights: network)
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    return path


def test_numbers_and_maps_are_of_the_top_class_by_default(photo):
    result = explain(photo, "tiny", "default", ["saliency", "grad_cam"], "")
    shares = [line["probability"] for line in result.numbers["predictions"]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert result.numbers["target"] == result.numbers["predictions"][0]
    np.testing.assert_array_equal(result.photo, np.asarray(Image.open(photo)))
    saliency = result.explanations["saliency"]
    assert saliency.values.shape == saliency.mask.shape == (32, 32)
    assert result.numbers["methods"]["saliency"]["box"] == saliency.box
    assert result.numbers["methods"]["saliency"]["mask_share"] == pytest.approx(saliency.mask.mean())


def test_a_method_that_fails_is_named_beside_the_others(photo):
    result = explain(photo, "tiny", "default", ["saliency", "tiny:raising", "tiny:holding_nan"], "3")
    assert result.numbers["target"]["index"] == 3
    assert set(result.explanations) == {"saliency"}
    assert "boom second line" in result.numbers["methods"]["tiny:raising"]["failed"]
    assert "NaN" in result.numbers["methods"]["tiny:holding_nan"]["failed"]
