"""What attacks share: the goal, the losses, one gradient, and the result with one value an image. Knows no study.

Images are in [0, 1]; epsilon, step sizes and norms are in these units. All losses are to be made large.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.core.draws import draws_on_device, generator_for, hashed, stream_keys
from suite.core.network import scores_of
from suite.core.pixels import as_saved, luminance
from suite.errors import ConfigError, DataError, NetworkError
from suite.metrics.similarity import ssim

Norm = Literal["linf", "l2"]
Loss = Literal["ce", "margin", "dlr", "score"]


@dataclass(frozen=True)
class Goal:
    """What counts as fooled: the labels `classes` (B,) are left or, where `targeted`, these classes are reached."""

    classes: Tensor
    targeted: bool = False

    def reached(self, scores: Tensor) -> Tensor:
        """(B, K) -> (B,) bool."""
        return (scores.argmax(1) == self.classes) == self.targeted

    def of(self, index: Tensor) -> "Goal":
        """The goals of some of the images."""
        return Goal(self.classes[index], self.targeted)


@dataclass
class Iterates:
    """What an attack's loop leaves, one entry an image, before it is judged.

    Attributes:
        images: (B, C, H, W) returned.
        scores: (B, K) on exactly these.
        iterations: (B,) steps until first fooled; all steps taken where never.
        ever: (B,) fooled at some iterate, which need not be the one returned.
        zero_gradients: (B,) steps whose gradient was zero everywhere, so that nothing moved.
        forwards, backwards: (B,) passes.
    """

    images: Tensor
    scores: Tensor
    iterations: Tensor
    ever: Tensor
    zero_gradients: Tensor
    forwards: Tensor
    backwards: Tensor

    @classmethod
    def begin(cls, images: Tensor, scores: Tensor) -> "Iterates":
        """Nothing done yet: the images themselves."""
        none = [torch.zeros(len(images), dtype=torch.int64, device=images.device) for _ in range(4)]
        return cls(images.clone(), scores.clone(), none[0], none[0] > 0, *none[1:])

    def put(self, index: Tensor, images: Tensor, scores: Tensor, keep: Tensor | None = None) -> None:
        """What is returned for some of the images, by number; of these only where `keep` says so."""
        if keep is not None:
            images = torch.where(keep.view(-1, 1, 1, 1), images, self.images[index])
            scores = torch.where(keep[:, None], scores, self.scores[index])
        self.images[index], self.scores[index] = images, scores


@dataclass
class AttackResult(Iterates):
    """One value an image; those of the loop, and what is judged of them.

    Attributes:
        success: fooled, by the scores of the image returned.
        initially: goal reached before the attack (the label was never predicted, or the target was).
        prediction, confidence: of the image returned, by softmax; `clean_prediction` of the original.
        l0: pixels changed (any channel); l2, linf: norms of the difference; ssim: of the luminances, NaN below 11
            pixels a side and where the saved image is not judged.
        saved_success: the verdict once more, of the image read back from an 8-bit PNG.
        silent: fooled on the way, not as returned.
    """

    success: Tensor
    initially: Tensor
    prediction: Tensor
    confidence: Tensor
    clean_prediction: Tensor
    l0: Tensor
    l2: Tensor
    linf: Tensor
    ssim: Tensor
    saved_success: Tensor | None
    silent: Tensor


def judge(model: nn.Module, images: Tensor, goal: Goal, clean: Tensor, end: Iterates, *, saved: bool) -> AttackResult:
    """Verdicts and norms of what a loop left; `saved` costs one more forward, and the SSIM."""
    difference = (end.images.double() - images.double()).flatten(2)
    confidence, prediction = end.scores.double().softmax(1).max(1)
    intact = torch.isfinite(end.images).flatten(1).all(1) & torch.isfinite(end.scores).all(1)
    success = goal.reached(end.scores) & intact
    similarity = images.new_full((len(images),), torch.nan, dtype=torch.float64)
    saved_success = None
    if saved:
        if min(images.shape[2:]) >= 11:
            similarity = ssim(luminance(images)[:, 0], luminance(end.images)[:, 0], data_range=1.0)
        with torch.no_grad():
            saved_success = goal.reached(scores_of(model, as_saved(end.images))) & intact
    return AttackResult(
        **vars(end),
        success=success,
        initially=goal.reached(clean),
        prediction=prediction,
        confidence=confidence,
        clean_prediction=clean.argmax(1),
        l0=(difference != 0).any(1).sum(1),
        l2=difference.flatten(1).norm(dim=1),
        linf=difference.flatten(1).abs().amax(1),
        ssim=similarity,
        saved_success=saved_success,
        silent=end.ever & ~success,
    )


def losses(scores: Tensor, goal: Goal, kind: Loss) -> Tensor:
    """(B,) large where the goal is near.

    Cross entropy of the label (less that of the target); the margin of Carlini and Wagner 2017, best other score less
    the label's (target's less best other); the difference of logits ratio of Croce and Hein 2020, section 4.2, which
    divides it by a range of scores and so does not vanish where the softmax is saturated; the bare score.
    """
    if kind == "ce":
        entropy = F.cross_entropy(scores, goal.classes, reduction="none")
        return -entropy if goal.targeted else entropy
    chosen = scores.gather(1, goal.classes[:, None])[:, 0]
    if kind == "score":
        return chosen if goal.targeted else -chosen
    other = scores.scatter(1, goal.classes[:, None], -torch.inf).amax(1)
    margin = chosen - other if goal.targeted else other - chosen
    if kind == "margin":
        return margin
    if scores.shape[1] < 3 + goal.targeted:
        raise ConfigError(f"loss 'dlr': needs at least {3 + goal.targeted} classes, this network has {scores.shape[1]}")
    top = scores.topk(3 + goal.targeted, 1).values
    return margin / (top[:, 0] - top[:, 2:].mean(1)).clamp_min(1e-12)


def outranks(scores: Tensor, before: Tensor, goal: Goal, kind: Loss) -> Tensor:
    """(B,) bool: (B, K) scores that fool rank above `before` that do not; of two alike, those of the greater loss."""
    fooled = goal.reached(scores)
    return torch.where(fooled == goal.reached(before), losses(scores, goal, kind) > losses(before, goal, kind), fooled)


def step_gradient(
    model: nn.Module, images: Tensor, goal: Goal, kind: Loss, *, mean: bool = False, bf16: bool = False
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Scores (B, K), detached, and what gives the gradient of the loss when it is called (one backward).

    With `mean` the loss is averaged over the batch as libraries do, instead of summed: the sum leaves an image's
    gradient the same whatever stands beside it. `bf16` makes the pass in bfloat16.
    """
    pixels = images.detach().requires_grad_()
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else nullcontext():
        scores = scores_of(model, pixels)
    scores = scores.to(images.dtype)
    each = losses(scores, goal, kind)
    total = each.mean() if mean else each.sum()

    def gradient() -> Tensor:
        if not total.requires_grad:
            raise NetworkError("the network's scores carry no gradient: it detaches, or computes in integers")
        (direction,) = torch.autograd.grad(total, pixels, allow_unused=True)
        if direction is None:
            raise NetworkError("the scores have no gradient with respect to the pixels: the network detaches them")
        return direction

    return scores.detach(), gradient


