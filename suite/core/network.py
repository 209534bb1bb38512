"""A network as the suite sees it: pixels in [0, 1] in, unnormalised scores out. It owns its normalisation.

Where networks come from is no affair of this file; see `suite.models`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.core.classes import ClassNames
from suite.errors import NetworkError


@dataclass(frozen=True)
class Card:
    """What is known of a network besides its function.

    Attributes:
        name: its name in rows.
        provider: where it came from, in words.
        digest: blake2b of all weights and buffers, in the order of `state_dict`.
        input_size: (height, width) its images are cropped to.
        resize: the shorter side before the crop; None resizes straight to `input_size`.
        classes: the names of its outputs.
        layer: the target layer it was given, "" to find it by architecture.
    """

    name: str
    provider: str
    digest: str
    input_size: tuple[int, int]
    resize: int | None
    classes: ClassNames
    layer: str = ""

    @property
    def taken(self) -> tuple[int | None, tuple[int, int]]:
        """How it takes a photo; networks of which this is the same see the same pixels."""
        return self.resize, self.input_size


class Network(nn.Module):
    """Maps (B, 3, H, W) RGB in [0, 1] to (B, K) unnormalised scores.

    Args:
        body: takes normalised images and returns a tensor of scores.
        mean, std: per channel, in [0, 1] pixel units; zeros and ones leave pixels as they are.
        card: see `Card`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float], card: Card
    ) -> None:
        super().__init__()
        self.body = body
        self.card = card
        for name, values in (("mean", mean), ("std", std)):  # where the weights are
            self.register_buffer(name, zero_input(body, (1, 1)).new_tensor(values).view(1, 3, 1, 1), persistent=False)
        self.train(body.training)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, K)."""
        return self.body((images - self.mean) / self.std)  # type: ignore[no-any-return]


def zero_input(model: nn.Module, size: tuple[int, int]) -> Tensor:
    """(1, 3, H, W) of zeros, where the network's weights are and of their type: a probe."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return weight.detach().new_zeros(1, 3, *size)


def scores_of(model: nn.Module, images: Tensor) -> Tensor:
    """Calls a network and insists on (B, K) scores.

    Raises:
        NetworkError: in one line, where the output is not one row of scores an image, or the dtypes do not fit.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is not None and weight.dtype != images.dtype:
        raise NetworkError(f"the network's weights are {weight.dtype}, its images {images.dtype}: convert one (`.to`)")
    out = model(images if isinstance(model, Network) else images.clone())  # which may change its input in place
    if not isinstance(out, Tensor):
        raise NetworkError(
            f"the network returned a {type(out).__name__}, expected a tensor of scores (B, K): "
            "wrap it in a module that returns the one that holds the scores"
        )
    if out.ndim != 2 or len(out) != len(images):
        raise NetworkError(
            f"the network returned scores of shape {tuple(out.shape)} for {len(images)} images, expected (B, K)"
        )
    return out
