"""The visualization study: a whole small run, bad configurations, the command line."""

import json
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from PIL import Image

from suite.report import build
from suite.report.tables import build_tables
from suite.results import read, read_manifest

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
    assert set(tables["visualization_elsewhere"]["other"]) == {"one", "two"}
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


@pytest.mark.slow
def test_command_writes_what_it_says_and_reads_odd_photos(tmp_path, monkeypatch, capsys) -> None:
    Image.new("LA", (9, 3000), (90, 120)).save(tmp_path / "odd.png")
    words = ["visualize", "gorilla", "--steps", 3, "--init", tmp_path / "odd.png", "--out", tmp_path / "out", "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["steps"] == 3
    assert "greyscale with alpha" in numbers["start_note"]
    assert len(list((tmp_path / "out").iterdir())) == 3
    from suite.data.images import load_image
    from suite.models.load import load_model

    back = load_image(numbers["picture"], resize=None, crop=(224, 224))[0][None]
    share = load_model("squeezenet1_1")(back).softmax(1)[0, numbers["target"]].detach()
    torch.testing.assert_close(float(share), numbers["confidence_as_saved"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gorila"], "did you mean 'gorilla'"),
        (["--layer", "features.99"], "did you mean 'features.9'"),
        (["gorilla", "--init", "none.jpg"], "cannot be read"),
    ],
)
def test_bad_commands_are_one_line(tmp_path, monkeypatch, capsys, words, says) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny.main(monkeypatch, "visualize", *words) == 2
    assert says in capsys.readouterr().err
