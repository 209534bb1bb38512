"""Input x gradient: the first-order share of each pixel in the score, from black."""

from dataclasses import dataclass

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class InputXGradient(SharedPass):
    """pixel * d score / d pixel: (B, 3, H, W), signed, in score units.

    Source: Shrikumar et al. 2016, sec. 2. Pixels are those the network is given, [0, 1] for the suite's networks, so
    black contributes nothing; an implementation over normalised images takes the mean colour there instead.
    """

    def needs(self) -> Needs:
        return Needs(frozenset({"plain"}))

    def from_pass(self, shared: Pass) -> Tensor:
        return shared.images * shared.gradient("plain")

    @property
    def complete_from(self) -> tuple[str | Tensor, ...]:
        return ("zeros",)
