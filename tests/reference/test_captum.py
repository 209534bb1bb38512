"""Every method beside Captum's: to the bit where that is promised, and by the definition where Captum parts from it."""

import networks as nets
import pytest
import torch
from captum import attr
from networks import pictures, seeded
from torch import nn
from untouched import around

from suite.attribution.base import SampledPass
from suite.attribution.baselines import check_baseline
from suite.attribution.deconvolution import Deconvolution
from suite.attribution.fused import attribute, make_method
from suite.attribution.gradient import Gradient
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.core import memory
from suite.core.classes import ClassNames
from suite.core.rectifiers import rectifier_report
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.metrics.similarity import relative_l2
from suite.models.load import load_model
from suite.reference.captum import COUNTERPARTS, LibraryDraws, counterpart

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]
METHODS = {
    **{
        name: make_method(name) for name in [*FOUR, "gradient", "input_x_gradient", "deconvolution", "layer_activation"]
    },
    "grad_cam signed": make_method("grad_cam", {"relu": False}),
    "guided_grad_cam bilinear": make_method("guided_grad_cam", {"upsample": "bilinear"}),
    "integrated_gradients": make_method("integrated_gradients", {"steps": 5}),
    "integrated_gradients blurred": make_method("integrated_gradients", {"steps": 3, "baseline": "blurred"}),
    "smoothgrad": make_method("smoothgrad", {"samples": 4}),
    "vargrad": make_method("vargrad", {"samples": 4}),
    "gradient_shap": make_method("gradient_shap", {"samples": 4, "sigma": 0.05}),
    "occlusion": make_method("occlusion", {"window": 80, "stride": 60}),
    "layer_conductance": make_method("layer_conductance", {"steps": 4}),
    "neuron_gradient": make_method("neuron_gradient", {"channel": 3}),
    "neuron_gradient unit": make_method("neuron_gradient", {"channel": 4, "position": (6, 1)}),
}


def pair(method, model, images, targets):
    """Ours and Captum's, on the library's own stream where there is randomness."""
    known = COUNTERPARTS[type(method)]
    if known.random:
        assert isinstance(method, SampledPass)
        draws = LibraryDraws(images, whole=method.samples if known.whole else None)
        own = method.compute(model, images, targets, draws)
    else:
        own = method(model, images, targets)
    return own, known(method, model, images, targets)


def agree(method, model, images, targets):
    own, theirs = pair(method, model, images, targets)
    known = COUNTERPARTS[type(method)]
    assert own.shape == theirs.shape
    assert own.dtype == theirs.dtype
    assert theirs.abs().sum() > 0
    if known.exact:
        assert torch.equal(own, theirs), float((own - theirs).abs().max())
    else:
        assert known.reason
        assert 0 < known.tolerance <= 1e-3
        assert float(relative_l2(own, theirs).max()) <= known.tolerance


@pytest.fixture(scope="module")
def photos():
    """Two photos of the embedded source and their labels."""
    files = list_images("embedded", classes=ClassNames.imagenet()).files[:2]
    return torch.stack([load_image(f.path, resize=256, crop=(224, 224))[0] for f in files]), torch.tensor(
        [f.label for f in files]
    )


@pytest.fixture(scope="module")
def squeezenet():
    return load_model("squeezenet1_1")


def test_every_counterpart_is_in_the_table():
    assert {type(m) for m in METHODS.values()} == set(COUNTERPARTS)
    assert {type(METHODS[name]) for name in FOUR} <= {kind for kind, known in COUNTERPARTS.items() if known.exact}
    assert counterpart(make_method("control_noise")) is None


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_real_squeezenet_on_real_photos(squeezenet, photos, method):
    agree(method, squeezenet, *photos)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize(
    "make", [nets.Conv, lambda: nets.Conv(nn.ReLU(inplace=True), norm=True)], ids=["relu", "in place"]
)
def test_toy_networks(make, method):
    agree(method, seeded(make), pictures(3, (90, 100)), torch.tensor([1, 4, 0]))


