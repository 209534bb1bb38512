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


def test_answers_name_the_other_side_of_a_line() -> None:
    agreement = pd.DataFrame(
        {"model": "squeezenet1_1", "method": ["grad_cam"], "verdict": ["equal"], "reason": ["20 of 20 photos: equal"]}
    )
    pairs = {"metric": "spearman", "method": ["grad_cam"], "other_method": ["layer_conductance"], "n": [20]}
    answers = Answers(dict(agreement_verdicts=agreement, comparison=pd.DataFrame(pairs | {"mean": [0.51]})))
    assert answers.captum_layers()[1].endswith("grad_cam with layer_conductance 0.51")

    numbers = {"success": [1.0], "saved_success": [1.0], "iterations": [5.0], "linf": [0.1], "ssim": [0.99], "n": [14]}
    targeted = pd.DataFrame({"model": "squeezenet1_1", "method": ["fooling"], "goal": ["bulbul"]} | numbers)
    verdict, words = Answers(dict(attacks_targeted=targeted)).fooling_images()
    assert (verdict, words[:24]) == (HELD, "bulbul: 100% of 14 photo")

    elsewhere = pd.DataFrame(
        {
            "job": "classes",
            "model": ["squeezenet1_1", "efficientnet_lite0"],
            "other_model": ["efficientnet_lite0", "squeezenet1_1"],
            "n": 3,
            "confidence_here": [1.0, 0.9],
            "confidence_there": [0.05, 0.4],
        }
    )
    verdict, words = Answers(dict(visualization_elsewhere=elsewhere)).second_network()
    assert verdict == HELD
    assert words.startswith("made for squeezenet1_1: 100.0% there, 5.0% on efficientnet_lite0; ")


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
