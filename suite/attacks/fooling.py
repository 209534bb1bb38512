"""Fooling images: x <- x + eta g / ||g|| on the target's unnormalised score until the prediction is the target.

After Simonyan, Vedaldi and Zisserman 2014 and Szegedy et al. 2014, as the coursework's CS231n assignment has it. Each
image of a batch has its own norm and its own end; the assignment's code is right for one image only.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from suite.attacks.attack import Attack, Problem
from suite.attacks.result import Iterates, step_gradient
from suite.core.network import Network
from suite.errors import ConfigError

Recipe = Literal["rdfia", "cs231n", "cs7643", "bounded"]
_ETA: dict[Recipe, float] = {"rdfia": 0.5, "cs231n": 1.0, "cs7643": 10.0, "bounded": 0.5}


@dataclass(frozen=True)
class Fooling(Attack):
    """The coursework's fooling image, by recipe.

    Attributes:
        recipe: `rdfia` (eta 0.5, looked at after a step), `cs231n` (1, before), `cs7643` (10, before), in normalised
            pixels and unclamped; `bounded` (0.5, before) in pixels, clamped to [0, 1] at each step.
        eta: instead of the recipe's.
        steps: at most so many; an image that is not fooled then says so.
    """

    recipe: Recipe = "bounded"
    eta: float | None = None
    steps: int = 100
    radius: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.steps < 0 or (self.eta is not None and self.eta <= 0):
            raise ValueError(f"steps {self.steps}, eta {self.eta}: expected at least 0, and more than 0")

    def find(self, problem: Problem) -> Iterates:
        if not problem.goal.targeted:
            raise ConfigError("attack 'fooling': it aims at a class: give targets")
        return fooling_image(problem, self)


def fooling_image(problem: Problem, settings: Fooling, *, stop: bool = True) -> Iterates:
    """The loop, on a targeted problem; pixels are normalised where a `Network` says how, else taken as they are.

    With `stop` an image that is fooled leaves the batch; without, all steps are taken.
    """
    images, goal, model = problem.images, problem.goal, problem.model
    bounded, after = settings.recipe == "bounded", settings.recipe == "rdfia"
    eta = _ETA[settings.recipe] if settings.eta is None else settings.eta
    unit = model.std if isinstance(model, Network) and not bounded else torch.ones_like(images[:1, :, :1, :1])
    result = Iterates.begin(images, problem.clean)
    alive, moved = torch.arange(len(images), device=images.device), images
    for step in range(settings.steps + 1):
        scores, gradient = step_gradient(model, moved, goal.of(alive), "score")
        result.forwards[alive] += 1
        fooled = goal.of(alive).reached(scores)
        if after and step == 0:
            fooled = torch.zeros_like(fooled)
        result.iterations[alive] = result.iterations[alive].where(result.ever[alive], step)
        result.ever[alive] |= fooled
        result.put(alive, moved, scores)
        if step == settings.steps:
            break
        stay = (~fooled if stop else torch.ones_like(fooled)).nonzero()[:, 0]
        if not len(stay):
            break
        direction = gradient()[stay] * unit
        result.backwards[alive] += 1
        alive, moved = alive[stay], moved[stay]
        norms = direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        result.zero_gradients[alive] += norms.flatten() == 0
        moved = moved + eta * unit * direction / norms.masked_fill(norms == 0, 1)
        moved = moved.clamp(0, 1) if bounded else moved
    return result
