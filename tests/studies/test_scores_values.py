"""Rows of scores as arrays: the same whatever tables they come in, and the same correlations as photo by photo."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from suite.errors import SuiteError
from suite.metrics.cards import PLACEBOS
from suite.metrics.statistics import interval_of_mean, mean_interval
from suite.results import as_table
from suite.studies.scores import values
from suite.studies.scores.study import Scores
from suite.studies.scores.values import curve_means, gather, in_order, measure_name, rank_correlations


def rows(seed: int = 0) -> list[dict[str, Any]]:
    """Scores of eight photos on two networks, some of them not ok, and what the networks see."""
    generator = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for model in ("m", "n"):
        for image in "hgfedcba":
            shared = {"model": model, "image": image, "target": 3}
            lines.append(shared | {"study": "predictions", "metric": "top1", "value": 3 if image < "g" else 5})
            for method in ("saliency", "grad_cam", *PLACEBOS):
                fields = shared | {"study": "scores", "method": method, "control": method in PLACEBOS}
                for metric, variant in (("insertion", "probability"), ("deletion", "raw"), ("gini", "")):
                    row = fields | {"metric": metric, "variant": variant}
                    undone = {"status": "failed" if method == "saliency" else "not_applicable", "message": "why"}
                    lines.append(row | (undone if generator.random() < 0.2 else {"value": generator.random()}))
    return lines


def table(lines: list[dict[str, Any]]) -> pa.Table:
    return as_table(lines, Scores.keys)


def test_rows_are_gathered_the_same_from_any_tables_in_any_order() -> None:
    lines = rows()
    shuffled = [lines[i] for i in np.random.default_rng(1).permutation(len(lines))]
    whole = gather([table(lines)])
    parts = gather(table(shuffled[i : i + 7]) for i in range(0, len(shuffled), 7))
    assert list(whole.images) == list(parts.images) == list("abcdefgh")
    assert whole.wrong == parts.wrong == {"m": {"g", "h"}, "n": {"g", "h"}}
    pd.testing.assert_frame_equal(whole.failed, parts.failed)
    assert [(m.model, m.name) for m in whole.measures] == [(m.model, m.name) for m in parts.measures]
    for one, other in zip(whole.measures, parts.measures, strict=True):
        assert list(one.methods) == list(other.methods) == sorted(one.methods)
        for a, b in zip(one.columns().values(), other.columns().values(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_arrays_hold_what_a_pivot_of_the_rows_holds() -> None:
    lines = rows()
    frame = pd.DataFrame([line for line in lines if line["study"] == "scores" and line.get("status", "ok") == "ok"])
    gathered = gather([table(lines)])
    right, wrong = gathered.split()
    for some, photos in ((right, "abcdef"), (wrong, "gh")):
        assert len(some) == 6
        for measure in some:
            own = frame[(frame["model"] == measure.model) & (frame["metric"] == measure.metric)]
            wide = own[own["image"].isin(list(photos))].pivot(index="image", columns="method", values="value")
            assert list(measure.values()) == list(wide)
            np.testing.assert_array_equal(np.stack([*measure.values().values()], 1), wide.to_numpy())
            controls = {method for method, cell in measure.methods.items() if cell.control}
            assert controls == {*PLACEBOS} & set(measure.methods)


def test_a_measure_stands_where_its_first_row_does() -> None:
    lines = [
        {"study": "scores", "model": "m", "method": method, "metric": metric, "image": "a", "value": 1.0}
        for method, metric in (("b", "gini"), ("a", "entropy"), ("b", "entropy"))
    ]
    undone = {"value": np.nan, "status": "failed", "message": "why"}
    measures = gather([table([*lines, lines[0] | undone | {"method": "A"}])]).measures
    assert [m.metric for m in measures] == ["gini", "entropy"]  # a row that failed is a row
    assert [m.metric for m in in_order(measures, ok=True)] == ["entropy", "gini"]


def test_two_rows_of_one_key_are_refused() -> None:
    lines = rows()
    with pytest.raises(SuiteError, match=r"1 row.*two shards hold the same item"):
        gather([table(lines), table([line for line in lines if line["study"] == "scores"][:1])])


def test_measures_are_named_by_metric_form_and_baseline_where_there_are_several() -> None:
    assert measure_name("grid_pointing", "2x2") == "grid pointing (2x2)"
    assert measure_name("deletion", "probability", "mean") == "deletion, mean"
    two = [line | {"baseline": "mean" if line["model"] == "m" else "blurred"} for line in rows()]
    assert {m.name for m in gather([table(two)]).measures} >= {"insertion, mean", "insertion, blurred"}


def one_photo(photo: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(measures, methods) -> their correlations, directly."""
    wide = pd.DataFrame(photo.T).dropna(how="all").dropna(axis=1, how="all").dropna(axis=1)
    ranks = wide.loc[:, wide.nunique() > 1].rank()
    result = np.full((len(photo), len(photo)), np.nan)
    if len(ranks) >= 3 and ranks.shape[1]:
        result[np.ix_(ranks.columns, ranks.columns)] = np.corrcoef(ranks.to_numpy().T)
    return result


