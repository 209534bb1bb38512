"""Scores of maps against answers worked out by hand, Captum and scipy, on networks small enough to see through."""

import captum.metrics
import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import nn

from suite.metrics import axioms, faithfulness, localisation, robustness
from suite.metrics.cards import CARDS
from suite.metrics.complexity import effective_complexity

T = torch.tensor


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


class Sum(nn.Module):
    """(B, 1, 2, 2) -> (B, 2): the weighted sum of the pixels, and 0."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(T(weights).float().view(1, 1, 2, 2))

    def forward(self, x):
        found = (x * self.weights).sum((1, 2, 3))
        return torch.stack([found, torch.zeros_like(found)], 1)


def shuffled(count, pixels, seed=0):
    generator = draw(seed)
    return torch.stack([torch.randperm(pixels, generator=generator) for _ in range(count)])


def test_deletion_of_a_linear_network_by_hand():
    model, image = Sum([4.0, 1.0, 2.0, 3.0]), torch.ones(1, 1, 2, 2)
    ranks = faithfulness.removal_ranks(T([[[4.0, 1.0], [2.0, 3.0]]]), shuffled(1, 4))
    assert ranks.tolist() == [[[0, 3], [2, 1]]]
    masks = faithfulness.first_removed(ranks, torch.linspace(0, 1, 5))
    found = faithfulness.evaluate_perturbed(model, image, T([0]), masks, torch.zeros_like(image), room=2)
    assert found.score.tolist() == [[10, 6, 3, 1, 0]]
    torch.testing.assert_close(found.probability, torch.sigmoid(found.score))
    assert found.top.tolist() == [[1, 1, 1, 1, 1]]
    shares = faithfulness.normalised(found.score, T([10.0]), T([0.0]))
    assert float(faithfulness.area(shares)) == pytest.approx((0.5 + 0.6 + 0.3 + 0.1) / 4)


def test_perturbed_answers_do_not_depend_on_how_many_go_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    images, masks = torch.rand(3, 3, 8, 8), torch.rand(3, 7, 8, 8) < 0.5
    one, many = (
        faithfulness.evaluate_perturbed(model, images, T([0, 1, 2]), masks, images.flip(3), room=room).score
        for room in (1, 21)
    )
    torch.testing.assert_close(one, many)
    each = torch.where(masks[1, 4], images.flip(3)[1], images[1])
    torch.testing.assert_close(one[1, 4], model(each[None])[0, 1].double())


def test_tied_pixels_go_in_random_order_and_scale_does_not_matter():
    constant = torch.ones(1, 8, 8)
    a, b = (faithfulness.removal_ranks(constant, shuffled(1, 64, seed)) for seed in (0, 1))
    assert not torch.equal(a, b)
    assert not torch.equal(a.flatten(), torch.arange(64))
    values = torch.randn(2, 8, 8, generator=draw())
    first, second = (faithfulness.removal_ranks(v, shuffled(2, 64)) for v in (values, 1000 * values))
    assert torch.equal(first, second)


def test_normalising_a_curve_without_a_fall_is_undefined():
    assert faithfulness.normalised(torch.ones(1, 3), T([0.5]), T([0.5])).isnan().all()


def _solved(planes, removed):
    """The same linear system by scipy's direct solver: (C, H, W) and (H, W) bool -> (C, H, W)."""
    height, width = removed.shape
    values, right = {}, np.where(removed, 0.0, planes.double()).reshape(len(planes), -1).T
    for here, (y, x) in enumerate(np.ndindex(height, width)):
        values[here, here] = 1.0
        if not removed[y, x]:
            continue
        steps = [
            (j, i) for j in (-1, 0, 1) for i in (-1, 0, 1) if (j or i) and 0 <= y + j < height and 0 <= x + i < width
        ]
        weights = [1 / 6 if j == 0 or i == 0 else 1 / 12 for j, i in steps]
        for (j, i), weight in zip(steps, weights, strict=True):
            values[here, (y + j) * width + x + i] = -weight / sum(weights)
    where = np.array(list(values)).T
    matrix = coo_matrix((list(values.values()), tuple(where))).tocsc()
    return T(spsolve(matrix, right).T.reshape(planes.shape))


