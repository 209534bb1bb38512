"""Network against network: every pair from both sides, a network that comes later, and verdicts worked out by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import works
from safetensors.torch import save_file

from suite.results import key_of
from suite.studies.base import Work
from suite.studies.between_networks.report import SECTION
from suite.studies.between_networks.study import BetweenNetworks


def networks(folder: Path, **changes: dict[str, object]) -> list[dict[str, object]]:
    return [tiny.network(folder, label=name, **more) for name, more in changes.items()]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"methods": ["saliency", "grad_cam"], "studies": {"sharpness": {}, "between_networks": {}}}


def test_every_pair_is_compared_and_twins_agree(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    maps = Work.map_results.func
    monkeypatch.setattr(Work.map_results, "func", lambda self: computed.append(self.model.card.name) or maps(self))
    models = networks(tmp_path, a={"seed": 0}, twin={"seed": 0}, c={"seed": 1}, wide={"input_size": 24})
    found = tiny.rows(tiny.config(tmp_path, 4, models=models, **settings), tmp_path / "run")
    assert sorted(computed) == sorted(["a", "twin", "c", "wide"] * 2)  # two chunks: no map is made twice
    mine = found[(found["study"] == "between_networks") & (found["metric"] == "spearman")]
    same = mine[(mine["pairing"] == "same_photo") & (mine["status"] == "ok")]
    pairs = set(zip(same["model"], same["other_model"], strict=True))
    assert pairs == {(x, y) for x in ("a", "twin", "c") for y in ("a", "twin", "c") if x != y}
    twins = same[(same["model"] == "a") & (same["other_model"] == "twin")]["value"]
    assert len(twins) >= 7  # a map may be constant
    assert twins.min() == pytest.approx(1)
    assert same[(same["model"] == "a") & (same["other_model"] == "c")]["value"].max() < 0.99
    other_size = mine[mine["other_model"] == "wide"]
    assert set(other_size["status"]) == {"not_applicable"}
    assert "another size" in other_size["message"].iloc[0]
    assert not (found["status"] == "failed").any()


def test_a_network_that_comes_later_joins(tmp_path: Path, settings: dict[str, Any]) -> None:
    weights = tmp_path / "b.safetensors"
    models = networks(tmp_path, a={}, b={"weights": str(weights), "optional": True}, c={"seed": 2})
    path = tiny.config(tmp_path, 3, models=models, **settings)
    before = tiny.rows(path, tmp_path / "run")
    assert "b" not in set(before.loc[before["status"] == "ok", "other_model"])
    save_file(tiny.net().state_dict(), weights)
    after = tiny.rows(path, tmp_path / "run")
    assert not after.duplicated(key_of(list(after))).any()
    same = after[
        (after["study"] == "between_networks") & (after["pairing"] == "same_photo") & (after["status"] == "ok")
    ]
    assert {frozenset(pair) for pair in zip(same["model"], same["other_model"], strict=True)} == {
        frozenset(pair) for pair in ("ab", "bc", "ac")
    }


def planted(method: str, large: dict[str, float], small: dict[str, float]) -> list[dict[str, Any]]:
    """Ten photos; the measures of two networks a little scattered, their maps alike on one photo, not on two."""
    rows = []
    for i in range(10):
        base = {"method": method, "image": f"{i}.jpg", "status": "ok"}
        for model, values in (("large", large), ("small", small)):
            rows += [
                base | {"study": "sharpness", "model": model, "metric": metric, "value": value + 0.01 * (i % 3)}
                for metric, value in values.items()
            ]
        for pairing, value in (("same_photo", 0.5), ("unrelated_photos", 0.1)):
            pair = {"study": "between_networks", "model": "small", "other_model": "large", "pairing": pairing}
            rows.append(base | pair | {"metric": "spearman", "value": value + 0.01 * (i % 2)})
    return rows


def test_verdicts_by_hand() -> None:
    level = {"entropy": 0.9, "gini": 0.5, "largest_component_mass": 0.3}
    sharper = {"entropy": 0.8, "gini": 0.6, "largest_component_mass": 0.3}
    torn = {"entropy": 0.8, "gini": 0.4, "largest_component_mass": 0.3}
    rows = pd.DataFrame(
        planted("sharp", sharper, level) + planted("dull", level, sharper) + planted("torn", torn, level)
        + planted("same", level, level) + planted("noise", sharper, level)
    )  # fmt: skip
    manifest = {
        "models": {"small": {"weights": 10}, "large": {"weights": 20}},
        "methods": {"noise": {"control": True}},
    }
    tables = SECTION.tables(rows, manifest)
    verdicts = tables["between_networks_verdicts"].set_index("method")
    assert verdicts["verdict"].to_dict() == {
        "sharp": "sharper",
        "dull": "less sharp",
        "torn": "unclear",
        "same": "unclear",
    }
    assert set(verdicts["model"]) == {"large"}
    reason = verdicts.loc["sharp", "reason"]
    assert reason.startswith("against small: entropy -0.100 [-0.100, -0.100]; gini +0.100")
    assert reason.endswith("Spearman of their maps 0.51, of unrelated photos' 0.11")
    alike = tables["between_networks"]
    assert set(alike["beyond_chance"]) == {"yes"}
    assert len(list(SECTION.plots(rows, tables))) == 2


def test_a_network_that_could_not_be_had_and_a_method_that_fails_say_so() -> None:
    given = works.work({"saliency": "saliency", "broken": tiny.raising}, names=("one", "two"))
    frame = works.rows(BetweenNetworks(), given)
    assert set(frame["other_model"]) == {"two"}
    assert set(frame.loc[frame["method"] == "broken", "status"]) == {"failed"}
    assert (frame.loc[frame["method"] == "saliency", "status"] == "ok").all()
    given.others = []
    absent = works.rows(BetweenNetworks(), given)
    assert set(absent["status"]) == {"not_applicable"}
    assert "two takes photos at another size, or could not be had" in absent["message"].iloc[0]
