"""torchattacks beside the suite: the same start, the same attack, and none where the library has none."""

import networks as nets
import pytest
import torch
import torchattacks
from networks import pictures, seeded
from untouched import around

from suite.attacks.fgsm import FGSM
from suite.attacks.pgd import PGD
from suite.attacks.result import Goal
from suite.core.passes import predict
from suite.reference.torchattacks import library_start, library_twin, run_pair, torchattacks_attack, verdicts_of

EPSILON = 8 / 255


def pair(attack, net, x):
    clean = predict(net, x)
    goal = Goal(clean.argmax(1), targeted=False)
    result = run_pair(attack, net, x, goal, clean, epsilon=EPSILON, seed=3)
    assert result is not None
    return *result, goal


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3), PGD(steps=3, random_start=False)], ids=repr)
def test_both_give_the_same_images(attack):
    net, x = seeded(nets.Conv), pictures()
    before = around(net, x)
    own, library, goal = pair(attack, net, x)
    torch.testing.assert_close(own.images, library)
    assert not torch.equal(own.images, x)
    assert torch.equal(verdicts_of(net, library, goal), goal.reached(predict(net, library)))
    assert around(net, x) == before


def test_the_start_is_the_librarys():
    x = pictures()
    start = library_start(x, EPSILON, "linf", 3)
    torch.manual_seed(3)
    assert torch.equal(start, torch.empty_like(x).uniform_(-EPSILON, EPSILON))
    assert float(library_start(x, EPSILON, "l2", 3).flatten(1).norm(dim=1).max()) <= EPSILON


def test_what_the_library_does_not_have_has_no_twin():
    net = seeded(nets.Conv)
    assert library_twin(FGSM(loss="margin"), net, EPSILON) is None
    assert isinstance(library_twin(PGD(steps=3), net, EPSILON), torchattacks.PGD)


def test_an_attack_by_name():
    net, x = seeded(nets.Conv), pictures().clamp(0.1, 0.9)
    labels = predict(net, x).argmax(1)
    moved = torchattacks_attack("FGSM", eps=EPSILON)(net, x, labels, "")
    assert float((moved - x).abs().max()) == pytest.approx(EPSILON, abs=1e-6)