def _disc(size):
    y, x = (torch.linspace(-1, 1, side) for side in size)
    return y[:, None] ** 2 + x**2 < 0.7


MASKS = {
    "scattered": lambda size: torch.rand(size, generator=draw(1)) < 0.6,
    "nearly all": lambda size: (torch.rand(size, generator=draw(1)) < 0.97).index_fill(0, T(0), False),
    "a disc": _disc,
    "a half": lambda size: torch.arange(size[1]).expand(size) >= size[1] // 2,
    "all but a corner": lambda size: torch.arange(size[0] * size[1]).view(size) > 0,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [(17, 23), (3, 5), (64, 64)])
def test_imputation_solves_the_linear_system_to_its_tolerance(mask, size):
    images, removed = torch.rand(2, 3, *size, generator=draw()), MASKS[mask](size)
    images[1] = images[1].sort(-1).values  # smooth, with a large difference from side to side
    flipped = removed.flip(0, 1)
    found = faithfulness.impute(images, torch.stack([removed, flipped]).unsqueeze(1))
    for image, one, gone in zip(images, found, (removed, flipped), strict=True):
        torch.testing.assert_close(one.double(), _solved(image, gone), atol=1e-4, rtol=0)
        assert torch.equal(one[:, ~gone], image[:, ~gone])


def test_imputation_of_half_a_photo_is_not_spoilt_by_rounding():
    """Left known, right removed: each row's own colour goes on, but for the eight neighbours' mixing of rows."""
    ramp = torch.linspace(0, 1, 224).view(1, 1, 1, 224).expand(1, 3, 224, 224)
    gone = MASKS["a half"]((224, 224)).view(1, 1, 224, 224)
    found = faithfulness.impute(ramp, gone)
    assert float((found[..., 112:] - ramp[..., 111:112]).abs().max()) < 1e-4  # float32 alone is 6e-4 off


def test_imputing_from_nothing_is_refused():
    with pytest.raises(ValueError, match="remove less than all"):
        faithfulness.impute(torch.rand(1, 3, 6, 6), torch.ones(1, 1, 6, 6, dtype=torch.bool))


def test_the_truth_of_a_linear_network_is_perfectly_faithful():
    model, image = Sum([4.0, -1.0, 2.0, 3.0]), torch.rand(1, 1, 2, 2, generator=draw())
    masks = torch.rand(1, 9, 2, 2, generator=draw(3)) < 0.5
    clean = model(image).detach()[0, 0]
    drops = clean - faithfulness.evaluate_perturbed(model, image, T([0]), masks, torch.zeros_like(image), 4).score
    truth = (image * model.weights).detach()[:, 0]
    sums = faithfulness.subset_sums(truth, masks)
    torch.testing.assert_close(sums.float(), drops.float())
    assert float(faithfulness.faithfulness_correlation(sums, drops)) == pytest.approx(1)
    assert float(faithfulness.mu_fidelity(-sums, drops)) == pytest.approx(-1)
    assert float(faithfulness.infidelity(7 * sums, drops)) == pytest.approx(0, abs=1e-9)
    assert float(faithfulness.infidelity(0 * sums, drops)) == pytest.approx(float(drops.square().mean()))
    assert faithfulness.pearson(torch.zeros(1, 9), drops).isnan().all()


@pytest.mark.parametrize("normalise", [False, True])
def test_infidelity_is_captums_with_the_same_perturbations(normalise):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 4))
    images, maps = torch.rand(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    noises = 0.3 * torch.randn(6, 3, 3, 4, 4)
    turns = iter(noises)
    theirs = captum.metrics.infidelity(
        model, lambda x: (n := next(turns), x - n), images, maps, target=T([0, 1, 2]), n_perturb_samples=6,
        max_examples_per_batch=3, normalize=normalise,
    )  # fmt: skip
    with torch.no_grad():
        pick = T([[0], [1], [2]])
        drops = torch.stack([(model(images) - model(images - n)).gather(1, pick)[:, 0] for n in noises], 1)
    predicted = (noises * maps).flatten(2).sum(2).T
    ours = faithfulness.infidelity(predicted, drops, normalise=normalise)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-7)


