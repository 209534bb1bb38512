"""The shared pass: targets, images, networks that give no gradient, and its cost."""

from itertools import pairwise

import networks as nets
import pytest
import torch
from networks import pictures, seeded
from raises import one_line

from suite.attribution.fused import attribute
from suite.attribution.gradient import Gradient
from suite.core.passes import Cost
from suite.errors import DataError, NetworkError


def test_a_target_per_image_and_one_for_all():
    net, x = seeded(nets.Conv), pictures()
    each = Gradient()(net, x, [0, 3, 4, 3])
    for targets in (torch.tensor([0, 3, 4, 3]), (0, 3, 4, 3), torch.tensor([0, 3, 4, 3], dtype=torch.int32)):
        assert torch.equal(Gradient()(net, x, targets), each)
    assert torch.equal(Gradient()(net, x, 3)[1], each[1])
    assert torch.equal(Gradient()(net, x, torch.tensor(3))[3], each[3])
    assert not torch.equal(Gradient()(net, x, 3)[0], each[0])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (5, "target 5: out of range.*0..4"),
        (-1, "target -1: out of range"),
        ([0, 1, 2, 9], "target 9"),
        ([0, 1], "or 4 of them"),
        ([[0], [1], [2], [3]], "or 4 of them"),
        (1.5, "class indices"),
        ([0.5, 1, 2, 3], "class indices"),
        (True, "class indices"),
        (torch.tensor([True] * 4), "class indices"),
        (torch.zeros(4), "class indices"),
        ("snail", "class indices"),
        (None, "class indices"),
        ([], "class indices|or 4 of them"),
    ],
)
def test_targets_that_are_none(targets, said):
    one_line(lambda: Gradient()(seeded(nets.Conv), pictures(), targets), said, DataError)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(3, 8, 8), "shape \\(3, 8, 8\\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(0, 3, 8, 8), "empty batch"),
        ([1, 2], "got list"),
    ],
)
@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "control_noise", "occlusion"])
def test_images_that_are_none(images, said, method):
    one_line(lambda: attribute(seeded(nets.Conv), images, 0, [method]), said, DataError)


def test_a_network_that_detaches_gets_a_line_and_not_a_zero_map():
    one_line(
        lambda: Gradient()(seeded(nets.Detaching), pictures(), 0),
        "no gradient with respect to the pixels",
        NetworkError,
    )
    frozen = seeded(nets.Detaching).requires_grad_(False)
    one_line(lambda: Gradient()(frozen, pictures(), 0), "carry no gradient", NetworkError)


def test_a_network_without_parameters():
    x = pictures()
    assert torch.equal(Gradient()(nets.Parameterless(), x, 1)[:, 1], 2 * x[:, 1])


def test_cost_in_words():
    assert str(Cost(1, 2)) == "1 forward + 2 backwards"
    assert all(a + b == Cost(3, 4) for a, b in pairwise([Cost(1, 2), Cost(2, 2), Cost(1, 2)]))
