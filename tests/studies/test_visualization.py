"""The visualization study: a whole small run, bad configurations, the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import yaml

from suite.config import load
from suite.report import build
from suite.report.tables import build_tables
from suite.report.tiles import SIDE
from suite.results import read, read_manifest
from suite.studies.visualization.config import PictureConfig, VisualizationConfig
from suite.studies.visualization.report import sheet
from suite.studies.visualization.study import STUDY

SHORT = {"steps": 6}
JOBS = [
    {
        "name": "recipes", "pictures": ["a", {"target": "b", "start": "photos/a/00.png"}], "recipe": SHORT,
        "variants": {"cs231n": {}, "modern": {"preset": "modern"}, "mistake": {"ascend": "saliency"}}, "seeds": 2,
    },
    {"name": "iterations", "pictures": ["c"], "recipe": SHORT, "snapshots": [2, 6], "networks": ["one"]},
    {"name": "layers", "pictures": [{"layer": "first"}, {"layer": "first", "like": "a"}], "recipe": SHORT},
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("visualization")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(tiny.ROOT / "tests"))
        models = [tiny.network(folder, label="one"), tiny.network(folder, label="two", parameters={"act": "silu"})]
        path = tiny.config(folder, models=models, methods=["saliency"])
        tree = yaml.safe_load(path.read_text()) | {"studies": {"visualization": {"jobs": JOBS}}}
        path.write_text(json.dumps(tree))  # in the order in which it stands here
        tiny.rows(path, folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_whole_study_gives_rows_tables_pictures_and_a_page(done) -> None:
    rows = read(done)
    study = rows[rows["study"] == "visualization"]
    assert not (study["status"] == "failed").any(), study[study["status"] == "failed"]["message"].tolist()
    tables = build_tables(rows, read_manifest(done))
    variants = tables["visualization_variants"]
    recipes = variants[(variants["job"] == "recipes") & (variants["model"] == "one")]
    assert recipes["variant"].tolist() == ["cs231n", "modern", "mistake"]
    assert (recipes["n"] == 4).all()
    assert recipes["score_less_first"].iloc[0] == 0
    assert variants["diversity"].notna().sum() == 6
    snapshots = variants[variants["job"] == "iterations"]
    assert snapshots["model"].tolist() == ["one"]
    last = tables["visualization_iterations"].set_index("iterations").loc[6]
    assert last["score"] == snapshots["score"].item()
    assert set(tables["visualization_elsewhere"]["other_model"]) == {"one", "two"}
    page = build(done).read_text()
    assert "What does the network look for?" in page
    sheets = sorted(p.name for p in (done / "plots").glob("visualization-00*.png"))
    assert sheets == ["visualization-000.png", "visualization-001.png", "visualization-002.png"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"preset": "cs23n"}, "did you mean 'cs231n'"),
        ({"variants": {"fast": {"rat": 3}}}, "variant 'fast': preset 'cs231n': unknown parameter 'rat'"),
        ({"networks": ["twoo"]}, "no network 'twoo'"),
        ({"pictures": [{"target": "a", "layer": "first"}]}, "give `target` or `layer`"),
        ({"pictures": ["a", "a"]}, "'a' appears twice"),
    ],
)
def test_bad_jobs_are_one_line_before_anything_runs(tmp_path, monkeypatch, capsys, change, says) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    jobs = [{"name": "recipes", "pictures": ["a"]} | change]
    path = tiny.config(tmp_path, studies={"visualization": {"jobs": jobs}})
    assert tiny.main(monkeypatch, "check", path) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_picture_is_named_by_what_it_is_of() -> None:
    neuron = PictureConfig(layer="act1", channel=2, position=(3, 4), start="dog")
    assert neuron.title == "act1 channel 2 at 3, 4 start dog"
    assert PictureConfig.model_validate("gorilla") == PictureConfig(target="gorilla")
    with pytest.raises(ValueError, match="'goose' appears twice"):
        VisualizationConfig(jobs=[{"name": "j", "pictures": ["goose", "goose"]}])


def test_a_job_without_variants_is_its_preset_and_costs_all_its_steps(tmp_path) -> None:
    jobs = [{"name": "j", "pictures": ["a", "b"], "recipe": {"steps": 7}, "seeds": 3}]
    config = load(tiny.config(tmp_path, studies={"visualization": {"jobs": jobs}}))
    assert STUDY.parts(config) == 1
    assert STUDY.cost({}, config).forwards == -(-2 * 3 * 7 // 3)  # over the three photos of a chunk


def test_a_sheet_has_a_tile_a_column_and_row_and_leaves_empty_what_is_not_there() -> None:
    red = np.full((40, 40, 3), (200, 0, 0), np.uint8)
    drawn = np.asarray(sheet("title", ["one", "two"], [("row", [(red, "below"), None])]))
    there = (drawn == (200, 0, 0)).all(2)
    assert there.sum() == SIDE * SIDE
    assert sheet("title", ["one"], [("", [(red, "")])]).width < drawn.shape[1]
