"""Style transfer: losses by hand, the assignments' loop, in-place ReLUs, NaN, Ctrl-C, pictures by name."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from suite.config import NetworkConfig
from suite.errors import ConfigError, NetworkError
from suite.models.load import load_model, wrap
from suite.synthesis.style_transfer import (
    PRESETS,
    Losses,
    Painting,
    StyleTransfer,
    content_loss,
    default_layers,
    features,
    gram,
    judged,
    make_settings,
    style_loss,
    total_variation,
    transfer,
)


class InPlace(nn.Module):
    """A convolution whose in-place ReLU overwrites what it gave, twice."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(inplace)

    def forward(self, x):
        return self.relu2(self.conv2(self.relu1(self.conv1(x)))).mean((2, 3))


def network(inplace: bool = True):
    return wrap(InPlace(inplace), NetworkConfig(name="in_place", input_size=16)).requires_grad_(False)


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    content, style = torch.rand(1, 3, 12, 16, generator=generator), torch.rand(1, 3, 10, 14, generator=generator)
    return content.to(dtype), style.to(dtype)


SMALL = StyleTransfer(
    content_layer="conv2", style_layers=("conv1", "relu1", "conv2"), tv_weight=0.01, rate=0.1, steps=30, scales=(1.0,)
)


def test_losses_by_hand() -> None:
    f = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels of 1x2: divided by 2 * 1 * 2
    assert gram(f).tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]
    assert content_loss(f, torch.zeros_like(f)).tolist() == [30.0]
    assert style_loss(f, torch.zeros(1, 2, 2)).tolist() == [(25 + 2 * 121 + 625) / 16]
    image = torch.tensor([[[[0.0, 1.0], [3.0, 7.0]]]])
    assert total_variation(image).tolist() == [1 + 16 + 9 + 36]
    both = torch.cat([f, 2 * f])  # each image its own number
    assert content_loss(both, 0 * both).tolist() == [30.0, 120.0]
    assert torch.equal(gram(both)[1], 4 * gram(f)[0])


@pytest.mark.parametrize("form", ["normalised", "raw"])
def test_every_term_has_its_gradient(form) -> None:
    model = network().double()
    content, style = pair(torch.float64)
    losses = Losses(model, content, style, replace(SMALL, form=form).on(model, content))
    for term in losses(content):
        x = pair(torch.float64)[0].flip(3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, term=term: losses(x)[term], x, fast_mode=True)


def test_features_are_what_layers_gave_whatever_overwrites_them() -> None:
    layers = ["conv1", "relu1", "conv2"]
    x = pair()[0]
    plain, written = (features(network(inplace), x, layers) for inplace in (False, True))
    assert all(torch.equal(plain[name], written[name]) for name in layers)
    assert bool((written["conv1"] < 0).any())
    with pytest.raises(NetworkError, match="did you mean 'conv1'"):
        features(network(), x, ["conv11"])


def test_forward_ends_at_the_last_layer_asked_for() -> None:
    model = network()
    model.body.relu2.register_forward_hook(lambda *_: pytest.fail("went on"))
    features(model, pair()[0], ["conv2", "conv1"])
    assert not model.body.conv1._forward_hooks


