"""The index, its interval, the verdict and its stability, on numbers whose answer is known. No network."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from suite.cli import _conditions
from suite.metrics.statistics import _additive_residual, crossed_mean, holm
from suite.report.sections import sections
from suite.sanity import verdict as v

RNG = np.random.default_rng(0)


def four(s, photos=20, draws=5, spread=0.02, own=0.9, null=0.3, other=0.3):
    noise = lambda: RNG.normal(0, spread, (photos, draws))  # noqa: E731
    return own + noise(), null + (1 - s) * (own - null) + noise(), null + noise(), other + noise()


STAYS = v.sensitivity(*four(0.0))
PASSES = v.sensitivity(*four(1.0))


@pytest.mark.parametrize(
    ("s", "expected"), [(0.9, v.PASS), (0.1, v.FAIL), (0.5, v.UNDECIDED), (-0.2, v.FAIL), (1.2, v.PASS)]
)
def test_index_and_verdict(s, expected):
    found = v.sensitivity(*four(s))
    assert found.value == pytest.approx(s, abs=0.02)  # a ratio of means, not clipped
    assert found.low < found.value < found.high
    made = v.judge(found, PASSES, STAYS)
    assert made.verdict == expected
    assert expected != v.UNDECIDED or "would decide" in made.reason or "on the threshold" in made.reason
    assert expected != v.PASS or "necessary, not sufficient" in made.reason


def test_ratio_of_means_not_mean_of_ratios():
    r_self, r_stage, r_null, r_other = four(0.7, spread=0.3)
    expected = 1 - (r_stage.mean() - r_null.mean()) / (r_self.mean() - r_null.mean())
    assert v.sensitivity(r_self, r_stage, r_null, r_other).value == pytest.approx(expected)


def test_fails_in_either_stage_and_passes_in_both():
    good, bad = v.sensitivity(*four(0.9)), v.sensitivity(*four(0.2))
    assert (v.judge(good, bad, STAYS).verdict, v.judge(bad, good, STAYS).verdict) == (v.FAIL, v.FAIL)


@pytest.mark.parametrize(("photos", "draws"), [(9, 5), (20, 2), (20, 1), (1, 1)])
def test_too_few_decide_nothing(photos, draws):
    made = v.judge(*[v.sensitivity(*four(0.9, photos, draws))] * 2, STAYS)
    assert made.verdict == v.UNDECIDED
    assert f"{photos} photos and {draws} draws" in made.reason


def test_a_map_that_does_not_resemble_itself():
    assert v.judge(*[v.sensitivity(*four(0.9, own=0.3, null=0.3))] * 2, STAYS).verdict == v.UNINFORMATIVE
    nothing = np.full((20, 5), np.nan)
    assert v.judge(*[v.sensitivity(*[nothing] * 4)] * 2, STAYS).verdict == v.UNINFORMATIVE


@pytest.mark.parametrize(("null", "other", "whose"), [(0.9, 0.3, "random network's"), (0.3, 0.9, "same network's")])
def test_the_reason_names_the_other_photo_that_is_as_alike(null, other, whose):
    made = v.judge(*[v.sensitivity(*four(0.9, null=null, other=other))] * 2, STAYS)
    assert made.verdict == v.UNINFORMATIVE
    assert whose in made.reason


@pytest.mark.parametrize(
    ("stage", "kept", "expected"),
    [
        (0.9, 0.99, v.PASS), (0.9, 0.5, v.UNSTABLE), (0.9, 0.0, v.UNSTABLE), (0.9, 0.9, v.UNDECIDED),
        (0.1, 0.0, v.FAIL), (0.5, 0.0, v.UNSTABLE),
    ],
)  # fmt: skip
def test_a_map_stays_where_the_network_almost_does(stage, kept, expected):
    almost = v.sensitivity(*four(1 - kept))
    assert v.judge(v.sensitivity(*four(stage)), PASSES, almost).verdict == expected


def test_missing_pairs_are_counted_and_left_out():
    r_self, r_stage, r_null, r_other = four(0.8)
    r_stage[:11] = np.nan
    found = v.sensitivity(r_self, r_stage, r_null, r_other)
    assert (found.photos, found.pairs, found.of) == (9, 45, 100)
    made = v.judge(found, found, STAYS)
    assert made.verdict == v.UNDECIDED
    assert "45 of 100 pairs" in made.reason


def test_ten_pairs_of_one_draw_and_one_of_another_decide_nothing():
    r_self, r_stage, r_null, r_other = four(0.8, 12, 4)
    r_stage[10:, 0], r_stage[1:, 1] = np.nan, np.nan
    found = v.sensitivity(r_self, r_stage, r_null, r_other)
    assert (found.draws, found.pairs) == (3, 35)
    r_stage[1:, 2] = np.nan
    found = v.sensitivity(r_self, r_stage, r_null, r_other)
    assert (found.draws, found.pairs, found.of) == (2, 24, 48)
    assert v.judge(found, found, STAYS).verdict == v.UNDECIDED


def test_the_interval_sees_the_draws():
    """A shift that all photos of a draw share does not average out over photos."""
    r_self, r_stage, r_null, r_other = four(0.7, spread=0.001)
    shifted = r_stage + RNG.normal(0, 0.1, (1, 5))
    plain, wide = v.sensitivity(r_self, r_stage, r_null, r_other), v.sensitivity(r_self, shifted, r_null, r_other)
    assert wide.high - wide.low > 20 * (plain.high - plain.low)
    assert wide.by_draw > 20 * wide.by_photo


def test_more_photos_and_draws_than_now_would_decide():
    r_self, r_stage, r_null, r_other = four(0.55, spread=0.2)
    found = v.sensitivity(r_self, r_stage + RNG.normal(0, 0.05, (1, 5)), r_null, r_other)
    made = v.judge(found, PASSES, STAYS)
    assert made.verdict == v.UNDECIDED
    assert float(made.reason.split(" would decide, ")[1].split(" times")[0]) > 1


def test_crossed_mean_is_the_analysis_of_variance():
    """By hand: the mean squares of a two-way table over its number of cells."""
    values = RNG.normal(size=(6, 4)) + RNG.normal(size=(6, 1)) + RNG.normal(size=(1, 4))
    rows, columns, mean = values.mean(1), values.mean(0), values.mean()
    photo, draw = 4 * rows.var(ddof=1), 6 * columns.var(ddof=1)
    residual = np.square(values - rows[:, None] - columns + mean).sum() / 15
    found = crossed_mean(values)
    assert found.value == pytest.approx(mean)
    assert found.variance == pytest.approx(max(photo + draw - residual, photo, draw) / 24)
    parts = photo**2 / 5 + draw**2 / 3 + residual**2 / 15
    assert found.df == pytest.approx((24 * found.variance) ** 2 / parts)
    assert crossed_mean(values + 100 * RNG.normal(size=(6, 1))).df == pytest.approx(5, abs=0.1)
    assert found.draws == pytest.approx(max(0, draw - residual) / 24)


def test_crossed_mean_of_a_table_with_gaps():
    """Effects of rows and columns alone leave no residual wherever the gaps are; one draw is a plain mean."""
    values = RNG.normal(size=(8, 1)) + RNG.normal(size=(1, 5))
    values[RNG.random((8, 5)) < 0.3] = np.nan
    known = np.isfinite(values)
    assert _additive_residual(np.where(known, values, 0), known) == pytest.approx(0, abs=1e-20)
    one = RNG.normal(size=9)
    assert crossed_mean(one[:, None]).variance == pytest.approx(one.var(ddof=1) / 9)
    assert crossed_mean(one[:, None]).df == pytest.approx(8)
    assert np.isnan(crossed_mean(np.array([[1.0]])).half_width())
    assert np.isnan(crossed_mean(np.full((3, 2), np.nan)).half_width())
    assert crossed_mean(np.ones((4, 3))).half_width() == 0


SHARES = [(p, d) for p in (0, 0.5, 0.75, 1) for d in (0, 0.5, 0.75, 1) if p + d <= 1]


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0, 0.4])
@pytest.mark.parametrize("draws", [3, 10])
@pytest.mark.parametrize(("of_photos", "of_draws"), SHARES)
def test_the_interval_covers(of_photos, of_draws, draws, missing):
    """Shares of the variance of S that photos and draws have; the rest is each pair's own."""
    rng, photos, hits, times = np.random.default_rng(1), 20, 0, 1500
    size = [
        np.sqrt(of_photos * photos),
        np.sqrt(of_draws * draws),
        np.sqrt((1 - of_photos - of_draws) * photos * draws),
    ]

    def effects():
        parts = rng.normal(size=(photos, 1)), rng.normal(size=(1, draws)), rng.normal(size=(photos, draws))
        return 0.02 * sum(s * part for s, part in zip(size, parts, strict=True))

    for _ in range(times):
        r_self, r_null, r_other = 0.9 + 0.1 * effects(), 0.3 + 0.1 * effects(), 0.3 + effects()
        r_self[rng.random(r_self.shape) < missing] = np.nan
        found = v.sensitivity(r_self, 0.54 + effects(), r_null, r_other)
        hits += found.low <= 0.6 <= found.high
    assert 0.92 <= hits / times <= 0.99


