"""Projected gradient descent (Madry et al. 2018, section 2.1) in the box and in the L2 ball, with momentum, restarts.

With `mean=True`, no early stop and the last iterate, equal to the bit to torchattacks 3.5.1's PGD, PGDL2, FFGSM (one
step) and MIFGSM, given the same start. And the smallest epsilon that fools, by bisection.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, pi
from numbers import Real
from typing import Literal, TypeVar

import torch
from torch import Tensor

from suite.attacks.attack import Attack, Problem, bf16_supported
from suite.attacks.result import Iterates, Loss, Norm, draw_start, outranks, per_image, step_gradient
from suite.core.network import scores_of
from suite.errors import ConfigError

Schedule = Literal["constant", "linear", "cosine"]
Radius = TypeVar("Radius", float, Tensor)
_TINY = 1e-10  # torchattacks' eps_for_division


@dataclass(frozen=True)
class PGD(Attack):
    """Steps of the gradient's sign, kept in the box of radius epsilon.

    Attributes:
        norm: of the ball, and of the step (its sign, or unit length).
        steps: at least 0.
        step_size: one length for all images, in pixels of [0, 1]; None takes `relative_step` times epsilon.
        random_start: from a point of the ball, each image its own.
        restarts: more starts for images not fooled yet, or (without early stop) for all, keeping the worst.
        loss: see `losses`.
        schedule: a factor on the step size, falling from 1 unless constant.
        momentum: decay of the accumulated gradient, each normalised by its mean size (Dong et al. 2018).
        best: return the iterate that ranks first by `outranks` instead of the last.
        early_stop: an image that is fooled leaves the batch, those that need no attack before the first step.
        precision: `bf16` searches in bfloat16, verifies in the images' precision, and runs the survivors in it.
        relative_step: a step's share of epsilon.
    """

    norm: Norm = "linf"
    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    loss: Loss = "ce"
    schedule: Schedule = "constant"
    momentum: float | None = None
    best: bool = False
    early_stop: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    relative_step: float = 0.25

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1:
            raise ValueError(f"steps {self.steps}, restarts {self.restarts}: expected at least 0 and at least 1")
        for name in ("step_size", "relative_step"):
            size = getattr(self, name)
            if size is not None and not isinstance(size, Real):
                raise ValueError(f"{name}: expected one number for all images, got a {type(size).__name__}")
            if size is not None and size <= 0:
                raise ValueError(f"{name} {size:g}: expected more than 0")
        if self.precision == "bf16" and not self.early_stop:
            raise ValueError("precision 'bf16' searches for a first success: it needs early_stop")

    def length(self, epsilon: Radius) -> Radius | float:
        """A step's length within epsilon, before the schedule."""
        return epsilon * self.relative_step if self.step_size is None else self.step_size

    def whole(self) -> "PGD":
        """The same attack without early stop: all steps are taken, and the last or best iterate is returned."""
        return replace(self, early_stop=False, precision="fp32")

    def searching(self, at: float) -> "PGD":
        """The same attack for a search over epsilon: the first success counts, and a fixed step scales with epsilon.

        It stays the share of epsilon that it is at the radius `at`.
        """
        share = self.relative_step if self.step_size is None else self.step_size / at
        return replace(self, early_stop=True, step_size=None, relative_step=share)

    def find(self, problem: Problem) -> Iterates:
        if self.precision == "bf16" and not bf16_supported(problem.images.device):
            raise ConfigError("precision 'bf16': this processor has no bfloat16 arithmetic; use fp32")
        result = self._once(problem, 0, bf16=self.precision == "bf16")
        if self.precision == "bf16":
            with torch.no_grad():
                result.scores = scores_of(problem.model, result.images)
            result.forwards += 1
            result.ever = problem.goal.reached(result.scores)
            self._again(problem, result, 0)
        for restart in range(1, self.restarts):
            self._again(problem, result, restart)
        return result

    def _again(self, problem: Problem, result: Iterates, restart: int) -> None:
        """Another run on those not fooled yet (without early stop on all); the worse image of the two is kept."""
        fooled = problem.goal.reached(result.scores)
        index = (~(fooled & self.early_stop)).nonzero()[:, 0]
        if not len(index):
            return
        part = problem.of(index)
        other = self._once(part, restart)
        better = outranks(other.scores, result.scores[index], part.goal, self.loss)
        result.put(index, other.images, other.scores, better)
        result.iterations[index] = torch.where(better, other.iterations, result.iterations[index])
        result.ever[index] |= other.ever
        for name in ("zero_gradients", "forwards", "backwards"):
            getattr(result, name)[index] += getattr(other, name)

    def _once(self, problem: Problem, restart: int, *, bf16: bool = False) -> Iterates:
        p, start = problem, None
        if self.random_start or restart:
            start = draw_start(p.images, per_image(p.epsilon, p.images), self.norm, p.ids, p.seed, f"start {restart}")
        return pgd(p, self, start, bf16=bf16)


