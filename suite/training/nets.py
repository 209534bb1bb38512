"""Small networks for small pictures: the paper's CNN and MLP, and VGG-style and ResNet-style ones of equal size."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from suite.errors import ConfigError, did_you_mean


def mlp(side: int, classes: int) -> nn.Module:
    """Three hidden layers (Adebayo et al. 2018's MLP; 200 units each)."""
    widths = [3 * side * side, 200, 200, 200]
    layers: list[nn.Module] = [nn.Flatten()]
    for below, above in pairwise(widths):
        layers += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def cnn(side: int, classes: int) -> nn.Module:
    """Their CNN: 5x5x32 - pool - 5x5x64 - pool - 1024 - classes."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 1024), nn.ReLU(), nn.Linear(1024, classes),
    )  # fmt: skip


def vgg_style(side: int, classes: int) -> nn.Module:
    """Three stages of two convolutions, no skips; about as many parameters as `resnet_style`."""
    layers: list[nn.Module] = []
    for below, width in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(below, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


class Residual(nn.Module):
    """Two convolutions with a skip connection around them."""

    def __init__(self, below: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(below, width, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Identity() if below == width and stride == 1 else nn.Conv2d(below, width, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, below, h, w) -> (B, width, h / stride, w / stride)."""
        return torch.relu(self.skip(x) + self.second(torch.relu(self.first(x))))


def resnet_style(side: int, classes: int) -> nn.Module:
    """A stem and three residual blocks."""
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    stem = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


NETS: dict[str, Callable[[int, int], nn.Module]] = {net.__name__: net for net in (mlp, cnn, vgg_style, resnet_style)}


def make_net(architecture: str, side: int, classes: int, seed: int) -> nn.Module:
    """Random weights from a seed; the caller's random state is left as it was."""
    if architecture not in NETS:
        hint = did_you_mean(architecture, NETS)
        raise ConfigError(f"architecture {architecture!r}: unknown{hint}; there are {', '.join(NETS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[architecture](side, classes)
