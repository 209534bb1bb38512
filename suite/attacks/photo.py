"""One photo attacked from the command line: arrays and numbers for a figure, and the PNG, read back and judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.attacks.attack import attack, make_attack
from suite.core.passes import predict
from suite.core.pixels import write_png
from suite.data.images import load_image
from suite.errors import ConfigError
from suite.models.load import load_model


@dataclass(frozen=True)
class Attacked:
    """One photo before and after.

    Attributes:
        photo, adversarial: (H, W, 3) in [0, 1], as read and as read back from the PNG.
        before, after: what the network sees, in words.
        numbers: one line of them.
    """

    photo: np.ndarray
    adversarial: np.ndarray
    before: str
    after: str
    numbers: dict[str, Any]


def attack_photo(
    image: Path,
    out: Path,
    *,
    model: str = "squeezenet1_1",
    method: str = "pgd",
    epsilon: float | None = None,
    target: str = "",
    label: str = "",
    seed: int = 0,
    parameters: dict[str, Any] | None = None,
) -> Attacked:
    """Writes `out/<stem>-<method>.png`, of the size the network takes, and judges what is read back from it.

    Raises:
        SuiteError: one line; among others where the PNG cannot be written.
    """
    network = load_model(model)
    made = make_attack(method, parameters)
    epsilon = made.default_epsilon if epsilon is None and made.radius else epsilon
    classes = network.card.classes
    aim = classes.resolve(target) if target else None
    pixels = load_image(image, resize=network.card.resize, crop=network.card.input_size)[0][None]
    clean = predict(network, pixels)
    top = int(clean.argmax())
    truth = classes.resolve(label) if label else top
    if truth != top and aim is None:
        raise ConfigError(
            f"--label {label!r}: the network takes this photo for {classes.name(top)!r} already, so there is nothing "
            "to fool; leave the label out, or give --target"
        )
    call: dict[str, Any] = {"epsilon": epsilon, "targets": aim, "ids": [image.name], "seed": seed, "clean": clean}
    found = attack(network, pixels, truth, made, **call)
    file = out / f"{image.stem}-{method}.png"
    back = write_png(found.images[0], file)
    scores = predict(network, back)
    seen = int(scores.argmax())
    numbers = {
        "image": image.name,
        "method": method,
        "fooled": bool(found.success[0]),
        "fooled_as_saved": (seen == aim) if aim is not None else (seen != truth),
        "initially": bool(found.initially[0]),
        "iterations": int(found.iterations[0]),
        "epsilon": epsilon,
        "label": classes.name(truth),
        "target": "" if aim is None else classes.name(aim),
        "prediction": classes.name(seen),
        "confidence": float(scores.softmax(1).max()),
        "l0": int(found.l0[0]),
        "l2": float(found.l2[0]),
        "linf": float(found.linf[0]),
        "linf_255": float(found.linf[0]) * 255,
        "ssim": float(found.ssim[0]),
        "zero_gradients": int(found.zero_gradients[0]),
        "picture": str(file),
    }

    def words(given: torch.Tensor) -> str:
        confidence, top = given.softmax(1).max(1)
        return f"{classes.name(int(top))}, {float(confidence):.1%}"

    arrays = [x[0].permute(1, 2, 0).numpy() for x in (pixels, back)]
    return Attacked(arrays[0], arrays[1], words(clean), words(scores), numbers)