def pgd(
    problem: Problem, settings: PGD, start: Tensor | None = None, *, mean: bool = False, bf16: bool = False
) -> Iterates:
    """The loop of `settings` but for random start, restarts and precision, which `PGD.find` adds.

    It begins from the images, or from `start` (B, C, H, W) added to these and clamped to [0, 1]; `mean` and `bf16` are
    those of `step_gradient`.
    """
    images = problem.images
    result = Iterates.begin(images, problem.clean)
    radius, length = (per_image(value, images) for value in (problem.epsilon, settings.length(problem.epsilon)))
    moved = images if start is None else (images + start).clamp(0, 1)
    search = _search if settings.early_stop else _all_steps
    search(problem, settings, result, _Ball(images, radius, length), moved, {"mean": mean, "bf16": bf16})
    return result


@dataclass(frozen=True)
class _Ball:
    """Where images may move: `center` (b, C, H, W), `radius` and step `length` (b, 1, 1, 1)."""

    center: Tensor
    radius: Tensor
    length: Tensor

    def of(self, index: Tensor) -> "_Ball":
        return _Ball(self.center[index], self.radius[index], self.length[index])

    def step(self, settings: PGD, step: int, moved: Tensor, direction: Tensor) -> Tensor:
        reach = self.length * _factor(settings.schedule, step, settings.steps)
        return _stepped(moved, direction, self.center, self.radius, reach, settings.norm)


def _all_steps(
    problem: Problem, settings: PGD, result: Iterates, ball: _Ball, moved: Tensor, kind: dict[str, bool]
) -> None:
    """Without early stop: a pass and an update a step, and no value read back."""
    goal, accumulated, predictions = problem.goal, torch.zeros_like(moved), []
    for step in range(settings.steps + 1):
        scores, gradient = step_gradient(problem.model, moved, goal, settings.loss, **kind)
        predictions.append(scores.argmax(1))
        if settings.best and step:
            keep = outranks(scores, result.scores, goal, settings.loss)
            result.images = torch.where(keep.view(-1, 1, 1, 1), moved, result.images)
            result.scores = torch.where(keep[:, None], scores, result.scores)
        else:
            result.images, result.scores = moved, scores
        if step < settings.steps:
            direction = gradient()
            result.zero_gradients += ~direction.flatten(1).any(1)
            direction, accumulated = _with_momentum(direction, accumulated, settings)
            moved = ball.step(settings, step, moved, direction)
    fooled = (torch.stack(predictions) == goal.classes) == goal.targeted  # (steps + 1, B)
    result.ever |= fooled.any(0)
    result.iterations = torch.where(result.ever, fooled.int().argmax(0), settings.steps)
    result.forwards += settings.steps + 1
    result.backwards += settings.steps


