"""PGD: equal to torchattacks to the bit, a second witness, what must hold of any attack, the smallest epsilon."""

from itertools import pairwise
from math import inf

import pytest
import torch
import torchattacks
from attacked import Bent, case, photos, problem
from host_reads import HostReads
from hypothesis import given
from hypothesis import strategies as st
from networks import CLASSES, PIXELS, seeded
from torch import Tensor, nn

import suite
from suite.attacks.attack import bf16_supported, make_attack
from suite.attacks.fgsm import FGSM
from suite.attacks.pgd import PGD, PGDL2, MomentumFGSM, minimal_epsilon, pgd
from suite.attacks.result import Goal
from suite.reference.torchattacks import run_pair

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


@pytest.mark.parametrize("options", [{}, {"best": True}, {"momentum": 1.0}, {"norm": "l2"}, {"loss": "dlr"}])
def test_steps_read_at_most_one_value_back_with_early_stop_and_none_without(options) -> None:
    model, images, labels = case()

    def reads(steps: int, early_stop: bool) -> int:
        attack = PGD(steps=steps, early_stop=early_stop, **options)
        with HostReads() as counted:
            suite.attack(model, images, labels, attack, epsilon=1e-4, ids=[str(i) for i in range(len(images))])
        return counted.count

    assert reads(3, early_stop=False) == reads(12, early_stop=False) <= 6
    assert 1 <= reads(12, early_stop=True) - reads(3, early_stop=True) <= 9


def test_pixels_are_hashed_only_where_no_name_is_given_and_something_draws() -> None:
    model, images, labels = case()
    for options, hashed in (({"random_start": False}, 0), ({}, 1)):
        with HostReads() as reads:
            suite.attack(model, images, labels, PGD(steps=1, **options))
        assert reads.operators["cpu"] == hashed
