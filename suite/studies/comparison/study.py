"""Comparison: do two methods say the same? Every pair on the same photo, beside what maps of unrelated photos reach."""

from itertools import combinations_with_replacement
from typing import ClassVar

from torch import Tensor

from suite.results.schema import Keys
from suite.studies.base import Outcome, Rows, Study, Work


class Comparison(Study):
    """Spearman, SSIM and overlap of the top tenth, of |maps| at the image's size.

    SSIM is of maps divided by their 99th percentile and clipped to [0, 1], data range 1. `unrelated_photos` compares
    the first method's map of a photo with the second's map of a photo of another class; a method is compared with
    itself there too.
    """

    name: ClassVar[str] = "comparison"
    keys: ClassVar[Keys] = {"other_method": str, "pairing": str}

    def run(self, work: Work) -> Outcome:
        maps = work.comparable
        rows: Rows = []
        for a, b in combinations_with_replacement(maps, 2):
            for pairing, partner in work.pairings().items():
                for metric, values, why in maps[a].compare(maps[b], partner) if a != b or partner else ():
                    rows += work.rows(self.name, a, metric, values, other_method=b, pairing=pairing, undefined=why)
        for label, result in work.maps.items():
            if not isinstance(result, Tensor):
                rows += work.unavailable_rows(self.name, label, "spearman", result, pairing="same_photo")
        return Outcome(rows, work.pictures("agreement"))


STUDY = Comparison()
