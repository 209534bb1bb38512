"""The section on class visualisation: what the network looks for, made as pictures, and scored. No torch."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from suite.report.overlay import EMPTY, PAPER, QUIET, clip, typeface, wrap
from suite.report.overlay import INK as DARK
from suite.report.pictures import load, newer, save_png
from suite.report.sections import Plot, Section, Tables, groups, ok
from suite.report.style import PALETTE, WIDTH, label

MARGIN, GAP, SIDE, HEAD, BELOW = 20, 10, 224, 26, 24
CLEAR = 0.94  # a confidence from which a picture counts as seen

Tile = tuple[NDArray[Any], str]  # (H, W, 3) uint8, and what stands below it


def sheet(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Tile | None]]]) -> Image.Image:
    """Pictures under their columns' names, beside their rows', each with a line below.

    Args:
        title: above all.
        columns: names.
        rows: name and a tile a column, None where there is none.
    """
    left = MARGIN + (110 if any(name for name, _ in rows) else 0)
    wide = left + len(columns) * (SIDE + GAP) - GAP + MARGIN
    canvas = Image.new("RGB", (wide, MARGIN + 2 * HEAD + len(rows) * (SIDE + BELOW + GAP) + MARGIN // 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    bold = typeface(15, bold=True)
    draw.text((MARGIN, MARGIN - 6), clip(title, bold, wide - 2 * MARGIN), DARK, bold)
    for k, name in enumerate(columns):
        draw.text((left + k * (SIDE + GAP), MARGIN + HEAD), clip(name, typeface(14), SIDE), DARK, typeface(14))
    for j, (name, tiles) in enumerate(rows):
        y = MARGIN + 2 * HEAD + j * (SIDE + BELOW + GAP)
        for line, part in enumerate(wrap(name, typeface(14, bold=True), 100, 4)):
            draw.text((MARGIN, y + 18 * line), part, DARK, typeface(14, bold=True))
        for k, tile in enumerate(tiles):
            if tile is not None:
                x = left + k * (SIDE + GAP)
                picture = Image.fromarray(tile[0])
                few = Image.Resampling.NEAREST if picture.width < 100 else Image.Resampling.LANCZOS
                canvas.paste(picture.resize((SIDE, SIDE), few) if picture.size != (SIDE, SIDE) else picture, (x, y))
                draw.rectangle((x - 1, y - 1, x + SIDE, y + SIDE), outline=EMPTY)  # a white picture has an edge too
                draw.text((x, y + SIDE + 5), clip(tile[1], typeface(12), SIDE), QUIET, typeface(12))
    return canvas


TEXTS = {
    "visualization_variants": (
        "What each way of making a picture brings",
        "Means over the pictures and seeds of a job. Confidence is the softmax of the target on the network that was "
        f"optimised; clear is the share of at least {CLEAR:.0%}; as saved, after an 8-bit PNG; elsewhere, on the other "
        "networks, which the picture was not made for: there it says whether the picture shows the class or only "
        "pleases one network. Less the first: the score less that of the job's first variant. Contrast is the "
        "standard deviation of the luminance (a grey picture has 0), saturated the share of values at 0 or 255, "
        "total variation the mean difference of neighbours, high frequency the share of energy above a quarter cycle "
        "a pixel (white noise 0.80, a photo about 0.01). Diversity over seeds is 1 - SSIM. Steps to 90%: of the "
        "confidence along the way, looked at 25 times; a dash where some picture never got there.",
    ),
    "visualization_pictures": (
        "Each picture",
        "The same numbers, as the median over seeds, and why one ended early. The word start names the photo that a "
        "picture began from.",
    ),
    "visualization_elsewhere": (
        "On networks that were not optimised",
        "Pictures made for one network and shown to another: mean confidence of the target, and the share whose top "
        "class it is, before and after the change of network.",
    ),
    "visualization_iterations": (
        "By iterations",
        "Snapshots of one run; the numbers are as above.",
    ),
}
_LOOKS = ("contrast", "saturated", "total_variation", "high_frequency")


def _ordered(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Jobs and their variants as configured."""
    jobs = manifest["config"]["studies"]["visualization"]["jobs"]
    place = {(j["name"], v): (i, k) for i, j in enumerate(jobs) for k, v in enumerate(j["variants"] or [j["preset"]])}
    order = [place.get(pair, (len(jobs), 0)) for pair in zip(rows["stage"], rows["method"], strict=True)]
    return rows.iloc[sorted(range(len(rows)), key=order.__getitem__)]


