"""Rows and the picture of an audit of randomised networks, for the studies sanity and labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from suite.core.pixels import pixels
from suite.results.schema import Keys
from suite.sanity.audit import RandomisationAudit
from suite.studies.base import Outcome, Rows, Work

KEYS: Keys = {"kind": str, "order": str, "blocks": int, "block": str, "draw": int, "noise": float, "cell": int}


def outcome_of(study: str, work: Work, audit: RandomisationAudit, names: Sequence[str]) -> Outcome:
    """The audit's rows as rows of the study, and the paper's picture of the first photo and draw.

    `names` are the plotted stages' names, by their count.
    """
    of_network = {"study": study, "model": work.model.card.name}
    rows: Rows = [replace(block, fields={**of_network, **block.fields}) for block in audit.rows()]
    if work.part or work.positions[0] or not work.config.pictures:
        return Outcome(rows)
    arrays = {"id": np.array(work.files[0].id), "photo": pixels(work.images[0])}
    for count, maps in sorted(audit.pictures.items()):
        for label, values in maps.items():
            if not audit.methods[label].control:
                arrays[f"{count}|{names[count]}|{label}"] = values.cpu().numpy().astype(np.float32)
    return Outcome(rows, {f"{study}-{work.stem(0)}": arrays})
