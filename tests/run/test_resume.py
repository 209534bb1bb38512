"""Killed or stopped at any moment and given again, on one process and on two: real processes, real signals."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import tiny
from forked import Child, Zygote

from suite.config import load
from suite.errors import SuiteError
from suite.results import read, read_manifest, shard_is_valid
from suite.results.store import names
from suite.run.runner import execute, prepare

ITEMS = 6 * 4  # of `slow_config`: chunks times studies, predictions among them
DDP = ("trainer.devices=2", "trainer.strategy=ddp")


def slow_config(folder: Path) -> Path:
    """24 items; every chunk of two photos takes at least 0.2 s."""
    methods = ["saliency", "grad_cam", {"name": "tiny:slow", "label": "slow", "seconds": 0.2}]
    return tiny.config(folder, count=12, methods=methods, data={"source": str(folder / "photos"), "batch_size": 2})


def reach(run_dir: Path, count: int) -> Callable[[], bool]:
    return lambda: len(names(run_dir)) >= count


@pytest.fixture(scope="module")
def whole(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, pd.DataFrame]:
    """A configuration of every study, its number of items, and the rows of an undisturbed run."""
    folder = tmp_path_factory.mktemp("everything")
    path = tiny.everything(folder)
    child = zygote.rows(path, folder / "run")
    assert child.code() == 0, child.said
    assert set(Counter(child.begun).values()) == {1}
    rows = tiny.timeless(read(folder / "run"))
    assert not (rows["status"] == "failed").any()
    return path, len(child.begun), rows


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.faults)])
def test_killed_again_and_again(
    kills: int, zygote: Zygote, whole: tuple[Path, int, pd.DataFrame], tmp_path: Path
) -> None:
    path, items, rows = whole
    draw, run_dir = random.Random(kills), tmp_path / "run"
    begun: list[str] = []
    for at in sorted(draw.uniform(0, items + 2) for _ in range(kills)):  # before the first item, and after the last
        child = zygote.rows(path, run_dir)
        alive = child.until(reach(run_dir, min(int(at), items)))
        time.sleep(draw.uniform(0, 0.4))
        child.send(signal.SIGKILL)
        assert child.code() == (-signal.SIGKILL if alive else 0) or not alive or reach(run_dir, items)(), child.said
        assert not set(child.begun) & set(begun[:-1]), "done twice"
        begun = [*begun[:-1], *child.begun] if child.begun[:1] == begun[-1:] else [*begun, *child.begun]
        assert all(shard_is_valid(shard) for shard in (run_dir / "rows").glob("*/[0-9]*.parquet"))
    child = zygote.rows(path, run_dir)
    assert child.code() == 0, child.said
    assert not set(child.begun) & set(begun[:-1]), "done twice"
    assert len({*begun, *child.begun}) == items
    pd.testing.assert_frame_equal(tiny.timeless(read(run_dir)), rows)
    assert not list(run_dir.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_gone_on(number: signal.Signals, zygote: Zygote, tmp_path: Path) -> None:
    path, run_dir = slow_config(tmp_path), tmp_path / "run"
    child = zygote.start("run", path, "--run-dir", run_dir)
    assert child.until(reach(run_dir, 5)), child.said
    child.send(number)
    assert child.code() == 1, child.said
    assert "Traceback" not in child.said
    assert "interrupted; what was done is kept" in " ".join(child.said.split())
    assert "report:" in child.said
    manifest = read_manifest(run_dir)
    assert manifest["status"] == "interrupted"
    assert 5 <= manifest["items"]["done"] < manifest["items"]["total"] == ITEMS
    assert (run_dir / "report.html").is_file()
    done = {shard: shard.stat().st_mtime_ns for shard in (run_dir / "rows").rglob("*.parquet")}
    again = zygote.rows(path, run_dir)
    assert again.code() == 0, again.said
    assert len(again.begun) == ITEMS - len(done)
    assert not set(again.begun) & set(child.begun[: len(done)])


@pytest.mark.slow
def test_two_runs_at_once(zygote: Zygote, tmp_path: Path) -> None:
    path, run_dir = slow_config(tmp_path), tmp_path / "run"
    prepared = prepare(load(path))
    child = zygote.rows(path, run_dir)
    assert child.until(reach(run_dir, 1)), child.said
    with pytest.raises(SuiteError, match="another run is at work"):
        execute(prepared, run_dir)
    assert child.code() == 0, child.said
    assert len(names(run_dir)) == ITEMS


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk in memory; skips where mounting is not allowed."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full(child: Child, run_dir: Path) -> None:
    """It ended with one line, and what is there is whole."""
    assert child.code() == 2, child.said
    assert "Traceback" not in child.said
    (line,) = (line for line in child.said.splitlines() if "suite: " in line)
    assert str(run_dir) in line
    assert "cannot be written" in line
    assert "give the same command" in line
    assert all(shard_is_valid(shard) for shard in (run_dir / "rows").rglob("*.parquet"))
    assert not list(run_dir.rglob("*.tmp"))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_room(zygote: Zygote, tmp_path: Path) -> None:
    methods = ["saliency", "guided_backprop"]
    path, run_dir = tiny.config(tmp_path, methods=methods, studies={"agreement": {}, "sharpness": {}}), tmp_path / "run"
    expected = tiny.rows(path, tmp_path / "expected")
    full(zygote.rows(path, run_dir, SUITE_FILE_LIMIT="12000"), run_dir)
    again = zygote.rows(path, run_dir)
    assert again.code() == 0, again.said
    pd.testing.assert_frame_equal(read(run_dir), expected)
    with mounted(tmp_path / "small", "size=60k") as disk:
        full(zygote.rows(path, disk / "run"), disk / "run")
        assert names(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        again = zygote.rows(path, disk / "run")
        assert again.code() == 0, again.said
        pd.testing.assert_frame_equal(read(disk / "run"), expected)


def test_a_directory_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    path = tiny.config(tmp_path, count=1, studies={}, methods=["saliency"])
    with (
        mounted(tmp_path / "disk", "ro") as disk,
        pytest.raises(SuiteError, match=r"run cannot be written .*--run-dir"),
    ):
        execute(prepare(load(path)), disk / "run")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_killed_in_the_middle_give_the_rows_of_one(
    zygote: Zygote, whole: tuple[Path, int, pd.DataFrame], tmp_path: Path
) -> None:
    path, items, rows = whole
    run_dir, home = tmp_path / "run", {"HOME": "/nonexistent"}
    first = zygote.rows(path, run_dir, *DDP, **home)
    assert first.until(reach(run_dir, items // 3)), first.said
    first.send(signal.SIGKILL)  # the other process notices, and ends before it writes again
    assert first.code() == -signal.SIGKILL, first.said
    assert read_manifest(run_dir)["status"] == "running"
    second = zygote.rows(path, run_dir, *DDP, **home)
    assert second.code() == 0, second.said
    assert "Traceback" not in second.said
    assert second.said.count("run directory:") == 1
    manifest = read_manifest(run_dir)
    assert manifest["status"] == "done"
    assert manifest["items"] == {"total": items, "done": items}
    assert manifest["threads"] == 1
    pd.testing.assert_frame_equal(tiny.timeless(read(run_dir)), rows)
    assert not list(run_dir.rglob("*.tmp"))
    again = zygote.rows(path, run_dir)  # the digest knows nothing of devices
    assert again.code() == 0, again.said
    assert not again.begun


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_death_of_the_second_process_ends_the_first_and_the_run_goes_on(
    zygote: Zygote, whole: tuple[Path, int, pd.DataFrame], tmp_path: Path
) -> None:
    path, items, rows = whole
    run_dir = tmp_path / "run"
    first = zygote.rows(path, run_dir, *DDP)
    assert first.until(reach(run_dir, items // 3)), first.said
    (second,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    os.kill(int(second), signal.SIGKILL)
    assert first.code() != 0, first.said
    assert read_manifest(run_dir)["status"] != "done"
    again = zygote.rows(path, run_dir, *DDP)
    assert again.code() == 0, again.said
    pd.testing.assert_frame_equal(tiny.timeless(read(run_dir)), rows)


@pytest.mark.slow
def test_more_processes_than_items(zygote: Zygote, tmp_path: Path) -> None:
    changes = {"studies": {}, "methods": ["saliency"], "threads": None, "trainer": {"accelerator": "cpu"}}
    path = tiny.config(tmp_path, count=2, **changes)
    child = zygote.rows(path, tmp_path / "two", *DDP)
    assert child.code() == 0, child.said
    assert read_manifest(tmp_path / "two")["threads"] == 1
    pd.testing.assert_frame_equal(read(tmp_path / "two"), tiny.rows(path, tmp_path / "one"))
