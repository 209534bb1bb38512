"""A small bent network, its photos, and boxes: what several tests of attacks attack."""

import torch
from networks import CLASSES, seeded
from torch import Tensor, nn

from suite.attacks.attack import Problem
from suite.attacks.result import Goal


class Bent(nn.Module):
    """Some curvature and five classes: (B, 3, H, W) -> (B, 5)."""

    def __init__(self, side: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * (side // 2) ** 2, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - 0.45) / 0.22)


def photos(count: int = 5, side: int = 12, seed: int = 3) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def case(count: int = 5) -> tuple[nn.Module, Tensor, Tensor]:
    model = seeded(Bent)
    images = photos(count)
    return model, images, model(images).argmax(1).detach()


def problem(model: nn.Module, images: Tensor, goal: Goal, epsilon: float = 0.0) -> Problem:
    radius, ids = images.new_full((len(images),), epsilon), tuple(map(str, range(len(images))))
    return Problem(model, images, goal, model(images).detach(), radius, ids, 0)
