"""The index, its interval, the verdict and its stability, on numbers whose answer is known. No network."""

import numpy as np
import pandas as pd
import pytest

from suite.metrics.statistics import crossed_weights, holm
from suite.sanity import verdict as v

RNG = np.random.default_rng(0)


def trio(s, photos=20, draws=5, spread=0.02, own=0.9, null=0.3):
    noise = lambda: RNG.normal(0, spread, (photos, draws))  # noqa: E731
    return own + noise(), null + (1 - s) * (own - null) + noise(), null + noise()


@pytest.mark.parametrize(
    ("s", "expected"), [(0.9, v.PASS), (0.1, v.FAIL), (0.5, v.UNDECIDED), (-0.2, v.FAIL), (1.2, v.PASS)]
)
def test_index_and_verdict(s, expected):
    found = v.sensitivity(*trio(s))
    assert found.value == pytest.approx(s, abs=0.02)  # a ratio of means, not clipped
    assert found.low < found.value < found.high
    made = v.judge(found, v.sensitivity(*trio(1.0)))
    assert made.verdict == expected
    assert expected != v.UNDECIDED or "would decide" in made.reason or "on the threshold" in made.reason


def test_ratio_of_means_not_mean_of_ratios():
    r_self, r_stage, r_null = trio(0.7, spread=0.3)
    expected = 1 - (r_stage.mean() - r_null.mean()) / (r_self.mean() - r_null.mean())
    assert v.sensitivity(r_self, r_stage, r_null).value == pytest.approx(expected)


def test_fails_in_either_stage_and_passes_in_both():
    good, bad = v.sensitivity(*trio(0.9)), v.sensitivity(*trio(0.2))
    assert (v.judge(good, bad).verdict, v.judge(bad, good).verdict) == (v.FAIL, v.FAIL)


@pytest.mark.parametrize(("photos", "draws"), [(9, 5), (20, 1), (1, 1)])
def test_too_few_decide_nothing(photos, draws):
    made = v.judge(*[v.sensitivity(*trio(0.9, photos, draws))] * 2)
    assert made.verdict == v.UNDECIDED
    assert f"{photos} photos and {draws} draws" in made.reason


def test_a_map_that_does_not_resemble_itself():
    assert v.judge(*[v.sensitivity(*trio(0.9, own=0.3, null=0.3))] * 2).verdict == v.UNINFORMATIVE
    nothing = np.full((20, 5), np.nan)
    assert v.judge(*[v.sensitivity(nothing, nothing, nothing)] * 2).verdict == v.UNINFORMATIVE


def test_missing_pairs_are_counted_and_left_out():
    r_self, r_stage, r_null = trio(0.8)
    r_stage[:11] = np.nan  # zero everywhere on eleven photos
    found = v.sensitivity(r_self, r_stage, r_null)
    assert (found.photos, found.missing) == (9, 55)
    assert v.judge(found, found).verdict == v.UNDECIDED


def test_crossed_bootstrap_sees_the_draws():
    """A shift that all photos of a draw share does not average out over photos."""
    r_self, r_stage, r_null = trio(0.7, spread=0.001)
    shifted = r_stage + RNG.normal(0, 0.1, (1, 5))
    plain, wide = v.sensitivity(r_self, r_stage, r_null), v.sensitivity(r_self, shifted, r_null)
    assert wide.high - wide.low > 20 * (plain.high - plain.low)
    first, second = crossed_weights((20, 5), resamples=100)
    assert (first.sum(1) == 20).all()
    assert (second.sum(1) == 5).all()


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])


def frame(by_method, flipped=()):
    """Rows of an audit with four blocks in which each method has a known S, but 0.9 at the noises in `flipped`."""
    lines = []
    for method, s in by_method.items():
        for noise in (0.01, 0.02):
            three = trio(s if noise not in flipped else 0.9)
            for kind, values in zip(("self", "stage", "null"), three, strict=True):
                for stage, x in [("intact", 0)] if kind == "self" else [("cascade_top", 2), ("everything", 4)]:
                    for (i, j), value in np.ndenumerate(values):
                        line = {
                            "method": method,
                            "stage": stage,
                            "x": float(x),
                            "other": kind,
                            "noise": noise,
                            "cell": 4,
                        }
                        line |= {
                            "metric": "spearman_abs",
                            "image": f"{i:02d}",
                            "draw": j,
                            "value": value,
                            "status": "ok",
                        }
                        lines.append(line | {"message": "", "control": method.startswith("control")})
    return pd.DataFrame(lines)


def test_one_row_a_method_and_stability():
    rows = frame({"a": 0.1, "control_edges": 0.0}, flipped=(0.02,))
    table, _, curve = v.verdicts(v.arrange(rows, 0.01), rows)
    assert list(table["method"]) == ["a", "control_edges"]
    assert table["verdict"].tolist() == [v.FAIL, v.FAIL]
    assert table["stability"].tolist() == ["1 of 2", "1 of 2"]
    assert "not stable: with noise 2 it is FAIL in 0 of 1 analyses, PASS in 1" in table["reason"][0]
    assert len(curve) == 4


def test_a_control_that_comes_out_wrong_voids_the_audit():
    rows = frame({"a": 0.9, "control_edges": 0.9})
    table, _, _ = v.verdicts(v.arrange(rows, 0.01), rows)
    assert set(table["verdict"]) == {v.VOID}
    assert "control_edges came out PASS, not FAIL (it would be PASS" in table["reason"][0]