def _numbers(group: pd.DataFrame) -> dict[str, float]:
    """The means of a group's pictures as they ended."""
    means = group[group["other"] == ""].groupby("metric")["value"].mean()
    there = group[(group["other"] != "") & (group["metric"] == "confidence")]["value"]
    line = {name: float(means.get(name, np.nan)) for name in ("score", "confidence", "saved_confidence")}
    return line | {"elsewhere": float(there.mean())} | {name: float(means.get(name, np.nan)) for name in _LOOKS}


def _variants(rows: pd.DataFrame) -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    first: dict[tuple[str, str], float] = {}
    for (job, model, method), group in groups(ok(rows), "stage", "model", "method"):
        ended, numbers = group[group["x"].isna()], _numbers(group[group["x"].isna()])
        shares = ended.loc[(ended["metric"] == "confidence") & (ended["other"] == ""), "value"]
        line = {"job": job, "model": model, "variant": method, "n": int((ended["metric"] == "steps").sum())}
        line |= {"score": numbers.pop("score"), "score_less_first": np.nan}
        line["score_less_first"] = line["score"] - first.setdefault((job, model), line["score"])
        line |= {"confidence": numbers.pop("confidence")}
        line["clear"] = float((shares >= CLEAR).mean()) if len(shares) else np.nan
        line |= numbers
        line["diversity"] = float(ended.loc[ended["metric"] == "diversity", "value"].mean())
        along = group[group["metric"] == "step_confidence"]
        line["steps_to_90"] = float(np.mean([_reached(c) for _, c in groups(along, "image", "draw")] or [np.nan]))
        lines.append(line)
    return pd.DataFrame(lines)


def _reached(curve: pd.DataFrame) -> float:
    return float(curve.loc[curve["value"] >= 0.9, "x"].min())


