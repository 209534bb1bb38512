"""The shared pass: one forward, one backward a rule, for all methods that ask. It knows what is needed, never by whom.

Gradients are of the target's unnormalised score, summed over the batch: an image's score depends on its own pixels
alone, so one backward serves all images exactly. Checks of images and targets stand here too; maps do not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from suite.core.draws import Digests
from suite.core.graph import metadata, nodes_below
from suite.core.layers import default_layer, find_layer
from suite.core.network import scores_of
from suite.core.rectifiers import RECTIFIER, Rectifying, Rule
from suite.core.state import in_use
from suite.errors import DataError, NetworkError, NotApplicable

Targets = int | Sequence[int] | Tensor


@dataclass(frozen=True)
class Needs:
    """What a method takes from the shared pass.

    Attributes:
        gradients: rules under which the gradient with respect to the pixels is needed.
        layers: layers whose output, and the score's gradient with respect to it, is needed ("" is the default layer).
    """

    gradients: frozenset[Rule] = frozenset()
    layers: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.gradients | other.gradients, self.layers | other.layers)


@dataclass(frozen=True)
class Cost:
    """Forward and backward passes per image. A backward pass needed for layers alone stops at the lowest of them."""

    forwards: int = 0
    backwards: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.forwards + other.forwards, self.backwards + other.backwards)

    def __str__(self) -> str:
        forwards, backwards = "s" * (self.forwards != 1), "s" * (self.backwards != 1)
        return f"{self.forwards} forward{forwards} + {self.backwards} backward{backwards}"


def cost_of(needs: Needs) -> Cost:
    """One forward, and one backward a rule; layer gradients ride on the plain rule's."""
    rules = needs.gradients | ({"plain"} if needs.layers else set())
    return Cost(1, len(rules))


@dataclass
class Pass:
    """What one shared pass gave.

    Attributes:
        images: (B, 3, H, W), detached.
        targets: (B,), int64.
        scores: (B, K), detached.
        gradients: rule -> (B, 3, H, W).
        activations: layer -> its output, (B, C, h, w) for a convolution.
        layer_gradients: layer -> gradient of the score, of the output's shape.
        undefined: rule, or asked layer -> why it is not defined on this network; its tensors are then absent.
    """

    images: Tensor
    targets: Tensor
    scores: Tensor
    gradients: dict[Rule, Tensor] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)
    layer_gradients: dict[str, Tensor] = field(default_factory=dict)
    undefined: dict[str, NotApplicable] = field(default_factory=dict)

    def gradient(self, rule: Rule) -> Tensor:
        """The pixels' gradient under a rule; raises NotApplicable where the rule is not defined."""
        if rule in self.undefined:
            raise self.undefined[rule]
        return self.gradients[rule]

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """A layer's output and its gradient; raises NotApplicable where the network has no default layer."""
        if name in self.undefined:
            raise self.undefined[name]
        return self.activations[name], self.layer_gradients[name]


def as_targets(targets: Targets, images: Tensor) -> Tensor:
    """(B,) int64 on the images' device, from one class for all or one an image."""
    try:
        tensor = torch.as_tensor(targets, device=images.device)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0)  # of floating point
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise DataError(f"targets: expected class indices (int), got {targets!r:.60}")
    with torch.inference_mode(False):  # else the index could not be kept for the backward pass
        tensor = tensor.clone().to(torch.int64)
    tensor = tensor.expand(len(images)) if tensor.ndim == 0 else tensor
    if tensor.shape != (len(images),):
        raise DataError(f"targets: expected one class, or {len(images)} of them, got shape {tuple(tensor.shape)}")
    return tensor


@dataclass(frozen=True)
class _Checked:
    """What is known of the images and targets of the call that is at work."""

    images: Tensor
    targets: Tensor
    least: float
    most: float
    classes: list[int]
    digests: Digests


_CHECKED: ContextVar[_Checked | None] = ContextVar("checked", default=None)


@contextmanager
def checked(images: object, targets: Targets) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as `check_images` gives them and targets as `as_targets` does, read back from the device once.

    Inside the block neither they nor what is made of them are read again: each read makes a card wait.
    """
    known = _CHECKED.get()
    if known is not None and images is known.images and targets is known.targets:
        yield known.images, known.targets
        return
    images = _pictures(images)
    targets = as_targets(targets, images)
    wide = torch.float32 if images.device.type == "mps" else torch.float64  # exact for a class in both
    least, most, *classes = torch.cat([torch.stack(images.aminmax()).to(wide), targets.to(wide)]).tolist()
    _refuse_not_finite(images, least, most)
    token = _CHECKED.set(_Checked(images, targets, least, most, [int(c) for c in classes], Digests(images)))
    try:
        yield images, targets
    finally:
        _CHECKED.reset(token)


@contextmanager
def unchecked() -> Iterator[None]:
    """For code that is not a method's own: inside, images and targets are checked anew."""
    token = _CHECKED.set(None)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def pixel_range() -> tuple[float, float]:
    """The least and the greatest pixel of the images of this block of `checked`."""
    return _known().least, _known().most


