"""What a wrong implementation may have done: each hypothesis says what its result would then be.

A hypothesis is believed where it explains the result on every small network, those included on which it changes
nothing. Its candidates are computed only when asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attribution.baselines import KINDS
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.core.layers import find_layer, layer_names
from suite.core.passes import Needs, pixel_gradient, run_pass
from suite.core.rectifiers import Rule
from suite.models.embedded import IMAGENET_MEAN, IMAGENET_STD
from suite.verify.networks import Case, SkipBranch
from suite.verify.references import GUIDED, Reference

Make = Callable[[Case], Tensor]
Candidates = Iterable[tuple[str, Make]]
"""(detail, what the result would be); several where the mistake has several forms, or is made on some networks only."""
Hypothesis = tuple[str, Callable[[Case], Candidates]]
Relate = Callable[[Case, Tensor, Tensor], tuple[Tensor, Tensor] | None]
"""(case, found, expected) -> the two as they would be equal; None where the relation says nothing of them."""
Relation = tuple[str, Relate]
Change = Callable[[Tensor], Tensor]


def _scored(case: Case, change: Change) -> Case:
    model = deepcopy(case.model)
    model.register_forward_hook(lambda _m, _i, scores: change(scores))
    return replace(case, model=model)


def _fed(case: Case, change: Change | None, *, train: bool = False) -> Case:
    def before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        module.train(train)
        return (change(args[0]),) if change else None

    model = deepcopy(case.model)
    model.register_forward_pre_hook(before)
    return replace(case, model=model)


def _cut(case: Case, *names: str, skip: bool = False) -> Case:
    """No gradient comes back through these layers; a zero one, so that there is one."""
    model = deepcopy(case.model)
    for name in names:
        find_layer(model, name).register_forward_hook(lambda _m, _i, out: out.detach() + 0 * out)
    if skip and isinstance(model, SkipBranch):
        model.cut = True
    return replace(case, model=model)


def _aimed(case: Case, change: Callable[[Tensor, Tensor], Tensor]) -> Case:
    with torch.no_grad():
        return replace(case, targets=change(case.targets, case.model(case.images.clone())))


def _lowered(case: Case, dtype: torch.dtype) -> Case:
    return replace(case, model=deepcopy(case.model).to(dtype), images=case.images.to(dtype))


def _normalised(images: Tensor) -> Tensor:
    mean, std = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1), images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (images - mean) / std


def _detached(case: Case) -> Iterator[tuple[str, Case]]:
    names = layer_names(case.model)
    yield "", case
    yield "at the ReLUs", _cut(case, *(n for n in names if isinstance(find_layer(case.model, n), nn.ReLU)))
    yield "at the skip branch", _cut(case, skip=True)
    for name in names if case.small else ():
        yield f"at {name}", _cut(case, name)


def circumstances(does: str, *, layered: bool) -> Iterator[tuple[str, Callable[[Case], Iterable[tuple[str, Case]]]]]:
    """What may be wrong around a method that `does` a score: the case as the implementation saw it."""

    def scored(change: Change) -> Callable[[Case], Iterable[tuple[str, Case]]]:
        return lambda c: [("", _scored(c, change))]

    def aimed(*changes: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case], Iterable[tuple[str, Case]]]:
        return lambda c: [("", _aimed(c, change)) for change in changes]

    yield f"{does} the softmax probability, not the score", scored(lambda s: s.softmax(1))
    yield f"{does} the log-probability, not the score", scored(lambda s: s.log_softmax(1))
    yield f"{does} the cross entropy loss, not the score", scored(lambda s: -s.log_softmax(1))
    yield f"{does} the sum of all scores, not the target's", scored(lambda s: s.sum(1, keepdim=True).expand_as(s))
    after = aimed(lambda t, s: (t + 1) % s.shape[1], lambda t, s: (t + 1).clamp(max=s.shape[1] - 1))
    yield f"{does} the wrong class (off by one: target + 1)", after
    before = aimed(lambda t, s: (t - 1) % s.shape[1], lambda t, s: (t - 1).clamp(min=0))
    yield f"{does} the wrong class (off by one: target - 1)", before
    yield f"{does} the top class, not the target", aimed(lambda t, s: s.argmax(1))
    yield f"{does} the first image's target for all images", aimed(lambda t, s: t[:1].expand_as(t))
    yield "runs the network in train mode", lambda c: [("", _fed(c, None, train=True))]
    twice: Callable[[Case], Case] = lambda c: replace(c, images=_normalised(c.images))  # noqa: E731
    yield "normalises the images twice", lambda c: [("", _fed(c, _normalised)), ("", twice(c))]
    low = torch.float16, torch.bfloat16
    yield "computes in half precision", lambda c: [("", _lowered(c, dtype)) for dtype in low]
    if layered:
        layers: Callable[[Case], list[str]] = lambda c: [c.layer, *layer_names(c.model)]  # noqa: E731
        yield "takes the wrong layer", lambda c: [(n if n != c.layer else "", replace(c, layer=n)) for n in layers(c)]
    yield "a path of the graph is detached", _detached


def outcomes(reference: Reference) -> Iterator[Hypothesis]:
    """What the reference gives under each circumstance."""

    def seen(change: Callable[[Case], Iterable[tuple[str, Case]]]) -> Callable[[Case], Candidates]:
        return lambda case: ((detail, lambda _, c=c: reference(c)) for detail, c in change(case))  # type: ignore[misc]

    def autocast(case: Case) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return reference(case)

    yield "returns zeros", lambda _: [("", lambda c: torch.zeros_like(reference(c)))]
    layered = reference.twin.startswith("layer") or reference.twin.endswith("grad_cam")
    for text, change in circumstances("attacks" if reference.attack else "explains", layered=layered):
        yield text, seen(change)
    yield "computes in half precision (autocast)", lambda _: [("", reference), ("", autocast)]


def _gradient(case: Case, rule: Rule = "plain") -> Tensor:
    return pixel_gradient(case.model, case.images, case.targets, rule)


def _negative(case: Case) -> Tensor:
    """Guided backpropagation of the negated score, negated: only negative gradients pass."""
    return -_gradient(_scored(case, torch.neg), "guided")


_CAMS: tuple[tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]], ...] = (  # of activation, gradient and its mean
    ("the ReLU is missing", lambda a, g, w: (w * a).sum(1, True)),
    ("adds a ReLU that the reference leaves out", lambda a, g, w: (w * a).sum(1, True).relu()),
    ("the ReLU is on the wrong side: before the sum over channels", lambda a, g, w: (w * a).relu().sum(1, True)),
    ("the ReLU is on the wrong side: of the weights", lambda a, g, w: (w.relu() * a).sum(1, True).relu()),
    ("the ReLU is on the wrong side: of the weights alone", lambda a, g, w: (w.relu() * a).sum(1, True)),
    ("the ReLU is on the wrong side: of the negated map", lambda a, g, w: (-(w * a).sum(1, True)).relu()),
    ("the ReLU is on the wrong side: it keeps the negative", lambda a, g, w: (w * a).sum(1, True).clamp(max=0)),
    ("takes the absolute value, not the ReLU", lambda a, g, w: (w * a).sum(1, True).abs()),
    ("multiplies position by position, without the mean", lambda a, g, w: (g * a).sum(1, True).relu()),
    ("multiplies position by position, without the mean or the ReLU", lambda a, g, w: (g * a).sum(1, True)),
    ("takes the channel mean instead of the sum", lambda a, g, w: (w * a).mean(1, True).relu()),
    ("takes the channel mean instead of the sum, without the ReLU", lambda a, g, w: (w * a).mean(1, True)),
)
_CAM = _CAMS[1][1]


def _cam(case: Case, reduce: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    found = run_pass(case.model, case.images, case.targets, Needs(layers=frozenset({case.layer})))
    activation, gradient = found.activations[case.layer], found.layer_gradients[case.layer]
    return reduce(activation, gradient, gradient.mean((2, 3), keepdim=True))


def _guided_cam(case: Case, gradient: Make, reduce: Any = _CAM, mode: str = "nearest") -> Tensor:
    return gradient(case) * F.interpolate(_cam(case, reduce), size=case.images.shape[2:], mode=mode)


def _path_sum(case: Case, kind: str, steps: int) -> Tensor:
    nodes = torch.linspace(0, 1, steps) if kind == "inclusive" else torch.arange(steps) / steps
    shift = {"right": 1.0, "middle": 0.5}.get(kind, 0.0) / steps
    points = torch.cat([(at + shift) * case.images for at in nodes])
    found = _gradient(replace(case, images=points, targets=case.targets.repeat(steps)))
    return found.view(steps, *case.images.shape).mean(0) * case.images


def definitions(reference: Reference) -> Iterator[Hypothesis]:
    """Neighbouring definitions that are often taken for the reference's."""

    def one(*makes: Make) -> Callable[[Case], Candidates]:
        return lambda _: [("", make) for make in makes]

    twin, guided = reference.twin, partial(_gradient, rule="guided")
    if twin in ("saliency", "gradient"):
        signed = "the absolute value is missing (channel maximum of the signed gradient)"
        yield signed, one(lambda c: _gradient(c).amax(1, keepdim=True))
        yield "takes the channel mean instead of the maximum", one(lambda c: _gradient(c).abs().mean(1, keepdim=True))
        yield "takes the channel sum instead of the maximum", one(lambda c: _gradient(c).abs().sum(1, keepdim=True))
        yield "takes the channel norm instead of the maximum", one(lambda c: _gradient(c).norm(dim=1, keepdim=True))
        yield "multiplies by the input", one(lambda c: _gradient(c) * c.images)
    if twin in ("input_x_gradient", "integrated_gradients"):
        yield "the input factor is missing", one(lambda c: reference(c) / c.images)
        yield "is the plain gradient", one(_gradient)
    if twin == "integrated_gradients":
        method: Callable[..., Make] = lambda **of: lambda c: IntegratedGradients(**of)(c.model, c.images, c.targets)  # noqa: E731
        yield "is input times gradient: there is no path", one(lambda c: _gradient(c) * c.images)
        yield "starts from another baseline", lambda _: [(k, method(baseline=k)) for k in KINDS[1:]]
        gauss = [(f"{n} steps", method(steps=n)) for n in (5, 10, 20, 25, 30, 32, 64, 100, 200, 300)]
        sums = [
            (f"{kind} sum of {n} steps", partial(_path_sum, kind=kind, steps=n))
            for n in (50, 100, 20, 10)
            for kind in ("left", "right", "middle", "inclusive")
        ]
        yield "averages otherwise along the path", lambda _: [*gauss, *sums]
    if twin in GUIDED:
        # On some networks only: those whose ReLUs are functions, which hooks on modules never see.
        missed: Make = _gradient if twin in GUIDED[:2] else partial(_guided_cam, gradient=_gradient)
        yield (
            "is the plain gradient: no ReLU's backward differs",
            lambda case: [("", reference), (f"on {case.name}", missed)],
        )
        from suite.reference.captum import captum_attribution

        kind = {"guided_backprop": "GuidedBackprop", "deconvolution": "Deconvolution"}.get(twin, "GuidedGradCam")
        theirs = Reference(f"captum:{kind}", captum_attribution(kind), twin)
        yield "rules the ReLUs as Captum does: functions are missed, a skip branch is clamped too", one(theirs)
    if twin in GUIDED[:2]:
        yield "is deconvolution: the ReLU's own mask is missing", one(partial(_gradient, rule="deconvolution"))
        yield "is guided backpropagation", one(guided)
        yield "the ReLU is on the wrong side: negative gradients pass", one(_negative)
        yield "the ReLU is on the wrong side: of the pixels' gradient", one(lambda c: _gradient(c).relu())
    if twin == "grad_cam":
        for text, reduce in _CAMS:
            yield text, one(partial(_cam, reduce=reduce))
    if twin == "guided_grad_cam":
        for mode in ("bilinear", "bicubic"):
            made = [partial(_guided_cam, gradient=g, mode=mode) for g in (guided, _gradient)]
            yield f"upsamples {mode}, the reference nearest", one(*made)
        multiplied = partial(_guided_cam, gradient=partial(_gradient, rule="deconvolution"))
        yield "multiplies the deconvolution", one(multiplied)
        yield "the ReLU is on the wrong side", one(partial(_guided_cam, gradient=_negative))
        for text, reduce in _CAMS:
            yield f"{text} (in Grad-CAM)", one(partial(_guided_cam, gradient=guided, reduce=reduce))
        yield "is guided backpropagation", one(guided)


