"""Style transfer: losses by hand, the assignments' loop, in-place ReLUs, NaN, Ctrl-C, pictures by name."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import nn

from suite.config import NetworkConfig
from suite.data.pictures import find_picture, load_picture, packaged
from suite.errors import ConfigError, ImageError, NetworkError
from suite.models.load import load_model, wrap
from suite.report import build
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
)  # fmt: skip


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


def test_pictures_by_name_and_by_path(tmp_path) -> None:
    assert {"astronaut", "coffee", "rocket", "chelsea"} <= packaged().keys()
    for path in packaged().values():
        image, _ = load_picture(path, 32)
        assert min(image.shape[2:]) == 32
        assert image.shape[:2] == (1, 3)
    with pytest.raises(ImageError, match="did you mean 'astronaut'"):
        find_picture("astronot")
    Image.fromarray(np.zeros((10, 100, 3), np.uint8)).save(tmp_path / "thin.png")
    with pytest.raises(ImageError, match="crop it first"):
        load_picture(tmp_path / "thin.png", 32)


@pytest.mark.slow
def test_command_writes_picture_strip_and_numbers(tmp_path, monkeypatch, capsys) -> None:
    words = ["stylize", "rocket", "coffee", "--size", 48, "--set", "steps=3", "--out", tmp_path, "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)
    with Image.open(numbers["picture"]) as picture:
        assert picture.size == (71, 48)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rocket-coffee-strip.png", "rocket-coffee.json", "rocket-coffee.png",
    ]  # fmt: skip
    assert json.loads((tmp_path / "rocket-coffee.json").read_text()) == numbers
    assert [point["step"] for point in numbers["curve"]] == [0, 1, 2, 3] * 2
    assert tiny.main(monkeypatch, "stylize", "rocket", "cofee", "--out", tmp_path) == 2
    assert "did you mean 'coffee'" in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(tmp_path, monkeypatch, capsys) -> None:
    from suite.synthesis import style_transfer

    calls = []

    def stop(image):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return total_variation(image)

    monkeypatch.setattr(style_transfer, "total_variation", stop)
    words = ["stylize", "rocket", "coffee", "--size", 48, "--out", tmp_path, "--json"]
    assert tiny.main(monkeypatch, *words) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == 1
    assert "interrupted" in said.err
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.slow
def test_study_judges_elsewhere_and_says_what_stands_in(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    pairs = [
        {"content": "tubingen", "style": "starry_night", "parameters": {"steps": 4, "scales": [0.5, 1]}},
        {"content": "mine", "style": "coffee", "parameters": {"steps": 4, "scales": [1]}},
    ]
    source = tiny.photos(tmp_path)
    Image.open(source / "a" / "00.png").save(tmp_path / "mine.png")
    study = {"style_transfer": {"pairs": pairs, "paintings": str(tmp_path), "size": 32}}
    models = [tiny.network(tmp_path, label="one"), tiny.network(tmp_path, label="two", parameters={"act": "silu"})]
    path = tiny.config(
        tmp_path, models=models, studies=study, methods=["saliency", "guided_backprop", "control_constant"]
    )
    rows = tiny.rows(path, tmp_path / "run")
    rows = rows[rows["study"] == "style_transfer"]
    assert not (rows["status"] == "failed").any(), rows.loc[rows["status"] == "failed", "message"].tolist()
    assert rows.loc[rows["metric"] == "content", ["model", "image", "other"]].drop_duplicates().shape[0] == 4
    stand_in = rows[(rows["image"] == "tubingen") & (rows["status"] == "ok")]
    assert stand_in["message"].str.startswith("astronaut stands in for tubingen; hubble_deep_field stands in").all()
    assert (rows.loc[(rows["image"] == "mine") & (rows["status"] == "ok"), "message"] == "").all()
    judges = rows[rows["metric"] == "style_distance"].groupby("model")["stage"].agg(set)
    assert judges.to_dict() == {"one": {"one", "two"}, "two": {"one", "two"}}
    curve = rows[(rows["metric"] == "tv") & (rows["model"] == "one") & (rows["image"] == "tubingen")]
    assert sorted(zip(curve["draw"], curve["x"], strict=True)) == [(size, step) for size in (0, 1) for step in range(5)]
    maps = rows[rows["metric"] == "map_spearman"]
    assert set(maps.loc[maps["method"] == "saliency", "stage"]) == {"stylised", "noise", "unrelated"}
    assert set(maps.loc[maps["method"] == "control_constant", "status"]) == {"not_applicable"}
    page = build(tmp_path / "run").read_text()
    assert "astronaut stands in for tubingen" in page
    assert len(list((tmp_path / "run" / "images").glob("*/style-*.png"))) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pairs": [{"content": "astronot", "style": "coffee"}]}, "did you mean 'astronaut'"),
        ({"pairs": [{"content": "rocket", "style": "coffee", "preset": "scream"}]}, "did you mean 'the_scream'"),
        ({"pairs": [{"content": "rocket", "style": "coffee"}] * 2}, "once"),
        ({"paintings": "nowhere"}, "no such folder"),
    ],
    ids=["name", "preset", "twice", "folder"],
)
def test_bad_configurations_are_one_line(tmp_path, monkeypatch, capsys, change, says) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    assert tiny.main(monkeypatch, "check", tiny.config(tmp_path, studies={"style_transfer": change})) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
