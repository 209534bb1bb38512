"""Deletion, insertion and ROAD against curves worked out by hand."""

import pytest
import torch
from networks import Sum

from suite.metrics.perturbed import TargetOutputs, evaluate_perturbed, first_removed, removal_ranks
from suite.metrics.removal import area, deletion, insertion, normalised, road

T = torch.tensor


def shuffled(count, pixels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(pixels, generator=generator) for _ in range(count)])


def test_deletion_of_a_linear_network_by_hand():
    model, image = Sum([4.0, 1.0, 2.0, 3.0]), torch.ones(1, 1, 2, 2)
    ranks = removal_ranks(T([[[4.0, 1.0], [2.0, 3.0]]]), shuffled(1, 4))
    assert ranks.tolist() == [[[0, 3], [2, 1]]]
    masks = first_removed(ranks, torch.linspace(0, 1, 5))
    found = evaluate_perturbed(model, image, T([0]), masks, torch.zeros_like(image), room=2)
    assert found.score.tolist() == [[10, 6, 3, 1, 0]]
    torch.testing.assert_close(found.probability, torch.sigmoid(found.score))
    assert found.top.tolist() == [[1, 1, 1, 1, 1]]
    shares = normalised(found.score, T([[10.0]]), T([[0.0]]), 1e-3)
    assert float(area(shares)) == pytest.approx((0.5 + 0.6 + 0.3 + 0.1) / 4)


def test_normalising_a_curve_without_a_fall_is_undefined():
    assert normalised(torch.ones(1, 3), T([[0.5]]), T([[0.5]]), 1e-3).isnan().all()


def outputs(probability, score=None, top=None):
    return TargetOutputs(
        *(torch.tensor([v], dtype=torch.float64) for v in (score or probability, probability, top or probability))
    )


@pytest.mark.parametrize("metric", [deletion, insertion])
def test_areas_of_a_curve_by_hand(metric):
    """A straight probability from 0.8 to 0.2 and a score that falls from 10 to 2 in the first step of two."""
    curves = outputs([0.8, 0.5, 0.2], [10.0, 2.0, 2.0])
    forms = {name: float(value) for name, value, _ in metric(curves, outputs([0.8], [10.0]), outputs([0.2], [2.0]))}
    assert forms == pytest.approx({"raw": 0.5, "score": 0.25, "probability": 0.5})
    flat = metric(curves, outputs([0.22], [2.5]), outputs([0.2], [2.0]))
    reasons = {name: why for name, value, why in flat if bool(value.isnan())}
    assert reasons == {
        "score": "the target's score falls by less than 1 from clean to wholly perturbed",
        "probability": "the target's probability falls by less than 0.05 from clean to wholly perturbed",
    }


def test_road_by_hand():
    curves = outputs([0.4, 0.2], top=[1.0, 0.0])
    forms = {name: float(value) for name, value, _ in road(curves, outputs([0.6]))}
    assert forms == pytest.approx({"probability": 0.5, "accuracy": 0.5})
    assert next(road(curves, outputs([0.04])))[1].isnan()
