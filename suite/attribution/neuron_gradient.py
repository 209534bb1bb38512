"""Neuron gradient: which pixels move one unit, or one channel, of a layer. It does not depend on the target."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.attribution.layer_activation import as_map, pick_channel
from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.passes import Cost, resolve_layer, tapped
from suite.core.state import in_use
from suite.errors import NetworkError


@dataclass(frozen=True)
class NeuronGradient(SampledPass):
    """d unit / d pixel: (B, 3, H, W), signed.

    Args:
        layer: by name; "" is the default target layer.
        channel: of the layer.
        position: (row, column) of the unit; None sums the channel over its positions.

    Source: Simonyan et al. 2014 for a unit in place of the score. Equal to Captum's NeuronGradient; the whole network
    runs forward there and here, but backward only from the layer.
    """

    layer: str = ""
    channel: int = 0
    position: tuple[int, int] | None = None
    sensitivity: ClassVar[bool] = True

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        name = resolve_layer(model, images, self.layer)
        with in_use(model):
            inputs = images.detach().requires_grad_()
            with tapped(model, [name]) as outputs:
                scores_of(model, inputs.clone())
            channel = pick_channel(as_map(outputs[name], name), self.channel, name)  # (B, 1, h, w)
            units = channel.flatten(1).sum(1) if self.position is None else self._unit(channel, name)
            gradient = torch.autograd.grad(units.sum(), inputs, allow_unused=True)[0]
            if gradient is None:
                raise NetworkError(
                    f"layer {name!r}: has no gradient with respect to the pixels, so no unit of it has a map"
                )
            return gradient

    def _unit(self, channel: Tensor, name: str) -> Tensor:
        assert self.position is not None
        row, column = self.position
        height, width = channel.shape[2:]
        if not (0 <= row < height and 0 <= column < width):
            raise NetworkError(f"layer {name!r}: position {(row, column)} is out of range, its map is {height}x{width}")
        return channel[:, 0, row, column]

    def cost(self) -> Cost:
        return Cost(1, 1)
