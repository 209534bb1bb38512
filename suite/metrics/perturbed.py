"""What a network says of pictures without some of their pixels. Pure functions; knows no method, study or file.

Nothing here draws random numbers: what is random is an argument. Orders and subsets are of pixels, all channels of one
together.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from suite.core.network import scores_of
from suite.core.state import in_use


class TargetOutputs(NamedTuple):
    """What the network says of S copies of B images, each (B, S): the target's score, its softmax, is it the top."""

    score: Tensor
    probability: Tensor
    top: Tensor


def target_outputs(scores: Tensor, targets: Tensor) -> TargetOutputs:
    """Of (B, S, K) scores and (B,) targets, in float64."""
    exact = scores.double()
    at = targets.view(-1, 1, 1).expand(-1, exact.shape[1], 1)
    score, probability = (t.gather(2, at).squeeze(2) for t in (exact, exact.softmax(2)))
    return TargetOutputs(score, probability, (exact.argmax(2) == targets[:, None]).double())


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
            few, parts = slice(i, i + at_once), []
            for k in range(0, steps, stride):
                part = slice(k, k + stride)
                other = others[few, part] if others.shape[1] > 1 else others[few]
                copies = torch.where(masks[few, part].unsqueeze(2), other, images[few].unsqueeze(1))  # (b, s, C, H, W)
                scores = scores_of(model, copies.flatten(0, 1).contiguous(memory_format=layout))
                parts.append(scores.view(*copies.shape[:2], -1))
            rows.append(torch.cat(parts, 1))
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
    positions = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, positions).view(values.shape)


def first_removed(ranks: Tensor, shares: Tensor) -> Tensor:
    """(B, S, H, W) bool: the pixels among the first share (S,) of an order (B, H, W), rounded to whole pixels."""
    counts = (shares.to(ranks.device).double() * (ranks.shape[1] * ranks.shape[2])).round()
    return ranks.unsqueeze(1) < counts.view(1, -1, 1, 1)
