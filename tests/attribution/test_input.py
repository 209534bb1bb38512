"""Layers that will not do, images of any size, half precision."""

import networks as nets
import pytest
import torch
from networks import pictures, seeded
from raises import one_line
from torch import nn

from suite.attribution.fused import attribute
from suite.attribution.grad_cam import GradCam
from suite.attribution.layer_activation import LayerActivation
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.neuron_gradient import NeuronGradient
from suite.errors import NetworkError

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]


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
