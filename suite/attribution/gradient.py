"""Gradient: the score's derivative, with its sign."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class Gradient(SharedPass):
    """d score / d pixel: (B, 3, H, W), signed, in score units per pixel unit.

    Source: Baehrens et al. 2010; Simonyan et al. 2014, eq. 4. Equal to Captum's Saliency(abs=False).
    """

    sensitivity: ClassVar[bool] = True

    def needs(self) -> Needs:
        return Needs(frozenset({"plain"}))

    def from_pass(self, shared: Pass) -> Tensor:
        return shared.gradient("plain")
