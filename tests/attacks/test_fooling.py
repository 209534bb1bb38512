"""The coursework's fooling image: its loop to the letter, and what it says where it gives up."""

import pytest
import torch
from attacked import Bent, case, photos, problem
from networks import CLASSES, seeded

import suite
from suite.attacks.fooling import Fooling, fooling_image
from suite.attacks.result import Goal
from suite.errors import ConfigError


@pytest.mark.parametrize("recipe", ["rdfia", "cs231n", "cs7643"])
def test_fooling_image_is_the_courseworks(recipe) -> None:
    """One image by the assignment's own loop, in normalised pixels."""
    from suite.core.classes import ClassNames
    from suite.core.network import Card, Network

    body = seeded(lambda: Bent(8)).body
    card = Card("n", "", "", (8, 8), None, ClassNames.indices(CLASSES))
    model = Network(body, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), card)
    images = photos(3, 8)
    target = int(model(images).sum(0).argmin())
    eta, after = {"rdfia": (0.5, True), "cs231n": (1.0, False), "cs7643": (10.0, False)}[recipe]
    found = suite.attack(model, images, [(target + 1) % CLASSES] * 3, Fooling(recipe=recipe), targets=target)
    for index, image in enumerate(images):
        x = ((image[None] - model.mean) / model.std).requires_grad_()
        steps = 0
        while True:
            scores = body(x)
            if scores.argmax() == target and not (after and steps == 0):
                break
            gradient = torch.autograd.grad(scores[0, target], x)[0]
            x = (x + eta * gradient / gradient.norm()).detach().requires_grad_()
            steps += 1
        assert found.iterations[index] == steps > 0
        assert torch.allclose(found.images[index], (x * model.std + model.mean)[0], atol=1e-5)
    assert found.success.all()


def test_fooling_image_that_gives_up_says_so_and_the_bounded_one_is_an_image() -> None:
    model, images, labels = case()
    target = (labels + 1) % CLASSES
    short = suite.attack(model, images, labels, Fooling(steps=1, eta=1e-3), targets=target)
    assert not short.success.any()
    assert (short.iterations == 1).all()
    bounded = suite.attack(model, images, labels, Fooling(steps=400), targets=target)
    assert bounded.success.all()
    assert 0 <= float(bounded.images.min()) <= float(bounded.images.max()) <= 1
    on = fooling_image(problem(model, images, Goal(target, True)), Fooling("cs231n", eta=0.5, steps=5), stop=False)
    assert (on.backwards == 5).all()
    with pytest.raises(ConfigError, match="aims at a class"):
        suite.attack(model, images, labels, "fooling")
