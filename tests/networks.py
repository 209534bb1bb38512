"""Toy networks shared by the tests: answers can be found by hand, and each has one thing that breaks naive code."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, SIDE, CLASSES = 3, 8, 5
PIXELS = CHANNELS * SIDE * SIDE


class Linear(nn.Module):
    """scores = W x + b, W (5, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(PIXELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


class TwoLayer(nn.Module):
    """scores = W2 r(W1 x + b1) + b2, with the rectifier given as a module or a function."""

    def __init__(self, rectify: Callable[[Tensor], Tensor] | None = None, hidden: int = 24) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(PIXELS, hidden), nn.Linear(hidden, CLASSES)
        if isinstance(rectify, nn.Module):
            self.act: nn.Module = rectify
        else:
            self.rectify = rectify or F.relu

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        return self.second(self.act(h) if hasattr(self, "act") else self.rectify(h))


class Skip(nn.Module):
    """scores = W2 (h + relu(h)), h = W1 x + b1: the rectifier's input also feeds a skip branch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(PIXELS, 24), nn.ReLU(), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        return self.second(h + self.relu(h))


class SkipBefore(nn.Module):
    """scores = W2 (2 h + relu_(h)): the skip is taken before an in-place rectifier overwrites h."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(PIXELS, 24), nn.ReLU(inplace=True), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        twice = h * 2
        return self.second(twice + self.relu(h))


class OnView(nn.Module):
    """Rectifies one half of the hidden units in place, through a view."""

    def __init__(self, rectify: Callable[[Tensor], Tensor] = torch.relu_) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(PIXELS, 24), nn.Linear(24, CLASSES)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        self.rectify(h[:, :12])
        return self.second(h)


class FirstOp(nn.Module):
    """Rectifies its own input in place before anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(PIXELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(x).flatten(1))


class Conv(nn.Module):
    """conv - (batch norm) - rectifier - 1x1 conv - mean over positions; any image size."""

    def __init__(self, act: nn.Module | None = None, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.act = act or nn.ReLU()
        self.drop = nn.Dropout(dropout)
        self.last = nn.Conv2d(6, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.act(self.norm(self.conv(x))))).mean((2, 3))


class Gap(nn.Module):
    """scores = V mean(relu?(1x1 conv)): Grad-CAM by hand is (V_k / (h w)) A summed over channels."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(CHANNELS, channels, 1), nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class Tokens(nn.Module):
    """A small transformer: patches, 3-D tokens, GELU; only the patch embedding gives a 4-D map."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS, 12, 2, stride=2)
        self.norm, self.attend = nn.LayerNorm(12), nn.MultiheadAttention(12, 2, batch_first=True)
        self.mlp, self.head = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patch(x).flatten(2).transpose(1, 2))  # (B, 16, 12)
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return self.head((tokens + self.mlp(tokens)).mean(1))


class Twice(nn.Module):
    """One layer called twice, one rectifier module called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Conv2d(CHANNELS, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.last = nn.ReLU(), nn.Conv2d(6, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.first(x))
        h = self.relu(self.shared(self.relu(self.shared(h))))
        return self.last(h).mean((2, 3))


class Returns(nn.Module):
    """Gives its scores inside something else."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.wrap = Linear(), wrap

    def forward(self, x: Tensor) -> object:
        return self.wrap(self.body(x))


class Parameterless(nn.Module):
    """scores: the squared pixels, summed by channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum((2, 3))


class Detaching(nn.Module):
    """Has weights and scores, and no path from the pixels to them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(PIXELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.detach().flatten(1))


def _planted(_gradient: Tensor) -> Tensor:
    raise ArithmeticError("planted in backward")


class Raises(nn.Module):
    """Fails after its first layers, forward or backward; has dropout and batch norm in mixed modes."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.body, self.where = Conv(norm=True, dropout=0.5), where

    def forward(self, x: Tensor) -> Tensor:
        if self.where == "backward":
            x = x.clone()
            if x.requires_grad:
                x.register_hook(_planted)
            return self.body(x)
        scores = self.body(x)
        if self.where == "forward":
            raise ArithmeticError("planted in forward")
        return scores


def seeded(make: Callable[[], nn.Module], seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network with weights from a seed, in eval mode; global randomness untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def pictures(
    count: int = 4, size: tuple[int, int] = (SIDE, SIDE), *, seed: int = 1, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(count, 3, *size) standard normal values, drawn in float64."""
    drawn = torch.randn(count, CHANNELS, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


class Sum(nn.Module):
    """(B, 1, 2, 2) -> (B, 2): the weighted sum of the pixels, and 0."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights).float().view(1, 1, 2, 2))

    def forward(self, x):
        total = (x * self.weights).sum((1, 2, 3))
        return torch.stack([total, torch.zeros_like(total)], 1)
