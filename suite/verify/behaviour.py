"""An implementation's behaviour beside its result: batch, state, a second call, memory, no_grad."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from enum import Enum
from itertools import pairwise

import torch
from torch import Tensor

from suite.core.state import Snapshot
from suite.verify.networks import Case

Run = Callable[[Case], Tensor]
"""The implementation on a case: seeded, its result checked and detached; `WrongResult` where that fails."""
Same = Callable[[Tensor, Tensor], bool]


Defect = Enum("Defect", "COUPLES CALLED_AGAIN CHANGES LEAKS OTHER_IMAGES NO_GRAD")
"""Kinds of misbehaviour, in the order in which they are reported; the first two explain wrong values too."""


class WrongResult(Exception):
    """The implementation raised (`__cause__`), or returned what is no map; the message says which."""


def some(case: Case, index: list[int]) -> Case:
    """Copies of some of the images, on the same network."""
    return replace(case, images=case.images[index], targets=case.targets[index])


def fresh(case: Case) -> Case:
    """A copy that a function may spoil."""
    return replace(case, model=deepcopy(case.model), images=case.images.clone(), targets=case.targets.clone())


def observe(run: Run, case: Case) -> tuple[Tensor, list[str]]:
    """The result on a copy of the case, and what the call changed, in words."""
    trial = fresh(case)
    before = Snapshot(trial.model)
    try:
        result = run(trial)
        enabled = torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    changed = [f"the model's state ({', '.join(names)})" for names in [before.restore()] if names]
    changed += ["the images it is given"] * (not torch.equal(trial.images, case.images))
    changed += ["the targets it is given"] * (not torch.equal(trial.targets, case.targets))
    changed += ["whether gradients are enabled"] * (not enabled)
    return result, changed


@contextmanager
def few_objects() -> Iterator[None]:
    """Hides all objects alive now from `_alive`, which would take long to count them."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _alive() -> int:
    gc.collect()
    return sum(isinstance(item, Tensor) for item in gc.get_objects())


def _couples_batch(run: Run, case: Case, result: Tensor, index: int, same: Same) -> str:
    """Whether the result of one image depends on the others' pixels or targets, or on their number."""
    own, count = slice(index, index + 1), len(case.images)
    others = replace(case, images=1 - case.images.roll(1, 0), targets=case.targets.roll(1))
    others.images[own], others.targets[own] = case.images[own], case.targets[own]
    if not same(run(others)[own], result[own]):
        return "couples images of a batch: an image's result changes with the others"
    # At the head of the batch, as it is when alone: a fault of position is no coupling.
    head = run(some(case, [(index + i) % count for i in range(count)]))[:1]
    if not same(run(some(case, [index])), head):
        return "couples images of a batch: an image alone gives another result than among others"
    return ""


def _leaks(run: Run, case: Case, calls: int = 2) -> str:
    """Whether tensors stay alive call after call; inside `few_objects`, after calls that may have filled a cache."""
    counts = [_alive()]
    for _ in range(calls):
        run(case)
        counts.append(_alive())
    growth = min(b - a for a, b in pairwise(counts))
    return f"leaks memory: {growth} more tensors stay alive after each call" if growth > 0 else ""


def _fails_without_grad(run: Run, case: Case, index: int, same: Same) -> str:
    """Whether it fails where the caller has disabled gradients, as Lightning's predict loop does."""
    result, message = run(some(case, [index])), "another result"
    with torch.no_grad():
        try:
            if same(run(some(case, [index])), result):
                return ""
        except WrongResult as error:
            message = str(error)
    return f"fails under no_grad ({message}): wrap its gradient in torch.enable_grad()"


def examine(
    run: Run, reference: Run, case: Case, result: Tensor, index: int, same: Same, *, thorough: bool
) -> dict[Defect, str]:
    """The defects of behaviour on one small network, each in words.

    `result` is the implementation's on the case, `index` the image whose neighbours are changed, and `same` says
    whether two results are equal up to rounding. The reference may itself couple images by its random draws. A
    `thorough` examination also looks for leaks, and at no_grad.
    """
    defects: dict[Defect, str] = {}
    trial = fresh(case)
    before = Snapshot(trial.model)

    def restoring(changed: Case) -> Tensor:
        try:
            return run(changed)
        finally:
            before.restore()

    try:
        if coupled := _couples_batch(restoring, trial, result, index, same):
            excused = _couples_batch(reference, case, reference(case), index, same) == coupled
            if not excused and same(restoring(fresh(case)), result):
                defects[Defect.COUPLES] = coupled
        if thorough:
            defects[Defect.LEAKS] = _leaks(run, some(trial, [index]))
            before.restore()
            defects[Defect.NO_GRAD] = _fails_without_grad(restoring, trial, index, same)
        every_index = list(range(len(case.images)))
        if not all(same(run(some(trial, every_index)), result) for _ in range(1 + thorough)):
            defects[Defect.CALLED_AGAIN] = "gives another result when called again: it keeps something between calls"
    except WrongResult as error:
        defects[Defect.OTHER_IMAGES] = f"fails on other images of a network: {error}"
    return {kind: text for kind, text in defects.items() if text}
