"""Attacks: equal to torchattacks to the bit, a second witness, what must hold of any attack, and bad input."""

from itertools import pairwise
from math import inf

import pytest
import torch
import torchattacks
from attacked import Bent, case, photos
from hypothesis import given
from hypothesis import strategies as st
from networks import CLASSES, PIXELS, Conv, Linear, Raises, seeded
from torch import Tensor, nn

import suite
from suite.attacks.attack import Problem, bf16_supported, make_attack
from suite.attacks.fgsm import FGSM
from suite.attacks.fooling import Fooling, fooling_image
from suite.attacks.pgd import PGD, PGDL2, MomentumFGSM, minimal_epsilon, pgd
from suite.attacks.result import Goal, losses, outranks
from suite.core.pixels import from_png, png
from suite.core.state import in_use
from suite.errors import ConfigError, DataError, NetworkError
from suite.reference.torchattacks import run_pair


def problem(model: nn.Module, images: Tensor, goal: Goal, epsilon: float = 0.0) -> Problem:
    radius, ids = images.new_full((len(images),), epsilon), tuple(map(str, range(len(images))))
    return Problem(model, images, goal, model(images).detach(), radius, ids, 0)


PAIRS = [
    FGSM(),
    PGD(),
    PGD(random_start=False),
    PGD(steps=3, step_size=0.01),
    PGD(steps=1, step_size=10 / 255),
    PGDL2(),
    PGDL2(random_start=False, steps=25),
    MomentumFGSM(),
]


@pytest.mark.parametrize("epsilon", [8 / 255, 0.5])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("attack", PAIRS, ids=repr)
def test_equal_to_torchattacks_to_the_bit(attack, targeted, epsilon) -> None:
    model, images, labels = case()
    goal = Goal((labels + 1) % CLASSES, True) if targeted else Goal(labels)
    own, theirs = run_pair(attack, model, images, goal, model(images).detach(), epsilon=epsilon, seed=7)
    assert torch.equal(own.images, theirs)
    assert not torch.equal(theirs, images)


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


@pytest.mark.skipif(not bf16_supported(torch.device("cpu")), reason="this processor has no bfloat16 arithmetic")
@pytest.mark.parametrize("epsilon", [0.02, 0.1])
def test_a_search_in_bfloat16_is_verified_in_single_precision_and_finds_as_much(epsilon) -> None:
    model, images, labels = case(12)
    exact, quick = (
        suite.attack(model, images, labels, PGD(early_stop=True, precision=precision), epsilon=epsilon, seed=1)
        for precision in ("fp32", "bf16")
    )
    assert quick.images.dtype == torch.float32
    assert torch.equal(quick.success, model(quick.images).argmax(1) != labels)
    assert quick.success.sum() >= exact.success.sum() > 0  # what bfloat16 leaves is tried again in single precision
    assert (quick.images - images).abs().max() <= epsilon + 1e-6
    assert bool((quick.forwards > exact.forwards).any())  # one forward verifies


def test_ffgsm_is_one_step_of_pgd() -> None:
    model, images, labels = case()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        theirs = torchattacks.FFGSM(model, eps=8 / 255, alpha=10 / 255)(images, labels)
        torch.manual_seed(2)
        start = torch.randn_like(images).uniform_(-8 / 255, 8 / 255)
    found = pgd(problem(model, images, Goal(labels), 8 / 255), PGD(step_size=10 / 255, steps=1), start, mean=True)
    assert torch.equal(found.images, theirs)


