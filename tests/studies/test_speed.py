"""Raw samples of every job of every round, in the bare passes of the same round; and the clock and memory below."""

import time

import pytest
import tiny
import torch
import works

from suite.studies.speed.clock import peak_bytes, synchronise
from suite.studies.speed.config import SpeedConfig
from suite.studies.speed.report import SECTION
from suite.studies.speed.study import Speed


def sleepy(model, images, targets):
    time.sleep(0.05)
    return images


def test_every_job_is_timed_each_round_in_passes_of_its_round() -> None:
    given = works.work({"saliency": "saliency", "mine": sleepy}, speed={"rounds": 3, "memory": False})
    frame = works.rows(Speed(), given)
    jobs = {
        ("forward", "bare", "batch"), ("forward_and_gradient", "bare", "batch"), ("saliency", "own", "batch"),
        ("saliency", "captum", "batch"), ("mine", "own", "batch"), ("all methods", "own", "batch"),
        ("forward_and_gradient", "bare", "one_by_one"), ("all methods", "own", "one_by_one"),
    }  # fmt: skip
    seconds = frame[frame["metric"] == "seconds"].set_index(["method", "implementation", "job", "round"])["value"]
    assert set(seconds.index) == {(*job, draw) for job in jobs for draw in range(3)}
    assert set(frame["photos"]) == {4.0}
    passes = frame[frame["metric"] == "passes"].set_index(["method", "implementation", "job", "round"])["value"]
    for (*job, draw), value in passes.items():
        bare = seconds[("forward_and_gradient", "bare", job[2], draw)]
        assert value == pytest.approx(seconds[(*job, draw)] / bare)
    assert min(works.values(frame, "seconds", method="mine")) > 0.05
    assert min(works.values(frame, "seconds", method="all methods", job="one_by_one")) > 4 * 0.05


def test_captums_sum_is_there_where_it_has_every_method_and_memory_is_measured() -> None:
    frame = works.rows(Speed(), works.work(["saliency", "gradient"], speed={"rounds": 2, "one_by_one": False}))
    captum = frame[(frame["implementation"] == "captum") & (frame["metric"] == "seconds")]
    total = captum[captum["method"] == "all methods"].set_index("round")["value"]
    parts = captum[captum["method"] != "all methods"].groupby("round")["value"].sum()
    assert total.to_dict() == pytest.approx(parts.to_dict())
    memory = frame[frame["metric"] == "peak_memory"]
    assert (memory["value"] > 0).all()
    assert set(memory["unit"]) == {"MiB"}


def test_a_method_without_a_map_is_not_timed_and_says_why() -> None:
    given = works.work({"saliency": "saliency", "broken": tiny.raising}, speed={"rounds": 2, "memory": False})
    broken = works.rows(Speed(), given).query("method == 'broken'")
    assert broken["status"].tolist() == ["failed"]
    assert "boom" in broken["message"].item()


def test_the_peak_is_what_a_call_holds_at_a_time() -> None:
    def twice() -> None:
        for _ in range(2):
            torch.empty(2**20, dtype=torch.uint8).fill_(1)

    assert peak_bytes(twice, torch.device("cpu")) == pytest.approx(2**20, rel=0.01)
    synchronise(torch.device("cpu"))  # nothing to wait for


def test_passes_are_counted_before_a_run_and_the_section_has_a_line_a_method() -> None:
    given = works.work(["saliency"], speed={"rounds": 2})
    assert given.config.section(SpeedConfig).rounds == 2
    assert Speed().cost(given.methods, given.config).backwards == (1 + 2 * 1) * 3
    tables = SECTION.tables(works.rows(Speed(), given), {})
    assert "saliency" in set(next(iter(tables.values()))["method"])
