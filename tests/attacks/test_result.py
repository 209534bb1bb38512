"""What attacks share: losses by hand, rank, radii, the verdict as saved."""

import pytest
import torch
from attacked import case, photos
from torch import Tensor, nn

import suite
from suite.attacks.fgsm import FGSM
from suite.attacks.fooling import Fooling
from suite.attacks.pgd import PGD, PGDL2, MomentumFGSM
from suite.attacks.result import Goal, draw_start, losses, outranks, per_image
from suite.core.pixels import from_png, png


def test_an_iterate_that_fools_outranks_one_of_greater_loss_that_does_not() -> None:
    fools = torch.tensor([[1.0, 1.1, 0.0, 0.0]])  # of small cross entropy
    not_yet = torch.tensor([[1.0, 0.9, 0.9, 0.9]])
    goal = Goal(torch.tensor([0]))
    assert losses(fools, goal, "ce") < losses(not_yet, goal, "ce")
    assert outranks(fools, not_yet, goal, "ce").all()
    assert not outranks(not_yet, fools, goal, "ce").any()
    assert not outranks(fools, fools, goal, "ce").any()


def test_losses_by_hand() -> None:
    scores = torch.tensor([[4.0, 1.0, 3.0, -1.0, 0.0]])
    label, aim = Goal(torch.tensor([0])), Goal(torch.tensor([1]), True)
    assert losses(scores, label, "margin").item() == -1
    assert losses(scores, label, "dlr").item() == pytest.approx(-1 / (4 - 1))
    assert losses(scores, aim, "margin").item() == -3
    assert losses(scores, aim, "dlr").item() == pytest.approx(-3 / (4 - (1 + 0) / 2))
    assert losses(scores, label, "ce").item() == pytest.approx(-scores.log_softmax(1)[0, 0].item())


def test_zero_gradient_is_counted_and_moves_nothing() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.flatten(1)[:, :5] + torch.tensor([1.0, 0, 0, 0, 0])

    images = photos(2)
    for made in (PGD(random_start=False), PGDL2(random_start=False), MomentumFGSM(), Fooling(steps=10)):
        found = suite.attack(Flat(), images, 0, made, targets=1 if isinstance(made, Fooling) else None)
        assert torch.equal(found.images, images)
        assert (found.zero_gradients == 10).all()
        assert not found.success.any()


def test_verdict_once_more_after_saving() -> None:
    image = photos(1)[0]
    assert torch.equal(from_png(png(image)), (image * 255).round() / 255)

    class Fine(nn.Module):
        """Tells pixels that are off the 8-bit grid."""

        def forward(self, x: Tensor) -> Tensor:
            off = ((x * 255 - (x * 255).round()).abs().flatten(1).amax(1) > 0.01).float() + 0 * x.sum((1, 2, 3))
            return torch.stack([0.5 - off, off - 0.5], 1)

    grid = (photos(2) * 255).round() / 255
    found = suite.attack(Fine(), grid, 0, "control_noise", epsilon=0.3 / 255)
    assert found.success.all()
    assert not found.saved_success.any()


@pytest.mark.parametrize("size", [torch.tensor([0.1, 0.2]), [0.1, 0.2], "0.1"], ids=["tensor", "list", "text"])
def test_a_step_size_is_one_number_for_all_images(size) -> None:
    with pytest.raises(ValueError, match="step_size: expected one number for all images, got a"):
        PGD(step_size=size)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd_l2", "control_noise"])
def test_radii_one_an_image_in_any_kind_of_number_are_those_of_one_at_a_time(name) -> None:
    model, images, labels = case(3)
    some = [0, 0.05, 1]
    alone = [suite.attack(model, images, labels, name, epsilon=e).images[i] for i, e in enumerate(some)]
    for radii in (some, tuple(some), torch.tensor(some, dtype=torch.float64)):
        together = suite.attack(model, images, labels, name, epsilon=radii).images
        assert torch.allclose(together, torch.stack(alone), atol=1e-6)


class Damaging(FGSM):
    """Returns NaN for the first image."""

    def find(self, problem):
        found = super().find(problem)
        found.images[0] = torch.nan
        return found


def test_an_image_that_is_not_finite_is_never_a_success() -> None:
    model, images, labels = case(4)
    sound = suite.attack(model, images, labels, FGSM(), epsilon=0.5)
    damaged = suite.attack(model, images, labels, Damaging(), epsilon=0.5)
    assert sound.success.tolist() == sound.saved_success.tolist() == [True] * 4
    assert damaged.success.tolist() == damaged.saved_success.tolist() == [False, True, True, True]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_drawn_on_a_device_fill_the_ball_and_belong_to_an_image(monkeypatch, norm) -> None:
    monkeypatch.setattr("suite.attacks.result.draws_on_device", lambda _device: True)
    images, names = photos(6), tuple("abcdef")
    radius = per_image(0.1, images)
    start = draw_start(images, radius, norm, names, 0, "start 0")
    sizes = start.flatten(1).abs().amax(1) if norm == "linf" else start.flatten(1).norm(dim=1)
    assert (sizes <= 0.1 * (1 + 1e-6)).all()
    assert sizes.unique().numel() == 6
    assert abs(float(start.mean())) < 0.01
    assert torch.equal(draw_start(images[2:4], radius[2:4], norm, names[2:4], 0, "start 0"), start[2:4])
    assert not torch.equal(draw_start(images, radius, norm, names, 0, "start 1"), start)
