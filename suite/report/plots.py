"""Tables and rows to figures, each as SVG and PNG. Draws on figures of its own, never on pyplot's; no torch."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform

from suite.report.style import COLOURS, GRID, INK, PAPER, as_words, figure_style, label, save, slug

PAIRS_SHOWN = 40
WIDTH = 6.6  # inches; two stand side by side on a page and can still be read
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MEASURES = {
    "spearman": "Spearman rank correlation",
    "ssim": "SSIM (structural similarity)",
    "top10_overlap": "Overlap of the top 10% of pixels",
}


def draw_plots(rows: pd.DataFrame, tables: dict[str, pd.DataFrame], folder: Path) -> dict[str, tuple[Path, str]]:
    """Draws what the rows allow into `folder`.

    Returns:
        For each figure, by file name: the SVG beside which a PNG of the same name lies, and one sentence that says
        what it shows (the page's alternative text).
    """
    jobs: list[tuple[str, str, Callable[[], Figure]]] = []
    for model, group in _groups(rows[(rows["study"] == "agreement") & (rows["status"] == "ok")], "model"):
        order = _methods(tables.get("agreement"), model)
        text = f"How far own and Captum's maps differ on {model}, a dot a photo; dots in the band are exactly equal."
        jobs.append((f"difference-{model}", text, partial(_difference, group, order)))
    for (model, stage), group in _groups(
        rows[(rows["study"] == "speed") & (rows["metric"] == "passes")], "model", "stage"
    ):
        text = f"Cost of each method on {model} ({as_words(stage)}) in bare passes: medians, whiskers the middle half."
        order = _methods(tables.get("speed"), model)
        jobs.append((f"cost-{model}-{stage}", text, partial(_cost, group, order, _floor(tables, model, stage))))
    for (model, metric), pairs in _groups(tables.get("comparison", pd.DataFrame()), "model", "metric"):
        pairs = pairs[pairs["method"] != pairs["other"]].dropna(subset=["mean"])
        if pairs.empty:
            continue
        words = MEASURES.get(metric, as_words(metric))
        text = f"{words}, {model}: how alike the methods' maps of the same photo are; neighbours are most alike."
        jobs.append((f"heatmap-{model}-{metric}", text, partial(_heatmap, pairs, metric)))
        text = f"{words}, {model}: mean and 95% interval for each pair, beside the level that unrelated photos reach."
        jobs.append((f"pairs-{model}-{metric}", text, partial(_pairs, pairs, words)))
    for metric, table in _groups(tables.get("sharpness", pd.DataFrame()), "metric"):
        text = f"{as_words(metric).capitalize()} of the maps: mean and 95% interval."
        jobs.append((f"sharpness-{metric}", text, partial(_sharpness, table, metric)))
    drawn = {}
    for name, text, draw in jobs:
        path = folder / f"{slug(name)}.svg"
        with figure_style():
            save(draw(), path)
        drawn[path.stem] = (path, text)
    return drawn


def _groups(frame: pd.DataFrame, *by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    if len(frame):
        yield from frame.groupby(by[0] if len(by) == 1 else list(by), sort=False)


def _methods(table: pd.DataFrame | None, model: str) -> list[str]:
    return [] if table is None else list(dict.fromkeys(table.loc[table["model"] == model, "method"]))


def _difference(rows: pd.DataFrame, order: list[str]) -> Figure:
    """A dot a photo on a log axis; exact zeros stand in a labelled band at the left, with their count."""
    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(order)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    units = {
        "max_abs_difference": "max |own − Captum|\n(score per pixel unit)",
        "relative_l2": "‖own − Captum‖ / ‖Captum‖\n(no unit)",
    }
    rng = np.random.default_rng(0)
    for ax, (metric, unit) in zip(axes, units.items(), strict=True):
        part = rows[rows["metric"] == metric]
        positive = part.loc[part["value"] > 0, "value"]
        low, high = (positive.min(), positive.max()) if len(positive) else (1e-8, 1e-6)
        decades = max(1.0, np.log10(high / low))
        edge = low / 10 ** (0.12 * decades)
        left, right = edge / 10 ** (0.35 * decades + 0.3), high * 10 ** (0.12 * decades)
        ax.set_xscale("log")
        ax.set_xlim(left, right)
        ax.axvspan(left, edge, color=GRID, alpha=0.55, lw=0)
        for y, method in enumerate(order):
            values = part.loc[part["method"] == method, "value"].to_numpy(float)
            zeros = int((values == 0).sum())
            x = np.where(values == 0, np.sqrt(left * edge), values)
            ax.scatter(
                x[values != 0],
                y + rng.uniform(-0.2, 0.2, int((values != 0).sum())),
                s=20,
                color=COLOURS["own"],
                alpha=0.7,
                lw=0,
            )
            if zeros:
                ax.text(np.sqrt(left * edge), y, f"{zeros} of {len(values)}", ha="center", va="center")
        ax.set_xlabel(unit)
        ax.annotate(
            "bit-equal", (np.sqrt(left * edge), -0.5), (0, 4), textcoords="offset points", ha="center", fontsize=9
        )
        powers = np.arange(np.ceil(np.log10(edge)), np.floor(np.log10(right)) + 1) if len(positive) else np.array([])
        powers = powers[:: max(1, int(np.ceil(len(powers) / 5)))]
        ax.set_xticks(10.0**powers, [f"10{str(int(power)).translate(_SUPERSCRIPT)}" for power in powers])
        ax.minorticks_off()
        ax.set_yticks(range(len(order)), [label(method) for method in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
    return figure


def _floor(tables: dict[str, pd.DataFrame], model: str, stage: str) -> float | None:
    table = tables.get("speed_floor", pd.DataFrame())
    if "four_maps_passes" not in table:
        return None
    found = table[(table["model"] == model) & (table["stage"] == stage)]["floor"]
    return float(found.iloc[0]) if len(found) else None


def _cost(rows: pd.DataFrame, order: list[str], floor: float | None) -> Figure:
    data = rows[rows["implementation"].isin(["own", "captum"])]
    order = [method for method in order if method in set(data["method"])]
    figure = Figure(figsize=(WIDTH, 1.6 + 0.52 * len(order)), layout="constrained")
    ax = figure.subplots()
    sides = [side for side in ("own", "captum") if side in set(data["implementation"])]
    sns.barplot(
        data, y="method", x="value", hue="implementation", order=order, hue_order=sides, palette=COLOURS, ax=ax,
        width=0.74, saturation=1, legend=False,
        estimator="median", errorbar=("pi", 50), err_kws={"color": INK, "linewidth": 1.2},
    )  # fmt: skip
    for side, bars in zip(sides, ax.containers, strict=False):
        medians = data[data["implementation"] == side].groupby("method")["value"].median()
        upper = data[data["implementation"] == side].groupby("method")["value"].quantile(0.75)
        for y, (bar, method) in enumerate(zip(bars, order, strict=False)):
            bar.set_hatch("////" if side == "captum" else "")
            bar.set_edgecolor(PAPER)
            if method in medians:
                at = (
                    float(upper[method]),
                    y + (0.185 if side == "captum" and len(sides) == 2 else -0.185 if len(sides) == 2 else 0),
                )
                ax.annotate(f"{medians[method]:.2f}", at, (5, 0), textcoords="offset points", va="center", fontsize=9)
        bars.set_label({"own": "own (handwritten)", "captum": "Captum"}[side])
    ax.axvline(1, color=INK, lw=1, ls=":", label="one bare pass")
    if floor is not None and "all methods" in order:
        y = order.index("all methods")
        ax.vlines(floor, y - 0.48, y + 0.48, color=INK, lw=2, label=f"floor of the four maps, 2 − f = {floor:.2f}")
    ax.set_yticks(range(len(order)), [label(method) for method in order])
    ax.set(xlabel="bare passes (forward and gradient at the input); fewer is cheaper", ylabel="")
    ax.margins(x=0.08)
    ax.set_xlim(left=0)
    if data["value"].max() > 25 * data["value"].min():
        ax.set_xscale("log")
        ax.set_xlim(0.6 * min(1, data["value"].min()), 2 * data["value"].max())
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_xlabel(f"{ax.get_xlabel()}; log axis")
    handles, texts = ax.get_legend_handles_labels()
    first = sorted(range(len(texts)), key=lambda i: not texts[i].startswith(("own", "Captum")))
    figure.legend([handles[i] for i in first], [texts[i] for i in first], loc="outside upper left", ncols=2)
    return figure


def _heatmap(pairs: pd.DataFrame, metric: str) -> Figure:
    methods = list(dict.fromkeys([*pairs["method"], *pairs["other"]]))
    n = len(methods)
    values = np.full((n, n), np.nan)
    np.fill_diagonal(values, 1.0)
    for a, b, mean in zip(pairs["method"], pairs["other"], pairs["mean"], strict=True):
        i, j = methods.index(a), methods.index(b)
        values[i, j] = values[j, i] = mean
    # A pair without a value is put as far apart as any pair can be.
    distance = np.nan_to_num(1 - values, nan=2.0)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, None), checks=False), method="average", optimal_ordering=True)
    side = 0.62 * n
    figure = Figure(figsize=(side + 3.6, side + 1.5), layout="constrained")
    ax = figure.subplots()
    branches = ax.inset_axes((1.01, 0, 0.6 / side, 1))
    dendrogram(tree, orientation="right", ax=branches, no_labels=True, link_color_func=lambda _: INK)
    order = leaves_list(tree)
    branches.axis("off")
    branches.invert_yaxis()
    span = (
        {"vmin": 0, "vmax": 1, "cmap": "cividis"}
        if metric.endswith("overlap")
        else {"vmin": -1, "vmax": 1, "cmap": "vlag"}
    )
    names = [label(methods[i], 24) for i in order]
    sns.heatmap(
        values[np.ix_(order, order)], annot=True, fmt=".2f", ax=ax, square=True, linewidths=1.5, linecolor=PAPER,
        xticklabels=names, yticklabels=names, annot_kws={"fontsize": 9}, cbar=False, **span,
    )  # fmt: skip
    for text in ax.texts:
        text.set_in_layout(False)  # they lie inside their cells; measuring hundreds of them takes seconds
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xticks(ax.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(ax.get_yticks(), names, rotation=0)
    ax.set_title(f"{MEASURES.get(metric, as_words(metric))}: mean over photos")
    return figure


def _pairs(pairs: pd.DataFrame, words: str) -> Figure:
    shown = pairs.sort_values("mean", ascending=False).head(PAIRS_SHOWN)
    names = [f"{label(a, 20)} · {label(b, 20)}" for a, b in zip(shown["method"], shown["other"], strict=True)]
    figure = Figure(figsize=(WIDTH, 1.5 + 0.3 * len(shown)), layout="constrained")
    ax = figure.subplots()
    y = np.arange(len(shown))
    ax.scatter(shown["unrelated_mean"], y, marker="|", s=90, color=INK, lw=1.5, label="unrelated photos: mean")
    ax.hlines(
        y,
        shown["unrelated_mean"],
        shown["unrelated_p95"],
        color=COLOURS["captum"],
        lw=5,
        alpha=0.6,
        label="to their 95th percentile",
    )
    _intervals(ax, shown, y, "same photo: mean, 95% interval")
    ax.set_yticks(y, names)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    left_out = f" ({len(shown)} most alike of {len(pairs)} pairs)" if len(pairs) > len(shown) else ""
    ax.set_xlabel(f"{words}; 1 is the same{left_out}")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _intervals(
    ax: Axes, table: pd.DataFrame, y: Any, text: str, colour: str = COLOURS["own"], marker: str = "o"
) -> None:
    ax.hlines(y, table["mean_low"], table["mean_high"], color=colour, lw=1.6)
    ax.scatter(table["mean"], y, s=30, color=colour, marker=marker, zorder=3, label=text)


def _sharpness(table: pd.DataFrame, metric: str) -> Figure:
    methods, models = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["model"]))
    figure = Figure(figsize=(WIDTH, 1.4 + 0.16 * len(methods) * (1.5 + len(models))), layout="constrained")
    ax = figure.subplots()
    for k, model in enumerate(models):
        part = table[table["model"] == model]
        y = part["method"].map(methods.index).to_numpy(float) + 0.7 * ((k + 0.5) / len(models) - 0.5)
        _intervals(ax, part, y, label(model), sns.color_palette("colorblind")[k % 10], "os^Dv"[k % 5])
    ax.set_yticks(range(len(methods)), [label(method) for method in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_xlabel(f"{as_words(metric)}: mean over photos and 95% interval")
    figure.legend(loc="outside upper left", ncols=2)
    return figure
