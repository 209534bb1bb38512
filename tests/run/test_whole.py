"""A run from end to end on a tiny network: rows, manifest, what is bad in the data, what is bad in a method."""

import json
import os
import struct
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image

from suite.attribution.saliency import Saliency
from suite.config import load
from suite.core.classes import ClassNames
from suite.core.numerics import Numerics, active, numerics
from suite.core.passes import Pass
from suite.data.sources import list_images
from suite.report.html import _took
from suite.report.tables import build_tables
from suite.results import RunLock, key_of, read, read_manifest
from suite.results.schema import METRIC_VERSIONS
from suite.run.runner import execute, prepare
from suite.studies.base import Outcome, Work
from suite.studies.differentiate.study import Differentiate


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("whole")
    path = tiny.config(folder)
    return path, folder / "run", tiny.rows(path, folder / "run")


def test_rows(whole: tuple[Path, Path, pd.DataFrame]) -> None:
    _, _, rows = whole
    assert not rows.duplicated(key_of(list(rows))).any()
    assert not (rows["status"] == "failed").any()
    predictions = rows[rows["study"] == "predictions"]
    assert len(predictions) == 6 * 4
    assert sorted(predictions["target"].unique()) == [0, 1, 2]
    agreement = rows[(rows["study"] == "agreement") & (rows["metric"] == "bit_equal")]
    assert len(agreement) == 6 * 3
    assert (agreement["value"] == 1).all()
    assert set(agreement.loc[agreement["method"] == "grad_cam", "layer"]) == {"act2"}
    # Pairs of three methods: three on one photo, six (a method with itself too) on unrelated ones.
    comparison = rows[(rows["study"] == "comparison") & (rows["metric"] == "ssim")]
    assert len(comparison) == 6 * 3 + 6 * 6
    own = comparison[comparison["method"] == comparison["other_method"]]
    assert set(own["pairing"]) == {"unrelated_photos"}
    assert len(own) == 6 * 3
    assert len(rows[rows["study"] == "sharpness"]) == 6 * 3 * 4


def test_manifest(whole: tuple[Path, Path, pd.DataFrame]) -> None:
    path, run_dir, _ = whole
    manifest = read_manifest(run_dir)
    assert manifest["status"] == "done"
    assert manifest["items"] == {"total": 8, "done": 8}
    assert manifest["config"] == load(path).model_dump(mode="json")
    assert manifest["threads"] == 1
    assert manifest["data"]["n"] == manifest["data"]["total"] == 6
    assert manifest["models"]["net"]["default_layer"] == "act2"
    assert manifest["methods"]["saliency"]["signed"] is False
    assert {"0": "a", "1": "b", "2": "c"}.items() <= manifest["class_names"].items()
    assert all(int(i) < tiny.K for i in manifest["class_names"])


def test_a_run_computes_under_its_numerics_and_names_operators_without_a_deterministic_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[Numerics]()
    saliency = Saliency.from_pass

    def watching(method: Saliency, shared: Pass) -> torch.Tensor:
        seen.append(active())
        unruly.add("upsample_backward_cuda")
        return saliency(method, shared)

    path = tiny.config(tmp_path, studies={"sharpness": {}}, numerics={"tf32": True, "draws": "cpu"})
    prepared = prepare(load(path))
    monkeypatch.setattr(Saliency, "from_pass", watching)
    with numerics(Numerics()) as unruly:
        monkeypatch.setattr("suite.run.runner.numerics", lambda wanted: nullcontext(unruly.add(str(wanted)) or unruly))
        manifest = execute(prepared, tmp_path / "run")
    assert manifest["numerics"]["not_deterministic"] == [
        str(Numerics(tf32=True, draws="cpu")),
        "upsample_backward_cuda",
    ]
    assert [r for r in caplog.records if "upsample_backward_cuda" in r.message and "deterministic=false" in r.message]
    monkeypatch.undo()
    monkeypatch.setattr(Saliency, "from_pass", watching)
    execute(prepare(load(path)), tmp_path / "again")
    assert seen[-1] == Numerics(tf32=True, draws="cpu")
    assert active() == Numerics()
    again = read_manifest(tmp_path / "again")
    assert again["numerics"] == {
        "tf32": True, "deterministic": True, "draws": "cpu", "memory": 0.6, "not_deterministic": []
    }  # fmt: skip
    assert {"driver", "cudnn"} <= again["hardware"].keys()