def attack_definitions(reference: Reference) -> Iterator[Hypothesis]:
    """The same for attacks."""
    from suite.reference.torchattacks import torchattacks_attack

    fixed = {"random_start": False} if reference.variant else {}

    def variant(**changes: Any) -> Make:
        return replace(reference, compute=torchattacks_attack(reference.twin, **fixed, **changes))

    def direction(case: Case) -> Tensor:
        with torch.enable_grad():
            images = case.images.clone().requires_grad_()
            loss = F.cross_entropy(case.model(images.clone()), case.targets, reduction="sum")
        return torch.autograd.grad(loss, images)[0]

    def step(change: Change, towards: Make = direction) -> tuple[str, Make]:
        return "", lambda c: (c.images + 8 / 255 * change(towards(c))).clamp(0, 1)

    yield "descends the loss: the sign is wrong", lambda _: [("", variant(targeted=True))]
    if reference.twin == "FGSM":
        unsigned = step(lambda g: g), step(lambda g: g / len(g)), step(lambda g: F.normalize(g.flatten(1)).view_as(g))
        yield "the gradient's sign is not taken", lambda _: unsigned
        yield "lowers the score, not raises the loss", lambda _: [step(lambda g: -g.sign(), _gradient)]
    else:
        yield "the projection onto the ball is missing", lambda _: [("", variant(eps=1e4))]
        steps = [(str(n), variant(steps=n)) for n in (1, 5, 7, 9, 11, 20, 40, 50, 100)]
        yield "takes another number of steps", lambda _: steps
    sizes = [e / 255 for e in (0.5, 1, 2, 4, 8, 16, 32)] + [0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 2.0]
    for name, key in (("epsilon", "eps"), ("step size", "alpha"))[: 1 if reference.twin == "FGSM" else 2]:
        found = [(f"{255 * size:.3g}/255", variant(**{key: size})) for size in sizes]
        yield f"takes another {name}", lambda _, found=found: found  # type: ignore[misc]


