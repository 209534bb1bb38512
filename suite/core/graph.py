"""The graph that autograd keeps of a forward pass: the nodes between a score and the pixels, and what they compute.

It shows what a function mode cannot see: TorchScript, `torch.ops`, `torch.vmap`, a custom `autograd.Function`. It reads
the graph and runs no pass. It knows no method: what a node means for a rule stands here, the rules in `rectifiers.py`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from suite.core.torch_private import output_shape, saved

Path = dict[Any, list[Any]]
WRITTEN = "written"  # metadata of an in-place write to a view that was seen, and only copies, adds or scales

_ACTIVATIONS = {
    "Gelu": "GELU", "Silu": "SiLU", "Mish": "Mish", "Hardswish": "Hardswish", "Softplus": "Softplus",
    "LogSigmoid": "LogSigmoid", "LeakyRelu": "LeakyReLU", "PreluKernel": "PReLU", "RreluWithNoise": "RReLU",
    "Elu": "ELU or SELU", "Celu": "CELU",
}  # fmt: skip
_GATE = "x times a function of x (SiLU, GELU or Hardswish by hand)"
ACTIVATIONS = frozenset({*_ACTIVATIONS.values(), _GATE})
"""Activations that are no ReLUs, by name; seldom exactly 0."""
_KINKS = {
    "Where": "torch.where", "Maximum": "torch.maximum", "Minimum": "torch.minimum", "Fmax": "torch.fmax",
    "Fmin": "torch.fmin", "Abs": "abs", "Sign": "sign", "Sgn": "sign", "Logaddexp": "torch.logaddexp",
    "MaskedFill": "masked_fill", "MaskedScatter": "masked_scatter", "MaskedSelect": "masked_select",
    "Threshold": "a threshold that is no ReLU",
}  # fmt: skip
_CLAMPS = {
    "Clamp": ("min", "max"), "ClampMin": ("min", ""), "ClampMax": ("", "max"), "Hardtanh": ("min_val", "max_val"),
}  # fmt: skip
_PRODUCTS = {"Mul": ("self", "other"), "Addcmul": ("", "tensor1", "tensor2")}  # a name a node below, "" for no factor
_OVER_STACKED = frozenset({"Max", "Amax", "Min", "Amin"})
_POINTWISE = frozenset(
    {"Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Pow", "Exp", "Reciprocal", "Clone", "ToCopy"}
    | {"Sigmoid", "Tanh", "Erf", "Hardsigmoid", "Hardtanh", "Clamp", "Softplus"}
)
_SATURATING = frozenset({"Sigmoid", "Tanh", "Erf", "Hardsigmoid", "Hardtanh", "Clamp", "Reciprocal"})
_HARMLESS = ("BackwardHookFunction", "_DDPSink", "vision::ops")  # identities; torchvision's, which interpolate
_HIDING = {
    "DifferentiableGraph": "TorchScript, whose scripted code hides its rectifiers",
    "CompiledFunction": "torch.compile, which hides its rectifiers",
    "CheckpointFunction": "torch.utils.checkpoint with use_reentrant=True, which hides its rectifiers",
}


def metadata(node: Any) -> dict[str, int]:
    """What is kept with a node of the graph for as long as the graph lives."""
    return node.metadata  # type: ignore[no-any-return]


def nodes_below(top: Tensor, stop: Callable[[Any], bool] = lambda _node: False) -> Iterator[Any]:
    """The nodes from a tensor down, each once; neither those where to `stop` nor what lies below these alone."""
    seen: set[Any] = {None}
    ahead: list[Any] = [top.grad_fn]
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if not stop(node):
            yield node
            ahead += [below for below, _ in node.next_functions]


def gradient_path(top: Tensor, pixels: Tensor) -> Path:
    """The nodes through which the gradient of `top` reaches the pixels, each with the nodes right above it."""
    above, ahead = defaultdict(list), []
    for node in nodes_below(top):
        if getattr(node, "variable", None) is pixels:
            ahead.append(node)
        for below, _ in node.next_functions:
            above[below].append(node)
    path = {}
    while ahead:
        node = ahead.pop()
        if node not in path:
            path[node] = above[node]
            ahead += above[node]
    return path


def operation(node: Any) -> str:
    """Relu for ReluBackward0; "" for what is none of torch's own operations."""
    return _operation(node.name())


@cache
def _operation(name: str) -> str:
    match = re.fullmatch(r"(\w+)Backward\d+", name)
    return match[1] if match else ""


