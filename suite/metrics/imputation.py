"""ROAD's imputation: removed pixels from their neighbours. Pure functions; knows no method, study or file."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_TOLERANCE = 1e-4  # largest error of an imputed pixel, in pixel units: a hundredth of ROAD's noise
_REDUCTION = 5e-3  # of the error by one correction in the images' precision
_MOST_CORRECTIONS, _MOST_ITERATIONS = 20, 100


class _Grid(NamedTuple):
    """One grid of the multigrid cycle: its unknowns (N, 1, h, w), 1 or 0, the stencil's diagonal, and its inverse."""

    unknown: Tensor
    degree: Tensor
    inverse: Tensor


def impute(images: Tensor, removed: Tensor) -> Tensor:
    """Removed pixels become the weighted mean of their neighbours, which may be removed too: a linear system.

    Weights are 1/6 for the four that share a side and 1/12 for the four at the corners, renormalised at the border.
    Conjugate gradients with a multigrid cycle as preconditioner, because a blob's middle is many steps from its rim;
    their corrections are added in float64, because float32 loses 1e-3 on half a photo. They end where the estimated
    error, the share that a correction leaves of itself, is below 1e-4 in pixel units.

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022 (ROAD),
    without its noise, which is added by the caller; Tatebe, The Multigrid Preconditioned Conjugate Gradient Method,
    1993.

    Args:
        images: (N, C, H, W).
        removed: (N, 1, H, W) bool, not all of any image.

    Raises:
        ValueError: nothing is left of an image.
    """
    if bool(removed.flatten(1).all(1).any()):
        raise ValueError("an image has no pixel left to impute from: remove less than all")
    grids = _grids(removed.to(images))
    gone, exact = removed.double(), images.double() * ~removed
    exact = exact + gone * (exact.sum((2, 3), keepdim=True) / (~removed).sum((2, 3), keepdim=True))
    degree = _neighbours(torch.ones_like(gone[:1]))
    for _ in range(_MOST_CORRECTIONS):
        correction = _corrected(((_neighbours(exact) - degree * exact) * gone).to(images), grids)
        exact = exact + correction
        if _REDUCTION * float(correction.abs().max()) < _TOLERANCE / 2:
            break
    return torch.where(removed, exact.to(images), images)


def _grids(unknown: Tensor) -> list[_Grid]:
    """From fine to coarse, each of half the side; a coarse cell is unknown where all it reaches on the finer grid is.

    Scattered pixels have the finest grid alone.
    """
    grids: list[_Grid] = []
    while not grids or (bool(unknown.any()) and min(unknown.shape[2:]) > 1):
        degree = _neighbours(torch.ones_like(unknown[:1]))
        grids.append(_Grid(unknown, degree, unknown / degree))
        padded = F.pad(1 - unknown, (1, 1 + unknown.shape[3] % 2, 1, 1 + unknown.shape[2] % 2))
        unknown = 1 - F.max_pool2d(padded, 4, stride=2)
    return grids


def _corrected(residual: Tensor, grids: list[_Grid]) -> Tensor:
    """The solution (N, C, H, W) for a right-hand side, to `_REDUCTION` of its largest value."""
    solution = torch.zeros_like(residual)
    direction = conditioned = _cycle(residual, grids)
    power = (residual * conditioned).sum((2, 3), keepdim=True)
    for _ in range(_MOST_ITERATIONS):
        image = _applied(direction, grids[0])
        length = power / (direction * image).sum((2, 3), keepdim=True).clamp_min(1e-30)
        step, residual = length * direction, residual - length * image
        solution += step
        if float(step.abs().max()) <= _REDUCTION * float(solution.abs().max()):
            break
        conditioned = _cycle(residual, grids)
        before, power = power, (residual * conditioned).sum((2, 3), keepdim=True)
        direction = conditioned + power / before.clamp_min(1e-30) * direction
    return solution


def _cycle(residual: Tensor, grids: list[_Grid]) -> Tensor:
    """One symmetric V-cycle: a Jacobi step before and after the coarser grid's correction."""
    fine, *coarser = grids
    solution = residual * fine.inverse
    if not coarser:
        return solution
    left = _smooth(residual - _applied(solution, fine))
    left = F.pad(left, (0, left.shape[3] % 2, 0, left.shape[2] % 2))
    rows = left[..., ::2, :] + left[..., 1::2, :]
    below = _cycle((rows[..., ::2] + rows[..., 1::2]) * coarser[0].unknown, coarser)
    above = below.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : residual.shape[2], : residual.shape[3]]
    solution += _smooth(above) * fine.unknown
    return solution + (residual - _applied(solution, fine)) * fine.inverse


def _applied(planes: Tensor, grid: _Grid) -> Tensor:
    """The linear system's matrix times planes that are 0 where the grid has no unknowns."""
    return (grid.degree * planes).sub_(_neighbours(planes)).mul_(grid.unknown)


def _smooth(planes: Tensor) -> Tensor:
    """The stencil [1 2 1] x [1 2 1] / 16: before sums over 2 x 2 it restricts, after copies it interpolates."""
    return _neighbours(planes).mul_(3 / 4).add_(planes, alpha=1 / 4)


def _neighbours(planes: Tensor) -> Tensor:
    """The weighted sum of the eight neighbours: the stencil [1 2 1] x [1 2 1] / 12 without its middle."""
    padded = F.pad(planes, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 2:, :]
    rows.add_(padded[..., 1:-1, :], alpha=2)
    both = rows[..., :-2] + rows[..., 2:]
    return both.add_(rows[..., 1:-1], alpha=2).mul_(1 / 12).sub_(planes, alpha=1 / 3)
