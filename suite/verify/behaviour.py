"""How an implementation behaves, apart from what it returns: batch, state, a second call, memory, no_grad."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from suite.core.state import Snapshot
from suite.verify.networks import Case

Run = Callable[[Case], Tensor]
"""The implementation on a case: seeded, its result checked and detached; `WrongResult` where that fails."""
Same = Callable[[Tensor, Tensor], bool]


class WrongResult(Exception):
    """In words: it raised, or returned what is no map. `soft` where it says that it is not applicable."""

    def __init__(self, said: str, *, soft: bool = False) -> None:
        super().__init__(said)
        self.soft = soft


def some(case: Case, index: list[int]) -> Case:
    """Copies of some of the images, on the same network."""
    return replace(case, images=case.images[index], targets=case.targets[index])


def fresh(case: Case) -> Case:
    """A copy that a function may spoil."""
    return replace(case, model=deepcopy(case.model), images=case.images.clone(), targets=case.targets.clone())


def observe(run: Run, case: Case) -> tuple[Tensor, str]:
    """The result on a copy of the case, and what was not found as it had been, in words."""
    trial = fresh(case)
    before = Snapshot(trial.model)
    try:
        found = run(trial)
        enabled = torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    changed = [f"the model's state ({', '.join(names)})" for names in [before.restore()] if names]
    changed += ["the images it is given"] * (not torch.equal(trial.images, case.images))
    changed += ["the targets it is given"] * (not torch.equal(trial.targets, case.targets))
    changed += ["whether gradients are enabled"] * (not enabled)
    return found, f"changes {', '.join(changed)}" if changed else ""


@contextmanager
def few_objects() -> Iterator[None]:
    """Sets aside all that is alive, so that counting what stays alive takes no time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _alive() -> int:
    gc.collect()
    return sum(1 for thing in gc.get_objects() if isinstance(thing, Tensor))


def couples_batch(run: Run, case: Case, found: Tensor, place: int, same: Same) -> str:
    """Whether the result of the image at `place` depends on the others' pixels or targets, or on their number."""
    one, count = slice(place, place + 1), len(case.images)
    others = replace(case, images=1 - case.images.roll(1, 0), targets=case.targets.roll(1))
    others.images[one], others.targets[one] = case.images[one], case.targets[one]
    if not same(run(others)[one], found[one]):
        return "couples images of a batch: an image's result changes with the others"
    # At the head of the batch, as it is when alone: a fault of position is no coupling.
    head = run(some(case, [(place + i) % count for i in range(count)]))[:1]
    if not same(run(some(case, [place])), head):
        return "couples images of a batch: an image alone gives another result than among others"
    return ""


def leaks(run: Run, case: Case, calls: int = 2) -> str:
    """Whether tensors stay alive call after call; inside `few_objects`, after calls that may have filled a cache."""
    counts = [_alive()]
    for _ in range(calls):
        run(case)
        counts.append(_alive())
    growth = min(b - a for a, b in pairwise(counts))
    return f"leaks memory: {growth} more tensors stay alive after each call" if growth > 0 else ""


def fails_without_grad(run: Run, case: Case, found: Tensor, same: Same) -> str:
    """Whether it depends on the caller having gradients enabled, as Lightning's predict loop has not."""
    said = "another result"
    with torch.no_grad():
        try:
            if same(run(case), found):
                return ""
        except WrongResult as error:
            said = str(error)
    return f"fails under no_grad ({said}): wrap its gradient in torch.enable_grad()"


def examine(run: Run, reference: Run, case: Case, found: Tensor, place: int, same: Same, *, thorough: bool) -> set[str]:
    """The defects of behaviour on one small network.

    Args:
        run: the implementation.
        reference: what it is held against, which may itself couple images by its random draws.
        case: the network.
        found: what the implementation gave on it.
        place: the image whose neighbours are changed.
        same: whether two results are equal up to rounding.
        thorough: look for leaks and at no_grad too.
    """
    said, trial = set(), fresh(case)
    before = Snapshot(trial.model)

    def restoring(of: Case) -> Tensor:
        try:
            return run(of)
        finally:
            before.restore()

    try:
        if coupled := couples_batch(restoring, trial, found, place, same):
            excused = couples_batch(reference, case, reference(case), place, same) == coupled
            said |= set() if excused or not same(restoring(fresh(case)), found) else {coupled}
        if thorough:
            alone = some(trial, [place])
            said |= {leaks(run, alone)}
            before.restore()
            said |= {fails_without_grad(restoring, some(trial, [place]), restoring(some(trial, [place])), same)}
        every = list(range(len(case.images)))
        if not all(same(run(some(trial, every)), found) for _ in range(1 + thorough)):
            said.add("gives another result when called again: it keeps something between calls")
    except WrongResult as error:
        said.add(f"fails on other images of a network: {error}")
    return said - {""}