def test_raw_form_is_the_assignments_loop() -> None:
    """Literally, in normalised pixels, on SqueezeNet with random weights: both optimisers, and the clamp between."""
    model = load_model("squeezenet1_1", weights="random").requires_grad_(False)
    settings = replace(PRESETS["starry_night"]["raw"], steps=10)
    content, style = (torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    *_, last = transfer(model, content, style, settings)

    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def extract(x):
        feats = []
        for module in model.body.features:
            x = nn.functional.relu(x) if isinstance(module, nn.ReLU) else module(x)
            feats.append(x)
        return feats

    def gram_matrix(f):
        n, c, h, w = f.shape
        flat = f.view(n, c, -1)
        return torch.bmm(flat, flat.transpose(1, 2)) / (h * w * c)

    layers, weights = [1, 4, 6, 7], [300000, 1000, 15, 3]
    img = (content - mean) / std
    target = extract(img)[3].clone()
    feats = extract((style - mean) / std)
    grams = [gram_matrix(feats[i]) for i in layers]
    img = img.clone().requires_grad_()
    optimizer = torch.optim.Adam([img], lr=3.0)
    for t in range(10):
        if t < 9.5:
            img.data.clamp_(-1.5, 1.5)
        optimizer.zero_grad()
        feats = extract(img)
        loss = 6e-2 * torch.sum((feats[3] - target) ** 2)
        for i, w, g in zip(layers, weights, grams, strict=True):
            loss = loss + w * torch.sum((gram_matrix(feats[i]) - g) ** 2)
        down, across = img[:, :, 1:] - img[:, :, :-1], img[:, :, :, 1:] - img[:, :, :, :-1]
        loss = loss + 2e-2 * (torch.sum(down**2) + torch.sum(across**2))
        loss.backward()
        if t == 9:
            optimizer = torch.optim.Adam([img], lr=0.1)
        optimizer.step()
    expected = (img.detach() * std + mean).clamp(0, 1)
    assert torch.allclose(last.image, expected, atol=2e-3)
    assert (last.image - expected).abs().mean() < 1e-5


def test_normalised_losses_do_not_know_the_networks_scale() -> None:
    """Features 35 times as large change nothing: one set of weights serves every network."""
    plain, scaled = network(), network()
    for weight in scaled.body.conv1.parameters():
        weight.mul_(35)
    content, style = pair()
    for form, ratio in (("normalised", 1), ("raw", 35**2)):
        settings = StyleTransfer(form=form, content_layer="conv1", style_layers=("relu1",))
        with torch.no_grad():
            found = [Losses(m, content, style, settings.on(m, content))(content.flip(3)) for m in (plain, scaled)]
        one, other = ({term: float(value) for term, value in terms.items()} for terms in found)
        assert other["content"] == pytest.approx(ratio * one["content"], rel=1e-4)
        assert other["style relu1"] == pytest.approx(ratio**2 * one["style relu1"], rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "lbfgs", "rate": 1.0},
        {"scales": (0.5, 1.0)},
        {"init": "noise"},
        {"keep_colours": True, "optimizer": "lbfgs", "rate": 1.0},
    ],
    ids=str,
)
def test_it_comes_nearer_and_stays_a_picture(change) -> None:
    content, style = pair()
    model = network()
    settings = replace(SMALL, **change).on(model, content)
    found = Painting(settings).follow(transfer(model, content, style, settings))
    first, last = (sum(found.curve[i][2].values()) for i in (0, -1))
    assert last < 0.8 * first
    assert len(found.curve) == settings.pictures
    assert found.last.image.shape == content.shape
    assert 0 <= float(found.last.image.min()) <= float(found.last.image.max()) <= 1
    again = Painting(settings).follow(transfer(model, content, style, settings))
    assert torch.equal(again.last.image, found.last.image)
    if change.get("keep_colours"):
        chroma = found.last.image - content
        inside = ((found.last.image > 0) & (found.last.image < 1)).all(1)
        assert bool((chroma.amax(1) - chroma.amin(1))[inside].max() < 1e-5)
    if not change:
        apart = judged(model, content, style, found.last.image)
        assert 0 < apart["style"] < 1
        assert judged(model, content, style, content) == {"content": 0.0, "style": 1.0}


def test_nan_stops_and_the_last_good_picture_is_kept() -> None:
    model, count = network(), [0]

    def spoil(_module, _inputs, output):
        count[0] += 1
        return output * (float("nan") if count[0] > 8 else 1)

    model.body.conv1.register_forward_hook(spoil)
    content, style = pair()
    found = Painting(SMALL).follow(transfer(model, content, style, SMALL))
    assert "not finite; the last good picture is kept" in found.stopped
    assert len(found.curve) == 6  # two forwards read the targets
    assert bool(torch.isfinite(found.last.image).all())
    assert len(found.strip()) > 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"steps": 0}, "at least 1"),
        ({"style_layers": ["a", "b"], "style_weights": [1, 2, 3]}, "3 style_weights for 2"),
    ],
)
def test_bad_settings_are_one_line(changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        make_settings("starry_night", changes)
    with pytest.raises(ConfigError, match="did you mean 'starry_night'"):
        make_settings("starry_nigth")


def test_layers_of_any_network() -> None:
    from suite._torchvision import torchvision

    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"])
    assert default_layers(vgg, torch.zeros(1, 3, 64, 64)) == ("9", ("1", "4", "9", "14"))
