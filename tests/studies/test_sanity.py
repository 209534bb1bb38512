"""Weight randomisation as a study: what a configuration may ask, its parts, its tables, and the same bits on resume."""

import audited
import networks
import pandas as pd
import pytest
import tiny
import works
from audited import Squares, smooth_pictures

from suite.config import validate
from suite.errors import ConfigError
from suite.sanity.settings import AuditSettings
from suite.studies.sanity.config import SanityConfig
from suite.studies.sanity.report import SECTION
from suite.studies.sanity.study import Sanity

QUICK = {"draws": 3, "noise_factors": [1], "cells": [4], "orders": ["cascade_top"], "stages": "verdict"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"orders": ["independent"]}, "cascade_top is what the verdict rests on"),
        ({"cells": [1, 8]}, "cells 4"),
        ({"noise_factors": [2]}, "must hold 1"),
    ],
)
def test_what_the_verdict_rests_on_cannot_be_left_out(change, says):
    with pytest.raises(ConfigError, match=says):
        validate({"studies": {"sanity": change}})


def test_the_audit_takes_the_studys_settings():
    settings = SanityConfig(noise=0.5, cells=(4, 8), noise_factors=(1, 2), batch_norm="reset", smoothed=3)
    assert settings.audit(7) == AuditSettings(7, 0.5, (1, 2), (4, 8), "reset", 3)
    assert SanityConfig().noise == AuditSettings().noise


def test_a_part_is_a_draw_and_the_first_ones_picture_is_kept():
    given = works.work(["saliency", "control_noise"], sanity=QUICK)
    assert Sanity().parts(given.config) == 3
    drawn = [works.rows(Sanity(), given.begin(part)) for part in range(3)]
    assert [set(frame["draw"]) for frame in drawn] == [{0}, {1}, {2}]
    assert set(drawn[0]["model"]) == {"one"}
    assert set(drawn[0]["study"]) == {"sanity"}
    assert set(drawn[0].loc[drawn[0]["control"], "method"]) >= {"control_noise", "control_edges"}
    random = [
        works.values(frame, "spearman_abs", method="saliency", order="everything", kind="stage") for frame in drawn
    ]
    assert random[0] != random[1]
    pictures = Sanity().run(given.begin(0)).pictures
    assert list(pictures) == ["sanity-000000"]
    arrays = pictures["sanity-000000"]
    stages = {name.split("|")[0] for name in arrays if "|" in name}
    assert "0" in stages
    assert len(stages) >= 2
    assert not any("control" in name for name in arrays)
    assert Sanity().run(given.begin(1)).pictures == {}


def test_passes_grow_with_draws_noises_and_orders():
    def forwards(**change):
        given = works.work(["saliency"], sanity=QUICK | change)
        return Sanity().cost(given.methods, given.config).forwards

    assert forwards() == 3 * (1 + (1 + 3) + 1 + 1)  # intact; noisy, with three judged stages; the top; the logit
    assert forwards(draws=6) == 2 * forwards()
    assert forwards(noise_factors=[1, 2]) == forwards() + 3 * 4
    assert forwards(smoothed=2) == forwards() + 3 * 2 * 4


def test_tables_hold_means_of_the_rows():
    rows = audited.rows(networks.seeded(Squares), ["gradient"], smooth_pictures())
    tables = SECTION.tables(rows, {"config": {"studies": {"sanity": {"noise": AuditSettings().noise}}}})
    mine = rows[(rows["method"] == "gradient") & (rows["metric"] == "spearman_abs")]
    nulls = tables["sanity_nulls"].query("method == 'gradient' and metric == 'spearman_abs'").set_index("kind")
    for kind in ("self", "other", "rolled"):
        assert nulls["similarity"][kind] == pytest.approx(mine.loc[mine["kind"] == kind, "value"].mean())
    stages = tables["sanity_stages"].query(
        "method == 'gradient' and metric == 'spearman_abs' and order == 'everything'"
    )
    line, random = stages.iloc[0], mine[mine["order"] == "everything"]
    assert line["similarity"] == pytest.approx(random.loc[random["kind"] == "stage", "value"].mean())
    assert line["null"] == pytest.approx(random.loc[random["kind"] == "null", "value"].mean())
    own = nulls["similarity"]["self"]
    assert line["s"] == pytest.approx(1 - (line["similarity"] - line["null"]) / (own - line["null"]))
    assert set(tables["sanity_verdicts"]["method"]) == {"gradient", *audited.with_controls({})}
    assert SECTION.tables(rows.iloc[:0], {"config": {"studies": {"sanity": {"noise": 1}}}}) == {}


@pytest.mark.slow
def test_study_rows_resume_to_the_same_bits(tmp_path):
    studies = {"sanity": {"draws": 2, "cells": [4], "noise_factors": [1]}}
    path = tiny.config(tmp_path, count=4, data={"source": str(tmp_path / "photos"), "batch_size": 2}, studies=studies)
    rows = tiny.rows(path, tmp_path / "run")
    sanity = rows[rows["study"] == "sanity"]
    assert set(sanity["draw"]) == {0, 1}
    assert not (sanity["status"] == "failed").any()
    for shard in sorted((tmp_path / "run" / "rows" / "sanity").glob("*.parquet"))[1:3]:
        shard.unlink()
    again = tiny.rows(path, tmp_path / "run")

    pd.testing.assert_frame_equal(rows, again)
