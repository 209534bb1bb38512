"""Hypotheses about a wrong implementation: each computes the result of one possible mistake.

A hypothesis is believed if it explains the result on every small network, including those on which it changes nothing.
Its candidates are computed on demand. Nothing is compared or decided here.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import product
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
from suite.verify.references import CAPTUM, GUIDED, Reference

Make = Callable[[Case], Tensor]
Candidates = Iterable[tuple[str, Make]]
"""(detail, the mistaken result); several where a mistake has several forms, or is made on some networks only."""
Hypothesis = tuple[str, Callable[[Case], Candidates]]
Relation = tuple[str, Callable[[Case, Tensor, Tensor], tuple[Tensor, Tensor] | None]]
"""(case, result, expected) -> the two as they would be equal; None where the relation says nothing of them."""
Change = Callable[[Tensor], Tensor]


def mistakes(reference: Reference) -> Iterator[Hypothesis]:
    """All hypotheses about an implementation of the reference, the likeliest first."""
    yield from _attacks(reference) if reference.attack else _definitions(reference)
    yield from _circumstances(reference)


def _forms(*makes: Make) -> Callable[[Case], Candidates]:
    return lambda _: [("", make) for make in makes]


def _scored(case: Case, change: Change) -> Case:
    model = deepcopy(case.model)
    model.register_forward_hook(lambda _m, _i, scores: change(scores))
    return replace(case, model=model)


def _fed(case: Case, change: Change | None = None, *, train: bool = False) -> Case:
    def before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        module.train(train)
        return (change(args[0]),) if change else None

    model = deepcopy(case.model)
    model.register_forward_pre_hook(before)
    return replace(case, model=model)


def _cut(case: Case, *names: str, skip: bool = False) -> Case:
    """Only a zero gradient comes back through these layers."""
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


def _relayered(case: Case) -> Iterator[tuple[str, Case]]:
    for name in (case.layer, *layer_names(case.model)):
        yield name if name != case.layer else "", replace(case, layer=name)


def _score(change: Change) -> Callable[[Case], Case]:
    return partial(_scored, change=change)


def _aim(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case], Case]:  # of targets and scores
    return partial(_aimed, change=change)


_CIRCUMSTANCES: tuple[tuple[str, tuple[Callable[[Case], Case], ...]], ...] = (
    ("{does} the softmax probability, not the score", (_score(lambda s: s.softmax(1)),)),
    ("{does} the log-probability, not the score", (_score(lambda s: s.log_softmax(1)),)),
    ("{does} the cross entropy loss, not the score", (_score(lambda s: -s.log_softmax(1)),)),
    ("{does} the sum of all scores, not the target's", (_score(lambda s: s.sum(1, keepdim=True).expand_as(s)),)),
    ("{does} the wrong class (off by one: target + 1)",
     (_aim(lambda t, s: (t + 1) % s.shape[1]), _aim(lambda t, s: (t + 1).clamp(max=s.shape[1] - 1)))),
    ("{does} the wrong class (off by one: target - 1)",
     (_aim(lambda t, s: (t - 1) % s.shape[1]), _aim(lambda t, s: (t - 1).clamp(min=0)))),
    ("{does} the top class, not the target", (_aim(lambda t, s: s.argmax(1)),)),
    ("{does} the first image's target for all images", (_aim(lambda t, s: t[:1].expand_as(t)),)),
    ("runs the network in train mode", (partial(_fed, train=True),)),
    ("normalises the images twice",
     (partial(_fed, change=_normalised), lambda c: replace(c, images=_normalised(c.images)))),
    ("computes in half precision", (partial(_lowered, dtype=torch.float16), partial(_lowered, dtype=torch.bfloat16))),
)  # fmt: skip
"""Mistakes that any method can make: in words, and the case as the implementation saw it."""


def _circumstances(reference: Reference) -> Iterator[Hypothesis]:
    def seen(changes: Callable[[Case], Iterable[tuple[str, Case]]]) -> Callable[[Case], Candidates]:
        def result(changed: Case, _case: Case) -> Tensor:
            return reference(changed)

        return lambda case: ((detail, partial(result, changed)) for detail, changed in changes(case))

    def autocast(case: Case) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return reference(case)

    yield "returns zeros", _forms(lambda c: torch.zeros_like(reference(c)))
    for text, changes in _CIRCUMSTANCES:
        named = text.format(does="attacks" if reference.attack else "explains")
        yield named, _forms(*(lambda c, change=change: reference(change(c)) for change in changes))
    if reference.twin.startswith("layer") or reference.twin.endswith("grad_cam"):
        yield "takes the wrong layer", seen(_relayered)
    yield "a path of the graph is detached", seen(_detached)
    yield "computes in half precision (autocast)", _forms(reference, autocast)


def _gradient(case: Case, rule: Rule = "plain") -> Tensor:
    return pixel_gradient(case.model, case.images, case.targets, rule)


_GUIDED, _DECONVOLUTION = partial(_gradient, rule="guided"), partial(_gradient, rule="deconvolution")


def _negative(case: Case) -> Tensor:
    """Guided backpropagation of the negated score, negated: only negative gradients pass."""
    return -_GUIDED(_scored(case, torch.neg))


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
    needs = Needs(layers=frozenset({case.layer}))
    activation, gradient = run_pass(case.model, case.images, case.targets, needs).layer(case.layer)
    return reduce(activation, gradient, gradient.mean((2, 3), keepdim=True))


def _guided_cam(case: Case, gradient: Make, reduce: Any = _CAM, mode: str = "nearest") -> Tensor:
    return gradient(case) * F.interpolate(_cam(case, reduce), size=case.images.shape[2:], mode=mode)


def _path_sum(case: Case, kind: str, steps: int) -> Tensor:
    nodes = torch.linspace(0, 1, steps) if kind == "inclusive" else torch.arange(steps) / steps
    shift = {"right": 1.0, "middle": 0.5}.get(kind, 0.0) / steps
    points = torch.cat([(at + shift) * case.images for at in nodes])
    gradients = _gradient(replace(case, images=points, targets=case.targets.repeat(steps)))
    return gradients.view(steps, *case.images.shape).mean(0) * case.images


def _integrated(**parameters: Any) -> Make:
    return lambda c: IntegratedGradients(**parameters)(c.model, c.images, c.targets)


_QUADRATURES: list[tuple[str, Make]] = [
    *((f"{n} steps", _integrated(steps=n)) for n in (5, 10, 20, 25, 30, 32, 64, 100, 200, 300)),
    *(
        (f"{kind} sum of {n} steps", partial(_path_sum, kind=kind, steps=n))
        for n, kind in product((50, 100, 20, 10), ("left", "right", "middle", "inclusive"))
    ),
]
_SALIENCY, _CONTRIBUTION = ("saliency", "gradient"), ("input_x_gradient", "integrated_gradients")
_DEFINITIONS: tuple[tuple[tuple[str, ...], str, Callable[[Case], Candidates]], ...] = (
    (_SALIENCY, "the absolute value is missing (channel maximum of the signed gradient)",
     _forms(lambda c: _gradient(c).amax(1, keepdim=True))),
    (_SALIENCY, "takes the channel mean instead of the maximum",
     _forms(lambda c: _gradient(c).abs().mean(1, keepdim=True))),
    (_SALIENCY, "takes the channel sum instead of the maximum",
     _forms(lambda c: _gradient(c).abs().sum(1, keepdim=True))),
    (_SALIENCY, "takes the channel norm instead of the maximum",
     _forms(lambda c: _gradient(c).norm(dim=1, keepdim=True))),
    (_SALIENCY, "multiplies by the input", _forms(lambda c: _gradient(c) * c.images)),
    (_CONTRIBUTION, "is the plain gradient", _forms(_gradient)),
    (_CONTRIBUTION[1:], "is input times gradient: there is no path", _forms(lambda c: _gradient(c) * c.images)),
    (_CONTRIBUTION[1:], "starts from another baseline",
     lambda _: [(kind, _integrated(baseline=kind)) for kind in KINDS[1:]]),
    (_CONTRIBUTION[1:], "averages otherwise along the path", lambda _: _QUADRATURES),
    (GUIDED[:2], "is deconvolution: the ReLU's own mask is missing", _forms(_DECONVOLUTION)),
    (GUIDED[:2], "is guided backpropagation", _forms(_GUIDED)),
    (GUIDED[:2], "the ReLU is on the wrong side: negative gradients pass", _forms(_negative)),
    (GUIDED[:2], "the ReLU is on the wrong side: of the pixels' gradient", _forms(lambda c: _gradient(c).relu())),
    *((("grad_cam",), text, _forms(partial(_cam, reduce=reduce))) for text, reduce in _CAMS),
    *(
        (GUIDED[2:], f"upsamples {mode}, the reference nearest",
         _forms(*(partial(_guided_cam, gradient=gradient, mode=mode) for gradient in (_GUIDED, _gradient))))
        for mode in ("bilinear", "bicubic")
    ),
    (GUIDED[2:], "multiplies the deconvolution", _forms(partial(_guided_cam, gradient=_DECONVOLUTION))),
    (GUIDED[2:], "the ReLU is on the wrong side", _forms(partial(_guided_cam, gradient=_negative))),
    *(
        (GUIDED[2:], f"{text} (in Grad-CAM)", _forms(partial(_guided_cam, gradient=_GUIDED, reduce=reduce)))
        for text, reduce in _CAMS
    ),
    (GUIDED[2:], "is guided backpropagation", _forms(_GUIDED)),
)  # fmt: skip
"""Definitions often mistaken for the reference's: the methods that they are confused with, in words, the result."""


