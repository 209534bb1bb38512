"""What keeps a picture a picture: blur, spectra, turns."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from suite.synthesis.image_parameters import blur, fourier_image, fourier_spectrum, turned


@pytest.mark.parametrize("sigma", [0.5, 2.0])
@pytest.mark.parametrize("size", [(24, 17), (3, 2)])
def test_blur_is_scipys_reflect(size, sigma) -> None:
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    expected = gaussian_filter1d(gaussian_filter1d(x.numpy(), sigma, axis=2), sigma, axis=3)
    np.testing.assert_allclose(blur(x, sigma).numpy(), expected, atol=1e-12)


def test_fourier_pictures_are_valid_and_any_picture_has_its_spectrum() -> None:
    photo = torch.rand(2, 3, 15, 22, dtype=torch.float64) * 0.9 + 0.05
    torch.testing.assert_close(fourier_image(fourier_spectrum(photo), 22), photo)
    wild = fourier_image(torch.randn(1, 3, 15, 12, 2) * 100, 22)
    assert 0 <= wild.min() <= wild.max() <= 1


def test_turning_moves_right_and_down_and_brings_in_grey() -> None:
    x, none = torch.rand(1, 3, 12, 20), torch.zeros(1)
    torch.testing.assert_close(turned(x, torch.zeros(1, 2), none + 1, none), x)
    moved = turned(x, torch.tensor([[3.0, 2.0]]), none + 1, none)
    torch.testing.assert_close(moved[:, :, 2:, 3:], x[:, :, :-2, :-3])
    assert (moved[:, :, :2] == 0.5).all()
    quarter = turned(x[..., :12], torch.zeros(1, 2), none + 1, none + torch.pi / 2)
    torch.testing.assert_close(quarter, x[..., :12].rot90(1, (2, 3)), atol=1e-5, rtol=0)
