"""Which rectifiers a network calls, how many Captum hooks, and which share their input with a skip branch."""

from suite._torchvision import torchvision

import networks as nets
import pytest
import torch
import torch.nn.functional as F
from networks import pictures, seeded
from torch import nn

from suite.core.rectifiers import Rectifying, rectifier_report


@pytest.mark.parametrize(
    ("make", "calls", "others", "captum", "shared"),
    [
        (nets.Linear, {}, {}, 0, 0),
        (nets.TwoLayer, {"ReLU": 1}, {}, 0, 0),
        (lambda: nets.TwoLayer(nn.ReLU()), {"ReLU": 1}, {}, 1, 0),
        (lambda: nets.TwoLayer(nn.ReLU(inplace=True)), {"ReLU": 1}, {}, 1, 0),
        (nets.Skip, {"ReLU": 1}, {}, 1, 1),
        (nets.SkipBefore, {"ReLU": 1}, {}, 1, 1),
        (nets.Twice, {"ReLU": 3}, {}, 3, 0),
        (nets.OnView, {"ReLU": 1}, {}, 0, 0),
        (nets.FirstOp, {"ReLU": 1}, {}, 1, 0),
        (lambda: nets.Conv(nn.ReLU6()), {"ReLU6": 1}, {}, 0, 0),
        (lambda: nets.Conv(nn.Hardtanh(0, 20)), {"ReLU20": 1}, {}, 0, 0),
        (lambda: nets.Conv(nn.Hardtanh()), {}, {}, 0, 0),
        (lambda: nets.Conv(nn.Threshold(0.5, 0)), {}, {"a threshold that is no ReLU": 1}, 0, 0),
        (lambda: nets.Conv(nn.Hardswish()), {}, {"Hardswish": 1}, 0, 0),
        (nets.Tokens, {}, {"GELU": 1}, 0, 0),
        (lambda: nets.TwoLayer(lambda h: F.relu(h)[:, :12].repeat(1, 2)), {"ReLU": 1}, {}, 0, 0),
    ],
)
def test_counts_on_toy_networks(make, calls, others, captum, shared):
    x = pictures()
    before = x.clone()
    report = rectifier_report(seeded(make), x)
    assert (report.calls, report.others, report.captum, report.shared) == (calls, others, captum, shared)
    assert report.total == sum(calls.values())
    assert bool(report.why_captum_deviates()) == bool(others or shared or captum < report.total)
    assert torch.equal(x, before)


def test_a_skip_taken_by_indexing_is_seen():
    class Indexed(nets.Skip):
        def forward(self, x):
            h = self.first(x.flatten(1))
            return self.second(self.relu(h) + h[:, :1])

    assert rectifier_report(seeded(Indexed), pictures()).shared == 1


def test_looking_at_a_shape_is_not_a_skip():
    class Looks(nets.Skip):
        def forward(self, x):
            h = self.first(x.flatten(1))
            assert h.shape == (1, 24)
            assert h.size(1) == h.numel()
            return self.second(self.relu(h))

    assert rectifier_report(seeded(Looks), pictures()).shared == 0


def test_the_mode_leaves_no_trace_and_no_hook():
    net, x = seeded(nets.Skip), pictures().requires_grad_()
    with Rectifying() as mode:
        scores = net(x)
    mode.rule = "guided"
    guided = torch.autograd.grad(scores.sum(), x, retain_graph=True)[0]
    mode.rule = "plain"
    plain = torch.autograd.grad(scores.sum(), x)[0]
    assert not torch.equal(guided, plain)
    assert torch.equal(plain, torch.autograd.grad(net(x).sum(), x)[0])
    assert torch.overrides._get_current_function_mode() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "calls", "captum", "others"),
    [
        ("googlenet", {"ReLU": 57}, 0, set()),
        ("inception_v3", {"ReLU": 94}, 0, set()),
        ("densenet121", {"ReLU": 121}, 120, set()),
        ("resnet18", {"ReLU": 17}, 17, set()),
        ("resnet50", {"ReLU": 49}, 49, set()),
        ("vgg16", {"ReLU": 15}, 15, set()),
        ("alexnet", {"ReLU": 7}, 7, set()),
        ("squeezenet1_1", {"ReLU": 26}, 26, set()),
        ("mobilenet_v2", {"ReLU6": 35}, 0, set()),
        ("mobilenet_v3_large", {"ReLU": 19}, 19, {"Hardswish"}),
        ("efficientnet_b0", {}, 0, {"SiLU"}),
        ("convnext_tiny", {}, 0, {"GELU"}),
        ("vit_b_16", {}, 0, {"GELU"}),
        ("swin_t", {}, 0, {"GELU"}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*initialization of (GoogleNet|Inception).*:FutureWarning")
def test_counts_on_torchvisions_networks(name, calls, captum, others):
    net = seeded(lambda: torchvision.models.get_model(name, weights=None))
    side = 299 if name == "inception_v3" else 224
    report = rectifier_report(net, torch.rand(1, 3, side, side))
    assert report.calls == calls
    assert report.captum == captum
    assert set(report.others) == others
    assert report.shared == 0
