"""Shared passes: the same bits as alone, the passes promised, images independent of each other; chunks."""

from contextlib import contextmanager

import networks as nets
import pytest
import torch
from host_reads import HostReads
from networks import pictures, seeded
from torch import nn

from suite.attribution import fused
from suite.attribution.fused import as_methods, attribute, attribute_each, make_method, plan_cost
from suite.attribution.gradient import Gradient
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.smoothgrad import SmoothGrad, VarGrad
from suite.core import memory
from suite.core.passes import Cost, checked
from suite.errors import ConfigError, DataError, NetworkError, NotApplicable
from suite.models.load import load_model
from suite.registry import ATTRIBUTIONS
from suite.studies.speed.clock import peak_bytes

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]
SHARING = [*FOUR, "gradient", "input_x_gradient", "deconvolution"]
TARGETS = torch.tensor([0, 3, 4, 3])


@contextmanager
def counted(net):
    """[images run forward, images run backward to the pixels or the first layer]."""
    seen = {"forward": 0, "backward": 0}

    def forward(_module, inputs, output):
        seen["forward"] += len(inputs[0])
        last = inputs[0] if inputs[0].requires_grad else output  # where a backward pass ends, or begins
        if isinstance(last, torch.Tensor) and last.requires_grad:
            last.register_hook(lambda grad: seen.__setitem__("backward", seen["backward"] + len(grad)))

    handle = net.register_forward_hook(forward)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("make", [nets.Conv, nets.Twice, lambda: nets.Conv(nn.ReLU(inplace=True), norm=True)])
def test_together_equals_alone_to_the_bit(make):
    net, x = seeded(make), pictures()
    methods = {
        **as_methods(SHARING),
        **as_methods({"cam at the end": make_method("grad_cam", {"layer": "last", "relu": False})}),
    }
    together = attribute(net, x, TARGETS, methods)
    assert list(together) == list(methods)
    for label, method in methods.items():
        assert torch.equal(together[label], method(net, x, TARGETS)), label
        assert together[label].abs().sum() > 0, label


class _Headed(nn.Module):
    """Convolutions, the layer `mid`, and a head whose ReLU the guided rule clamps where `mixed`; `past` skips mid."""

    def __init__(self, mixed, past):
        super().__init__()
        self.stem, self.mid = nn.Conv2d(3, 6, 3, padding=1), nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.hidden, self.head = nn.Conv2d(6, 8, 1), nn.Linear(8, 5)
        self.mixed, self.past = mixed, past
        if not mixed:
            self.head.weight.data.abs_()

    def forward(self, x):
        low = self.stem(x).relu()
        mid = self.mid(low)
        hidden = self.hidden(mid + low if self.past else mid).relu()
        return self.head(hidden.mean((2, 3)))


