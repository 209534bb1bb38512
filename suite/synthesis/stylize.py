"""One picture painted from the command line: files in; the picture as PNG and the numbers out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.core.pixels import pixels, write_png
from suite.data.pictures import PictureResult, find_picture, load_picture
from suite.errors import SuiteError
from suite.models.load import load_model
from suite.synthesis.style_transfer import Painting, Step, judged, make_settings, thinned, transfer


@dataclass(frozen=True)
class PictureToPaint:
    """What is painted, and how.

    Attributes:
        content, style: paths, or names of pictures that scikit-image ships.
        preset: see `style_transfer.PRESETS`.
        parameters: fields of `StyleTransfer` instead of the preset's.
        model: the network.
        size: pixels of the photo's shorter side.
    """

    content: str
    style: str
    preset: str = "starry_night"
    parameters: Mapping[str, Any] | None = None
    model: str = "squeezenet1_1"
    size: int = 192


def stylize(picture: PictureToPaint, out: Path, watch: Callable[[int, int, str], None]) -> PictureResult:
    """Paints, and writes `out/<content>-<style>.png`. Ctrl-C ends it early and keeps what there is.

    Args:
        picture: what is painted.
        out: the folder.
        watch: called at each step with the pictures so far, all there will be, and the losses in words.

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
        watch(len(painting.curve), painting.expected, text)

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
        "steps": painting.taken(painting.last),
        "stopped": painting.stopped,
        "content_distance": distances["content"],
        "style_distance": distances["style"],
        "curve": [{"size": size, "step": step} | terms for size, step, terms in thinned(painting.curve)],
        "picture": str(file),
    }
    frames = [("photo", pixels(photo[0]), ""), ("painting", pixels(style[0]), "")]
    frames += [(name, pixels(step.image[0]), "") for name, step in painting.strip()]
    return PictureResult(file, frames, numbers, painting.stopped and f"stopped early: {painting.stopped}")
