"""Is the map where the object is? Pure functions of maps and masks; knows no method, network, study or file.

Maps are (B, H, W) real numbers of which only the positive part is evidence; masks are (B, H, W) bool, True on the
object; boxes are (x0, y0, x1, y1) in pixels, the far ends not included. What is undefined is NaN.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

Box = tuple[int, int, int, int]
THRESHOLD = 0.2  # of the maximum, as Zhou et al. 2016 cut class activation maps
_PASTED = 0.6  # of the side
_TOLERANCE = 15 / 224  # of the side: the pointing game's 15 pixels


def mass_inside(a: Tensor, inside: Tensor) -> Tensor:
    """Share of the positive mass that lies inside: (B,) in [0, 1]; NaN without positive mass.

    Source: Arras, Osman and Samek, CLEVR-XAI, 2022 (relevance mass accuracy); per cell of a mosaic it is the grid
    pointing game's L_i (Böhle, Fritz and Schiele, Convolutional Dynamic Alignment Networks, CVPR 2021).
    """
    positive = a.double().clamp_min(0)
    return (positive * inside).sum((1, 2)) / positive.sum((1, 2))


def rank_inside(ranks: Tensor, inside: Tensor) -> Tensor:
    """Share of the K highest pixels that lie inside, K the object's size (relevance rank accuracy, Arras et al. 2022).

    Args:
        ranks: (B, H, W), from `faithfulness.removal_ranks`.
        inside: (B, H, W) bool; an empty one gives NaN.
    """
    size = inside.flatten(1).sum(1)
    return ((ranks < size.view(-1, 1, 1)) & inside).flatten(1).sum(1).double() / size


def pointing(a: Tensor, inside: Tensor) -> Tensor:
    """Share of a map's highest pixels within 15/224 of the side of the object: 1 or 0 where there is one highest.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016. Ties are shared out, so that a
    constant map scores what a random point would.
    """
    reach = max(1, round(_TOLERANCE * max(a.shape[1:])))
    wide = torch.nn.functional.max_pool1d(inside.float(), 2 * reach + 1, 1, reach)  # (B, H, W), then down
    near = torch.nn.functional.max_pool1d(wide.transpose(1, 2), 2 * reach + 1, 1, reach).transpose(1, 2).double()
    highest = (a == a.amax((1, 2), keepdim=True)).double()
    found: Tensor = (highest * near).sum((1, 2)) / highest.sum((1, 2))
    return found.masked_fill(~inside.flatten(1).any(1), torch.nan)


def object_masks(a: Tensor) -> Tensor:
    """Where a map alone says the object is: the largest connected region above a fifth of the maximum.

    The map is first smoothed with a Gaussian of 1/28 of the side, so that a gradient's specks are one region, not many.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section 3.2; the smoothing
    is ours, and the same for all methods.

    Returns:
        (B, H, W) bool, empty for a map without positive values.
    """
    found = []
    for values in a.double().clamp_min(0).cpu().numpy():
        smooth = ndimage.gaussian_filter(values, max(values.shape) / 28)
        regions, count = ndimage.label(smooth > THRESHOLD * smooth.max())
        sizes = np.bincount(regions.ravel(), minlength=2)[1:]
        found.append(regions == sizes.argmax() + 1 if count else np.zeros(values.shape, bool))
    return torch.from_numpy(np.stack(found)).to(a.device)


def box_of(mask: Tensor) -> Box | None:
    """The smallest box around a mask (H, W); None around an empty one."""
    rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """(B, H, W) bool twice -> (B,) float64; NaN where both are empty."""
    return (a & b).flatten(1).sum(1).double() / (a | b).flatten(1).sum(1)


def filled(boxes: list[Box], size: tuple[int, int]) -> Tensor:
    """(H, W) bool: True in any of the boxes."""
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def mosaic(images: Tensor, side: int) -> Tensor:
    """(side * side, C, H, W) -> (1, C, side H, side W), in reading order."""
    rows = images.reshape(side, side, *images.shape[1:])
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2).unsqueeze(0)


def cells(side: int, size: tuple[int, int]) -> Tensor:
    """(side * side, side H, side W) bool: the cells of such a mosaic."""
    height, width = size
    boxes = [(c * width, r * height, (c + 1) * width, (r + 1) * height) for r in range(side) for c in range(side)]
    return torch.stack([filled([box], (side * height, side * width)) for box in boxes])


def composite(image: Tensor, ground: Tensor, corner: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """A photo at 0.6 of its size, cut out as an ellipse and laid on another: a picture whose object's place is known.

    Args:
        image: (C, H, W), what is laid on.
        ground: (C, H, W), what it is laid on.
        corner: where, (down, across), each in [0, 1): 0 at the top or left, towards 1 at the bottom or right.

    Returns:
        the composite (C, H, W) and its truth (H, W) bool.
    """
    height, width = round(_PASTED * image.shape[1]), round(_PASTED * image.shape[2])
    small = torch.nn.functional.interpolate(
        image.unsqueeze(0), size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
    y = ((2 * torch.arange(height, device=image.device) + 1) / height - 1).view(-1, 1)
    x = ((2 * torch.arange(width, device=image.device) + 1) / width - 1).view(1, -1)
    down, across = (
        int(c * (full - part + 1)) for c, full, part in zip(corner, image.shape[1:], (height, width), strict=True)
    )
    place = (..., slice(down, down + height), slice(across, across + width))
    made, truth = ground.clone(), torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
    truth[place] = y**2 + x**2 <= 1
    made[place] = torch.where(truth[place], small, ground[place])
    return made, truth
