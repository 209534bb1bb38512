"""Deconvolution: the gradient with each ReLU's own derivative replaced by a ReLU of the gradient."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class Deconvolution(SharedPass):
    """The gradient, of which each ReLU passes what is positive, active or not: (B, 3, H, W), signed, score per pixel.

    Source: Zeiler & Fergus 2014, sec. 2.1, in the form of Springenberg et al. 2015, sec. 3.4. Applicability and the
    differences from Captum are guided backpropagation's.
    """

    sensitivity: ClassVar[bool] = True

    def needs(self) -> Needs:
        return Needs(frozenset({"deconvolution"}))

    def from_pass(self, shared: Pass) -> Tensor:
        return shared.gradient("deconvolution")
