"""Small networks whose right answers are known, on which a wrong implementation has nowhere to hide. And the real one.

Every pixel of every small network matters: the head is dense over positions, so no pixel's gradient is lost in a mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 5
SIDE = 12


@dataclass(frozen=True)
class Case:
    """A network with images and targets on which two implementations are compared.

    Attributes:
        name: in the verdict.
        model: in eval mode.
        images: (B, 3, H, W) in [0, 1].
        targets: (B,), one class an image, not all the same.
        layer: the layer of methods that need one.
        other_layers: layers that somebody might have taken instead.
        tolerance: elementwise, relative; what rounding in another order of operations may do here.
        exact: elementwise comparison; else relative L2 (a real network's rectifiers flip by rounding).
    """

    name: str
    model: nn.Module
    images: Tensor
    targets: Tensor
    layer: str
    other_layers: tuple[str, ...]
    tolerance: float = 1e-5
    exact: bool = True


class Small(nn.Module):
    """conv, a body of its own, and a dense head: (B, 3, 12, 12) -> (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1, stride=2)
        self.head = nn.Linear(6 * (SIDE // 2) ** 2, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 12, 12) -> (B, 5)."""
        return self.head(self.between(self.first(images)).flatten(1))  # type: ignore[no-any-return]

    def between(self, hidden: Tensor) -> Tensor:
        """(B, 6, 12, 12) -> (B, 6, 6, 6); linear here."""
        return self.second(hidden)  # type: ignore[no-any-return]


class SkipBranch(Small):
    """A ReLU module whose input also feeds a skip branch; the skip can be cut, to know what a detached one gives."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.cut = False

    def between(self, hidden: Tensor) -> Tensor:
        """H + branch(relu(h)), then the strided convolution."""
        kept = hidden.detach() if self.cut else hidden
        return self.second(kept + self.branch(self.relu(hidden)))  # type: ignore[no-any-return]


class InPlace(Small):
    """ReLU modules that write over their input."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1 = nn.ReLU(inplace=True)
        self.relu2 = nn.ReLU(inplace=True)

    def between(self, hidden: Tensor) -> Tensor:
        """relu(conv(relu(h)))."""
        return self.relu2(self.second(self.relu1(hidden)))  # type: ignore[no-any-return]


class Functional(Small):
    """ReLUs called as functions, which hooks on modules never see."""

    def between(self, hidden: Tensor) -> Tensor:
        """relu(conv(relu(h)))."""
        return F.relu(self.second(F.relu(hidden)))


class BatchNormed(Small):
    """Batch norm whose running statistics are not those of any batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.norm.running_mean = torch.linspace(-0.5, 0.5, 6)
        self.norm.running_var = torch.linspace(0.5, 2.0, 6)

    def between(self, hidden: Tensor) -> Tensor:
        """conv(relu(norm(h)))."""
        return self.second(self.relu(self.norm(hidden)))  # type: ignore[no-any-return]


_SMALL: dict[str, type[Small]] = {
    "linear": Small,
    "skip branch": SkipBranch,
    "in-place ReLU": InPlace,
    "functional ReLU": Functional,
    "batch norm": BatchNormed,
}


def small_cases() -> Iterator[Case]:
    """The small networks, seeded, with four random images of different targets each."""
    for seed, (name, kind) in enumerate(_SMALL.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = kind().eval()
            images = torch.rand(4, 3, SIDE, SIDE)
        yield Case(name, model, images, torch.tensor([1, 3, 0, 2]), "first", ("second",))


def real_case(name: str = "squeezenet1_1", source: str = "embedded") -> Case:
    """A real network and two real photos; the target is the label, or the top class where there is none."""
    from suite.data.images import load_image
    from suite.data.sources import list_images
    from suite.models.load import load_model

    model = load_model(name)
    files = list_images(source, classes=model.card.classes, limit=2).files
    size = {"resize": model.card.resize, "crop": model.card.input_size}
    images = torch.stack([load_image(f.path, **size)[0] for f in files])  # type: ignore[arg-type]
    with torch.no_grad():
        top = model(images).argmax(1).tolist()
    targets = torch.tensor([t if f.label is None else f.label for f, t in zip(files, top, strict=True)])
    convolutions = [n for n, m in model.body.named_modules() if isinstance(m, nn.Conv2d)]
    others = tuple(n for n in convolutions[-3:] if n != model.card.layer)
    return Case(name, model, images, targets, model.card.layer, others, tolerance=5e-3, exact=False)