def _definitions(reference: Reference) -> Iterator[Hypothesis]:
    if reference.twin in _CONTRIBUTION:
        yield "the input factor is missing", _forms(lambda c: reference(c) / c.images)
    if reference.twin in GUIDED:
        from suite.reference.captum import captum_attribution

        # On some networks only: those whose ReLUs are functions, which hooks on modules never see.
        missed: Make = _gradient if reference.twin in GUIDED[:2] else partial(_guided_cam, gradient=_gradient)
        plain = "is the plain gradient: no ReLU's backward differs"
        yield plain, lambda case: [("", reference), (f"on {case.name}", missed)]
        kind = next(name for name, twin in CAPTUM.items() if twin == reference.twin)
        captum = Reference(f"captum:{kind}", captum_attribution(kind), reference.twin)
        yield "rules the ReLUs as Captum does: functions are missed, a skip branch is clamped too", _forms(captum)
    yield from ((text, forms) for twins, text, forms in _DEFINITIONS if reference.twin in twins)


def _attacks(reference: Reference) -> Iterator[Hypothesis]:
    from suite.reference.torchattacks import torchattacks_attack

    fixed = {"random_start": False} if reference.still else {}

    def variant(**changes: Any) -> Make:
        return replace(reference, compute=torchattacks_attack(reference.twin, **fixed, **changes))

    def direction(case: Case) -> Tensor:
        with torch.enable_grad():
            images = case.images.clone().requires_grad_()
            loss = F.cross_entropy(case.model(images.clone()), case.targets, reduction="sum")
        return torch.autograd.grad(loss, images)[0]

    def step(change: Change, towards: Make = direction) -> Make:
        return lambda c: (c.images + 8 / 255 * change(towards(c))).clamp(0, 1)

    yield "descends the loss: the sign is wrong", _forms(variant(targeted=True))
    if reference.twin == "FGSM":
        unsigned = step(lambda g: g), step(lambda g: g / len(g)), step(lambda g: F.normalize(g.flatten(1)).view_as(g))
        yield "the gradient's sign is not taken", _forms(*unsigned)
        yield "lowers the score, not raises the loss", _forms(step(lambda g: -g.sign(), _gradient))
    else:
        yield "the projection onto the ball is missing", _forms(variant(eps=1e4))
        steps = [(str(n), variant(steps=n)) for n in (1, 5, 7, 9, 11, 20, 40, 50, 100)]
        yield "takes another number of steps", lambda _: steps
    sizes = [e / 255 for e in (0.5, 1, 2, 4, 8, 16, 32)] + [0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 2.0]
    for name, key in (("epsilon", "eps"), ("step size", "alpha"))[: 1 if reference.twin == "FGSM" else 2]:
        others = [(f"{255 * size:.3g}/255", variant(**{key: size})) for size in sizes]
        yield f"takes another {name}", lambda _, others=others: others  # type: ignore[misc]


