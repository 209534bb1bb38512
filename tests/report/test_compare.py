"""`suite compare`: planted regressions are found and named, chance is not, and what cannot be compared is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from report_fixture import manifest

from suite.errors import SuiteError
from suite.registry import study_part
from suite.report.compare import Comparison, compare
from suite.results import read_manifest, write_manifest, write_shard

NAMES = [f"{i:02d}.jpg" for i in range(20)]
CORRECT = [i % 5 != 0 for i in range(20)]


def run(folder: Path, *, seed: int = 0, worse: float = 0, slower: float = 1, wrong: int = 0, differs: int = 0,
        fails: str = "", names: list[str] = NAMES, outlier: bool = False, **settings: Any) -> Path:  # fmt: skip
    """Photos differ a lot, two seeds of one run by a tenth of that; the faults are planted in grad_cam."""
    photo, chance = np.random.default_rng(7), np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {"predictions": [], "agreement": [], "scores": [], "speed": []}
    for i, name in enumerate(names):
        base = {"model": "m", "image": name, "target": 1}
        right = CORRECT[i] and not (CORRECT[i] and i <= wrong)
        one = base | {"study": "predictions"}
        rows["predictions"] += [one | {"metric": "correct", "value": right}, one | {"metric": "top1", "value": 1}]
        one = base | {"study": "agreement", "method": "grad_cam", "implementation": "captum"}
        if name == fails:
            rows["agreement"].append(one | {"metric": "bit_equal", "status": "failed", "message": "out of memory"})
        else:
            rows["agreement"] += [one | {"metric": "bit_equal", "value": i >= differs}]
            rows["agreement"] += [one | {"metric": "max_abs_difference", "value": 0.1 * (i < differs)}]
        for method in ("grad_cam", "saliency", "control_noise", "control_edges"):
            one = base | {"study": "scores", "method": method, "control": method.startswith("control")}
            for metric in ("deletion", "insertion", "passes"):
                value = photo.uniform(0.3, 0.7) + chance.normal(0, 0.02)
                value += worse * (metric == "deletion") * (method in ("grad_cam", "control_noise"))
                if outlier and (method, metric) == ("saliency", "insertion"):
                    value += 0.01 if i + 1 < len(names) else -1
                rows["scores"].append(one | {"metric": metric, "value": value})
    for turn in range(10):
        for side in ("own", "captum"):
            one = {
                "study": "speed",
                "model": "m",
                "method": "grad_cam",
                "implementation": side,
                "job": "batch",
                "photos": 10,
            }
            passes = chance.normal(1, 0.02) * (slower if side == "own" else 2)
            rows["speed"].append(one | {"round": turn, "metric": "passes", "value": passes})
    for study, lines in rows.items():
        write_shard(folder / "rows" / study / "0.parquet", lines, keys=study_part(study, "study:STUDY").keys)
    made = manifest("run", names, ("m",), ("grad_cam", "saliency"), "done")
    made["data"]["digest"] = str(len(names))
    made["config"] = {"studies": {"scores": {"steps": 8} | settings, "speed": {}}}
    write_manifest(folder, made | {"seed": seed})
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("base"))


def worse(found: Comparison) -> list[str]:
    return [change.what for change in found.changes if change.verdict == "worse"]


def test_a_run_is_equal_to_itself(base: Path) -> None:
    found = compare(base, base)
    assert not found.regressed
    assert (found.notes, found.verdicts, found.failed) == ([], [], [])
    assert {change.verdict for change in found.changes} == {"same"}
    # 1 of predictions, 2 of agreement, 4 methods x 3 metrics of scores, 2 sides of speed
    assert len(found.changes) == 1 + 2 + 12 + 2


@pytest.mark.parametrize("seed", range(1, 4))
def test_two_seeds_of_one_thing_are_no_regression(base: Path, tmp_path: Path, seed: int) -> None:
    found = compare(base, run(tmp_path, seed=seed))
    assert not found.regressed
    assert found.notes == [f"seed 0, now {seed}"]


def test_a_worse_score_is_found_with_its_size_and_nothing_else_is(base: Path, tmp_path: Path) -> None:
    found = compare(base, run(tmp_path, seed=1, worse=0.1))
    assert worse(found) == ["scores: deletion of grad_cam on m"]  # the control got worse too: that is no fault
    change = next(change for change in found.changes if change.verdict == "worse")
    assert change.new - change.base == pytest.approx(0.1, abs=0.02)
    assert 0 < change.low < 0.1 < change.high < 0.13
    assert change.n == 20
    assert "scores: deletion of grad_cam on m" in str(found)
    back = compare(tmp_path, base)
    assert not back.regressed
    assert [change.what for change in back.changes if change.verdict == "better"] == worse(found)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"slower": 1.5}, "speed: passes of grad_cam on m (own, batch, photos 10)"),
        ({"wrong": 12}, "predictions: correct on m"),
        ({"differs": 3}, "verdict: agreement of grad_cam on m, bit_equal: equal, now differs"),
        ({"fails": "03.jpg"}, "failed: agreement of grad_cam on m failed on 1 photos: out of memory"),
    ],
)
def test_each_fault_makes_the_exit_code_1(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    fault: dict[str, Any], said: str,
) -> None:  # fmt: skip
    new = run(tmp_path, seed=1, **fault)
    assert tiny.main(monkeypatch, "compare", base, new) == 1
    assert said in capsys.readouterr().out


def test_a_little_slower_is_the_machine(base: Path, tmp_path: Path) -> None:
    assert not compare(base, run(tmp_path, seed=1, slower=1.06)).regressed


def test_other_photos_are_refused_and_other_settings_left_out(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = run(tmp_path / "few", names=NAMES[:5])
    with pytest.raises(SuiteError, match=r"saw different photos \(20 and 5, 5 in common\)"):
        compare(base, few)
    assert tiny.main(monkeypatch, "compare", base, tmp_path / "none") == 2
    assert "does not exist" in capsys.readouterr().err
    elsewhere = run(tmp_path / "elsewhere", slower=2)
    write_manifest(elsewhere, read_manifest(elsewhere) | {"threads": 8})
    found = compare(base, elsewhere)
    assert found.notes == ["threads 2, now 8", "speed: left out, another machine or other threads"]
    assert not found.regressed
    found = compare(base, run(tmp_path / "other", worse=0.1, steps=20))
    assert tiny.main(monkeypatch, "compare", base, tmp_path / "other", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == found.notes
    assert found.notes == ["scores: left out, its settings differ (steps 8, now 20)"]
    assert not found.regressed
    assert not [change for change in found.changes if change.study == "scores"]


def test_a_metric_of_another_version_is_left_out_with_its_studys_verdicts(base: Path, tmp_path: Path) -> None:
    new = run(tmp_path, worse=0.1, differs=3)
    versions = {"scores.deletion": 2, "agreement.bit_equal": 3, "scores.insertion": 1}
    write_manifest(new, read_manifest(new) | {"metric_versions": versions})
    found = compare(base, new)
    assert found.notes == [
        "scores.deletion: left out, version 1, now 2; so are the verdicts of scores",
        "agreement.bit_equal: left out, version 1, now 3; so are the verdicts of agreement",
    ]
    assert {change.metric for change in found.changes if change.study == "scores"} == {"insertion", "passes"}
    assert not [verdict for verdict in found.verdicts if "agreement" in verdict.what]


def test_the_family_of_tests_is_fixed_before_looking(base: Path, tmp_path: Path) -> None:
    """A number that did not move counts as a test: 4 of scores have a better direction, two methods by two metrics."""
    found = compare(base, run(tmp_path, worse=0.1))
    change = next(change for change in found.changes if change.what == "scores: deletion of grad_cam on m")
    assert change.verdict == "worse"
    assert change.p == pytest.approx(4 * 2.0**-19)  # the same 0.1 on 20 of 20 photos, the smallest p there is
    still = [change for change in found.changes if change.study == "scores" and change.base == change.new]
    assert len(still) == 10
    assert {change.p for change in still} == {1.0}


def test_nineteen_photos_better_and_one_outlier_is_no_change(base: Path, tmp_path: Path) -> None:
    found = compare(base, run(tmp_path, outlier=True))
    assert {change.verdict for change in found.changes} == {"same"}
    change = next(change for change in found.changes if change.new != change.base)
    assert change.new < change.base  # the mean says worse, nineteen photos say better
    assert change.low < 0 < change.high


def test_too_few_photos_to_show_anything_is_said(tmp_path: Path) -> None:
    few = [run(tmp_path / str(seed), seed=seed, worse=0.2 * seed, names=NAMES[:6]) for seed in range(2)]
    found = compare(*few)
    assert "scores: too few units (6) for its 4 numbers with a better direction; 8 would do" in found.notes
    assert not found.regressed