@pytest.mark.filterwarnings("ignore:Please import .*:DeprecationWarning")
def test_foolbox_is_a_second_witness() -> None:
    import foolbox

    model, images, labels = case()
    theirs = foolbox.attacks.LinfPGD(steps=10, abs_stepsize=2 / 255, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, fooled = theirs(wrapped, images, labels, epsilons=8 / 255)
    own = suite.attack(model, images, labels, PGD(random_start=False, step_size=2 / 255), epsilon=8 / 255)
    assert torch.equal(own.images, expected)
    assert torch.equal(own.success, fooled)


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


@pytest.mark.slow
@given(
    st.sampled_from(["fgsm", "pgd", "pgd_l2", "momentum_fgsm", "control_noise"]),
    st.floats(0, 1),
    st.integers(0, 10_000),
    st.sampled_from(["ce", "margin", "dlr"]),
    st.booleans(),
)
def test_images_stay_in_ball_and_box(name, epsilon, seed, loss, early_stop) -> None:
    model, images = seeded(Bent), photos(3, seed=seed)
    images[0, :, :4] = images[0, :, :4].round()
    extra = {} if name == "control_noise" else {"loss": loss}
    extra |= {"early_stop": early_stop, "steps": 3} if "pgd" in name or "momentum" in name else {}
    made = make_attack(name, extra)
    found = suite.attack(model, images, [0, 1, 2], made, epsilon=epsilon, seed=seed)
    assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1
    norms = found.l2 if made.ball == "l2" else found.linf
    assert float(norms.max()) <= epsilon * (1 + 1e-6) + 1e-6
    with torch.no_grad():
        again = model(found.images).argmax(1)
    assert torch.equal(found.prediction, again)
    assert torch.equal(found.success, again != torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd_l2", "momentum_fgsm", "control_noise"])
def test_nothing_within_reach_nothing_changed(name) -> None:
    model, images, labels = case()
    found = suite.attack(model, images, labels, name, epsilon=0)
    assert torch.equal(found.images, images)
    assert not found.success.any()
    wrong = suite.attack(model, images, (labels + 1) % CLASSES, name, epsilon=0)
    assert wrong.success.all()
    assert wrong.initially.all()


@pytest.mark.slow
def test_more_epsilon_more_steps_more_restarts_never_fool_fewer() -> None:
    model, images, labels = case(40)
    one = [int(suite.attack(model, images, labels, "pgd", epsilon=e, best=True).success.sum()) for e in (0.01, 0.05, 1)]
    assert one == sorted(one)
    assert one[0] < one[-1] == 40
    steps = [PGD(steps=n, step_size=0.004, random_start=False, best=True) for n in (1, 3, 9)]
    found = [suite.attack(model, images, labels, s, epsilon=0.03) for s in steps]
    assert all(bool((a.success <= b.success).all()) for a, b in pairwise(found))
    assert int(found[0].success.sum()) < int(found[-1].success.sum())
    single = suite.attack(model, images, labels, PGD(steps=1), epsilon=0.02)
    many = suite.attack(model, images, labels, PGD(steps=1, restarts=5), epsilon=0.02)
    assert bool((single.success <= many.success).all())
    assert int(single.success.sum()) < int(many.success.sum())


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


def test_early_stop_fools_as_many_in_fewer_passes_and_says_when() -> None:
    model, images, labels = case(40)
    full = suite.attack(model, images, labels, "pgd", epsilon=0.06)
    early = suite.attack(model, images, labels, "pgd", epsilon=0.06, early_stop=True)
    assert bool((full.success <= early.success).all())
    assert not early.silent.any()
    assert int(early.backwards.sum()) < int(full.backwards.sum()) / 2
    index = int(early.iterations.argmax())
    step = int(early.iterations[index])
    assert 0 < step <= 10
    one = slice(index, index + 1)
    same = {"epsilon": 0.06, "ids": [f"{index}"]}
    stopped = suite.attack(model, images[one], labels[one], PGD(early_stop=True), **same)
    shorter = suite.attack(
        model, images[one], labels[one], PGD(steps=int(stopped.iterations) - 1, step_size=0.015), **same
    )
    assert stopped.success.all()
    assert not shorter.success.any()
    already = suite.attack(model, images, (labels + 1) % CLASSES, "pgd", epsilon=0.06, early_stop=True)
    assert torch.equal(already.images, images)
    assert int(already.backwards.sum()) == 0


def test_minimal_epsilon_is_the_margin_over_the_dual_norm() -> None:
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 2)), dtype=torch.float64)
    images = 0.4 + 0.2 * photos(8, 8).double()
    scores = model(images).detach()
    labels = scores.argmax(1)
    direction = model[1].weight[0] - model[1].weight[1]
    margin = (scores[:, 0] - scores[:, 1]).abs()
    for norm, dual in (("linf", 1), ("l2", 2)):
        made = PGD(norm=norm, loss="margin", random_start=False, early_stop=True)

        def attempt(index, epsilon, made=made):
            found = suite.attack(model, images[index], labels[index], made, epsilon=epsilon, saved=False)
            return found.success, found.images

        least, best = minimal_epsilon(attempt, images, first=0.01, largest=10, tolerance=0.005)
        exact = margin / direction.norm(p=dual)
        assert torch.all((least >= exact * (1 - 1e-9)) & (least <= exact * 1.01)), norm
        assert torch.equal(model(best).argmax(1) == labels, torch.zeros(8, dtype=torch.bool))

    def never(index, epsilon):
        return torch.zeros(len(index), dtype=torch.bool), images[index]

    assert minimal_epsilon(never, images, first=0.01, largest=1)[0].eq(inf).all()


