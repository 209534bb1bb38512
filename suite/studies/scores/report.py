"""The section on scores: methods by metrics beside controls, and which map for what. Pure but for pictures; no torch.

Scores of photos that the network gets wrong stand in a table of their own; all else is of the others.
"""

from collections.abc import Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from suite.metrics.cards import CARDS
from suite.metrics.statistics import bootstrap_interval, holm, kendall_w, wilcoxon_p
from suite.report.overlay import PAPER, draw_map, fit_photo, scale, write
from suite.report.pictures import Picture, load, newer, save_png, signed_methods
from suite.report.sections import (
    Plot,
    Section,
    Tables,
    groups,
    mean_with_interval,
    ok,
    records,
    square,
    unreadable,
    with_ends,
)
from suite.report.style import COLOURS, PALETTE, Figure, canvas, draw_matrix, label, methods_down, slug
from suite.report.words import as_words, number

BETTER, MIXED, RANDOM, EDGES, FEW = (
    "better than controls", "mixed", "not better than random", "not better than edges", "too few photos",
)  # fmt: skip
LEAST = 6  # photos: Wilcoxon's test of fewer pairs cannot reach 0.05
SIDE = {"raw", "score", "accuracy"}  # forms of a metric that stand in the table and decide nothing
ACROSS = 8  # measures side by side in the heat table
DARK = "#1a1a1a"  # on coloured cells, whatever the page's colours
_GROUPS = {  # a metric's name in the configuration, whose failure is its failure
    "faithfulness_correlation": "fidelity", "mu_fidelity": "fidelity", "infidelity": "fidelity",
    "max_sensitivity": "sensitivity", "mean_sensitivity": "sensitivity", "grid_pointing": "grid",
}  # fmt: skip
USES = {
    "finding the object": ("grid_pointing", "pointing_game", "mass_accuracy", "rank_accuracy", "box_iou", "mask_iou"),
    "fine detail": ("deletion", "road"),
    "debugging a wrong prediction": ("insertion", "faithfulness_correlation", "mu_fidelity", "infidelity"),
}
TEXTS = {
    "scores_verdicts": ("Verdicts", "Does the map beat random pixels and an edge detector?"),
    "scores_which": (
        "Which map for what",
        "Of the maps that beat both controls in more than half of a use's measures, the one of the best mean rank.",
    ),
    "scores": (
        "Scores",
        "Means over the photos that the network gets right, with 95% bootstrap intervals. `Over random` and `over "
        "edges` are mean paired differences from the two controls, positive where the map is better; p is Wilcoxon's "
        "signed-rank test, Holm-corrected over methods. Which direction is better stands under Metrics.",
    ),
    "scores_duel": (
        "Saliency against Grad-CAM",
        "Paired by photo; the difference is positive where saliency is better; p is Wilcoxon's, Holm-corrected over "
        "measures.",
    ),
    "scores_metrics": (
        "Metrics",
        "What each measures. Self-test: on a linear network its true map must beat noise, a thousandth of noise must "
        "not matter and much of it must. W is Kendall's concordance: 1 where all photos rank the methods alike.",
    ),
    "scores_agreement": (
        "Metric against metric",
        "Spearman's correlation over methods, directions aligned, mean over photos: 1 where two metrics rank alike.",
    ),
    "scores_photos": ("Best and worst photo of each method", "By deletion, or the first measure of faithfulness."),
    "scores_wrong": ("Scores where the network is wrong", "The means over photos whose target does not come first."),
}  # fmt: skip


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of known metrics with a column `measure`: metric, form, and what replaces pixels where several do."""
    known = rows[(rows["study"] == "scores") & rows["metric"].isin(CARDS.keys())]
    kinds = known[known["implementation"] == ""].groupby("metric")["other"].nunique()
    several = known["metric"].map(kinds).fillna(0) > 1
    stage = known["stage"].where(known["stage"] != "probability", "")
    name = known["metric"].map(as_words) + stage.map(lambda s: f" ({s})" if s else "")
    return known.assign(measure=name + known["other"].where(several, "").map(lambda o: f", {o}" if o else ""))


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    named = _named(rows)
    tested, scored = named[named["implementation"] == "self-test"], named[named["implementation"] == ""]
    top = ok(rows[(rows["study"] == "predictions") & (rows["metric"] == "top1")])
    missed = top.loc[top["value"] != top["target"].astype(float), ["model", "image"]].drop_duplicates()
    wrong = scored[["model", "image"]].merge(missed, how="left", indicator="which")["which"].eq("both").to_numpy()
    main, lost = _scores(scored[~wrong], rows), _scores(scored[wrong], rows)
    metrics = _metrics(tested, scored)
    passed = {(line["model"], line["measure"]) for line in records(metrics) if line["self_test"] == "passes"}
    for table in (main, lost):
        if len(table):
            table["trusted"] = [pair in passed for pair in zip(table["model"], table["measure"], strict=True)]
    return {
        "scores_verdicts": _verdicts(main),
        "scores_which": _which(main, lost),
        "scores": main,
        "scores_duel": _duel(scored[~wrong], manifest),
        "scores_metrics": metrics,
        "scores_agreement": _agreement(scored[~wrong]),
        "scores_photos": _photos(scored),
        "scores_wrong": lost,
    }


def _sign(metric: str) -> int:
    return 1 if CARDS[metric].better == "higher" else -1


def _family(table: pd.DataFrame) -> "pd.Series[str]":
    return table["metric"].map(lambda metric: CARDS[metric].family)


def _by_card(table: pd.DataFrame) -> pd.DataFrame:
    """In the order of the metric cards; axioms, of which a method has one value everywhere, left out."""
    place = {metric: i for i, metric in enumerate(CARDS)}
    return table[_family(table) != "axiom"].sort_values("metric", key=lambda s: s.map(place), kind="stable")


def _scores(scored: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each network, measure and method."""
    lines: list[dict[str, Any]] = []
    failed = rows[rows["status"] == "failed"]
    unread = {model: unreadable(failed, model) for model in scored["model"].unique()}
    for (model, metric, measure), group in groups(scored, "model", "metric", "measure"):
        wide = ok(group).pivot(index="image", columns="method", values="value")
        asked = {metric, _GROUPS.get(metric, ""), *group["stage"], "map"}
        bad = failed[(failed["model"] == model) & failed["metric"].isin(asked)].groupby("method")["image"].agg(set)
        columns, absent = {name: wide[name].to_numpy(float) for name in wide}, np.full(len(wide), np.nan)
        block = []
        for method, mine in group.groupby("method"):
            values = wide[method].dropna() if method in wide else pd.Series(dtype=float)
            lost = bad.get(method, set()) | unread[model]
            line = {"model": model, "measure": measure, "metric": metric, "stage": mine["stage"].iloc[0]}
            line |= {"method": method, "control": bool(mine["control"].any()), "failed": len(lost)}
            line |= mean_with_interval("mean", values)
            for name, control in (("random", "control_noise"), ("edges", "control_edges")):
                both = np.stack([columns.get(method, absent), columns.get(control, absent)])
                pair = both[:, ~np.isnan(both).any(axis=0) & (method != control)]
                line |= _difference(f"over_{name}", pair[0], pair[1], _sign(metric))
                line[f"p_{name}"] = wilcoxon_p(pair[0], pair[1])
            block.append(line)
        for name in ("p_random", "p_edges"):
            tests = [line[name] if not line["control"] else np.nan for line in block]
            for line, p in zip(block, holm(tests), strict=True):
                line[name] = p
        ranks = pd.Series([-_sign(metric) * line["mean"] for line in block]).rank()
        lines += [line | {"rank": rank, "verdict": _verdict(line)} for line, rank in zip(block, ranks, strict=True)]
    return pd.DataFrame(lines)


