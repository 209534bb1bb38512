"""A run inside a run: its studies on its own networks and pictures, and what it cannot hold."""

import pytest
import tiny
import works

from suite.config import validate
from suite.errors import ConfigError
from suite.studies.digits.study import Digits


def settings(folder, **studies):
    tiny.photos(folder)
    model = tiny.network(folder, label="inner")
    data = {"source": str(folder / "photos"), "batch_size": 4}
    return {"models": [model], "methods": ["saliency"], "data": data, "studies": studies}


def test_rows_are_of_the_inner_studies_and_networks(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    given = works.work(digits=settings(tmp_path, sharpness={}))
    frame = works.rows(Digits(), given)
    assert set(frame["study"]) == {"sharpness"}
    assert set(frame["model"]) == {"inner"}
    assert frame["image"].nunique() == 6  # of two chunks
    assert (frame["status"] == "ok").any()


def test_its_passes_are_not_counted_and_what_cannot_run_inside_is_refused(tmp_path):
    inner = settings(tmp_path, sharpness={})
    given = works.work(digits=inner)
    assert Digits().cost(given.methods, given.config).forwards == 0
    with pytest.raises(ConfigError, match="'speed' is no study of single photos"):
        Digits().cost({}, validate({"studies": {"digits": settings(tmp_path, speed={"rounds": 2})}}))
    with pytest.raises(ConfigError, match="no network 'other'"):
        Digits().cost({}, validate({"studies": {"digits": settings(tmp_path, sharpness={"networks": ["other"]})}}))
