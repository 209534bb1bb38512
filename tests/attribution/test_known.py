"""Methods against answers known by hand: linear networks, explicit matrices, a 1x1 convolution under a mean."""

import networks as nets
import pytest
import torch
import torch.nn.functional as F
from networks import pictures, seeded
from torch import Tensor, nn

from suite.attribution.base import Attribution
from suite.attribution.baselines import baseline
from suite.attribution.deconvolution import Deconvolution
from suite.attribution.fused import attribute
from suite.attribution.grad_cam import GradCam
from suite.attribution.gradient import Gradient
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.attribution.integrated_gradients import IntegratedGradients, gauss_legendre
from suite.attribution.layer_activation import LayerActivation
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.neuron_gradient import NeuronGradient
from suite.attribution.occlusion import Occlusion, windows
from suite.attribution.saliency import Saliency
from suite.attribution.smoothgrad import SmoothGrad, VarGrad
from suite.core.pixels import gaussian_blur
from suite.errors import ConfigError, DataError, NetworkError, NotApplicable

DOUBLE = torch.float64
TARGETS = torch.tensor([0, 3, 4, 3])


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture
def linear() -> nn.Module:
    return seeded(nets.Linear, dtype=DOUBLE)


def weights_of(linear: nn.Module) -> Tensor:
    """(B, 3, 8, 8): the weight row of each image's target."""
    return linear.fc.weight.detach()[TARGETS].view(-1, 3, 8, 8)


