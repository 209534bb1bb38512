"""Localisation by hand: masks, boxes, mosaics and composites whose truth is known."""

import numpy as np
import pytest
import torch

from suite.metrics import localisation
from suite.metrics.localisation import Scene

T = torch.tensor


def scene(evidence, truth, boxes=()):
    pixels = evidence[0].numel()
    shuffled = torch.stack([torch.randperm(pixels, generator=torch.Generator().manual_seed(0))] * len(evidence))
    return Scene(evidence, truth, [list(boxes)] * len(evidence), shuffled)


def test_places_by_hand():
    a = T([[[3.0, 1.0], [-9.0, 0.0]]])
    inside = T([[[True, False], [True, False]]])
    assert localisation.mass_accuracy(scene(a, inside)).tolist() == [0.75]
    assert localisation.grid_pointing(scene(a, inside)).tolist() == [0.75]
    assert localisation.mass_inside(-a.abs(), inside).isnan().all()
    assert localisation.rank_accuracy(scene(a, inside)).tolist() == [0.5]
    assert localisation.rank_accuracy(scene(a, torch.zeros_like(inside))).isnan().all()
    far = torch.zeros(1, 32, 32)
    far[0, 5, 5] = 1
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 5, 7] = True
    assert localisation.pointing_game(scene(far, mask)).tolist() == [1]  # two pixels off, within the tolerance of two
    assert localisation.pointing_game(scene(far, mask.roll(1, 2))).tolist() == [0]
    assert 0 < float(localisation.pointing_game(scene(torch.ones(1, 32, 32), mask))) < 0.05
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
    both = scene(a, found, [(0, 0, 5, 5), (12, 10, 40, 30)])
    assert localisation.box_overlap(both).tolist() == [localisation.box_iou(box, (12, 10, 40, 30)), 0]
    assert localisation.corloc(both).tolist() == [1, 0]
    assert localisation.mask_overlap(both).tolist()[0] == 1
    assert localisation.box_overlap(scene(a, found)).isnan().tolist() == [True, False]  # no map, no box: it is missed


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
