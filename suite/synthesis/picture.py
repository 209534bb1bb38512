"""One picture asked for on the command line: made, judged, and written as it is read back. Draws no page."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.core.pixels import pixels, write_png
from suite.data.images import load_image
from suite.errors import ConfigError, did_you_mean
from suite.models.load import load_model
from suite.registry import build, check_parameters
from suite.synthesis.class_visualization import PRESETS, Ascent, Objective, Recipe, visualize
from suite.synthesis.scores import PICTURE_SCORES, seen

SHOWN = 6  # pictures of the strip


@dataclass(frozen=True)
class Made:
    """What `suite visualize` shows.

    Attributes:
        frames: (step, (H, W, 3) uint8, confidence or None), in order; the last is the picture.
        numbers: fit for JSON.
        note: why it ended early, "" where it did not.
    """

    frames: list[tuple[int, np.ndarray, float | None]]
    numbers: dict[str, Any]
    note: str


def recipe_of(preset: str, changes: Mapping[str, Any]) -> Recipe:
    """A preset with some fields changed.

    Raises:
        ConfigError: an unknown preset or field, or a value that makes no sense.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: unknown{did_you_mean(preset, PRESETS)}; there are {', '.join(PRESETS)}")
    checked = check_parameters("preset", preset, Recipe, changes)
    made: Recipe = build("preset", preset, lambda **fields: replace(PRESETS[preset], **fields), checked)
    return made


def make_picture(
    wanted: str,
    out: Path,
    *,
    model: str = "squeezenet1_1",
    preset: str = "cs231n",
    layer: str = "",
    channel: int | None = None,
    start: Path | None = None,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
    watch: Callable[[Ascent], None] | None = None,
) -> Made:
    """Writes `out/<name>.png`, of the size the network takes; Ctrl-C ends it with what there is.

    Args:
        wanted: a class by name, index or synset id; "" where a layer is given.
        out: the folder.
        model: as `load_model` takes it.
        preset: the recipe.
        layer: instead of a class.
        channel: of the layer.
        start: a photo to begin from.
        seed: of noise and jitter.
        changes: fields of the recipe that are to be others.
        watch: called after every step.

    Raises:
        SuiteError: one line, also where a file cannot be read or written.
    """
    network = load_model(model).requires_grad_(False)
    card, recipe = network.card, recipe_of(preset, changes or {})
    target = card.classes.resolve(wanted) if wanted else None
    photo, note = load_image(start, resize=card.resize, crop=card.input_size) if start else (None, "")
    objective = Objective(recipe, target=target, layer=layer, channel=channel, start=photo, seed=seed)
    steps = sorted({round(recipe.steps * (k + 1) / SHOWN) for k in range(SHOWN)} - {0})
    found = visualize(network, [objective], snapshots=steps, watch=watch, keep=True)
    done = int(found.done[0])
    title = card.classes.name(target) if target is not None else layer if channel is None else f"{layer} {channel}"
    name = "".join(c if c.isalnum() else "_" for c in title)
    file = out / f"{name}-{preset}.png"
    back = write_png(found.images[0], file)
    frames = {step: images for step, images in found.snapshots.items() if step < done} | {done: found.images}
    numbers: dict[str, Any] = {"model": model, "preset": preset, "wanted": title, "target": target, "seed": seed}
    numbers |= {"start": "noise" if start is None else start.name, "start_note": note, "steps": done}
    values = found.values[:, 0]
    numbers["best_value_on_the_way"] = float(values[values.isfinite()].max()) if values.isfinite().any() else None
    confidences: list[float | None] = [None] * len(frames)
    if target is not None:
        judged = seen(network, torch.cat([*frames.values()]), torch.full((len(frames),), target))
        confidences = judged["confidence"].tolist()
        saved = seen(network, back, torch.tensor([target]))
        numbers |= {"score": float(judged["score"][-1]), "confidence": confidences[-1]}
        numbers |= {"confidence_as_saved": float(saved["confidence"]), "top1_as_saved": bool(saved["top1"])}
    numbers |= {name: float(measure(found.images)) for name, measure in PICTURE_SCORES.items()}
    ended = found.stopped[0] or (f"interrupted after step {done}: what there is is kept" if found.interrupted else "")
    numbers |= {"ended_early": ended, "recipe": asdict(recipe), "picture": str(file)}
    numbers = {key: None if value != value else value for key, value in numbers.items()}  # NaN is no JSON
    arrays = [pixels(images[0]) for images in frames.values()]
    return Made(list(zip(frames, arrays, confidences, strict=True)), numbers, ended)
