"""The command line: exit codes, one line for what is wrong, stdout for results alone, torch left alone until needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

from suite.config import load
from suite.errors import SuiteError
from suite.results import RunLock, read, read_manifest
from suite.run.runner import execute, prepare

Capture = pytest.CaptureFixture[str]


def one_line(capsys: Capture) -> str:
    """What a refused command says: one line on stderr, nothing on stdout, no traceback."""
    streams = capsys.readouterr()
    assert streams.out == ""
    lines = [line for line in streams.err.splitlines() if not line.startswith(("run directory:", "ERROR"))]
    said = [line for line in lines if line.startswith("suite: ")]
    assert len(said) == 1, streams.err
    assert "Traceback" not in streams.err
    return said[0]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["salency"]}, ["'salency'", "did you mean 'saliency'"]),
        ({"methods": ["tiny:raisin"]}, ["'raisin'", "did you mean 'raising'"]),
        ({"methods": ["nowhere:method"]}, ["no module named 'nowhere'"]),
        ({"methods": [{"name": "grad_cam", "layr": "act1"}]}, ["'grad_cam'", "'layr'", "did you mean 'layer'"]),
        ({"methods": [{"name": "grad_cam", "layer": "act9"}]}, ["'act9'", "did you mean 'act"]),
        ({"methods": [{"name": "tiny:slow", "second": 1}]}, ["'second'", "did you mean 'seconds'"]),
        ({"data": {"source": "nothing-here"}}, ["'nothing-here'", "no such file or folder"]),
        ({"data": {"source": "empty"}}, ["holds no images"]),
        ({"data": {"source": "list.csv"}}, ["10", "out of range 0..9"]),
        ({"data": {"source": "named.csv"}}, ["'zebra'", "is not a class"]),
        ({"sed": 1}, ["sed: unknown key", "'seed'"]),
        ({"methods": [{"name": "smoothgrad", "sigma": float("nan")}]}, ["'smoothgrad'", "'sigma' is nan", "finite"]),
        ({"studies": {"attacks": {"targets": ["nope"]}}}, ["'nope'", "class"]),
        ({"studies": {"visualization": {"jobs": [{"name": "j", "pictures": ["nope"]}]}}}, ["'nope'", "class"]),
        ({"trainer": {"accelerator": "cpu", "devices": 99}}, ["trainer.devices: 99 processes on", "cores"]),
        ({"trainer": {"accelerator": "tpu"}}, ["trainer: "]),
    ],
)
def test_what_is_refused(
    changes: dict[str, object], words: list[str], at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tiny.config(at, **changes)
    (at / "empty").mkdir()
    (at / "list.csv").write_text("file,label\nphotos/a/00.png,10\n")
    (at / "named.csv").write_text("file,label\nphotos/a/00.png,zebra\n")
    assert tiny.main(monkeypatch, "run", path) == 2
    said = one_line(capsys)
    for word in words:
        assert word in said, said
    assert not (at / "reports").exists()


def nan_weights(path: Path) -> None:
    state = tiny.Net().state_dict()
    state["head.bias"][3] = float("nan")
    torch.save(state, path)


@pytest.mark.parametrize(
    ("make", "more", "words"),
    [
        (nan_weights, {}, ["head.bias", "NaN"]),
        (lambda p: torch.save(tiny.Net().state_dict(), p), {"sha256": "0" * 64}, ["w.pth", "SHA-256"]),
        (lambda p: p.write_bytes(b"not weights"), {}, ["w.pth", "not readable"]),
        (lambda p: torch.save([1, 2], p), {}, ["w.pth", "list", "state_dict"]),
        (lambda p: torch.save({"x": torch.zeros(1)}, p), {}, ["w.pth", "does not fit"]),
        (lambda p: None, {}, ["w.pth"]),
        (lambda p: None, {"weights": "default", "factory": "tiny:broken_factory"}, ["no such disk second line"]),
        (lambda p: None, {"weights": "default", "resize": 16}, ["resize 16", "32"]),
        (lambda p: None, {"weights": "default", "factory": "tiny:NanScores"}, ["scores of a black image hold NaN"]),
        (lambda p: None, {"weights": "default", "factory": "torch:zeros"}, ["torch:zeros"]),
    ],
)
def test_a_network_that_cannot_be_used(
    make: object, more: dict[str, object], words: list[str], at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    make(at / "w.pth")  # type: ignore[operator]
    path = tiny.config(at, model=tiny.network(at, **({"weights": "w.pth"} | more)))
    assert tiny.main(monkeypatch, "run", path) == 2
    said = one_line(capsys)
    for word in words:
        assert word in said, said


def test_run_directories_that_cannot_be_used(at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    path = tiny.config(at, studies={}, methods=["saliency"])
    (at / "file").write_text("here")
    assert tiny.main(monkeypatch, "run", path, "--run-dir", at / "file" / "below") == 2
    assert "cannot be written" in one_line(capsys)
    with RunLock(at / "held"):
        assert tiny.main(monkeypatch, "run", path, "--run-dir", at / "held") == 2
        assert "another run is at work" in one_line(capsys)
    assert not (at / "held" / "rows").exists()
    assert tiny.main(monkeypatch, "run", path, "--run-dir", at / "own") == 0
    capsys.readouterr()
    assert tiny.main(monkeypatch, "run", path, "seed=5", "--run-dir", at / "own") == 2
    assert "another configuration" in one_line(capsys)
    (at / "own" / "run.json").write_text("{")
    assert tiny.main(monkeypatch, "run", path, "--run-dir", at / "own") == 2
    assert "run.json" in one_line(capsys)
    (at / "own" / "run.json").unlink()
    assert tiny.main(monkeypatch, "run", path, "--run-dir", at / "own") == 2
    assert "holds rows but no run.json" in one_line(capsys)


def test_one_broken_image_is_exit_1_and_json_is_all_of_stdout(
    at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tiny.config(at, count=4, studies={"agreement": {}}, methods=["saliency"])
    (at / "photos" / "b" / "bad.png").write_bytes(b"no image")
    assert tiny.main(monkeypatch, "run", path, "--json") == 1
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert found["failed_rows"] == 1
    assert [v["verdict"] for v in found["verdicts"]["agreement"]] == ["equal"]
    assert Path(found["report"]).is_file()
    assert "bad.png" in Path(found["report"]).read_text()
    assert "1 failed rows" in streams.err
    assert "predictions on net" in streams.err  # the progress bar
    assert read_manifest(at / "reports" / "tiny")["status"] == "done"


@pytest.mark.slow
def test_a_whole_run_and_fail_on(at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    path = tiny.config(at, count=2, studies={"agreement": {}}, methods=["saliency"])
    assert tiny.main(monkeypatch, "run", path) == 0
    streams = capsys.readouterr()
    assert "equal" in streams.out
    assert "report: reports/tiny/report.html" in streams.out
    assert (at / "reports" / "tiny" / "report.html").stat().st_size > 10_000
    assert tiny.main(monkeypatch, "run", path, "--fail-on", "agreement:equal") == 1
    assert "--fail-on: agreement:equal" in capsys.readouterr().err
    assert tiny.main(monkeypatch, "run", path, "--fail-on", "agreement:differs,agreement:failed") == 0
    capsys.readouterr()
    for wrong in ("agreement", "agrement:differs", "agreement:difers", "sanity:FAIL"):
        assert tiny.main(monkeypatch, "run", path, "--fail-on", wrong) == 2
        assert "--fail-on" in one_line(capsys)


def test_an_optional_network_is_exit_0_and_a_needed_one_exit_1(
    at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    lost = tiny.network(at, label="lost", weights="none.pth")
    for optional, code in ((True, 0), (False, 1)):
        models = [lost | {"optional": optional}, tiny.network(at)]
        path = tiny.config(at, count=2, models=models, studies={}, methods=["saliency"])
        assert tiny.main(monkeypatch, "run", path, "--run-dir", at / str(code)) == code
        assert tiny.main(monkeypatch, "check", path) == code
        assert "none.pth" in capsys.readouterr().out


def test_only_optional_networks_and_none_to_be_had(at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    path = tiny.config(at, model=tiny.network(at, weights="none.pth", optional=True))
    assert tiny.main(monkeypatch, "run", path) == 0
    assert "none.pth" in capsys.readouterr().out


def test_a_network_without_parameters_gives_rows(at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    studies = {"sharpness": {}}
    path = tiny.config(at, count=2, model=tiny.network(at, factory="tiny:Brightness"), studies=studies)
    assert tiny.main(monkeypatch, "run", path) == 0
    rows = read(at / "reports" / "tiny")
    assert (rows[(rows["study"] == "sharpness") & (rows["method"] == "saliency")]["status"] == "ok").all()


def test_scores_that_are_nan_on_some_photos_are_those_photos_failure(
    at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    model = tiny.network(at, factory="tiny:NanWhereBright")
    path = tiny.config(at, count=3, model=model, studies={}, methods=["saliency"])
    assert tiny.main(monkeypatch, "run", path) == 1
    rows = read(at / "reports" / "tiny")
    failed = rows[rows["status"] == "failed"]
    assert failed["message"].tolist() == ["the network's scores of this image hold NaN or infinity"]
    assert (rows["metric"] == "confidence").sum() == 2


def test_a_run_whose_items_left_no_rows_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.config(tmp_path, count=2, studies={}, methods=["saliency"])
    monkeypatch.setattr("suite.run.runner._predict", lambda *_: None)
    with pytest.raises(SuiteError, match="1 of 1 items left no rows, first predictions/00-000000"):
        execute(prepare(load(path)), tmp_path / "run")
    assert read_manifest(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["visualize", "goose", "--channel", "3"], "--channel 3: a channel is of a layer"),
        (["visualize", "goose", "--set", "steps=3", "--steps", "2"], "give one of the two"),
        (["visualize", "goose", "--set", "rate=.nan"], "'rate' is nan"),
        (["stylize", "astronaut", "text", "--set", "rate=.nan"], "'rate' is nan"),
        (["attack", "photo.png", "--set", "steps=3", "--set", "steps=4"], "each key once"),
        (["attack", "photo.png", "--set", "steps"], "expected key=value"),
        (["attack", "photo.png", "--set", "step_size=.nan"], "'step_size' is nan"),
        (["attack", "photo.png", "--out", "photo.png"], "cannot be a folder"),
        (["explain", "photo.png", "--out", "photo.png/x"], "cannot be a folder"),
        (["attack", "photo.png", "--label", "stingray"], "so there is nothing to fool"),
    ],
)
def test_settings_that_would_be_ignored_or_do_harm_are_refused(
    words: list[str], said: str, at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    Image.new("RGB", (64, 64), (200, 90, 20)).save(at / "photo.png")
    assert tiny.main(monkeypatch, *words) == 2
    assert said in one_line(capsys)


@pytest.mark.parametrize("words", [["run"], ["rum", "x"], ["run", "x.yaml", "--nope"], ["list", "methods"]])
def test_usage_errors(words: list[str], at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert tiny.main(monkeypatch, *words) == 2
    one_line(capsys)


def test_debug_shows_the_traceback_and_keeps_the_code(
    at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert tiny.main(monkeypatch, "run", "none.yaml", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_lists(at: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for what, name in (("attributions", "saliency"), ("metrics", "spearman"), ("studies", "agreement")):
        assert tiny.main(monkeypatch, "list", what, "--json") == 0
        entries = json.loads(capsys.readouterr().out)
        assert entries[name] or name == "agreement"
    assert tiny.main(monkeypatch, "list", "layers", "--json") == 0
    layers = json.loads(capsys.readouterr().out)
    assert layers["features.12"] == "default target layer"


def test_help_and_import_leave_torch_alone() -> None:
    code = (
        "import sys, suite\n"
        "from suite.cli import main\n"
        "sys.argv = ['suite', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'captum'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tiny.ROOT)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.slow
def test_explain_writes_maps_numbers_crops_and_masks(tmp_path, monkeypatch, capsys):
    photo = sorted(tiny.photos(tmp_path).rglob("*.png"))[0]
    words = ("explain", photo, "--weights", "random", "--method", "saliency", "--method", "grad_cam")
    assert tiny.main(monkeypatch, *words, "--out", tmp_path / "out", "--crop", "--mask", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert len(numbers["predictions"]) == 5
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"photo.png", "saliency.png", "saliency-mask.png", "maps.npz", "numbers.json"}
    box = numbers["methods"]["saliency"]["box"]
    with Image.open(tmp_path / "out" / "saliency-crop.png") as crop:
        assert crop.size == (box[2] - box[0], box[3] - box[1])
    assert tiny.main(monkeypatch, "explain", tmp_path / "none.png", "--weights", "random") == 2


def test_metrics_are_listed_with_their_cards(monkeypatch, capsys):
    assert tiny.main(monkeypatch, "list", "metrics") == 0
    lines = capsys.readouterr().out.splitlines()
    road = next(line for line in lines if line.startswith("road"))
    assert "Lower is better" in road
    assert "Rong et al. 2022" in road
