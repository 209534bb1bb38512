"""ROAD's imputation against scipy's direct solution of the same linear system."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from suite.metrics.imputation import impute

T = torch.tensor


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def _solved(planes, removed):
    """The same linear system by scipy's direct solver: (C, H, W) and (H, W) bool -> (C, H, W)."""
    height, width = removed.shape
    values, right = {}, np.where(removed, 0.0, planes.double()).reshape(len(planes), -1).T
    for here, (y, x) in enumerate(np.ndindex(height, width)):
        values[here, here] = 1.0
        if not removed[y, x]:
            continue
        steps = [
            (j, i) for j in (-1, 0, 1) for i in (-1, 0, 1) if (j or i) and 0 <= y + j < height and 0 <= x + i < width
        ]
        weights = [1 / 6 if j == 0 or i == 0 else 1 / 12 for j, i in steps]
        for (j, i), weight in zip(steps, weights, strict=True):
            values[here, (y + j) * width + x + i] = -weight / sum(weights)
    where = np.array(list(values)).T
    matrix = coo_matrix((list(values.values()), tuple(where))).tocsc()
    return T(spsolve(matrix, right).T.reshape(planes.shape))


def _disc(size):
    y, x = (torch.linspace(-1, 1, side) for side in size)
    return y[:, None] ** 2 + x**2 < 0.7


MASKS = {
    "scattered": lambda size: torch.rand(size, generator=draw(1)) < 0.6,
    "nearly all": lambda size: (torch.rand(size, generator=draw(1)) < 0.97).index_fill(0, T(0), False),
    "a disc": _disc,
    "a half": lambda size: torch.arange(size[1]).expand(size) >= size[1] // 2,
    "all but a corner": lambda size: torch.arange(size[0] * size[1]).view(size) > 0,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [(17, 23), (3, 5), (64, 64)])
def test_imputation_solves_the_linear_system_to_its_tolerance(mask, size):
    images, removed = torch.rand(2, 3, *size, generator=draw()), MASKS[mask](size)
    images[1] = images[1].sort(-1).values  # smooth, with a large difference from side to side
    flipped = removed.flip(0, 1)
    found = impute(images, torch.stack([removed, flipped]).unsqueeze(1))
    for image, one, gone in zip(images, found, (removed, flipped), strict=True):
        torch.testing.assert_close(one.double(), _solved(image, gone), atol=1e-4, rtol=0)
        assert torch.equal(one[:, ~gone], image[:, ~gone])


def test_imputation_of_half_a_photo_is_not_spoilt_by_rounding():
    """Left known, right removed: each row's own colour goes on, but for the eight neighbours' mixing of rows."""
    ramp = torch.linspace(0, 1, 224).view(1, 1, 1, 224).expand(1, 3, 224, 224)
    gone = MASKS["a half"]((224, 224)).view(1, 1, 224, 224)
    found = impute(ramp, gone)
    assert float((found[..., 112:] - ramp[..., 111:112]).abs().max()) < 1e-4  # float32 alone is 6e-4 off


def test_imputing_from_nothing_is_refused():
    with pytest.raises(ValueError, match="remove less than all"):
        impute(torch.rand(1, 3, 6, 6), torch.ones(1, 1, 6, 6, dtype=torch.bool))
