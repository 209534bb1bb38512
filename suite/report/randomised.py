"""What sections on randomised networks share: words of verdicts, the paper's picture, mean similarities. No torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw

from suite.metrics.statistics import crossed_mean
from suite.report.overlay import PAPER, draw_map, fit_photo, scale, write
from suite.report.pictures import Picture, load, newer, save_png, signed_methods
from suite.report.sections import with_ends
from suite.sanity import verdict as judging

WITHHELD = "WITHHELD"  # the networks that were trained did not learn what they should
GOOD, BAD = frozenset({judging.PASS}), frozenset({judging.FAIL, judging.UNSTABLE, judging.VOID})
SENTENCES = {
    judging.PASS: "depends on the network's weights.",
    judging.FAIL: "does not follow the network's weights enough.",
    judging.UNSTABLE: "changes where the network hardly does.",
    judging.UNDECIDED: "is not decided by these photos, draws and analyses.",
    judging.UNINFORMATIVE: "cannot be judged: a photo's map is not shown to differ from another photo's.",
    judging.VOID: "is not judged: a control came out wrong.",
    WITHHELD: "is not judged: the networks did not learn what they should.",
}
HEADERS = {
    "s_half": "S, upper half random",
    "s_everything": "S, everything random",
    "r_self": "r self",
    "r_stage": "r stage",
    "r_null": "r null",
    "r_other": "r other",
    "kept": "kept, almost the same",
    "pairs": "pairs valid",
    "s": "S",
    "x": "blocks random",
    "other": "with",
}
_TILE, _GAP, _LEFT = 112, 8, 132


def mean_similarity(name: str, values: judging.Array) -> dict[str, float]:
    """Mean over photos and draws, with its 95% interval."""
    mean = crossed_mean(values)
    half = mean.half_width()
    return with_ends(name, mean.value, (mean.value - half, mean.value + half))


def stage_similarities(
    similarities: judging.Similarities, rows: pd.DataFrame
) -> Iterator[tuple[judging.Key, str, dict[str, float]]]:
    """Every stage at the noise and cell that are judged: its key, its block's name, its similarities' means."""
    blocks = rows.drop_duplicates(["stage", "x"]).set_index(["stage", "x"])["layer"].to_dict()
    for key, values in similarities.arrays.items():
        if key.kind == "stage" and (key.noise, key.cell) == (similarities.noise, judging.CELL):
            means, null = mean_similarity("similarity", values), similarities.arrays.get(key._replace(kind="null"))
            means |= mean_similarity("null", null) if null is not None else {}
            yield key, blocks[key.stage, key.number], means


def draw_cascades(run_dir: Path, manifest: dict[str, Any], study: str, title: str) -> list[Picture]:
    """The paper's picture: methods down, stages across, the maps of one photo."""
    drawn = []
    for model, info in manifest.get("models", {}).items():
        for source in sorted((run_dir / "images" / info["folder"]).glob(f"{study}-*.npz")):
            path = source.with_suffix(".png")
            arrays = load(source)
            if not newer(path, source):
                save_png(_cascade(arrays, signed_methods(manifest), title), path)
            alt = f"Maps of {arrays['id']} on {model}: methods down; across: {title}."
            drawn.append((path, f"{title} · {model}", alt))
    return drawn


def _cascade(arrays: dict[str, Any], signed: dict[str, bool], title: str) -> Image.Image:
    keys = [key.split("|", 2) for key in arrays if "|" in key]
    stages = sorted({(int(count), name) for count, name, _ in keys})
    methods = list(dict.fromkeys(method for *_, method in keys))
    photo = fit_photo(arrays, _TILE)
    step = _TILE + _GAP
    image = Image.new("RGB", (_LEFT + (len(stages) + 1) * step + _GAP, 64 + len(methods) * step), PAPER)
    draw = ImageDraw.Draw(image)
    for column, text in enumerate(["photo", *(name if count == 0 else f"{count}: {name}" for count, name in stages)]):
        write(draw, (_LEFT + column * step, 40), text, 12, width=_TILE, bold=True)
    write(draw, (_GAP, 12), f"{title}; each map in its own scale", 13)
    for row, method in enumerate(methods):
        y = 60 + row * step
        write(draw, (_GAP, y + photo.height / 2), method, 12, width=_LEFT - 2 * _GAP, anchor="lm")
        image.paste(photo, (_LEFT, y))
        for column, (count, name) in enumerate(stages, start=1):
            if (values := arrays.get(f"{count}|{name}|{method}")) is not None:
                tile = draw_map(values, photo, scale(values), signed.get(method, False))
                image.paste(tile, (_LEFT + column * step, y))
    return image
