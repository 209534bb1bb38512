"""`suite.attack`: targets, each image as if alone, the network as it was, and bad input."""

import pytest
import torch
import torchattacks
from attacked import Bent, case, photos
from networks import CLASSES, Conv, Raises, seeded
from torch import Tensor, nn

import suite
from suite.attacks.attack import attack, choose_targets, make_attack
from suite.attacks.fooling import Fooling
from suite.attacks.pgd import PGD
from suite.core.state import in_use
from suite.errors import ConfigError, DataError, NetworkError


@pytest.mark.parametrize("mode", ["least_likely", "random", "function"])
def test_targets_as_torchattacks_chooses_them(mode) -> None:
    model, images, labels = case()
    theirs = torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=4, random_start=False)
    if mode == "least_likely":
        theirs.set_mode_targeted_least_likely(quiet=True)
        aim = "least_likely"
    elif mode == "function":
        theirs.set_mode_targeted_by_function(lambda _, y: (y + 2) % CLASSES, quiet=True)
        aim = lambda _, y: (y + 2) % CLASSES  # noqa: E731
    else:
        theirs.set_mode_targeted_random(quiet=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            drawn = torch.cat([(4 * torch.rand([1])).long() for _ in labels])
        aim = drawn + (drawn >= labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = theirs(images, labels)
    own = suite.attack(model, images, labels, PGD(steps=4, random_start=False), epsilon=8 / 255, targets=aim)
    assert torch.equal(own.images, expected)


def test_faults_of_torchattacks_are_not_copied() -> None:
    model, images, labels = case()
    last = images.contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="view size"):
        torchattacks.PGDL2(model)(last, labels)
    own = suite.attack(model, last, labels, "pgd_l2", epsilon=1.0)
    assert torch.equal(own.images, suite.attack(model, images, labels, "pgd_l2", epsilon=1.0).images)
    normalised = (images - 0.45) / 0.22
    silently = torchattacks.FGSM(model)(normalised, labels)
    assert float((silently - normalised).abs().max()) > 1  # not the 8/255 that were asked
    with pytest.raises(DataError, match="normalisation inside the network"):
        suite.attack(model, normalised, labels, "fgsm")
    target = (labels + 1) % CLASSES
    multi = torchattacks.MultiAttack([torchattacks.PGD(model, eps=0.5, alpha=0.1) for _ in range(2)])
    for one in multi.attacks:
        one.set_mode_targeted_by_label(quiet=True)
    assert torch.equal(multi(images, target), images)  # its own success missed: it gives back the photos
    ours = suite.attack(model, images, labels, "pgd", epsilon=0.5, targets=target, restarts=2)
    assert ours.success.all()


def test_each_image_is_attacked_as_if_alone() -> None:
    model, images, labels = case(6)
    for name, options in (("pgd", {}), ("pgd_l2", {}), ("pgd", {"early_stop": True}), ("control_noise", {})):
        together = suite.attack(model, images, labels, name, epsilon=0.03, **options)
        alone = [
            suite.attack(model, x[None], y[None], name, epsilon=0.03, **options)
            for x, y in zip(images, labels, strict=True)
        ]
        for i, one in enumerate(alone):
            assert torch.allclose(together.images[i], one.images[0], atol=1e-6), name
            assert together.iterations[i] == one.iterations[0]
    backwards = suite.attack(model, images.flip(0), labels.flip(0), "pgd", epsilon=0.03)
    assert torch.equal(backwards.images.flip(0), suite.attack(model, images, labels, "pgd", epsilon=0.03).images)


def test_network_is_found_as_it_was_also_after_an_exception() -> None:
    model = Raises("backward").train()
    model.body.norm.eval()
    flags = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ArithmeticError):
        suite.attack(model, photos(2, 8), 0, "pgd")
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    dropping = seeded(lambda: Conv(dropout=0.5)).train()
    once, twice = (suite.attack(dropping, photos(2, 8), 0, "pgd").images for _ in range(2))
    assert torch.equal(once, twice)


def test_gradients_are_had_where_lightning_forbids_them() -> None:
    model, images, labels = case()
    expected = suite.attack(model, images, labels, "pgd").images
    with torch.inference_mode():
        assert torch.equal(suite.attack(model, images.clone(), labels, "pgd").images, expected)
    with in_use(model), torch.no_grad():
        assert torch.equal(suite.attack(model, images, labels, "pgd").images, expected)