def test_sensitivity_is_captums_with_the_same_noise():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 1))

    @torch.enable_grad()
    def explain(x):
        if isinstance(x, tuple):  # as Captum calls; a bare tensor given back would be taken for a tuple of its images
            return (explain(x[0]),)
        x = x.detach().requires_grad_()
        return torch.autograd.grad(model(x).sum(), x)[0]

    images, noises = torch.rand(3, 3, 4, 4), 0.05 * (2 * torch.rand(5, 3, 3, 4, 4) - 1)
    turns = iter(noises)
    theirs = captum.metrics.sensitivity_max(
        explain, images, lambda x: x + next(turns), n_perturb_samples=5, max_examples_per_batch=3
    )
    ours = torch.stack([robustness.relative_change(explain(images), explain(images + n)) for n in noises]).amax(0)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=1e-7)
    assert robustness.relative_change(torch.zeros(1, 3), torch.ones(1, 3)).isnan().all()


def test_effective_complexity_counts():
    assert effective_complexity(T([[[1.0, 0.5, 0.005, 0.0]]])).tolist() == [0.5]
    assert effective_complexity(torch.zeros(1, 2, 2)).isnan().all()


def test_places_by_hand():
    a = T([[[3.0, 1.0], [-9.0, 0.0]]])
    inside = T([[[True, False], [True, False]]])
    assert localisation.mass_inside(a, inside).tolist() == [0.75]
    assert localisation.mass_inside(-a.abs(), inside).isnan().all()
    ranks = faithfulness.removal_ranks(a, shuffled(1, 4))
    assert localisation.rank_inside(ranks, inside).tolist() == [0.5]
    assert localisation.rank_inside(ranks, torch.zeros_like(inside)).isnan().all()
    far = torch.zeros(1, 32, 32)
    far[0, 5, 5] = 1
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 5, 7] = True
    assert localisation.pointing(far, mask).tolist() == [1]  # two pixels off, within the tolerance of two
    assert localisation.pointing(far, mask.roll(1, 2)).tolist() == [0]
    assert 0 < float(localisation.pointing(torch.ones(1, 32, 32), mask)) < 0.05
    assert localisation.box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert localisation.box_iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert float(localisation.mask_iou(inside, ~inside)) == 0


def test_the_largest_region_is_the_object():
    a = torch.zeros(2, 56, 56)
    a[0, 10:30, 12:40] = 1
    a[0, 50, 50] = 1
    found = localisation.object_masks(a)
    box = localisation.box_of(found[0])
    assert localisation.box_iou(box, (12, 10, 40, 30)) > 0.7
    assert not found[0, 50, 50]
    assert localisation.box_of(found[1]) is None


def test_mosaics_and_composites_know_their_truth():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 6, 8)
    whole, parts = localisation.mosaic(images, 2)[0, 0], localisation.cells(2, (6, 8))
    for index in range(4):
        assert (whole[parts[index]] == index).all()
        assert parts[index].sum() == 48
    made, truth = localisation.composite(torch.ones(3, 40, 40), torch.zeros(3, 40, 40), (0.99, 0.0))
    assert torch.equal(made[0] > 0.99, truth)
    assert localisation.box_of(truth) == (0, 16, 24, 40)
    assert float(truth.sum()) == pytest.approx(np.pi * 144, rel=0.08)


def test_every_card_says_which_way_is_better():
    for name, card in CARDS.items():
        assert card.better in ("higher", "lower")
        assert card.says.endswith(".") or "." in card.says, name
        assert card.paper
        assert card.cost


def test_completeness_gap_by_hand():
    gap = axioms.completeness_gap(T([[[[1.0, 2.0]]], [[[1.0, 1.0]]]]), T([4.0, 1.0]), T([0.0, 1.0]))
    assert float(gap[0]) == 0.25
    assert gap[1].isnan()
