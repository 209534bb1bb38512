"""Rows and the picture of an audit of randomised networks, whichever study asks for it."""

from collections.abc import Sequence

import numpy as np

from suite.core.pixels import pixels
from suite.results.columns import Block
from suite.sanity.weight_randomisation import WeightAudit
from suite.studies.base import Rows, Work


def rows_of(study: str, work: Work, audit: WeightAudit) -> Rows:
    """A block a finding; the target is the class that the audit explained."""
    blocks: Rows = []
    targets = audit.targets.tolist()
    for found in audit.findings():
        method = audit.methods.get(audit.held.get(found.method, found.method))
        place = {
            "study": study, "model": work.model.card.name, "method": found.method, "metric": found.metric,
            "other": found.kind, "layer": found.stage.block, "stage": found.stage.order, "x": float(found.stage.count),
            "draw": work.part, "noise": found.noise, "cell": found.cell,
            "control": method is not None and method.control,
        }  # fmt: skip
        why = [reason or "the similarity is undefined for these maps" for reason in found.why]
        blocks.append(Block(work.ids, targets, found.values.double().cpu().numpy(), why, place))
    return blocks


def picture_of(study: str, work: Work, audit: WeightAudit, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """The paper's picture, of the first photo and draw."""
    if work.part or work.positions[0] or not work.config.pictures:
        return {}
    arrays = {"id": np.array(work.files[0].id), "photo": pixels(work.images[0])}
    for count, maps in sorted(audit.pictures.items()):
        for label, one in maps.items():
            if not audit.methods[label].control:
                arrays[f"{count}|{names[count]}|{label}"] = one.cpu().numpy().astype(np.float32)
    return {f"{study}-{work.stem(0)}": arrays}
