"""Every spelling of a rectifier gives the exact guided map, or is refused by name: alone, and beside an nn.ReLU."""

from suite._torchvision import torchvision

import copy
import warnings
from functools import partial
from time import perf_counter

import pytest
import tiny
import torch
import torch.nn.functional as F
from networks import pictures, seeded
from torch import nn
from torch.utils.checkpoint import checkpoint

from suite.attribution.deconvolution import Deconvolution
from suite.attribution.fused import attribute, attribute_each
from suite.attribution.grad_cam import GradCam
from suite.attribution.gradient import Gradient
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.attribution.saliency import Saliency
from suite.config import NetworkConfig
from suite.core.graph import gradient_path, unruled
from suite.core.rectifiers import Rectifying, rectifier_report
from suite.errors import NotApplicable
from suite.models.load import load_model, wrap
from suite.reference.captum import COUNTERPARTS
from suite.sanity.score import before_last_rectifier
from suite.sanity.verdict import arrange, verdicts

pytestmark = [
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),  # a reentrant checkpoint
    pytest.mark.filterwarnings("ignore:.*is not a leaf Tensor is being accessed:UserWarning"),  # torch.compile
]
TARGETS = torch.tensor([0, 3, 4, 3])
RULES = {"guided": GuidedBackprop(), "deconvolution": Deconvolution()}
GUIDED = RULES | {"guided_grad_cam": GuidedGradCam()}


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


def by_index(h):
    h = h.clone()
    h[h < 0] = 0
    return h


def by_selection(h):
    out = torch.zeros_like(h)
    out[h > 0] = h[h > 0]
    return out


def on_a_view(write):
    """The first half of the channels is written in place, through a view; the other by a plain ReLU."""

    def rectify(h):
        h, half = h.clone(), h.shape[1] // 2
        write(h[:, :half])
        return torch.cat([h[:, :half], F.relu(h[:, half:])], 1)

    return rectify


def by_setting(view):
    view[view < 0] = 0


def scripted(thing):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(thing)


