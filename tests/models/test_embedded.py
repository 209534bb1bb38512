"""Weights inside packages: read exactly, checked by digest, and never executed."""

import os
import pickle

import numpy as np
import pytest
import torch
from raises import one_line

from suite.models import embedded
from suite.models.load import load_model


def test_the_fold_into_the_first_convolution_is_exact():
    """The original network on BGR pixels of 0..255 less the means, in float64, against ours on normalised RGB."""
    net = load_model("squeezenet1_1").double()
    path = embedded.package_file(*embedded._SQUEEZENET)
    weight, bias = embedded.read_arrays(path)["conv1"]
    pixels = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bgr = 255 * pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68]).double().view(1, 3, 1, 1)
    kernel = torch.from_numpy(np.asarray(weight).transpose(3, 2, 0, 1).copy()).double()
    theirs = torch.conv2d(bgr, kernel, torch.from_numpy(np.array(bias)).double().reshape(-1), stride=2)
    ours = net.body.features[0]((pixels - net.mean) / net.std)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-3)


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_swapped_weights_file_is_refused_by_its_digest_and_runs_nothing(tmp_path, monkeypatch):
    flag, swapped = tmp_path / "ran", tmp_path / "weights.pkl"
    swapped.write_bytes(pickle.dumps(Payload(f"touch {flag}")))
    monkeypatch.setattr(embedded.importlib.metadata, "distribution", lambda name: Located(swapped))
    one_line(lambda: load_model("squeezenet1_1"), "SHA-256 is .* expected f286bbf4.*reinstall")
    assert not flag.exists()


class Located:
    def __init__(self, path) -> None:
        self.path = path

    def locate_file(self, _path):
        return self.path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_reader_runs_nothing_even_without_the_digest(tmp_path, protocol):
    flag, swapped = tmp_path / "ran", tmp_path / "weights.pkl"
    swapped.write_bytes(pickle.dumps({"conv1": Payload(f"touch {flag}")}, protocol))
    one_line(lambda: embedded.read_arrays(swapped), "asks for .*system; only numpy arrays")
    assert not flag.exists()
    pickle.loads(swapped.read_bytes())
    assert flag.exists()


def test_the_reader_reads_arrays_and_says_what_is_no_pickle(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": [np.arange(6.0).reshape(2, 3), np.zeros(2, np.float32)]}))
    assert np.array_equal(embedded.read_arrays(path)["a"][0], np.arange(6.0).reshape(2, 3))
    whole = path.read_bytes()
    for broken in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        one_line(lambda: embedded.read_arrays(path), "not a pickle of arrays")


def test_package_that_is_not_installed():
    one_line(lambda: embedded.package_file("no-such-dist", "a", ""), "not installed.*pip install no-such-dist")
    one_line(lambda: embedded.package_file("numpy", "numpy/absent.bin", ""), "not found; reinstall")


def test_efficientnet_lite0_equals_the_original_to_the_bit():
    pytest.importorskip("timm", reason="the extra `networks` is not installed")
    original = pytest.importorskip("efficientnet_lite_pytorch", reason="the original network's code is not installed")
    net = load_model("efficientnet_lite0")
    path = embedded.package_file(*embedded._EFFICIENTNET)
    theirs = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(net(x), theirs((x - 127 / 255) / (128 / 255)))
