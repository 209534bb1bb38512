"""In a folder of classes, every study that pairs photos pairs photos of different classes.

Photos of one class are the same picture but for a little noise, those of two classes have nothing in common, and the
method under test returns the picture itself: a similarity near 1 shows a pair of one class.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from suite.core.classes import ClassNames
from suite.studies.scores import scoring

CLASSES, EACH, SIDE = 10, 4, 32


def pattern(label: int) -> np.ndarray:
    """(32, 32, 3) uint8, independent of every other class's."""
    coarse = np.random.default_rng(label).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)


def picture_itself(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.mean(1, keepdim=True)


class Recogniser(nn.Module):
    """Scores of the ten patterns, so that mosaics and composites have photos that are seen with confidence."""

    def __init__(self) -> None:
        super().__init__()
        known = torch.stack([torch.from_numpy(pattern(k)).permute(2, 0, 1).float() / 255 for k in range(CLASSES)])
        weights = known - known.mean((1, 2, 3), keepdim=True)
        self.head = nn.Conv2d(3, CLASSES, SIDE)
        self.head.weight.data = weights / weights.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        self.head.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.head(x)).amax((2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    for label in range(CLASSES):
        place = folder / "photos" / f"{label}"
        place.mkdir(parents=True)
        for number in range(EACH):
            noise = np.random.default_rng([label, number]).integers(-3, 4, (SIDE, SIDE, 3))
            Image.fromarray((pattern(label) + noise).clip(0, 255).astype(np.uint8)).save(place / f"{number:02}.png")
    return folder


def run(folder: Path, run_dir: Path, **studies: object) -> pd.DataFrame:
    network = {"factory": "test_strangers:Recogniser", "input_size": SIDE}
    tree = {
        "threads": 1,
        "models": [network | {"label": "one"}, network | {"label": "two"}],
        "data": {"source": str(folder / "photos"), "batch_size": 10},
        "methods": ["saliency", {"name": "test_strangers:picture_itself", "label": "picture"}],
        "studies": studies,
    }
    path = folder / f"{run_dir.name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    return tiny.rows(path, run_dir)


def label_of(image: Tensor) -> int:
    """The class of a photo (3, 32, 32)."""
    known = [torch.from_numpy(pattern(k)).permute(2, 0, 1) / 255 for k in range(CLASSES)]
    distances = [float((image - one).abs().mean()) for one in known]
    assert min(distances) < 0.02
    return int(np.argmin(distances))


def test_maps_compared_between_photos_are_of_different_classes(folder: Path, tmp_path: Path) -> None:
    sanity = {"draws": 3, "noise_factors": [1], "cells": [4], "orders": ["cascade_top"], "stages": "verdict"}
    rows = run(folder, tmp_path / "maps", comparison={}, between_networks={}, sanity=sanity)
    rows = rows[(rows["method"] == "picture") & (rows["status"] == "ok")]
    for study, column, alike, apart in [
        ("comparison", "pairing", None, "unrelated_photos"),
        ("between_networks", "pairing", "same_photo", "unrelated_photos"),
        ("sanity", "kind", "self", "null"),
        ("sanity", "kind", "self", "other"),
    ]:
        some = rows[(rows["study"] == study) & rows["metric"].isin(["spearman", "spearman_abs"])]
        some = some[(some["other_method"] == "picture") | (study != "comparison")]
        pairs = some.loc[some[column] == apart, "value"]
        assert len(pairs) >= CLASSES * EACH
        assert pairs.max() < 0.7, f"{study}: photos of one class were compared"
        if alike is not None:
            assert some.loc[some[column] == alike, "value"].min() > 0.9


def test_mosaics_and_composites_hold_different_classes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs: list[list[int]] = []
    mosaic, composite = scoring.mosaic, scoring.composite

    def mosaics(images: Tensor, side: int) -> Tensor:
        pairs.append([label_of(image) for image in images])
        return mosaic(images, side)

    def composites(first: Tensor, second: Tensor, *more: object) -> object:
        pairs.append([label_of(first), label_of(second)])
        return composite(first, second, *more)

    monkeypatch.setattr(scoring, "mosaic", mosaics)
    monkeypatch.setattr(scoring, "composite", composites)
    run(folder, tmp_path / "scores", scores={"metrics": ["grid", "composites"], "grids": [2]})
    assert sum(len(pair) == 2 for pair in pairs) == 2 * CLASSES * EACH
    assert any(len(pair) == 4 for pair in pairs)
    assert all(len(set(pair)) == len(pair) for pair in pairs)


def test_classes_can_be_told_apart() -> None:
    assert ClassNames.indices(CLASSES).names[3] == "3"
    scores = Recogniser()(torch.stack([torch.from_numpy(pattern(k)).permute(2, 0, 1) / 255 for k in range(CLASSES)]))
    assert scores.argmax(1).tolist() == list(range(CLASSES))
    assert scores.softmax(1).amax(1).min() > 0.5