def test_four_fused_maps_equal_captums_to_the_bit(squeezenet, photos):
    images, targets = photos
    ours = attribute(squeezenet, images, targets, FOUR)
    layer = squeezenet.body.features[12]
    assert torch.equal(
        ours["saliency"], attr.Saliency(squeezenet).attribute(images.clone(), targets).amax(1, keepdim=True)
    )
    assert torch.equal(ours["guided_backprop"], attr.GuidedBackprop(squeezenet).attribute(images.clone(), targets))
    cam = attr.LayerGradCam(squeezenet, layer).attribute(images.clone(), targets, relu_attributions=True)
    assert torch.equal(ours["grad_cam"], cam)
    assert torch.equal(
        ours["guided_grad_cam"], attr.GuidedGradCam(squeezenet, layer).attribute(images.clone(), targets)
    )


def test_batch_against_one_photo_at_a_time_differs_by_rounding_only(squeezenet, photos):
    images, targets = photos
    together = attribute(squeezenet, images, targets, FOUR)
    for i in range(2):
        alone = attribute(squeezenet, images[i : i + 1], targets[i : i + 1], FOUR)
        for name in FOUR:
            # 1e-2: another batch size sums in another order, and what that flips at a rectifier is a whole path
            assert float(relative_l2(together[name][i : i + 1], alone[name]).max()) < 1e-2, name


def test_integrated_gradients_agree_to_the_bit_where_the_batch_must_be_split(monkeypatch):
    net, x = seeded(nets.Conv), pictures(5, (16, 16))
    budget = 2 * memory.bytes_per_image(net, x)
    count = memory.images_per_pass(net, x, budget)
    for module in ("suite.core.memory", "suite.reference.captum"):
        monkeypatch.setattr(f"{module}.images_per_pass", lambda *_: count)
    agree(IntegratedGradients(steps=6), net, x, torch.tensor([1, 4, 0, 2, 2]))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("name", ["resnet18", "vgg16"])  # the slower of the two to turn: each is made once
def test_torchvisions_networks_with_random_weights(name, method, photos):
    agree(method, _random(name), *photos)


_CACHE: dict[str, nn.Module] = {}


def _random(name):
    if name not in _CACHE:
        _CACHE.clear()
        _CACHE[name] = load_model(name, weights="random", seed=0)
    return _CACHE[name]


PARTS = {
    "skip branch": (nets.Skip, "skip branch"),
    "skip before in place": (nets.SkipBefore, "skip branch"),
    "functional": (nets.TwoLayer, "hooks 0 of 1"),
    "functional in place": (lambda: nets.TwoLayer(torch.relu_), "hooks 0 of 1"),
    "relu6": (lambda: nets.TwoLayer(nn.ReLU6()), "hooks 0 of 1"),
}


@pytest.mark.parametrize(("make", "reason"), PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("method", [GuidedBackprop(), Deconvolution()], ids=repr)
def test_where_captum_parts_the_report_says_why(make, reason, method):
    """That ours follow the definition in matrix form there is shown in attribution/test_known.py."""
    net, x, targets = seeded(make), pictures(), torch.tensor([0, 3, 4, 3])
    own, theirs = pair(method, net, x, targets)
    assert float(relative_l2(own, theirs).max()) > 1e-2
    assert reason in rectifier_report(net, x).why_captum_deviates()
    if "hooks 0" in reason:
        assert torch.equal(theirs, Gradient()(net, x, targets))  # the plain gradient, without a word


@pytest.mark.parametrize("make", [nets.Conv, nets.Twice, lambda: nets.Conv(nn.ReLU(inplace=True), norm=True)])
def test_where_the_report_gives_no_reason_captum_agrees(make):
    net, x, targets = seeded(make), pictures(), torch.tensor([0, 3, 4, 3])
    assert rectifier_report(net, x).why_captum_deviates() == ""
    own, theirs = pair(GuidedBackprop(), net, x, targets)
    assert torch.equal(own, theirs)


def test_baselines_of_both_are_the_same_ones():
    with pytest.raises(ValueError, match="did you mean"):
        check_baseline("whit")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_the_reference_leaves_randomness_and_network_alone(method):
    net, x = seeded(nets.Conv), pictures(3, (90, 100))
    before = around(net, x)
    COUNTERPARTS[type(method)](method, net, x, torch.tensor([1, 4, 0]))
    assert around(net, x) == before
