"""A planted shortcut: a white patch whose corner says the class, on pictures that may or may not say it too."""

import torch
from torch import Tensor

SIZE = 4  # pixels


def corner(label: int, side: int) -> tuple[int, int]:
    """(row, column) of the patch's upper left corner: five along the upper edge, five along the lower."""
    return (0 if label < 5 else side - SIZE), (label % 5) * (side - SIZE) // 4


def plant(images: Tensor, labels: Tensor) -> Tensor:
    """The pictures with a white patch each, where `labels` says: (N, C, H, W) -> the same, a copy."""
    planted = images.clone()
    for image, label in zip(planted, labels.tolist(), strict=True):
        row, column = corner(label, images.shape[2])
        image[:, row : row + SIZE, column : column + SIZE] = 1
    return planted


def regions(labels: Tensor, side: int) -> Tensor:
    """(N, H, W), true where each picture's patch is."""
    return plant(torch.zeros(len(labels), 1, side, side), labels)[:, 0] > 0
