"""Rows, shards, run.json and the lock: what is refused, what survives damage."""

import errno
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suite import results
from suite.errors import SuiteError
from suite.results import store


def one(**fields: Any) -> dict[str, Any]:
    return {"study": "agreement", "model": "m", "method": "saliency", "metric": "bit_equal", "value": 1.0} | fields


def test_shards_come_back_sorted_and_typed_whatever_order_they_were_written_in(tmp_path: Path) -> None:
    rows = [one(image=name, target=t) for t, name in enumerate(["c", "a", "b"])]
    rows.append(one(image="a", metric="spearman", status="not_applicable", value=math.nan, message="constant map"))
    results.write_shard(tmp_path / "one" / "rows" / "agreement" / "x.parquet", rows)
    for i, row in enumerate(reversed(rows)):
        results.write_shard(tmp_path / "two" / "rows" / "agreement" / f"{i}.parquet", [row])
    first, second = results.read(tmp_path / "one"), results.read(tmp_path / "two")
    pd.testing.assert_frame_equal(first, second)
    assert list(first["image"]) == ["a", "a", "b", "c"]
    assert str(first["target"].dtype) == "Int64"
    assert first["target"].isna().sum() == 1


def test_a_hundred_odd_strings_come_back_as_they_were(tmp_path: Path) -> None:
    names = ["<script>", 'quo"te', "new\nline", "甲 ü", "a|b", "\N{RIGHT-TO-LEFT OVERRIDE}x", "broken\udcff.jpg"]
    results.write_shard(tmp_path / "rows" / "agreement" / "s.parquet", [one(image=name) for name in names])
    assert set(results.read(tmp_path)["image"]) == {*names[:-1], "broken\\udcff.jpg"}


def test_empty_shard_is_valid_and_reads_as_no_rows(tmp_path: Path) -> None:
    results.write_shard(tmp_path / "rows" / "agreement" / "s.parquet", [])
    assert results.shard_is_valid(tmp_path / "rows" / "agreement" / "s.parquet")
    assert results.read(tmp_path).shape == (0, len(results.COMMON))


def test_every_truncation_of_a_shard_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "agreement" / "s.parquet"
    results.write_shard(path, [one(image=str(i)) for i in range(50)])
    whole = path.read_bytes()
    assert results.shard_is_valid(path)
    for length in (0, 3, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not results.shard_is_valid(path), length
    with pytest.raises(SuiteError, match=r"s\.parquet is not a readable shard .* delete it"):
        results.read(tmp_path)


def test_a_flipped_byte_in_the_data_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    results.write_shard(path, [one(image=str(i), value=i / 7) for i in range(500)])
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4] ^= 0xFF
    path.write_bytes(damaged)
    assert not results.shard_is_valid(path)


def test_another_schema_or_no_file_is_no_shard(tmp_path: Path) -> None:
    pq.write_table(pa.table({"study": ["agreement"]}), tmp_path / "s.parquet")
    assert not results.shard_is_valid(tmp_path / "s.parquet")
    assert not results.shard_is_valid(tmp_path / "absent.parquet")


def test_a_double_key_is_refused_by_name_also_where_its_parts_are_null(tmp_path: Path) -> None:
    for i in range(2):
        results.write_shard(tmp_path / "rows" / "agreement" / f"{i}.parquet", [one(image="snail.jpg", value=i)])
    with pytest.raises(SuiteError, match=r"1 row.* image=snail\.jpg, metric=bit_equal"):
        results.read(tmp_path)


def test_a_write_that_fails_leaves_the_old_shard_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    results.write_shard(path, [one()])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no column"):
        results.write_shard(path, [one(), one(wrong=1)])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]


def test_a_replace_that_fails_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "s.parquet").mkdir()
    with pytest.raises(OSError, match=r"s\.parquet"):
        results.write_shard(tmp_path / "s.parquet", [one()])
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]


def test_read_of_no_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="not a folder"):
        results.read(tmp_path / "nowhere")


@pytest.mark.slow
def test_no_torch_behind_results_or_report() -> None:
    code = (
        "import sys, suite.results, suite.report; print(sorted({'torch', 'captum', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def shards_of_a_study(run_dir: Path, count: int = 7) -> set[str]:
    """Shards of a study under `run_dir`, the last of an item that failed; their names."""
    for i in range(count):
        rows = [one(image=f"{i}/{k}", value=k) for k in range(3)]
        if i == count - 1:
            rows = [one(metric="item", chunk=i, status="failed", value=math.nan, message="why")]
        results.write_shard(run_dir / "rows" / "agreement" / f"00-{i:06d}.parquet", rows, "this")
    return {f"00-{i:06d}.parquet" for i in range(count)}


def test_parts_hold_what_shards_held_and_grow_by_what_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 6)
    folder, names = tmp_path / "rows" / "agreement", shards_of_a_study(tmp_path)
    before = results.read(tmp_path)
    for _ in range(2):
        store.compact(folder, names)
        pd.testing.assert_frame_equal(results.read(tmp_path), before)
        left = ["00-000006.parquet", "part-000000.parquet", "part-000001.parquet", "part-000002.parquet"]
        assert sorted(p.name for p in folder.iterdir()) == left
    assert store.names(tmp_path) == {f"agreement/{name}" for name in names}
    assert store.done(tmp_path, "this") == {f"agreement/{name}" for name in names - {"00-000006.parquet"}}
    results.write_shard(folder / "00-000006.parquet", [one(image="late")], "this")
    store.compact(folder, names)
    assert len(results.read(tmp_path)) == len(before)
    assert len(store.done(tmp_path, "this")) == len(names)
    assert not list(folder.glob("0*"))
    assert [len(t) for t in results.scan(tmp_path, ["agreement"], ["value"])] == [6, 6, 6, 1]
    assert not list(results.scan(tmp_path, ["sanity"]))


