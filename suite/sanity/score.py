"""The score before a trailing rectifier: what is explained where a network's last ReLU would leave exactly 0."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from suite.models.network import Network
from suite.models.rectifiers import Rectifying, rectifier_kind
from suite.models.state import in_use


class _Trace(Rectifying):
    """Notes in which order a forward pass rectifies and uses weights."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights, self.trailing = weights, False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if rectifier_kind(func, args, kwargs or {}) is not None:
            self.trailing = True
        elif any(id(a) in self.weights for a in (*args, *(kwargs or {}).values())):
            self.trailing = False
        return super().__torch_function__(func, types, args, kwargs)


class _Without(TorchFunctionMode):
    """One forward pass in which the n-th rectifier passes on what it gets."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.left = index

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if rectifier_kind(func, args, kwargs or {}) is not None:
            self.left -= 1
            if self.left == 0:
                source: Tensor = args[0] if args else (kwargs or {})["input"]
                return source.clone()
        return func(*args, **(kwargs or {}))


class Unrectified(Network):
    """A network's own weights and layers, without the rectifier that follows the last of them."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, K), also negative."""
        with _Without(self.__dict__["last"]):
            return super().forward(images)


def before_last_rectifier(network: Network, images: Tensor) -> Network:
    """The network, or a view of it without its trailing rectifier, where one follows the last weights (SqueezeNet).

    Args:
        network: shared, not copied.
        images: (B, 3, H, W); the first is passed through to see.
    """
    trace = _Trace({id(p) for p in network.parameters()})
    with in_use(network), torch.no_grad(), trace:
        network(images[:1].clone())
    if not trace.trailing:
        return network
    view = copy.copy(network)
    view.__class__ = Unrectified
    view.__dict__["last"] = sum(trace.calls.values())
    return view
