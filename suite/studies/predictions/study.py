"""Predictions: the network's classes for each image, and the images that could not be used."""

from collections.abc import Mapping
from typing import ClassVar

import torch

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.studies.base import Outcome, Study, Work


class Predictions(Study):
    """Top class, confidence, and whether it is right; a failed row for each image that cannot be read."""

    name: ClassVar[str] = "predictions"
    without_images: ClassVar[bool] = True

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        return Cost(1, 0)

    def run(self, work: Work) -> Outcome:
        fields = work.columns(self.name)
        rows = [
            fields | {"image": f.id, "metric": "correct", "status": "failed", "message": why} for f, why in work.faults
        ]
        if not len(work.images):
            return Outcome(rows)
        confidence, top = work.scores.double().softmax(1).max(1)
        best = work.scores.topk(min(5, work.scores.shape[1]), 1).indices.tolist()  # (B, 5)
        for i, (file, note) in enumerate(zip(work.files, work.notes, strict=True)):
            fields |= {"image": file.id, "target": int(work.targets[i])}
            if not bool(torch.isfinite(work.scores[i]).all()):
                why = "the network's scores of this image hold NaN or infinity"
                rows.append(fields | {"metric": "correct", "status": "failed", "message": why})
                continue
            rows.append(fields | {"metric": "top1", "value": int(top[i]), "unit": "class", "message": note})
            rows.append(fields | {"metric": "confidence", "value": float(confidence[i]), "unit": "probability"})
            for metric, classes in (("correct", best[i][:1]), ("correct_top5", best[i])):
                if file.label is None:
                    why = "the source has no label for this image"
                    rows.append(fields | {"metric": metric, "status": "not_applicable", "message": why})
                else:
                    rows.append(fields | {"metric": metric, "value": float(file.label in classes)})
        return Outcome(rows)


STUDY = Predictions()
