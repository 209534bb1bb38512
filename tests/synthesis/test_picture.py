"""Pictures asked for on the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from suite.errors import ConfigError
from suite.synthesis.class_visualization import PRESETS
from suite.synthesis.picture import PictureToMake, PictureToPaint, make_picture, recipe_of, stylize
from suite.synthesis.style_transfer import total_variation


@pytest.mark.slow
def test_command_writes_picture_strip_and_numbers(tmp_path, monkeypatch, capsys) -> None:
    words = ["stylize", "rocket", "coffee", "--size", 48, "--set", "steps=3", "--out", tmp_path, "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)
    with Image.open(numbers["picture"]) as picture:
        assert picture.size == (71, 48)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rocket-coffee-strip.png", "rocket-coffee.json", "rocket-coffee.png",
    ]  # fmt: skip
    assert json.loads((tmp_path / "rocket-coffee.json").read_text()) == numbers
    assert [point["step"] for point in numbers["curve"]] == [0, 1, 2, 3] * 2
    assert tiny.main(monkeypatch, "stylize", "rocket", "cofee", "--out", tmp_path) == 2
    assert "did you mean 'coffee'" in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(tmp_path, monkeypatch, capsys) -> None:
    from suite.synthesis import style_transfer

    calls = []

    def stop(image):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return total_variation(image)

    monkeypatch.setattr(style_transfer, "total_variation", stop)
    words = ["stylize", "rocket", "coffee", "--size", 48, "--out", tmp_path, "--json"]
    assert tiny.main(monkeypatch, *words) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == 1
    assert "interrupted" in said.err
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.slow
def test_command_writes_what_it_says_and_reads_odd_photos(tmp_path, monkeypatch, capsys) -> None:
    Image.new("LA", (9, 3000), (90, 120)).save(tmp_path / "odd.png")
    words = ["visualize", "gorilla", "--steps", 3, "--init", tmp_path / "odd.png", "--out", tmp_path / "out", "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["steps"] == 3
    assert "greyscale with alpha" in numbers["start_note"]
    assert len(list((tmp_path / "out").iterdir())) == 3
    from suite.data.images import load_image
    from suite.models.load import load_model

    back = load_image(numbers["picture"], resize=None, crop=(224, 224))[0][None]
    share = load_model("squeezenet1_1")(back).softmax(1)[0, numbers["target"]].detach()
    torch.testing.assert_close(float(share), numbers["confidence_as_saved"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gorila"], "did you mean 'gorilla'"),
        (["--layer", "features.99"], "did you mean 'features.9'"),
        (["gorilla", "--init", "none.jpg"], "cannot be read"),
    ],
)
def test_bad_commands_are_one_line(tmp_path, monkeypatch, capsys, words, says) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny.main(monkeypatch, "visualize", *words) == 2
    assert says in capsys.readouterr().err


def test_frames_count_up_to_the_picture_and_a_layer_has_no_confidence(tmp_path) -> None:
    seen: list[tuple[int, int, str]] = []
    layer = PictureToMake(layer="features.6", channel=3, changes={"steps": 3}, seed=1)
    result = make_picture(layer, tmp_path, lambda *step: seen.append(step))
    assert [title for title, *_ in result.frames] == ["step 1", "step 2", "step 3"]
    assert {caption for *_, caption in result.frames} == {""}
    assert result.file == tmp_path / "features_6_3-cs231n.png"
    assert torch.equal(torch.from_numpy(result.frames[-1][1]), torch.from_numpy(np.array(Image.open(result.file))))
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    assert "nan" not in seen[-1][2]
    assert (result.numbers["steps"], result.numbers["target"], result.problem) == (3, None, "")
    again = make_picture(layer, tmp_path, lambda *_: None)
    assert all((a[1] == b[1]).all() for a, b in zip(result.frames, again.frames, strict=True))


def test_a_recipe_is_a_preset_with_changes() -> None:
    assert recipe_of("rdfia", {"steps": 7}) == replace(PRESETS["rdfia"], steps=7)
    with pytest.raises(ConfigError, match="did you mean 'cs231n'"):
        recipe_of("cs23n", {})
    with pytest.raises(ConfigError, match="more than 0"):
        recipe_of("cs231n", {"rate": -1.0})


def test_a_painting_ends_with_its_file_and_watches_every_step(tmp_path) -> None:
    seen: list[tuple[int, int, str]] = []
    picture = PictureToPaint("rocket", "coffee", parameters={"steps": 2}, size=32)
    result = stylize(picture, tmp_path, lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(k, 6) for k in range(1, 7)]
    titles = [title for title, *_ in result.frames]
    assert titles[:2] == ["photo", "painting"]
    assert titles[-1] == f"step {result.numbers['steps']}" == "step 4"
    assert torch.equal(torch.from_numpy(result.frames[-1][1]), torch.from_numpy(np.array(Image.open(result.file))))
    assert result.numbers["settings"]["steps"] == 2
