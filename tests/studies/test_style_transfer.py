"""Style transfer as a study: judged elsewhere, stand-ins named, bad configurations refused."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from suite.core.classes import ClassNames
from suite.core.network import Card
from suite.report import build
from suite.studies.style_transfer.config import StyleTransferConfig
from suite.studies.style_transfer.report import strip
from suite.studies.style_transfer.study import as_taken
from suite.synthesis.style_transfer import PRESETS


@pytest.mark.slow
def test_study_judges_elsewhere_and_says_what_stands_in(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    pairs = [
        {"content": "tubingen", "style": "starry_night", "parameters": {"steps": 4, "scales": [0.5, 1]}},
        {"content": "mine", "style": "coffee", "parameters": {"steps": 4, "scales": [1]}},
    ]
    source = tiny.photos(tmp_path)
    Image.open(source / "a" / "00.png").save(tmp_path / "mine.png")
    study = {"style_transfer": {"pairs": pairs, "paintings": str(tmp_path), "size": 32}}
    models = [tiny.network(tmp_path, label="one"), tiny.network(tmp_path, label="two", parameters={"act": "silu"})]
    path = tiny.config(
        tmp_path, models=models, studies=study, methods=["saliency", "guided_backprop", "control_constant"]
    )
    rows = tiny.rows(path, tmp_path / "run")
    rows = rows[rows["study"] == "style_transfer"]
    assert not (rows["status"] == "failed").any(), rows.loc[rows["status"] == "failed", "message"].tolist()
    assert rows.loc[rows["metric"] == "content", ["model", "image", "painting"]].drop_duplicates().shape[0] == 4
    stand_in = rows[(rows["image"] == "tubingen") & (rows["status"] == "ok")]
    assert stand_in["message"].str.startswith("astronaut stands in for tubingen; hubble_deep_field stands in").all()
    assert (rows.loc[(rows["image"] == "mine") & (rows["status"] == "ok"), "message"] == "").all()
    judges = rows[rows["metric"] == "style_distance"].groupby("model")["judge"].agg(set)
    assert judges.to_dict() == {"one": {"one", "two"}, "two": {"one", "two"}}
    curve = rows[(rows["metric"] == "tv") & (rows["model"] == "one") & (rows["image"] == "tubingen")]
    assert sorted(zip(curve["size"], curve["iterations"], strict=True)) == [
        (size, step) for size in (0, 1) for step in range(5)
    ]
    maps = rows[rows["metric"] == "map_spearman"]
    assert set(maps.loc[maps["method"] == "saliency", "picture"]) == {"stylised", "noise", "unrelated"}
    assert set(maps.loc[maps["method"] == "control_constant", "status"]) == {"not_applicable"}
    page = build(tmp_path / "run").read_text()
    assert "astronaut stands in for tubingen" in page
    assert len(list((tmp_path / "run" / "images").glob("*/style-*.png"))) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pairs": [{"content": "astronot", "style": "coffee"}]}, "did you mean 'astronaut'"),
        ({"pairs": [{"content": "rocket", "style": "coffee", "preset": "scream"}]}, "did you mean 'the_scream'"),
        ({"pairs": [{"content": "rocket", "style": "coffee"}] * 2}, "once"),
        ({"paintings": "nowhere"}, "no such folder"),
    ],
    ids=["name", "preset", "twice", "folder"],
)
def test_bad_configurations_are_one_line(tmp_path, monkeypatch, capsys, change, says) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    assert tiny.main(monkeypatch, "check", tiny.config(tmp_path, studies={"style_transfer": change})) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_default_pairs_are_the_courseworks_and_a_pair_stands_once() -> None:
    section = StyleTransferConfig()
    assert [(pair.content, pair.style) for pair in section.pairs] == [
        ("tubingen", style) for style in ("composition_vii", "the_scream", "starry_night")
    ]
    assert list(PRESETS) == [pair.style for pair in section.pairs]
    with pytest.raises(ValueError, match="each pair of a photo and a painting once"):
        StyleTransferConfig(pairs=section.pairs[:1] * 2)


@pytest.mark.parametrize(("resize", "expected"), [(None, (8, 6)), (12, (8, 6))])
def test_a_picture_is_taken_as_the_network_takes_a_photo(resize, expected) -> None:
    card = Card("net", "", "", (8, 6), resize, ClassNames.imagenet())
    ramp = torch.linspace(0, 1, 24).expand(1, 3, 16, 24)
    taken = as_taken(ramp, card)
    assert taken.shape[2:] == expected
    middle = taken.mean()
    assert middle == pytest.approx(0.5, abs=0.01)
    spread = float(taken.max() - taken.min())
    assert spread == pytest.approx(0.87 if resize is None else 5 / 18, abs=0.06)  # all of it, or six of 18 columns


def test_strip_shows_each_snapshot_below_the_three() -> None:
    red, blue = (np.full((20, 30, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    small, large = (np.asarray(strip(red, blue, dict.fromkeys(names, blue), ["a line"])) for names in ("a", "abc"))
    assert small.shape[1] == large.shape[1]
    for drawn in (small, large):
        assert (drawn == (200, 0, 0)).all(2).any()
        assert (drawn == (0, 0, 200)).all(2).sum() > 2 * (drawn == (200, 0, 0)).all(2).sum()
    blue_pixels = [(drawn == (0, 0, 200)).all(2).sum() for drawn in (small, large)]
    assert blue_pixels[1] > blue_pixels[0]
