"""The rules of guided backpropagation, deconvolution and the gradient, in matrix form."""

import networks as nets
import pytest
import torch
import torch.nn.functional as F
from known import DOUBLE, TARGETS, close
from networks import pictures, seeded
from torch import Tensor, nn

from suite.attribution.base import Attribution
from suite.attribution.deconvolution import Deconvolution
from suite.attribution.fused import attribute
from suite.attribution.gradient import Gradient
from suite.attribution.guided_backprop import GuidedBackprop
from suite.errors import NotApplicable


def matrices(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W1 (24, 192), the target's row of W2 (B, 24), and h = W1 x + b1 (B, 24)."""
    first, second = net.first, net.second
    h = x.flatten(1) @ first.weight.T + first.bias
    return first.weight.detach(), second.weight.detach()[TARGETS], h.detach()


def by_rule(rule: Attribution, above: Tensor, h: Tensor) -> Tensor:
    """What each rule lets through a rectifier: (B, 24) from (B, 24)."""
    on = (h > 0).to(above)
    return {Gradient: above * on, GuidedBackprop: above.clamp_min(0) * on, Deconvolution: above.clamp_min(0)}[
        type(rule)
    ]


RULES = [Gradient(), GuidedBackprop(), Deconvolution()]


RECTIFIERS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda h: F.relu(h, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda h: h.relu(),
    "method in place": lambda h: h.relu_(),
    "clamp": lambda h: h.clamp(min=0),
    "clamp positional": lambda h: torch.clamp(h, 0),
    "clamp_min": lambda h: h.clamp_min(0.0),
    "clip_": lambda h: h.clip_(0),
    "threshold": lambda h: F.threshold(h, 0.0, 0.0),
    "threshold in place": nn.Threshold(0, 0, inplace=True),
    "in place at once on the view": lambda h: h.view(-1, 4, 6).relu_().view(-1, 24),
}


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("rectify", RECTIFIERS.values(), ids=RECTIFIERS.keys())
def test_each_rule_in_matrix_form_however_the_rectifier_is_called(rule, rectify):
    net, x = seeded(lambda: nets.TwoLayer(rectify), dtype=DOUBLE), pictures(dtype=DOUBLE)
    w1, row, h = matrices(net, x)
    close(rule(net, x, TARGETS), (by_rule(rule, row, h) @ w1).view_as(x))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(
    "six", [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 6), F.relu6, lambda h: h.clamp(0, 6)]
)
def test_relu6_by_its_own_derivative(rule, six):
    net, x = seeded(lambda: nets.TwoLayer(six), dtype=DOUBLE), 12 * pictures(dtype=DOUBLE)
    w1, row, h = matrices(net, x)
    assert (h > 6).any()
    assert ((h > 0) & (h < 6)).any()
    on = ((h > 0) & (h < 6)).to(h)
    let = {Gradient: row * on, GuidedBackprop: row.clamp_min(0) * on, Deconvolution: row.clamp_min(0)}[type(rule)]
    close(rule(net, x, TARGETS), (let @ w1).view_as(x))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("make", [nets.Skip, nets.SkipBefore])
def test_a_skip_branch_is_not_ruled_with_its_rectifier(rule, make):
    net, x = seeded(make, dtype=DOUBLE), pictures(dtype=DOUBLE)
    w1, row, h = matrices(net, x)
    skip = 1 if make is nets.Skip else 2
    if make is nets.Skip:
        close(rule(net, x, TARGETS), ((by_rule(rule, row, h) + skip * row) @ w1).view_as(x))
    else:
        close(rule(net, x, TARGETS), ((by_rule(rule, row, h) + skip * row) @ w1).view_as(x))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(
    "rectify",
    [torch.relu_, nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.Threshold(0, 0, inplace=True)],
    ids=["relu_", "ReLU", "ReLU6", "Threshold"],
)
def test_in_place_on_a_view_rules_only_the_view(rule, rectify):
    net, x = seeded(lambda: nets.OnView(rectify), dtype=DOUBLE), pictures(dtype=DOUBLE)
    w1, row, h = matrices(net, x)
    assert h.max() < 6
    passed = torch.cat([by_rule(rule, row, h)[:, :12], row[:, 12:]], 1)
    before = x.clone()
    close(rule(net, x, TARGETS), (passed @ w1).view_as(x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rectifying_the_input_in_place_leaves_the_callers_images_alone(rule):
    net, x = seeded(nets.FirstOp, dtype=DOUBLE), pictures(dtype=DOUBLE)
    before = x.clone()
    wanted = by_rule(rule, net.fc.weight.detach()[TARGETS], x.flatten(1)).view_as(x)
    close(rule(net, x, TARGETS), wanted)
    assert torch.equal(x, before)
    assert not x._backward_hooks


def test_rectifier_module_called_three_times_is_ruled_each_time():
    net, x = seeded(nets.Twice, dtype=DOUBLE), pictures(dtype=DOUBLE)
    a1 = net.first(x)
    a2 = net.shared(a1.relu())
    a3 = net.shared(a2.relu())
    back = (net.last.weight[TARGETS] / 64).expand(-1, -1, 8, 8)  # (B, 6, 8, 8)
    for activation, conv in ((a3, net.shared), (a2, net.shared), (a1, net.first)):
        back = F.conv_transpose2d(back.clamp_min(0) * (activation > 0), conv.weight, padding=1)
    close(GuidedBackprop()(net, x, TARGETS), back.detach())


@pytest.mark.parametrize(
    "act", [nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.LeakyReLU(), nn.ELU(), nn.PReLU(), nn.SELU(), nn.Mish()], ids=repr
)
@pytest.mark.parametrize("rule", RULES[1:], ids=repr)
def test_smooth_rectifiers_make_guided_rules_not_applicable_by_name(act, rule):
    net = seeded(lambda: nets.Conv(act))
    with pytest.raises(NotApplicable, match=type(act).__name__) as caught:
        rule(net, pictures(), TARGETS)
    assert "\n" not in str(caught.value)


def test_no_rectifier_is_not_applicable_and_never_a_copy_of_the_gradient(linear):
    with pytest.raises(NotApplicable, match="calls none"):
        attribute(linear, pictures(dtype=DOUBLE), 1, ["gradient", "guided_backprop"])
