"""Input × gradient by hand: on a linear network x times its weight, and from any pass that has the gradient."""

import torch
from networks import Linear, seeded

from suite.attribution.input_x_gradient import InputXGradient
from suite.core.passes import Needs, run_pass


def test_on_a_linear_network_it_is_the_input_times_the_weight() -> None:
    model, images = seeded(Linear), torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([4, 0, 2])
    weights = model.fc.weight[targets].view(3, 3, 8, 8)
    torch.testing.assert_close(InputXGradient()(model, images, targets), images * weights, rtol=0, atol=0)


def test_it_needs_one_plain_gradient_and_its_sum_is_the_score_without_the_bias() -> None:
    method, model, images = InputXGradient(), seeded(Linear), torch.rand(2, 3, 8, 8)
    assert method.needs() == Needs(frozenset({"plain"}))
    shared = run_pass(model, images, 1, method.needs())
    expected = model(images)[:, 1] - model.fc.bias[1]
    torch.testing.assert_close(method.from_pass(shared).sum((1, 2, 3)), expected, rtol=1e-5, atol=1e-6)
