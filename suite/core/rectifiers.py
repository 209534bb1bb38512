"""Rectifiers, however a network calls them: modules, functions, in place. Their backward rule switches without hooks.

`Rectifying` is a function mode: while it is active it sees every call of torch. Each rectifier's node in the graph gets
a hook of its own, which dies with the graph, so nothing can be left behind on a module or a user's tensor, and a
rectifier whose input also feeds a skip branch is overridden alone (Captum hooks the input tensor and clamps the total).

What no call shows still stands in the graph, which `Rectifying.follow` reads after the forward pass: a guided rule
applies to all rectifiers between the pixels and the score, or to none. No method is known here, only rules.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.core.graph import WRITTEN, Path, gradient_path, metadata, rectifies, relu_between, unruled
from suite.core.state import in_use
from suite.core.torch_private import base_of
from suite.errors import NotApplicable

Rule = Literal["plain", "guided", "deconvolution"]
RECTIFIER = "rectifier"  # the key of a rectifier's number in the metadata of its node

_RELU: frozenset[Any] = frozenset({F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
_CLAMP: frozenset[Any] = frozenset(
    {torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_, torch.clamp, torch.clamp_}
    | {Tensor.clamp, Tensor.clamp_, torch.clip, torch.clip_, Tensor.clip, Tensor.clip_}
)
_HARDTANH: frozenset[Any] = frozenset({F.hardtanh, F.hardtanh_})
_THRESHOLD: frozenset[Any] = frozenset({F.threshold, torch.threshold, torch.threshold_})
_COMPARES = frozenset(
    {"gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "sign", "sgn", "signbit", "heaviside"}
)
_WRITES = frozenset(
    {"copy_", "zero_", "fill_", "add_", "sub_", "mul_", "div_"}
    | {"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__"}
)


def rectifier_kind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """ReLU, ReLU6 or another ReLU with a ceiling, by what the call computes; None for everything else."""

    def two(first: str, second: str) -> tuple[Any, Any]:  # the arguments after the tensor, by place or by name
        named = dict(zip((first, second), args[1:3], strict=False)) | dict(kwargs)
        return named.get(first), named.get(second)

    if func in _RELU:
        return "ReLU"
    if func is F.relu6:
        return "ReLU6"
    if func in _THRESHOLD:
        return "ReLU" if two("threshold", "value") == (0, 0) else None
    if func in _HARDTANH:
        low, high = two("min_val", "max_val")
        low, high = -1.0 if low is None else low, 1.0 if high is None else high
    elif func in _CLAMP:
        low, high = two("min", "max")
    else:
        return None
    return relu_between(low, high) or None if isinstance(low, int | float) else None


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _mark_written(target: Tensor) -> None:
    """Notes that an in-place write is known: to a view, its node hides inside CopySlices."""
    base = base_of(target)
    base = target if base is None else base
    if base.grad_fn is not None:
        metadata(base.grad_fn)[WRITTEN] = 1


class Rectifying(TorchFunctionMode):
    """Counts rectifiers, and overrides their backward by `rule`, which may change between two backward passes.

    plain: the derivative. guided: the derivative, then only positive gradient passes (Springenberg et al. 2015, eq. 5).
    deconvolution: only positive gradient passes, whatever the activation (Zeiler & Fergus 2014, sec. 2.1). A ReLU with
    a ceiling, such as ReLU6, is treated by its own derivative (0 above 6).

    Attributes:
        rule: of the backward passes from now on.
        seen: how many rectifier calls there were so far; they are numbered from 1 in the metadata of their nodes.
        calls: rectifiers between the score and the pixels by kind, filled by `follow` as are the next; the numbers of
            those that no call showed come after `seen`.
        others: what else stands there that a guided rule would miss, by name: other activations, code that hides.
        watched: numbers of the rectifiers of which `agree` speaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rule: Rule = "plain"
        self.seen = 0
        self.calls: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.watched: frozenset[int] = frozenset()
        self.clamping: list[Tensor] = []
        self.compared = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        kind = rectifier_kind(func, args, kwargs)
        if kind is None:
            result = func(*args, **kwargs)
        else:
            self.seen += 1
            result = self._rectify(kind, func, args, kwargs)
        if name.strip("_") in _COMPARES:
            self.compared |= any(t.is_floating_point() and not isinstance(t, nn.Parameter) for t in _tensors(args))
        elif name in _WRITES and not any(t.dtype == torch.bool or "mul" in name for t in _tensors(args[1:])):
            _mark_written(args[0])  # a factor that is a tensor may be a mask
        return result

    def _rectify(self, kind: str, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        source = args[0] if args else kwargs.get("input")
        in_place = bool(kwargs.get("inplace")) or func.__name__.endswith("_") or any(a is True for a in args[1:])
        if not (in_place and isinstance(source, Tensor) and base_of(source) is not None):
            result: Tensor = func(*args, **kwargs)
            self._override(result.grad_fn, self.seen)
            return result
        # In place on a view the rectifier's node hides inside CopySlices: compute beside, then copy. From a copy,
        # because a box keeps its input for the backward pass.
        beside = source.clone()
        result = torch.relu(beside) if kind == "ReLU" else F.hardtanh(beside, 0.0, float(kind.removeprefix("ReLU")))
        self._override(result.grad_fn, self.seen)
        source.copy_(result)
        _mark_written(source)
        return source

    def _override(self, node: Any, number: int) -> None:
        """Puts the rule of the moment in place of the backward of a rectifier's node."""
        if node is None:
            return
        metadata(node)[RECTIFIER] = number

        def hook(grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]) -> Any:
            below, above = grad_inputs[0], grad_outputs[0]
            if number in self.watched and self.rule == "plain" and below is not None:
                self.clamping.append((below < 0).any())
            if self.rule == "plain" or below is None or above is None:
                return None
            # The node has just made `below`, for this alone; `above` may belong to others too.
            passed = below.clamp_min_(0) if self.rule == "guided" else above.clamp_min(0)
            return (passed, *grad_inputs[1:])

        node.register_hook(hook)

    def agree(self) -> bool:
        """Whether, in the plain pass just made, the guided rule would have changed nothing at any watched rectifier."""
        return not (self.clamping and bool(torch.stack(self.clamping).any()))

    def follow(self, total: Tensor, pixels: Tensor) -> Path:
        """Reads the graph from a score to the pixels: overrides also rectifiers that no call showed, names the rest."""
        path = gradient_path(total, pixels)
        for node in path:
            number = metadata(node).get(RECTIFIER)
            kind = rectifies(node) or (number and "ReLU")
            if kind:
                if number is None:
                    self._override(node, self.seen + self.calls.total() + 1)
                self.calls[kind] += 1
            elif name := unruled(node, path, compared=self.compared):
                self.others[name] += 1
        return path

    def undefined(self, rule: Rule) -> NotApplicable | None:
        """Why a rule does not apply to this forward pass; None where it does, as the plain one always does."""
        return None if rule == "plain" else _undefined(rule, self.calls, self.others)


