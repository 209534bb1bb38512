"""One picture for the command line: visualised or painted, judged, and written."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from suite.core.pixels import pixels, write_png
from suite.data.images import load_image
from suite.data.pictures import PictureResult, find_picture, load_picture
from suite.errors import ConfigError, SuiteError, did_you_mean
from suite.models.load import load_model
from suite.registry import build, check_parameters
from suite.synthesis.class_visualization import PRESETS, Ascent, Objective, Recipe, visualize
from suite.synthesis.scores import PICTURE_SCORES, seen
from suite.synthesis.style_transfer import Painting, Step, judged, make_settings, thinned, transfer

SHOWN = 6  # pictures of the strip


@dataclass(frozen=True)
class PictureToMake:
    """The objective of a picture, and how it is made.

    Attributes:
        class_name: a class by name, index or synset id; "" where a layer is given.
        layer, channel: instead of a class.
        model: as `load_model` takes it.
        preset: the recipe; `changes`: fields that replace the preset's.
        start: a photo to begin from, instead of noise.
        seed: of noise and jitter.
    """

    class_name: str = ""
    layer: str = ""
    channel: int | None = None
    model: str = "squeezenet1_1"
    preset: str = "cs231n"
    changes: Mapping[str, Any] = field(default_factory=dict)
    start: Path | None = None
    seed: int = 0


def recipe_of(preset: str, changes: Mapping[str, Any]) -> Recipe:
    """A preset with some fields changed.

    Raises:
        ConfigError: an unknown preset or field, or a value that makes no sense.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: unknown{did_you_mean(preset, PRESETS)}; there are {', '.join(PRESETS)}")
    checked = check_parameters("preset", preset, Recipe, changes)
    recipe: Recipe = build("preset", preset, lambda **fields: replace(PRESETS[preset], **fields), checked)
    return recipe


def make_picture(picture: PictureToMake, out: Path, watch: Callable[[int, int, str], None]) -> PictureResult:
    """Writes `out/<name>.png`, of the size the network takes; Ctrl-C ends it and keeps the picture so far.

    `watch` is called after every step with the steps done, all steps, and the score in words.

    Raises:
        SuiteError: one line, also where a file cannot be read or written.
    """
    network = load_model(picture.model).requires_grad_(False)
    card, recipe = network.card, recipe_of(picture.preset, picture.changes)
    target = card.classes.resolve(picture.class_name) if picture.class_name else None
    start, start_note = None, ""
    if picture.start is not None:
        start, start_note = load_image(picture.start, resize=card.resize, crop=card.input_size)

    def note(ascent: Ascent) -> None:
        value, confidence = float(ascent.values[-1][0]), float(ascent.confidences[-1][0])
        share = "" if target is None else f", {confidence:.1%}"
        watch(ascent.step, recipe.steps, f"{picture.class_name or picture.layer}: score {value:.4g}{share}")

    objective = Objective(recipe, target, picture.layer, picture.channel, start=start, seed=picture.seed)
    steps = sorted({round(recipe.steps * (k + 1) / SHOWN) for k in range(SHOWN)} - {0})
    end = visualize(network, [objective], snapshots=steps, watch=note, keep=True)
    done = int(end.done[0])
    title = picture.layer + ("" if picture.channel is None else f" {picture.channel}")
    title = title if target is None else card.classes.name(target)
    file = out / f"{''.join(c if c.isalnum() else '_' for c in title)}-{picture.preset}.png"
    saved = write_png(end.images[0], file)
    shown = {step: images for step, images in end.snapshots.items() if step < done} | {done: end.images}
    values = end.values[:, 0]
    numbers: dict[str, Any] = {
        "model": picture.model,
        "preset": picture.preset,
        "wanted": title,
        "target": target,
        "seed": picture.seed,
        "start": "noise" if picture.start is None else picture.start.name,
        "start_note": start_note,
        "steps": done,
        "best_value_on_the_way": float(values[values.isfinite()].max()) if values.isfinite().any() else None,
    }
    captions = [""] * len(shown)
    if target is not None:
        judgement = seen(network, torch.cat([*shown.values()]), torch.full((len(shown),), target))
        captions = [f"confidence {share:.1%}" for share in judgement["confidence"].tolist()]
        as_saved = seen(network, saved, torch.tensor([target]))
        numbers |= {"score": float(judgement["score"][-1]), "confidence": float(judgement["confidence"][-1])}
        numbers |= {"confidence_as_saved": float(as_saved["confidence"]), "top1_as_saved": bool(as_saved["top1"])}
    numbers |= {name: float(measure(end.images)) for name, measure in PICTURE_SCORES.items()}
    ended = end.stopped[0] or (f"interrupted after step {done}: what there is is kept" if end.interrupted else "")
    numbers |= {"ended_early": ended, "recipe": asdict(recipe), "picture": str(file)}
    numbers = {key: None if value != value else value for key, value in numbers.items()}  # NaN is no JSON
    frames = [
        (f"step {step}", pixels(images[0]), caption)
        for (step, images), caption in zip(shown.items(), captions, strict=True)
    ]
    return PictureResult(file, frames, numbers, ended)


