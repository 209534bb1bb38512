"""The section on networks side by side: whose maps are sharper, where they look. Pure; files only for its pictures."""

from collections.abc import Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.metrics.statistics import paired_test
from suite.report.figures import MEASURES, draw_pairs, draw_parts, legend
from suite.report.pictures import GRID_ROWS, Picture, load, photo_grid, save_png, signed_methods, titles_of
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok, records, with_ends
from suite.report.style import INK, WIDTH, Figure, canvas, label, slug
from suite.report.words import as_words

SHARPER = {"entropy": -1, "gini": 1, "largest_component_mass": 1}  # the sign that says sharper
_AXES = {"entropy": "less entropy", "gini": "higher Gini", "largest_component_mass": "more in one region"}
_KEYS = ["model", "other_model", "method"]
TEXTS = {
    "between_networks_verdicts": (
        "Are the larger network's maps sharper?",
        "Photo by photo, against the smaller network's: sharper where the intervals of the differences in entropy and "
        "Gini both say so, unclear where one of them holds 0 or they contradict each other. Sharper is not better: "
        "whether a map sits on the object, only known objects can tell.",
    ),
    "between_networks_sharpness": (
        "The larger network's maps less the smaller one's",
        "Mean difference of the same photo's maps, with its 95% interval (sign-flip test). Sharper: entropy below 0, "
        "Gini above 0; more in one place: mass of the largest region above 0. An interval that holds 0 tells nothing.",
    ),
    "between_networks": (
        "Do networks look at the same places?",
        "How alike two networks' maps of one photo are: 1 is the same, with the mean's 95% interval (Student's t). "
        "Beside it, one network's map of another photo: beyond chance where the paired difference of the two is "
        "above 0 with its whole 95% interval.",
    ),
}


def _agreement(rows: pd.DataFrame, pair: tuple[str, str]) -> Iterable[dict[str, Any]]:
    """How alike the pair's maps of one photo are, and whether more than those of two photos."""
    own = rows[rows["model"].isin(pair) & rows["other_model"].isin(pair)]
    for (metric, method), part in groups(own, "metric", "method"):
        same, apart = (
            part[part["pairing"] == pairing].groupby("image")["value"].mean()
            for pairing in ("same_photo", "unrelated_photos")
        )
        common = same.index.intersection(apart.index)
        low = paired_test(same[common], apart[common]).low  # NaN without a photo that has both
        beyond = "" if np.isnan(low) else "yes" if low > 0 else "no"
        line = dict(zip(_KEYS, (*pair, method), strict=True)) | {"metric": metric} | mean_with_interval("mean", same)
        yield line | {"unrelated_mean": apart.mean(), "unrelated_p95": apart.quantile(0.95), "beyond_chance": beyond}


def _sharpness(rows: pd.DataFrame, pair: tuple[str, str]) -> Iterable[dict[str, Any]]:
    """The first's sharpness less the second's, photo by photo."""
    for (metric, method), part in groups(rows[rows["model"].isin(pair)], "metric", "method"):
        values = part.pivot(index="image", columns="model", values="value").reindex(columns=list(pair)).dropna()
        if len(values):
            first, second = (values[model] for model in pair)
            line = dict(zip(_KEYS, (*pair, method), strict=True)) | {"metric": metric, "n": len(values)}
            test = paired_test(first, second)
            yield line | with_ends("mean", test.mean, (test.low, test.high))


