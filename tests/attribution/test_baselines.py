"""Baselines."""

import pytest
import torch
from networks import pictures

from suite.attribution.baselines import baseline, check_baseline
from suite.core.pixels import as_saved, write_png
from suite.errors import ConfigError


def test_mean_baseline_needs_three_channels():
    with pytest.raises(ConfigError, match="3 channels"):
        baseline("mean", torch.zeros(1, 1, 8, 8))


def test_kinds():
    x = pictures(2)
    assert not baseline("zeros", x).any()
    assert bool((baseline("white", x) == 1).all())
    assert baseline("mean", x)[0, :, 3, 4].tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert torch.equal(baseline(torch.full((1, 3, 1, 1), 0.3), x), torch.full_like(x, 0.3))
    blurred = baseline("blurred", x)
    assert float(blurred.std()) < 0.5 * float(x.std())


def test_a_picture_as_baseline(tmp_path):
    x = pictures(2)
    write_png(x[0], tmp_path / "x.png")
    assert torch.equal(baseline(f"image:{tmp_path / 'x.png'}", x), as_saved(x[:1]).expand_as(x))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="did you mean 'white'"):
        check_baseline("whit")
