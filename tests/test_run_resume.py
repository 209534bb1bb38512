"""Stopping a run at any moment and giving the same command again; several processes. Real processes, real signals."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import tiny

from suite.config import load
from suite.errors import SuiteError
from suite.results import read, read_manifest, shard_is_valid
from suite.run.runner import execute, prepare

ITEMS = 6 * 4  # chunks times studies, predictions among them


def slow_config(folder: Path) -> Path:
    """24 items; every chunk of two photos takes at least 0.2 s."""
    methods = ["saliency", "grad_cam", {"name": "tiny:slow", "label": "slow", "seconds": 0.2}]
    return tiny.config(folder, count=12, methods=methods, data={"source": str(folder / "photos"), "batch_size": 2})


def shards(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "rows").rglob("*.parquet"))


def start(path: Path, run_dir: Path) -> "subprocess.Popen[bytes]":
    words = tiny.command("run", path, "--run-dir", run_dir)
    return subprocess.Popen(
        words, cwd=path.parent, env=tiny.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_shards(process: "subprocess.Popen[bytes]", run_dir: Path, count: int) -> None:
    end = time.monotonic() + 120
    while len(shards(run_dir)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the run does not get on"
        time.sleep(0.01)


def kills(folder: Path, count: int, seed: int) -> None:
    draw = random.Random(seed)
    path, run_dir = slow_config(folder), folder / "run"
    done: dict[Path, int] = {}
    for _ in range(count):
        process = start(path, run_dir)
        wait_for_shards(process, run_dir, len(done) + draw.randint(1, 3))
        time.sleep(draw.uniform(0, 0.25))
        process.kill()
        process.communicate()
        found = shards(run_dir)
        assert all(shard_is_valid(shard) for shard in found)
        if len(found) == ITEMS:  # on a machine that stalls, the whole run may have gone by
            break
        assert read_manifest(run_dir)["status"] == "running"
        assert {shard: shard.stat().st_mtime_ns for shard in done} == done  # nothing done twice
        done = {shard: shard.stat().st_mtime_ns for shard in found}
        if len(done) >= ITEMS - 8:
            break
    assert done, "the run ended before it could be killed once: make it slower"
    rows = tiny.rows(path, run_dir)
    assert {shard: shard.stat().st_mtime_ns for shard in done} == done
    assert len(shards(run_dir)) == ITEMS
    pd.testing.assert_frame_equal(rows, tiny.rows(path, folder / "undisturbed"))


@pytest.mark.slow
def test_killed_twice(tmp_path: Path) -> None:
    kills(tmp_path, 2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_again_and_again(seed: int, tmp_path: Path) -> None:
    kills(tmp_path, 8, seed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_gone_on(number: signal.Signals, tmp_path: Path) -> None:
    path, run_dir = slow_config(tmp_path), tmp_path / "run"
    process = start(path, run_dir)
    wait_for_shards(process, run_dir, 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err.decode()
    assert b"Traceback" not in err
    assert b"interrupted; what was done is kept" in b" ".join(err.split())
    assert b"report:" in out
    manifest = read_manifest(run_dir)
    assert manifest["status"] == "interrupted"
    assert 5 <= manifest["items"]["done"] < manifest["items"]["total"] == ITEMS
    assert (run_dir / "report.html").is_file()
    done = {shard: shard.stat().st_mtime_ns for shard in shards(run_dir)}
    rows = tiny.rows(path, run_dir)
    assert {shard: shard.stat().st_mtime_ns for shard in done} == done
    pd.testing.assert_frame_equal(rows, tiny.rows(path, tmp_path / "undisturbed"))


@pytest.mark.slow
def test_two_runs_at_once(tmp_path: Path) -> None:
    path, run_dir = slow_config(tmp_path), tmp_path / "run"
    prepared = prepare(load(path))
    first = start(path, run_dir)
    wait_for_shards(first, run_dir, 1)
    with pytest.raises(SuiteError, match="another run is at work"):
        execute(prepared, run_dir)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err.decode()
    assert len(shards(run_dir)) == ITEMS


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 2])  # two photos without a study are one item, fewer than processes
def test_two_processes_give_the_rows_of_one(count: int, tmp_path: Path) -> None:
    studies = {"agreement": {}, "comparison": {}} if count > 2 else {}
    methods = ["saliency", "grad_cam", "smoothgrad"]
    path = tiny.config(tmp_path, count=count, studies=studies, methods=methods)
    one = tiny.rows(path, tmp_path / "one", "trainer.accelerator=cpu")
    free = {key: value for key, value in tiny.environment().items() if key != "OMP_NUM_THREADS"}
    words = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    done = subprocess.run(
        tiny.command("run", path, *words, "--run-dir", tmp_path / "two"),
        cwd=tmp_path, env=free, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report:") == 1
    assert done.stderr.count("run directory:") == 1
    assert "Traceback" not in done.stderr
    two = read(tmp_path / "two")
    pd.testing.assert_frame_equal(two, one)
    manifest = read_manifest(tmp_path / "two")
    assert manifest["status"] == "done"
    assert manifest["items"]["done"] == manifest["items"]["total"]
    assert manifest["threads"] == 1
    assert not [name for name in os.listdir(tmp_path / "two") if name.endswith(".tmp")]  # noqa: PTH208
    again = tiny.rows(path, tmp_path / "two", "trainer.accelerator=cpu")  # the digest knows nothing of devices
    pd.testing.assert_frame_equal(again, one)
