"""What a wrong implementation may have done: each hypothesis says what its result would then be.

A hypothesis is believed where it explains the result on every network, those included on which it changes nothing.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.attribution.gradient import Gradient
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.passes import Needs, run_pass
from suite.errors import NotApplicable, SuiteError
from suite.models.embedded import IMAGENET_MEAN, IMAGENET_STD
from suite.models.network import Network
from suite.models.state import in_use
from suite.verify.networks import Case, SkipBranch
from suite.verify.references import Reference

Pair = tuple[Tensor, Tensor]


def relations(found: Tensor, expected: Tensor) -> Iterator[tuple[str, Pair]]:
    """Ways in which two maps can be the same up to something; each as a pair that is then equal.

    Args:
        found: the implementation's map, (B, C, h, w).
        expected: the reference's, possibly of other channels or size.
    """
    yield "equal up to the sign", (-found, expected)
    yield "equal up to the absolute value", (found.abs(), expected.abs())
    if found.shape[1] == 1 < expected.shape[1]:
        yield "equal up to the channel maximum (of absolute values)", (found, expected.abs().amax(1, keepdim=True))
        yield "equal up to the channel maximum", (found, expected.amax(1, keepdim=True))
        yield "takes the channel mean (of absolute values)", (found, expected.abs().mean(1, keepdim=True))
        yield "takes the channel mean", (found, expected.mean(1, keepdim=True))
        yield "takes the channel sum", (found, expected.sum(1, keepdim=True))
    if expected.shape[1] == 1 < found.shape[1]:
        yield "equal up to the channel maximum (of absolute values)", (found.abs().amax(1, keepdim=True), expected)
        yield "equal up to the channel sum", (found.sum(1, keepdim=True), expected)
    if found.shape[2:] != expected.shape[2:] and found.shape[1] == expected.shape[1]:
        for mode in ("nearest", "bilinear", "bicubic"):
            up, down = (found, expected) if found.shape[2] > expected.shape[2] else (expected, found)
            yield f"equal up to {mode} upsampling", (up, F.interpolate(down, size=up.shape[2:], mode=mode))
    yield "equal up to a ReLU", (found.relu(), expected.relu())
    if found.shape == expected.shape:
        scale = (found * expected).sum() / expected.square().sum()
        if bool(torch.isfinite(scale)) and float(scale) != 0:
            yield "equal up to the scale", (found, scale * expected)
        ratio = (found * expected).flatten(1).sum(1) / expected.square().flatten(1).sum(1)
        if bool(torch.isfinite(ratio).all()) and bool((ratio != 0).all()):
            yield "equal up to a scale of its own for each image", (found, ratio.view(-1, 1, 1, 1) * expected)


class _Scores(nn.Module):
    """A network whose output is changed, with its layers under their names."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor], *, twice: bool = False) -> None:
        super().__init__()
        self.inner = model.body if isinstance(model, Network) else model
        self.whole = model
        self.change = change
        self.twice = twice

    def forward(self, images: Tensor) -> Tensor:
        if self.twice:
            mean, std = images.new_tensor(IMAGENET_MEAN), images.new_tensor(IMAGENET_STD)
            images = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        return self.change(self.whole(images))