@dataclass(frozen=True)
class PictureToPaint:
    """A photo, a painting, and how the one is painted as the other.

    Attributes:
        content, style: paths, or names of pictures that scikit-image ships.
        parameters: fields of `StyleTransfer` instead of the preset's.
        size: pixels of the photo's shorter side.
    """

    content: str
    style: str
    preset: str = "starry_night"
    parameters: Mapping[str, Any] | None = None
    model: str = "squeezenet1_1"
    size: int = 192


def stylize(picture: PictureToPaint, out: Path, watch: Callable[[int, int, str], None]) -> PictureResult:
    """Paints, and writes `out/<content>-<style>.png`. Ctrl-C ends it early and keeps the picture so far.

    `watch` is called at each step with the pictures so far, all there will be, and the losses in words.

    Raises:
        SuiteError: one line.
        KeyboardInterrupt: before there was a picture.
    """
    settings = make_settings(picture.preset, picture.parameters)
    files = [find_picture(name) for name in (picture.content, picture.style)]
    sides = (picture.size, round(picture.size * settings.style_scale))
    (photo, *_), (style, *_) = read = [load_picture(file, side) for file, side in zip(files, sides, strict=True)]
    network = load_model(picture.model).requires_grad_(False)
    settings = settings.on(network, photo)
    painting = Painting(settings)

    def note(step: Step) -> None:
        total = sum(value for term, value in step.terms.items() if term.startswith("style "))
        text = f"content {step.terms['content']:.4g}, style {total:.4g}, tv {step.terms['tv']:.4g}"
        watch(len(painting.curve), settings.pictures, text)

    try:
        painting.follow(transfer(network, photo, style, settings), note)
    except KeyboardInterrupt:
        if painting.last is None:
            raise
        painting.stopped = "interrupted"
    if painting.last is None:
        raise SuiteError(painting.stopped)
    file = out / f"{files[0].stem}-{files[1].stem}.png"
    distances = judged(network, photo, style, write_png(painting.last.image[0], file))
    numbers = {
        "content": files[0].name,
        "style": files[1].name,
        "notes": [note for _, note in read if note],
        "model": picture.model,
        "preset": picture.preset,
        "settings": asdict(settings),
        "steps": painting.last.taken,
        "stopped": painting.stopped,
        "content_distance": distances["content"],
        "style_distance": distances["style"],
        "curve": [{"size": size, "step": step} | terms for size, step, terms in thinned(painting.curve)],
        "picture": str(file),
    }
    frames = [("photo", pixels(photo[0]), ""), ("painting", pixels(style[0]), "")]
    frames += [(name, pixels(image[0]), "") for name, image in painting.strip().items()]
    return PictureResult(file, frames, numbers, painting.stopped and f"stopped early: {painting.stopped}")
