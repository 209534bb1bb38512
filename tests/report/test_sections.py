"""What sections share: groups, intervals, tones; and that each has its page."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from suite.report.sections import (
    headline,
    median_with_quartiles,
    ok,
    records,
    sections,
    seeds_with_interval,
    share_with_interval,
    square,
    summarise,
    unreadable,
)


def test_every_section_has_the_page_of_docs_that_the_report_names() -> None:
    docs = Path(__file__).parents[2] / "docs" / "studies"
    named = {section.page or f"studies/{section.study}" for section in sections()}
    pages = [path for path in docs.glob("*.md") if path.stem != "verdicts"]
    assert named == {f"studies/{path.stem}" for path in pages} | {"coursework"}
    assert (docs.parent / "coursework.md").exists()
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert not [part for part in ("**Question", "**How to read", "**Limits", "**Sources") if part not in text], path
        for module in re.findall(r"`(suite/[a-z_/]+(?:\.py)?)`", text):
            assert (docs.parents[1] / module).exists(), module


def test_the_page_of_verdicts_names_tests_that_there_are() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "studies" / "verdicts.md").read_text(encoding="utf-8")
    tests = {
        path.relative_to(root / "tests").as_posix(): path.read_text(encoding="utf-8")
        for path in (root / "tests").rglob("test_*.py")
    }
    named = re.findall(r"`([\w/]*test_\w+\.py)?(?:::)?(test_\w+)?`", page)
    assert sum(bool(file) or bool(test) for file, test in named) > 12
    for file, test in named:
        assert not file or file in tests
        assert not test or f"def {test}(" in (tests[file] if file else "".join(tests.values())), test
    judging = [part for part in sections() if part.study in ("agreement", "sanity", "labels", "shortcut", "scores")]
    words = {word for part in judging for word in part.good | part.bad} - {"failed"}
    assert not {word for word in words if word.split(" than ")[0].lower() not in page.lower()}


def test_a_verdict_is_good_bad_or_neither() -> None:
    (agreement,) = [section for section in sections() if section.study == "agreement"]
    assert [agreement.tone(verdict) for verdict in ("equal", "differs", "not applicable")] == ["good", "bad", "plain"]
    assert agreement.verdicts == "agreement_verdicts"


def test_overall_verdicts_go_before_those_of_measures() -> None:
    table = pd.DataFrame({"measure": ["overall", "deletion"], "verdict": ["a", "b"]})
    assert list(headline(table)["verdict"]) == ["a"]
    assert list(headline(table[1:])["verdict"]) == ["b"]


def test_a_line_a_group_and_none_of_what_gives_none() -> None:
    table = pd.DataFrame({"a": ["y", "x", "y"], "value": [1, 2, 3]})
    made = summarise(table, ["a"], lambda group: {"sum": group["value"].sum()} if len(group) > 1 else None)
    assert records(made) == [{"a": "y", "sum": 4}]
    assert summarise(table[:0], ["a"], len).empty  # type: ignore[arg-type]


def test_a_square_of_pairs_is_symmetric_and_empty_where_no_pair_says() -> None:
    pairs = pd.DataFrame({"a": ["p", "p"], "b": ["q", "r"], "value": [0.5, 0.25]})
    values = square(pairs, "a", "b", "value")
    np.testing.assert_array_equal(values, [[1, 0.5, 0.25], [0.5, 1, np.nan], [0.25, np.nan, 1]])


def test_intervals_by_hand() -> None:
    share = share_with_interval("x", pd.Series([1, 1, 0, 0]))
    assert (share["n"], share["x"]) == (4, 0.5)
    assert share["x_low"] == pytest.approx(1 - share["x_high"])
    assert share["x_low"] == pytest.approx(0.150, abs=5e-4)  # Wilson's
    assert median_with_quartiles("x", pd.Series([4.0, 1, 2, 3, 5])) == {"x": 3, "x_low": 2, "x_high": 4}


def test_photos_that_could_not_be_read_are_the_models_own() -> None:
    table = pd.DataFrame(
        [("predictions", "m", "a", "failed"), ("predictions", "m", "b", "ok"), ("predictions", "n", "c", "failed"),
         ("agreement", "m", "d", "failed")],
        columns=["study", "model", "image", "status"],
    )  # fmt: skip
    assert unreadable(table, "m") == {"a"}
    assert list(ok(table)["image"]) == ["b"]


def seeds(generator, share, spread, count=3, pictures=100):
    """0 or 1 a picture, with an intraclass correlation of `spread` within a seed."""
    scale = 1 / spread - 1
    hits = generator.random((count, pictures)) < generator.beta(share * scale, (1 - share) * scale, (count, 1))
    return pd.Series(hits.ravel().astype(float)), pd.Series(np.repeat(np.arange(count), pictures))


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.05, 0.2])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_shares_of_few_seeds_cover(share, spread):
    generator, hits, trials = np.random.default_rng(1), 0, 1000
    for _ in range(trials):
        found = seeds_with_interval("x", *seeds(generator, share, spread))
        hits += found["x_low"] <= share <= found["x_high"]
    assert hits / trials >= 0.90


def test_pictures_of_one_training_are_no_interval():
    hits, seed = seeds(np.random.default_rng(0), 0.5, 0.2)
    found = seeds_with_interval("x", hits[seed < 2], seed[seed < 2])
    assert np.isnan([found["x_low"], found["x_high"]]).all()
    assert (found["n"], found["seeds"]) == (200, 2)
    same = seeds_with_interval("x", pd.Series(np.ones(30)), pd.Series(np.repeat([0, 1, 2], 10)))
    assert 0.8 < same["x_low"] < 0.95  # three equal seeds of ten pictures are not certainty
    assert same["x_high"] == 1