def test_a_kill_at_any_step_of_compaction_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    monkeypatch.setattr(store, "PART_ROWS", 6)
    names, steps = shards_of_a_study(tmp_path / "0", 5), 0
    before = results.read(tmp_path / "0")
    while True:
        run_dir, left = tmp_path / str(steps + 1), steps
        shutil.copytree(tmp_path / "0", run_dir)

        def counted(change: Any) -> Any:
            def step(path: Path, *more: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return change(path, *more, **options)

            return step

        with monkeypatch.context() as here:
            here.setattr(Path, "replace", counted(Path.replace))
            here.setattr(Path, "unlink", counted(Path.unlink))
            try:
                store.compact(run_dir / "rows" / "agreement", names)
            except Killed:
                pass
            else:
                break
        pd.testing.assert_frame_equal(results.read(run_dir), before)
        store.mend(run_dir)
        pd.testing.assert_frame_equal(results.read(run_dir), before)
        assert not list(run_dir.rglob("*.tmp"))
        store.compact(run_dir / "rows" / "agreement", names)
        pd.testing.assert_frame_equal(results.read(run_dir), before)
        steps += 1
    assert steps == 2 * (1 + 2) + 2  # a part and its two shards, twice; two `.tmp` that are gone


def test_a_part_cut_in_half_costs_only_its_own_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 6)
    folder, names = tmp_path / "rows" / "agreement", shards_of_a_study(tmp_path)
    store.compact(folder, names)
    hurt = folder / "part-000001.parquet"
    hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 2])
    with pytest.raises(SuiteError, match=r"part-000001\.parquet is not a readable shard"):
        results.read(tmp_path)
    kept = {f"agreement/00-00000{i}.parquet" for i in (0, 1, 4, 5)}
    assert store.done(tmp_path, "this") == kept
    store.mend(tmp_path)
    assert store.done(tmp_path, "this") == kept
    assert not hurt.exists()
    for i in (2, 3):
        results.write_shard(folder / f"00-{i:06d}.parquet", [one(image=f"{i}/{k}", value=k) for k in range(3)], "this")
    store.compact(folder, names)
    assert len(results.read(tmp_path)) == 6 * 3 + 1


def test_a_shard_of_another_run_is_named(tmp_path: Path) -> None:
    shards_of_a_study(tmp_path)
    results.write_shard(tmp_path / "rows" / "agreement" / "00-000003.parquet", [one(image="x")], "other")
    for read in (results.read, lambda run_dir: store.done(run_dir, "this")):
        with pytest.raises(SuiteError, match=r"00-000003\.parquet is of another run .*delete"):
            read(tmp_path)


def test_studies_have_columns_of_their_own_and_a_union(tmp_path: Path) -> None:
    sanity = one(study="sanity", blocks=3, kind="null", metric="spearman_abs")
    speed = one(study="speed", job="batch", round=2, metric="seconds")
    results.write_shard(tmp_path / "rows" / "sanity" / "a.parquet", [sanity], keys={"blocks": int, "kind": str})
    results.write_shard(tmp_path / "rows" / "speed" / "a.parquet", [speed], keys={"job": str, "round": int})
    assert [*results.read(tmp_path, "sanity")][:5] == ["study", "model", "method", "blocks", "kind"]
    assert {"job", "round"} < set(results.read(tmp_path, "speed"))
    assert not {"job", "round"} & set(results.read(tmp_path, "sanity"))
    both = results.read(tmp_path)
    assert list(both["study"]) == ["sanity", "speed"]
    assert list(both["kind"]) == ["null", ""]
    assert list(both["round"].isna()) == [True, False]
    pd.testing.assert_frame_equal(both, results.read(tmp_path, ["speed", "sanity"]))


def test_a_study_without_rows_and_a_run_of_another_schema_are_refused(tmp_path: Path) -> None:
    results.write_shard(tmp_path / "rows" / "sanity" / "a.parquet", [one(study="sanity")])
    with pytest.raises(SuiteError, match=r"no rows of the study 'sanit'; did you mean 'sanity'\?; it has sanity"):
        results.read(tmp_path, "sanit")
    (tmp_path / "run.json").write_text('{"schema": 1}')
    for study in ("sanity", ()):
        with pytest.raises(SuiteError, match=r"schema 1.* saliency-suite 0\.1 reads it"):
            results.read(tmp_path, study)
    with pytest.raises(SuiteError, match="schema 1"):
        next(results.scan(tmp_path))


def test_a_disk_that_cannot_be_read_now_costs_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, names = tmp_path / "rows" / "agreement", shards_of_a_study(tmp_path)
    store.compact(folder, names)
    before = results.read(tmp_path)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as here:
        here.setattr(store.pq, "ParquetFile", refused)
        with pytest.raises(SuiteError, match=r"cannot be read now .* give the same command again"):
            store.mend(tmp_path)
    pd.testing.assert_frame_equal(results.read(tmp_path), before)