def _search(
    problem: Problem, settings: PGD, result: Iterates, ball: _Ball, moved: Tensor, kind: dict[str, bool]
) -> None:
    """With early stop: an image that is fooled leaves the batch; one value a step is read back, who stays."""
    goal, accumulated = problem.goal, torch.zeros_like(moved)
    result.ever |= goal.reached(problem.clean)
    alive = (~result.ever).nonzero()[:, 0]
    ball, moved, accumulated, goal = ball.of(alive), moved[alive], accumulated[alive], goal.of(alive)
    for step in range(settings.steps + 1):
        if not len(alive):
            break
        result.forwards[alive] += 1
        scores, gradient = step_gradient(problem.model, moved, goal, settings.loss, **kind)
        fooled = goal.reached(scores)
        result.iterations[alive] = step
        result.ever[alive] = fooled
        keep = None
        if settings.best and step:
            keep = outranks(scores, result.scores[alive], goal, settings.loss)
        result.put(alive, moved, scores, keep)
        if step == settings.steps:
            break
        stay = (~fooled).nonzero()[:, 0]
        if not len(stay):
            break
        few = len(stay) * 2 <= len(alive)  # a new forward of few costs less than a backward of all
        direction = None if few else gradient()[stay]
        if len(stay) < len(alive):
            alive, goal, ball = alive[stay], goal.of(stay), ball.of(stay)
            moved, accumulated = moved[stay], accumulated[stay]
        if direction is None:
            result.forwards[alive] += 1
            direction = step_gradient(problem.model, moved, goal, settings.loss, **kind)[1]()
        result.backwards[alive] += 1
        result.zero_gradients[alive] += ~direction.flatten(1).any(1)
        direction, accumulated = _with_momentum(direction, accumulated, settings)
        moved = ball.step(settings, step, moved, direction)


def _with_momentum(direction: Tensor, accumulated: Tensor, settings: PGD) -> tuple[Tensor, Tensor]:
    """The direction of the step, and what the next one adds to."""
    if settings.momentum is None:
        return direction, accumulated
    size = direction.abs().mean((1, 2, 3), keepdim=True)
    direction = direction / size.masked_fill(size == 0, 1) + accumulated * settings.momentum
    return direction, direction


def _stepped(moved: Tensor, direction: Tensor, center: Tensor, radius: Tensor, reach: Tensor, norm: Norm) -> Tensor:
    """One step, projected into the ball about `center`, and into [0, 1]; every rounding is the library's."""
    if norm == "linf":
        return (center + torch.clamp(moved + reach * direction.sign() - center, -radius, radius)).clamp(0, 1)
    direction = direction / (direction.flatten(1).norm(dim=1) + _TINY).reshape(-1, 1, 1, 1)
    delta = moved + reach * direction - center
    norms = delta.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    shrink = radius * norms.reciprocal()  # a quotient would round otherwise than the library's
    return (center + delta * torch.where(norms > radius, shrink, 1.0)).clamp(0, 1)


def _factor(schedule: Schedule, step: int, steps: int) -> float:
    done = step / steps
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2}[schedule]


@dataclass(frozen=True)
class PGDL2(PGD):
    """Steps of the unit gradient, kept in the L2 ball of radius epsilon."""

    norm: Norm = "l2"


@dataclass(frozen=True)
class MomentumFGSM(PGD):
    """Iterated signs of an accumulated gradient (Dong et al. 2018, algorithm 1), from the image itself."""

    momentum: float | None = 1.0
    random_start: bool = False


def minimal_epsilon(
    attempt: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    *,
    first: float,
    largest: float,
    tolerance: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """The smallest epsilon an image at which an attack fools it, bracketed by factors of two, then bisected.

    Args:
        attempt: (indices (b,), their epsilons (b,)) -> (fooled (b,) bool, images (b, C, H, W)).
        images: (B, C, H, W); returned where no epsilon fools.
        first: the epsilon tried first.
        largest: the last one tried.
        tolerance: relative width of the bracket at which an image is done.

    Returns:
        (B,) float64, an upper bound that was verified, infinite where `largest` does not fool; and the images found.
    """
    high = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
    low, best, epsilon = torch.zeros_like(high), images.clone(), torch.full_like(high, first)
    todo = torch.arange(len(images), device=images.device)
    while len(todo):
        fooled, moved = attempt(todo, epsilon[todo])
        high[todo[fooled]], low[todo[~fooled]] = epsilon[todo[fooled]], epsilon[todo[~fooled]]
        best[todo[fooled]] = moved[fooled]
        middle = torch.where(low == 0, high / 2, (low * high).sqrt())
        epsilon = torch.where(high.isinf(), (low * 2).clamp(max=largest), middle)
        wide = (high > low * (1 + tolerance)) & ~((low >= largest) & high.isinf()) & (high > first / 1024)
        todo = wide.nonzero()[:, 0]
    return high, best
