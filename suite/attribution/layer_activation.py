"""Layer activation: what a layer says, before any question of why."""

from dataclasses import dataclass

from torch import Tensor, nn

from suite.attribution.base import SampledPass
from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.passes import Cost, resolve_layer, tapped
from suite.core.state import in_use
from suite.errors import NetworkError


def as_map(output: Tensor, layer: str) -> Tensor:
    """(B, C, h, w) as it is, (B, K) as (B, K, 1, 1); other shapes are refused."""
    if output.ndim == 2:
        return output[:, :, None, None]
    if output.ndim != 4:
        raise NetworkError(f"layer {layer!r}: its output is {tuple(output.shape)}, expected (B, C, h, w) or (B, K)")
    return output


@dataclass(frozen=True)
class LayerActivation(SampledPass):
    """The layer's output: (B, C, h, w), signed as the layer is. Equal to Captum's LayerActivation.

    Args:
        layer: by name; "" is the default target layer.
        channel: keep one channel, (B, 1, h, w); None keeps all.
    """

    layer: str = ""
    channel: int | None = None

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        name = resolve_layer(model, images, self.layer)
        with in_use(model), tapped(model, [name], cut=True) as outputs:
            scores_of(model, images)
        return pick_channel(as_map(outputs[name].detach(), name), self.channel, name)

    def cost(self) -> Cost:
        return Cost(1, 0)


def pick_channel(maps: Tensor, channel: int | None, layer: str) -> Tensor:
    """(B, C, h, w) -> all channels, or (B, 1, h, w) of one."""
    if channel is None:
        return maps
    if not 0 <= channel < maps.shape[1]:
        raise NetworkError(f"layer {layer!r}: channel {channel} is out of range, it has 0..{maps.shape[1] - 1}")
    return maps[:, channel : channel + 1]
