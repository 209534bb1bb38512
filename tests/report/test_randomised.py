"""What sections on randomised networks share."""

from pathlib import Path

import audited
import networks
import numpy as np
import pandas as pd
import pytest
from audited import Squares, smooth_pictures
from PIL import Image

from suite.report.randomised import draw_cascades, mean_similarity, stage_similarities
from suite.report.tiles import GAP, LABEL, MARGIN
from suite.sanity.settings import AuditSettings
from suite.sanity.verdict import arrange
from suite.studies.sanity import report as sanity_report

MANIFEST = {"models": {"net": {"folder": "00"}}, "methods": {"saliency": {"signed": False}}}


def test_a_cascade_has_a_row_a_method_and_a_column_a_stage(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "00"
    folder.mkdir(parents=True)
    maps = {f"{count}|{name}|{method}": np.eye(4) for count, name in ((0, "intact"), (2, "top")) for method in "ab"}
    np.savez(folder / "sanity-000000.npz", id=np.array("cat.jpg"), photo=np.full((8, 8, 3), 90, np.uint8), **maps)
    ((path, title, text),) = draw_cascades(tmp_path, MANIFEST, "sanity", "words")
    assert (title, text) == ("words · net", "Maps of cat.jpg on net: methods down; across: words.")
    assert np.asarray(Image.open(path)).shape[1] == 2 * MARGIN + LABEL + 3 * 112 + 2 * GAP
    assert draw_cascades(tmp_path, MANIFEST, "labels", "words") == []


def test_mean_similarity_lies_in_its_interval() -> None:
    line = mean_similarity("r", np.random.default_rng(0).normal(0.5, 0.1, (20, 5)))
    assert line["r_low"] < line["r"] < line["r_high"]
    assert line["r"] == pytest.approx(0.5, abs=0.1)


def test_a_cascade_holds_more_methods_than_there_are_colours() -> None:
    numbers = ("similarity", "similarity_low", "similarity_high", "null_low", "null_high")
    line = {"metric": "spearman_abs", "order": "cascade_top", "blocks": 1, **dict.fromkeys(numbers, 0.5)}
    table = pd.DataFrame([line | {"method": f"method {k}"} for k in range(12)])
    nulls = pd.DataFrame(columns=["metric", "kind", "method", "similarity"])
    figure = sanity_report._similarity(table, nulls, "cascade_top", "blocks")
    assert len(figure.axes[0].lines) == 12


def test_every_stage_stands_beside_another_photos_maps():
    rows = audited.rows(networks.seeded(Squares), ["gradient"], smooth_pictures(4), draws=2, cells=(1, 4))
    similarities = arrange(rows, AuditSettings().noise)
    lines = {
        (key.method, key.order, key.metric): (block, m) for key, block, m in stage_similarities(similarities, rows)
    }
    block, means = lines["gradient", "everything", "cosine_abs"]
    assert block == "fc"
    own = rows[(rows["method"] == "gradient") & (rows["metric"] == "cosine_abs") & (rows["cell"] == 4)]
    for name, kind in (("similarity", "stage"), ("null", "null")):
        values = own.loc[(own["kind"] == kind) & (own["order"] == "everything"), "value"]
        assert means[name] == pytest.approx(values.mean())
        assert means[f"{name}_low"] < means[name] < means[f"{name}_high"]
    assert "null" not in lines["gradient", "almost_same", "cosine_abs"][1]


def test_a_mean_of_nothing_is_nan():
    assert np.isnan(list(mean_similarity("similarity", np.full((3, 2), np.nan)).values())).all()
