"""The section on class visualisation: what the network looks for, made as pictures, and scored. No torch."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from suite.report import tiles
from suite.report.figures import legend
from suite.report.pictures import Picture, load, newer, save_png, titles_of
from suite.report.sections import Plot, Section, Tables, groups, ok, summarise
from suite.report.style import PALETTE, Figure, canvas, label

CLEAR = 0.94  # a confidence from which a picture counts as seen

Shown = tuple[NDArray[Any], str]  # (H, W, 3) uint8, and what stands below it


def sheet(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Shown | None]]]) -> Image.Image:
    """Pictures under their columns' names, beside their rows' names, each with a line below.

    A row has a picture for each column, None where there is none.
    """
    lines = [
        (name, [picture and tiles.Tile("", picture[0], below=picture[1]) for picture in pictures])
        for name, pictures in rows
    ]
    return tiles.sheet(lines, title=title, columns=columns)


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
_JOB = ["job", "model", "variant"]
_LOOKS = ("contrast", "saturated", "total_variation", "high_frequency")


def _ordered(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Jobs and their variants as configured."""
    jobs = manifest["config"]["studies"]["visualization"]["jobs"]
    pairs = [(job["name"], variant) for job in jobs for variant in job["variants"] or [job["preset"]]]
    rank = {pair: k for k, pair in enumerate(pairs)}
    order = [rank.get(pair, len(pairs)) for pair in zip(rows["job"], rows["variant"], strict=True)]
    return rows.iloc[np.argsort(order, kind="stable")]


def _numbers(group: pd.DataFrame) -> dict[str, float]:
    """The means of a group's pictures as they ended."""
    means = group[group["other_model"] == ""].groupby("metric")["value"].mean()
    means["elsewhere"] = group.loc[(group["other_model"] != "") & (group["metric"] == "confidence"), "value"].mean()
    return dict(means.reindex(["score", "confidence", "saved_confidence", "elsewhere", *_LOOKS]))


