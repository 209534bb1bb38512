"""One photo attacked from the command line: the PNG, read back and judged, and the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from suite.attacks.attack import attack, make_attack
from suite.core.passes import predict
from suite.core.pixels import pixels, write_png
from suite.data.images import load_image
from suite.data.pictures import PictureResult
from suite.errors import ConfigError
from suite.models.load import load_model


@dataclass(frozen=True)
class PhotoAttack:
    """How a photo is attacked.

    Attributes:
        model: as `load_model` takes it; `method` and `parameters` as `make_attack` does.
        epsilon: the radius in [0, 1] pixels; the method's own by default.
        target: the class to reach, by name, index or synset id; without one the label is to be left.
        label: the true class; what the network sees by default.
        seed: of the random start.
    """

    model: str = "squeezenet1_1"
    method: str = "pgd"
    parameters: Mapping[str, Any] | None = None
    epsilon: float | None = None
    target: str = ""
    label: str = ""
    seed: int = 0


def attack_photo(image: Path, out: Path, settings: PhotoAttack) -> PictureResult:
    """Writes `out/<stem>-<method>.png`, of the size the network takes, and judges what is read back from it.

    Raises:
        SuiteError: one line; among others where the PNG cannot be written.
    """
    network, method = load_model(settings.model), make_attack(settings.method, settings.parameters)
    epsilon = method.default_epsilon if settings.epsilon is None and method.radius else settings.epsilon
    classes = network.card.classes
    aim = classes.resolve(settings.target) if settings.target else None
    photo = load_image(image, resize=network.card.resize, crop=network.card.input_size)[0][None]
    clean = predict(network, photo)
    top = int(clean.argmax())
    truth = classes.resolve(settings.label) if settings.label else top
    if truth != top and aim is None:
        raise ConfigError(
            f"--label {settings.label!r}: the network takes this photo for {classes.name(top)!r} already, so there is "
            "nothing to fool; leave the label out, or give --target"
        )
    more: dict[str, Any] = {"epsilon": epsilon, "targets": aim, "seed": settings.seed, "clean": clean}
    result = attack(network, photo, truth, method, ids=[image.name], **more)
    file = out / f"{image.stem}-{settings.method}.png"
    saved = write_png(result.images[0], file)
    scores = predict(network, saved)
    seen, fooled = int(scores.argmax()), bool(result.success[0])
    fooled_as_saved = (seen == aim) if aim is not None else (seen != truth)
    numbers = {
        "image": image.name,
        "method": settings.method,
        "fooled": fooled,
        "fooled_as_saved": fooled_as_saved,
        "initially": bool(result.initially[0]),
        "iterations": int(result.iterations[0]),
        "epsilon": epsilon,
        "label": classes.name(truth),
        "target": "" if aim is None else classes.name(aim),
        "prediction": classes.name(seen),
        "confidence": float(scores.softmax(1).max()),
        "l0": int(result.l0[0]),
        "l2": float(result.l2[0]),
        "linf": float(result.linf[0]),
        "linf_255": float(result.linf[0]) * 255,
        "ssim": float(result.ssim[0]),
        "zero_gradients": int(result.zero_gradients[0]),
        "picture": str(file),
    }

    def words(scores: Tensor) -> str:
        confidence, top = scores.softmax(1).max(1)
        return f"{classes.name(int(top))}, {float(confidence):.1%}"

    frames = [("photo", pixels(photo[0]), words(clean)), ("adversarial", pixels(saved[0]), words(scores))]
    problem = "not fooled" + (" once saved with 8 bits" if fooled else "")
    return PictureResult(file, frames, numbers, "" if fooled_as_saved else problem)
