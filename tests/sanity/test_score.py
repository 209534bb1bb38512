"""The score before a trailing rectifier, which shares the network's weights."""

import torch
from torch import nn

from suite.models.load import load_model
from suite.sanity.score import Unrectified, before_last_rectifier

SIDE = 32


def test_score_before_the_last_rectifier():
    net = load_model("squeezenet1_1")
    images = torch.rand(2, 3, 64, 64)
    before = net(images)
    view = before_last_rectifier(net, images)
    assert isinstance(view, Unrectified)
    scores = view(images)
    assert (before >= 0).all()
    assert (scores < 0).any()
    head = nn.Sequential(*list(net.body.classifier)[:2])
    by_hand = head(net.body.features((images - net.mean) / net.std)).mean((2, 3))
    torch.testing.assert_close(scores, by_hand, rtol=1e-4, atol=1e-5)
    assert torch.equal(net(images), before)
    other = load_model("net", factory="tiny:net", input_size=SIDE)
    assert before_last_rectifier(other, torch.rand(1, 3, SIDE, SIDE)) is other
