"""Does the score go where the map says? Pure functions of tensors and a network; knows no method, study or file.

Perturbed copies are batched over images and steps; `room` is how many of them a pass may hold. Nothing here draws
random numbers: what is random is an argument. Orders and subsets are of pixels, all channels of one together.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.core.network import scores_of
from suite.core.state import in_use
from suite.metrics.similarity import spearman

_TOLERANCE = 1e-4  # largest error of an imputed pixel, in pixel units: a hundredth of ROAD's noise
_REDUCTION = 5e-3  # of the error by one correction in the images' precision
_MOST_CORRECTIONS, _MOST_ITERATIONS = 20, 100


class TargetOutputs(NamedTuple):
    """What the network says of S copies of B images, each (B, S): the target's score, its softmax, is it the top."""

    score: Tensor
    probability: Tensor
    top: Tensor


def target_outputs(scores: Tensor, targets: Tensor) -> TargetOutputs:
    """Of (B, S, K) scores and (B,) targets, in float64."""
    found = scores.double()
    at = targets.view(-1, 1, 1).expand(-1, found.shape[1], 1)
    score, probability = (t.gather(2, at).squeeze(2) for t in (found, found.softmax(2)))
    return TargetOutputs(score, probability, (found.argmax(2) == targets[:, None]).double())


