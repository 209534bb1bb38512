"""The section on style transfer: how the pictures came about, how good they are, and what they do to maps. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from suite.report.figures import draw_sides, legend
from suite.report.pictures import Picture, newer, save_png, saved
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok, summarise
from suite.report.style import COLOURS, PALETTE, Figure, canvas, label
from suite.report.tiles import SIDE, Tile, sheet
from suite.report.words import class_name


def strip(
    content: NDArray[Any], style: NDArray[Any], snapshots: Mapping[str, NDArray[Any]], words: Sequence[str]
) -> Image.Image:
    """Photo, painting and result, (H, W, 3) in 0..255, side by side; below, how it came about, and lines of words.

    `snapshots` are name -> picture, the result last.
    """
    *_, result = snapshots.values()
    pictures = {"photo": content, "painting": style, "result": result}
    rows = [("", [Tile(name, pixels) for name, pixels in tiles.items()]) for tiles in (pictures, snapshots)]
    return sheet(rows, notes=words, side=round(1.5 * SIDE))


TEXTS = {
    "style_transfer": (
        "Pictures",
        "Distances on the network that painted and on held-out networks. Content: 0 is the photo, 1 as far "
        "as the painting itself. Style: 0 is the painting, 1 as far as the photo itself. Lower is better for both; a "
        "picture that is only near on its own network has found that network's weak spots.",
    ),
    "style_transfer_terms": (
        "Loss terms",
        "Each weighted term at the beginning and at the end of the last size; their sum is what was made small.",
    ),
    "style_transfer_class": (
        "What the network still sees",
        "The class that the network sees in the photo: its confidence in the photo, in the painted picture, and in the "
        "photo with noise whose L2 norm is that of the painter's change; kept says whether it still comes first.",
    ),
    "style_transfer_maps": (
        "What style does to maps",
        "Spearman of |map| of the photo with that of the painted picture, the same class explained, beside the photo "
        "with noise of the same size and maps of unrelated photos: a map that is no nearer than those shows nothing "
        "of the photo any more. Means over the pairs, with 95% intervals.",
    ),
}
_PAIR = ("model", "photo", "painting")
_TERMS = ["content", "style", "tv"]


def _pictures(rows: pd.DataFrame) -> pd.DataFrame:
    names = ["content_distance", "style_distance"]

    def line(group: pd.DataFrame) -> dict[str, Any]:
        judge = {"painted_on_it": group["judge"].iloc[0] == group["model"].iloc[0]}
        return judge | dict(group.set_index("metric")["value"].reindex(names)) | {"note": group["message"].iloc[0]}

    study = ok(rows[rows["metric"].isin(names)])
    table = summarise(study, [*_PAIR, "judge"], line)
    return table.sort_values("painted_on_it", ascending=False, kind="stable") if len(table) else table


def _terms(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, float]:
        last = group[group["size"] == group["size"].max()].sort_values("iterations")["value"]
        return {"begin": last.iloc[0], "end": last.iloc[-1]}

    curve = ok(rows[rows["metric"].isin(_TERMS)]).rename(columns={"metric": "term"})
    return summarise(curve, [*_PAIR, "term", "layer"], line)


def _class(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        value = group.set_index(["picture", "metric"])["value"]
        numbers = {"class": class_name(group["target"].iloc[0], manifest), "confidence": value["photo", "confidence"]}
        for name in ("stylised", "noise"):
            numbers |= {name: value[name, "confidence"], f"{name}_kept": bool(value[name, "class_kept"])}
        return numbers

    study = ok(rows[rows["metric"].isin(["confidence", "class_kept"])])
    return summarise(study, [*_PAIR, "target"], line).drop(columns="target", errors="ignore")


def _maps(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        numbers: dict[str, Any] = {"control": bool(group["control"].any())}
        for name in ("stylised", "noise", "unrelated"):
            numbers |= mean_with_interval(name, group.loc[group["picture"] == name, "value"])
        return numbers

    return summarise(ok(rows[rows["metric"] == "map_spearman"]), ["model", "method"], line)


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    rows = rows.rename(columns={"image": "photo"})
    tables = {"": _pictures(rows), "_terms": _terms(rows), "_class": _class(rows, manifest), "_maps": _maps(rows)}
    return {f"style_transfer{name}": table for name, table in tables.items()}


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    curve = ok(rows[rows["metric"].isin(_TERMS)])
    for model, table in groups(curve, "model"):
        text = f"Weighted loss terms by step on {model}, all sizes one after the other; style is the sum of its layers."
        yield Plot(f"style-terms-{model}", text, partial(_curves, table))
    for model, table in groups(tables.get("style_transfer_maps", pd.DataFrame()), "model"):
        text = f"How much of each map is left on {model} once the photo is painted, beside noise and unrelated photos."
        yield Plot(f"style-maps-{model}", text, partial(_alike, table))


def _curves(table: pd.DataFrame) -> Figure:
    pairs = list(groups(table, "image", "painting"))
    figure, panels = canvas(0.8 + 2.1 * len(pairs), len(pairs), squeeze=False, sharex=True)
    axes = panels[:, 0]
    for ax, ((photo, painting), part) in zip(axes, pairs, strict=True):
        steps = part.groupby("size")["iterations"].max()
        begin = (steps + 1).cumsum().shift(fill_value=0)
        part = part.assign(at=part["iterations"] + part["size"].map(begin))
        for k, (term, line) in enumerate(groups(part, "metric")):
            total = line.groupby("at")["value"].sum()
            total = total[total > 0]  # the photo's own content loss
            ax.plot(total.index, total, color=PALETTE[k], ls=("-", "--", ":")[k % 3], label=term)
        for edge in begin[1:]:
            ax.axvline(edge, color=COLOURS["bare"], lw=0.8)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_title(label(f"{photo} as {painting}", 70))
    axes[-1].set_xlabel("step; a line where the next size begins")
    legend(figure, 3, axes[0])
    return figure


def _alike(table: pd.DataFrame) -> Figure:
    marks = {"stylised": ("own", "o"), "noise": ("captum", "^"), "unrelated": ("bare", "s")}
    figure, ax = draw_sides(table, {stage: (stage, *mark) for stage, mark in marks.items()})
    ax.set_xlabel("Spearman with the photo's map: mean over pairs, 95% interval")
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    pictures = []
    for source, _, arrays in saved(run_dir, "style-*.npz", manifest):
        photo, painting, note, model, form, steps = (
            str(arrays[name]) for name in ("id", "style", "note", "model", "form", "steps")
        )
        path = source.with_suffix(".png")
        if not newer(path, source):
            snapshots = {words: arrays[f"step{k}"] for k, words in enumerate(steps.split("\n"))}
            below = [f"{photo} painted as {painting} on {model}, {form} losses", *filter(None, [note])]
            save_png(strip(arrays["content_picture"], arrays["style_picture"], snapshots, below), path)
        alt = f"{photo}, {painting}, and the one painted as the other on {model}; below, how it came about. {note}"
        pictures.append((path, f"{photo} as {painting} · {model}" + (f" ({note})" if note else ""), alt.strip()))
    return pictures


SECTION = Section(
    study="style_transfer",
    title="Can a photo be painted, and what does that do to the maps?",
    order=("method", "painting"),
    question="What does it look for?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_draw,
    headers={
        "judge": "judged by",
        "stylised": "painted",
        "noise": "with noise",
        "stylised_kept": "kept",
        "noise_kept": "kept with noise",
        "unrelated": "unrelated photos",
    },
)