def rectifies(node: Any) -> str:
    """ReLU, ReLU6 or another ReLU with a ceiling, by what the node computes; "" for everything else."""
    kind = operation(node)
    return "ReLU" if kind == "Relu" else relu_between(*_bounds(node, kind))


def relu_between(low: Any, high: Any) -> str:
    """What a clamp between a floor and a ceiling is (number, tensor, or None): ReLU, ReLU6, ...; "" for no ReLU."""
    if low is None or not (bool((low == 0).all()) if isinstance(low, Tensor) else low == 0):
        return ""
    if high is None:
        return "ReLU"
    return f"ReLU{high:g}" if not isinstance(high, Tensor) and high > 0 else ""


def _bounds(node: Any, kind: str) -> list[Any]:
    return [saved(node, name) for name in _CLAMPS.get(kind, ("", ""))]


def unruled(node: Any, path: Path, *, compared: bool = False) -> str:
    """What a node on the path is to a guided rule that treats ReLUs only: its spelling, "" where it does not matter.

    Args:
        node: no ReLU itself.
        path: of `gradient_path`.
        compared: whether the forward pass compared activations with something; a mask may come of it.
    """
    kind = operation(node)
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind]
    if kind in _KINKS:  # a mask right below a softmax is attention's
        attention = kind in ("Where", "MaskedFill") and all(operation(above) == "Softmax" for above in path[node])
        return "" if attention else _KINKS[kind]
    if kind in _CLAMPS:
        bounds = [b for b in _bounds(node, kind) if b is not None]
        at_zero = [b for b in bounds if (bool((b == 0).any()) if isinstance(b, Tensor) else b == 0)]
        return "a clamp at 0" if at_zero else ""
    if kind in _PRODUCTS:
        return _product(node, kind, path, compared)
    if kind == "Lerp":
        return "a mask of 0 and 1" if _is_mask(saved(node, "weight"), node, compared) else ""
    if kind in ("Index", "IndexPut"):
        masks = [i for i in saved(node, "indices") if i is not None and i.dtype in (torch.bool, torch.uint8)]
        return "indexing by a mask" if any(i.ndim > 1 for i in masks) else ""
    if kind in _OVER_STACKED:
        below = node.next_functions[0][0]
        stacked = operation(below) in ("Stack", "Cat") and any(part is None for part, _ in below.next_functions)
        return "a maximum over stacked constants" if stacked else ""
    return "" if kind else _foreign(node)


def _product(node: Any, kind: str, path: Path, compared: bool) -> str:
    """Whether it multiplies by a mask, or x by a function of x that saturates."""
    factors = [(below, name) for (below, _), name in zip(node.next_functions, _PRODUCTS[kind], strict=False) if name]
    for below, name in factors:
        if below not in path and _is_mask(saved(node, name), node, compared):
            return "a mask of 0 and 1"
    if len(factors) == 2 and all(below in path for below, _ in factors):
        (some, through), (others, by) = (_roots(below, path) for below, _ in factors)
        if some == others and (through | by) & _SATURATING:
            return _GATE
    return ""


def _is_mask(factor: Tensor | None, node: Any, compared: bool) -> bool:
    """Boolean; 0 and 1 at the activations' own size; or of few values, where activations were compared to make them."""
    if factor is None or factor.ndim == 0:
        return False
    if factor.dtype == torch.bool:
        return True
    values: list[float] = torch.unique(factor).tolist()
    if compared:
        return len(values) <= 3
    return values == [0, 1] and factor.shape == output_shape(node)


def _roots(top: Any, path: Path) -> tuple[set[Any], set[str]]:
    """The nodes on the path of which a node is a function point by point, and the operations in between."""
    roots, between, seen, ahead = set(), set(), set(), [top]
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if operation(node) in _POINTWISE:
            between.add(operation(node))
            ahead += [below for below, _ in node.next_functions if below in path]
        else:
            roots.add(node)
    return roots, between


def _foreign(node: Any) -> str:
    """Code that is not torch's own, and may compute anything; writes to a view that nobody saw."""
    name = node.name()
    if name.endswith("CopySlices"):
        return "" if WRITTEN in metadata(node) else "an in-place call on a view"
    if any(part in name for part in _HARMLESS) or (name.startswith("torch::autograd::") and "CppNode" not in name):
        return ""
    hiding = (text for part, text in _HIDING.items() if part in name)
    return next(hiding, f"autograd.Function {name.removesuffix('Backward')}")