def _undefined(method: str, calls: Mapping[str, int], others: Mapping[str, int]) -> NotApplicable | None:
    if others:
        named = ", ".join(f"{name} x{count}" for name, count in sorted(others.items()))
        return NotApplicable(f"{method} is defined for ReLUs; this network has {named}")
    if not calls:
        return NotApplicable(f"{method} is defined for ReLUs; this network calls none between pixels and score")
    return None


@dataclass(frozen=True)
class RectifierReport:
    """How a network rectifies, and who sees it.

    Attributes:
        calls: rectifiers between pixels and scores by kind (ReLU, ReLU6, other ceilings likewise).
        others: what else stands there that guided rules are not defined for, or cannot see into, by name.
        missed: rectifiers that go through no `nn.ReLU` module, where Captum's hooks are, by what calls them.
        shared: ReLU modules' calls whose input tensor also feeds something else (Captum clamps the total there).
    """

    calls: dict[str, int]
    others: dict[str, int]
    missed: dict[str, int]
    shared: int

    @property
    def total(self) -> int:
        """All rectifiers; the suite overrides each of them."""
        return sum(self.calls.values())

    @property
    def captum(self) -> int:
        """Those that Captum hooks."""
        return self.total - sum(self.missed.values())

    def require_rectifiers(self, method: str) -> None:
        """Raises NotApplicable where a guided method has nothing, or not only ReLUs, to work on."""
        if undefined := _undefined(method, self.calls, self.others):
            raise undefined

    def why_captum_deviates(self) -> str:
        """The reason why Captum's guided methods differ here, or "" where they should not."""
        reasons = []
        if self.others:
            reasons.append("Captum has no rule for " + ", ".join(sorted(self.others)))
        if self.missed:
            callers = ", ".join(f"{caller} x{count}" for caller, count in sorted(self.missed.items()))
            reasons.append(f"Captum hooks {self.captum} of {self.total} rectifier calls, not those of {callers}")
        if self.shared:
            reasons.append(f"{self.shared} ReLU inputs also feed a skip branch, whose gradient Captum clamps as well")
        return "; ".join(reasons)


_HOOKED = "nn.ReLU modules"  # the callers whose rectifiers Captum hooks


class _Survey(Rectifying):
    """Also notes which kind of module calls each rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[nn.Module] = []  # of the modules that are nothing but a rectifier, those that run now
        self.callers: dict[int, str] = {}

    def _rectify(self, kind: str, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        caller = "function calls"
        if self.inside:
            module = self.inside[-1]
            caller = _HOOKED if isinstance(module, nn.ReLU) else f"nn.{type(module).__name__} modules"
        self.callers[self.seen] = caller
        return super()._rectify(kind, func, args, kwargs)


def rectifier_report(model: nn.Module, images: Tensor) -> RectifierReport:
    """Runs one image forward and counts (see `RectifierReport`).

    Args:
        model: any network.
        images: (B, 3, H, W), as the network takes them; the first is used.
    """
    survey, path = _Survey(), Path()
    inputs = images[:1].clone()

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        survey.inside.pop()

    with ExitStack() as hooks, in_use(model):
        for module in model.modules():
            if isinstance(module, nn.ReLU | nn.Hardtanh | nn.Threshold):  # ReLU6 is a Hardtanh
                hooks.enter_context(module.register_forward_pre_hook(lambda m, _: survey.inside.append(m)))
                hooks.enter_context(module.register_forward_hook(leave))
        with survey:
            scores = model(inputs.requires_grad_().clone())  # a network may rectify its input in place
        if isinstance(scores, Tensor) and scores.requires_grad:
            path = survey.follow(scores.sum(), inputs)
    uses = Counter(source for node in path for source in node.next_functions)  # of each tensor that has a gradient
    callers, shared = Counter[str](), 0
    for node in path:
        if number := metadata(node).get(RECTIFIER):
            caller = survey.callers.get(number, "code below Python")
            callers[caller] += 1
            shared += caller == _HOOKED and uses[node.next_functions[0]] > 1
    missed = {caller: count for caller, count in callers.items() if caller != _HOOKED}
    return RectifierReport(dict(survey.calls), dict(survey.others), missed, shared)