def test_correlations_of_all_photos_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_BLOCK", 50)
    generator = np.random.default_rng(0)
    some = generator.integers(0, 6, (4, 5, 170)).astype(float)  # with ties
    some[generator.random(some.shape) < 0.03] = np.nan
    some[:, 3:, 20:40] = np.nan  # two methods that are not there
    some[:, 2:, 40:50] = np.nan  # two methods are left: too few
    some[1, :, 60:80] = 2.0  # all equal
    some[:, :, 90] = np.nan
    correlations = rank_correlations(some)
    expected = np.stack([one_photo(some[:, :, p]) for p in range(some.shape[2])], axis=2)
    assert 0.1 < np.isnan(expected).mean() < 0.9
    np.testing.assert_allclose(correlations, expected, rtol=0, atol=1e-12)


def test_curves_are_the_means_of_all_rows_whatever_tables_they_come_in() -> None:
    generator = np.random.default_rng(0)
    lines = [
        {"study": "scores", "model": "m", "method": method, "metric": "deletion_curve", "image": f"{i}",
         "share": share, "baseline": "mean", "value": generator.normal(100, 1), "control": method != "saliency"}
        for method in ("saliency", "control_noise") for share in (0.0, 0.5) for i in range(40)
    ]  # fmt: skip
    lines.append({"study": "scores", "model": "m", "method": "saliency", "metric": "passes", "value": 2.0})
    lines.append(lines[0] | {"image": "x", "value": np.nan, "status": "failed", "message": "why"})
    means = curve_means(table(lines[i : i + 13]) for i in range(0, len(lines), 13)).set_index(["method", "share"])
    for (method, share), group in pd.DataFrame(lines[:160]).groupby(["method", "share"]):
        line = means.loc[(method, share)]
        assert (line["n"], line["control"]) == (40, method != "saliency")
        assert line["mean"] == pytest.approx(group["value"].mean(), rel=1e-13)
        ends = interval_of_mean(line["mean"], line["sd"], line["n"])
        np.testing.assert_allclose(ends, mean_interval(group["value"]), rtol=1e-12)
    passes = means[means["metric"] == "passes"]
    assert passes["mean"].tolist() == [2.0]
    assert curve_means([]).empty


@pytest.mark.slow
def test_more_rows_need_little_more_memory() -> None:
    command = [sys.executable, str(Path(__file__).parents[2] / "benchmarks" / "rows.py"), "--scale", "--images"]
    output = subprocess.run([*command, "500", "3000"], check=True, capture_output=True, text=True, timeout=600).stdout
    few, many = map(json.loads, output.splitlines())
    assert (few["rows"], many["rows"]) == (516_240, 3_096_240)
    assert few["verdicts"] == many["verdicts"] > 300
    assert (many["MiB"] - few["MiB"]) * 2**20 < 60 * (many["rows"] - few["rows"])  # as a frame 200 bytes a row
