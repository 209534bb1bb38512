"""Comparison: do two methods say the same? Every pair on the same photo, beside what maps of unrelated photos reach."""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import ClassVar

from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.passes import Cost
from suite.config import RunConfig
from suite.metrics.similarity import normalise, rank_correlation, ranks, ssim, top_overlap
from suite.studies.base import Outcome, Row, Study, Work, magnitude

_WHY = "a map is constant, so there is nothing to compare"


class Comparison(Study):
    """Spearman, SSIM and overlap of the top tenth, of |maps| at the image's size.

    SSIM is of maps divided by their 99th percentile and clipped to [0, 1], data range 1. `unrelated_photos` compares
    the first method's map of a photo with the second's map of the next photo of the chunk; a method is compared with
    itself there too.
    """

    name: ClassVar[str] = "comparison"

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        return Cost()

    def run(self, work: Work) -> Outcome:
        size = (work.images.shape[2], work.images.shape[3])
        maps = {label: magnitude(m, size) for label, m in work.maps.items() if isinstance(m, Tensor)}
        ranked = {label: ranks(m) for label, m in maps.items()}
        scaled = {label: normalise(m) for label, m in maps.items()}
        rows: list[Row] = []
        for a, b in combinations_with_replacement(maps, 2):
            for stage, shift in (("same_photo", 0), ("unrelated_photos", -1)):
                if a == b and not shift:
                    continue
                more = {"other": b, "stage": stage, "undefined": _WHY}
                if shift and len(work.images) < 2:
                    nothing = [float("nan")] * len(work.images)
                    more["undefined"] = "an unrelated photo needs at least two images in a chunk"
                    for metric in ("spearman", "ssim", "top10_overlap"):
                        rows += work.rows(self.name, a, metric, nothing, **more)
                    continue
                correlation = rank_correlation(ranked[a], ranked[b].roll(shift, 0))
                rows += work.rows(self.name, a, "spearman", correlation, **more)
                alike = ssim(scaled[a], scaled[b].roll(shift, 0), data_range=1.0)
                rows += work.rows(self.name, a, "ssim", alike, **more)
                common = top_overlap(maps[a], maps[b].roll(shift, 0), fraction=0.1)
                rows += work.rows(self.name, a, "top10_overlap", common, **more)
        for label, found in work.maps.items():
            if not isinstance(found, Tensor):
                rows += work.missing(self.name, label, "spearman", found, stage="same_photo")
        kept = [i for i in range(len(work.images)) if work.positions[i] < work.config.pictures]
        drawn = work.config.studies.agreement is None
        return Outcome(rows, {work.stem(i): work.picture_of(i) for i in kept} if drawn else {})
