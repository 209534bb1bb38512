"""torchattacks' attacks. The only file that imports torchattacks.

The library draws its starts from torch's global generator; a pair of runs draws them once, and gives both the same.
"""

import suite._torchvision  # noqa: F401

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn

from suite.attacks.attack import Attack, Problem
from suite.attacks.fgsm import FGSM, fgsm
from suite.attacks.pgd import PGD, pgd
from suite.attacks.result import Goal, Iterates
from suite.core.numerics import numerics
from suite.core.passes import predict
from suite.core.state import in_use


def torchattacks_attack(
    name: str, *, targeted: bool = False, **options: float
) -> Callable[[nn.Module, Tensor, Tensor, str], Tensor]:
    """(model, images in [0, 1], labels, unused) -> adversarial images; draws from torch's global generator."""

    def compute(model: nn.Module, images: Tensor, labels: Tensor, _layer: str) -> Tensor:
        # torchattacks finds the device from the first parameter, which every network here has.
        attack = getattr(torchattacks, name)(model, **options)
        if targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        with numerics():
            return attack(images, labels)  # type: ignore[no-any-return]

    return compute


def library_start(images: Tensor, epsilon: float, norm: str, seed: int) -> Tensor:
    """The perturbation that torchattacks begins from when the global generator was seeded just before."""
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed)
        if norm == "linf":
            return torch.empty_like(images).uniform_(-epsilon, epsilon)
        delta = torch.empty_like(images).normal_()
        norms = delta.flatten(1).norm(p=2, dim=1).view(-1, 1, 1, 1)
        delta *= torch.zeros_like(norms).uniform_(0, 1) / norms * epsilon
        return delta


def library_twin(attack: Attack, model: nn.Module, epsilon: float) -> Any:
    """The library's attack of the same parameters; None where it has none."""
    if type(attack) is FGSM and attack.loss == "ce":
        return torchattacks.FGSM(model, eps=epsilon)
    if not isinstance(attack, PGD) or type(attack).find is not PGD.find:
        return None
    if attack.loss != "ce" or attack.schedule != "constant":
        return None
    alpha = attack.length(epsilon)
    if attack.momentum is not None:
        if attack.norm == "l2" or attack.random_start:
            return None
        return torchattacks.MIFGSM(model, eps=epsilon, alpha=alpha, steps=attack.steps, decay=attack.momentum)
    kind = torchattacks.PGD if attack.norm == "linf" else torchattacks.PGDL2
    return kind(model, eps=epsilon, alpha=alpha, steps=attack.steps, random_start=attack.random_start)


def run_pair(
    attack: Attack, model: nn.Module, images: Tensor, goal: Goal, clean: Tensor, *, epsilon: float, seed: int = 0
) -> tuple[Iterates, Tensor] | None:
    """Ours in the library's way (mean loss, the last iterate, its one start), and the library's images.

    Returns:
        None where torchattacks has no such attack.
    """
    with numerics(), in_use(model), torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        library = library_twin(attack, model, epsilon)
        if library is None:
            return None
        if goal.targeted:
            library.set_mode_targeted_by_label(quiet=True)
        radius, ids = images.new_full((len(images),), epsilon), ("",) * len(images)
        problem = Problem(model, images, goal, clean, radius, ids, seed)
        if isinstance(attack, PGD):
            start = library_start(images, epsilon, attack.norm, seed) if attack.random_start else None
            own = pgd(problem, replace(attack.whole(), best=False), start, mean=True)
        else:
            own = fgsm(problem, mean=True)
        torch.manual_seed(seed)
        return own, library(images.contiguous(), goal.classes)


def verdicts_of(model: nn.Module, images: Tensor, goal: Goal) -> Tensor:
    """(B,) whether the library's images fool, which it does not say itself."""
    return goal.reached(predict(model, images))