def evaluate_perturbed(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    masks: Tensor,
    others: Tensor,
    room: int,
    layout: torch.memory_format = torch.contiguous_format,
) -> TargetOutputs:
    """The network on copies of the images in which masked pixels come from another picture.

    Args:
        model: (B, C, H, W) -> (B, K).
        images: (B, C, H, W).
        targets: (B,).
        masks: (B, S, H, W) bool, True where a copy takes the other picture's pixel.
        others: (B, C, H, W), or one a copy (B, S, C, H, W).
        room: copies in one pass, at least 1.
        layout: memory format in which the network is given them.
    """
    count, steps = masks.shape[:2]
    at_once = min(room, count)
    stride = max(1, room // at_once)
    others = others if others.ndim == 5 else others.unsqueeze(1)
    rows = []
    with in_use(model), torch.no_grad():
        for i in range(0, count, at_once):
            few, found = slice(i, i + at_once), []
            for k in range(0, steps, stride):
                some = slice(k, k + stride)
                other = others[few, some] if others.shape[1] > 1 else others[few]
                copies = torch.where(masks[few, some].unsqueeze(2), other, images[few].unsqueeze(1))  # (b, s, C, H, W)
                scores = scores_of(model, copies.flatten(0, 1).contiguous(memory_format=layout))
                found.append(scores.view(*copies.shape[:2], -1))
            rows.append(torch.cat(found, 1))
    return target_outputs(torch.cat(rows), targets)


def removal_ranks(values: Tensor, shuffled: Tensor) -> Tensor:
    """Each pixel's place when pixels go from the highest value to the lowest.

    Args:
        values: (B, H, W).
        shuffled: (B, H * W) int64, a random permutation an image: tied pixels go in its order, not in the raster's.

    Returns:
        (B, H, W) int64 in 0 .. H * W - 1.
    """
    order = shuffled.gather(1, values.flatten(1).gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(values.shape)


def first_removed(ranks: Tensor, shares: Tensor) -> Tensor:
    """(B, S, H, W) bool: the pixels among the first share (S,) of an order (B, H, W), rounded to whole pixels."""
    counts = (shares.to(ranks.device).double() * (ranks.shape[1] * ranks.shape[2])).round()
    return ranks.unsqueeze(1) < counts.view(1, -1, 1, 1)


def area(curves: Tensor) -> Tensor:
    """(B, S) at even steps over [0, 1], both ends among them -> (B,): the area under it (trapezoids)."""
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def normalised(curves: Tensor, clean: Tensor, gone: Tensor, least: float = 1e-3) -> Tensor:
    """(B, S): 1 at the clean answer (B,), 0 at the wholly perturbed one; NaN where the two are nearer than `least`."""
    span = clean - gone
    scaled: Tensor = (curves - gone[:, None]) / span[:, None]
    return scaled.masked_fill((span < least)[:, None], torch.nan)


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
    found = torch.zeros_like(residual)
    direction = conditioned = _cycle(residual, grids)
    power = (residual * conditioned).sum((2, 3), keepdim=True)
    for _ in range(_MOST_ITERATIONS):
        image = _applied(direction, grids[0])
        length = power / (direction * image).sum((2, 3), keepdim=True).clamp_min(1e-30)
        step, residual = length * direction, residual - length * image
        found += step
        if float(step.abs().max()) <= _REDUCTION * float(found.abs().max()):
            break
        conditioned = _cycle(residual, grids)
        before, power = power, (residual * conditioned).sum((2, 3), keepdim=True)
        direction = conditioned + power / before.clamp_min(1e-30) * direction
    return found


def _cycle(residual: Tensor, grids: list[_Grid]) -> Tensor:
    """One symmetric V-cycle: a Jacobi step before and after the coarser grid's correction."""
    fine, *coarser = grids
    found = residual * fine.inverse
    if not coarser:
        return found
    left = _smooth(residual - _applied(found, fine))
    left = F.pad(left, (0, left.shape[3] % 2, 0, left.shape[2] % 2))
    rows = left[..., ::2, :] + left[..., 1::2, :]
    below = _cycle((rows[..., ::2] + rows[..., 1::2]) * coarser[0].unknown, coarser)
    above = below.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : residual.shape[2], : residual.shape[3]]
    found += _smooth(above) * fine.unknown
    return found + (residual - _applied(found, fine)) * fine.inverse


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


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """(B, n) and (B, n) -> (B,) in [-1, 1]; NaN where either is constant."""
    a, b = (t.double() - t.double().mean(1, keepdim=True) for t in (a, b))
    scale = a.norm(dim=1) * b.norm(dim=1)
    flat = (a.abs().amax(1) == 0) | (b.abs().amax(1) == 0)
    found: Tensor = (a * b).sum(1) / scale
    return found.clamp(-1, 1).masked_fill(flat, torch.nan)


def subset_sums(values: Tensor, masks: Tensor) -> Tensor:
    """(B, H, W) and (B, S, H, W) bool -> (B, S) float64: what the map says of each removed subset."""
    return torch.einsum("bshw,bhw->bs", masks.to(values.dtype), values).double()


def faithfulness_correlation(sums: Tensor, drops: Tensor) -> Tensor:
    """Pearson's correlation over subsets of what the map says of one with what removing it costs: (B, S) -> (B,).

    Source: Bhatt, Weller and Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
    """
    return pearson(sums, drops)


def mu_fidelity(sums: Tensor, drops: Tensor) -> Tensor:
    """Spearman's correlation of the same, on superpixels: (B, S) -> (B,).

    Source: Fel et al., How Good is your Explanation? Algorithmic Stability Measures, WACV 2022.
    """
    return spearman(sums, drops)


def infidelity(predicted: Tensor, drops: Tensor, *, normalise: bool = True) -> Tensor:
    """Mean over perturbations I of (b I.a - (f(x) - f(x - I)))^2: (B, S) -> (B,), in squared score units.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019. Captum: `infidelity`, to
    which it is equal, with `normalize=True` where b = E[(I.a)(drop)] / E[(I.a)^2], so that the map's scale is no
    matter; b = 1 otherwise.

    Args:
        predicted: I.a for each perturbation.
        drops: f(x) - f(x - I).
        normalise: see above; a map that predicts 0 of all perturbations keeps b = 1, as in Captum.
    """
    predicted, drops = predicted.double(), drops.double()
    if normalise:
        over, under = (predicted * drops).mean(1, keepdim=True), predicted.square().mean(1, keepdim=True)
        predicted = predicted * torch.where(under == 0, 1.0, over / under)
    return (predicted - drops).square().mean(1)