class Scripted(nn.Module):
    """Two classes; the margin of class 1 by how many steps of 0.1 a one-pixel image has climbed; its slope is 1."""

    def __init__(self, *margins: float) -> None:
        super().__init__()
        self.margins = torch.tensor(margins)

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)[:, 0]
        margin = self.margins[((pixel - 0.2) * 10).round().long()] + pixel - pixel.detach()
        return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("rise", [1e-2, 1e-4, 2e-6])
def test_the_best_iterate_is_the_one_of_greatest_loss_however_close(rise, loss) -> None:
    model, image = Scripted(-1, 1, 1 + rise, 0.5), torch.full((1, 1, 1, 1), 0.2)
    made = PGD(steps=3, step_size=0.1, random_start=False, best=True, loss=loss)
    found = suite.attack(model, image, 0, made, epsilon=0.5, saved=False)
    assert found.images.item() == pytest.approx(0.4)


def test_an_iterate_that_fools_outranks_one_of_greater_loss_that_does_not() -> None:
    fools = torch.tensor([[1.0, 1.1, 0.0, 0.0]])  # of small cross entropy
    not_yet = torch.tensor([[1.0, 0.9, 0.9, 0.9]])
    goal = Goal(torch.tensor([0]))
    assert losses(fools, goal, "ce") < losses(not_yet, goal, "ce")
    assert outranks(fools, not_yet, goal, "ce").all()
    assert not outranks(not_yet, fools, goal, "ce").any()
    assert not outranks(fools, fools, goal, "ce").any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_search_over_epsilon_scales_a_fixed_step_and_keeps_all_else(norm) -> None:
    made = PGD(norm, steps=7, step_size=0.02, restarts=3, momentum=0.9, schedule="cosine", loss="margin", best=True)
    searching = made.searching(0.1)
    assert searching.length(0.1) == pytest.approx(made.length(0.1))
    assert searching.length(0.5) == pytest.approx(0.1)
    kept = set(vars(made)) - {"step_size", "relative_step", "early_stop"}
    assert {name: vars(searching)[name] for name in kept} == {name: vars(made)[name] for name in kept}
    assert PGD().searching(0.1) == PGD(early_stop=True)
    assert PGD(relative_step=0.5).searching(0.1).length(0.2) == 0.1
    assert PGD(early_stop=True, precision="bf16", momentum=0.9).whole() == PGD(momentum=0.9)
    # a step far too long for a small ball, or far too short for a large one, finds the exact answer in its search
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 2)), dtype=torch.float64)
    images = 0.4 + 0.2 * photos(4, 8).double()
    scores = model(images).detach()
    margin = (scores[:, 0] - scores[:, 1]).abs()
    exact = margin / (model[1].weight[0] - model[1].weight[1]).norm(p=1 if norm == "linf" else 2)
    for step in (1e-4, 1.0):
        quick = PGD(norm, step_size=step, loss="margin").searching(2 * step)

        def attempt(index, epsilon, quick=quick):
            found = suite.attack(model, images[index], scores.argmax(1)[index], quick, epsilon=epsilon, saved=False)
            return found.success, found.images

        least, _ = minimal_epsilon(attempt, images, first=0.01, largest=1, tolerance=0.005)
        assert torch.all((least >= exact * (1 - 1e-9)) & (least <= exact * 1.01))


def test_losses_by_hand() -> None:
    scores = torch.tensor([[4.0, 1.0, 3.0, -1.0, 0.0]])
    label, aim = Goal(torch.tensor([0])), Goal(torch.tensor([1]), True)
    assert losses(scores, label, "margin").item() == -1
    assert losses(scores, label, "dlr").item() == pytest.approx(-1 / (4 - 1))
    assert losses(scores, aim, "margin").item() == -3
    assert losses(scores, aim, "dlr").item() == pytest.approx(-3 / (4 - (1 + 0) / 2))
    assert losses(scores, label, "ce").item() == pytest.approx(-scores.log_softmax(1)[0, 0].item())


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


def test_linear_network_is_fooled_by_one_step_exactly_where_it_must() -> None:
    model, images = seeded(Linear), 0.4 + 0.2 * photos(6, 8)
    assert FGSM().ball == "linf"
    found = suite.attack(model, images, model(images).argmax(1), FGSM(loss="margin"), epsilon=0.3)
    expected = (images + 0.3 * (found.images - images).sign()).clamp(0, 1)
    assert torch.equal(found.images, expected)
