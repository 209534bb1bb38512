"""Sharpness: how concentrated a map is, in four numbers that say nothing about whether it is right."""

from typing import ClassVar

from torch import Tensor

from suite.metrics.complexity import entropy, gini, largest_component_mass, total_variation
from suite.studies.base import Outcome, Rows, Study, Work

_METRICS = (entropy, gini, total_variation, largest_component_mass)


class Sharpness(Study):
    """Entropy, Gini sparseness, total variation and the largest region's mass, of |maps| at the image's size."""

    name: ClassVar[str] = "sharpness"

    def run(self, work: Work) -> Outcome:
        rows: Rows = []
        for label, maps in work.maps.items():
            for metric in _METRICS:
                if isinstance(maps, Tensor):
                    values, why = metric(work.comparable[label].maps), "the map is zero everywhere"
                    rows += work.rows(self.name, label, metric.__name__, values, undefined=why)
                else:
                    rows += work.unavailable_rows(self.name, label, metric.__name__, maps)
        return Outcome(rows, work.pictures("agreement", "comparison"))


STUDY = Sharpness()
