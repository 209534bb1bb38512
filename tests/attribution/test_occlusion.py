"""Occlusion of a linear network, and windows that cover every pixel."""

import pytest
import torch
from known import DOUBLE, TARGETS, close, weights_of
from networks import pictures

from suite.attribution.occlusion import Occlusion, windows


def test_occlusion_of_a_linear_network(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    one = Occlusion(window=1, stride=1, baseline="zeros")(linear, x, TARGETS)
    close(one, (w * x).sum(1, keepdim=True))
    found = Occlusion(window=4, stride=3, baseline="white")(linear, x, TARGETS)
    lost, cover = torch.zeros_like(one), torch.zeros(8, 8, dtype=DOUBLE)
    for top in (0, 3, 6):
        for left in (0, 3, 6):
            place = (slice(top, top + 4), slice(left, left + 4))
            loss = (w * (x - 1))[:, :, *place].sum((1, 2, 3))
            lost[:, :, *place] += loss.view(-1, 1, 1, 1)
            cover[place] += 1
    close(found, lost / cover)


@pytest.mark.parametrize(("side", "window", "stride"), [(8, 3, 2), (9, 4, 4), (5, 9, 1), (10, 3, 3), (7, 7, 7)])
def test_every_pixel_is_occluded_and_no_window_is_empty(side, window, stride):
    covered = torch.zeros(side, side)
    for rows, columns in windows(side, side, window, stride):
        assert covered[rows, columns].numel() > 0
        covered[rows, columns] += 1
    assert covered.min() >= 1