def _verdict(sharper: pd.DataFrame, alike: pd.DataFrame) -> tuple[str, str]:
    """On one method of one pair, from its lines of the two tables: the verdict, and the numbers behind it."""
    words, says = [], {}
    for line in records(sharper):
        metric, mean, low, high = (line[key] for key in ("metric", "mean", "mean_low", "mean_high"))
        says[metric] = SHARPER[metric] * (int(low > 0) - int(high < 0))
        words.append(f"{as_words(metric)} {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    for line in records(alike):
        words.append(f"Spearman of their maps {line['mean']:.2f}, of unrelated photos' {line['unrelated_mean']:.2f}")
    total = says.get("entropy", 0) + says.get("gini", 0)
    return {2: "sharper", -2: "less sharp"}.get(total, "unclear"), "; ".join(words)


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    weights = {model: info.get("weights") or 0 for model, info in manifest["models"].items()}
    rows = ok(rows)
    similarities, sharpness = (rows[rows["study"] == study] for study in ("between_networks", "sharpness"))
    models = {*similarities["model"], *similarities["other_model"]}
    pairs = list(combinations(sorted(models, key=lambda model: (-weights[model], model)), 2))  # the larger first
    alike = pd.DataFrame([line for pair in pairs for line in _agreement(similarities, pair)])
    sharper = pd.DataFrame([line for pair in pairs for line in _sharpness(sharpness, pair)])
    verdicts = []
    for key, part in groups(sharper, *_KEYS):
        if not manifest["methods"].get(key[2], {}).get("control"):
            similarity = alike[(alike[_KEYS] == list(key)).all(axis=1) & (alike["metric"] == "spearman")]
            verdict, reason = _verdict(part[part["metric"].isin(SHARPER)], similarity)
            line = dict(zip(_KEYS, key, strict=True)) | {"measure": "sharpness", "verdict": verdict}
            verdicts.append(line | {"reason": f"against {key[1]}: {reason}"})
    return {
        "between_networks_verdicts": pd.DataFrame(verdicts),
        "between_networks_sharpness": sharper,
        "between_networks": alike,
    }


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    if "between_networks_sharpness" in tables:
        text = "Sharpness of the larger network's maps minus the smaller one's: mean and 95% interval; right of 0 the "
        text += "larger network's map is sharper."
        yield Plot("between-networks-sharpness", text, partial(_differences, tables["between_networks_sharpness"]))
    for metric, table in groups(tables.get("between_networks", pd.DataFrame()), "metric"):
        text = f"{MEASURES[metric]} of networks' maps of one photo: mean and 95% interval, beside unrelated photos."
        draw = partial(draw_pairs, table, MEASURES[metric], "{method}: {model} · {other_model}", 18)
        yield Plot(f"between-networks-{metric}", text, draw)


def _differences(table: pd.DataFrame) -> Figure:
    methods = list(dict.fromkeys(table["method"]))
    pairs = list(dict.fromkeys(zip(table["model"], table["other_model"], strict=True)))
    height = 1.5 + 0.16 * len(methods) * (1.5 + len(pairs))
    figure, axes = canvas(height, 1, len(SHARPER), width=WIDTH * 1.25, sharey=True)
    for ax, (metric, sign) in zip(axes, SHARPER.items(), strict=True):
        part = table[table["metric"] == metric]
        part = part.assign(**{end: part[end] * sign for end in ("mean", "mean_low", "mean_high")})
        parts = {
            f"{label(a, 24)} less {label(b, 24)}": part[(part["model"] == a) & (part["other_model"] == b)]
            for a, b in pairs
        }
        draw_parts(ax, methods, parts)
        ax.axvline(0, color=INK, lw=1, ls=":")
        ax.set_xlabel(_AXES[metric])
        ax.margins(x=0.12)
        ax.locator_params(axis="x", nbins=4)
    legend(figure, 2, axes[0])
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """A page a method: the first photos that all networks have maps of, a column a network."""
    folders = {model: run_dir / "images" / folder for folder, model in titles_of(manifest).items()}
    stems = {model: {path.stem for path in folder.glob("[0-9]*.npz")} for model, folder in folders.items()}
    models = [model for model in folders if stems[model]]
    configured = manifest["config"].get("studies", {}).get("between_networks") is not None
    if len(models) < 2 or not configured:
        return []
    common = sorted(set.intersection(*(stems[model] for model in models)))[:GRID_ROWS]
    photos = [{model: load(folders[model] / f"{stem}.npz") for model in models} for stem in common]
    pages = []
    for method, signed in signed_methods(manifest).items():
        lines = []
        for arrays in photos:
            first = arrays[models[0]]
            maps = {f"own|{m}": a[f"own|{method}"] for m, a in arrays.items() if f"own|{method}" in a}
            lines.append((str(first["id"]), "", {"photo": first["photo"], **maps}))
        path = run_dir / "plots" / f"between-networks-maps-{slug(method)}.png"
        save_png(photo_grid(lines, dict.fromkeys(models, signed)), path)
        pages.append((path, f"{method}: photos by networks", f"A row a photo, a column a network: its {method} map."))
    return pages


SECTION = Section(
    study="between_networks",
    title="Are a larger network's maps sharper, and do networks look at the same places?",
    order=("method", "other_model"),
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_draw,
    also=("sharpness",),
    sentences={
        "sharper": "is sharper on the larger network.",
        "less sharp": "is less sharp on the larger network.",
        "unclear": "is not clearly sharper on either network.",
    },
    headers={"other_model": "against", "mean": "mean [95%]", "unrelated_p95": "unrelated 95th percentile"},
)
