"""Networks by provider; weights that are truncated, damaged, of another network, or not to be had."""

from suite._torchvision import torchvision

import os
import socket

import networks as nets
import pytest
import safetensors.torch
import torch
from networks import seeded
from raises import one_line
from torch import nn

from suite.config import NetworkConfig
from suite.core.classes import ClassNames
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.errors import ConfigError, SuiteError
from suite.models.load import known_networks, load_model, weights_digest, wrap


def make_toy(norm: bool = False) -> nn.Module:
    return nets.Conv(norm=norm)


def make_number() -> int:
    return 3


TOY = {"factory": f"{__name__}:make_toy", "input_size": 8}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No socket, and an empty cache."""

    def refuse(*_args, **_kwargs):
        raise OSError("network is off in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def test_embedded_squeezenet_on_theembedded_photos():
    net = load_model("squeezenet1_1")
    files = list_images("embedded", classes=ClassNames.imagenet()).files
    images = torch.stack([load_image(f.path, resize=net.card.resize, crop=net.card.input_size)[0] for f in files])
    labels = torch.tensor([f.label for f in files])
    with torch.no_grad():
        top = net(images).topk(5).indices
    assert int((top[:, 0] == labels).sum()) == 14
    assert int((top == labels[:, None]).any(1).sum()) == 17
    assert net.card.layer == "features.12"
    assert net.card.input_size == (224, 224)
    assert not net.training


def test_efficientnet_lite0_knows_the_embedded_photos():
    pytest.importorskip("timm", reason="the extra `networks` is not installed")
    net = load_model("efficientnet_lite0")
    files = list_images("embedded", classes=ClassNames.imagenet()).files[:6]
    images = torch.stack([load_image(f.path, resize=net.card.resize, crop=net.card.input_size)[0] for f in files])
    with torch.no_grad():
        right = int((net(images).argmax(1) == torch.tensor([f.label for f in files])).sum())
    assert right >= 4


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_local_weights_roundtrip(tmp_path, suffix):
    source = seeded(make_toy, seed=5)
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": source.state_dict()} if suffix == ".pt" else source.state_dict(), path)
    net = load_model("toy", **TOY, weights=str(path))
    assert weights_digest(net.body) == weights_digest(source) == net.card.digest
    assert net.card.digest != load_model("toy", **TOY).card.digest
    digest = __import__("hashlib").sha256(path.read_bytes()).hexdigest()
    assert load_model("toy", **TOY, weights=str(path), sha256=digest).card.digest == net.card.digest
    one_line(
        lambda: load_model("toy", **TOY, weights=str(path), sha256="0" * 64), f"SHA-256 is {digest}, expected 0000"
    )
    path.write_bytes(path.read_bytes()[:-200])
    one_line(lambda: load_model("toy", **TOY, weights=str(path)), "not readable as .*state_dict")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds a Tensor, expected a state_dict"),
        ({"conv.weight": "text"}, "expected a state_dict"),
        ({1: torch.zeros(2)}, "expected a state_dict"),
        ({"fc.weight": torch.zeros(2)}, "does not fit 'toy'"),
        ({}, "does not fit 'toy'"),
    ],
)
def test_pth_that_is_no_state_dict_of_this_network(tmp_path, content, said):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    one_line(lambda: load_model("toy", **TOY, weights=str(path)), said)


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_pth_with_an_arbitrary_object_is_not_unpickled(tmp_path):
    flag, path = tmp_path / "ran", tmp_path / "w.pth"
    torch.save({"conv.weight": Payload(f"touch {flag}")}, path)
    one_line(lambda: load_model("toy", **TOY, weights=str(path)), "not readable as pth of tensors only")
    assert not flag.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights(tmp_path, value):
    state = seeded(make_toy).state_dict()
    state["last.weight"][2, 3] = value
    torch.save(state, tmp_path / "w.pth")
    one_line(lambda: load_model("toy", **TOY, weights=str(tmp_path / "w.pth")), "'last.weight' hold NaN or infinity")


def test_absent_weights_file():
    one_line(lambda: load_model("toy", **TOY, weights="absent/w.pth"), "absent/w.pth: not found")


def test_unknown_names():
    one_line(lambda: load_model("squeezenet1_2"), "did you mean .*squeezenet1_1")
    one_line(lambda: load_model("resnet1", provider="torchvision"), "not in torchvision.*resnet1")
    one_line(lambda: load_model("resnet18", provider="embedded"), "not embedded")
    one_line(
        lambda: load_model("squeezenet1_1", provider="embedded", weights="random"), "its own weights, not 'random'"
    )
    one_line(lambda: load_model("resnet18", weights="IMAGENET1K_V7"), "torchvision has IMAGENET1K_V1")
    one_line(lambda: load_model("resnet18", wieghts="random"), "did you mean 'weights'", ConfigError)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factory": "no_module_here:f"}, "no module named"),
        ({"factory": f"{__name__}:make_tpy"}, "did you mean 'make_toy'"),
        ({"factory": f"{__name__}:make_number"}, "returned a int, expected a torch.nn.Module"),
        ({"factory": f"{__name__}:make_toy", "parameters": {"nrom": True}}, "did you mean 'norm'"),
        ({"factory": f"{__name__}:make_toy", "parameters": {"norm": "perhaps"}}, "'norm'.*bool"),
        ({"factory": "tests.networks:Linear", "input_size": 16}, "fails on one 16x16 image.*input_size"),
        ({"factory": f"{__name__}:make_dict", "input_size": 8}, "returned a dict"),
    ],
)
def test_factories_that_will_not_do(options, said):
    one_line(lambda: load_model("mine", **options), said, SuiteError)


def make_dict() -> nn.Module:
    return nets.Returns(lambda s: {"scores": s})


def test_factory_normalisation_and_classes(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    net = load_model(
        "mine", **TOY, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), classes=str(names), parameters={"norm": True}
    )
    assert net.card.classes.names == ("a", "b", "c", "d", "e")
    x = torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    assert torch.equal(net(x), net.body((x - mean) / std))
    names.write_text("a\nb\n")
    one_line(lambda: load_model("mine", **TOY, classes=str(names)), "gives 5 scores.*names 2 classes")
    assert len(load_model("mine", **TOY).card.classes) == 5


def test_random_weights_come_from_their_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = load_model("squeezenet1_1", weights="random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert load_model("squeezenet1_1", weights="random", seed=3).card.digest == one.card.digest
    assert load_model("squeezenet1_1", weights="random", seed=4).card.digest != one.card.digest
    assert load_model("toy", **TOY, seed=1).card.digest != load_model("toy", **TOY, seed=2).card.digest


def test_weights_that_are_not_cached_and_no_network(no_network):
    said = one_line(lambda: load_model("resnet18"), "IMAGENET1K_V1 cannot be had.*resnet18-f37072fd.pth")
    assert "weights: random" in said
    assert "squeezenet1_1" in said


def test_a_half_written_cached_file_is_named(no_network):
    no_network.mkdir(parents=True)
    torch.save(seeded(nets.Linear).state_dict(), no_network / "resnet18-f37072fd.pth")
    one_line(lambda: load_model("resnet18"), "SHA-256 begins with .*not f37072fd")


def test_real_torchvision_weights_bring_what_they_imply(no_network, monkeypatch):
    """Inception's ImageNet weights want `transform_input`, which a network built without them does not have."""
    with torch.random.fork_rng(devices=[]):
        net = torchvision.models.googlenet(weights=None, init_weights=False)
    state = net.state_dict()
    monkeypatch.setattr(torchvision.models.GoogLeNet_Weights, "get_state_dict", lambda self, *a, **k: state)
    assert load_model("googlenet").body.transform_input


def test_known_networks():
    known = known_networks()
    assert known["embedded"] == ["squeezenet1_1", "efficientnet_lite0"]
    assert "resnet50" in known["torchvision"]


def test_config_is_taken_as_it_is():
    config = NetworkConfig(name="toy", label="mine", layer="act", **TOY)
    assert load_model(config).card.name == "mine"
    assert load_model(config).card.layer == "act"
    one_line(lambda: load_model("toy", **TOY, layer="atc"), "did you mean 'act'")


@pytest.mark.parametrize(
    ("end", "said"), [(nn.Softmax(1), "scores are probabilities"), (nn.LogSoftmax(1), "log-probabilities"), (None, "")]
)
def test_a_network_that_ends_in_a_softmax_is_told_so(end, said, caplog):
    body = nn.Sequential(seeded(nets.Conv), *([end] if end else []))
    wrap(body, NetworkConfig(name="mine", input_size=8))
    assert (said in caplog.text) if said else not caplog.text
