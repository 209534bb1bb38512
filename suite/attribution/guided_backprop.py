"""Guided backpropagation: the gradient, with only what is positive passed through each ReLU."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import SharedPass
from suite.core.passes import Needs, Pass


@dataclass(frozen=True)
class GuidedBackprop(SharedPass):
    """The gradient, of which each ReLU passes what is positive and was active: (B, 3, H, W), signed, score per pixel.

    Source: Springenberg et al. 2015, sec. 3.4: at each ReLU the gradient passes where both it and the activation are
    positive. Parts from Captum where a ReLU's input also feeds a skip branch, and where ReLUs are functions rather than
    modules: Captum clamps the skip's gradient too in the first case and nothing in the second.

    The rule applies to every rectifier between the pixels and the score, or to none. A ReLU is recognised as a module
    or function, in place, in TorchScript, `torch.ops` and `torch.vmap`. Not applicable, with the spelling, to networks
    without ReLU, with other activations (GELU, LeakyReLU), with piecewise code whose rule is not known (torch.where,
    torch.maximum, masks, abs, indexing by a comparison) or with code that hides what it computes (a custom
    autograd.Function, torch.compile).
    """

    sensitivity: ClassVar[bool] = True

    def needs(self) -> Needs:
        return Needs(frozenset({"guided"}))

    def from_pass(self, shared: Pass) -> Tensor:
        return shared.gradient("guided")