@pytest.mark.slow
def test_fifty_thousand_photos_fit():
    shapes = four(0.7, 50_000, 10)
    tracemalloc.start()
    begun = time.perf_counter()
    found = v.sensitivity(*shapes)
    seconds, (_, peak) = time.perf_counter() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.low < 0.7 < found.high
    assert peak < 500e6
    assert seconds < 20


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])


def frame(by_method, flipped=(), noises=(0.01, 0.02)):
    """Rows of an audit with four blocks in which each method has a known S, but 0.9 at the noises in `flipped`."""
    lines = []
    for method, s in by_method.items():
        for noise in noises:
            kinds = dict(zip(("self", "stage", "null", "other"), four(s if noise not in flipped else 0.9), strict=True))
            random = [("cascade_top", 2), ("everything", 4)]
            places = [(kind, place) for kind in ("stage", "null") for place in random]
            places += [("self", ("intact", 0)), ("other", ("intact", 0)), ("almost", ("almost_same", 0))]
            for kind, (stage, x) in places:
                place = {"method": method, "order": stage, "blocks": float(x), "noise": noise, "cell": 4}
                place |= {"kind": "stage" if kind == "almost" else kind, "metric": "spearman_abs", "status": "ok"}
                place |= {"message": "", "control": method.startswith("control")}
                values = kinds["self" if kind == "almost" else kind]
                lines += [place | {"image": f"{i:02d}", "draw": j, "value": x} for (i, j), x in np.ndenumerate(values)]
    return pd.DataFrame(lines)


