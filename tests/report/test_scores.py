"""What the verdicts of scores are allowed to say: words by hand, planted faults, and what must not change them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from suite.metrics.cards import PLACEBOS, cards
from suite.metrics.statistics import paired_test
from suite.studies.scores import report as report
from suite.studies.scores.values import curve_means, gather
from suite.studies.shortcut import report as shortcut

N = 12
WIGGLE = np.tile([0.02, -0.02, 0.01, -0.01], N // 4)


def rows(values, metric="deletion", variant="probability"):
    """Rows of scores: method -> a value a photo."""
    return pd.DataFrame(
        [
            {"study": "scores", "model": "m", "method": method, "role": "", "baseline": "", "image": f"{i}",
             "variant": variant, "share": np.nan, "metric": metric, "value": value, "status": "ok", "message": "",
             "target": 0, "control": method.startswith("control")}
            for method, some in values.items() for i, value in enumerate(some)
        ]
    )  # fmt: skip


def gathered(*frames):
    return gather([pa.Table.from_pandas(pd.concat(frames), preserve_index=False)])


def judged(*frames):
    """The lines of all measures, each of which has passed its self-test."""
    all_of = gathered(*frames)
    return report._scores(all_of.measures, all_of.failed, {("m", measure.name) for measure in all_of.measures})


def words(main):
    return main.set_index("method")["verdict"].to_dict()


def overall(main):
    verdicts = report._verdicts(main)
    lines = verdicts[verdicts["measure"] == "overall"].set_index("method")
    return lines["verdict"].to_dict(), lines["reason"].to_dict()


def controls(level, n=N, names=PLACEBOS):
    return {name: level + 0.001 * k + np.zeros(n) for k, name in enumerate(names)}


def test_the_words_of_one_measure_by_hand():
    main = judged(rows({
        "good": 0.1 + WIGGLE, "poor": 0.9 + WIGGLE, "level": 0.5 + WIGGLE, "broad": 0.5 + 10 * WIGGLE,
        **controls(0.5),
    }))  # fmt: skip
    assert words(main) == {
        "good": report.BETTER, "poor": report.WORSE, "level": report.NO_BETTER, "broad": report.UNSHOWN,
        **dict.fromkeys(PLACEBOS, report.CONTROL),
    }  # fmt: skip
    line = main.set_index("method").loc["good"]
    assert line["rank"] == 1
    assert line["against"] == "control_noise"  # the lowest of four equal constants
    assert line["over"] == pytest.approx(0.4)
    reasons = report._verdicts(main).set_index(["method", "measure"])["reason"]
    assert "at most" in reasons["level", "deletion"]
    assert "margin 0.05" in reasons["level", "deletion"]
    smallest = main.set_index("method").loc["broad", "smallest"]
    assert f"shows a difference of {smallest:.3f} with 80% probability" in reasons["broad", "deletion"]


def test_nineteen_photos_worse_and_one_outlier_is_not_better():
    worse = np.r_[np.full(19, 0.51), 0.0]
    assert worse.mean() < 0.5
    main = judged(rows({"outlier": worse, **controls(0.5, 20)}))
    assert words(main)["outlier"] == report.UNSHOWN


@pytest.mark.parametrize("name", [*PLACEBOS, "control_constant", "control_absolute_noise"])
def test_each_control_that_has_rows_decides(name):
    """A map that does as one control does is better than controls in nothing, however bad the others are."""
    others = controls(0.9, names=cards()["infidelity"].controls)
    main = judged(rows({"copy": 0.2 + WIGGLE, **others, name: 0.2 - WIGGLE}, "infidelity", ""))
    line = main.set_index("method").loc["copy"]
    assert line["verdict"] != report.BETTER
    assert line["against"] == name
    del others[name]
    assert words(judged(rows({"copy": 0.2 + WIGGLE, **others}, "infidelity", "")))["copy"] == report.BETTER


def test_the_constant_map_decides_infidelity_alone():
    others = controls(0.9) | {"control_constant": 0.01 + np.zeros(N)}
    assert words(judged(rows({"map": 0.2 + WIGGLE, **others})))["map"] == report.BETTER


def test_a_measure_whose_control_is_at_its_ceiling_is_left_out():
    others = controls(0.5) | {"control_edges": np.full(N, 0.97)}
    full = rows({"map": np.ones(N), **others}, "pointing_game", "composites")
    main = judged(full, rows({"map": 0.1 + WIGGLE, **controls(0.5)}))
    assert list(main.loc[main["method"] == "map", "verdict"]) == [report.CEILING, report.BETTER]
    said, why = overall(main)
    assert said["map"] == report.BETTER
    assert "1 of 1 measures" in why["map"]
    assert "at its ceiling: pointing game (composites) (control_edges 0.970)" in why["map"]
    assert overall(judged(full))[0]["map"] == report.UNSHOWN


def test_side_forms_complexity_and_failed_self_tests_decide_nothing():
    some = {"map": 0.1 + WIGGLE, **controls(0.5)}
    for metric, stage in (("deletion", "raw"), ("entropy", ""), ("max_sensitivity", "")):
        main = judged(rows(some, metric, stage))
        assert words(main)["map"] == report.SILENT
        assert report._verdicts(main).empty
    all_of = gathered(rows(some))
    assert words(report._scores(all_of.measures, all_of.failed, set()))["map"] == report.SILENT


PLACE = ("box_iou", "mask_iou", "mass_accuracy", "rank_accuracy")
FIDELITY = ("faithfulness_correlation", "mu_fidelity")


def many(place, fidelity, removal):
    """Eight measures in three families; in each of a family the map is better (1), level (0) or worse (-1)."""

    def some(level):
        return {"map": 0.5 + 0.3 * level + WIGGLE, **controls(0.5)}

    frames = [rows(some(place), metric, "composites") for metric in PLACE]
    frames += [rows(some(fidelity), metric, "") for metric in FIDELITY]
    return judged(*frames, *(rows(some(-removal), metric) for metric in ("deletion", "road")))  # lower is better


@pytest.mark.parametrize(
    ("place", "fidelity", "removal", "word"),
    [
        (1, 1, 0, report.BETTER), (1, 0, 0, report.MIXED), (0, 1, 1, report.BETTER), (0, 0, 0, report.NO_BETTER),
        (-1, -1, -1, report.WORSE), (-1, 0, -1, report.NO_BETTER), (1, -1, -1, report.MIXED),
    ],
)  # fmt: skip
def test_one_vote_a_family(place, fidelity, removal, word):
    said, why = overall(many(place, fidelity, removal))
    assert said["map"] == word
    won = [place, fidelity, removal].count(1)
    assert f"better in {won} of 3 families" in why["map"]  # four measures of place are one vote


def test_twenty_useless_methods_change_no_verdict_and_no_p():
    generator = np.random.default_rng(0)

    def value_row(extra):
        frames = []
        for k, metric in enumerate((*PLACE, *FIDELITY, "insertion")):
            made = np.random.default_rng(k)
            some = {name: made.normal(0.5, 0.1, N) for name in PLACEBOS}
            some |= {"a": made.normal(0.62, 0.1, N), "b": made.normal(0.7, 0.1, N), "c": made.normal(0.5, 0.1, N)}
            some |= {f"useless {i}": generator.uniform(size=N) for i in range(extra)}
            frames.append(rows(some, metric, "composites" if metric in PLACE else ""))
        return judged(*frames)

    alone, company = value_row(0), value_row(20)
    kept = ["measure", "method", "over", "over_low", "over_high", "p", "q", "verdict", "least", "smallest"]
    mine = company[~company["method"].str.startswith("useless")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone[kept], mine[kept], check_exact=True)
    assert len(set(alone["verdict"])) > 2  # the words are not all one
    before, after = (report._verdicts(main).set_index(["method", "measure"]) for main in (alone, company))
    pd.testing.assert_frame_equal(before, after.loc[before.index])


def test_arithmetic_alone_never_says_that_no_map_can_be_trusted():
    """Better than every control on 6 of 6 photos: the best there can be, and too few for three tests."""
    frames = [rows({"map": 0.9 + WIGGLE[:6], **controls(0.5, 6)}, metric, "") for metric in (*FIDELITY, "insertion")]
    main = judged(*frames)
    said, why = overall(main)
    assert said["map"] == report.FEW
    assert "too few photos, 7 would do for 3 tests" in why["map"]
    which = report._which(main[:0], main)
    assert which.empty  # a network all of whose photos are wrong has no table of scores
    which = report._which(many(1, 0, 0), main).set_index("use")
    assert which.loc[report.DEBUGGING, "map"] == "too few photos (6; 7 would do)"
    assert which.loc["finding the object", "map"] == "map"
    assert which.loc["fine detail", "map"] == "none can be trusted"  # no better by more than the margin
    one = judged(rows({"map": 0.1 + WIGGLE[:6], **controls(0.5, 6)}))
    assert words(one)["map"] == report.BETTER  # six are enough for one test


def test_a_use_without_photos_is_not_known_and_a_broad_interval_is_not_shown():
    broad = judged(rows({"map": 0.5 + 10 * WIGGLE, **controls(0.5)}))
    which = report._which(broad, broad[:0]).set_index("use")["map"]
    assert which["fine detail"] == "none is shown to be better than its controls"
    assert which["finding the object"] == which[report.DEBUGGING] == report.UNKNOWN


def test_the_duel_is_one_procedure_over_a_family_fixed_before():
    manifest = {"methods": {"saliency": {"name": "saliency"}, "grad_cam": {"name": "grad_cam"}}}
    outlier = np.r_[np.full(19, 0.51), 0.0]
    frames = [rows({"saliency": outlier, "grad_cam": np.full(20, 0.5)})]
    frames += [rows({"saliency": 0.5 + np.zeros(20), "grad_cam": 0.5 + np.zeros(20)}, name, "") for name in FIDELITY]
    frames += [rows({"saliency": np.full(20, 0.2), "grad_cam": np.full(20, 0.4)}, "road", "")]
    frames += [rows({"saliency": np.full(6, 0.2), "grad_cam": np.full(6, 0.4)}, "infidelity", "")]
    duel = report._duel(gathered(*frames).measures, manifest).set_index("measure")
    assert duel["better"].to_dict() == {
        "deletion": "undecided", "faithfulness correlation": "undecided", "mu fidelity": "undecided",
        "road": "saliency", "infidelity": report.FEW,
    }  # fmt: skip
    assert duel.loc["road", "p"] == 5 * 2.0**-19  # measures that did not move are counted too


@pytest.mark.slow
def test_a_map_that_is_no_better_is_seldom_called_so():
    generator, wrong, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        frames = []
        for metric in (*PLACE, *FIDELITY, "insertion"):
            some = {name: generator.normal(0.5, 0.1, N) for name in ("map", "control_noise")}
            frames.append(rows(some, metric, "composites" if metric in PLACE else ""))
        wrong += report.BETTER in set(judged(*frames)["verdict"])
    assert wrong / trials <= 0.05


def planted(detection, alarm, gate=1.0):
    """Rows of the shortcut study, 20 pictures a seed; a share a seed."""
    base = {"study": "shortcut", "model": "m", "status": "ok", "control": False}
    lines = []
    for seed, shares in enumerate(zip(detection, alarm, strict=True)):
        for patch, share in zip(("used", "unused"), shares, strict=True):
            for i in range(20):
                one = base | {"patch": patch, "seed": seed, "image": f"{i}"}
                right = {
                    "correct_with_patch": i < 20 * gate,
                    "correct_without_patch": i < (2 if patch == "used" else 20),
                }
                lines += [one | {"method": "", "metric": name, "value": float(v)} for name, v in right.items()]
                lines += [one | {"method": "map", "metric": "pointing", "value": float(i < 20 * share)}]
                lines += [one | {"method": "map", "metric": "mass_in_patch", "value": 0.1}]
    return pd.DataFrame(lines)


@pytest.mark.parametrize(
    ("detection", "alarm", "gate", "word", "why"),
    [
        ([1, 0.95, 1], [0, 0.05, 0], 1, "PASS", "only then"), ([0, 0, 0.05], [0, 0, 0], 1, "FAIL", "misses"),
        ([1, 1, 1], [1, 1, 0.95], 1, "FAIL", "not used"), ([1, 1, 0.2], [0, 0, 0], 1, "UNDECIDED", "one half"),
        ([1, 1], [0, 0], 1, "UNDECIDED", "2 seeds"), ([1, 1, 1], [0, 0, 0], 0.8, "WITHHELD", "seed 0"),
    ],
)  # fmt: skip
def test_the_shortcut_is_judged_over_trainings(detection, alarm, gate, word, why):
    line = shortcut.tables(planted(detection, alarm, gate), {})["shortcut_verdicts"].iloc[0]
    assert line["verdict"] == word
    assert why in line["reason"]


def test_interval_and_p_of_a_table_never_disagree():
    generator = np.random.default_rng(0)
    some = {f"m{i}": generator.normal(0.45, 0.1, N) for i in range(40)} | {"control_noise": np.full(N, 0.5)}
    main = judged(rows(some))
    mine = main[~main["control"]]
    assert ((mine["p"] < 0.05) == (mine["over_low"] > 0)).all()
    assert 0 < (mine["p"] < 0.05).sum() < len(mine)
    test = paired_test(some["control_noise"], some["m0"])
    line = main.set_index("method").loc["m0"]
    assert (line["over"], line["over_low"], line["over_high"]) == (test.mean, test.low, test.high)


def test_the_heat_table_shows_each_number_with_its_rank_and_greys_what_failed_its_self_test():
    some = {"map": 0.1 + WIGGLE, "other": 0.3 + WIGGLE, **controls(0.5)}
    main = judged(rows(some), rows({name: 1 - v for name, v in some.items()}, "insertion"))
    main = main.assign(trusted=main["metric"] == "deletion")
    ax = report._heat(main).axes[0]
    words = [text.get_text().partition("\n")[0] for text in ax.texts]
    assert len(words) == len(main)
    assert {"0.100  #1", "0.300  #2", "0.900  #1"} <= set(words)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["deletion ↓", "insertion ↑"]
    assert [text.get_text() for text in ax.get_yticklabels()][:2] == ["map", "other"]  # controls come last
    blue, grey = (mesh.get_facecolors()[mesh.get_array().mask.ravel() == 0] for mesh in ax.collections)
    assert (blue[:, 2] > blue[:, 0]).any()
    np.testing.assert_allclose(grey[:, 0], grey[:, 2], atol=1e-6)


def test_curves_of_controls_are_dashed():
    steps = [rows({"map": 0.9 - 0.1 * x + WIGGLE, **controls(0.5)}, "deletion_curve").assign(share=x) for x in range(4)]
    figure = report._curves(curve_means([pa.Table.from_pandas(pd.concat(steps).assign(baseline="mean"))]))
    looks = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert looks.pop("map") == "-"
    assert set(looks.values()) == {"--"}
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.9, 0.8, 0.7, 0.6])


def test_cost_beside_quality_names_each_method():
    ranks = pd.Series({"a": 1.0, "b": 2.0})
    ax = report._cost(pd.Series({"a": 1.0, "b": 100.0}), ranks).axes[0]
    assert [text.get_text() for text in ax.texts] == ["a", "b"]
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "100"]
