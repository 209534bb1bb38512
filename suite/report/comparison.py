"""The section on comparison: method against method, beside maps of unrelated photos. Pure; no torch, no files."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from suite.report.sections import Plot, Section, Tables, draw_intervals, groups, mean_with_interval, ok
from suite.report.style import COLOURS, INK, PAPER, WIDTH, label
from suite.report.words import as_words

PAIRS_SHOWN = 40
MEASURES = {
    "spearman": "Spearman rank correlation",
    "ssim": "SSIM (structural similarity)",
    "top10_overlap": "Overlap of the top 10% of pixels",
}
TEXTS = {
    "comparison": (
        "Method against method",
        "How alike two methods' maps of the same photo are: 1 is the same, with the 95% bootstrap interval of the "
        "mean. Beside it, maps of unrelated photos: only what lies clearly above them says something about the photo.",
    ),
}


def comparison(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """How alike two methods' maps of one photo are, beside maps of unrelated photos; a pair has no order."""
    study = ok(rows)
    if study.empty:
        return pd.DataFrame()
    rank = {label: place for place, label in enumerate(manifest.get("methods", {}))}
    pairs = [
        sorted(pair, key=lambda name: (rank.get(name, len(rank)), name))
        for pair in zip(study["method"], study["other"], strict=True)
    ]
    study = study.assign(method=[a for a, _ in pairs], other=[b for _, b in pairs])
    lines = []
    for key, group in study.groupby(["model", "metric", "method", "other"], sort=False):
        same = group[group["stage"] == "same_photo"].groupby("image")["value"].mean()
        unrelated = group.loc[group["stage"] == "unrelated_photos", "value"]
        line = dict(zip(["model", "metric", "method", "other"], key, strict=True)) | mean_with_interval("mean", same)
        line |= {
            "unrelated_n": len(unrelated),
            "unrelated_mean": unrelated.mean(),
            "unrelated_p95": unrelated.quantile(0.95),
        }
        lines.append(line)
    return pd.DataFrame(lines)


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for (model, metric), pairs in groups(tables.get("comparison", pd.DataFrame()), "model", "metric"):
        pairs = pairs[pairs["method"] != pairs["other"]].dropna(subset=["mean"])
        if pairs.empty:
            continue
        words = MEASURES.get(metric, as_words(metric))
        text = f"{words}, {model}: how alike the methods' maps of the same photo are; neighbours are most alike."
        yield Plot(f"heatmap-{model}-{metric}", text, partial(_heatmap, pairs, metric))
        text = f"{words}, {model}: mean and 95% interval for each pair, beside the level that unrelated photos reach."
        names = [f"{label(a, 20)} · {label(b, 20)}" for a, b in zip(pairs["method"], pairs["other"], strict=True)]
        yield Plot(f"pairs-{model}-{metric}", text, partial(draw_pairs, pairs.assign(name=names), words))


def _heatmap(pairs: pd.DataFrame, metric: str) -> Figure:
    # What draws alone is imported when something is drawn.
    import seaborn as sns
    from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
    from scipy.spatial.distance import squareform

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


def draw_pairs(pairs: pd.DataFrame, words: str) -> Figure:
    """The most alike first: `name`, the mean on one photo with its interval, and what unrelated photos reach."""
    shown = pairs.sort_values("mean", ascending=False).head(PAIRS_SHOWN)
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
    draw_intervals(ax, shown, y, "same photo: mean, 95% interval")
    ax.set_yticks(y, shown["name"])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    left_out = f" ({len(shown)} most alike of {len(pairs)} pairs)" if len(pairs) > len(shown) else ""
    ax.set_xlabel(f"{words}; 1 is the same{left_out}")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


SECTION = Section(
    study="comparison",
    title="Do the methods agree with each other?",
    texts=TEXTS,
    tables=lambda rows, manifest: {"comparison": comparison(rows, manifest)},
    plots=_plots,
    headers={
        "other": "with",
        "mean": "mean [95%]",
        "unrelated_p95": "unrelated 95th percentile",
        "unrelated_mean": "unrelated mean",
    },
)
