"""Bad input: the right answer, or one clear line."""

import networks as nets
import pytest
import torch
from networks import pictures, seeded
from torch import nn

from suite.attribution.fused import attribute
from suite.attribution.grad_cam import GradCam
from suite.attribution.gradient import Gradient
from suite.attribution.layer_activation import LayerActivation
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.neuron_gradient import NeuronGradient
from suite.core.layers import default_layer, layer_names
from suite.errors import DataError, NetworkError, NotApplicable, SuiteError

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]


def one_line(run, said, kind=SuiteError):
    with pytest.raises(kind, match=said) as caught:
        run()
    assert "\n" not in str(caught.value)


class Inner(nn.Module):
    """A layer whose output is a tuple, one of integers, and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.lstm = nets.Conv(), nn.LSTM(8, 5, batch_first=True)
        self.count, self.aside = Count(), nn.Conv2d(3, 2, 1)
        self.never = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        self.aside(x)
        return self.body(x) + self.lstm(x.mean(1))[0].mean(1) + self.count(x).sum() * 0


class Count(nn.Module):
    def forward(self, x):
        return (x > 0).long().sum(1, keepdim=True)


@pytest.mark.parametrize("method", [GradCam, LayerActivation, LayerConductance, NeuronGradient])
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("lstm", "output is a tuple"),
        ("count", "int64"),
        ("never", "not called"),
        ("body.cnv", "did you mean 'body.conv'"),
        ("qqq", "it has body, "),
    ],
)
def test_a_layer_that_will_not_do(method, layer, said):
    net, x = seeded(Inner), pictures()
    one_line(lambda: method(layer)(net, x, 0), said, NetworkError)


@pytest.mark.parametrize("method", [GradCam, LayerConductance])
def test_a_layer_that_the_score_does_not_use(method):
    one_line(lambda: method("aside")(seeded(Inner), pictures(), 0), "aside.*does not use it", NetworkError)


@pytest.mark.parametrize("method", [GradCam, LayerActivation, LayerConductance, NeuronGradient])
def test_a_layer_called_twice_is_refused_and_never_the_last_call_silently(method):
    one_line(
        lambda: method("shared")(seeded(nets.Twice), pictures(), 0), "'shared': called more than once", NetworkError
    )


@pytest.mark.parametrize(
    "method",
    [LayerActivation("conv", channel=6), NeuronGradient("conv", channel=6), NeuronGradient("conv", position=(8, 0))],
)
def test_units_out_of_range(method):
    one_line(lambda: method(seeded(nets.Conv), pictures(), 0), "out of range, ", NetworkError)


@pytest.mark.parametrize("size", [(8, 8), (9, 17), (40, 12), (1, 1), (3, 200)])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_a_batch_of_one(size, batch):
    net, x = seeded(nets.Conv), pictures(batch, size)
    found = attribute(net, x, 2, [*FOUR, "gradient", "occlusion", "control_edges", "control_smooth_noise"])
    inputs = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(inputs)[:, 2].sum(), inputs)
    assert torch.equal(found["gradient"], wanted)
    assert found["guided_grad_cam"].shape == x.shape
    assert all(m.shape[0] == batch and m.shape[2:] == size for m in found.values())


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


def test_dtypes_that_do_not_fit():
    one_line(
        lambda: Gradient()(seeded(nets.Conv), pictures(dtype=torch.float64), 0),
        "float32.*float64.*convert",
        NetworkError,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "method",
    [
        *FOUR,
        "gradient",
        "smoothgrad",
        "integrated_gradients",
        "gradient_shap",
        "occlusion",
        "layer_conductance",
        "control_smooth_noise",
    ],
)
def test_half_precision(method, dtype):
    net, x = seeded(nets.Conv), pictures()
    (exact,) = attribute(net, x, 2, [method]).values()
    (half,) = attribute(net.to(dtype), x.to(dtype), 2, [method], ids=None).values()
    assert half.dtype == dtype
    assert torch.isfinite(half).all()
    if method not in ("smoothgrad", "gradient_shap", "control_smooth_noise"):  # these draw by the digest of the pixels
        apart = (half.float() - exact).norm() / exact.norm()
        assert apart < 0.2


def test_layers_are_listed_and_the_default_is_the_last_map():
    net = seeded(nets.Conv)
    assert layer_names(net) == ["conv", "norm", "act", "drop", "last"]
    assert default_layer(net, pictures()) == "last"
    one_line(lambda: default_layer(seeded(nets.Linear), pictures()), "no layer of this network", NotApplicable)
