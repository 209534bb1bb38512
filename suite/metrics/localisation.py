"""Is the map where the object is? Pure functions of maps and masks; knows no method, network, study or file.

Maps are (B, H, W) real numbers of which only the positive part is evidence; masks are (B, H, W) bool, True on the
object; boxes are (x0, y0, x1, y1) in pixels, the far ends not included. What is undefined is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from suite.metrics.cards import Card
from suite.metrics.perturbed import removal_ranks

Box = tuple[int, int, int, int]
THRESHOLD = 0.2  # of the maximum, as Zhou et al. 2016 cut class activation maps
_PASTED = 0.6  # of the side
_TOLERANCE = 15 / 224  # of the side: the pointing game's 15 pixels


@dataclass(frozen=True)
class Scene:
    """Maps of pictures whose object's place is known, with what several metrics need of them computed once.

    Attributes:
        evidence: (B, H, W) maps, of which the positive part counts.
        truth: (B, H, W) bool, where the object is.
        boxes: the objects' boxes in each picture, none where nothing is known.
        shuffled: (B, H * W) the order of tied pixels, see `removal_ranks`.
    """

    evidence: Tensor
    truth: Tensor
    boxes: Sequence[Sequence[Box]]
    shuffled: Tensor

    def __len__(self) -> int:
        return len(self.evidence)

    @cached_property
    def regions(self) -> Tensor:
        """See `object_masks`."""
        return object_masks(self.evidence)

    @cached_property
    def overlaps(self) -> Tensor:
        """(B,) of the region's box with that of the object it fits best, in [0, 1]; NaN without any."""
        best = []
        for box, objects in zip(map(box_of, self.regions), self.boxes, strict=True):
            best.append(max((box_iou(box, other) for other in objects), default=torch.nan) if box else 0.0)
        return torch.tensor(best, dtype=torch.float64, device=self.truth.device)


def mass_inside(a: Tensor, inside: Tensor) -> Tensor:
    """Share of the positive mass that lies inside: (B,) in [0, 1]; NaN without positive mass."""
    positive = a.double().clamp_min(0)
    return (positive * inside).sum((1, 2)) / positive.sum((1, 2))


def pointing(a: Tensor, inside: Tensor, reach: int) -> Tensor:
    """Share of a map's highest pixels at most `reach` pixels from the object: 1 or 0 where there is one highest.

    Ties are shared out, so that a constant map scores what a random point would; NaN where there is no object.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016.
    """
    wide = torch.nn.functional.max_pool1d(inside.float(), 2 * reach + 1, 1, reach)  # (B, H, W), then down
    near = torch.nn.functional.max_pool1d(wide.transpose(1, 2), 2 * reach + 1, 1, reach).transpose(1, 2).double()
    highest = (a == a.amax((1, 2), keepdim=True)).double()
    share: Tensor = (highest * near).sum((1, 2)) / highest.sum((1, 2))
    return share.masked_fill(~inside.flatten(1).any(1), torch.nan)


@Card(
    takes="scene",
    asked=("grid",),
    better="higher",
    span="[0, 1], chance 1 / cells",
    cost="one map of a mosaic a cell",
    paper="Böhle et al. 2021; Rao et al. 2022",
)
def grid_pointing(scene: Scene) -> Tensor:
    """Share of the positive mass in the cell whose class is explained, in a mosaic of confidently classified photos.

    Source: Böhle, Fritz and Schiele, Convolutional Dynamic Alignment Networks, CVPR 2021 (L_i).
    """
    return mass_inside(scene.evidence, scene.truth)


@Card(takes="scene", better="higher", span="0 or 1", paper="Zhang et al. 2016", also=("control_center_point",))
def pointing_game(scene: Scene) -> Tensor:
    """Whether the highest pixel is on the object, within 15/224 of the side."""
    return pointing(scene.evidence, scene.truth, max(1, round(_TOLERANCE * max(scene.evidence.shape[1:]))))


@Card(takes="scene", better="higher", span="[0, 1]", paper="Arras et al. 2022", also=("control_center_point",))
def mass_accuracy(scene: Scene) -> Tensor:
    """Share of the positive mass on the object.

    Source: Arras, Osman and Samek, CLEVR-XAI, 2022 (relevance mass accuracy).
    """
    return mass_inside(scene.evidence, scene.truth)


@Card(takes="scene", better="higher", span="[0, 1]", paper="Arras et al. 2022", also=("control_center_point",))
def rank_accuracy(scene: Scene) -> Tensor:
    """Share of the K highest pixels on an object of K.

    Source: Arras, Osman and Samek, CLEVR-XAI, 2022 (relevance rank accuracy).
    """
    ranks, size = removal_ranks(scene.evidence, scene.shuffled), scene.truth.flatten(1).sum(1)
    return ((ranks < size.view(-1, 1, 1)) & scene.truth).flatten(1).sum(1).double() / size


@Card(takes="scene", better="higher", span="[0, 1]", paper="Zhou et al. 2016", also=("control_center_point",))
def box_overlap(scene: Scene) -> Tensor:
    """Overlap of the object's box with that of the largest region above a fifth of the smoothed map's maximum."""
    return scene.overlaps


@Card(takes="scene", better="higher", span="0 or 1", paper="Deselaers et al. 2012", also=("control_center_point",))
def corloc(scene: Scene) -> Tensor:
    """Whether that overlap is at least one half."""
    return (scene.overlaps >= 0.5).double()


@Card(
    takes="scene",
    asked=("composites",),
    better="higher",
    span="[0, 1]",
    paper="Zhou et al. 2016",
    also=("control_center_point",),
)
def mask_overlap(scene: Scene) -> Tensor:
    """Overlap of that region itself with the object."""
    return mask_iou(scene.regions, scene.truth)


def object_masks(a: Tensor) -> Tensor:
    """Where a map alone says the object is: the largest connected region above a fifth of the maximum.

    The map is first smoothed with a Gaussian of 1/28 of the side, so that a gradient's specks are one region, not many.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section 3.2; the smoothing
    is ours, and the same for all methods.

    Returns:
        (B, H, W) bool, empty for a map without positive values.
    """
    masks = []
    for values in a.double().clamp_min(0).cpu().numpy():
        smooth = ndimage.gaussian_filter(values, max(values.shape) / 28)
        regions, count = ndimage.label(smooth > THRESHOLD * smooth.max())
        sizes = np.bincount(regions.ravel(), minlength=2)[1:]
        masks.append(regions == sizes.argmax() + 1 if count else np.zeros(values.shape, bool))
    return torch.from_numpy(np.stack(masks)).to(a.device)


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
    window = (..., slice(down, down + height), slice(across, across + width))
    picture, truth = ground.clone(), torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
    truth[window] = y**2 + x**2 <= 1
    picture[window] = torch.where(truth[window], small, ground[window])
    return picture, truth