def _gathered(reduce: Change) -> Relate:
    """Of whichever side has the channels, where the other has one."""

    def relation(_case: Case, found: Tensor, expected: Tensor) -> tuple[Tensor, Tensor] | None:
        if found.shape[1] == expected.shape[1]:
            return None
        return (found, reduce(expected)) if found.shape[1] == 1 else (reduce(found), expected)

    return relation


def _resized(**how: Any) -> Relate:
    def relation(_case: Case, found: Tensor, expected: Tensor) -> tuple[Tensor, Tensor] | None:
        if found.shape[2:] == expected.shape[2:]:
            return None
        if found.shape[2] < expected.shape[2]:
            return F.interpolate(found, size=expected.shape[2:], **how), expected
        return found, F.interpolate(expected, size=found.shape[2:], **how)

    return relation


def _scaled(*dims: int) -> Relate:
    def relation(_case: Case, found: Tensor, expected: Tensor) -> tuple[Tensor, Tensor] | None:
        if found.shape != expected.shape:
            return None
        over = expected.square().sum(dims, keepdim=True)
        return found, torch.where(over > 0, (found * expected).sum(dims, keepdim=True) / over, 1) * expected

    return relation


def _ranged(a: Tensor) -> Tensor:
    low, high = a.amin((1, 2, 3), keepdim=True), a.amax((1, 2, 3), keepdim=True)
    return (a - low) / (high - low)