class _DetachedReLU(TorchFunctionMode):
    """Cuts the graph at every ReLU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result.detach() if getattr(func, "__name__", "") in ("relu", "relu_") else result


def _on(reference: Reference, case: Case, **changes: Any) -> Tensor:
    return reference(replace(case, **changes))


def _changed(reference: Reference, case: Case, change: Callable[[Tensor], Tensor], *, twice: bool = False) -> Tensor:
    wrapped = _Scores(case.model, change, twice=twice).eval()
    prefix = "inner." if case.layer else ""
    return _on(reference, case, model=wrapped, layer=prefix + case.layer)


def _training(reference: Reference, case: Case) -> Tensor:
    model = copy.deepcopy(case.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.train()
        # The references put the network in eval; here the point is that nobody did.
        return reference.compute(_Frozen(model), case.images.clone(), case.targets, f"held.{case.layer}").detach()


class _Frozen(nn.Module):
    """Holds a network in train mode, whatever is asked of it."""

    def __init__(self, held: nn.Module) -> None:
        super().__init__()
        self.held = held.body if isinstance(held, Network) else held
        self.whole = held

    def forward(self, images: Tensor) -> Tensor:
        self.whole.train()
        return self.whole(images)  # type: ignore[no-any-return]


def _half(reference: Reference, case: Case) -> Tensor:
    model = copy.deepcopy(case.model).half()
    return _on(reference, case, model=model, images=case.images.half()).float()


def _detached(reference: Reference, case: Case) -> Tensor:
    with _DetachedReLU():
        return reference(case)


def _cut_skip(reference: Reference, case: Case) -> Tensor:
    if not isinstance(case.model, SkipBranch):
        return reference(case)
    model = copy.deepcopy(case.model)
    model.cut = True
    return _on(reference, case, model=model)


def _shifted(reference: Reference, case: Case, by: int) -> Tensor:
    with in_use(case.model), torch.no_grad():
        classes = case.model(case.images).shape[1]
    return _on(reference, case, targets=(case.targets + by) % classes)


def circumstances(reference: Reference, case: Case) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """What the reference gives when something around it is wrong; computed only when asked for."""
    yield "explains the softmax probability, not the score", lambda: _changed(reference, case, lambda s: s.softmax(1))
    yield "explains the log-probability, not the score", lambda: _changed(reference, case, lambda s: s.log_softmax(1))
    yield (
        "explains the cross entropy loss, not the score",
        lambda: _changed(reference, case, lambda s: -s.log_softmax(1)),
    )
    for by in (1, -1):
        yield f"explains the wrong class (target {by:+d})", lambda by=by: _shifted(reference, case, by)  # type: ignore[misc]
    yield "explains the top class, not the target", lambda: _on(reference, case, targets=_top(case))
    yield "runs the network in train mode", lambda: _training(reference, case)
    yield "normalises the images twice", lambda: _changed(reference, case, lambda s: s, twice=True)
    yield (
        "normalises the images twice (and explains the normalised ones)",
        lambda: _on(reference, case, images=_normalised(case.images)),
    )
    yield "computes in half precision", lambda: _half(reference, case)
    for layer in case.other_layers:
        role = case.other_layers.index(layer)
        yield f"takes the wrong layer (candidate {role})", lambda la=layer: _on(reference, case, layer=la)  # type: ignore[misc]
    yield "a path of the graph is detached (at the ReLUs)", lambda: _detached(reference, case)
    yield "a path of the graph is detached (at the skip branch)", lambda: _cut_skip(reference, case)
    yield "returns zero: its result does not depend on the images", lambda: torch.zeros_like(reference(case))


def _top(case: Case) -> Tensor:
    with in_use(case.model), torch.no_grad():
        return case.model(case.images).argmax(1)  # type: ignore[no-any-return]


def _normalised(images: Tensor) -> Tensor:
    mean, std = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1), images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (images - mean) / std


def definitions(reference: Reference, case: Case) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Neighbouring definitions that are often taken for the reference's."""
    twin = reference.twin

    def gradient() -> Tensor:
        return Gradient()(case.model, case.images, case.targets)

    def cam_parts() -> Pair:
        needs = Needs(layers=frozenset({case.layer}))
        found = run_pass(case.model, case.images, case.targets, needs)
        return found.activations[case.layer], found.layer_gradients[case.layer]

    def cam(reduce: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: reduce(*cam_parts())

    if twin in ("saliency", "gradient"):
        yield (
            "the absolute value is missing (channel maximum of the signed gradient)",
            lambda: gradient().amax(1, keepdim=True),
        )
        yield "the absolute value is missing", gradient
        yield "takes the channel mean instead of the maximum", lambda: gradient().abs().mean(1, keepdim=True)
        yield "takes the channel sum instead of the maximum", lambda: gradient().abs().sum(1, keepdim=True)
    if twin == "input_x_gradient":
        yield "the input factor is missing", gradient
    if twin in ("guided_backprop", "deconvolution", "guided_grad_cam"):
        yield "is the plain gradient: no ReLU was ruled", gradient
        yield "is deconvolution: the ReLU's own mask is missing", lambda: _rule(case, "deconvolution")
        yield "is guided backpropagation", lambda: GuidedBackprop()(case.model, case.images, case.targets)
        yield "the ReLU is on the wrong side: negative gradients pass", lambda: _negative(case)
    if twin in ("grad_cam", "guided_grad_cam"):

        def mean(g: Tensor) -> Tensor:
            return g.mean((2, 3), keepdim=True)

        maps: list[tuple[str, Callable[[Tensor, Tensor], Tensor]]] = [
            ("the ReLU is missing", lambda a, g: (mean(g) * a).sum(1, keepdim=True)),
            (
                "the ReLU is on the wrong side: before the sum over channels",
                lambda a, g: (mean(g) * a).relu().sum(1, keepdim=True),
            ),
            (
                "the ReLU is on the wrong side: of the weights",
                lambda a, g: (mean(g).relu() * a).sum(1, keepdim=True).relu(),
            ),
            (
                "the ReLU is on the wrong side: it keeps what is negative",
                lambda a, g: -(-(mean(g) * a).sum(1, keepdim=True)).relu(),
            ),
            (
                "the ReLU is on the wrong side: of the negated map",
                lambda a, g: (-(mean(g) * a).sum(1, keepdim=True)).relu(),
            ),
            ("adds a ReLU that the reference leaves out", lambda a, g: (mean(g) * a).sum(1, keepdim=True).relu()),
            (
                "multiplies position by position, without averaging the gradient",
                lambda a, g: (g * a).sum(1, keepdim=True).relu(),
            ),
            ("takes the channel mean instead of the sum", lambda a, g: (mean(g) * a).mean(1, keepdim=True).relu()),
        ]
        if twin == "grad_cam":
            for text, reduce in maps:
                yield text, cam(reduce)
        else:
            for mode in ("bilinear", "bicubic"):
                yield f"upsamples {mode}, the reference nearest", lambda m=mode: _guided_cam(case, m)  # type: ignore[misc]
    if twin == "guided_grad_cam":
        yield "the ReLU of the Grad-CAM is missing", lambda: _guided_cam(case, "nearest", relu=False)


def _rule(case: Case, rule: Any) -> Tensor:
    return run_pass(case.model, case.images, case.targets, Needs(frozenset({rule}))).gradient(rule)


def _guided_cam(case: Case, mode: str, *, relu: bool = True) -> Tensor:
    from suite.attribution.grad_cam import grad_cam

    needs = Needs(frozenset({"guided"}), frozenset({case.layer}))
    found = run_pass(case.model, case.images, case.targets, needs)
    cam = grad_cam(found.activations[case.layer], found.layer_gradients[case.layer], relu=relu)
    return found.gradient("guided") * F.interpolate(cam, size=case.images.shape[2:], mode=mode)


def _negative(case: Case) -> Tensor:
    """Guided backpropagation of the negated score, negated: only negative gradients pass."""
    model = _Scores(case.model, lambda s: -s).eval()
    return -run_pass(model, case.images, case.targets, Needs(frozenset({"guided"}))).gradient("guided")


def attempt(make: Callable[[], Tensor]) -> Tensor | None:
    """A hypothesis's result, or None where it cannot be had on this network."""
    try:
        return make()
    except (SuiteError, NotApplicable, RuntimeError, AssertionError, ValueError, IndexError):
        return None
