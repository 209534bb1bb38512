"""One step and noise: exact where the network is linear, equal to torchattacks, silent where nothing is in reach."""

import pytest
import torch
from attacked import case, photos
from networks import CLASSES, Linear, seeded

import suite
from suite.attacks.fgsm import FGSM


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd_l2", "momentum_fgsm", "control_noise"])
def test_nothing_within_reach_nothing_changed(name) -> None:
    model, images, labels = case()
    found = suite.attack(model, images, labels, name, epsilon=0)
    assert torch.equal(found.images, images)
    assert not found.success.any()
    wrong = suite.attack(model, images, (labels + 1) % CLASSES, name, epsilon=0)
    assert wrong.success.all()
    assert wrong.initially.all()


def test_linear_network_is_fooled_by_one_step_exactly_where_it_must() -> None:
    model, images = seeded(Linear), 0.4 + 0.2 * photos(6, 8)
    assert FGSM().ball == "linf"
    found = suite.attack(model, images, model(images).argmax(1), FGSM(loss="margin"), epsilon=0.3)
    expected = (images + 0.3 * (found.images - images).sign()).clamp(0, 1)
    assert torch.equal(found.images, expected)