def _pictures(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (job, model, method, image), group in groups(ok(rows[rows["x"].isna()]), "stage", "model", "method", "image"):
        middle = group.groupby(["other", "metric", "draw"], dropna=False)["value"].first().reset_index()
        middle = middle.groupby(["other", "metric"])["value"].median().reset_index()
        steps = group[group["metric"] == "steps"]
        line = {"job": job, "model": model, "variant": method, "image": image, "n": len(steps)} | _numbers(middle)
        lines.append(
            line | {"steps": float(steps["value"].median()), "note": "; ".join(filter(None, steps["message"]))}
        )
    return pd.DataFrame(lines)


def _elsewhere(rows: pd.DataFrame) -> pd.DataFrame:
    ended = ok(rows[rows["x"].isna() & rows["metric"].isin(["confidence", "top1"])])
    lines = []
    for (job, model, method), group in groups(ended, "stage", "model", "method"):
        here = group[group["other"] == ""].groupby("metric")["value"].mean()
        for other, part in groups(group[group["other"] != ""], "other"):
            there = part.groupby("metric")["value"].mean()
            line = {"job": job, "model": model, "variant": method, "other": other, "n": len(part) // 2}
            for name in ("confidence", "top1"):
                line |= {f"{name}_here": float(here[name]), f"{name}_there": float(there[name])}
            lines.append(line)
    return pd.DataFrame(lines)


def _iterations(rows: pd.DataFrame) -> pd.DataFrame:
    kept = ok(rows[rows["x"].notna() & ~rows["metric"].isin(["step_value", "step_confidence"])])
    return pd.DataFrame(
        {"job": job, "model": model, "variant": method, "iterations": x} | _numbers(group)
        for (job, model, method, x), group in groups(kept, "stage", "model", "method", "x")
    )


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    rows = _ordered(rows[rows["metric"] != "item"], manifest)
    makers = {"variants": _variants, "pictures": _pictures, "elsewhere": _elsewhere, "iterations": _iterations}
    return {f"visualization_{name}": make(rows) for name, make in makers.items()}


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    along = rows[rows["metric"].isin(["step_value", "step_confidence"])]
    for (job, model), lines in groups(tables.get("visualization_variants", pd.DataFrame()), "job", "model"):
        mine = along[(along["stage"] == job) & (along["model"] == model)]
        if not (mine["metric"] == "step_confidence").any():
            continue  # layers and neurons have units of their own, of which no mean can be drawn
        text = f"Convergence of {job} on {model}: what is made large, and the target's confidence, by iteration; means."
        yield Plot(f"visualization-{job}-{model}", text, partial(_curves, mine, list(lines["variant"])))


def _curves(along: pd.DataFrame, methods: Sequence[str]) -> Figure:
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, (metric, name) in zip(axes, (("step_value", "objective"), ("step_confidence", "confidence")), strict=True):
        for k, method in enumerate(methods):
            means = along[(along["metric"] == metric) & (along["method"] == method)].groupby("x")["value"].mean()
            style = ("-", "--", ":", "-.")[k // 10 % 4]
            colour = PALETTE[k % 10]
            ax.plot(means.index, means, color=colour, ls=style, lw=1.4, label=label(method) if ax is axes[0] else None)
        ax.set_xlabel("iteration")
        ax.set_ylabel(name)
    axes[1].set_ylim(-0.03, 1.03)
    figure.legend(loc="outside upper left", ncols=5)
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[tuple[Path, str, str]]:
    """A sheet a job, the networks that made it in one."""
    titles = {info["folder"]: title for title, info in manifest.get("models", {}).items()}
    jobs: dict[str, dict[str, Path]] = {}
    for source in sorted((run_dir / "images").glob("*/visualization-*.npz")):
        jobs.setdefault(source.stem, {})[titles.get(source.parent.name, source.parent.name)] = source
    drawn = []
    for stem, sources in sorted(jobs.items()):
        path = run_dir / "plots" / f"{stem}.png"
        found = {model: load(source) for model, source in sources.items()}
        job = str(next(iter(found.values()))["title"])
        if not newer(path, *sources.values()):
            save_png(_sheet(job, found), path)
        models = " and ".join(found)
        drawn.append((path, f"{job} · {models}", f"Pictures of {job}, made for {models}: a row a target."))
    return drawn


def _sheet(job: str, found: dict[str, dict[str, NDArray[Any]]]) -> Image.Image:
    """Networks stand side by side where that leaves few columns, else below each other."""
    words = ("row", "column", "below")
    tiles: dict[tuple[str, str, str], Tile] = {}
    for model, arrays in found.items():
        for pixels, row, column, below in zip(arrays["pixels"], *(arrays[k].tolist() for k in words), strict=True):
            tiles[row, column, model] = pixels, below
    rows, columns = (list(dict.fromkeys(key[k] for key in tiles)) for k in (0, 1))
    title = f"{job} · {' and '.join(found)}"
    if len(found) == 1 and len(columns) == 1:
        (model,) = found
        return sheet(f"{title} · {columns[0]}", rows, [("", [tiles[row, columns[0], model] for row in rows])])
    across = len(found) > 1 and len(columns) * len(found) <= 6
    over = [(c, m) for c in columns for m in found] if across else [(c, "") for c in columns]
    down = [(r, "") for r in rows] if across or len(found) == 1 else [(r, m) for r in rows for m in found]
    lines = []
    for r, m in down:
        line = [tiles.get((r, c, m or n or next(iter(found)))) for c, n in over]
        lines.append((" · ".join(filter(None, (r, m))), line))
    return sheet(title, [" · ".join(filter(None, pair)) for pair in over], lines)


SECTION = Section(
    study="visualization",
    title="What does the network look for?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_draw,
    shown=12,
    headers={
        "image": "picture",
        "other": "shown to",
        "saved_confidence": "as saved",
        "score_less_first": "less the first",
        "steps_to_90": "steps to 90%",
        "n": "pictures",
    },
)
