"""What an attribution method is. Methods know nothing of studies; parameters are fields of frozen dataclasses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.core.draws import ImageDraws
from suite.core.passes import Cost, Needs, Pass, Targets, checked, cost_of, digests, run_pass


@dataclass(frozen=True)
class Attribution(ABC):
    """`method(model, images, targets) -> (B, C, h, w)`, detached, signed where the method is signed.

    Attributes:
        signed: whether the sign of the map means something (for and against the target).
        sensitivity: whether values are sensitivities (gradients), of which the size counts, rather than contributions.
        control: whether it is a control, a map that must lose.
    """

    signed: ClassVar[bool] = True
    sensitivity: ClassVar[bool] = False
    control: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: nn.Module, images: Tensor, targets: Targets, ids: Sequence[str] | None = None) -> Tensor:
        """The map.

        Args:
            model: (B, 3, H, W) -> (B, K) unnormalised scores.
            images: (B, 3, H, W), in the units that the network takes; [0, 1] for the suite's networks.
            targets: the class explained, one for all or one an image.
            ids: names of the images, which seed what is random in a method; by default the digest of their pixels.

        Raises:
            NotApplicable: where the map is undefined on this network.
        """

    @abstractmethod
    def cost(self) -> Cost:
        """Passes an image, when nothing is shared with another method."""

    @property
    def layer_asked(self) -> str | None:
        """The layer parameter of methods that have one ("" is the default layer); None for the others."""
        return getattr(self, "layer", None)

    @property
    def complete_from(self) -> tuple[str | Tensor, ...]:
        """Baselines from whose mean score to the image's the map promises to sum; none where it promises nothing."""
        return ()


class SharedPass(Attribution):
    """A method that one shared pass answers, together with all others that need it."""

    @abstractmethod
    def needs(self) -> Needs:
        """What it takes from the pass."""

    @abstractmethod
    def from_pass(self, shared: Pass) -> Tensor:
        """The map, from what the pass gave; no further passes."""

    def __call__(self, model: nn.Module, images: Tensor, targets: Targets, ids: Sequence[str] | None = None) -> Tensor:
        return self.from_pass(run_pass(model, images, targets, self.needs()))

    def cost(self) -> Cost:
        return cost_of(self.needs())


class SampledPass(Attribution):
    """A method of many passes: steps along a path, noisy copies, occluded copies."""

    @abstractmethod
    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        """The map, with its randomness as an argument.

        Images and targets are checked already; passes made in here take what they are given as checked.
        """

    def __call__(self, model: nn.Module, images: Tensor, targets: Targets, ids: Sequence[str] | None = None) -> Tensor:
        with torch.inference_mode(False), torch.no_grad(), checked(images, targets) as (images, targets):
            ids = digests() if ids is None else ids
            draws = ImageDraws(images, ids, seed=getattr(self, "seed", 0), purpose=type(self).__name__)
            return self.compute(model, images, targets, draws)
