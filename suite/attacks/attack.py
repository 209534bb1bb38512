"""`suite.attack`: one call for every attack, its checks and its verdicts. Attacks know nothing of studies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from suite.attacks.result import AttackResult, Goal, Iterates, Norm, as_radii, check_pixels, judge
from suite.core.draws import generator_for, image_ids
from suite.core.network import scores_of
from suite.core.numerics import numerics
from suite.core.passes import Targets, as_targets, check_images, score
from suite.core.state import in_use
from suite.core.torch_private import cpu_computes_bf16
from suite.errors import ConfigError, DataError, NetworkError
from suite.registry import ATTACKS, build, check_parameters, find

Aim = Targets | str | Callable[[Tensor, Tensor], Tensor] | None
"""One class, one an image, least_likely, random, a function (images, labels) -> classes; None leaves the label."""


@dataclass(frozen=True)
class Problem:
    """What an attack is given.

    Attributes:
        model: in eval mode, gradients on.
        images: (B, C, H, W) in [0, 1].
        goal: what counts as fooled.
        clean: (B, K) scores on the images.
        epsilon: (B,) radii.
        ids, seed: of the images' randomness; digests of pixels are hashed only where something draws.
    """

    model: nn.Module
    images: Tensor
    goal: Goal
    clean: Tensor
    epsilon: Tensor
    ids: Sequence[str]
    seed: int

    def of(self, index: Tensor) -> "Problem":
        """Some of the images."""
        ids = tuple(self.ids[i] for i in index.tolist())
        of = self.goal.of(index), self.clean[index], self.epsilon[index]
        return Problem(self.model, self.images[index], *of, ids, self.seed)


@dataclass(frozen=True)
class Attack(ABC):
    """A frozen dataclass of parameters; `find` is its loop.

    Attributes:
        radius: whether it takes an epsilon.
        control: knows nothing of the network, and must lose.
    """

    radius: ClassVar[bool] = True
    control: ClassVar[bool] = False

    @property
    def ball(self) -> Norm:
        """The norm that epsilon is a radius in."""
        return getattr(self, "norm", "linf")

    @property
    def default_epsilon(self) -> float:
        """8/255 in the box, 1 in L2."""
        return 8 / 255 if self.ball == "linf" else 1.0

    @abstractmethod
    def find(self, problem: Problem) -> Iterates:
        """Adversarial images, and how they were come by."""


def make_attack(name: str, parameters: Mapping[str, Any] | None = None) -> Attack:
    """An attack by registry name or `package.module:Class`, its parameters checked against its fields."""
    kind = find("attack", ATTACKS, name)
    if not (isinstance(kind, type) and issubclass(kind, Attack)):
        raise ConfigError(f"attack {name!r}: expected a dataclass of suite.attacks.attack.Attack")
    method: Attack = build("attack", name, kind, parameters or {})
    return method


@numerics()
def attack(
    model: nn.Module,
    images: Tensor,
    labels: Targets,
    method: str | Attack = "pgd",
    *,
    epsilon: float | Sequence[float] | Tensor | None = None,
    targets: Aim = None,
    ids: Sequence[str] | None = None,
    seed: int = 0,
    **more: Any,
) -> AttackResult:
    """Attacks a batch; each image's result is its own, whatever stands beside it.

    Args:
        model: (B, C, H, W) in [0, 1] -> (B, K) scores; put in eval mode for the duration and found as it was.
        images: (B, C, H, W) in [0, 1].
        labels: the true classes.
        method: a name of `suite list attacks`, or an `Attack`.
        epsilon: the radius, one for all or one an image; 8/255 by default in the box, 1 in L2.
        targets: see `Aim`.
        ids: names of the images, which with `seed` give each its random start; digests of the pixels by default.
        seed: of the run.
        more: parameters of the attack (steps, step_size, random_start, early_stop, restarts, loss...); `clean`, (B, K)
            scores on the images where they are in hand, for one forward less; `saved=False`, not to judge the image
            once more as an 8-bit PNG, nor how like the original it is, for one forward less.

    Returns:
        An `AttackResult`, all tensors detached.

    Raises:
        DataError: images outside [0, 1], a label or target out of range.
        ConfigError: a target equal to the label, an epsilon that makes no sense, an unknown parameter.
        NetworkError: scores that are NaN or carry no gradient.
    """
    scores, saved = more.pop("clean", None), more.pop("saved", True)
    images = check_images(images)
    check_pixels(images)
    method = _checked(method, more)
    if not method.radius and epsilon is not None:
        kind = type(method).__name__
        raise ConfigError(f"attack {kind}: takes no epsilon, its steps have a length of their own (eta)")
    radius = as_radii(method.default_epsilon if epsilon is None else epsilon, images, method.ball)
    truth = as_targets(labels, images)
    with in_use(model):
        with torch.no_grad():
            clean = scores_of(model, images) if scores is None else _as_scores(scores, images)
        damaged = clean.isnan().any(1).tolist()
        if True in damaged:
            where = f"on image {damaged.index(True)}"
            raise NetworkError(f"the network's scores are NaN {where}: no attack can be judged; check its weights")
        score(clean, truth)  # refuses labels out of range
        names = image_ids(images, ids)
        aim = None if targets is None else choose_targets(targets, clean, images, truth, names, seed)
        goal = Goal(truth) if aim is None else Goal(aim, targeted=True)
        if method.radius and not bool(radius.any()):
            result = Iterates.begin(images, clean)  # nothing is within reach but the image itself
            result.ever = goal.reached(clean)
        else:
            result = method.find(Problem(model, images, goal, clean, radius, names, seed))
        return judge(model, images, goal, clean, result, saved=saved)


def _checked(method: str | Attack, parameters: Mapping[str, Any]) -> Attack:
    """The attack, each of its fields of the type that it says."""
    if isinstance(method, Attack) and parameters:
        raise ConfigError(f"parameters {', '.join(parameters)}: give them to the attack itself")
    method = method if isinstance(method, Attack) else make_attack(method, parameters)
    values = {field.name: getattr(method, field.name) for field in fields(method) if field.init}
    check_parameters("attack", type(method).__name__, type(method), values)
    return method


def _as_scores(clean: object, images: Tensor) -> Tensor:
    """The scores in hand, a copy of the images' kind."""
    if not (isinstance(clean, Tensor) and clean.is_floating_point() and clean.shape[:-1] == (len(images),)):
        got = f"{clean.dtype} of shape {tuple(clean.shape)}" if isinstance(clean, Tensor) else type(clean).__name__
        raise DataError(f"clean: expected the scores of {len(images)} images, floating point (B, K); got {got}")
    return clean.to(images, copy=True)


def choose_targets(
    targets: Aim, clean: Tensor, images: Tensor, labels: Tensor, ids: Sequence[str], seed: int
) -> Tensor:
    """(B,) classes to aim at, none of them its image's label."""
    if targets == "least_likely":
        return clean.scatter(1, labels[:, None], torch.inf).argmin(1)
    if targets == "random":
        draws = [torch.randint(clean.shape[1] - 1, (1,), generator=generator_for(seed, n, "target")) for n in ids]
        chosen = torch.cat(draws).to(labels)
        return chosen + (chosen >= labels)  # the label is left out
    if isinstance(targets, str):
        raise ConfigError(f"targets {targets!r}: expected least_likely, random, or class indices")
    chosen = as_targets(targets(images, labels) if callable(targets) else targets, images)  # type: ignore[arg-type]
    score(clean, chosen)
    if bool((chosen == labels).any()):
        same = int((chosen == labels).nonzero()[0, 0])
        raise ConfigError(f"target {int(chosen[same])}: is the label of image {same}; aim at another class")
    return chosen


def bf16_supported(device: torch.device) -> bool:
    """Whether bfloat16 is arithmetic here rather than emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_computes_bf16()
