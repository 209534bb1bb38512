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
from suite.report.pictures import Picture, load, newer, save_png, titles_of
from suite.report.sections import Plot, Section, Tables, groups, ok, summarise
from suite.report.style import PALETTE, Figure, canvas, label

CLEAR = 0.94  # a confidence from which a picture counts as seen

Shown = tuple[NDArray[Any], str]  # (H, W, 3) uint8, and what stands below it


def sheet(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Shown | None]]]) -> Image.Image:
    """Pictures under their columns' names, beside their rows', each with a line below.

    Args:
        title: above all.
        columns: names.
        rows: name and a picture a column, None where there is none.
    """
    lines = [(name, [one and tiles.Tile("", one[0], below=one[1]) for one in pictures]) for name, pictures in rows]
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
    place = {(j["name"], v): (i, k) for i, j in enumerate(jobs) for k, v in enumerate(j["variants"] or [j["preset"]])}
    order = [place.get(pair, (len(jobs), 0)) for pair in zip(rows["job"], rows["variant"], strict=True)]
    return rows.iloc[sorted(range(len(rows)), key=order.__getitem__)]


def _numbers(group: pd.DataFrame) -> dict[str, float]:
    """The means of a group's pictures as they ended."""
    means = group[group["other"] == ""].groupby("metric")["value"].mean()
    means["elsewhere"] = group.loc[(group["other"] != "") & (group["metric"] == "confidence"), "value"].mean()
    return dict(means.reindex(["score", "confidence", "saved_confidence", "elsewhere", *_LOOKS]))


def _variants(rows: pd.DataFrame) -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    first: dict[tuple[str, str], float] = {}
    for (job, model, method), group in groups(ok(rows), *_JOB):
        ended = group[group["x"].isna()]
        numbers = _numbers(ended)
        score, shares = numbers.pop("score"), ended.loc[(ended["metric"] == "confidence") & (ended["other"] == "")]
        line = {"job": job, "model": model, "variant": method, "n": int((ended["metric"] == "steps").sum())}
        line |= {"score": score, "score_less_first": score - first.setdefault((job, model), score)}
        line |= {"confidence": numbers.pop("confidence")}
        line["clear"] = (shares["value"] >= CLEAR).mean()
        line |= numbers
        line["diversity"] = ended.loc[ended["metric"] == "diversity", "value"].mean()
        along = group[group["metric"] == "step_confidence"]
        line["steps_to_90"] = float(np.mean([_reached(c) for _, c in groups(along, "image", "draw")] or [np.nan]))
        lines.append(line)
    return pd.DataFrame(lines)


def _reached(curve: pd.DataFrame) -> float:
    return float(curve.loc[curve["value"] >= 0.9, "x"].min())


def _pictures(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        seeds = group.groupby(["other", "metric", "draw"], dropna=False)["value"].first()
        middle = seeds.groupby(["other", "metric"]).median().reset_index()
        steps = group[group["metric"] == "steps"]
        note = "; ".join(filter(None, steps["message"]))
        return {"n": len(steps)} | _numbers(middle) | {"steps": steps["value"].median(), "note": note}

    return summarise(ok(rows[rows["x"].isna()]), [*_JOB, "image"], line)


def _elsewhere(rows: pd.DataFrame) -> pd.DataFrame:
    ended = ok(rows[rows["x"].isna() & rows["metric"].isin(["confidence", "top1"])])
    lines = []
    for (job, model, method), group in groups(ended, *_JOB):
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
    return summarise(kept.rename(columns={"x": "iterations"}), [*_JOB, "iterations"], _numbers)


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    rows = rows[rows["metric"] != "item"].rename(columns={"stage": "job", "method": "variant"})
    rows = _ordered(rows, manifest)
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
    figure, axes = canvas(2.9, 1, 2)
    for ax, (metric, name) in zip(axes, (("step_value", "objective"), ("step_confidence", "confidence")), strict=True):
        for k, method in enumerate(methods):
            means = along[(along["metric"] == metric) & (along["method"] == method)].groupby("x")["value"].mean()
            style, text = ("-", "--", ":", "-.")[k // 10 % 4], label(method) if ax is axes[0] else None
            ax.plot(means.index, means, style, color=PALETTE[k % 10], lw=1.4, label=text)
        ax.set_xlabel("iteration")
        ax.set_ylabel(name)
    axes[1].set_ylim(-0.03, 1.03)
    figure.legend(loc="outside upper left", ncols=5)
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """A sheet a job, the networks that made it in one."""
    titles = titles_of(manifest)
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
    pictures: dict[tuple[str, str, str], Shown] = {}
    for model, arrays in found.items():
        for pixels, row, column, below in zip(arrays["pixels"], *(arrays[k].tolist() for k in words), strict=True):
            pictures[row, column, model] = pixels, below
    rows, columns = (list(dict.fromkeys(key[k] for key in pictures)) for k in (0, 1))
    title = f"{job} · {' and '.join(found)}"
    if len(found) == 1 and len(columns) == 1:
        (model,) = found
        return sheet(f"{title} · {columns[0]}", rows, [("", [pictures[row, columns[0], model] for row in rows])])
    across = len(found) > 1 and len(columns) * len(found) <= 6
    over = [(c, m) for c in columns for m in found] if across else [(c, "") for c in columns]
    down = [(r, "") for r in rows] if across or len(found) == 1 else [(r, m) for r in rows for m in found]
    lines = []
    for r, m in down:
        line = [pictures.get((r, c, m or n or next(iter(found)))) for c, n in over]
        lines.append((" · ".join(filter(None, (r, m))), line))
    return sheet(title, [" · ".join(filter(None, pair)) for pair in over], lines)


SECTION = Section(
    study="visualization",
    title="What does the network look for?",
    question="What does it look for?",
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
