"""Rectifiers, however a network calls them: modules, functions, in place. Their backward rule switches without hooks.

`Rectifying` is a function mode: while it is active it sees every call of torch. Each rectifier's node in the graph gets
a hook of its own, which dies with the graph, so nothing can be left behind on a module or a user's tensor, and a
rectifier whose input also feeds a skip branch is ruled alone (Captum hooks the input tensor and clamps the total).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.errors import NotApplicable
from suite.models.state import in_use

Rule = Literal["plain", "guided", "deconvolution"]
RECTIFIER = "rectifier"  # the key of a rectifier's number in the metadata of its node

_RELU: frozenset[Any] = frozenset({F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
_CLAMP: frozenset[Any] = frozenset({torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_})
_BOX: frozenset[Any] = frozenset(
    {F.relu6, F.hardtanh, F.hardtanh_, torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_}
    | {torch.clip, torch.clip_, Tensor.clip, Tensor.clip_}
)
_THRESHOLD: frozenset[Any] = frozenset({F.threshold, torch.threshold, torch.threshold_})
_OTHER: Mapping[Any, str] = {
    F.gelu: "GELU",
    F.silu: "SiLU",
    F.hardswish: "Hardswish",
    F.leaky_relu: "LeakyReLU",
    F.leaky_relu_: "LeakyReLU",
    F.prelu: "PReLU",
    F.elu: "ELU",
    F.elu_: "ELU",
    F.celu: "CELU",
    F.selu: "SELU",
    F.rrelu: "RReLU",
    torch.celu: "CELU",
    torch.celu_: "CELU",
    torch.selu: "SELU",
    torch.selu_: "SELU",
    torch.rrelu: "RReLU",
    torch.rrelu_: "RReLU",
    F.mish: "Mish",
    F.softplus: "Softplus",
}


def rectifier_kind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """ReLU, ReLU6 or another ReLU with a ceiling, by what the call computes; None for everything else."""
    if func in _RELU:
        return "ReLU"
    if func in _CLAMP or func in _BOX or func in _THRESHOLD:
        names = {F.hardtanh: ("min_val", "max_val"), F.hardtanh_: ("min_val", "max_val")}.get(func, ("min", "max"))
        given = dict(zip(names, args[1:3], strict=False)) | {k: v for k, v in kwargs.items() if k in names}
        low, high = given.get(names[0]), given.get(names[1])
        if func is F.relu6:
            return "ReLU6"
        if func in _THRESHOLD:
            rest = list(args[1:3]) + [kwargs[k] for k in ("threshold", "value") if k in kwargs]
            return "ReLU" if rest[:2] == [0, 0] or rest[:2] == [0.0, 0.0] else None
        if func in (F.hardtanh, F.hardtanh_):
            low, high = -1.0 if low is None else low, 1.0 if high is None else high
        if isinstance(low, int | float) and low == 0:
            if high is None:
                return "ReLU"
            return f"ReLU{high:g}" if isinstance(high, int | float) and high > 0 else None
    return None


def metadata(node: Any) -> dict[str, int]:
    """What is kept with a node of the graph for as long as the graph lives."""
    kept: dict[str, int] = node.metadata
    return kept


class Rectifying(TorchFunctionMode):
    """Counts rectifiers, and rules their backward pass by `rule`, which may change between two backward passes.

    plain: the derivative. guided: the derivative, then only positive gradient passes (Springenberg et al. 2015, eq. 5).
    deconvolution: only positive gradient passes, whatever the activation (Zeiler & Fergus 2014, sec. 2.1). A ReLU with
    a ceiling, such as ReLU6, is treated by its own derivative (0 above 6).

    Attributes:
        rule: of the backward passes from now on.
        calls, others: rectifiers, and other activations, of the forward pass by kind.
        watched: numbers (in the metadata of their nodes) of the rectifiers whose gradients `agree` tells of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rule: Rule = "plain"
        self.calls: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.watched: frozenset[int] = frozenset()
        self.clamping: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = rectifier_kind(func, args, kwargs)
        if kind is None:
            if func in _OTHER:
                self.others[_OTHER[func]] += 1
            return func(*args, **kwargs)
        self.calls[kind] += 1
        source = args[0] if args else kwargs.get("input")
        in_place = bool(kwargs.get("inplace")) or func.__name__.endswith("_") or any(a is True for a in args[1:])
        if in_place and isinstance(source, Tensor) and source._is_view():
            # In place on a view the rectifier's node hides inside CopySlices: compute beside, then copy. From a copy,
            # because a box keeps its input for the backward pass.
            beside = source.clone()
            result = torch.relu(beside) if kind == "ReLU" else F.hardtanh(beside, 0.0, float(kind.removeprefix("ReLU")))
            self._watch(result)
            return source.copy_(result)
        result = func(*args, **kwargs)
        self._watch(result)
        return result

    def _watch(self, result: Tensor) -> None:
        node = result.grad_fn
        if node is None:
            return
        number = self.calls.total()
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
        return not any(self.clamping)

    def require_rectifiers(self, method: str) -> None:
        """Raises NotApplicable where a guided rule has nothing, or not only ReLUs, to work on."""
        if self.others:
            named = ", ".join(f"{name} x{count}" for name, count in sorted(self.others.items()))
            raise NotApplicable(f"{method} is defined for ReLUs; this network has {named}")
        if not self.calls:
            raise NotApplicable(f"{method} is defined for ReLUs; this network's forward pass calls none")


