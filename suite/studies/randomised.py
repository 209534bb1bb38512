"""Rows and the picture of an audit of randomised networks, whichever study asks for it."""

from collections.abc import Sequence

import numpy as np

from suite.core.pixels import pixels
from suite.results.columns import Block
from suite.sanity.audit import RandomisationAudit
from suite.studies.base import Rows, Work


def rows_of(study: str, work: Work, audit: RandomisationAudit) -> Rows:
    """A block a measurement; the target is the class that the audit explained."""
    blocks: Rows = []
    targets = audit.targets.tolist()
    for m in audit.measurements():
        fields = {
            "study": study, "model": work.model.card.name, "method": m.method, "metric": m.metric, "other": m.kind,
            "layer": m.stage.block, "stage": m.stage.order, "x": float(m.stage.count), "draw": audit.draw,
            "noise": m.noise, "cell": m.cell, "control": m.method in audit.methods and audit.methods[m.method].control,
        }  # fmt: skip
        why = [reason or "the similarity is undefined for these maps" for reason in m.why]
        blocks.append(Block(work.ids, targets, m.values.double().cpu().numpy(), why, fields))
    return blocks


def picture_of(
    study: str, work: Work, audit: RandomisationAudit, names: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """The paper's picture, of the first photo and draw; `names` are the stages' by their count."""
    if work.part or work.positions[0] or not work.config.pictures:
        return {}
    arrays = {"id": np.array(work.files[0].id), "photo": pixels(work.images[0])}
    for count, maps in sorted(audit.pictures.items()):
        for label, values in maps.items():
            if not audit.methods[label].control:
                arrays[f"{count}|{names[count]}|{label}"] = values.cpu().numpy().astype(np.float32)
    return {f"{study}-{work.stem(0)}": arrays}