def test_linear_network_first_order_methods_are_the_weight(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    found = attribute(linear, x, TARGETS, ["gradient", "saliency", "input_x_gradient"])
    assert torch.equal(found["gradient"], w)
    assert torch.equal(found["saliency"], w.abs().amax(1, keepdim=True))
    assert torch.equal(found["input_x_gradient"], x * w)


@pytest.mark.parametrize("start", ["zeros", "white", "mean", "blurred", torch.full((1, 3, 8, 8), 0.3)])
def test_linear_network_integrated_gradients(linear, start):
    x = pictures(dtype=DOUBLE)
    found = IntegratedGradients(steps=7, baseline=start)(linear, x, TARGETS)
    base = baseline(start, x)
    close(found, weights_of(linear) * (x - base), 1e-6)  # the quadrature's weights are float32, as Captum's
    gap = (linear(x) - linear(base)).gather(1, TARGETS[:, None])[:, 0]
    close(found.sum((1, 2, 3)), gap.detach(), 1e-6)


def test_integrated_gradients_is_complete_on_a_curved_network():
    net = seeded(lambda: nets.TwoLayer(F.softplus), dtype=DOUBLE)
    x = pictures(dtype=DOUBLE)
    gap = (net(x) - net(torch.zeros_like(x))).gather(1, TARGETS[:, None])[:, 0].detach()
    close(IntegratedGradients(steps=30)(net, x, TARGETS).sum((1, 2, 3)), gap, 1e-6)
    coarse = IntegratedGradients(steps=1)(net, x, TARGETS).sum((1, 2, 3))
    assert (coarse - gap).abs().max() > 1e-4  # one step is not enough: the test above can fail


def test_gauss_legendre_integrates_polynomials_exactly():
    weights, nodes = gauss_legendre(5)
    for degree in range(10):
        assert sum(w * n**degree for w, n in zip(weights, nodes, strict=True)) == pytest.approx(1 / (degree + 1))
    assert sum(w * n**10 for w, n in zip(weights, nodes, strict=True)) != pytest.approx(1 / 11, rel=1e-9)


def test_smoothgrad_and_vargrad_of_a_linear_network(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    close(SmoothGrad(samples=6, sigma=0.5)(linear, x, TARGETS), w)
    close(VarGrad(samples=6, sigma=0.5)(linear, x, TARGETS), torch.zeros_like(w))


def test_vargrad_is_the_variance_of_the_gradients_smoothgrad_averages():
    net, x = seeded(nets.TwoLayer, dtype=DOUBLE), pictures(1, dtype=DOUBLE)
    from suite.core.draws import ImageDraws

    noise = ImageDraws(x, ["a"], 0, "VarGrad").normal(5)[0]
    each = torch.cat([Gradient()(net, x + 0.4 * n, 2) for n in noise])
    close(VarGrad(samples=5, sigma=0.4)(net, x, 2, ids=["a"])[0], each.var(0, unbiased=False))
    assert each.var(0).max() > 1e-4


def test_gradient_shap_of_a_linear_network_is_weight_times_way(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    close(GradientShap(samples=4, sigma=0.0, baselines=("white",))(linear, x, TARGETS), w * (x - 1))
    several = GradientShap(samples=300, sigma=0.0, baselines=("zeros", "white"))(linear, x, TARGETS)
    close(several, w * (x - 0.5), 0.1)  # in expectation: 300 draws of the baseline
    assert not torch.allclose(several, w * x)


def test_occlusion_of_a_linear_network(linear):
    x, w = pictures(dtype=DOUBLE), weights_of(linear)
    one = Occlusion(window=1, stride=1, baseline="zeros")(linear, x, TARGETS)
    close(one, (w * x).sum(1, keepdim=True))
    found = Occlusion(window=4, stride=3, baseline="white")(linear, x, TARGETS)
    lost, cover = torch.zeros_like(one), torch.zeros(8, 8, dtype=DOUBLE)
    for top in (0, 3, 6):
        for left in (0, 3, 6):
            place = (slice(top, top + 4), slice(left, left + 4))
            loss = (w * (x - 1))[:, :, *place].sum((1, 2, 3))
            lost[:, :, *place] += loss.view(-1, 1, 1, 1)
            cover[place] += 1
    close(found, lost / cover)


@pytest.mark.parametrize(("side", "window", "stride"), [(8, 3, 2), (9, 4, 4), (5, 9, 1), (10, 3, 3), (7, 7, 7)])
def test_every_pixel_is_occluded_and_no_window_is_empty(side, window, stride):
    covered = torch.zeros(side, side)
    for rows, columns in windows(side, side, window, stride):
        assert covered[rows, columns].numel() > 0
        covered[rows, columns] += 1
    assert covered.min() >= 1


def test_neuron_gradient_is_the_weight_row():
    net, x = seeded(lambda: nets.TwoLayer(torch.tanh), dtype=DOUBLE), pictures(dtype=DOUBLE)
    found = NeuronGradient("first", channel=7)(net, x, TARGETS)
    assert torch.equal(found, net.first.weight.detach()[7].view(1, 3, 8, 8).expand_as(found))


def test_neuron_gradient_of_one_unit_and_of_a_channel():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    kernel = net.conv.weight.detach()[2]  # (3, 1, 1)
    unit = NeuronGradient("conv", channel=2, position=(5, 1))(net, x, 0)
    wanted = torch.zeros_like(x)
    wanted[:, :, 5, 1] = kernel[:, 0, 0]
    assert torch.equal(unit, wanted)
    assert torch.equal(NeuronGradient("conv", channel=2)(net, x, 0), kernel.expand_as(x))


def test_layer_activation_is_the_layers_output():
    net, x = seeded(nets.Gap), pictures()
    assert torch.equal(LayerActivation("conv")(net, x, 0), net.conv(x).detach())
    assert torch.equal(LayerActivation("conv", channel=1)(net, x, 0), net.conv(x).detach()[:, 1:2])
    assert torch.equal(LayerActivation("fc")(net, x, 0), net(x).detach()[:, :, None, None])


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_by_hand(relu):
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    activation = net.conv(x).detach()
    by_hand = (net.fc.weight.detach()[TARGETS][:, :, None, None] / 64 * activation).sum(1, keepdim=True)
    assert by_hand.min() < 0 < by_hand.max()
    close(GradCam("conv", relu=relu)(net, x, TARGETS), by_hand.clamp_min(0) if relu else by_hand)


def test_grad_cam_relu_comes_after_the_sum_over_channels():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    terms = net.fc.weight.detach()[TARGETS][:, :, None, None] / 64 * net.conv(x).detach()
    before = terms.clamp_min(0).sum(1, keepdim=True)
    assert (GradCam("conv")(net, x, TARGETS) - before).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_guided_grad_cam_is_the_product_of_its_factors(mode):
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    )
    x = pictures(size=(12, 9))
    cam, guided = GradCam("2")(net, x, TARGETS), GuidedBackprop()(net, x, TARGETS)
    wanted = guided * F.interpolate(cam, (12, 9), mode=mode)
    assert torch.equal(GuidedGradCam("2", upsample=mode)(net, x, TARGETS), wanted)


def test_conductance_of_a_linear_layer_and_its_completeness():
    net, x = seeded(nets.Gap, dtype=DOUBLE), pictures(dtype=DOUBLE)
    _, nodes = gauss_legendre(11)
    way = (net.conv(x) - net.conv(torch.zeros_like(x))).detach() * (nodes[-1] - nodes[0])
    by_hand = way * net.fc.weight.detach()[TARGETS][:, :, None, None] / 64
    close(LayerConductance("conv", steps=10)(net, x, TARGETS), by_hand)
    gap = (net(x) - net(torch.zeros_like(x))).gather(1, TARGETS[:, None])[:, 0].detach()
    total = LayerConductance("conv", steps=50)(net, x, TARGETS).sum((1, 2, 3))
    close(total, gap, 5e-3)  # the path's ends are not among its points


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


def test_transformer_tokens():
    net, x = seeded(nets.Tokens, dtype=DOUBLE), pictures(dtype=DOUBLE)
    inputs = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(inputs).gather(1, TARGETS[:, None]).sum(), inputs)
    close(Gradient()(net, x, TARGETS), wanted)
    assert GradCam()(net, x, TARGETS).shape == (4, 1, 4, 4)  # the patches are its only 4-D map
    with pytest.raises(NetworkError, match=r"Grad-CAM needs .*\(4, 16, 12\)"):
        GradCam("norm")(net, x, TARGETS)
    with pytest.raises(NotApplicable, match="GELU"):
        GuidedBackprop()(net, x, TARGETS)


def test_blur_equals_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = pictures(2, (20, 31), dtype=DOUBLE)
    wanted = ndimage.gaussian_filter(x.numpy(), (0, 0, 3.0, 3.0), mode="nearest")
    close(gaussian_blur(x, 3.0), torch.from_numpy(wanted), 1e-10)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: IntegratedGradients(steps=0), "steps"),
        (lambda: IntegratedGradients(baseline="zeroes"), "did you mean 'zeros'"),
        (lambda: SmoothGrad(samples=0), "samples"),
        (lambda: SmoothGrad(sigma=-1), "sigma"),
        (lambda: GradientShap(baselines=()), "baseline"),
        (lambda: Occlusion(window=4, stride=5), "stride"),
        (lambda: LayerConductance(steps=0), "steps"),
        (lambda: GuidedGradCam(upsample="cubic"), "upsample"),
    ],
)
def test_impossible_parameters(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_mean_baseline_needs_three_channels():
    with pytest.raises(ConfigError, match="3 channels"):
        baseline("mean", torch.zeros(1, 1, 8, 8))


def test_saliency_is_a_maximum_and_not_a_mean(linear):
    assert not Saliency.signed
    with pytest.raises(DataError):
        Saliency()(linear, pictures(dtype=DOUBLE), 5)
