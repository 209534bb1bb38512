"""An audit of a chunk as a study's outcome: its rows on this network, and the picture of the first photo and draw."""

import audited
import numpy as np
import works

from suite.studies.randomised import outcome_of


def test_an_audit_becomes_the_studys_outcome():
    given = works.work(["gradient"])
    audit = audited.audit(given.model, ["gradient"], given.images, given.targets, draw=2)
    outcome = outcome_of("sanity", given, audit, [str(k) for k in range(9)])
    blocks = list(audit.rows())
    assert len(outcome.rows) == len(blocks)
    for row, block in zip(outcome.rows, blocks, strict=True):
        np.testing.assert_array_equal(row.values, block.values)
        assert row.fields == {"study": "sanity", "model": "one", **block.fields}
        assert row.fields["draw"] == 2


def test_the_picture_is_of_the_first_photo_and_of_no_control():
    given = works.work(["gradient"])
    audit = audited.audit(given.model, {"gradient": "gradient", "c": "control_edges"}, given.images, given.targets)
    names = [f"stage {k}" for k in range(9)]
    ((stem, arrays),) = outcome_of("labels", given, audit, names).pictures.items()
    assert stem == "labels-000000"
    assert arrays["photo"].shape == (*given.size, 3)
    maps = {name: values for name, values in arrays.items() if "|" in name}
    assert set(maps) == {f"{k}|stage {k}|gradient" for k in audit.pictures}
    np.testing.assert_array_equal(maps["0|stage 0|gradient"], audit.pictures[0]["gradient"].numpy())
    later = given.begin(1)
    assert outcome_of("labels", later, audit, names).pictures == {}