class Nan(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :5] * float("nan")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"targets": 0}, ConfigError, "target 0: is the label of image 0"),
        ({"targets": 9}, DataError, "0..4"),
        ({"targets": "likely"}, ConfigError, "least_likely"),
        ({"labels": 7}, DataError, "0..4"),
        ({"epsilon": -0.1}, ConfigError, "at least 0"),
        ({"epsilon": 8}, ConfigError, "did you mean 8/255"),
        ({"epsilon": float("nan")}, ConfigError, "at least 0"),
        ({"epsilon": [0.1, float("nan")]}, ConfigError, "epsilon nan"),
        ({"epsilon": [0.1, -0.1]}, ConfigError, "epsilon -0.1: expected a finite radius of at least 0"),
        ({"epsilon": [0, 8]}, ConfigError, "did you mean 8/255"),
        ({"epsilon": float("inf"), "method": "pgd_l2"}, ConfigError, "finite"),
        ({"epsilon": [0, 0.1, 0.2]}, ConfigError, "epsilon: expected one number, or 2, one an image; got 3 of them"),
        ({"epsilon": [0.1]}, ConfigError, "or 2, one an image; got 1 of them"),
        ({"epsilon": []}, ConfigError, "or 2, one an image; got 0 of them"),
        ({"epsilon": torch.full((2, 1), 0.1)}, ConfigError, r"got 2 of them, of shape \(2, 1\)"),
        ({"epsilon": torch.tensor(0.1 + 1j)}, ConfigError, "expected one number, or 2"),
        ({"epsilon": True}, ConfigError, "expected one number, or 2, one an image; got True"),
        ({"epsilon": "8/255"}, ConfigError, "expected one number, or 2, one an image; got '8/255'"),
        ({"epsilon": torch.tensor(0.1, device="meta")}, ConfigError, "expected one number, or 2"),
        ({"targets": [1, 2, 3]}, DataError, "targets: expected one class, or 2 of them"),
        ({"targets": [[1, 2]]}, DataError, "targets: expected one class, or 2 of them"),
        ({"targets": [1.0, 2.0]}, DataError, "targets: expected class indices"),
        ({"targets": lambda images, labels: [1]}, DataError, "targets: expected one class, or 2 of them"),
        ({"labels": [0, 1, 2]}, DataError, "expected one class, or 2 of them"),
        ({"ids": ["a"]}, DataError, "ids: expected 2"),
        ({"clean": torch.zeros(3, CLASSES)}, DataError, r"clean: expected the scores of 2 images.*shape \(3, 5\)"),
        ({"clean": torch.zeros(2, CLASSES, dtype=torch.int64)}, DataError, "clean: expected the scores of 2 images"),
        ({"clean": [0.0, 1.0]}, DataError, "clean: expected the scores of 2 images.*list"),
        ({"step_size": [0.1, 0.2]}, ConfigError, "'step_size'"),
        ({"relative_step": 0}, ConfigError, "relative_step 0: expected more than 0"),
        ({"method": PGD(norm="l1")}, ConfigError, "'norm': Input should be 'linf' or 'l2'"),
        ({"method": PGD(loss="hinge")}, ConfigError, "'loss': Input should be"),
        ({"method": PGD(schedule="step")}, ConfigError, "'schedule': Input should be"),
        ({"method": PGD(steps=2.5)}, ConfigError, "'steps': Input should be a valid integer"),
        ({"method": "control_noise", "draws": 0}, ConfigError, "draws 0: expected at least 1"),
        ({"method": "fgsm", "steps": 3}, ConfigError, "unknown parameter 'steps'"),
        ({"method": "pdg"}, ConfigError, "did you mean 'pgd'"),
        ({"method": "fooling", "epsilon": 0.1, "targets": 1}, ConfigError, "takes no epsilon"),
        ({"step_size": 0}, ConfigError, "more than 0"),
        ({"step_size": float("nan")}, ConfigError, "'step_size' is nan"),
        ({"method": PGD(step_size=float("nan"))}, ConfigError, "'step_size' is nan"),
        ({"method": Fooling(eta=float("inf")), "targets": 1}, ConfigError, "'eta' is inf"),
        ({"precision": "bf16"}, ConfigError, "early_stop"),
        ({"model": Nan()}, NetworkError, "NaN on image 0"),
        ({"images": photos(2) * 255}, DataError, "divide 0..255 by 255"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(change, error, says) -> None:
    call = {"model": seeded(Bent), "images": photos(2), "labels": 0} | change
    with pytest.raises(error, match=says) as caught:
        suite.attack(**call)
    assert "\n" not in str(caught.value)


def test_targets_by_hand_are_never_the_label() -> None:
    clean = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    labels, ids = torch.tensor([1, 0]), ("a", "b")
    images = torch.zeros(2, 3, 4, 4)
    assert choose_targets("least_likely", clean, images, labels, ids, 0).tolist() == [2, 2]
    drawn = torch.stack([choose_targets("random", clean, images, labels, ids, seed) for seed in range(50)])
    assert [set(column.tolist()) for column in drawn.T] == [{0, 2}, {1, 2}]
    assert choose_targets(lambda _, y: 1 - y, clean, images, labels, ids, 0).tolist() == [0, 1]
    with pytest.raises(ConfigError, match="target 1: is the label of image 0"):
        choose_targets([1, 2], clean, images, labels, ids, 0)


def test_scores_in_hand_save_a_forward_and_the_saved_image_is_judged_only_where_asked() -> None:
    model, images, labels = case()
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    clean = model(images).detach()
    counts = []
    for more in ({}, {"clean": clean}, {"clean": clean, "saved": False}):
        calls.clear()
        result = attack(model, images, labels, "fgsm", **more)
        counts.append(len(calls))
    assert counts == [4, 3, 2]
    assert result.saved_success is None
    with pytest.raises(ConfigError, match="unknown parameter 'save'"):
        attack(model, images, labels, "fgsm", save=False)
    with pytest.raises(ConfigError, match="give them to the attack itself"):
        attack(model, images, labels, make_attack("fgsm"), loss="margin")
