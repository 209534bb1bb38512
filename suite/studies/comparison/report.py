"""The section on comparison: method against method, beside maps of unrelated photos. Pure; no torch, no files."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from suite.report.figures import MEASURES, draw_matrix, draw_pairs
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok, square, summarise
from suite.report.style import INK, PAPER, Figure
from suite.report.words import as_words

TEXTS = {
    "comparison": (
        "Method against method",
        "How alike two methods' maps of the same photo are: 1 is the same, with the mean's 95% interval (Student's t). "
        "Beside it, maps of unrelated photos: only what lies clearly above them says something about the photo.",
    ),
}


def comparison(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """How alike two methods' maps of one photo are, beside maps of unrelated photos; a pair has no order."""
    study = ok(rows)
    if study.empty:
        return pd.DataFrame()
    rank = {label: position for position, label in enumerate(manifest.get("methods", {}))}
    pairs = [
        sorted(pair, key=lambda name: (rank.get(name, len(rank)), name))
        for pair in zip(study["method"], study["other_method"], strict=True)
    ]
    study = study.assign(method=[a for a, _ in pairs], other_method=[b for _, b in pairs])

    def line(group: pd.DataFrame) -> dict[str, Any]:
        same = group[group["pairing"] == "same_photo"].groupby("image")["value"].mean()
        apart = group.loc[group["pairing"] == "unrelated_photos", "value"]
        unrelated = {"unrelated_n": len(apart), "unrelated_mean": apart.mean(), "unrelated_p95": apart.quantile(0.95)}
        return mean_with_interval("mean", same) | unrelated

    return summarise(study, ["model", "metric", "method", "other_method"], line)


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for (model, metric), pairs in groups(tables.get("comparison", pd.DataFrame()), "model", "metric"):
        pairs = pairs[pairs["method"] != pairs["other_method"]].dropna(subset=["mean"])
        if pairs.empty:
            continue
        words = MEASURES.get(metric, as_words(metric))
        text = f"{words}, {model}: how alike the methods' maps of the same photo are; neighbours are most alike."
        yield Plot(f"heatmap-{model}-{metric}", text, partial(_heatmap, pairs, metric))
        text = f"{words}, {model}: mean and 95% interval for each pair, beside the level that unrelated photos reach."
        yield Plot(f"pairs-{model}-{metric}", text, partial(draw_pairs, pairs, words, "{method} · {other_method}", 20))


def _heatmap(pairs: pd.DataFrame, metric: str) -> Figure:
    from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
    from scipy.spatial.distance import squareform

    values = square(pairs, "method", "other_method", "mean")
    distance = np.nan_to_num(1 - values.to_numpy(), nan=2.0)  # without a value: as far apart as any pair can be
    tree = linkage(squareform(np.clip(distance, 0, None), checks=False), method="average", optimal_ordering=True)
    order = leaves_list(tree)
    low, colours = (0, "cividis") if metric.endswith("overlap") else (-1, "vlag")
    look = {"vmin": low, "vmax": 1, "cmap": colours, "linewidths": 1.5, "linecolor": PAPER}
    figure, ax = draw_matrix(values.iloc[order, order], 0.62, 9, **look)
    branches = ax.inset_axes((1.01, 0, 1 / len(values), 1))
    dendrogram(tree, orientation="right", ax=branches, no_labels=True, link_color_func=lambda _: INK)
    branches.axis("off")
    branches.invert_yaxis()
    ax.set_title(f"{MEASURES.get(metric, as_words(metric))}: mean over photos")
    return figure


SECTION = Section(
    study="comparison",
    title="Do the methods agree with each other?",
    order=("method", "other_method"),
    texts=TEXTS,
    tables=lambda rows, manifest: {"comparison": comparison(rows, manifest)},
    plots=_plots,
    headers={
        "other_method": "with",
        "mean": "mean [95%]",
        "unrelated_p95": "unrelated 95th percentile",
        "unrelated_mean": "unrelated mean",
    },
)