def _gathered(reduce: Change, _case: Case, result: Tensor, expected: Tensor) -> tuple[Tensor, Tensor] | None:
    """Reduces the channels of one side where the other side has one channel."""
    if result.shape[1] == expected.shape[1]:
        return None
    return (result, reduce(expected)) if result.shape[1] == 1 else (reduce(result), expected)


def _resized(_case: Case, result: Tensor, expected: Tensor, **options: Any) -> tuple[Tensor, Tensor] | None:
    if result.shape[2:] == expected.shape[2:]:
        return None
    if result.shape[2] < expected.shape[2]:
        return F.interpolate(result, size=expected.shape[2:], **options), expected
    return result, F.interpolate(expected, size=result.shape[2:], **options)


def _scaled(_case: Case, result: Tensor, expected: Tensor, *, dims: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    if result.shape != expected.shape:
        return None
    over = expected.square().sum(dims, keepdim=True)
    return result, torch.where(over > 0, (result * expected).sum(dims, keepdim=True) / over, 1) * expected


def _ranged(a: Tensor) -> Tensor:
    low, high = a.amin((1, 2, 3), keepdim=True), a.amax((1, 2, 3), keepdim=True)
    return (a - low) / (high - low)


FORMS: tuple[Relation, ...] = (
    ("the sign", lambda _, r, e: (-r, e)),
    ("the absolute value", lambda _, r, e: (r.abs(), e.abs())),
    ("the channel maximum (of absolute values)", partial(_gathered, lambda m: m.abs().amax(1, keepdim=True))),
    ("the channel maximum", partial(_gathered, lambda m: m.amax(1, keepdim=True))),
    ("the channel mean (of absolute values)", partial(_gathered, lambda m: m.abs().mean(1, keepdim=True))),
    ("the channel mean", partial(_gathered, lambda m: m.mean(1, keepdim=True))),
    ("the channel sum", partial(_gathered, lambda m: m.sum(1, keepdim=True))),
    ("nearest upsampling", partial(_resized, mode="nearest")),
    ("bilinear upsampling", partial(_resized, mode="bilinear")),
    ("bilinear upsampling (align_corners)", partial(_resized, mode="bilinear", align_corners=True)),
    ("bicubic upsampling", partial(_resized, mode="bicubic")),
    ("a ReLU", lambda _, r, e: (r.relu(), e.relu())),
)
SCALES: tuple[Relation, ...] = (
    ("the scale", partial(_scaled, dims=(0, 1, 2, 3))),
    ("a scale of its own for each image", partial(_scaled, dims=(1, 2, 3))),
    ("the range of each image (scale and offset)", lambda _, r, e: (_ranged(r), _ranged(e))),
)
ATTACK_FORMS: tuple[Relation, ...] = (
    ("the clamp to [0, 1]", lambda _, r, e: (r.clamp(0, 1), e)),
    ("the image: it returns the perturbation alone", lambda c, r, e: (r, e - c.images)),
    ("rounding to 8 bits", lambda _, r, e: (r, (e * 255).round() / 255)),
    ("cutting to 8 bits", lambda _, r, e: (r, (e * 255).floor() / 255)),
    ("the sign of the perturbation", lambda c, r, e: ((2 * c.images - r).clamp(0, 1), e)),
)
