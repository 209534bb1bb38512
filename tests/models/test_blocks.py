"""Blocks reach every parameter; re-initialisation is seeded by (seed, draw, block) and leaves nothing behind."""

import networks
import pytest
import torch
from torch import nn

from suite.errors import NetworkError
from suite.models.blocks import blocks_of, randomised
from suite.models.load import load_model, weights_digest


def torchvision_net(name):
    from suite._torchvision import torchvision

    return networks.seeded(lambda: torchvision.models.get_model(name, weights=None))


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("squeezenet1_1", 10, {"features.0", "features.3", "features.12", "classifier.1"}),
        ("resnet18", 10, {"conv1", "layer1.0", "layer4.1", "fc"}),
        pytest.param(
            "vgg11_bn", 8, {"features.0", "features.22", "classifier.0", "classifier.6"}, marks=pytest.mark.slow
        ),
        pytest.param(
            "vit_b_16", 14, {"conv_proj", "encoder.layers.encoder_layer_0", "heads.head"}, marks=pytest.mark.slow
        ),
    ],
)
def test_blocks_are_what_a_person_calls_one(name, count, some):
    net = torchvision_net(name)
    blocks = blocks_of(net, torch.zeros(1, 3, 224, 224))
    assert len(blocks) == count
    assert some <= {b.name for b in blocks}
    reached = [id(m._parameters[n]) for b in blocks for m, own in b.parts for n in own]
    assert sorted(reached) == sorted(id(p) for p in net.parameters())  # each once


def test_single_layers():
    assert len(blocks_of(load_model("squeezenet1_1"), torch.zeros(1, 3, 64, 64), "layer")) == 26


class Bare(nn.Module):
    """A class token, attention with its in-projection, a tied weight, an initialiser that misses one parameter."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 12) * 3 + 5)
        self.tokens, self.tied = networks.Tokens(), nn.Linear(12, 12)
        self.tied.weight = self.tokens.attend.out_proj.weight
        self.norm = nn.BatchNorm1d(12)
        self.norm.running_mean.fill_(7.0)

    def forward(self, x):
        return self.tokens(x) + self.norm(self.tied(self.token[0]))[:, : networks.CLASSES]


@pytest.mark.parametrize("statistics", ["kept", "reset"])
def test_every_parameter_changes_and_comes_back(statistics):
    net = networks.seeded(Bare)
    blocks = blocks_of(net, networks.pictures())
    before = {n: p.clone() for n, p in net.named_parameters()}
    digest, state = weights_digest(net), torch.random.get_rng_state()
    with randomised(net, blocks, seed=0, draw=0, statistics=statistics):
        for name, parameter in net.named_parameters():
            assert torch.isfinite(parameter).all()
            constant = "norm" in name or name.endswith("bias")  # these initialise to a constant
            assert constant or not torch.equal(parameter, before[name]), name
        assert abs(float(net.token.detach().mean()) - 5) < 4  # no module's: from its own mean and spread
        assert float(net.norm.running_mean[0]) == (7.0 if statistics == "kept" else 0.0)
    assert weights_digest(net) == digest
    assert torch.equal(torch.random.get_rng_state(), state)


def test_noise_depends_on_seed_draw_and_block_alone():
    net = networks.seeded(lambda: nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)], networks.Linear()))
    blocks = blocks_of(net, networks.pictures())
    assert len(blocks) == 4

    def weights(chosen, **where):
        with randomised(net, chosen, **({"seed": 0, "draw": 0} | where)):
            return [m.weight.clone() for m in net[:3]]

    all_of_them = weights(blocks)
    assert not torch.equal(all_of_them[0], all_of_them[1])  # equal shapes, other noise
    assert torch.equal(weights(blocks[1:2])[1], all_of_them[1])  # whatever else is random
    assert not torch.equal(weights(blocks, draw=1)[0], all_of_them[0])
    assert not torch.equal(weights(blocks, seed=1)[0], all_of_them[0])


def test_restored_after_an_error():
    net = networks.seeded(networks.Conv)
    digest = weights_digest(net)
    with pytest.raises(KeyError), randomised(net, blocks_of(net, networks.pictures()), seed=0, draw=0):
        raise KeyError("planted")
    assert weights_digest(net) == digest


def test_bad_input_in_one_line():
    images = networks.pictures()
    with pytest.raises(NetworkError, match="no parameters, so there is nothing to randomise"):
        blocks_of(networks.Parameterless(), images)
    with pytest.raises(NetworkError, match=r"block 'convv' matches no module.*'conv'"):
        blocks_of(networks.seeded(networks.Conv), images, names=["convv"])
    with pytest.raises(NetworkError, match=r"'last.weight' and 1 more is in no block"):
        blocks_of(networks.seeded(networks.Conv), images, names=["conv"])


def test_almost_the_same_is_a_thousandth_and_seeded():
    net = networks.seeded(networks.Linear)
    before, digest = net.fc.weight.detach().clone(), weights_digest(net)
    blocks, seen = blocks_of(net, torch.zeros(1, 3, networks.SIDE, networks.SIDE)), []
    for draw in (0, 0, 1):
        with randomised(net, blocks, seed=0, draw=draw, jitter=0.001):
            seen.append(net.fc.weight.detach() / before - 1)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert seen[0].std().item() == pytest.approx(0.001, rel=0.05)
    assert weights_digest(net) == digest
