"""One picture painted from the command line: files in; the picture as PNG and the numbers out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.core.pixels import pixels, write_png
from suite.data.pictures import find_picture, load_picture
from suite.errors import SuiteError
from suite.models.load import load_model
from suite.synthesis.style_transfer import Painting, Step, judged, make_settings, thinned, transfer


@dataclass(frozen=True)
class Stylized:
    """What `stylize` leaves; all pictures (H, W, 3) in 0..255.

    Attributes:
        content, style: as read.
        snapshots: words -> picture, the result last.
        numbers: for JSON.
    """

    content: NDArray[np.uint8]
    style: NDArray[np.uint8]
    snapshots: dict[str, NDArray[np.uint8]]
    numbers: dict[str, Any]


def stylize(
    content: str,
    style: str,
    out: Path,
    *,
    preset: str = "starry_night",
    model: str = "squeezenet1_1",
    size: int = 192,
    parameters: dict[str, Any] | None = None,
    begin: Callable[[int], None] = lambda steps: None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Stylized:
    """Paints, and writes `out/<content>-<style>.png`. Ctrl-C ends it early and keeps what there is.

    Args:
        content: a path, or the name of a picture that scikit-image ships.
        style: likewise.
        out: the folder.
        preset: see `style_transfer.PRESETS`.
        model: the network.
        size: pixels of the photo's shorter side.
        parameters: fields of `StyleTransfer` instead of the preset's.
        begin: told how many pictures there will be.
        watch: told each step.

    Raises:
        SuiteError: one line.
        KeyboardInterrupt: before there was a picture.
    """
    settings = make_settings(preset, parameters)
    files = [find_picture(given) for given in (content, style)]
    sides = (size, round(size * settings.style_scale))
    (photo, *_), (painting, *_) = read = [load_picture(file, side) for file, side in zip(files, sides, strict=True)]
    network = load_model(model).requires_grad_(False)
    settings = settings.on(network, photo)
    found = Painting(settings)
    begin(found.expected)
    try:
        found.follow(transfer(network, photo, painting, settings), watch)
    except KeyboardInterrupt:
        if found.last is None:
            raise
        found.stopped = "interrupted"
    if found.last is None:
        raise SuiteError(found.stopped)
    file = out / f"{files[0].stem}-{files[1].stem}.png"
    apart = judged(network, photo, painting, write_png(found.last.image[0], file))
    numbers = {
        "content": files[0].name,
        "style": files[1].name,
        "notes": [note for _, note in read if note],
        "model": model,
        "preset": preset,
        "settings": settings.__dict__,
        "steps": found.taken(found.last),
        "stopped": found.stopped,
        "content_distance": apart["content"],
        "style_distance": apart["style"],
        "curve": [{"size": size, "step": step} | terms for size, step, terms in thinned(found.curve)],
        "picture": str(file),
    }
    shown = {words: pixels(step.image[0]) for words, step in found.strip()}
    return Stylized(pixels(photo[0]), pixels(painting[0]), shown, numbers)