@dataclass(frozen=True)
class RectifierReport:
    """How a network rectifies, and who sees it.

    Attributes:
        calls: rectifier calls of one forward pass by kind (ReLU, ReLU6, other ceilings likewise).
        others: calls of other activations by name, for which guided rules are not defined.
        captum: calls that go through an `nn.ReLU` module, the only ones that Captum hooks.
        shared: ReLU modules' calls whose input tensor also feeds something else (Captum clamps the total there).
    """

    calls: dict[str, int]
    others: dict[str, int]
    captum: int
    shared: int

    @property
    def total(self) -> int:
        """All rectifier calls, each of which the suite rules."""
        return sum(self.calls.values())

    def why_captum_parts(self) -> str:
        """The reason why Captum's guided methods differ here, or "" where they should not."""
        reasons = []
        if self.others:
            reasons.append("Captum returns the plain gradient through " + ", ".join(sorted(self.others)))
        if self.captum < self.total:
            reasons.append(f"Captum hooks {self.captum} of {self.total} rectifier calls (functional ones escape it)")
        if self.shared:
            reasons.append(f"{self.shared} ReLU inputs also feed a skip branch, whose gradient Captum clamps as well")
        return "; ".join(reasons)


_LOOKS = frozenset({"__get__", "size", "dim", "numel", "stride", "is_floating_point", "is_contiguous", "__len__"})
"""Calls that look at a tensor and take nothing from it that a gradient could come back through."""


class _Survey(Rectifying):
    """Also follows which rectifier inputs are used again."""

    def __init__(self) -> None:
        super().__init__()
        self.inside_module = 0
        self.captum = 0
        self.kept: dict[int, Tensor] = {}  # id -> the tensor, kept alive so that ids stay unique
        self.uses: Counter[tuple[int, int]] = Counter()  # (id, version): what an in-place call leaves is another value

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") not in _LOOKS:
            leaves = [a for value in [*args, *(kwargs or {}).values()] for a in _tensors(value)]
            for leaf in {id(t): t for t in leaves}.values():
                self.kept[id(leaf)] = leaf
                self.uses[id(leaf), leaf._version] += 1
        if rectifier_kind(func, args, kwargs or {}) is not None and self.inside_module:
            self.captum += 1
        return super().__torch_function__(func, types, args, kwargs)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def rectifier_report(model: nn.Module, images: Tensor) -> RectifierReport:
    """Runs one image forward and counts (see `RectifierReport`).

    Args:
        model: any network.
        images: (B, 3, H, W), as the network takes them; the first is used.
    """
    survey = _Survey()
    watched: list[tuple[int, int]] = []

    def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        survey.inside_module += 1
        watched.append((id(inputs[0]), inputs[0]._version))

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        survey.inside_module -= 1

    modules = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    with _hooks(modules, enter, leave), in_use(model), torch.no_grad(), survey:
        model(images[:1].clone())  # a network may rectify its input in place
    shared = sum(survey.uses[place] > 1 for place in watched)
    return RectifierReport(dict(survey.calls), dict(survey.others), survey.captum, shared)


@contextmanager
def _hooks(modules: Sequence[nn.Module], enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    handles = [m.register_forward_pre_hook(enter) for m in modules] + [m.register_forward_hook(leave) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