def test_finished_runs_compute_nothing_and_keep_their_shards(
    whole: tuple[Path, Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run_dir, rows = whole
    before = {p: p.stat().st_mtime_ns for p in (run_dir / "rows").rglob("*.parquet")}
    monkeypatch.setattr("suite.run.runner._predict", lambda *_: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(tiny.rows(path, run_dir), rows)
    assert {p: p.stat().st_mtime_ns for p in (run_dir / "rows").rglob("*.parquet")} == before


def test_files_csv_gives_the_same_rows(whole: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    path, run_dir, rows = whole
    again = tiny.rows(path, tmp_path / "run", f"data.source={run_dir / 'files.csv'}")
    pd.testing.assert_frame_equal(again, rows)


def test_a_run_of_something_else_is_refused(
    whole: tuple[Path, Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run_dir, _ = whole
    with pytest.raises(Exception, match="another configuration") as caught:
        execute(prepare(load(path, ["seed=3"])), run_dir)
    assert "--run-dir" in str(caught.value)
    monkeypatch.setitem(METRIC_VERSIONS, "agreement.spearman", 2)
    with pytest.raises(Exception, match="its metrics are of other versions"):
        execute(prepare(load(path)), run_dir)
    monkeypatch.delitem(METRIC_VERSIONS, "agreement.spearman")
    with RunLock(run_dir), pytest.raises(Exception, match="another run is at work"):
        execute(prepare(load(path)), run_dir)
    listed = tiny.config(tmp_path)
    execute(prepare(load(listed)), tmp_path / "run")
    next((tmp_path / "photos" / "a").glob("*.png")).write_bytes(
        next((tmp_path / "photos" / "b").glob("*")).read_bytes()
    )
    with pytest.raises(Exception, match="another images or labels"):
        execute(prepare(load(listed)), tmp_path / "run")
    assert read_manifest(tmp_path / "run")["status"] == "done"


def test_a_run_of_other_weights_is_refused(tmp_path: Path) -> None:
    torch.save(tiny.Net().state_dict(), tmp_path / "w.pth")
    path = tiny.config(
        tmp_path, model=tiny.network(tmp_path, weights=str(tmp_path / "w.pth")), studies={}, methods=["saliency"]
    )
    execute(prepare(load(path)), tmp_path / "run")
    torch.save(tiny.Net().state_dict(), tmp_path / "w.pth")
    with pytest.raises(Exception, match="'net' had other weights"):
        execute(prepare(load(path)), tmp_path / "run")


def test_a_damaged_shard_is_made_again_and_only_that(
    whole: tuple[Path, Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run_dir, rows = whole
    shards = sorted((run_dir / "rows").rglob("*.parquet"))
    hurt = next(s for s in shards if s.parent.name == "comparison")
    hurt.write_bytes(hurt.read_bytes()[:-20])
    before = {p: p.stat().st_mtime_ns for p in shards if p != hurt}
    pd.testing.assert_frame_equal(tiny.rows(path, run_dir), rows)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_an_item_that_failed_as_a_whole_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run_dir = tiny.config(tmp_path, count=3, studies={"sharpness": {}}), tmp_path / "run"
    with monkeypatch.context() as broken:
        broken.setattr("suite.studies.sharpness.study.Sharpness.run", lambda self, work: 1 / 0)
        rows = tiny.rows(path, run_dir)
    (item,) = rows[rows["metric"] == "item"].to_dict("records")
    assert "ZeroDivisionError" in item["message"]
    again = tiny.rows(path, run_dir)
    pd.testing.assert_frame_equal(again, tiny.rows(path, tmp_path / "undisturbed"))


def test_a_run_goes_on_with_the_threads_it_began_with(tmp_path: Path) -> None:
    path, run_dir = tiny.config(tmp_path, count=3, threads=None, studies={}), tmp_path / "run"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        execute(prepare(load(path)), run_dir)
        torch.set_num_threads(2)
        next((run_dir / "rows").rglob("*.parquet")).unlink()
        assert execute(prepare(load(path)), run_dir)["threads"] == 1
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_workers_change_nothing(whole: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    path, _, rows = whole
    pd.testing.assert_frame_equal(tiny.rows(path, tmp_path / "run", "data.workers=2"), rows)


def test_a_clock_that_is_set_back_leaves_no_old_picture_and_no_negative_time(tmp_path: Path) -> None:
    path, run_dir = tiny.config(tmp_path, count=2, methods=["saliency"], studies={"agreement": {}}), tmp_path / "run"
    rows = tiny.rows(path, run_dir)
    for number in range(2):
        drawn = run_dir / "images" / "00" / f"{number:06d}.png"
        drawn.write_bytes(b"drawn tomorrow")
        os.utime(drawn, (2**33, 2**33))
    next((run_dir / "rows" / "agreement").glob("*.parquet")).unlink()
    pd.testing.assert_frame_equal(tiny.rows(path, run_dir), rows)
    assert not list((run_dir / "images").rglob("*.png"))
    assert _took(read_manifest(run_dir) | {"started": "2300-01-01T00:00:00+00:00"}) == ""


def png_header(width: int, height: int) -> bytes:
    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 100)) + part(b"IEND", b"")


def test_bad_images_are_rows_that_name_them(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, count=3, methods=["saliency"], studies={"agreement": {}})
    folder = tmp_path / "photos" / "a"
    good = next(folder.glob("*.png")).read_bytes()
    picture = Image.open(next(folder.glob("*.png"))).convert("RGB")
    failed = {
        "truncated.png": good[: len(good) // 2],
        "zero.jpg": b"",
        "text.jpg": b"these are words, not an image",
        "bomb.png": png_header(50_000, 50_000),
    }
    for name, content in failed.items():
        (folder / name).write_bytes(content)
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.arange(40 * 40, dtype=np.uint16).reshape(40, 40) * 40).save(folder / "sixteen.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture.convert("RGBA").quantize(16).save(folder / "palette.png", transparency=0)
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    rows = tiny.rows(path, tmp_path / "run")
    bad = rows[rows["status"] == "failed"].set_index("image")
    assert set(bad.index) == {f"a/{name}" for name in [*failed, "one.png"]}
    for image, message in bad["message"].items():
        assert Path(str(image)).name in message
        assert "\n" not in message
    notes = rows[(rows["metric"] == "top1")].set_index("image")["message"]
    assert "CMYK" in notes["a/cmyk.jpg"]
    assert "16-bit" in notes["a/sixteen.png"]
    assert "transparency" in notes["a/palette.png"]
    assert "first frame" in notes["a/moving.gif"]
    done = rows[(rows["metric"] == "bit_equal") & (rows["status"] == "ok")]["image"]
    assert len(done) == 3 + 4


def test_a_chunk_without_one_readable_image_loses_nothing_else(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, count=6, methods=["saliency"], studies={"agreement": {}, "speed": {"rounds": 2}})
    for file in list_images(tmp_path / "photos", classes=ClassNames(tuple("abc"))).files[:3]:
        file.path.write_bytes(b"")
    rows = tiny.rows(path, tmp_path / "run")
    assert (rows["status"] == "failed").sum() == 3
    assert len(rows[(rows["metric"] == "bit_equal") & (rows["status"] == "ok")]) == 3
    speed = rows[rows["study"] == "speed"]
    assert speed["status"].tolist() == ["not_applicable"]
    assert "first chunk" in speed["message"].iloc[0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("raising", ["RuntimeError: boom second line", "tiny.py, line"]),
        ("wrong_shape", ["'wrong_shape'", "expected a map", "got shape ()"]),
        ("holding_nan", ["NaN"]),
        ("mutating", ["changed the network", "weights", "hooks", "training flags"]),
    ],
)
def test_a_bad_method_of_ones_own_costs_only_its_own_rows(
    function: str, words: list[str], whole: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    methods = [f"tiny:{function}", "saliency", "guided_backprop", "grad_cam"]
    rows = tiny.rows(tiny.config(tmp_path, methods=methods), tmp_path / "run")
    theirs = (rows["method"] == f"tiny:{function}") | (rows["other_method"] == f"tiny:{function}")
    assert set(rows.loc[theirs, "status"]) == {"failed"}
    assert set(rows.loc[theirs, "study"]) == {"agreement", "comparison", "sharpness"}
    assert set(rows.loc[theirs, "image"]) == {f"{'abc'[i % 3]}/{i:02d}.png" for i in range(6)}
    for word in words:
        assert word in rows.loc[theirs, "message"].iloc[0]
    # The others' rows are those of a run without it, bit for bit: nothing leaked from one to the other.
    pd.testing.assert_frame_equal(rows[~theirs].reset_index(drop=True), whole[2])


def test_what_memory_does_not_hold_is_done_in_halves_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studies = {"agreement": {}, "comparison": {}, "sharpness": {}, "differentiate": {"radii": [0.01]}}

    def run(method: str) -> pd.DataFrame:
        methods = ["saliency", {"name": "smoothgrad", "samples": 3}, {"name": f"tiny:{method}", "label": "mine"}]
        path = tiny.config(tmp_path, count=7, methods=methods, studies=studies)
        return tiny.rows(path, tmp_path / method, "data.batch_size=5")

    expected, rows = run("luminance"), run("hungry")
    note = "out of memory with 5 images at once, done 1 at a time"
    assert set(rows["message"]) >= {note, note.replace("5", "2")}
    assert (rows.loc[rows["study"] == "sharpness", "message"].str.startswith("out of memory with")).all()
    assert not rows.loc[rows["study"] == "differentiate", "message"].str.contains("out of memory").any()
    notes = read_manifest(tmp_path / "hungry")["memory"]
    assert f"comparison on net: {note}" in notes
    assert read_manifest(tmp_path / "luminance")["memory"] == []
    assert "out of memory" in caplog.text
    assert not (rows["status"] == "failed").any()
    held = rows[rows["metric"] == "at_once"]
    assert {f"{s} on net: {m}" for s, m in zip(held["study"], held["message"], strict=True)} == {*notes}
    rows = rows[rows["metric"] != "at_once"].reset_index(drop=True)
    columns = key_of(list(rows))
    pd.testing.assert_frame_equal(rows[columns], expected[columns])
    bits = rows["metric"].isin(["bit_equal", "max_abs_difference"])
    pd.testing.assert_series_equal(rows.loc[~bits, "value"], expected.loc[~bits, "value"], rtol=1e-3, atol=1e-4)


def test_a_study_that_memory_does_not_hold_is_worked_on_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.config(tmp_path, count=5, methods=["saliency"], studies={"differentiate": {"radii": [0.01]}})
    expected = tiny.rows(path, tmp_path / "whole", "data.batch_size=5")
    run = Differentiate.run

    def short(self: Differentiate, work: Work) -> Outcome:
        if len(work.images) > 2:
            raise torch.OutOfMemoryError("no more")
        return run(self, work)

    monkeypatch.setattr(Differentiate, "run", short)
    rows = tiny.rows(path, tmp_path / "halves", "data.batch_size=5")
    (held,) = rows.loc[rows["metric"] == "at_once", "value"]
    assert held == 2
    told = rows[rows["study"] == "differentiate"]["message"]
    assert told.str.endswith("out of memory with 5 images at once, done 2 at a time").all()
    rows = rows[rows["metric"] != "at_once"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.drop(columns="message"), expected.drop(columns="message"), rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(Differentiate, "run", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    failed = tiny.rows(path, tmp_path / "none", "data.batch_size=5")
    (line,) = failed[failed["status"] == "failed"].to_dict("records")
    assert "out of memory with 1 image at once" in line["message"]
    assert failed.loc[failed["metric"] == "at_once", "value"].tolist() == [0]
    note = "differentiate on net: out of memory with 1 image at once"
    assert read_manifest(tmp_path / "none")["memory"] == [note]


def test_a_good_method_of_ones_own_appears_in_every_study(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, methods=["saliency", {"name": "tiny:luminance", "label": "mine"}])
    rows = tiny.rows(path, tmp_path / "run")
    mine = rows[rows["method"] == "mine"]
    assert set(mine["study"]) == {"agreement", "comparison", "sharpness"}
    assert not (rows["status"] == "failed").any()


@pytest.mark.slow
def test_speed_is_the_only_place_of_clocks_and_ratios_are_of_their_own_round(tmp_path: Path) -> None:
    path = tiny.config(
        tmp_path, count=3, methods=["saliency", "guided_backprop"], studies={"agreement": {}, "speed": {"rounds": 3}}
    )
    first, second = tiny.rows(path, tmp_path / "one"), tiny.rows(path, tmp_path / "two")
    pd.testing.assert_frame_equal(tiny.timeless(first), tiny.timeless(second))
    speed = first[first["study"] == "speed"]
    timed = speed[speed["metric"].isin(["seconds", "passes"])]
    jobs = timed.groupby(["method", "implementation", "job"])
    assert (jobs["round"].nunique() == 3).all()
    assert set(timed["round"]) == {0, 1, 2}
    assert {("saliency", "own", "batch"), ("saliency", "captum", "batch"), ("forward", "bare", "batch")} <= set(
        jobs.groups
    )
    assert ("all methods", "own", "one_by_one") in jobs.groups
    wide = timed.pivot_table(index=["method", "implementation", "job", "round"], columns="metric", values="value")
    for (_, _, job, turn), line in wide.iterrows():
        bare = wide.loc[("forward_and_gradient", "bare", job, turn), "seconds"]
        assert line["passes"] == line["seconds"] / bare
    assert (speed.loc[speed["metric"] == "peak_memory", "value"] > 0).all()
    assert (speed["photos"] == 3).all()


def test_another_memory_format_stands_beside_the_usual_one(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, memory_format="channels_last", studies={"agreement": {}})
    rows = tiny.rows(path, tmp_path / "run")
    beside = rows[rows["implementation"] == "contiguous"]
    assert beside.groupby("method").size().to_dict() == dict.fromkeys(("grad_cam", "guided_backprop", "saliency"), 6)
    assert (beside["value"] < 1e-4).all()  # of so small a network
    tables = build_tables(rows, read_manifest(tmp_path / "run"))
    assert set(tables["agreement_verdicts"]["verdict"]) == {"equal"}  # Captum's ran in the same format
    assert list(tables["agreement_memory_format"]["n"]) == [6, 6, 6]


def test_networks_that_cannot_be_had(tmp_path: Path) -> None:
    def run(name: str, lost: dict[str, object]) -> pd.DataFrame:
        models = [tiny.network(tmp_path, label="lost") | lost, tiny.network(tmp_path, label="good")]
        path = tiny.config(tmp_path, models=models, studies={"agreement": {}}, methods=["saliency"])
        rows = tiny.rows(path, tmp_path / name)
        assert (rows.loc[rows["metric"] == "bit_equal", "value"] == 1).sum() == 6
        line = rows[rows["model"] == "lost"]
        assert line["metric"].tolist() == ["network"]
        return line

    missing = str(tmp_path / "none.pth")
    line = run("failed", {"weights": missing})
    assert line["status"].tolist() == ["failed"]
    assert "none.pth" in line["message"].iloc[0]
    assert run("optional", {"weights": missing, "optional": True})["status"].tolist() == ["skipped"]
    message = run("broken", {"factory": "tiny:broken_factory"})["message"].iloc[0]
    assert "no such disk second line" in message


def test_pictures_are_of_the_first_photos_of_the_list_whatever_could_be_read(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, count=6, methods=["saliency"], studies={"agreement": {}}, pictures=3)
    files = list_images(tmp_path / "photos", classes=ClassNames(tuple("abc"))).files
    assert [file.id for file in files] != sorted(file.id for file in files)
    files[1].path.write_bytes(b"")
    tiny.rows(path, tmp_path / "run")
    stored = {file.stem: str(np.load(file)["id"]) for file in (tmp_path / "run" / "images").rglob("[0-9]*.npz")}
    assert stored == {"000000": files[0].id, "000002": files[2].id}


def test_one_image_a_chunk_has_no_unrelated_photo(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, count=2, methods=["saliency", "gradient"], studies={"comparison": {}})
    rows = tiny.rows(path, tmp_path / "run", "data.batch_size=1")
    unrelated = rows[rows["pairing"] == "unrelated_photos"]
    assert len(unrelated) == 2 * 3 * 3
    assert set(unrelated["status"]) == {"not_applicable"}
    assert "no photo of another class" in unrelated["message"].iloc[0]
    assert set(rows.loc[rows["pairing"] == "same_photo", "status"]) == {"ok"}


def test_run_json_is_strict_json(whole: tuple[Path, Path, pd.DataFrame]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((whole[1] / "run.json").read_text(), parse_constant=refuse)
    assert read(whole[1]).equals(whole[2])
