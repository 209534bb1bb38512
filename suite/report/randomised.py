"""Shared by sections on randomised networks: verdicts in words, the paper's picture, mean similarities. No torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from suite.metrics.statistics import crossed_mean
from suite.report.pictures import Arrays, Picture, newer, save_png, saved, signed_methods
from suite.report.sections import with_ends
from suite.report.tiles import Row, Tile, map_tile, sheet
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
    "blocks": "blocks random",
    "architecture": "with",
}
_SIDE = 112


def mean_similarity(name: str, values: judging.Array) -> dict[str, float]:
    """Mean over photos and draws, with its 95% interval."""
    mean = crossed_mean(values)
    half = mean.half_width()
    return with_ends(name, mean.value, (mean.value - half, mean.value + half))


def stage_similarities(
    similarities: judging.Similarities, rows: pd.DataFrame
) -> Iterator[tuple[judging.Key, str, dict[str, float]]]:
    """Every stage at the noise and cell that are judged: its key, its block's name, its similarities' means."""
    blocks = rows.drop_duplicates(["order", "blocks"]).set_index(["order", "blocks"])["block"].to_dict()
    for key, values in similarities.arrays.items():
        if key.kind == "stage" and (key.noise, key.cell) == (similarities.noise, judging.CELL):
            means, null = mean_similarity("similarity", values), similarities.arrays.get(key._replace(kind="null"))
            means |= mean_similarity("null", null) if null is not None else {}
            yield key, blocks[key.order, key.blocks], means


def draw_cascades(run_dir: Path, manifest: dict[str, Any], study: str, title: str) -> list[Picture]:
    """The paper's picture: methods down, stages across, the maps of one photo."""
    pictures = []
    for source, model, arrays in saved(run_dir, f"{study}-*.npz", manifest):
        path = source.with_suffix(".png")
        if not newer(path, source):
            save_png(_cascade(arrays, signed_methods(manifest), title), path)
        alt = f"Maps of {arrays['id']} on {model}: methods down; across: {title}."
        pictures.append((path, f"{title} · {model}", alt))
    return pictures


def _cascade(arrays: Arrays, signed: dict[str, bool], title: str) -> Image.Image:
    keys = [key.split("|", 2) for key in arrays if "|" in key]
    stages = sorted({(int(count), name) for count, name, _ in keys})
    rows: list[Row] = []
    for method in dict.fromkeys(method for *_, method in keys):
        maps = [arrays.get(f"{count}|{name}|{method}") for count, name in stages]
        tiles = [None if values is None else map_tile("", values, signed.get(method, False)) for values in maps]
        rows.append((method, [Tile("", arrays["photo"]), *tiles]))
    columns = ["photo", *(f"{count}: {name}" if count else name for count, name in stages)]
    return sheet(rows, title=f"{title}; each map in its own scale", columns=columns, side=_SIDE)
