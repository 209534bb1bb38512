"""Fooling images: x <- x + eta g / ||g|| on the target's unnormalised score until the prediction is the target.

After Simonyan, Vedaldi and Zisserman 2014 and Szegedy et al. 2014, as the coursework's CS231n assignment has it. Each
image of a batch has its own norm and its own end; the assignment's code is right for one image only.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from suite.attacks.attack import Attack, Problem
from suite.attacks.result import Goal, Iterates, step_gradient
from suite.errors import ConfigError
from suite.models.network import Network

Recipe = Literal["rdfia", "cs231n", "cs7643", "bounded"]
# eta, and whether the prediction is looked at before or after the step. Both in normalised pixels but for the last.
_ETA: dict[Recipe, float] = {"rdfia": 0.5, "cs231n": 1.0, "cs7643": 10.0, "bounded": 0.5}


def fooling_image(
    model: nn.Module,
    images: Tensor,
    goal: Goal,
    clean: Tensor,
    *,
    eta: float,
    steps: int = 100,
    scale: Tensor | None = None,
    bounded: bool = False,
    after: bool = False,
    stop: bool = True,
) -> Iterates:
    """The loop.

    Args:
        model: in eval mode.
        images: (B, C, H, W) in [0, 1].
        goal: targeted.
        clean: (B, K) scores on the images.
        eta: length of a step, in pixels divided by `scale`.
        steps: at most so many.
        scale: the network's std, (1, C, 1, 1): steps are then taken, and measured, in normalised pixels.
        bounded: clamp to [0, 1] after each step; without, the result may be no image.
        after: look at the prediction after a step only: an image of the target class takes a step too.
        stop: an image that is fooled leaves the batch; without, all steps are taken.
    """
    found = Iterates.begin(images, clean)
    unit = torch.ones_like(images[:1, :, :1, :1]) if scale is None else scale
    alive, moved = torch.arange(len(images), device=images.device), images
    for step in range(steps + 1):
        scores, gradient = step_gradient(model, moved, goal.of(alive), "score")
        found.forwards[alive] += 1
        fooled = goal.of(alive).reached(scores)
        if after and step == 0:
            fooled = torch.zeros_like(fooled)
        found.iterations[alive[~found.ever[alive]]] = step
        found.ever[alive] |= fooled
        found.put(alive, moved, scores)
        stay = ~fooled if stop else torch.ones_like(fooled)
        if step == steps or not bool(stay.any()):
            break
        direction = gradient()[stay] * unit
        found.backwards[alive] += 1
        alive, moved = alive[stay], moved[stay]
        norms = direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        found.zero_gradients[alive] += norms.flatten() == 0
        moved = moved + eta * unit * direction / norms.masked_fill(norms == 0, 1)
        moved = moved.clamp(0, 1) if bounded else moved
    return found


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
        model, bounded = problem.model, self.recipe == "bounded"
        return fooling_image(
            model,
            problem.images,
            problem.goal,
            problem.clean,
            eta=_ETA[self.recipe] if self.eta is None else self.eta,
            steps=self.steps,
            scale=model.std if isinstance(model, Network) and not bounded else None,
            bounded=bounded,
            after=self.recipe == "rdfia",
        )