def _difference(name: str, a: Any, b: Any, sign: int) -> dict[str, float]:
    """The mean paired difference, positive where `a` is better, with its interval."""
    difference = pd.Series(sign * a - sign * b)
    return with_ends(name, difference.mean(), bootstrap_interval(difference))


def _verdict(line: dict[str, Any]) -> str:
    if line["control"]:
        return "control"
    if line["n"] < LEAST or np.isnan(line["p_random"]) or np.isnan(line["p_edges"]):
        return FEW
    if not (line["over_random"] > 0 and line["p_random"] < 0.05):
        return RANDOM
    return BETTER if line["over_edges"] > 0 and line["p_edges"] < 0.05 else EDGES


def _deciding(main: pd.DataFrame) -> pd.DataFrame:
    """The lines that a verdict rests on: faithfulness and place, in their main form, their self-test passed."""
    decides = _family(main).isin(["faithfulness", "localisation"]) & ~main["stage"].isin(SIDE)
    return main[decides & main["trusted"] & ~main["control"]]


def _verdicts(main: pd.DataFrame) -> pd.DataFrame:
    if main.empty:
        return main
    lines: list[tuple[Any, ...]] = []
    for (model, method), group in groups(_deciding(main), "model", "method"):
        says = {word: list(group.loc[group["verdict"] == word, "measure"]) for word in (BETTER, RANDOM, EDGES)}
        total = sum(map(len, says.values()))
        if not total:
            lines.append((model, method, "overall", FEW, f"no measure has the {LEAST} photos that a test needs"))
            continue
        worst = RANDOM if 2 * len(says[RANDOM]) > total else EDGES if not says[BETTER] else MIXED
        word = BETTER if 2 * len(says[BETTER]) > total else worst
        parts = [f"{text} in {len(found)} of {total}: {', '.join(found)}" for text, found in says.items() if found]
        counts = group.loc[group["verdict"] != FEW, "n"]
        lines.append((model, method, "overall", word, f"{'; '.join(parts)}. {_span(counts)}"))
    for line in records(main[~main["control"]]):
        reason = f"mean {number(line['mean'])}, n = {line['n']}"
        for name in ("random", "edges"):
            reason += f", over {name} {number(line[f'over_{name}'])} (p {number(line[f'p_{name}'])})"
        lines.append((line["model"], line["method"], line["measure"], line["verdict"], reason))
    return pd.DataFrame(lines, columns=["model", "method", "measure", "verdict", "reason"])


