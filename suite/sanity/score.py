"""The score before a trailing rectifier, explained instead of a score that the network's last ReLU sets to 0."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from suite.core.graph import ACTIVATIONS, gradient_path, metadata, nodes_below, operation, unruled
from suite.core.network import Network
from suite.core.rectifiers import RECTIFIER, Rectifying, rectifier_kind
from suite.core.state import in_use
from suite.errors import NotApplicable

_WEIGHTS = "weights"  # metadata of the nodes that use the network's weights
_LINEAR = frozenset({"Convolution", "Linear", "Addmm", "Mm", "Bmm", "Baddbmm"})  # also of weights computed on the way


class _Trace(Rectifying):
    """Marks the nodes that use weights."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights = weights

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        node = result.grad_fn if isinstance(result, Tensor) else None
        if node is not None and any(id(a) in self.weights for a in (*args, *(kwargs or {}).values())):
            metadata(node)[_WEIGHTS] = 1
        return result


class _Without(TorchFunctionMode):
    """One forward pass in which the rectifiers with these numbers, counted from 1, return their input."""

    def __init__(self, numbers: frozenset[int]) -> None:
        super().__init__()
        self.numbers, self.seen = numbers, 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if rectifier_kind(func, args, kwargs or {}) is not None:
            self.seen += 1
            if self.seen in self.numbers:
                source: Tensor = args[0] if args else (kwargs or {})["input"]
                return source.clone()
        return func(*args, **(kwargs or {}))


class Unrectified(Network):
    """A network's own weights and layers, without the rectifiers that follow the last of them."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, K), also negative."""
        with _Without(self.__dict__["trailing"]):
            return super().forward(images)


def before_last_rectifier(network: Network, images: Tensor) -> Network:
    """The network, or a view of it without its trailing rectifier, where one follows the last weights (SqueezeNet).

    Args:
        network: shared, not copied.
        images: (B, 3, H, W); the first is passed through to see.

    Raises:
        NotApplicable: something that may rectify follows the last weights and cannot be left out.
    """
    trace, inputs = _Trace({id(p) for p in network.parameters()}), images[:1].clone()
    with in_use(network):
        with trace:
            total = network(inputs.requires_grad_().clone()).sum()
        trace.follow(total, inputs)
    path, trailing = gradient_path(total, inputs), set()

    def spelling(node: Any) -> str:
        return "" if RECTIFIER in metadata(node) else unruled(node, path, compared=trace.compared)

    def ends(node: Any) -> bool:
        weighted = operation(node) in _LINEAR or _WEIGHTS in metadata(node)
        return weighted or node not in path or spelling(node) in ACTIVATIONS

    for node in nodes_below(total, ends):
        number = metadata(node).get(RECTIFIER, 0)
        hidden = "a ReLU that no function call shows" if number > trace.seen else spelling(node)
        if hidden:
            raise NotApplicable(
                f"the score before the last rectifier: {hidden} follows the last weights and cannot be left out; "
                "`score: as_is` explains the score as it is"
            )
        trailing |= {number} - {0}
    if not trailing:
        return network
    view = copy.copy(network)
    view.__class__ = Unrectified
    view.__dict__["trailing"] = frozenset(trailing)
    return view
