"""The small networks: sizes, parameters by hand, and weights that are the seed's alone."""

import pytest
import torch

from suite.errors import ConfigError
from suite.training.nets import NETS, Residual, make_net


@pytest.mark.parametrize("name", NETS)
def test_every_net_gives_a_score_a_class_and_its_weights_are_the_seeds(name) -> None:
    before = torch.get_rng_state()
    net, same, other = (make_net(name, 28, 10, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random state is left as it was
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    assert net(images).shape == (2, 10)
    assert torch.equal(net(images), same(images))
    assert not torch.equal(net(images), other(images))


def count(name: str) -> int:
    return sum(weight.numel() for weight in make_net(name, 28, 10, 0).parameters())


def test_parameters_are_those_of_the_papers() -> None:
    assert count("mlp") == (3 * 28 * 28 * 200 + 200) + 2 * (200 * 200 + 200) + (200 * 10 + 10)
    convolutions = (3 * 25 * 32 + 32) + (32 * 25 * 64 + 64)
    assert count("cnn") == convolutions + (64 * 7 * 7 * 1024 + 1024) + (1024 * 10 + 10)
    assert abs(count("vgg_style") / count("resnet_style") - 1) < 0.25


def test_a_residual_block_adds_what_goes_round_it() -> None:
    block = Residual(4, 4, 1)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(block(x), x.relu())
    assert Residual(4, 8, 2)(x).shape == (2, 8, 3, 3)


def test_an_unknown_architecture_is_one_line() -> None:
    with pytest.raises(ConfigError, match="'vgg_stile': unknown; did you mean 'vgg_style'"):
        make_net("vgg_stile", 28, 10, 0)
