"""What the network makes of each image, by hand; and images that could not be read, have no label or no scores."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import works

from suite.data.sources import ImageFile
from suite.studies.predictions.study import Predictions


def test_top_class_confidence_and_whether_it_is_right() -> None:
    given = works.work(labels=[0, 1, None, 3])
    frame = works.rows(Predictions(), given)
    share, top = given.scores.double().softmax(1).max(1)
    assert works.values(frame, "top1") == top.tolist()
    assert works.values(frame, "confidence") == pytest.approx(share.tolist())
    labels = {"0.png": 0, "1.png": 1, "3.png": 3}
    correct = frame[frame["metric"] == "correct"].set_index("image")
    for name, label in labels.items():
        assert correct["value"][name] == float(top[int(name[0])] == label)
    assert correct["status"]["2.png"] == "not_applicable"
    assert "no label" in correct["message"]["2.png"]
    assert set(frame[(frame["metric"] == "correct_top5") & (frame["status"] == "ok")]["value"]) == {1.0}  # of 5 classes


def test_an_image_that_cannot_be_read_fails_and_so_does_one_whose_scores_are_nan() -> None:
    given = works.work()
    given = replace(given, faults=[(ImageFile("bad.png", Path(), 0, ""), "it is no image")])
    given.scores = given.scores.clone()
    given.scores[1, 0] = torch.nan
    frame = works.rows(Predictions(), given)
    failed = frame[frame["status"] == "failed"].set_index("image")["message"]
    assert failed.to_dict() == {
        "bad.png": "it is no image",
        "1.png": "the network's scores of this image hold NaN or infinity",
    }
    assert "1.png" not in set(frame.loc[frame["metric"] == "top1", "image"])


def test_a_chunk_without_a_readable_image_has_its_faults_alone() -> None:
    given = works.work()
    fault = (ImageFile("bad.png", Path(), 0, ""), "it is no image")
    empty = replace(given, images=given.images[:0], files=[], positions=[], notes=[], faults=[fault])
    assert works.rows(Predictions(), empty)["image"].tolist() == ["bad.png"]
