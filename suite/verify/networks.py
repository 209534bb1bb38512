"""Small networks on which a wrong implementation cannot hide, and a real one.

Every pixel of every small network matters: the head is dense over positions, so no pixel's gradient is lost in a mean.
On all of them `second` is the last convolution and the default target layer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = (12, 10)
CLASSES = 7


@dataclass(frozen=True)
class Case:
    """A network with images and targets on which two implementations are compared.

    Attributes:
        name: in the verdict.
        model: in eval mode.
        images: (B, 3, H, W) in [0, 1].
        targets: (B,), a class an image.
        layer: the target layer of methods that need one.
        small: compared pixel by pixel; else a real network, on which rounding flips rectifiers.
        hint: the likely cause if an implementation fails on this network alone.
    """

    name: str
    model: nn.Module
    images: Tensor
    targets: Tensor
    layer: str = "second"
    small: bool = True
    hint: str = ""


class Small(nn.Module):
    """Two convolutions with something between them, and a dense head: (B, 3, 12, 10) -> (B, 7). Linear by itself."""

    def __init__(self, relu: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = relu or nn.Identity()
        self.second = nn.Conv2d(6, 6, 3, padding=1, stride=2)
        self.last = last or nn.Identity()
        self.head = nn.Linear(6 * (SIZE[0] // 2) * (SIZE[1] // 2), CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        flat = self.second(self.between(self.first(images))).flatten(1)  # a view of the target layer's output
        return self.head(self.last(flat))  # type: ignore[no-any-return]

    def between(self, hidden: Tensor) -> Tensor:
        """(B, 6, 12, 10) -> the same."""
        return self.relu(hidden)  # type: ignore[no-any-return]


class SkipBranch(Small):
    """A ReLU whose input also feeds a skip branch; the skip can be cut, for the result of a detached one."""

    def __init__(self) -> None:
        super().__init__(nn.ReLU())
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.cut = False

    def between(self, hidden: Tensor) -> Tensor:
        kept = hidden.detach() if self.cut else hidden
        return kept + self.branch(self.relu(hidden))  # type: ignore[no-any-return]


class Functional(Small):
    """A ReLU called as a function, which hooks on modules never see."""

    def between(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden)


def _in_place() -> Small:
    """ReLUs that write over their input, one of them over the target layer's output."""
    return Small(nn.ReLU(inplace=True), nn.ReLU(inplace=True))


def _batch_normed() -> Small:
    """Batch norm whose running statistics are not those of any batch."""
    norm = nn.BatchNorm2d(6)
    norm.running_mean, norm.running_var = torch.linspace(-0.5, 0.5, 6), torch.linspace(0.5, 2.0, 6)
    return Small(nn.Sequential(norm, nn.ReLU()))


# The first two leave out the first and the last class, so that a class beside the target exists.
_SMALL: tuple[tuple[str, Callable[[], Small], list[int], str], ...] = (
    ("linear", Small, [1, 3, 2, 5, 4], ""),
    ("skip branch", SkipBranch, [4, 1, 5, 2, 3], "a ReLU's input also feeds a skip branch there"),
    ("in-place ReLU", _in_place, [0, 3, 6, 1, 5], "an in-place ReLU writes over what hooks keep: keep a clone"),
    ("functional ReLU", Functional, [2, 0, 4, 6, 1], "the ReLU is a function there, which hooks on modules never see"),
    ("batch norm", _batch_normed, [5, 6, 1, 0, 3], "batch norm must use its running statistics"),
)


def small_cases() -> Iterator[Case]:
    """The small networks, seeded, with five random images of different targets each."""
    for seed, (name, make, targets, hint) in enumerate(_SMALL):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = make().eval()
            images = torch.rand(len(targets), 3, *SIZE)
            for conv in (model.first, model.second):  # each channel is on about as often as off: no pixel is lost
                kept: list[Tensor] = []
                with conv.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out.clone())):
                    model(images)
                conv.bias.sub_(kept[0].mean((0, 2, 3)))  # type: ignore[union-attr]
        yield Case(name, model, images, torch.tensor(targets), hint=hint)


def real_case(name: str = "squeezenet1_1", source: str = "embedded", count: int = 3) -> Case:
    """A real network and a few real photos; the target is the label, or the top class where there is none."""
    from suite.data.images import load_image
    from suite.data.sources import list_images
    from suite.models.load import load_model

    model = load_model(name)
    files = list_images(source, classes=model.card.classes, limit=count).files
    size = model.card.input_size
    images = torch.stack([load_image(f.path, resize=model.card.resize, crop=size)[0] for f in files])
    with torch.no_grad():
        top = model(images).argmax(1).tolist()
    targets = torch.tensor([t if f.label is None else f.label for f, t in zip(files, top, strict=True)])
    return Case(f"{name}, {len(files)} photos", model, images, targets, model.card.layer, small=False)


def cases(model: str = "squeezenet1_1", data: str = "embedded") -> Iterator[Case]:
    """The small networks, then the real one."""
    yield from small_cases()
    yield real_case(model, data)