def _variants(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        ended = group[group["iterations"].isna()]
        shares = ended.loc[(ended["metric"] == "confidence") & (ended["other_model"] == ""), "value"]
        along = group[group["metric"] == "step_confidence"]
        reached = [curve.loc[curve["value"] >= 0.9, "iterations"].min() for _, curve in groups(along, "image", "seed")]
        numbers = {"n": int((ended["metric"] == "steps").sum())} | _numbers(ended)
        numbers |= {"clear": (shares >= CLEAR).mean(), "steps_to_90": float(np.mean(reached or [np.nan]))}
        return numbers | {"diversity": ended.loc[ended["metric"] == "diversity", "value"].mean()}

    table = summarise(ok(rows), _JOB, line)
    if table.empty:
        return table
    first = table.groupby(_JOB[:2], sort=False)["score"].transform(lambda scores: scores.iloc[0])
    order = ["n", "score", "score_less_first", "confidence", "clear", "saved_confidence", "elsewhere", *_LOOKS]
    return table.assign(score_less_first=table["score"] - first)[[*_JOB, *order, "diversity", "steps_to_90"]]


def _pictures(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        seeds = group.groupby(["other_model", "metric", "seed"], dropna=False)["value"].first()
        middle = seeds.groupby(["other_model", "metric"]).median().reset_index()
        steps = group[group["metric"] == "steps"]
        note = "; ".join(filter(None, steps["message"]))
        return {"n": len(steps)} | _numbers(middle) | {"steps": steps["value"].median(), "note": note}

    return summarise(ok(rows[rows["iterations"].isna()]), [*_JOB, "image"], line)


def _elsewhere(rows: pd.DataFrame) -> pd.DataFrame:
    ended = ok(rows[rows["iterations"].isna() & rows["metric"].isin(["confidence", "top1"])])
    own_means = ended[ended["other_model"] == ""].groupby([*_JOB, "metric"])["value"].mean()

    def line(group: pd.DataFrame) -> dict[str, Any]:
        own_mean, means = own_means[tuple(group[_JOB].iloc[0])], group.groupby("metric")["value"].mean()
        numbers: dict[str, Any] = {"n": len(group) // 2}
        for name in ("confidence", "top1"):
            numbers |= {f"{name}_here": float(own_mean[name]), f"{name}_there": float(means[name])}
        return numbers

    return summarise(ended[ended["other_model"] != ""], [*_JOB, "other_model"], line)


def _iterations(rows: pd.DataFrame) -> pd.DataFrame:
    kept = ok(rows[rows["iterations"].notna() & ~rows["metric"].isin(["step_value", "step_confidence"])])
    return summarise(kept, [*_JOB, "iterations"], _numbers)


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    rows = rows[rows["metric"] != "item"].rename(columns={"method": "variant"})
    rows["iterations"] = rows["iterations"].astype(float)
    rows = _ordered(rows, manifest)
    makers = {"variants": _variants, "pictures": _pictures, "elsewhere": _elsewhere, "iterations": _iterations}
    return {f"visualization_{name}": make(rows) for name, make in makers.items()}


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    along = rows[rows["metric"].isin(["step_value", "step_confidence"])]
    for (job, model), lines in groups(tables.get("visualization_variants", pd.DataFrame()), "job", "model"):
        of_job = along[(along["job"] == job) & (along["model"] == model)]
        if not (of_job["metric"] == "step_confidence").any():
            continue  # layers and neurons have units of their own, of which no mean can be drawn
        text = f"Convergence of {job} on {model}: what is made large, and the target's confidence, by iteration; means."
        yield Plot(f"visualization-{job}-{model}", text, partial(_curves, of_job, list(lines["variant"])))


def _curves(along: pd.DataFrame, methods: Sequence[str]) -> Figure:
    figure, axes = canvas(2.9, 1, 2)
    for ax, (metric, name) in zip(axes, (("step_value", "objective"), ("step_confidence", "confidence")), strict=True):
        for k, method in enumerate(methods):
            of_method = along[(along["metric"] == metric) & (along["method"] == method)]
            means = of_method.groupby("iterations")["value"].mean()
            style, text = ("-", "--", ":", "-.")[k // 10 % 4], label(method) if ax is axes[0] else None
            ax.plot(means.index, means, style, color=PALETTE[k % 10], lw=1.4, label=text)
        ax.set_xlabel("iteration")
        ax.set_ylabel(name)
    axes[1].set_ylim(-0.03, 1.03)
    legend(figure, 5)
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """A sheet a job, the networks that made it in one."""
    titles = titles_of(manifest)
    jobs: dict[str, dict[str, Path]] = {}
    for source in sorted((run_dir / "images").glob("*/visualization-*.npz")):
        jobs.setdefault(source.stem, {})[titles.get(source.parent.name, source.parent.name)] = source
    pictures = []
    for stem, sources in sorted(jobs.items()):
        path = run_dir / "plots" / f"{stem}.png"
        arrays_of = {model: load(source) for model, source in sources.items()}
        job = str(next(iter(arrays_of.values()))["title"])
        if not newer(path, *sources.values()):
            save_png(_sheet(job, arrays_of), path)
        models = " and ".join(sources)
        pictures.append((path, f"{job} · {models}", f"Pictures of {job}, made for {models}: a row a target."))
    return pictures


def _sheet(job: str, arrays_of: dict[str, dict[str, NDArray[Any]]]) -> Image.Image:
    """Networks stand side by side where that leaves few columns, else below each other."""
    tiles: dict[tuple[str, str, str], Shown] = {}
    for model, arrays in arrays_of.items():
        words = (arrays[name].tolist() for name in ("row", "column", "below"))
        for pixels, row, column, below in zip(arrays["pixels"], *words, strict=True):
            tiles[row, column, model] = pixels, below
    rows, columns = (list(dict.fromkeys(key[k] for key in tiles)) for k in (0, 1))
    models, title = list(arrays_of), f"{job} · {' and '.join(arrays_of)}"
    if len(models) == len(columns) == 1:
        return sheet(f"{title} · {columns[0]}", rows, [("", [tiles[row, columns[0], models[0]] for row in rows])])
    across = len(models) > 1 and len(columns) * len(models) <= 6
    over = [(column, model) for column in columns for model in (models if across else [""])]
    down = [(row, model) for row in rows for model in ([""] if across or len(models) == 1 else models)]
    lines = []
    for row, model in down:
        line = [tiles.get((row, column, model or other or models[0])) for column, other in over]
        lines.append((" · ".join(filter(None, (row, model))), line))
    return sheet(title, [" · ".join(filter(None, pair)) for pair in over], lines)


SECTION = Section(
    study="visualization",
    title="What does the network look for?",
    order=("method", "other_model", "image"),
    question="What does it look for?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_draw,
    shown=12,
    headers={
        "image": "picture",
        "other_model": "shown to",
        "saved_confidence": "as saved",
        "score_less_first": "less the first",
        "steps_to_90": "steps to 90%",
        "n": "pictures",
    },
)