def test_one_row_a_method_and_stability():
    rows = frame({"a": 0.1, "control_edges": 0.0}, flipped=(0.02,))
    table, _, curve = v.verdicts(v.arrange(rows, 0.01), rows)
    assert list(table["method"]) == ["a", "control_edges"]
    assert table["verdict"].tolist() == [v.FAIL, v.FAIL]
    assert table["stability"].tolist() == ["1 of 2", "1 of 2"]
    assert table["pairs"].tolist() == ["100 of 100", "100 of 100"]
    assert "not stable: with noise 2 it is FAIL in 0 of 1 analyses, PASS in 1" in table["reason"][0]
    assert len(curve) == 4
    assert not {"p_holm", "alone", "not_applicable"} & {*table}


@pytest.mark.parametrize("shape", [(20, 10), (300, 3)])
def test_every_pair_stands_in_its_own_place(shape):
    # More than 127 pairs overflowed the 8 bits in which pandas numbers a few photos.
    expected = np.arange(np.prod(shape), dtype=float).reshape(shape)
    place = {
        "method": "a",
        "order": "intact",
        "blocks": 0.0,
        "kind": "self",
        "noise": 0.01,
        "cell": 4,
        "control": False,
    }
    lines = [place | {"image": f"{i:03d}", "draw": j, "value": x} for (i, j), x in np.ndenumerate(expected)]
    rows = pd.DataFrame(lines).assign(metric="spearman_abs").sample(frac=1, random_state=0)
    found = v.arrange(rows, 0.01).arrays[v.Key("a", "intact", 0, "self", 0.01, 4, "spearman_abs")]
    np.testing.assert_array_equal(found, expected)


def test_a_headline_that_its_analyses_do_not_share_is_undecided():
    rows = frame({"a": 0.1, "control_edges": 0.0}, flipped=(0.02, 0.04), noises=(0.01, 0.02, 0.04))
    table, _, _ = v.verdicts(v.arrange(rows, 0.01), rows)
    assert table["verdict"].tolist() == [v.UNDECIDED, v.UNDECIDED]  # the control itself came out right: nothing is void
    assert table["stability"].tolist() == ["1 of 3", "1 of 3"]
    assert table["reason"][0].startswith("unstable: 1 of 3 analyses share the headline's FAIL; with noise 2 it is FAIL")


@pytest.mark.parametrize("study", ["sanity", "labels"])
def test_fail_on_and_the_page_know_every_verdict(study):
    words = (v.PASS, v.FAIL, v.UNSTABLE, v.UNDECIDED, v.UNINFORMATIVE, v.VOID)
    assert _conditions(",".join(f"{study}:{word}" for word in words)) == [(study, word) for word in words]
    section = next(s for s in sections() if s.study == study)
    assert {word: section.tone(word) for word in words} == {
        v.PASS: "good", v.FAIL: "bad", v.UNSTABLE: "bad", v.UNDECIDED: "plain", v.UNINFORMATIVE: "plain", v.VOID: "bad",
    }  # fmt: skip
    assert section.sentences.keys() >= {*words}


def test_a_control_that_comes_out_wrong_voids_the_audit():
    rows = frame({"a": 0.9, "control_edges": 0.9})
    table, _, _ = v.verdicts(v.arrange(rows, 0.01), rows)
    assert set(table["verdict"]) == {v.VOID}
    assert "control_edges came out PASS, not FAIL (it would be PASS" in table["reason"][0]


def test_a_wrong_control_is_wrong_however_few_analyses_share_it():
    rows = frame({"a": 0.9, "control_edges": 0.9}, noises=(0.01, 0.02, 0.04))
    wrong = (
        (rows["method"] == "control_edges")
        & (rows["noise"] > 0.01)
        & (rows["order"].isin(["cascade_top", "everything"]))
    )
    rows.loc[wrong & (rows["kind"] == "stage"), "value"] = 0.9  # the map stays there, as it should
    table, _, _ = v.verdicts(v.arrange(rows, 0.01), rows)
    assert table["stability"].tolist()[1] == "1 of 3"
    assert set(table["verdict"]) == {v.VOID}
