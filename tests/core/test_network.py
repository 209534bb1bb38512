"""What a network gives is checked."""

import networks as nets
import pytest
import torch
from networks import pictures, seeded
from raises import one_line

from suite.attribution.fused import attribute
from suite.attribution.gradient import Gradient
from suite.core.classes import ClassNames
from suite.core.network import Card, Network, scores_of, zero_input
from suite.errors import NetworkError


@pytest.mark.parametrize("wrap", [lambda s: {"scores": s}, lambda s: (s, s), lambda s: [s]])
def test_a_network_that_returns_something_else(wrap):
    net = seeded(lambda: nets.Returns(wrap))
    for method in ("saliency", "occlusion", "integrated_gradients"):
        one_line(
            lambda m=method: attribute(net, pictures(), 0, [m]), "returned a (dict|tuple|list), expected", NetworkError
        )


@pytest.mark.parametrize("wrap", [lambda s: s[:, 0], lambda s: s[:, :, None], lambda s: s[:2], lambda s: s.sum()])
def test_scores_of_another_shape(wrap):
    one_line(lambda: Gradient()(seeded(lambda: nets.Returns(wrap)), pictures(), 0), "scores of shape", NetworkError)


def test_dtypes_that_do_not_fit():
    one_line(
        lambda: Gradient()(seeded(nets.Conv), pictures(dtype=torch.float64), 0),
        "float32.*float64.*convert",
        NetworkError,
    )


def test_a_network_owns_its_normalisation():
    body, x = seeded(nets.Conv), pictures()
    card = Card("toy", "", "", (8, 8), None, ClassNames.indices(5))
    net = Network(body, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), card)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    assert torch.equal(scores_of(net, x), body((x - mean) / std))
    assert not net.state_dict().keys() & {"mean", "std"}  # a file of weights is the body's
    assert zero_input(net.double(), (2, 3)).dtype == torch.float64
