"""Each defect of behaviour is seen by its kind, and a well-behaved implementation has none."""

from functools import partial

import faults
import pytest
import torch

from suite.verify.behaviour import Defect, WrongResult, examine, few_objects, fresh, observe, some
from suite.verify.networks import small_cases

CASE = next(iter(small_cases()))


def right(case):
    return faults.saliency(case.model, case.images, case.targets).detach()


def seen(run):
    with few_objects():
        return examine(run, right, CASE, run(fresh(CASE)), 1, partial(torch.allclose, atol=1e-6), thorough=True)


def coupled(case):
    found = right(case)
    return found / found.amax()


KEPT = []


def leaking(case):
    KEPT.append(torch.zeros(1))
    return right(case)


def without_grad(case):
    if not torch.is_grad_enabled():
        raise WrongResult("raises RuntimeError")
    return right(case)


def counting(case):
    KEPT.append(0)
    return right(case) * (1 + len(KEPT))


@pytest.mark.parametrize(
    ("run", "kinds"),
    [
        (right, set()),
        (coupled, {Defect.COUPLES}),
        (leaking, {Defect.LEAKS}),
        (without_grad, {Defect.NO_GRAD}),
        (counting, {Defect.CALLED_AGAIN, Defect.NO_GRAD}),
    ],
)
def test_kinds(run, kinds):
    KEPT.clear()
    assert set(seen(run)) == kinds


def test_what_is_left_changed_is_observed():
    def spoils(case):
        found = right(case)
        case.images.zero_()
        case.model.first.weight.data.mul_(2)
        return found

    before = CASE.model.first.weight.clone()
    result, changed = observe(spoils, CASE)
    assert torch.equal(result, right(CASE))
    assert changed == ["the model's state (weights or buffers)", "the images it is given"]
    assert torch.equal(CASE.model.first.weight, before)
    assert observe(right, CASE)[1] == []


def test_some_of_the_images():
    part = some(CASE, [2, 0])
    assert torch.equal(part.images, CASE.images[[2, 0]])
    assert part.targets.tolist() == CASE.targets[[2, 0]].tolist()
