"""One photo attacked from the command line: arrays and numbers for a figure, and the PNG, read back and judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.attacks.attack import attack, make_attack
from suite.attacks.result import from_png, png
from suite.data.images import load_image
from suite.errors import SuiteError
from suite.models.load import load_model
from suite.models.network import scores_of
from suite.models.state import in_use
from suite.results.atomic import write_bytes


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
    classes = network.card.classes
    aim = classes.resolve(target) if target else None
    pixels = load_image(image, resize=network.card.resize, crop=network.card.input_size)[0][None]
    with in_use(network), torch.no_grad():
        clean = scores_of(network, pixels)
    truth = classes.resolve(label) if label else int(clean.argmax())
    found = attack(
        network,
        pixels,
        truth,
        made,
        epsilon=epsilon,
        targets=aim,
        ids=[image.name],
        seed=seed,
        clean=clean,
        saved=False,
    )
    file = out / f"{image.stem}-{method}.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(file, png(found.images[0]))
        back = from_png(file.read_bytes())[None]
    except OSError as error:
        raise SuiteError(f"{file}: the picture cannot be written: {error.strerror}; give another --out") from None
    with in_use(network), torch.no_grad():
        scores = scores_of(network, back)
    seen = int(scores.argmax())
    fooled = bool(found.success[0])
    numbers = {
        "image": image.name,
        "method": method,
        "fooled": fooled,
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
