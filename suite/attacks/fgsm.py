"""Fast gradient sign method (Goodfellow et al. 2015, section 4): one step to the corner of the box. And noise.

Equal to the bit to torchattacks 3.5.1's FGSM with `mean=True`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from suite.attacks.attack import Attack, Problem
from suite.attacks.result import Iterates, Loss, Norm, draw_start, per_image, step_gradient
from suite.core.network import scores_of


def fgsm(problem: Problem, loss: Loss = "ce", *, mean: bool = False) -> Iterates:
    """clamp(x + epsilon sign(g), 0, 1); sign(0) is 0."""
    images = problem.images
    result = Iterates.begin(images, problem.clean)
    _, gradient = step_gradient(problem.model, images, problem.goal, loss, mean=mean)
    direction = gradient()
    result.images = (images + per_image(problem.epsilon, images) * direction.sign()).clamp(0, 1)
    with torch.no_grad():
        result.scores = scores_of(problem.model, result.images)
    result.ever = problem.goal.reached(result.scores)
    result.iterations += 1
    result.zero_gradients += direction.flatten(1).eq(0).all(1)
    result.forwards += 2
    result.backwards += 1
    return result


@dataclass(frozen=True)
class FGSM(Attack):
    """One step of epsilon along the gradient's sign."""

    loss: Loss = "ce"

    def find(self, problem: Problem) -> Iterates:
        return fgsm(problem, self.loss)


@dataclass(frozen=True)
class Noise(Attack):
    """The control: random noise of the same size, the best of `draws`, numbered from `first`. It knows no network."""

    norm: Norm = "linf"
    kind: Literal["signs", "uniform"] = "signs"  # in the L2 ball both are on the sphere
    draws: int = 1
    first: int = 0
    control: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws {self.draws}: expected at least 1")

    def find(self, problem: Problem) -> Iterates:
        p = problem
        result = Iterates.begin(p.images, p.clean)
        radius, every = per_image(p.epsilon, p.images), torch.arange(len(p.images), device=p.images.device)
        for draw in range(self.first, self.first + self.draws):
            noise = draw_start(p.images, radius, self.norm, p.ids, p.seed, f"noise {draw}")
            if self.norm == "l2":
                noise = noise / noise.flatten(1).norm(dim=1).clamp_min(1e-30).reshape(-1, 1, 1, 1) * radius
            elif self.kind == "signs":
                noise = noise.sign() * radius
            moved = (p.images + noise).clamp(0, 1)
            with torch.no_grad():
                scores = scores_of(p.model, moved)
            taken = ~result.ever
            result.put(every, moved, scores, taken)
            result.iterations += taken
            result.ever |= p.goal.reached(scores)
            result.forwards += 1
        return result
