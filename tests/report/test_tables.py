"""Verdicts and tables against numbers worked out by hand, with faults planted."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_fixture import METHODS, make_run

from suite.registry import study_part
from suite.report.tables import build_tables
from suite.results import as_table, read, read_manifest, write_shard
from suite.results.columns import union
from suite.studies.agreement.report import agreement_verdicts


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return union(
        as_table([{"model": "m", **fields}], study_part(fields["study"], "study:STUDY").keys) for fields in rows
    ).to_pandas()


def agree(
    image: str, promise: str = "bit_equal", value: float = 1, size: float | None = 0.0, **fields: Any
) -> list[dict[str, Any]]:
    base = {"study": "agreement", "method": "saliency", "implementation": "captum", "image": image}
    rows = [base | {"metric": promise, "value": value} | fields]
    return rows if size is None else [*rows, base | {"metric": "max_abs_difference", "value": size}]


def undone(image: str, status: str, message: str, metric: str = "bit_equal") -> dict[str, Any]:
    base = {"study": "agreement", "method": "saliency", "implementation": "captum", "image": image}
    return base | {"metric": metric, "value": math.nan, "status": status, "message": message}


def verdict(*rows: dict[str, Any]) -> tuple[str, str]:
    table = agreement_verdicts(frame(*rows))
    assert list(table.columns) == ["model", "method", "measure", "verdict", "reason"]
    assert len(table) == 1
    return table["verdict"][0], table["reason"][0]


def test_equal_only_when_every_photo_is() -> None:
    same = [row for i in range(20) for row in agree(f"{i}.jpg")]
    assert verdict(*same) == ("equal", "20 of 20 photos equal to the last bit")
    assert verdict(*same[:-2], *agree("19.jpg", value=0, size=1e-9))[0] == "differs"


def test_within_tolerance_names_the_largest_difference_and_why() -> None:
    rows = agree("a.jpg", "within_tolerance", size=1e-7) + agree(
        "b.jpg", "within_tolerance", size=3e-7, message="sum order"
    )
    assert verdict(*rows) == (
        "within tolerance",
        "2 of 2 photos within tolerance, largest difference 3e-07 (b.jpg): sum order",
    )


def test_one_promise_to_the_bit_among_tolerances_is_not_equal() -> None:
    assert verdict(*agree("a.jpg"), *agree("b.jpg", "within_tolerance", size=1e-8))[0] == "within tolerance"


def test_differs_names_the_worst_photo_among_those_that_differ() -> None:
    rows = [
        *agree("near.jpg", value=0, size=0.1, message="not this one"),
        *agree("worst.jpg", value=0, size=0.25, message="hooks miss it"),
        *agree("fine.jpg", size=0.0),
    ]
    assert verdict(*rows) == ("differs", "2 of 3 photos differ, worst worst.jpg by 0.25 at most: hooks miss it")


def test_a_bit_equal_row_beside_a_difference_is_not_believed() -> None:
    assert verdict(*agree("a.jpg"), *agree("b.jpg", value=1, size=1e-8))[0] == "differs"


def test_a_difference_is_found_without_its_size() -> None:
    assert verdict(*agree("a.jpg", value=0, size=None)) == ("differs", "1 of 1 photo differ, worst a.jpg")


def test_failed_photos_are_counted_and_unreadable_ones_too() -> None:
    same = [row for i in range(18) for row in agree(f"{i}.jpg")]
    broken = {"study": "predictions", "image": "z.jpg", "metric": "correct", "status": "failed", "message": "truncated"}
    assert verdict(*same, undone("18.jpg", "failed", "NaN")) == (
        "equal",
        "18 of 19 photos equal to the last bit; 1 failed",
    )
    assert (
        verdict(*same, undone("18.jpg", "failed", "NaN"), broken)[1]
        == "18 of 20 photos equal to the last bit; 2 failed"
    )


def test_not_applicable_needs_all_rows_to_be() -> None:
    rows = [undone(f"{i}.jpg", "not_applicable", "no rectifier") for i in range(3)]
    assert verdict(*rows) == ("not applicable", "no rectifier")
    mixed = verdict(*agree("a.jpg"), *rows[1:])
    assert mixed == ("equal", "1 of 3 photos equal to the last bit; 2 not applicable: no rectifier")


@pytest.mark.parametrize(
    "rows",
    [
        [undone("a.jpg", "failed", "out of memory")],
        [undone("a.jpg", "failed", "out of memory"), undone("b.jpg", "not_applicable", "flat")],
        [undone("a.jpg", "skipped", "absent")],
        agree("a.jpg")[1:],
        [undone("a.jpg", "not_applicable", "flat", "spearman"), *agree("a.jpg")[1:], undone("b.jpg", "failed", "x")],
    ],
)
def test_a_verdict_over_nothing_is_never_equal(rows: list[dict[str, Any]]) -> None:
    name, reason = verdict(*rows)
    assert name == "failed"
    assert reason.startswith("0 of ")


def test_no_rows_give_no_tables() -> None:
    assert build_tables(frame(agree("a")[0]).iloc[:0], {}) == {}


def test_agreement_numbers_by_hand() -> None:
    rows = []
    for image, size, rank in (("a", 0.0, 1.0), ("b", 0.2, 0.5), ("c", 0.1, 0.9)):
        rows += agree(image, value=size == 0, size=size, layer="")
        base = rows[-1] | {"unit": ""}
        rows += [base | {"metric": "relative_l2", "value": size / 2}, base | {"metric": "spearman", "value": rank}]
    line = build_tables(frame(*rows), {})["agreement"].iloc[0]
    assert (line["n"], line["bit_equal_n"], line["max_abs_difference"]) == (3, 1, 0.2)
    assert (line["relative_l2"], line["spearman"], line["verdict"]) == (0.05, 0.9, "differs")
    assert pd.isna(line["within_tolerance_n"])


def test_a_failure_before_the_layer_was_known_belongs_to_the_only_layer() -> None:
    table = build_tables(frame(*agree("a", layer="f.12"), undone("b", "failed", "x")), {})["agreement"]
    assert list(table.loc[table["n"] > 0, "layer"]) == ["f.12"]
    assert set(table["layer"]) <= {"f.12", ""}


def timed(method: str, side: str, seconds: list[float], bare: list[float], job: str = "batch") -> list[dict[str, Any]]:
    base = {"study": "speed", "method": method, "implementation": side, "job": job, "photos": 4}
    both = enumerate(zip(seconds, bare, strict=True))
    return [
        base | {"round": i, "metric": metric, "value": value}
        for i, (s, b) in both
        for metric, value in (("seconds", s), ("passes", s / b))
    ]


def test_speed_ratio_is_taken_within_rounds_before_the_median() -> None:
    bare = [1.0, 2.0, 4.0]
    rows = timed("saliency", "own", [1.0, 2.0, 8.0], bare) + timed("saliency", "captum", [3.0, 2.0, 16.0], bare)
    rows.append(
        {
            "study": "speed",
            "method": "saliency",
            "implementation": "own",
            "job": "batch",
            "photos": 4,
            "metric": "peak_memory",
            "value": 64,
        }
    )
    line = build_tables(frame(*rows), {})["speed"].iloc[0]
    assert line["captum_over_own"] == 2.0  # the median of 3, 1, 2; of medians it would be 3 / 2
    assert (line["own_passes"], line["own_passes_low"], line["own_passes_high"]) == (1.0, 1.0, 1.5)
    assert (line["own_seconds"], line["own_mib"], line["rounds"]) == (2.0, 64, 3)
    assert "captum_mib" not in line


def test_floor_by_hand_and_only_for_the_four_maps() -> None:
    bare = [1.0, 2.0]
    rows = timed("forward", "bare", [0.5, 1.2], bare) + timed("forward_and_gradient", "bare", bare, bare)
    rows += timed("all methods", "own", [1.6, 3.2], bare)
    four = {"methods": {name: {"name": name, "control": False} for name in METHODS}}
    line = build_tables(frame(*rows), four)["speed_floor"].iloc[0]
    assert line["f"] == pytest.approx(0.55)
    assert line["floor"] == pytest.approx(1.45)
    assert line["over_floor"] == pytest.approx(1.6 / 1.45)
    more = {"methods": four["methods"] | {"occlusion": {"name": "occlusion"}}}
    assert "over_floor" not in build_tables(frame(*rows), more)["speed_floor"]


def test_batching_compares_seconds_a_photo() -> None:
    rows = timed("saliency", "own", [2.0, 2.0], [1, 1]) + timed("saliency", "own", [6.0, 6.0], [1, 1], "one_by_one")
    line = build_tables(frame(*rows), {})["speed_batching"].iloc[0]
    assert (line["batch"], line["one_by_one"], line["gain"]) == (0.5, 1.5, 3.0)


def compare(a: str, b: str, image: str, value: float, pairing: str = "same_photo") -> dict[str, Any]:
    return {
        "study": "comparison",
        "method": a,
        "other_method": b,
        "image": image,
        "pairing": pairing,
        "metric": "ssim",
        "value": value,
    }


def test_comparison_takes_a_pair_without_its_order_and_a_photo_once() -> None:
    rows = [compare("b", "a", "1", 0.2), compare("a", "b", "1", 0.4), compare("a", "b", "2", 0.9)]
    rows += [compare("a", "b", str(i), i / 100, "unrelated_photos") for i in range(101)]
    line = build_tables(frame(*rows), {"methods": {"b": {}, "a": {}}})["comparison"].iloc[0]
    assert (line["method"], line["other_method"], line["n"]) == ("b", "a", 2)
    assert line["mean"] == pytest.approx(0.6)
    half = 12.7062047 * 0.3  # t of one degree of freedom, times the standard error
    assert line["mean_low"] == pytest.approx(0.6 - half)
    assert line["mean_high"] == pytest.approx(0.6 + half)
    assert (line["unrelated_mean"], line["unrelated_p95"]) == (pytest.approx(0.5), pytest.approx(0.95))


def test_failures_are_grouped_and_failed_comes_first() -> None:
    rows = [undone(name, "not_applicable", "flat") for name in "abcd"] + [undone("e", "failed", "boom")]
    table = build_tables(frame(*rows), {})["failures"]
    assert list(table["status"]) == ["failed", "not_applicable"]
    assert list(table["rows"]) == [1, 4]
    assert table["such_as"][1] == "a, b, c"


def test_failures_are_the_same_from_a_stream_as_from_all_rows_at_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for method in ("a", "b"):
        for image in "hgfedcba":
            for metric in ("gini", "entropy", "insertion"):
                row = {"study": "scores", "model": "m", "method": method, "image": image, "metric": metric}
                status, why = generator.choice(["failed", "not_applicable"]), generator.choice(["flat", "zero", "odd"])
                undone = {"value": math.nan, "status": str(status), "message": str(why)}
                rows.append(row | ({"value": 1.0} if generator.random() < 0.3 else undone))
    rows.append(rows[0] | {"metric": "item", "image": "", "value": math.nan, "status": "failed", "message": "boom"})
    keys = {"role": str, "variant": str, "baseline": str, "share": float}
    for i in range(0, len(rows), 5):
        write_shard(tmp_path / "rows" / "scores" / f"{i:03d}.parquet", rows[i : i + 5], keys=keys)
    undone = read(tmp_path).query("status != 'ok'")
    streamed = build_tables(tmp_path, {})["failures"]
    pd.testing.assert_frame_equal(build_tables(read(tmp_path), {})["failures"], streamed)
    assert streamed["rows"].sum() == len(undone)
    assert list(streamed["status"]) == sorted(streamed["status"])
    for line in streamed.to_dict("records"):
        group = undone
        for column in ("status", "method", "message"):
            group = group[group[column] == line[column]]
        images = [name for name in group["image"].unique() if name]
        assert (line["rows"], line["images"]) == (len(group), len(images))
        assert line["such_as"] == ", ".join(images[:3])


def test_methods_stand_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    run = make_run(tmp_path, studies=("agreement", "speed"))
    tables = build_tables(read(run), read_manifest(run))
    assert list(tables["agreement_verdicts"]["method"]) == list(METHODS)
    assert list(tables["speed"]["method"]) == [*METHODS, "all methods"] * 2
