"""run.json and the lock: strict JSON, the schema's version, one writer."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.results.manifest import RunLock, read_manifest, write_manifest
from suite.results.schema import VERSION


def test_manifest_round_trip_and_strictness(tmp_path: Path) -> None:
    manifest = {"name": "甲 <b>", "data": {"n": 3, "files": [{"id": "broken\udcff.jpg"}]}, "finished": None}
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest | {"schema": VERSION}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(tmp_path, {"seconds": math.nan})
    assert read_manifest(tmp_path) == manifest | {"schema": VERSION}


@pytest.mark.parametrize("text", ['{"seconds": NaN}', '{"a": 1', "[1, 2]", ""])
def test_a_manifest_that_is_none_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(SuiteError, match=r"run\.json") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="expected a run directory"):
        read_manifest(tmp_path)


def test_a_second_run_in_one_directory_is_refused_at_once_and_may_follow(tmp_path: Path) -> None:
    code = "import sys; from suite.results import RunLock\nwith RunLock(sys.argv[1]): pass"
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with RunLock(tmp_path / "run"):
        with pytest.raises(SuiteError, match="another run is at work"):
            RunLock(tmp_path / "run").__enter__()
        other = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "another run is at work" in other.stderr
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_a_run_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot be written"), RunLock(tmp_path / "file" / "run"):
        pass


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"a": [1, "x"]})
    assert json.loads((tmp_path / "run.json").read_bytes()) == {"a": [1, "x"], "schema": VERSION}


def test_a_run_of_another_schema_is_refused_in_one_line_that_names_its_reader(tmp_path: Path) -> None:
    for schema, reader in (({}, r"saliency-suite 0\.1 reads it"), ({"schema": 99}, "a newer release reads it")):
        (tmp_path / "run.json").write_text(json.dumps({"status": "done"} | schema))
        with pytest.raises(SuiteError, match=reader) as caught:
            read_manifest(tmp_path)
        assert "\n" not in str(caught.value)
