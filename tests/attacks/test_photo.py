"""One photo attacked from the command line."""

import json
from pathlib import Path

import pytest
import tiny
import torch

from suite.attacks.photo import PhotoAttack, attack_photo
from suite.core.classes import ClassNames
from suite.core.pixels import from_png
from suite.data.images import load_image
from suite.data.listing import embedded_photos
from suite.errors import ConfigError


@pytest.mark.slow
def test_command_writes_a_picture_that_is_still_fooled(tmp_path, monkeypatch, capsys) -> None:
    from suite.data.sources import list_images

    photo = list_images("embedded", classes=ClassNames.imagenet()).files[0].path
    words = ["attack", photo, "--epsilon", "4/255", "--target", "stingray", "--out", tmp_path / "out", "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["fooled_as_saved"]
    assert numbers["epsilon"] == pytest.approx(4 / 255)
    assert 0.9 < numbers["ssim"] < 1
    import suite

    model = suite.load_model("squeezenet1_1")
    back = from_png(Path(numbers["picture"]).read_bytes())[None]
    assert model.card.classes.name(int(model(back).argmax())) == "stingray"
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".png", ".json"}
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert back.shape == (1, 3, 224, 224)


def test_the_result_is_judged_on_the_file_and_says_what_went_wrong(tmp_path) -> None:
    photo = embedded_photos()["imagenet_03_990.jpg"]
    weak = attack_photo(photo, tmp_path, PhotoAttack(epsilon=1e-5, parameters={"steps": 1}))
    assert weak.file == tmp_path / "imagenet_03_990-pgd.png"
    assert [title for title, *_ in weak.frames] == ["photo", "adversarial"]
    assert weak.problem == "not fooled"
    assert not weak.numbers["fooled"]
    saved = load_image(weak.file, resize=None, crop=(224, 224))[0]
    assert torch.equal(torch.from_numpy(weak.frames[1][1]).permute(2, 0, 1) / 255, saved)
    assert torch.equal(torch.from_numpy(weak.frames[0][1]), torch.from_numpy(weak.frames[1][1]))  # 1e-5 is no level
    with pytest.raises(ConfigError, match=r"--label 'stingray': .* nothing to fool"):
        attack_photo(photo, tmp_path, PhotoAttack(label="stingray"))
