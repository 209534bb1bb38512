"""Saliency: where a small change of any colour changes the score most."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class Saliency(SharedPass):
    """max over colours of |d score / d pixel|: (B, 1, H, W), non-negative, in score units per pixel unit.

    Source: Simonyan, Vedaldi & Zisserman 2014, sec. 3.1. Captum's Saliency keeps the three channels; its maximum over
    them is this map.
    """

    signed: ClassVar[bool] = False
    sensitivity: ClassVar[bool] = True

    def needs(self) -> Needs:
        return Needs(frozenset({"plain"}))

    def from_pass(self, shared: Pass) -> Tensor:
        return shared.gradient("plain").abs().amax(1, keepdim=True)
