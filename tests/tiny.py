"""A network and photos small enough that a whole run takes seconds, and the command line as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from suite.registry import STUDIES

ROOT = Path(__file__).parents[1]
K = 10
SIDE = 32


class Net(nn.Module):
    """(B, 3, 32, 32) -> (B, 10); `act` is the activation's name."""

    def __init__(self, act: str = "relu") -> None:
        super().__init__()
        kinds = {"relu": nn.ReLU, "silu": nn.SiLU, "functional": nn.Identity}
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.act1 = kinds[act]()
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.act2 = kinds[act]()
        self.head = nn.Linear(12, K)
        self.functional = act == "functional"

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.first(x))
        x = torch.relu(x) if self.functional else x
        x = self.act2(self.second(x))
        x = torch.relu(x) if self.functional else x
        return self.head(x.mean((2, 3)))


def net(act: str = "relu") -> nn.Module:
    return Net(act)


def broken_factory() -> nn.Module:
    raise RuntimeError("no such disk\nsecond line")


class Brightness(nn.Module):
    """Nothing to learn: mean and spread of each colour, and four sums of them."""

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x.mean((2, 3)), x.square().mean((2, 3))], 1)
        return torch.cat([both, both[:, :4] - both[:, 2:]], 1)


class NanScores(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class NanWhereBright(Net):
    """NaN scores for the brighter half of a batch's pictures."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3))
        return super().forward(x).where((bright <= bright.median())[:, None], float("nan"))


def raising(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    raise RuntimeError("boom\nsecond line")


def wrong_shape(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.sum()


def holding_nan(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    found = images.clone()
    found[-1, 0, 0, 0] = float("nan")
    return found


def mutating(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        next(model.parameters()).zero_()
    model.train()
    model.register_forward_hook(lambda *_: None)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    images.zero_()
    targets.zero_()
    return torch.ones_like(images)


def luminance(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.mean(1, keepdim=True)


def hungry(model: nn.Module, images: Tensor, targets: Tensor, most: int = 1) -> Tensor:
    if len(images) > most:
        raise torch.OutOfMemoryError("CUDA out of memory\nsecond line")
    return luminance(model, images, targets)


def slow(model: nn.Module, images: Tensor, targets: Tensor, seconds: float = 0.3) -> Tensor:
    import time

    time.sleep(seconds)
    return images.flip(3)


def photos(folder: Path, count: int = 6) -> Path:
    """Class folders a, b, c with smooth coloured pictures of 40x36 pixels, count in all; and classes.txt beside."""
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        place = folder / "photos" / "abc"[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((40, 36), Image.Resampling.BICUBIC).save(place / f"{index:02d}.png")
    (folder / "classes.txt").write_text("\n".join("abcdefghij") + "\n")
    return folder / "photos"


def config(folder: Path, count: int = 6, **changes: object) -> Path:
    """A configuration over the tiny network and photos, threads fixed; keys given replace those of the default."""
    photos(folder, count)
    tree: dict[str, object] = {
        "threads": 1,
        "model": network(folder),
        "data": {"source": str(folder / "photos"), "batch_size": 3},
        "methods": ["saliency", "guided_backprop", "grad_cam"],
        "studies": {"agreement": {}, "comparison": {}, "sharpness": {}},
    }
    path = folder / "tiny.yaml"
    tree |= changes
    if "models" in changes:
        del tree["model"]
    path.write_text(yaml.safe_dump(tree))
    return path


def everything(folder: Path) -> Path:
    """Every study there is, on two networks trained here and four digits in two chunks: some seconds of work."""
    recipe = {"architecture": "vgg_style", "count": 50, "epochs": 1, "threads": 1}
    models = [
        {"label": f"net{seed}", "factory": "suite.training.fit:net", "parameters": recipe | {"seed": seed}}
        for seed in range(2)
    ]
    painted = {"steps": 2, "scales": [1]}
    tree = {
        "threads": 1,
        "trainer": {"accelerator": "cpu"},
        "models": [model | {"input_size": 28} for model in models],
        "data": {"source": "digits", "limit": 4, "batch_size": 2},
        "methods": ["saliency", "grad_cam", {"name": "smoothgrad", "samples": 2}],
        "studies": {
            "coursework": {}, "agreement": {}, "comparison": {}, "sharpness": {}, "between_networks": {},
            "differentiate": {"radii": [0.01], "grid": 2},
            "sanity": {"draws": 2, "noise_factors": [1], "cells": [4], "orders": ["cascade_top"], "stages": "verdict"},
            "labels": {"seeds": 1, "count": 50, "noise_factors": [1], "cells": [4]},
            "shortcut": {"seeds": 1},
            "scores": {"steps": 3, "samples": 5, "perturbations": 2, "superpixels": 10, "removed": [0.5], "grids": [2]},
            "attacks": {"epsilons": [0, 0.1], "epsilons_l2": [0, 1], "minimal": False, "limits": False, "audit": False},
            "style_transfer": {"size": 32, "pairs": [{"content": "rocket", "style": "coffee", "parameters": painted}]},
            "visualization": {"jobs": [{"name": "one", "pictures": ["3"], "recipe": {"steps": 3}}]},
            "speed": {"rounds": 2, "one_by_one": False, "memory": False},
            "digits": {
                "models": [models[0] | {"input_size": 28, "label": "inner"}], "methods": ["saliency"],
                "data": {"source": "digits", "limit": 2}, "studies": {"sharpness": {}},
            },
        },
    }  # fmt: skip
    assert set(tree["studies"]) == set(STUDIES) - {"predictions"}  # a new study belongs here too
    path = folder / "everything.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def network(folder: Path, **changes: object) -> dict[str, object]:
    return {"factory": "tiny:net", "input_size": SIDE, "classes": str(folder / "classes.txt")} | changes


def environment() -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE")}
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [keep.get("PYTHONPATH")])])
    return keep | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "suite", *map(str, words)]


def suite(*words: object, cwd: Path, timeout: float = 120, **more: str) -> "subprocess.CompletedProcess[str]":
    """The command line in a process of its own, `more` being variables of its environment."""
    env = environment() | more
    return subprocess.run(
        command(*words), cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


def main(monkeypatch: object, *words: object) -> int:
    """The command line inside this process; its exit code."""
    from suite.cli import main as entry

    monkeypatch.setattr(sys, "argv", ["suite", *map(str, words)])  # type: ignore[attr-defined]
    try:
        entry()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    raise AssertionError("main() returned without an exit code")


def rows(path: Path, run_dir: Path, *overrides: str) -> "pandas.DataFrame":  # noqa: F821
    """Runs a configuration in this process, without the report, and reads its rows."""
    from suite.config import load
    from suite.results import read
    from suite.run.runner import execute, prepare

    manifest = execute(prepare(load(path, overrides)), run_dir)
    assert manifest["status"] == "done"
    return read(run_dir)


def timeless(frame: "pandas.DataFrame") -> "pandas.DataFrame":  # noqa: F821
    """The rows that hold no clock or memory."""
    return frame[frame["study"] != "speed"].reset_index(drop=True)


_OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def write_boxes(folder, *objects, size=(400, 200), name="a.xml"):
    inside = "".join(_OBJECT.format(*one) for one in objects)
    text = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{inside}</annotation>"
    (folder / name).write_text(text)
