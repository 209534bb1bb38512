"""Projected gradient descent (Madry et al. 2018, section 2.1) in the box and in the L2 ball, with momentum, restarts.

With `mean=True`, no early stop and the last iterate, equal to the bit to torchattacks 3.5.1's PGD, PGDL2, FFGSM (one
step) and MIFGSM, given the same start. And the smallest epsilon that fools, by bisection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
from torch import Tensor, nn

from suite.attacks.attack import Attack, Problem, bf16_supported
from suite.attacks.result import Goal, Iterates, Loss, Norm, draw_start, losses, per_image, step_gradient
from suite.errors import ConfigError
from suite.models.network import scores_of

Schedule = Literal["constant", "linear", "cosine"]
_TINY = 1e-10  # torchattacks' eps_for_division


def pgd(
    model: nn.Module,
    images: Tensor,
    goal: Goal,
    clean: Tensor,
    *,
    epsilon: float | Tensor,
    step_size: float | Tensor,
    steps: int,
    norm: Norm = "linf",
    start: Tensor | None = None,
    loss: Loss = "ce",
    momentum: float | None = None,
    schedule: Schedule = "constant",
    early_stop: bool = False,
    best: bool = False,
    mean: bool = False,
    bf16: bool = False,
) -> Iterates:
    """The loop, without randomness.

    Args:
        model: in eval mode.
        images: (B, C, H, W) in [0, 1].
        goal: what counts as fooled.
        clean: (B, K) scores on the images.
        epsilon: one for all or one an image.
        step_size: likewise.
        schedule: a factor on the step size, falling from 1 unless constant.
        steps: how many.
        norm: of the ball, and of the step (its sign, or unit length).
        start: a perturbation to begin from, clamped to [0, 1] with the image.
        loss: see `losses`.
        mean: see `step_gradient`.
        bf16: likewise.
        momentum: decay of the accumulated gradient, each normalised by its mean size (Dong et al. 2018).
        early_stop: an image that is fooled leaves the batch, those that need no attack before the first step.
        best: return the iterate that is fooled, and of these the one of greatest loss, instead of the last.
    """
    found = Iterates.begin(images, clean)
    alive = torch.arange(len(images), device=images.device)
    if early_stop:
        alive = (~goal.reached(clean)).nonzero()[:, 0]
        found.ever |= goal.reached(clean)
    radius, length = per_image(epsilon, images), per_image(step_size, images)
    moved = images if start is None else (images + start).clamp(0, 1)
    moved, accumulated = moved[alive], torch.zeros_like(images[alive])
    top = images.new_full((len(images),), -torch.inf)
    for step in range(steps + 1):
        if not len(alive):
            break
        scores, gradient = step_gradient(model, moved, goal.of(alive), loss, mean=mean, bf16=bf16)
        found.forwards[alive] += 1
        fooled = goal.of(alive).reached(scores)
        found.iterations[alive[~found.ever[alive]]] = step
        found.ever[alive] |= fooled
        keep = torch.ones_like(fooled)
        if best:
            worth = losses(scores, goal.of(alive), loss) + torch.where(fooled, 1e6, 0.0)
            keep = worth > top[alive]
            top[alive[keep]] = worth[keep]
        found.put(alive[keep], moved[keep], scores[keep])
        if step == steps:
            break
        stay = ~fooled if early_stop else torch.ones_like(fooled)
        if not bool(stay.any()):
            break
        if int(stay.sum()) * 2 <= len(stay):  # a new forward of few costs less than a backward of all
            alive, moved, accumulated = alive[stay], moved[stay], accumulated[stay]
            _, gradient = step_gradient(model, moved, goal.of(alive), loss, mean=mean, bf16=bf16)
            found.forwards[alive] += 1
            direction = gradient()
            found.backwards[alive] += 1
        else:
            direction = gradient()[stay]
            found.backwards[alive] += 1
            alive, moved, accumulated = alive[stay], moved[stay], accumulated[stay]
        found.zero_gradients[alive] += direction.flatten(1).eq(0).all(1)
        if momentum is not None:
            size = direction.abs().mean((1, 2, 3), keepdim=True)
            accumulated = direction / size.masked_fill(size == 0, 1) + accumulated * momentum
            direction = accumulated
        here, ball = images[alive], radius[alive]
        reach = length[alive] * _factor(schedule, step, steps)
        if norm == "linf":
            moved = moved.detach() + reach * direction.sign()
            moved = (here + torch.clamp(moved - here, -ball, ball)).clamp(0, 1)
        else:
            direction = direction / (direction.flatten(1).norm(dim=1) + _TINY).reshape(-1, 1, 1, 1)
            delta = moved.detach() + reach * direction - here
            norms = delta.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            shrink = ball * norms.reciprocal()  # a quotient would round otherwise than the library's
            moved = (here + delta * torch.where(norms > ball, shrink, 1.0)).clamp(0, 1)
    return found


def _factor(schedule: Schedule, step: int, steps: int) -> float:
    done = step / steps
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2}[schedule]


@dataclass(frozen=True)
class PGD(Attack):
    """Steps of the gradient's sign, kept in the box of radius epsilon.

    Attributes:
        steps: at least 1.
        step_size: epsilon / 4 by default.
        random_start: from a point of the ball, each image its own.
        restarts: more starts for images not fooled yet, or (without early stop) for all, keeping the worst.
        loss, schedule, best, early_stop: see `pgd`.
        precision: `bf16` searches in bfloat16, verifies in the images' precision, and runs the survivors in it.
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

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1:
            raise ValueError(f"steps {self.steps}, restarts {self.restarts}: expected at least 0 and at least 1")
        if self.step_size is not None and self.step_size <= 0:
            raise ValueError(f"step_size {self.step_size:g}: expected more than 0")
        if self.precision == "bf16" and not self.early_stop:
            raise ValueError("precision 'bf16' searches for a first success: it needs early_stop")

    def find(self, problem: Problem) -> Iterates:
        if self.precision == "bf16" and not bf16_supported(problem.images.device):
            raise ConfigError("precision 'bf16': this processor has no bfloat16 arithmetic; use fp32")
        found = self._once(problem, 0, bf16=self.precision == "bf16")
        if self.precision == "bf16":
            with torch.no_grad():
                found.scores = scores_of(problem.model, found.images)
            found.forwards += 1
            found.ever = problem.goal.reached(found.scores)
            self._again(problem, found, 0)
        for restart in range(1, self.restarts):
            self._again(problem, found, restart)
        return found

    def _again(self, problem: Problem, found: Iterates, restart: int) -> None:
        """Another run on those not fooled yet (without early stop on all); the worse image of the two is kept."""
        done = problem.goal.reached(found.scores)
        index = torch.arange(len(done), device=done.device) if not self.early_stop else (~done).nonzero()[:, 0]
        if not len(index):
            return
        part = problem.of(index)
        other = self._once(part, restart)
        reached = part.goal.reached(other.scores)
        worse = losses(other.scores, part.goal, self.loss) > losses(found.scores[index], part.goal, self.loss)
        better = (reached & ~done[index]) | ((reached == done[index]) & worse)
        kept = Iterates(**{name: value[index].clone() for name, value in vars(found).items()})
        other.put(~better, kept.images[~better], kept.scores[~better])
        other.iterations = torch.where(better, other.iterations, kept.iterations)
        found.replace(index, other)

    def _once(self, problem: Problem, restart: int, *, bf16: bool = False) -> Iterates:
        p = problem
        radius = per_image(p.epsilon, p.images)
        start = draw_start(p.images, radius, self.norm, p.ids, p.seed, f"start {restart}")
        return pgd(
            p.model,
            p.images,
            p.goal,
            p.clean,
            epsilon=p.epsilon,
            step_size=p.epsilon / 4 if self.step_size is None else self.step_size,
            steps=self.steps,
            norm=self.norm,
            start=start if self.random_start or restart else None,
            loss=self.loss,
            momentum=self.momentum,
            schedule=self.schedule,
            early_stop=self.early_stop,
            best=self.best,
            bf16=bf16,
        )


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