def classes_of(targets: Tensor) -> list[int]:
    """The targets, on the host; read back unless they are those of this block of `checked`."""
    known = _CHECKED.get()
    return known.classes if known is not None and targets is known.targets else targets.tolist()


def digests() -> Digests:
    """Names of the images of this block of `checked`, by their pixels; hashed at most once."""
    return _known().digests


def _known() -> _Checked:
    known = _CHECKED.get()
    assert known is not None
    return known


def check_images(images: object) -> Tensor:
    """Detached (B, 3, H, W) finite floating point images, usable for gradients."""
    images = _pictures(images)
    if _CHECKED.get() is None:
        _refuse_not_finite(images, *torch.stack(images.aminmax()).tolist())
    return images


def _refuse_not_finite(images: Tensor, least: float, most: float) -> None:
    if not (isfinite(least) and isfinite(most)):
        bad = int((~torch.isfinite(images).flatten(1).all(1)).nonzero()[0, 0])
        raise DataError(f"images: image {bad} holds NaN or infinity; a map of it would look like any other")


def _pictures(images: object) -> Tensor:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise DataError(f"images: expected a floating point tensor (B, C, H, W), got {got}")
    if len(images) == 0:
        raise DataError("images: expected at least one, got an empty batch")
    with torch.inference_mode(False):
        return images.clone() if images.is_inference() else images.detach()


def score(scores: Tensor, targets: Tensor) -> Tensor:
    """(B,) the score of each image's target.

    Raises:
        DataError: where a target is not one of the K classes.
    """
    known = _CHECKED.get()
    classes = targets.tolist() if known is None else known.classes
    low, high = min(classes), max(classes)
    if low < 0 or high >= scores.shape[1]:
        wrong = low if low < 0 else high
        raise DataError(f"target {wrong}: out of range, this network's classes are 0..{scores.shape[1] - 1}")
    return scores.gather(1, targets.unsqueeze(1)).squeeze(1)


def resolve_layer(model: nn.Module, images: Tensor, name: str) -> str:
    """The real name of a layer that exists; "" becomes the network's default target layer."""
    name = name or default_layer(model, images)
    find_layer(model, name)
    return name


@contextmanager
def tapped(model: nn.Module, layers: Iterable[str], *, cut: bool = False) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of layers in one forward pass; no hook outlives the block.

    The outputs are part of the autograd graph, and safe from in-place writes after them. With `cut` the graph begins at
    the first layer that is called: nothing before it is recorded.

    Raises:
        NetworkError: a layer that does not exist, gives no floating point tensor, or is not called exactly once.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            got = f"tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
            raise NetworkError(f"layer {name!r}: its output is a {got}, expected one floating point tensor")
        if name in outputs:
            raise NetworkError(
                f"layer {name!r}: called more than once in a forward pass, so its map is not defined; "
                "name a layer that is called once"
            )
        if (cut and not outputs) or not output.requires_grad:
            output = output.detach().requires_grad_()  # of ours, the network's own tensor stays as it is
        kept: Tensor = output
        outputs[name] = kept
        return kept.clone()  # an in-place ReLU that follows writes into the copy

    names = sorted({*layers})
    with ExitStack() as hooks:
        for name in names:
            hook = lambda _module, _inputs, output, name=name: keep(name, output)  # noqa: E731
            hooks.enter_context(find_layer(model, name).register_forward_hook(hook))
        yield outputs
    for name in names:
        if name not in outputs:
            raise NetworkError(f"layer {name!r}: not called in this network's forward pass; name another")


def _connected(total: Tensor, sources: Mapping[str, Tensor], *, retain_graph: bool) -> dict[str, Tensor]:
    """Gradients by name; a clear line, not zeros, where the score is not computed from a source."""
    gradients = torch.autograd.grad(total, [*sources.values()], retain_graph=retain_graph, allow_unused=True)
    for name, gradient in zip(sources, gradients, strict=True):
        if gradient is None:
            raise NetworkError(
                f"the target's score has no gradient with respect to {name}: the network detaches, or does not use it"
            )
    return dict(zip(sources, gradients, strict=True))