FORMS: tuple[Relation, ...] = (
    ("the sign", lambda _, f, e: (-f, e)),
    ("the absolute value", lambda _, f, e: (f.abs(), e.abs())),
    ("the channel maximum (of absolute values)", _gathered(lambda m: m.abs().amax(1, keepdim=True))),
    ("the channel maximum", _gathered(lambda m: m.amax(1, keepdim=True))),
    ("the channel mean (of absolute values)", _gathered(lambda m: m.abs().mean(1, keepdim=True))),
    ("the channel mean", _gathered(lambda m: m.mean(1, keepdim=True))),
    ("the channel sum", _gathered(lambda m: m.sum(1, keepdim=True))),
    ("nearest upsampling", _resized(mode="nearest")),
    ("bilinear upsampling", _resized(mode="bilinear")),
    ("bilinear upsampling (align_corners)", _resized(mode="bilinear", align_corners=True)),
    ("bicubic upsampling", _resized(mode="bicubic")),
    ("a ReLU", lambda _, f, e: (f.relu(), e.relu())),
)
SCALES: tuple[Relation, ...] = (
    ("the scale", _scaled(0, 1, 2, 3)),
    ("a scale of its own for each image", _scaled(1, 2, 3)),
    ("the range of each image (scale and offset)", lambda _, f, e: (_ranged(f), _ranged(e))),
)
ATTACK_FORMS: tuple[Relation, ...] = (
    ("the clamp to [0, 1]", lambda _, f, e: (f.clamp(0, 1), e)),
    ("the image: it returns the perturbation alone", lambda c, f, e: (f, e - c.images)),
    ("rounding to 8 bits", lambda _, f, e: (f, (e * 255).round() / 255)),
    ("cutting to 8 bits", lambda _, f, e: (f, (e * 255).floor() / 255)),
    ("the sign of the perturbation", lambda c, f, e: ((2 * c.images - f).clamp(0, 1), e)),
)
