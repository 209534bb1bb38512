"""The section on sanity: verdicts, similarity against stage, specification curves, the paper's picture. No torch."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from suite.report.figures import legend
from suite.report.randomised import BAD, GOOD, HEADERS, SENTENCES, draw_cascades, mean_similarity, stage_similarities
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, ok, with_ends
from suite.report.style import GRID, INK, MARKERS, PALETTE, Figure, canvas, label
from suite.report.words import as_words
from suite.sanity import verdict as judging

_COLOURS = {
    judging.PASS: "#009e73",
    judging.FAIL: "#d55e00",
    judging.UNSTABLE: "#cc79a7",
    judging.UNDECIDED: "#56b4e9",
    judging.UNINFORMATIVE: "#7f7f7f",
}
RANDOM_LOGIT = "random_logit"
_ORDERS = {
    "cascade_top": "blocks random, from the top",
    "cascade_bottom": "blocks random, from the bottom",
    "independent": "the one random block, counted from the top",
}
_METRICS = ("spearman_abs", "spearman_signed", "ssim_abs", "hog_abs", "cosine_abs")
TEXTS = {
    "sanity_verdicts": (
        "Verdicts",
        "S is 0 for a map that ignores the network and 1 for one that follows it: S = 1 − (r stage − r null) / (r self "
        "− r null), with r the Spearman correlation of absolute maps averaged over 4 × 4 pixels, the network "
        "randomised block by block from the top. r self: the map of a slightly noisy copy of the photo. r null: the "
        "random network's map of another photo; r other: the same network's. Kept: (r stage − r null) / (r self − r "
        "null) where weights change by a thousandth. PASS: S is above 0.5 with the upper half of the blocks random and "
        "with all, and kept above 0.9; it says that the map depends on the weights, not that it is right. FAIL: S is "
        "below 0.5 in either. UNSTABLE: kept is below 0.9. All by 95% intervals over photos and random networks. "
        "UNINFORMATIVE: r self is not shown to be above r null and r other. UNDECIDED: the intervals leave it open, or "
        "fewer than half of all analyses (stability) agree. Pairs: of a photo and a random network, valid where all "
        "four similarities are defined; a map that is zero everywhere has similarity 0 to one that is not. Grad-CAM "
        "factor frozen: Guided Grad-CAM with the intact network's Grad-CAM, so that what the guided factor ignores "
        "cannot hide behind a mask that changes. No verdict is corrected for the number of methods.",
    ),
    "sanity_measures": (
        "Verdicts by measure",
        "The same verdict by every measure, at the default noise, from the top. Where measures disagree, the verdict's "
        "reason says why.",
    ),
    "sanity_stages": (
        "Similarity by stage",
        "How alike the intact network's map and the partly random network's are, with the 95% interval over photos "
        "and draws, and S. `null`: another photo's map at the same stage.",
    ),
    "sanity_nulls": (
        "Nulls",
        "What similarity means nothing. `self` is the noise floor: the same network, a slightly noisy copy of the "
        "photo. `rolled`: the same map, moved by half its size and mirrored. `input`: two maps that share only the "
        "photo, the photo times noise. `other`: the same network's map of another photo. `null`: the random network's "
        "map of another photo, everything random.",
    ),
    "sanity_other_tests": (
        "Other tests",
        "eMPRT: the relative rise of the map's entropy when everything is random, higher is better; beside it the "
        "output's entropy (Hedström et al. 2024). sMPRT: mean similarity over the cascade between maps averaged over "
        "noisy copies, lower is better. Random logit: S of another class's score in place of another network.",
    ),
    "sanity_specifications": ("Specification curve", "S and the verdict for every combination of choices."),
}


def tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    """All tables; those of the audit alone, whose settings stand in the manifest."""
    settings = manifest["config"]["studies"].get("sanity")
    if not settings or not rows.size:
        return {}
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TEXTS}
    for model, own in rows[rows["metric"] != "item"].groupby("model", sort=False):
        similarities = judging.arrange(own, float(settings["noise"]))
        verdicts, measures, curves = judging.verdicts(similarities, own)
        of_model = {"sanity_verdicts": verdicts, "sanity_measures": measures, "sanity_specifications": curves}
        of_model |= {"sanity_stages": _stages(similarities, own), "sanity_nulls": _nulls(similarities)}
        of_model |= {"sanity_other_tests": _other_tests(similarities, own)}
        for name, table in of_model.items():
            if len(table):
                table.insert(0, "model", model)
                tables[name].append(table)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts}


def _stages(similarities: judging.Similarities, rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for key, block, means in stage_similarities(similarities, rows):
        if key.order != RANDOM_LOGIT:
            s = similarities.sensitivity(key)
            line: dict[str, Any] = {"method": key.method, "metric": key.metric, "order": key.order}
            line |= {"blocks": key.blocks, "block": block, **means}
            lines.append(line | with_ends("s", s.value, (s.low, s.high)) if s else line)
    return _sorted(lines, ["metric", "method", "order", "blocks"])


def _sorted(lines: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(lines).sort_values(columns, ignore_index=True) if lines else pd.DataFrame()


def _nulls(similarities: judging.Similarities) -> pd.DataFrame:
    lines = []
    for key, values in similarities.arrays.items():
        is_null = key.kind != "stage" and (key.kind != "null" or key.order == judging.EVERYTHING)
        if is_null and key.cell == judging.CELL and key.noise in (0.0, similarities.noise):
            valid = values[np.isfinite(values)]
            line: dict[str, Any] = {"method": key.method, "metric": key.metric, "kind": key.kind}
            line |= mean_similarity("similarity", values)
            lines.append(line | {"standard_deviation": valid.std() if valid.size else np.nan, "n": valid.size})
    return _sorted(lines, ["metric", "method", "kind"])


def _other_tests(similarities: judging.Similarities, rows: pd.DataFrame) -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    tests = ok(rows[rows["metric"].isin(["emprt", "output_entropy", "smprt"])])
    for (method, metric), group in tests.groupby(["method", "metric"]):
        by_photo = group.groupby("image")["value"].mean()
        lines.append({"method": method, "metric": metric} | mean_with_interval("mean", by_photo))
    for method in similarities.methods:
        s = similarities.sensitivity(similarities.headline(method)._replace(order=RANDOM_LOGIT, blocks=0))
        if s is not None:
            line = {"method": method, "metric": RANDOM_LOGIT}
            lines.append(line | with_ends("mean", s.value, (s.low, s.high)))
    return pd.DataFrame(lines)


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    control = set(rows.loc[rows["control"], "method"])
    stages = tables.get("sanity_stages", pd.DataFrame())
    if len(stages):
        stages = stages[~stages["method"].isin(control)]
    for model, table in groups(stages, "model"):
        nulls = tables["sanity_nulls"].query("model == @model")
        for order, words in _ORDERS.items():
            if order in set(table["order"]):
                text = f"Similarity of maps against how much of {model} is random ({as_words(order)}); bands are what "
                text += "another photo's map reaches, bars 95% intervals over photos and draws."
                yield Plot(f"sanity-{order}-{model}", text, partial(_similarity, table, nulls, order, words))
    curves = tables.get("sanity_specifications", pd.DataFrame())
    for (model, method), curve in groups(curves, "model", "method"):
        if method not in control:
            text = f"S of {method} on {model} with the upper half random, for every combination of choices, sorted."
            yield Plot(f"sanity-choices-{model}-{method}", text, partial(_curve, curve))


def _similarity(table: pd.DataFrame, nulls: pd.DataFrame, order: str, words: str) -> Figure:
    """A panel a measure, in each a line a method."""
    metrics = [m for m in _METRICS if m in set(table["metric"])]
    methods = list(dict.fromkeys(table["method"]))
    across = -(-len(metrics) // 2)
    figure, panels = canvas(0.6 + 2.3 * across, across, 2, sharex=True, squeeze=False)
    axes = panels.ravel()
    cascade = order != "independent"  # it begins at the intact network and ends where everything is random
    table = table[table["order"].isin([order, judging.EVERYTHING] if cascade else [order])]
    for ax, metric in zip(axes, metrics, strict=False):
        _panel(ax, table[table["metric"] == metric], nulls[nulls["metric"] == metric], methods, cascade)
        ax.set_title(as_words(metric))
        ax.grid(True, axis="y", color=GRID)
        ax.grid(False, axis="x")
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes[len(metrics) :]:
        ax.axis("off")
    for ax in axes[max(0, len(metrics) - 2) : len(metrics)]:
        ax.set_xlabel(words)
        ax.tick_params(labelbottom=True)
    legend(figure, 3, axes[0])
    return figure


def _panel(ax: Any, table: pd.DataFrame, nulls: pd.DataFrame, methods: list[str], cascade: bool) -> None:
    for similarity in nulls.loc[nulls["kind"] == "input", "similarity"]:
        ax.axhline(similarity, color=INK, lw=1, ls=":", label="photo × noise")
    for k, method in enumerate(methods):
        lines, colour = table[table["method"] == method].sort_values("blocks"), PALETTE[k % 10]
        if lines.empty:
            continue
        own = nulls.loc[(nulls["kind"] == "self") & (nulls["method"] == method), "similarity"]
        start = own.tolist()[:1] if cascade else []
        x, y = [0.0] * len(start) + lines["blocks"].tolist(), start + lines["similarity"].tolist()
        shift = 0.08 * (k - (len(methods) - 1) / 2)
        ax.plot(np.array(x) + shift, y, color=colour, marker=MARKERS[k % 5], ms=4, lw=1.4, label=label(method))
        ax.vlines(lines["blocks"] + shift, lines["similarity_low"], lines["similarity_high"], color=colour, lw=1.2)
        ax.fill_between(lines["blocks"], lines["null_low"], lines["null_high"], color=colour, alpha=0.16, lw=0)


def _curve(curve: pd.DataFrame) -> Figure:
    curve = curve.sort_values("s_half", ignore_index=True)
    varied = [c for c in ("measure", "sign", "noise", "cell", "order") if curve[c].nunique() > 1]
    rows = [(column, value) for column in varied for value in sorted(curve[column].unique())]
    ratios = (1.7, 0.19 * max(1, len(rows)))
    figure, (upper, lower) = canvas(2.1 + 0.19 * len(rows), 2, 1, sharex=True, height_ratios=ratios)
    for verdict, part in curve.groupby("verdict"):
        colour = _COLOURS.get(str(verdict), INK)
        upper.vlines(part.index, part["s_half_low"], part["s_half_high"], color=colour, lw=1, alpha=0.6)
        upper.scatter(part.index, part["s_half"], s=9, color=colour, label=f"{verdict} ({len(part)})", zorder=3)
    upper.axhline(judging.THRESHOLD, color=INK, lw=1, ls=":")
    upper.set_ylabel("S, upper half random")
    ends = curve[["s_half_low", "s_half_high"]].to_numpy(float)
    if np.isfinite(ends).any():
        upper.set_ylim(max(-1.0, np.nanmin(ends) - 0.1), min(2.5, np.nanmax(ends) + 0.1))
    for y, (column, value) in enumerate(rows):
        at = curve.index[curve[column] == value]
        colours = [_COLOURS.get(verdict, INK) for verdict in curve.loc[at, "verdict"]]
        lower.scatter(at, [y] * len(at), s=5, marker="|", color=colours)
    shown = [as_words(f"{c} {v}" if isinstance(v, str) else f"{c} {v:g}") for c, v in rows]
    lower.set_yticks(range(len(rows)), shown, fontsize=8)
    lower.set_ylim(len(rows) - 0.5, -0.5)
    lower.set_xlabel("analyses, sorted by S")
    legend(figure, 4)
    return figure


SECTION = Section(
    study="sanity",
    title="Does the map depend on what the network learned?",
    question="Does the map depend on the network?",
    texts=TEXTS,
    tables=tables,
    plots=_plots,
    draw=partial(draw_cascades, study="sanity", title="More and more blocks random, from the top"),
    good=GOOD,
    bad=BAD,
    sentences=SENTENCES,
    headers=HEADERS,
)
