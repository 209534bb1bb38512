"""The axioms' other networks compute the same, and completeness by hand."""

import pytest
import tiny
import torch
from torch import nn

from suite.core.classes import ClassNames
from suite.core.network import Card, Network
from suite.core.passes import predict
from suite.errors import NotApplicable
from suite.metrics import axioms

T = torch.tensor


def test_completeness_gap_by_hand():
    gap = axioms.completeness_gap(T([[[[1.0, 2.0]]], [[[1.0, 1.0]]]]), T([4.0, 1.0]), T([0.0, 1.0]))
    assert float(gap[0]) == 0.25
    assert gap[1].isnan()


def network(body):
    return Network(
        body.eval(), (0.4,) * 3, (0.2,) * 3, Card("tiny", "", "", (32, 32), None, ClassNames.indices(tiny.K))
    )


@pytest.mark.parametrize("axiom", [axioms.input_invariance, axioms.implementation_invariance])
def test_the_other_network_says_the_same_by_another_way(axiom):
    torch.manual_seed(0)
    model, images = network(tiny.net()), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = predict(model, images)
    twin, others = axiom(model, images)
    torch.testing.assert_close(predict(twin, others), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predict(model, images), before, rtol=0, atol=0)  # the network itself is as it was
    moved = float((others - images).mean())
    relus = sum(isinstance(m, nn.ReLU) for m in twin.modules())
    assert (moved, relus) == (pytest.approx(0.25), 2) if axiom is axioms.input_invariance else (0, 0)


def test_a_network_without_relus_cannot_be_rewritten():
    with pytest.raises(NotApplicable, match=r"needs a network with nn\.ReLU"):
        axioms.implementation_invariance(network(tiny.net("silu")), torch.zeros(1, 3, 32, 32))
