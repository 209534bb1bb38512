"""Maps prepared for many comparisons; the measures, and why a pair of maps has no similarity."""

import copy
from collections.abc import Sequence
from enum import StrEnum
from itertools import product
from math import isfinite
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.core.partners import NO_PARTNER, WHY_NONE
from suite.errors import ConfigError, SuiteError
from suite.metrics.similarity import hog_features, normalise, ranks, ssim, units

LEAST_SIDE = {"spearman": 3, "cosine": 3, "ssim": 11, "hog": 6}  # of a map; SSIM's window, HOG's three cells


class Measure(NamedTuple):
    """A similarity of |a| (abs) or a (signed), averaged over squares of `cell` pixels a side."""

    name: str
    sign: str
    cell: int

    @property
    def metric(self) -> str:
        """Its name in rows."""
        return f"{self.name}_{self.sign}"


class Flaw(StrEnum):
    """Why a map has no correlation."""

    NONE = ""
    NOT_FINITE = "holds NaN or infinity"
    ZERO = "is zero everywhere"
    CONSTANT = "is constant"
    NO_PARTNER = WHY_NONE


def flaws_of(maps: Tensor) -> list[Flaw]:
    """(B,)."""
    flaws = []
    low, high = maps.detach().flatten(1).aminmax(dim=1)  # NaN where a map holds one
    for a, b in zip(low.tolist(), high.tolist(), strict=True):
        constant = Flaw.ZERO if a == 0 else Flaw.CONSTANT
        flaws.append(Flaw.NOT_FINITE if not isfinite(b - a) else Flaw.NONE if a < b else constant)
    return flaws


def hog_cell(side: int) -> int:
    """Adebayo et al.'s 16 of 224 pixels, at any side; at least 2."""
    return max(2, round(side / 14))


def measures_for(signed: bool, size: tuple[int, int], cells: Sequence[int]) -> list[Measure]:
    """The measures that maps of this size allow."""
    signs = ("abs", "signed") if signed else ("abs",)
    measures = [Measure(name, sign, cell) for cell, name, sign in product(cells, LEAST_SIDE, signs)]
    return [m for m in measures if min(size) // m.cell >= LEAST_SIDE[m.name]]


class Compared:
    """Maps with the ranks, unit vectors and histograms of each, computed once.

    Args:
        maps: (B, C, h, w).
        measures: the similarities to prepare for.
        size: (H, W) of the images, at which maps are compared.
        failure: why there are no maps, which are then NaN: NotApplicable, or what the method raised.

    Raises:
        ConfigError: cells that do not divide one another.
    """

    def __init__(
        self, maps: Tensor, measures: Sequence[Measure], size: tuple[int, int],
        failure: SuiteError | None = None,
    ) -> None:  # fmt: skip
        self.maps, self.flaws, self.failure = maps, flaws_of(maps), failure
        flawed = torch.tensor([flaw is not Flaw.NONE for flaw in self.flaws], device=maps.device)
        averaged: dict[tuple[str, int], Tensor] = {}
        for sign in {m.sign for m in measures}:
            averaged |= _averaged(maps, sign, sorted({m.cell for m in measures if m.sign == sign}), size)
        self.features = {m: _blank(_features(m.name, averaged[m.sign, m.cell]), flawed) for m in measures}

    def at(self, partner: Sequence[int]) -> "Compared":
        """For each image the map of another, none where that is `NO_PARTNER`."""
        chosen = copy.copy(self)
        chosen.flaws = [Flaw.NO_PARTNER if i == NO_PARTNER else self.flaws[i] for i in partner]
        index = torch.tensor(partner, device=self.maps.device)
        chosen.features = {m: _blank(f[index], index == NO_PARTNER) for m, f in self.features.items()}
        return chosen

    def similarity(self, measure: Measure, other: "Compared") -> Tensor:
        """(B,): 0 by definition where one of the two maps is zero everywhere and the other is sound and is not."""
        if self.failure or other.failure:
            return torch.full((len(self.flaws),), torch.nan)
        a, b = self.features[measure], other.features[measure]
        if measure.name == "ssim":
            values = ssim(a, b, data_range=1.0 if measure.sign == "abs" else 2.0)
        else:
            values = (a * b).sum(1).clamp(-1, 1)
        one_is_zero = [{x, y} == {Flaw.NONE, Flaw.ZERO} for x, y in zip(self.flaws, other.flaws, strict=True)]
        return values.masked_fill(torch.tensor(one_is_zero, device=values.device), 0)

    def reasons(self, other: "Compared") -> list[str]:
        """(B,): why there is no similarity of the intact network's map, which is this one, and the other."""
        if failure := self.failure or other.failure:
            return [str(failure)] * len(self.flaws)
        sentences = []
        for own, others in zip(self.flaws, other.flaws, strict=True):
            if others is Flaw.NO_PARTNER:
                sentences.append(WHY_NONE)
            elif own is not Flaw.NONE:
                sentences.append(f"the intact network's map {own}")
            else:
                sentences.append("" if others is Flaw.NONE else f"the map compared with it {others}")
        return sentences


def _blank(features: Tensor, where: Tensor) -> Tensor:
    """NaN for some of the images."""
    return features.masked_fill(where.view(-1, *[1] * (features.ndim - 1)), torch.nan)


def _averaged(maps: Tensor, sign: str, cells: Sequence[int], size: tuple[int, int]) -> dict[tuple[str, int], Tensor]:
    """(B, C, h, w) -> (B, H / cell, W / cell) each: the sum over channels of |a| or a, at image size, averaged."""
    flat = (maps.abs() if sign == "abs" else maps).sum(1, keepdim=True)
    if flat.shape[2:] != size:
        flat = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    averaged, before = {}, 1
    for cell in cells:
        if cell % before:
            raise ConfigError(
                f"cells: {cell} is no multiple of {before}; give sizes that divide one another, such as 4, 8, 16"
            )
        flat, before = F.avg_pool2d(flat, cell // before), cell
        averaged[sign, cell] = flat[:, 0]
    return averaged


def _features(name: str, maps: Tensor) -> Tensor:
    """(B, H, W) -> vectors whose dot product is the measure, or for SSIM the normalised maps."""
    if name == "ssim":
        return normalise(maps)
    if name == "cosine":
        return units(maps.double())
    if name == "hog":
        features = hog_features(normalise(maps), pixels_per_cell=hog_cell(min(maps.shape[1:])))
    else:
        features = ranks(maps)
    return units(features - features.mean(1, keepdim=True))