def traced(thing, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(thing, example)


def by_float_mask(h: torch.Tensor) -> torch.Tensor:
    return (h > 0).float() * h


EXACT = {
    "torch.ops": torch.ops.aten.relu,
    "torch.ops overload": torch.ops.aten.relu.default,
    "torch.ops in place": lambda h: torch.ops.aten.relu_(h.clone()),
    "torch.ops clamp": lambda h: torch.ops.aten.clamp_min(h, 0),
    "clamp by a tensor": lambda h: h.clamp(min=torch.zeros(())),
    "scripted function": scripted(F.relu),
    "scripted module": scripted(nn.ReLU()),
    "traced": traced(lambda h: h.relu(), torch.zeros(2, 3)),
    "vmap": lambda h: torch.vmap(F.relu)(h),
    "checkpoint": lambda h: checkpoint(F.relu, h, use_reentrant=False),
    "on a view": on_a_view(F.relu_),
    "copied into a view": on_a_view(lambda view: view.copy_(view.relu())),
    "set into a view": on_a_view(lambda view: view.__setitem__(slice(None), view.relu())),
}
REFUSED = {
    "torch.where": (lambda h: torch.where(h > 0, h, 0.0), "torch.where"),
    "maximum": (lambda h: torch.maximum(h, torch.zeros_like(h)), "torch.maximum"),
    "torch.max": (lambda h: torch.max(h, torch.zeros(())), "torch.maximum"),
    "fmax": (lambda h: torch.fmax(h, torch.zeros(())), "torch.fmax"),
    "minimum": (lambda h: h - torch.minimum(h, torch.zeros(())), "torch.minimum"),
    "stacked maximum": (lambda h: torch.stack([h, torch.zeros_like(h)]).amax(0), "maximum over stacked"),
    "boolean mask": (lambda h: h * (h > 0), "mask of 0 and 1"),
    "float mask": (lambda h: (h > 0).float() * h, "mask of 0 and 1"),
    "scripted float mask": (scripted(by_float_mask), "mask of 0 and 1"),
    "mask of ops": (lambda h: torch.ops.aten.mul(h, torch.ops.aten.gt(h, 0).float()), "mask of 0 and 1"),
    "heaviside": (lambda h: h * torch.heaviside(h.detach(), torch.zeros(())), "mask of 0 and 1"),
    "sign": (lambda h: h * (1 + h.sign()) / 2, "sign"),
    "detached sign": (lambda h: h * (1 + h.detach().sign()) / 2, "mask of 0 and 1"),
    "abs": (lambda h: (h + h.abs()) / 2, "abs"),
    "addcmul": (lambda h: torch.addcmul(torch.zeros(()), h, (h > 0).float()), "mask of 0 and 1"),
    "lerp": (lambda h: torch.lerp(torch.zeros_like(h), h, (h > 0).float()), "mask of 0 and 1"),
    "masked_fill": (lambda h: h.masked_fill(h < 0, 0), "masked_fill"),
    "masked_scatter": (lambda h: h.masked_scatter(h < 0, torch.zeros_like(h)), "masked_scatter"),
    "index": (by_index, "indexing by a mask"),
    "selection": (by_selection, "indexing by a mask"),
    "clamp above": (lambda h: h - h.clamp(max=0), "clamp at 0"),
    "autograd.Function": (Own.apply, "autograd.Function Own"),
    "in a checkpoint": (lambda h: checkpoint(lambda x: x * (x > 0), h, use_reentrant=False), "mask of 0 and 1"),
    "reentrant checkpoint": (lambda h: checkpoint(F.relu, h, use_reentrant=True), "use_reentrant"),
    "compiled": (torch.compile(lambda h: F.relu(h) * 1, backend="aot_eager"), "torch.compile"),
    "ops on a view": (on_a_view(torch.ops.aten.relu_), "in-place call on a view"),
    "mask on a view": (on_a_view(lambda v: v.masked_fill_(v < 0, 0)), "in-place call on a view"),
    "product on a view": (on_a_view(lambda v: v.mul_((v > 0).float())), "in-place call on a view"),
    "set on a view": (on_a_view(by_setting), "in-place call on a view"),
    "swish by hand": (lambda h: h * torch.sigmoid(h), "x times a function of x"),
    "gelu by hand": (lambda h: 0.5 * h * (1 + torch.erf(h / 2**0.5)), "x times a function of x"),
    "hardswish by hand": (lambda h: h * F.relu6(h + 3) / 6, "x times a function of x"),
    "gelu of ops": (torch.ops.aten.gelu, "GELU"),
    "leaky by where": (lambda h: torch.where(h > 0, h, 0.1 * h), "torch.where"),
    "shifted threshold": (lambda h: F.threshold(h, 0.5, 0), "threshold that is no ReLU"),
}


class Act(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = [function]  # not a submodule of its own, whatever it is

    def forward(self, h):
        return self.function[0](h)


def network(*acts):
    """Convolutions of six channels with these rectifiers between, a dense head; the same weights for any."""

    def make():
        layers = []
        for index, act in enumerate(acts):
            layers += [nn.Conv2d(6 if index else 3, 6, 3, padding=1), act if isinstance(act, nn.Module) else Act(act)]
        return nn.Sequential(*layers, nn.Conv2d(6, 6, 1), nn.Flatten(), nn.Linear(6 * 64, 5))

    return seeded(make)


def companies(act):
    return {"alone": [act], "before a ReLU": [act, nn.ReLU()], "after a ReLU": [nn.ReLU(), act]}


COMPANY = sorted(companies(None))


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("rectify", EXACT.values(), ids=EXACT.keys())
def test_what_computes_a_relu_is_ruled_exactly(rectify, company):
    net, x = network(*companies(rectify)[company]), pictures()
    reference = network(*companies(nn.ReLU())[company])
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference(x))
    wanted, plain = attribute(reference, x, TARGETS, GUIDED), Gradient()(net, x, TARGETS)
    for label, found in attribute(net, x, TARGETS, GUIDED).items():
        torch.testing.assert_close(found, wanted[label], msg=label)
        assert float((found - plain).abs().max()) > 1e-3


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize(("rectify", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_rule_cannot_reach_is_refused_by_name(rectify, name, company):
    net, x = network(*companies(rectify)[company]), pictures()
    plain = {"saliency": Saliency(), "grad_cam": GradCam()}
    if name == "use_reentrant":  # torch itself refuses to take such a network's gradient
        found = {label: attribute_each(net, x, TARGETS, {label: GUIDED[label]})[label] for label in RULES}
    else:
        found = attribute_each(net, x, TARGETS, GUIDED | plain)
    for label in found.keys() - plain.keys():
        assert isinstance(found[label], NotApplicable), label
        assert name in str(found[label])
    assert name in str(dict(rectifier_report(net, x).others))
    for label in found.keys() & plain.keys():
        assert torch.equal(found[label], plain[label](net, x, TARGETS))


@pytest.mark.parametrize("make", [scripted, lambda net: traced(net, pictures())])
def test_a_scripted_network_has_its_guided_map(make):
    plain, x = network(nn.ReLU(), nn.ReLU6()), pictures()
    net = make(copy.deepcopy(plain))
    for _ in range(3):  # TorchScript rewrites what it has run
        torch.testing.assert_close(GuidedBackprop()(net, x, TARGETS), GuidedBackprop()(plain, x, TARGETS))
    report = rectifier_report(net, x)
    assert report.calls == {"ReLU": 1, "ReLU6": 1}
    assert "hooks 0 of 2 rectifier calls, not those of code below Python x2" in report.why_captum_deviates()


def test_scripted_code_that_hides_its_graph_says_so():
    """A node as TorchScript's fuser makes it; no fuser runs on every machine."""

    class Hidden:
        def name(self):
            return "torch::jit::(anonymous namespace)::DifferentiableGraphBackward"

    node = Hidden()
    assert "scripted code hides its rectifiers" in unruled(node, {node: []})


class Harmless(nn.Module):
    """Pools, pads, masks attention, scales, normalises, writes into views, clamps far from 0: and rectifies plainly."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.attend = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Linear(6, 6)
        self.squeeze, self.head = nn.Conv2d(6, 6, 1), nn.Linear(6, 5)
        self.scale = nn.Parameter(torch.ones(6, 1, 1), requires_grad=False)
        self.gate = nn.Parameter(torch.rand(6).clamp(min=0))

    def forward(self, x):
        h = self.relu(self.conv(x)) * self.scale * torch.where(self.gate > 0.5, self.gate, 0.0)[:, None, None].abs()
        h = h * torch.eye(8) + h
        h = h * torch.sigmoid(self.squeeze(h.mean((2, 3), keepdim=True)))
        h = F.max_pool2d(F.pad(h, (1, 1, 1, 1)), 2)
        h = h * h.amax((2, 3), keepdim=True).clamp(min=1e-6) / h.pow(2).sum(1, keepdim=True).add(1).sqrt()
        out = h.new_zeros(h.shape)
        out[:, :3] = h[:, 3:]
        out[:, 3:] += h[:, :3]
        out[:, :2].mul_(2.0)
        tokens = F.dropout(out, training=False).flatten(2).transpose(1, 2)
        scores = self.attend(tokens) @ tokens.transpose(1, 2)
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return self.head((scores.masked_fill(mask, -torch.inf).softmax(-1) @ tokens).mean(1))


def test_what_is_no_rectifier_raises_no_alarm():
    net, x = seeded(Harmless), pictures()
    assert rectifier_report(net, x).others == {}
    assert not torch.equal(GuidedBackprop()(net, x, TARGETS), Gradient()(net, x, TARGETS))


def test_module_hooks_raise_no_alarm():
    net, x = network(nn.ReLU()), pictures()
    wanted = GuidedBackprop()(net, x, TARGETS)
    handle = net[0].register_full_backward_hook(lambda *_: None)
    assert torch.equal(GuidedBackprop()(net, x, TARGETS), wanted)
    handle.remove()


def test_a_relu_whose_gradient_is_detached_rules_nothing():
    net = network(lambda h: h + (F.relu(h) - h).detach())  # the straight-through estimator
    with pytest.raises(NotApplicable, match="calls none"):
        GuidedBackprop()(net, pictures(), TARGETS)


@pytest.mark.parametrize("late", [torch.ops.aten.relu, nn.ReLU()])
def test_a_plain_and_a_guided_pass_share_no_more_than_is_equal(late):
    """Above the layer only `late` clamps: were it unseen, the guided pass would begin with the plain one's gradient."""
    net, x = network(nn.ReLU(), late), pictures()
    cam = {"plain": Gradient(), "guided": GuidedBackprop(), "cam": GradCam("1")}
    together = attribute(net, x, TARGETS, cam)
    assert torch.equal(together["guided"], GuidedBackprop()(net, x, TARGETS))
    assert not torch.equal(together["guided"], attribute(network(nn.ReLU(), nn.Identity()), x, TARGETS, cam)["guided"])


@pytest.mark.parametrize(("act", "name"), [(nn.ReLU6(), "nn.ReLU6 modules"), (F.relu, "function calls")])
def test_the_reason_names_who_calls_what_captum_misses(act, name):
    why = rectifier_report(network(nn.ReLU(), act), pictures()).why_captum_deviates()
    assert why == f"Captum hooks 1 of 2 rectifier calls, not those of {name} x1"


def test_captum_is_no_reference_where_a_rectifier_is_out_of_reach():
    from suite.verify.networks import Case
    from suite.verify.references import find_references

    net, x = network(nn.ReLU(), Own.apply), pictures()
    (captum,) = find_references("captum:GuidedBackprop")
    with pytest.raises(NotApplicable, match="Function Own"):
        captum(Case("half hidden", net, x, TARGETS, layer="0"))
    theirs = COUNTERPARTS[GuidedBackprop](GuidedBackprop(), net, x, TARGETS)  # half-guided, without a word
    assert not torch.equal(theirs, GuidedBackprop()(network(nn.ReLU(), nn.ReLU()), x, TARGETS))


class Trailing(nn.Module):
    """Scores that a rectifier ends; two branches of it where `twice`."""

    def __init__(self, act, twice=False):
        super().__init__()
        self.first, self.last, self.other = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 3, 1), nn.Conv2d(6, 2, 1)
        self.act, self.twice = Act(act), twice

    def forward(self, x):
        h = F.relu(self.first(x))
        parts = [self.last(h), self.other(h)]
        parts = [self.act(p) for p in parts] if self.twice else [self.act(torch.cat(parts, 1))]
        return torch.cat(parts, 1).mean((2, 3))


def trailing(act, **options):
    return wrap(seeded(lambda: Trailing(act, **options)), NetworkConfig(name="trailing", input_size=8))


def test_all_trailing_rectifiers_are_left_out():
    x = pictures()
    found = before_last_rectifier(trailing(F.relu, twice=True), x)(x)
    torch.testing.assert_close(found, trailing(nn.Identity())(x))
    assert (found < 0).any()


@pytest.mark.parametrize("rectify", [*EXACT.values(), *(act for act, name in REFUSED.values())], ids=[*EXACT, *REFUSED])
def test_a_trailing_rectifier_is_left_out_or_named(rectify):
    net, x = trailing(rectify), pictures()
    bare = trailing(nn.Identity())(x)
    refused = ""
    try:
        view = before_last_rectifier(net, x)
    except NotApplicable as why:
        refused = str(why)
    if refused:
        assert "cannot be left out; `score: as_is`" in refused
    elif view is net:  # smooth, and never exactly 0
        assert (net(x) < 0).any()
    else:
        torch.testing.assert_close(view(x), bare)


def hidden_end():
    return nn.Sequential(nn.Conv2d(3, 10, 3), Act(Own.apply), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_sanity_study_says_what_it_cannot_leave_out(tmp_path):
    model = tiny.network(tmp_path, factory="tests.core.test_rectifier_spellings:hidden_end")
    path = tiny.config(tmp_path, model=model, methods=["saliency"], studies={"sanity": {"draws": 3}})
    rows = tiny.rows(path, tmp_path / "run")
    sanity = rows[rows["study"] == "sanity"]
    assert set(sanity["status"]) == {"not_applicable"}
    overall, _, _ = verdicts(arrange(sanity, 0.05), sanity)
    assert list(overall["verdict"]) == ["not applicable"]
    assert "autograd.Function Own follows the last weights" in overall["reason"][0]


def test_weights_that_are_computed_on_the_way_end_the_search():
    net = trailing(nn.Identity())
    torch.nn.utils.parametrizations.weight_norm(net.body.last)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    assert before_last_rectifier(net, pictures()) is net


def test_reading_the_graph_costs_little():
    net, x = load_model("squeezenet1_1"), torch.rand(1, 3, 224, 224)
    times = []
    for _ in range(5):
        pixels = x.clone().requires_grad_()
        mode = Rectifying()
        with mode:
            total = net(pixels.clone()).max()
        begin = perf_counter()
        mode.follow(total, pixels)
        times.append(perf_counter() - begin)
        assert mode.calls == {"ReLU": 26}
    assert len(gradient_path(total, pixels)) > 60
    assert min(times) < 0.01


NETWORKS = {
    "torchvision": {
        "alexnet": 7, "densenet121": 121, "googlenet": 57, "inception_v3": 94, "mnasnet0_5": 35, "mobilenet_v2": 35,
        "regnet_y_400mf": 65, "resnext50_32x4d": 49, "shufflenet_v2_x0_5": 37, "squeezenet1_0": 26, "vgg11_bn": 10,
    },
    "timm": {
        "botnet26t_256": 27, "dla34": 33, "dpn68": 72, "ese_vovnet19b_dw": 23, "gernet_s": 40, "ghostnet_100": 42,
        "halonet26t": 27, "hgnet_tiny": 34, "hrnet_w18_small": 75, "inception_resnet_v2": 243, "mobileone_s0": 43,
        "nasnetalarge": 264, "nf_resnet26": 25, "res2net50_26w_4s": 81, "resnest14d": 19, "resnetblur18": 17,
        "seresnet18": 25, "skresnet18": 33, "tf_efficientnet_lite0": 33, "xception41": 44,
    },
}  # fmt: skip
SMOOTH = {"bat_resnext26ts": {"SiLU"}, "mobilenetv3_small_050": {"Hardswish"}, "tiny_vit_5m_224": {"GELU"}}


def of_timm(name):
    return pytest.importorskip("timm").create_model(name, pretrained=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "name", "count"), [(lib, name, n) for lib, names in NETWORKS.items() for name, n in names.items()]
)
@pytest.mark.filterwarnings("ignore:.*initialization of (GoogleNet|Inception).*:FutureWarning")
def test_networks_of_relus_raise_no_alarm(library, name, count):
    make = of_timm if library == "timm" else partial(torchvision.models.get_model, weights=None)
    net = seeded(lambda: make(name))
    side = 256 if name in ("botnet26t_256", "halonet26t") else 96
    report = rectifier_report(net, torch.rand(1, 3, side, side))
    assert (report.total, report.others) == (count, {})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "others"), SMOOTH.items())
def test_smooth_networks_are_refused_for_what_they_have(name, others):
    side = 256 if "bat" in name else 224
    report = rectifier_report(seeded(lambda: of_timm(name)), torch.rand(1, 3, side, side))
    assert set(report.others) == others