def _rectifiers_above(total: Tensor, layer: Tensor, pixels: Tensor) -> frozenset[int] | None:
    """Numbers of the rectifiers between the score and a layer; None where another way leads past it to the pixels."""
    above = list(nodes_below(total, stop=lambda node: node is layer.grad_fn))
    if any(getattr(node, "variable", None) is pixels for node in above):
        return None
    return frozenset(metadata(node)[RECTIFIER] for node in above if RECTIFIER in metadata(node))


def _backward(
    result: Pass,
    total: Tensor,
    inputs: Tensor,
    outputs: Mapping[str, Tensor],
    rules: Sequence[Rule],
    rectifying: Rectifying | None,
) -> None:
    """The gradients of a forward pass, into `result`: of the pixels by each rule, of the layers by the plain one."""
    backwards: list[Rule] = [*rules] if "plain" in rules or not outputs else ["plain", *rules]
    # A shortcut, equal to the bit: if every path from the score to the pixels goes through the topmost layer recorded,
    # and no ReLU above it clamps a gradient under the guided rule, then the plain gradient at that layer is also the
    # guided one, and the guided pass begins there (SqueezeNet's conv10). For that "plain" comes before "guided".
    relus_above = None
    if rectifying is not None and outputs and {"plain", "guided"} <= set(backwards):
        *_, top = outputs
        relus_above = _rectifiers_above(total, outputs[top], inputs)
        rectifying.watched = relus_above or frozenset()
    for rule in backwards:
        retain_graph = rule != backwards[-1]
        if rectifying is not None:
            rectifying.rule = rule
            if rule == "guided" and relus_above is not None and rectifying.agree():
                at_top = result.layer_gradients[top]
                (result.gradients[rule],) = torch.autograd.grad(outputs[top], inputs, at_top, retain_graph=retain_graph)
                continue
        sources = {"the pixels": inputs} if rule in rules else {}
        layers = {f"layer {name!r}": name for name in outputs} if rule == "plain" else {}
        sources |= {text: outputs[name] for text, name in layers.items()}
        gradients = _connected(total, sources, retain_graph=retain_graph)
        if rule in rules:
            result.gradients[rule] = gradients["the pixels"]
        result.layer_gradients |= {name: gradients[text] for text, name in layers.items()}


def run_pass(model: nn.Module, images: Tensor, targets: Targets, needs: Needs) -> Pass:
    """One forward and the fewest backwards that answer `needs`.

    Args:
        model: (B, 3, H, W) -> (B, K) unnormalised scores.
        images: (B, 3, H, W), floating point.
        targets: one class for all, or one an image.
        needs: see `Needs`.

    Returns:
        A `Pass`, all its tensors detached. The network is left as it was, also after an error.
    """
    images = check_images(images)
    targets = as_targets(targets, images)
    rules = sorted(needs.gradients, key=("plain", "guided", "deconvolution").index)
    undefined: dict[str, NotApplicable] = {}
    with in_use(model):
        layers = {}
        for asked in sorted(needs.layers):
            try:
                layers[asked] = resolve_layer(model, images, asked)
            except NotApplicable as no_map:
                undefined[asked] = no_map
        inputs = images.detach().requires_grad_(bool(rules))
        rectifying = Rectifying() if set(rules) - {"plain"} else None
        with tapped(model, layers.values(), cut=not rules) as outputs, rectifying or nullcontext():
            # A network that rectifies its input in place must not meet a leaf.
            scores = scores_of(model, inputs.clone() if rules else inputs)
        total = score(scores, targets).sum()
        if rectifying is not None:
            rectifying.follow(total, inputs)
            undefined |= {rule: why for rule in rules if (why := rectifying.undefined(rule))}
        rules = [rule for rule in rules if rule not in undefined]
        if not total.requires_grad and (rules or layers):
            raise NetworkError(
                "the network's scores carry no gradient: it detaches, or computes under no_grad or in integers"
            )
        result = Pass(images, targets, scores.detach(), undefined=undefined)
        _backward(result, total, inputs, outputs, rules, rectifying)
    for asked, name in layers.items():
        result.activations[asked] = result.activations[name] = outputs[name].detach()
        result.layer_gradients[asked] = result.layer_gradients[name]
    return result


def pixel_gradient(model: nn.Module, images: Tensor, targets: Targets, rule: Rule = "plain") -> Tensor:
    """(B, 3, H, W), detached: the gradient of each target's score under a rule; raises as `Pass.gradient` does."""
    return run_pass(model, images, targets, Needs(frozenset({rule}))).gradient(rule)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """(B, K) scores, detached, of a network that is found as it was; no gradient is kept."""
    with in_use(model), torch.no_grad():
        return scores_of(model, images)
