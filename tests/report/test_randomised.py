"""What sections on randomised networks share: means, stages beside another photo's maps, the paper's picture."""

import audited
import networks
import numpy as np
import pytest
from audited import Squares, smooth_pictures
from PIL import Image

from suite.report.randomised import SENTENCES, draw_cascades, mean_similarity, stage_similarities
from suite.sanity.settings import AuditSettings
from suite.sanity.verdict import arrange


def test_every_stage_stands_beside_another_photos_maps():
    rows = audited.rows(networks.seeded(Squares), ["gradient"], smooth_pictures(4), draws=2, cells=(1, 4))
    similarities = arrange(rows, AuditSettings().noise)
    lines = {
        (key.method, key.stage, key.metric): (block, m) for key, block, m in stage_similarities(similarities, rows)
    }
    block, means = lines["gradient", "everything", "cosine_abs"]
    assert block == "fc"
    own = rows[(rows["method"] == "gradient") & (rows["metric"] == "cosine_abs") & (rows["cell"] == 4)]
    for name, kind in (("similarity", "stage"), ("null", "null")):
        values = own.loc[(own["other"] == kind) & (own["stage"] == "everything"), "value"]
        assert means[name] == pytest.approx(values.mean())
        assert means[f"{name}_low"] < means[name] < means[f"{name}_high"]
    assert "null" not in lines["gradient", "almost_same", "cosine_abs"][1]


def test_a_mean_of_nothing_is_nan():
    assert np.isnan(list(mean_similarity("similarity", np.full((3, 2), np.nan)).values())).all()


def test_the_picture_has_methods_down_and_stages_across(tmp_path):
    folder = tmp_path / "images" / "m"
    folder.mkdir(parents=True)
    maps = {f"{k}|{name}|{method}": np.eye(8, dtype=np.float32) * k for k, name in enumerate(["intact", "fc"])
            for method in ("a", "b", "c")}  # fmt: skip
    del maps["1|fc|c"]  # a method may have no map at a stage
    np.savez(folder / "sanity-000000.npz", id="photo.png", photo=np.zeros((32, 32, 3), np.uint8), **maps)
    manifest = {"models": {"net": {"folder": "m"}}, "methods": {"a": {"signed": True}}}
    ((path, title, alt),) = draw_cascades(tmp_path, manifest, "sanity", "More random")
    assert title == "More random · net"
    assert "photo.png" in alt
    with Image.open(path) as picture:
        size = picture.size
    assert size == (132 + 3 * 120 + 8, 64 + 3 * 120)
    assert draw_cascades(tmp_path, manifest, "labels", "") == []
    assert set(SENTENCES) >= {"PASS", "FAIL", "WITHHELD"}
