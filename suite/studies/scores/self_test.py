"""The self-test of the metrics: pictures of a linear network whose true map is known, and maps planted on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from suite.attribution.base import Attribution
from suite.attribution.baselines import baseline
from suite.attribution.controls import Control, Noise
from suite.core.classes import ClassNames
from suite.core.draws import ImageDraws
from suite.core.network import Card, Network
from suite.core.pixels import gaussian_blur
from suite.data.boxes import Places
from suite.data.sources import ImageFile
from suite.metrics.localisation import box_of
from suite.models.embedded import IMAGENET_MEAN
from suite.results.columns import Block
from suite.studies.base import Rows, Work, value_row
from suite.studies.scores.config import ScoresConfig
from suite.studies.scores.scoring import Scoring


@dataclass(frozen=True)
class _Planted(Control):
    """The exact contributions of a linear network's pixels, disturbed by noise of so much of their maximum."""

    disturbed: float = 0.0

    def compute(self, model: nn.Module, images: Tensor, targets: Tensor, draws: ImageDraws) -> Tensor:
        assert isinstance(model, Network)
        weights = next(model.body.parameters())[targets]  # (B, 3, 1, 1)
        truth = (weights * (images - baseline("mean", images))).sum(1, keepdim=True)
        most = truth.abs().amax((1, 2, 3), keepdim=True)
        smooth = gaussian_blur(draws.normal(1)[:, 0, :1], 2.0)  # what is white cancels inside a superpixel
        return truth + self.disturbed * most * smooth / smooth.std((1, 2, 3), keepdim=True)


PLANTED: Mapping[str, Attribution] = {
    "truth": _Planted(), "noise": Noise(), "weak": _Planted(disturbed=0.001), "strong": _Planted(disturbed=3.0),
}  # fmt: skip


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def self_test(work: Work, settings: ScoresConfig, methods: Mapping[str, Attribution] = PLANTED) -> Rows:
    """The same metrics on nine pictures of a linear network whose true map is known; one row a metric and map.

    The network sees one colour a class; a picture holds a disc of its class's colour on faint noise. The report asks
    that the truth beats noise, that noise of a thousandth of the map's maximum hardly matters and of all of it does
    (the two failure modes of Hedström et al., The Meta-Evaluation Problem in Explainable AI, 2023).
    """
    number, side = 9, 32
    steps = torch.arange(number).double()
    height, angle = 1 - (2 * steps + 1) / number, steps * np.pi * (3 - 5**0.5)
    around = (1 - height**2).sqrt()
    colours = torch.stack([around * angle.cos(), around * angle.sin(), height], 1).float()  # spread over the sphere
    convolution = nn.Conv2d(3, number, 1, bias=False)
    convolution.weight.data = 480 * colours.view(number, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(-1, 1, side)
    centres = 0.1 * (2 * torch.rand(number, 2, generator=generator) - 1)
    sizes = zip(centres.tolist(), np.linspace(0.5, 0.9, number), strict=True)
    discs = torch.stack([(grid.view(-1, 1) - y) ** 2 + (grid - x) ** 2 < radius**2 for (y, x), radius in sizes])
    faint = 0.01 * torch.randn(number, 3, side, side, generator=generator)
    images = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) + faint + 0.3 * discs.unsqueeze(1) * colours[:, :, None, None]
    card = Card("self-test", "planted", "", (side, side), None, ClassNames.indices(number))
    network = Network(nn.Sequential(convolution, _Mean()), IMAGENET_MEAN, (1.0, 1.0, 1.0), card).eval()
    files, photos = [ImageFile(f"planted {i}", Path(), i, "") for i in range(number)], work.images
    planted = Work(network.to(photos), methods, images.to(photos), files, range(number), [""] * number, (), work.config)
    boxes: Places = [[box] if (box := box_of(disc)) else [] for disc in discs.to(photos.device)]
    metrics = tuple(m for m in settings.metrics if m != "axioms")
    chosen = settings.model_copy(update={"metrics": metrics, "insertion": ("mean",)})  # a blur keeps the colours
    results: dict[tuple[str, str, str, str], list[float]] = {}
    for block in Scoring(planted, methods, chosen, boxes).all_rows():
        assert isinstance(block, Block)
        names = ("metric", "baseline", "variant", "method")
        metric, baseline, variant, method = (block.fields.get(name, "") for name in names)
        if not metric.endswith("_curve"):
            results.setdefault((metric, baseline, variant, method), []).extend(block.values.tolist())
    rows: Rows = []
    for (metric, baseline, variant, label), values in results.items():
        defined = [v for v in values if not np.isnan(v)]
        columns = work.columns("scores", label) | {"role": "self-test", "control": True}
        columns |= {"metric": metric, "baseline": baseline, "variant": variant}
        undefined = "undefined on all pictures of the self-test"
        rows.append(value_row(float(np.mean(defined)) if defined else np.nan, undefined, **columns))
    return rows