@pytest.mark.parametrize(
    ("mixed", "past", "shared"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_guided_backprop_begins_where_the_plain_pass_was_the_same(monkeypatch, mixed, past, shared):
    net, x = seeded(lambda: _Headed(mixed, past)), pictures()
    head_backwards = []
    net.hidden.register_full_backward_hook(lambda *_: head_backwards.append(1))
    methods = {"saliency": make_method("saliency"), "guided_backprop": make_method("guided_backprop")}
    methods["cam"] = make_method("grad_cam", {"layer": "mid"})
    together = attribute(net, x, TARGETS, methods)
    assert len(head_backwards) == (1 if shared else 2)
    alone = make_method("guided_backprop")(net, x, TARGETS)
    assert torch.equal(together["guided_backprop"], alone)
    assert not torch.equal(alone, make_method("gradient")(net, x, TARGETS))


@pytest.mark.parametrize(
    ("names", "cost"),
    [
        (["saliency"], Cost(1, 1)),
        (["saliency", "gradient", "input_x_gradient", "grad_cam"], Cost(1, 1)),
        (["grad_cam"], Cost(1, 1)),
        (["guided_backprop"], Cost(1, 1)),
        (FOUR, Cost(1, 2)),
        (["guided_grad_cam"], Cost(1, 2)),
        (SHARING, Cost(1, 3)),
        ([*FOUR, "integrated_gradients"], Cost(51, 52)),
        (["smoothgrad", "vargrad"], Cost(100, 100)),
        (["layer_conductance"], Cost(21, 21)),
        (["control_edges", "control_noise"], Cost(0, 0)),
        (["layer_activation"], Cost(1, 0)),
    ],
    ids=lambda v: "+".join(v) if isinstance(v, list) else "",
)
def test_passes_run_are_the_passes_planned(monkeypatch, names, cost):
    """Counted where scores are computed; what is run besides, to size chunks or find a layer, is switched off here."""
    net, x = seeded(nets.Conv), pictures()
    monkeypatch.setattr(memory, "images_per_pass", lambda *_: 7)
    monkeypatch.setattr("suite.core.passes.default_layer", lambda *_: "act")
    methods = as_methods(names)
    assert plan_cost(methods.values()) == cost
    with counted(net) as seen:
        attribute_each(net, x, TARGETS, methods)
    to_layer = names == ["guided_grad_cam"]  # its plain backward ends there, and never reaches the pixels
    assert seen == {"forward": 4 * cost.forwards, "backward": 4 * (cost.backwards - to_layer)}


METHODS = [*SHARING, IntegratedGradients(steps=5), SmoothGrad(samples=4), VarGrad(samples=4), GradientShap(samples=4),
           LayerConductance(steps=4), "occlusion", "layer_activation", "neuron_gradient"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_an_image_does_not_feel_its_neighbours(method):
    net, x = seeded(lambda: nets.Conv(norm=True), dtype=torch.float64), pictures(dtype=torch.float64)
    (batch,) = attribute(net, x, TARGETS, [method]).values()
    alone = [attribute(net, x[i : i + 1], TARGETS[i], [method]) for i in range(4)]
    torch.testing.assert_close(batch, torch.cat([next(iter(a.values())) for a in alone]), rtol=1e-12, atol=1e-14)
    other = x.clone()
    other[1:] = -3 * other[1:].flip(0)
    (changed,) = attribute(net, other, TARGETS, [method]).values()
    torch.testing.assert_close(batch[:1], changed[:1], rtol=1e-12, atol=1e-14)
    if method != "deconvolution":  # through one rectifier it sees no activation at all (Zeiler & Fergus 2014)
        assert not torch.allclose(batch[1:], changed[1:])


def test_a_network_that_couples_images_is_seen_by_the_test_above():
    class Coupled(nets.Conv):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    net, x = seeded(Coupled, dtype=torch.float64), pictures(dtype=torch.float64)
    assert not torch.allclose(Gradient()(net, x, TARGETS)[:1], Gradient()(net, x[:1], 0))


SAMPLED = [IntegratedGradients(steps=9), SmoothGrad(samples=9, sigma=0.5), VarGrad(samples=9, sigma=0.5),
           GradientShap(samples=9, sigma=0.3, baselines=("zeros", "white", "blurred")),
           LayerConductance("act", steps=9)]  # fmt: skip


@pytest.mark.parametrize("method", SAMPLED, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("room", [1, 3, 4, 10, 37])
def test_chunks_change_rounding_only(monkeypatch, method, room):
    net, x = seeded(nets.Conv, dtype=torch.float64), pictures(dtype=torch.float64)
    whole = method(net, x, TARGETS)
    monkeypatch.setattr(memory, "images_per_pass", lambda *_: room)
    with counted(net) as seen:
        parts = method(net, x, TARGETS)
    assert seen["forward"] == 4 * method.cost().forwards
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-13)
    assert whole.abs().max() > 1e-6


@pytest.mark.parametrize(
    "method",
    [SmoothGrad(samples=5), VarGrad(samples=5), GradientShap(samples=5, sigma=0.1)],
    ids=lambda m: type(m).__name__,
)
def test_draws_belong_to_the_image_and_not_to_its_place(method):
    net, x = seeded(nets.Conv, dtype=torch.float64), pictures(dtype=torch.float64)
    ids, order = ["a", "b", "c", "d"], [2, 0, 3, 1]
    found = method(net, x, 1, ids)
    shuffled = method(net, x[order], 1, [ids[i] for i in order])
    torch.testing.assert_close(shuffled, found[order], rtol=1e-11, atol=1e-15)
    assert torch.equal(found, method(net, x, 1, ids))
    assert not torch.allclose(found, method(net, x, 1, ["e", "f", "g", "h"]))
    assert not torch.allclose(found, type(method)(**{**vars(method), "seed": 1})(net, x, 1, ids))
    by_pixels = method(net, x, 1)
    torch.testing.assert_close(method(net, x[order], 1), by_pixels[order], rtol=1e-11, atol=1e-15)


def test_ids_must_be_one_an_image():
    with pytest.raises(DataError, match="expected 4"):
        attribute(seeded(nets.Conv), pictures(), 0, ["smoothgrad"], ids=["a"])


@pytest.mark.parametrize("many", [IntegratedGradients, LayerConductance, SmoothGrad], ids=lambda m: m.__name__)
def test_memory_does_not_grow_with_steps(monkeypatch, many):
    net, x = seeded(nets.Conv), pictures(1, (48, 48))
    monkeypatch.setattr(memory, "images_per_pass", lambda *_: 5)
    key = "samples" if many is SmoothGrad else "steps"
    extra = {"layer": "act"} if many is LayerConductance else {}
    one, fifty = many(**{key: 5 - bool(extra)}, **extra), many(**{key: 50 - bool(extra)}, **extra)
    device = torch.device("cpu")
    small = peak_bytes(lambda: one(net, x, 0), device)
    assert peak_bytes(lambda: fifty(net, x, 0), device) <= 1.3 * small
    monkeypatch.setattr(memory, "images_per_pass", lambda *_: 50)
    assert peak_bytes(lambda: fifty(net, x, 0), device) > 4 * small


def test_undefined_methods_stand_beside_the_others():
    net = seeded(lambda: nets.Conv(nn.GELU()))
    found = attribute_each(net, pictures(), 0, as_methods(["saliency", "guided_backprop", "control_constant"]))
    assert isinstance(found["guided_backprop"], NotApplicable)
    assert torch.equal(found["saliency"], Gradient()(net, pictures(), 0).abs().amax(1, keepdim=True))
    assert list(found) == ["saliency", "guided_backprop", "control_constant"]


def double_gradient(model, images, targets, factor: float = 2.0):
    return factor * Gradient()(model, images, targets)


def two_arguments(model, images):
    return images


def test_a_users_function_is_a_method():
    net, x = seeded(nets.Conv), pictures()
    made = make_method(f"{__name__}:double_gradient", {"factor": 3})
    found = attribute(net, x, TARGETS, {"mine": made, "same": double_gradient, "gradient": "gradient"})
    assert torch.equal(found["mine"], 3.0 * found["gradient"])
    assert torch.equal(found["same"], 2.0 * found["gradient"])
    assert "factor=3" in repr(made)


def bad(kind):
    return {"none": lambda m, x, t: None, "flat": lambda m, x, t: x.flatten(1), "one": lambda m, x, t: x[:1]}[kind]


@pytest.mark.parametrize("kind", ["none", "flat", "one"])
def test_what_a_users_function_returns_is_checked(kind):
    with pytest.raises(NetworkError, match="expected a map"):
        attribute(seeded(nets.Conv), pictures(), 0, [bad(kind)])


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("salience", {}, "did you mean 'saliency'"),
        ("saliency", {"layer": "x"}, "unknown parameter 'layer'"),
        ("grad_cam", {"layr": "x"}, "did you mean 'layer'"),
        ("grad_cam", {"layer": 3}, "'layer'.*string"),
        ("grad_cam", {"relu": "perhaps"}, "'relu'.*bool"),
        ("integrated_gradients", {"steps": "many"}, "'steps'.*integer"),
        ("integrated_gradients", {"steps": 2.5}, "'steps'.*integer"),
        ("integrated_gradients", {"baseline": "zeroes"}, "did you mean 'zeros'"),
        ("guided_grad_cam", {"upsample": "cubic"}, "'nearest' or 'bilinear'"),
        ("tests.attribution.test_fused:double_gradient", {"fctor": 1}, "did you mean 'factor'"),
        ("tests.attribution.test_fused:double_gradient", {"factor": "x"}, "'factor'.*number"),
        ("tests.attribution.test_fused:two_arguments", {}, r"expected a function \(model, images, targets"),
        ("tests.attribution.test_fused:absent", {}, "has no 'absent'"),
        ("tests.attribution.test_fused:METHODS", {}, "not a function"),
        ("no_such_module:f", {}, "no module named"),
    ],
)
def test_one_clear_line_for_a_wrong_method(name, parameters, said):
    with pytest.raises(ConfigError, match=said) as caught:
        make_method(name, parameters)
    assert "\n" not in str(caught.value)


def test_parameters_from_yaml_take_their_declared_types():
    shap = make_method("gradient_shap", {"samples": 3, "baselines": ["zeros", "white"]})
    assert shap == GradientShap(samples=3, baselines=("zeros", "white"))
    assert make_method("neuron_gradient", {"position": [1, 2]}).position == (1, 2)


def test_labels():
    with pytest.raises(ConfigError, match="appears twice"):
        as_methods(["saliency", "saliency"])
    with pytest.raises(ConfigError, match="expected a list"):
        as_methods("saliency")
    assert list(as_methods({"a": "saliency", "b": "saliency"})) == ["a", "b"]
    assert [*fused.as_methods([IntegratedGradients(steps=3)])] == ["IntegratedGradients(steps=3, baseline='zeros')"]


def leaves(model, images, targets):
    raise SystemExit(7)


def whole_numbers(model, images, targets):
    return torch.ones(len(images), 1, 8, 8, dtype=torch.int64)


def nothing(model, images, targets):
    return torch.zeros(len(images), 1, 0, 0)


def test_a_method_that_exits_or_gives_no_numbers_costs_the_others_nothing():
    net, x = seeded(nets.Conv), pictures()
    mine = [leaves, whole_numbers, nothing]
    found = attribute_each(net, x, TARGETS, as_methods({f.__name__: f for f in mine} | {"saliency": "saliency"}))
    assert torch.equal(found["saliency"], attribute(net, x, TARGETS, ["saliency"])["saliency"])
    assert [str(found[f.__name__]).partition(", got")[0] for f in mine] == [
        "it called sys.exit(7)",
        "method 'whole_numbers': expected a map of floating point numbers",
        "method 'nothing': expected a map of floating point numbers",
    ]


def test_images_that_no_map_could_be_trusted_of_are_refused():
    net, x = seeded(nets.Conv), pictures()
    x[2, 0, 1, 1] = torch.nan
    for method in ("saliency", "smoothgrad", "grad_cam"):
        with pytest.raises(DataError, match="image 2 holds NaN"):
            attribute(net, x, TARGETS, [method])
    ours = load_model("tiny", factory="tiny:net", input_size=32)
    for wrong, said in (
        (torch.rand(2, 3, 32, 32) * 255, "values from 0"),
        (torch.randn(2, 3, 32, 32), "values from -"),
    ):
        with pytest.raises(DataError, match=f"{said}.* takes RGB in .0, 1. and normalises itself"):
            attribute(ours, wrong, 0, ["saliency"])


@pytest.mark.parametrize("method", [SmoothGrad(sigma=float("nan")), VarGrad(sigma=float("inf"))])
def test_a_method_built_by_hand_is_held_to_finite_parameters_too(method):
    with pytest.raises(ConfigError, match=r"'sigma' is (nan|inf), expected a finite number"):
        attribute(seeded(nets.Conv), pictures(), TARGETS, [method])


@pytest.mark.parametrize("name", [*ATTRIBUTIONS, "all"])
def test_a_call_reads_at_most_three_values_back(name):
    net, x = seeded(nets.Conv), pictures(size=(32, 32))
    labelled = {n: make_method(n) for n in (ATTRIBUTIONS if name == "all" else [name])}
    with HostReads() as reads:
        attribute(net, x, TARGETS, labelled)
    assert reads.count <= 3, reads.operators
    with HostReads() as named:
        attribute(net, x, TARGETS, labelled, ids="abcd")
    assert named.operators["cpu"] == 0  # pixels are hashed only where no name is given, and something draws
    assert named.count <= 2, named.operators


def test_the_counter_of_reads_sees_what_makes_a_card_wait():
    x = pictures()
    with HostReads() as reads:
        float(x.sum())
        bool(x.any())
        x.mean((1, 2, 3)).tolist()
        x[x > 0.5]
        (x > 0.5).nonzero()
        x.cpu()
        x[:, 0], x[[0, 1]], x.numpy()
    assert reads.count == 6


def test_methods_called_by_a_users_method_check_what_they_are_given():
    def cropping(model, images, targets):
        return SmoothGrad(samples=2)(model, images[:, :, :4] * float("nan"), targets)

    with pytest.raises(DataError, match="NaN"):
        attribute(seeded(nets.Conv), pictures(), TARGETS, {"own": cropping})

    def naming(model, images, targets):
        return attribute(model, images.flip(0), targets.flip(0), ["smoothgrad"])["smoothgrad"].flip(0)

    net, x = seeded(nets.Conv), pictures()
    maps = attribute(net, x, TARGETS, {"own": naming, "smoothgrad": SmoothGrad()})
    assert torch.allclose(maps["own"], maps["smoothgrad"], atol=1e-6)  # its images keep their own noise


def test_a_method_inside_a_method_takes_no_others_targets():
    with checked(pictures(), TARGETS) as (x, targets), pytest.raises(DataError, match="target 103"):
        SmoothGrad(samples=1)(seeded(nets.Conv), x[:2], targets[:2] + 100)


def test_a_baseline_that_is_not_finite_is_refused():
    bad = torch.full((3, 8, 8), torch.nan)
    with pytest.raises(DataError, match="baseline"):
        attribute(seeded(nets.Conv), pictures(), TARGETS, {"ig": IntegratedGradients(baseline=bad)})


def test_memory_that_holds_no_batch_is_given_halves_and_a_line_says_so(caplog):
    net, x = seeded(nets.Conv), pictures(5)
    whole = attribute(net, x, torch.arange(5), ["saliency", "smoothgrad"])

    def hungry(model, images, targets):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Gradient()(model, images, targets)

    maps = attribute(net, x, torch.arange(5), {"saliency": "saliency", "own": hungry, "smoothgrad": "smoothgrad"})
    assert [r.message for r in caplog.records] == ["out of memory with 5 images at once, done 2 at a time"]
    assert list(maps) == ["saliency", "own", "smoothgrad"]
    assert all(len(m) == 5 for m in maps.values())
    for name, of_whole in whole.items():
        assert torch.allclose(maps[name], of_whole, atol=1e-6)

    def starving(model, images, targets):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        attribute(net, x, 0, [starving])