def check_pixels(images: Tensor) -> None:
    """Refuses what is not in [0, 1]; libraries clamp it without a word, and attack another image."""
    low, high = torch.stack(images.aminmax()).tolist()
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise DataError(
            f"images: expected pixels in [0, 1], got {low:.3g} to {high:.3g}: divide 0..255 by 255, and put the "
            "normalisation inside the network (suite.load_model does)"
        )


def check_epsilon(epsilon: float, norm: Norm, who: str = "epsilon") -> None:
    """Refuses a radius that makes no sense in [0, 1] pixel units."""
    if not 0 <= epsilon < torch.inf:
        raise ConfigError(f"{who} {epsilon:g}: expected a finite radius of at least 0")
    if norm == "linf" and epsilon > 1:
        raise ConfigError(f"{who} {epsilon:g}: pixels are in [0, 1], so at most 1; did you mean {epsilon:g}/255?")


def as_radii(epsilon: object, images: Tensor, norm: Norm) -> Tensor:
    """(B,) radii of the images' kind, from one for all or one an image; one line names what is wrong with others."""
    expected = f"epsilon: expected one number, or {len(images)}, one an image"
    try:
        value = torch.as_tensor(epsilon)
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError
        value = value.to(images.dtype)
        ends = torch.stack(value.aminmax()).tolist() if value.numel() else []
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"{expected}; got {' '.join(repr(epsilon).split()):.60}") from None
    if value.shape not in ((), (len(images),)):
        raise ConfigError(f"{expected}; got {value.numel()} of them, of shape {tuple(value.shape)}")
    for end in ends:
        check_epsilon(end, norm)
    return value.to(images.device).expand(len(images))


def per_image(value: float | Tensor, images: Tensor) -> Tensor:
    """A number, or (B,) of them, as (B, 1, 1, 1) of the images' kind."""
    return torch.as_tensor(value, dtype=images.dtype, device=images.device).expand(len(images)).reshape(-1, 1, 1, 1)


def draw_start(images: Tensor, epsilon: Tensor, norm: Norm, ids: Sequence[str], seed: int, purpose: str) -> Tensor:
    """Each image's own perturbation: uniform in the box, or a random direction with a uniform radius."""
    draw = _draws_for(images, ids, seed, purpose)
    shape = images.shape[1:]
    if norm == "linf":
        return (draw("uniform", shape) * 2 - 1) * epsilon
    normal, radius = draw("normal", shape), draw("uniform", (1, 1, 1))
    unit: Tensor = normal / normal.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    return unit * radius * epsilon


def _draws_for(
    images: Tensor, ids: Sequence[str], seed: int, purpose: str
) -> Callable[[Literal["normal", "uniform"], Sequence[int]], Tensor]:
    """What draws (B, *shape) from the images' streams, one after the other."""
    if not draws_on_device(images.device):
        generators = [generator_for(seed, name, purpose) for name in ids]
        functions = {"normal": torch.randn, "uniform": torch.rand}
        return lambda kind, shape: torch.stack([functions[kind](*shape, generator=g) for g in generators]).to(images)
    return lambda kind, shape: hashed(kind, stream_keys(seed, ids, f"{purpose} {kind}", images.device), 0, shape).to(
        images
    )