def _span(n: "pd.Series[int]") -> str:
    return f"n = {n.min()}" if n.min() == n.max() else f"n = {n.min()} to {n.max()}"


def _which(main: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """For each use the map that its evidence is best for, or that there is none."""
    lines = []
    if main.empty:
        return main
    for model in dict.fromkeys(main["model"]):
        for use, metrics in USES.items():
            missed = lost[lost["model"] == model] if len(lost) else main[:0]
            enough = use == "debugging a wrong prediction" and len(missed) and missed["n"].max() >= LEAST
            all_of = _deciding(missed if enough else main[main["model"] == model])
            some = all_of[all_of["metric"].isin(metrics) & all_of["verdict"].isin([BETTER, RANDOM, EDGES])]
            line = {"model": model, "use": use, "map": "none can be trusted"}
            if some.empty:
                reason = "no measure of it passed its self-test on photos enough"
                lines.append(line | {"map": "not known", "evidence": reason})
                continue
            some = some.assign(place=some.groupby("measure")["rank"].rank(), won=some["verdict"] == BETTER)
            found = some.groupby("method", sort=False).agg(
                place=("place", "mean"), won=("won", "sum"), of=("won", "size")
            )
            good = found[2 * found["won"] > found["of"]].sort_values("place", kind="stable")
            names = ", ".join(dict.fromkeys(some["measure"]))
            where = "wrong" if enough else "right"
            counts = f"{_span(some['n'])}, where the network is {where}"
            if good.empty:
                evidence = f"no map beats random and edges in more than half of: {names} ({counts})"
                lines.append(line | {"evidence": evidence})
                continue
            best = good.iloc[0]
            evidence = (
                f"mean rank {number(best['place'])} of {len(found)}, better than random and edges in "
                f"{best['won']:.0f} of {best['of']:.0f}: {names} ({counts})"
            )
            rest = ", ".join(f"{name} {number(place)}" for name, place in good["place"].iloc[1:].items())
            evidence += f"; then {rest}" if rest else "; no other map beats both"
            lines.append(line | {"map": good.index[0], "evidence": evidence})
    return pd.DataFrame(lines)


def _duel(scored: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """Saliency against Grad-CAM over all measures, paired by photo."""
    by_name = {info["name"]: title for title, info in reversed(manifest.get("methods", {}).items())}
    a, b = by_name.get("saliency"), by_name.get("grad_cam")
    lines: list[dict[str, Any]] = []
    for (model, metric, measure, stage), group in groups(ok(scored), "model", "metric", "measure", "stage"):
        wide = group[group["method"].isin([a, b])].pivot(index="image", columns="method", values="value").dropna()
        if not {a, b} <= set(wide) or wide.empty or stage in SIDE:
            continue
        pair = wide[a].to_numpy(), wide[b].to_numpy()
        line = {"model": model, "measure": measure, "family": CARDS[metric].family, "n": len(wide)}
        means = {"saliency": pair[0].mean(), "grad_cam": pair[1].mean(), "p": wilcoxon_p(*pair)}
        lines.append(line | means | _difference("difference", *pair, _sign(metric)))
    table = pd.DataFrame(lines)
    if len(table):
        table["p"] = table.groupby("model")["p"].transform(holm)
        clear = table["p"] < 0.05
        table["better"] = np.where(~clear, "undecided", np.where(table["difference"] > 0, a, b))
    return table


def _metrics(tested: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (model, metric, measure), group in groups(scored, "model", "metric", "measure"):
        mine = tested[(tested["model"] == model) & (tested["metric"] == metric) & tested["stage"].isin(group["stage"])]
        mine = mine[mine["other"].isin({*group["other"], "mean"})].drop_duplicates("method")
        wide = ok(group[~group["control"]]).pivot(index="image", columns="method", values="value").dropna()
        card = CARDS[metric]
        line = {"model": model, "measure": measure, "family": card.family, "better": card.better, "range": card.span}
        judged = _self_test(mine, _sign(metric)) if card.family != "axiom" else "an axiom: not tested here"
        line |= {"self_test": judged, "rank_stability_w": kendall_w(wide.to_numpy()), "photos": len(wide)}
        lines.append(line | {"cost": card.cost, "says": card.says, "paper": card.paper})
    return pd.DataFrame(lines)


def _self_test(tested: pd.DataFrame, sign: int) -> str:
    """passes, or why the metric is not to be believed."""
    found = ok(tested).set_index("method")["value"]
    if not {"truth", "noise", "weak", "strong"} <= set(found.index):
        return "not run, or undefined on the linear network"
    truth, noise, weak, strong = (sign * found[name] for name in ("truth", "noise", "weak", "strong"))
    gap = truth - noise
    shown = f"truth {number(sign * truth)}, noise {number(sign * noise)}"
    if not gap > 1e-9:
        return f"fails: noise does as well as the truth ({shown})"
    if abs(truth - weak) > 0.2 * gap:
        return f"fails: a weak disturbance moves it ({shown}, weakly disturbed {number(sign * weak)})"
    if truth - strong < gap / 3:
        return f"fails: a strong disturbance hardly moves it ({shown}, strongly disturbed {number(sign * strong)})"
    return "passes"


def _agreement(scored: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of two measures over the methods of a photo, mean over photos; three methods at least."""
    lines = []
    kept = ok(scored)
    for model, group in groups(kept[~kept["stage"].isin(SIDE)], "model"):
        group = _by_card(group)
        order = list(dict.fromkeys(group["measure"]))
        group = group.assign(value=group["value"] * group["metric"].map(_sign))
        tables = []
        for _, photo in group.groupby("image"):
            wide = photo.pivot(index="method", columns="measure", values="value").dropna(axis=1)
            ranks = wide.loc[:, wide.nunique() > 1].rank()
            if len(ranks) >= 3 and ranks.shape[1] >= 2:
                table = pd.DataFrame(np.corrcoef(ranks.to_numpy().T), ranks.columns, ranks.columns)
                tables.append(table.reindex(index=order, columns=order).to_numpy())
        for i, j in combinations(range(len(order)), 2):
            values = pd.Series([table[i, j] for table in tables], dtype=float).dropna()
            if len(values):
                line = {"model": model, "measure": order[i], "with": order[j]}
                lines.append(line | mean_with_interval("spearman", values))
    return pd.DataFrame(lines)


def _photos(scored: pd.DataFrame) -> pd.DataFrame:
    lines = []
    held = ok(scored)
    for model, group in groups(held.loc[~held["stage"].isin(SIDE) & ~held["control"]], "model"):
        there = [m for m in CARDS if CARDS[m].family == "faithfulness" and (group["metric"] == m).any()]
        if not there:
            continue
        measure = group.loc[group["metric"] == there[0], "measure"].iloc[0]
        for method, one in group[group["measure"] == measure].groupby("method"):
            ordered = one.sort_values("value", ascending=_sign(there[0]) > 0)
            line = {"model": model, "method": method, "measure": measure}
            for end, place in (("best", -1), ("worst", 0)):
                line |= {end: ordered["image"].iloc[place], f"{end}_value": ordered["value"].iloc[place]}
            lines.append(line)
    return pd.DataFrame(lines)


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    main = tables.get("scores", pd.DataFrame())
    for model, everything in groups(main, "model"):
        table = everything[~everything["stage"].isin(SIDE)].dropna(subset=["mean"])
        text = (
            f"Methods by measures on {model}: mean, 95% interval and rank; darker is better, grey failed its self-test."
        )
        yield Plot(f"scores-{model}", text, partial(_heat, table))
        curves = ok(rows[(rows["model"] == model) & rows["metric"].str.endswith("_curve")])
        if len(curves):
            text = f"The target's probability on {model} as the pixels that a map calls important go, or come back."
            yield Plot(f"scores-curves-{model}", text, partial(_curves, curves))
        both = tables.get("scores_agreement", pd.DataFrame())
        both = both[both["model"] == model] if len(both) else both
        if len(both) > 1:
            text = f"Do the metrics agree on {model}? Rank correlation over methods, mean over photos."
            yield Plot(f"scores-agreement-{model}", text, partial(_pairs, both))
        passes = ok(rows[(rows["model"] == model) & (rows["metric"] == "passes")]).set_index("method")["value"]
        decided = _deciding(table)
        if len(passes) and len(decided):
            text = f"Cost beside quality on {model}: mean rank over the measures that decide, against passes an image."
            ranks = decided.assign(place=decided.groupby("measure")["rank"].rank()).groupby("method")["place"].mean()
            yield Plot(f"scores-cost-{model}", text, partial(_cost, passes, ranks))


def _heat(table: pd.DataFrame) -> Figure:
    from matplotlib import colormaps

    table = _by_card(table)
    controls = table.groupby("method", sort=False)["control"].any().sort_values(kind="stable")
    methods, measures = list(controls.index), list(dict.fromkeys(table["measure"]))
    panels = [measures[i : i + ACROSS] for i in range(0, len(measures), ACROSS)]
    across, height = min(ACROSS, len(measures)), (1.5 + 0.4 * len(methods)) * len(panels)
    figure, axes = canvas(height, len(panels), width=2 + 1.1 * across, squeeze=False)
    for ax, names in zip(axes[:, 0], panels, strict=True):
        methods_down(ax, methods, 24)
        ax.set_xlim(-0.5, across - 0.5)
        ticks = []
        for j, name in enumerate(names):
            column = table[table["measure"] == name].set_index("method")
            sign, trusted = _sign(column["metric"].iloc[0]), bool(column.get("trusted", pd.Series([False])).any())
            value = sign * column["mean"]
            shade = ((value - value.min()) / (value.max() - value.min())).fillna(0.5).reindex(methods)
            colours = colormaps["Blues" if trusted else "Greys"]
            ax.imshow(shade.to_numpy()[:, None], colours, extent=(j - 0.5, j + 0.5, len(methods) - 0.5, -0.5),
                      vmin=-0.1, vmax=2.0 if trusted else 3.0, aspect="auto")  # fmt: skip
            for method, line in column.iterrows():
                text = f"{number(line['mean'])}  #{line['rank']:g}"
                if pd.notna(line["mean_low"]):
                    text += f"\n[{number(line['mean_low'])}, {number(line['mean_high'])}]"
                ax.text(j, methods.index(str(method)), text, ha="center", va="center", fontsize=7.5, color=DARK)
            ticks.append(f"{label(name)} {'↑' if sign > 0 else '↓'}")
        ax.axhline(int((~controls).sum()) - 0.5, color=DARK, lw=1.2)
        ax.grid(False)
        ax.set_xticks(range(len(names)), ticks, rotation=20, ha="right", rotation_mode="anchor")
        ax.tick_params(length=0)
    return figure


def _curves(curves: pd.DataFrame) -> Figure:
    panels = sorted(dict.fromkeys(zip(curves["metric"], curves["other"], strict=True)))
    figure, axes = canvas(0.9 + 2.7 * len(panels), len(panels), squeeze=False)
    methods = list(curves.groupby("method", sort=False)["control"].any().sort_values(kind="stable").index)
    colours = {method: PALETTE[k % 10] for k, method in enumerate(methods)}
    for ax, (metric, other) in zip(axes[:, 0], panels, strict=True):
        panel = curves[(curves["metric"] == metric) & (curves["other"] == other)]
        for method, one in panel.groupby("method"):
            at = one.groupby("x")["value"]
            ends = np.array([bootstrap_interval(values.to_numpy(), resamples=1000) for _, values in at])
            dashed = "--" if one["control"].any() else "-"
            ax.fill_between(list(at.groups), ends[:, 0], ends[:, 1], color=colours[str(method)], alpha=0.1, lw=0)
            ax.plot(at.mean(), dashed, color=colours[str(method)], lw=1.6, label=label(str(method)))
        words = {"deletion_curve": "share deleted", "insertion_curve": "share inserted", "road_curve": "share imputed"}
        ax.set_xlabel(f"{words[metric]}, highest first" + (f" ({other})" if other else ""))
        ax.set_ylabel("probability of the target")
        ax.set_ylim(bottom=0)
        ax.grid(True, axis="both")
    handles, names = axes[0, 0].get_legend_handles_labels()
    kept = dict(zip(names, handles, strict=True))
    figure.legend([kept[label(m)] for m in methods], [label(m) for m in methods], loc="outside upper left", ncols=3)
    return figure


def _pairs(table: pd.DataFrame) -> Figure:
    values = square(table, "measure", "with", "spearman")
    side = 0.5 * len(values)
    figure, ax = canvas(side + 1.6, width=side + 2.4)
    draw_matrix(ax, values.to_numpy(), [label(name) for name in values.index], 7.5, vmin=-1, vmax=1, cmap="vlag")
    return figure


def _cost(passes: "pd.Series[float]", ranks: "pd.Series[float]") -> Figure:
    figure, ax = canvas(3.4)
    passes = passes.reindex(ranks.index)
    ax.scatter(passes, ranks, s=36, color=COLOURS["own"])
    for method, at in zip(ranks.index, zip(passes, ranks, strict=True), strict=True):
        ax.annotate(label(method, 24), at, (6, 4), textcoords="offset points", fontsize=9)
    ax.set_xscale("log")
    shown = sorted(set(passes.dropna()))
    ax.set_xticks(shown, [number(value) for value in shown])
    ax.minorticks_off()
    ax.margins(x=0.25, y=0.15)
    ax.invert_yaxis()
    ax.set_xlabel("passes an image, forwards and backwards")
    ax.set_ylabel("mean rank, best on top")
    return figure


def _pictures(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """A sheet a network: each method's best and worst photo with its map."""
    drawn: list[Picture] = []
    shards = list((run_dir / "rows" / "scores").glob("*"))
    for model, about in manifest.get("models", {}).items() if shards else ():
        path = run_dir / "plots" / f"scores-photos-{slug(model)}.png"
        if not newer(path, *shards, *(run_dir / "images" / about["folder"]).glob("[0-9]*.npz")):
            if (sheet := _sheet(run_dir, manifest, model)) is None:
                continue
            save_png(sheet, path)
        title = f"{model}: best and worst photo of each method"
        drawn.append((path, title, "A row a method: photo and map, twice."))
    return drawn


def _sheet(run_dir: Path, manifest: dict[str, Any], model: str) -> Image.Image | None:
    """None where no map of these photos was saved."""
    from suite.results import read

    rows = read(run_dir, ("scores",))
    lines, signed = _photos(_named(rows[rows["model"] == model])), signed_methods(manifest)
    folder, tile, left = run_dir / "images" / manifest["models"][model]["folder"], 150, 190
    files = enumerate(manifest.get("data", {}).get("files", []))
    saved = {file["id"]: path for i, file in files if (path := folder / f"{i:06d}.npz").is_file()}
    if lines.empty or not lines[["best", "worst"]].isin(saved.keys()).any(axis=None):
        return None
    sheet = Image.new("RGB", (left + 4 * (tile + 10) + 20, 40 + len(lines) * (tile + 34)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(records(lines)):
        method, top = line["method"], 40 + row * (tile + 34)
        write(draw, (12, top + tile / 2), method, 14, width=left - 20, bold=True)
        for k, end in enumerate(("best", "worst")):
            if line[end] not in saved:
                continue
            arrays = load(saved[line[end]])
            photo, values, x = fit_photo(arrays, tile), arrays.get(f"own|{method}"), left + 2 * k * (tile + 10)
            words = f"{end}: {line['measure']} {number(line[f'{end}_value'])}, {line[end]}"
            write(draw, (x, top - 17), words, 12, width=2 * tile)
            sheet.paste(photo, (x, top))
            if values is not None:
                shown = draw_map(values, photo, scale(values), signed.get(method, bool((values < 0).any())))
                sheet.paste(shown, (x + tile + 10, top))
    return sheet


SECTION = Section(
    study="scores",
    title="Are the maps faithful, stable, concentrated and well placed?",
    question="Is the map faithful?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_pictures,
    also=("predictions",),
    good=frozenset({BETTER}),
    bad=frozenset({RANDOM, EDGES}),
    sentences={
        BETTER: "beats random pixels and an edge detector in most measures that can be believed.",
        MIXED: "beats its controls in some measures, and not in most.",
        RANDOM: "is not better than random pixels.",
        EDGES: "is not better than an edge detector, which knows nothing of the network.",
        FEW: "cannot be judged from so few photos.",
    },
    headers={
        "metric": "metric", "mean": "mean [95%]", "over_random": "over random [95%]", "over_edges": "over edges [95%]",
        "p_random": "p (random)", "p_edges": "p (edges)", "self_test": "self-test", "rank_stability_w": "W",
        "spearman": "Spearman [95%]", "difference": "difference [95%]", "grad_cam": "Grad-CAM",
    },
)  # fmt: skip
