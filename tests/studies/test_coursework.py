"""The coursework's answers: right on planted tables, absent where the numbers are, and in every line from a table."""

import pandas as pd
import pytest
import tiny

from suite.config import load
from suite.studies.coursework.report import (
    BROKE,
    HELD,
    NOT_RUN,
    PART,
    QUESTIONS,
    SURE,
    UNCLEAR,
    Answers,
    answer_all,
    judged,
)  # fmt: skip
from suite.studies.coursework.study import STUDY


def test_every_question_has_an_answer_of_its_name_and_every_answer_a_question() -> None:
    assert [q["id"] for q in QUESTIONS] == list(dict.fromkeys(q["id"] for q in QUESTIONS))
    own = {name for name in vars(Answers) if not name.startswith("_")} - {"find"}
    assert {q["id"] for q in QUESTIONS} == own
    assert {q["usual"] for q in QUESTIONS if "above" in q["usual"]} == {f"Yes, above {SURE:.0%}."}
    assert all(q["tables"] for q in QUESTIONS)


def test_parts_make_a_verdict() -> None:
    assert judged([True, True]) == HELD
    assert judged([True, False]) == judged([True, None]) == PART
    assert judged([False, False]) == BROKE
    assert judged([False, None]) == judged([None]) == UNCLEAR


def test_a_run_without_numbers_answers_nothing() -> None:
    lines = answer_all({}, {"config": {"studies": {"coursework": {}}}})["coursework_verdicts"]
    assert set(lines["verdict"]) == {NOT_RUN}
    assert list(lines["measure"]) == [str(k + 1) for k in range(len(QUESTIONS))]
    assert (lines["reason"].str.len() > 10).all()
    assert answer_all({}, {"config": {"studies": {}}}) == {}


@pytest.mark.parametrize(("contrasts", "verdict"), [((0.2, 0.05), HELD), ((0.2, 0.19), BROKE)])
def test_a_high_lambda_is_grey_where_contrast_falls(contrasts: tuple[float, float], verdict: str) -> None:
    # in the wrong order: the sweep is sorted by its number
    lines = [
        {"job": "lambda", "variant": name, "contrast": c, "confidence": 1.0}
        for name, c in zip(("λ 0.0001", "λ 1"), contrasts, strict=True)
    ]
    assert Answers(dict(visualization_variants=pd.DataFrame(lines[::-1]))).weight_decay()[0] == verdict


@pytest.mark.parametrize(("guided", "verdict"), [("FAIL", HELD), ("PASS", PART), ("UNDECIDED", PART)])
def test_sanity_is_held_against_the_paper(guided: str, verdict: str) -> None:
    said = {"saliency": "PASS", "grad_cam": "PASS", "guided_backprop": guided, "guided_grad_cam": "FAIL"}
    more = {"model": "squeezenet1_1", "measure": "overall", "s_half": 0.5, "s_half_low": 0.4, "s_half_high": 0.6}
    lines = [more | {"method": m, "verdict": v, "photos": 20, "draws": 2} for m, v in said.items()]
    assert Answers(dict(sanity_verdicts=pd.DataFrame(lines))).sanity()[0] == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(1.4, BROKE), (11.0, HELD)])
def test_no_batch_is_exponentially_faster(gain: float, verdict: str) -> None:
    batching = pd.DataFrame({"method": ["all methods", "forward_and_gradient"], "gain": [gain, 1.5]})
    speed = pd.DataFrame({"job": ["batch"], "method": ["all methods"], "photos": [10.0]})
    assert Answers(dict(speed_batching=batching, speed=speed)).summed_scores()[0] == verdict


def test_the_page_of_the_docs_says_what_the_committed_report_says() -> None:
    lines = pd.read_csv(tiny.ROOT / "reports/example_coursework/tables/coursework_verdicts.csv")
    page = " ".join((tiny.ROOT / "docs/coursework.md").read_text(encoding="utf-8").split())
    assert list(lines["method"]) == [question["question"] for question in QUESTIONS]
    for line in lines.to_dict("records"):
        assert f"{line['measure']}. {line['method']} Usual answer: {line['usual']} **{line['verdict']}**" in page


def test_it_has_no_work_of_its_own(tmp_path) -> None:
    config = load(tiny.config(tmp_path, studies={"coursework": {}}))
    assert STUDY.parts(config) == 0
    assert STUDY.cost({}, config).forwards == 0
