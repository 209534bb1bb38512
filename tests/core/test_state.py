"""What is left behind: nothing. The network, the images, the global random state, gradient modes, memory."""

import gc
import weakref

import networks as nets
import pytest
import torch
from networks import pictures, seeded
from torch import nn
from untouched import around, state

from suite.attribution.fused import as_methods, attribute
from suite.attribution.gradient import Gradient
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.smoothgrad import SmoothGrad, VarGrad
from suite.core.state import guarded
from suite.errors import NetworkError
from suite.registry import ATTRIBUTIONS

SMALL = {
    "integrated_gradients": IntegratedGradients(steps=3),
    "smoothgrad": SmoothGrad(samples=3),
    "vargrad": VarGrad(samples=3),
    "gradient_shap": GradientShap(samples=3),
    "layer_conductance": LayerConductance(steps=3),
}
METHODS = {name: SMALL.get(name, name) for name in ATTRIBUTIONS}
TARGETS = torch.tensor([0, 3, 4, 3])


def mixed(make) -> nn.Module:
    """A network half in train mode, half frozen, with `.grad` filled on one weight."""
    net = seeded(make)
    for number, module in enumerate(net.modules()):
        module.training = number % 2 == 0
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.training = True
    parameters = list(net.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.full_like(parameters[-1], 7.0)
    return net


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize(
    "make", [lambda: nets.Conv(norm=True, dropout=0.5), lambda: nets.Conv(nn.ReLU(inplace=True), norm=True)]
)
def test_nothing_is_left_behind(method, make):
    net, x = mixed(make), pictures()
    before = around(net, x)
    (found,) = attribute(net, x, TARGETS, [method]).values()
    assert around(net, x) == before
    assert not found.requires_grad
    assert found.grad_fn is None
    assert not found.is_inference()
    assert found.shape[0] == 4


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_nothing_is_left_behind_when_it_raises_midway(method, where):
    net, x = mixed(lambda: nets.Raises(where)), pictures()
    if isinstance(method, str) and method in ("grad_cam", "layer_activation", "layer_conductance"):
        method = as_methods([method])[method]
    before = around(net, x)
    runs_none = isinstance(method, str) and method.startswith("control_") and method != "control_other_image"
    forward_only = method in ("occlusion",) or type(method).__name__ == "LayerActivation"
    cuts = type(method).__name__ in ("GradCam", "LayerConductance")  # these stop at the layer, above what raises
    if runs_none or (where == "backward" and (forward_only or cuts)):
        attribute(net, x, TARGETS, [method])
    else:
        with pytest.raises(ArithmeticError, match="planted"):
            attribute(net, x, TARGETS, [method])
    assert around(net, x) == before


def test_the_inventory_sees_each_kind_of_change():
    def changed(act):
        net = mixed(lambda: nets.Conv(norm=True))
        before = state(net)
        act(net)
        return state(net) != before

    def backward(net):
        net(pictures()).sum().backward()

    assert not changed(lambda net: None)
    assert changed(lambda net: net(pictures()))  # batch norm in train mode
    assert changed(backward)
    assert changed(lambda net: net.eval())
    assert changed(lambda net: net.requires_grad_(False))
    assert changed(lambda net: net.act.register_forward_hook(print))
    assert changed(lambda net: net.last.weight.register_hook(print))
    assert changed(lambda net: net.conv.weight.data.mul_(2))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_train_mode_frozen_weights_and_gradient_modes_give_the_eval_map(method):
    make = lambda: nets.Conv(norm=True, dropout=0.5)  # noqa: E731
    x = pictures()

    def run(net, images=x, targets=TARGETS):
        (found,) = attribute(net, images, targets, [method]).values()
        return found

    wanted = run(seeded(make))
    assert torch.equal(run(seeded(make).train()), wanted)
    assert torch.equal(run(seeded(make).requires_grad_(False)), wanted)
    assert torch.equal(run(seeded(make), x.clone().requires_grad_()), wanted)
    with torch.no_grad():
        assert torch.equal(run(seeded(make)), wanted)
    net = seeded(make)
    with torch.inference_mode():
        assert torch.equal(run(net), wanted)
        inside = run(net, x.clone(), TARGETS.clone())  # these two are inference tensors
        assert torch.equal(inside, wanted)
        assert torch.equal(run(net, x.clone(), TARGETS.tolist()), wanted)


def test_one_class_for_all_under_inference_mode():
    net, x = seeded(nets.Conv), pictures()
    wanted = Gradient()(net, x, 3)
    with torch.inference_mode():
        assert torch.equal(Gradient()(net, x, 3), wanted)


def live() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize("keep", [False, True])
def test_no_leak_over_many_batches(keep):
    net, x = seeded(lambda: nets.Conv(norm=True)), pictures()
    methods = as_methods({k: m for k, m in METHODS.items() if not k.startswith("control_")})
    attribute(net, x, TARGETS, methods)
    kept = []
    before = live()
    for _ in range(15):
        maps = attribute(net, x, TARGETS, methods)
        if keep:
            kept.append(maps)
        del maps
    assert live() - before == len(kept) * len(methods)


def test_kept_maps_do_not_hold_the_graph():
    net, x = seeded(nets.Conv), pictures()
    died = []

    def watch(_module, _inputs, output):
        weakref.finalize(output, died.append, 1)

    handle = net.act.register_forward_hook(watch)
    kept = attribute(net, x, TARGETS, ["saliency", "guided_backprop", "guided_grad_cam", "deconvolution"])
    handle.remove()
    gc.collect()
    assert died
    assert len(kept) == 4
    assert torch.overrides._get_current_function_mode() is None


class ChangesItsInput(nn.Module):
    """Normalises in place, as many a network's own code does."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.body, self.in_place = seeded(nets.Conv), in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.sub_(0.5).div_(0.25) if self.in_place else (x - 0.5) / 0.25)


def test_a_network_that_changes_its_input_gives_the_maps_of_one_that_does_not():
    images = pictures(4)
    before = images.clone()
    changes, leaves = (attribute(ChangesItsInput(flag), images, TARGETS, METHODS) for flag in (True, False))
    assert torch.equal(images, before)
    for name, found in changes.items():
        assert torch.equal(found, leaves[name]), name
    for name, method in METHODS.items():  # alone, too
        alone = attribute(ChangesItsInput(True), images, TARGETS, {name: method})[name]
        torch.testing.assert_close(alone, leaves[name], atol=1e-6, rtol=1e-4)


def test_a_removed_hook_comes_back_as_it_was():
    net = seeded(nets.Conv)
    told = []
    layer = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    handle = layer.register_forward_hook(lambda m, args, kwargs, out: told.append(kwargs), with_kwargs=True)
    before = {name: dict(value) for name, value in vars(layer).items() if "hooks" in name and isinstance(value, dict)}
    with pytest.raises(NetworkError, match="hooks"), guarded(net, "a method"):
        handle.remove()
    assert {name: dict(value) for name, value in vars(layer).items() if name in before} == before
    net(pictures(1))
    assert told == [{}]  # without the companion of hooks that take keyword arguments this call fails
