"""Pictures as tensors: 8 bits, PNG, luminance, blur."""

import pytest
import torch
from known import DOUBLE, close
from networks import pictures

from suite.core.pixels import as_saved, from_png, gaussian_blur, luminance, pixels, png, write_png
from suite.errors import SuiteError


def test_blur_equals_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = pictures(2, (20, 31), dtype=DOUBLE)
    wanted = ndimage.gaussian_filter(x.numpy(), (0, 0, 3.0, 3.0), mode="nearest")
    close(gaussian_blur(x, 3.0), torch.from_numpy(wanted), 1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_what_8_bits_hold(tmp_path, channels):
    x = 1.2 * pictures(1, (5, 7))[:, :channels] - 0.1  # past both ends
    saved = as_saved(x)
    assert torch.equal(from_png(png(x[0])), saved[0])
    assert torch.equal(write_png(x[0], tmp_path / "x.png"), saved)
    assert torch.equal(as_saved(saved), saved)
    assert pixels(x[0]).shape == (5, 7, channels)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SuiteError, match="folder: the picture cannot be written"):
        write_png(x[0], tmp_path / "folder")


def test_luminance_of_the_primaries():
    primaries = torch.eye(3).view(3, 3, 1, 1)
    assert luminance(primaries).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert luminance(torch.ones(2, 4, 1, 1)).flatten().tolist() == [1, 1]
