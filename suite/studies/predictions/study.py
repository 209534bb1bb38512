"""Predictions: what the network makes of each image, and which images could not be used."""

from collections.abc import Mapping
from typing import ClassVar

import torch

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.results.schema import row
from suite.studies.base import Outcome, Study, Work


class Predictions(Study):
    """Top class, confidence, and whether it is right; a failed row for each image that cannot be read."""

    name: ClassVar[str] = "predictions"
    without_images: ClassVar[bool] = True

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        return Cost(1, 0)

    def run(self, work: Work) -> Outcome:
        common = work.place(self.name)
        rows = [row(**common, image=f.id, metric="correct", status="failed", message=why) for f, why in work.faults]
        if not len(work.images):
            return Outcome(rows)
        probabilities = work.scores.double().softmax(1)
        confidence, top = probabilities.max(1)
        best = work.scores.topk(min(5, work.scores.shape[1]), 1).indices  # (B, 5)
        for index, (file, note) in enumerate(zip(work.files, work.notes, strict=True)):
            place = common | {"image": file.id, "target": int(work.targets[index])}
            if not bool(torch.isfinite(work.scores[index]).all()):
                why = "the network's scores of this image hold NaN or infinity"
                rows.append(row(**place, metric="correct", status="failed", message=why))
                continue
            rows.append(row(**place, metric="top1", value=int(top[index]), unit="class", message=note))
            rows.append(row(**place, metric="confidence", value=float(confidence[index]), unit="probability"))
            for metric, found in (("correct", best[index, :1]), ("correct_top5", best[index])):
                if file.label is None:
                    why = "the source has no label for this image"
                    rows.append(row(**place, metric=metric, status="not_applicable", message=why))
                else:
                    rows.append(row(**place, metric=metric, value=float(torch.any(found == file.label))))
        return Outcome(rows)


STUDY = Predictions()
