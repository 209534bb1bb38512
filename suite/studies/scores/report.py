"""The section on scores: methods by metrics beside controls, and which map for what. Pure but for pictures; no torch.

Scores of photos that the network gets wrong stand in a table of their own; all else is of the others.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.metrics import statistics
from suite.metrics.cards import Card, cards
from suite.report.figures import draw_curve, draw_matrix, legend, log_scale
from suite.report.pictures import Picture, load, newer, save_png, signed_methods, titles_of
from suite.report.sections import (
    Compared,
    Plot,
    Section,
    Tables,
    groups,
    mean_with_interval,
    ok,
    records,
    share_with_interval,
    square,
    unreadable,
    with_ends,
)  # fmt: skip
from suite.report.style import COLOURS, PALETTE, Figure, canvas, label, slug
from suite.report.tiles import Row, Tile, map_tile, sheet
from suite.report.words import number
from suite.studies.scores.values import (
    SIDE,
    Gathered,
    Scored,
    aligned,
    curve_means,
    gather,
    in_order,
    rank_correlations,
)

BETTER, MIXED, UNSHOWN, NO_BETTER, WORSE, FEW = (
    "better than controls", "mixed", "not shown to be better than controls", "no better by more than the margin",
    "worse than a control", "too few photos",
)  # fmt: skip
COUNTED = (BETTER, UNSHOWN, NO_BETTER, WORSE)  # the words of a measure that votes
CONTROL, SILENT, CEILING = "control", "decides nothing", "a control is at its ceiling"
ALPHA = 0.05
ACROSS = 8  # measures side by side in the heat table
DARK = "#1a1a1a"  # on coloured cells, whatever the page's colours
DEBUGGING, UNKNOWN = "debugging a wrong prediction", "not known"
USES = {
    "finding the object": ("grid_pointing", "pointing_game", "mass_accuracy", "rank_accuracy", "box_iou", "mask_iou"),
    "fine detail": ("deletion", "road"),
    DEBUGGING: ("insertion", "faithfulness_correlation", "mu_fidelity", "infidelity"),
}
TEXTS = {
    "scores_verdicts": (
        "Verdicts",
        "Does the map beat each control, which never sees the network? In one measure: better where the mean paired "
        "difference from every control is above 0 (sign-flip test, its largest p, Benjamini-Hochberg over the method's "
        "own measures, 5%); worse, or no better by more than the margin, where the difference from some control lies "
        "below 0, or below the margin, with its whole interval (Bonferroni over controls and measures); else not shown "
        "to be better. Overall: measures that share a property are a family with one vote, better where more than half "
        "of its measures are, and the method is better where more than half of the families are.",
    ),
    "scores_which": (
        "Which map for what",
        "Of the maps that are better than their controls by the measures of a use (the rule of the verdicts), the one "
        "of the best mean rank. Wrong predictions are judged on the photos that the network gets wrong.",
    ),
    "scores": (
        "Scores",
        "Means over the photos that the network gets right, with 95% intervals (Student's t; Wilson's of shares). "
        "`Over` is the mean paired difference from the control that is hardest to beat, positive where the map is "
        "better, with its 95% interval; p is of that difference, q the same corrected. `Smallest` is the difference "
        "that so many photos would have shown with 80% probability. Directions and margins stand under Metrics.",
    ),
    "scores_duel": (
        "Saliency against Grad-CAM",
        "Paired by photo; the difference is positive where saliency is better, with its 95% interval; p is of the same "
        "sign-flip test, Holm-corrected over measures.",
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


def _tables(gathered: Gathered, manifest: dict[str, Any]) -> Tables:
    metrics = _metrics(gathered.tested, gathered.measures)
    passed = {(line["model"], line["measure"]) for line in records(metrics) if line["self_test"] == "passes"}
    right, wrong = gathered.split()
    main, missed_main = (_scores(measures, gathered.failed, passed) for measures in (right, wrong))
    return {
        "scores_verdicts": _verdicts(main),
        "scores_which": _which(main, missed_main),
        "scores": main.drop(columns=_AUXILIARY, errors="ignore"),
        "scores_duel": _duel(right, manifest),
        "scores_metrics": metrics,
        "scores_agreement": _agreement(right),
        "scores_photos": _photos(gathered),
        "scores_wrong": missed_main.drop(columns=_AUXILIARY, errors="ignore"),
    }


def _by_card(table: pd.DataFrame) -> pd.DataFrame:
    """In the order of the registry; axioms, of which a method has one value everywhere, left out."""
    order = [name for name, card in cards().items() if card.family != "axiom"]
    table = table[table["metric"].isin(order)]
    return table.sort_values("metric", key=lambda names: names.map(order.index), kind="stable")


@dataclass(frozen=True)
class _Measure:
    """One measure on one network: what its methods and the controls that decide have on each photo."""

    scored: Scored
    values: dict[str, NDArray[np.float64]]  # method -> (photos,), NaN where there is no number
    controls: list[str]  # of the card's controls those that have numbers
    decides: bool  # of faithfulness or place, in its main form, with a self-test that passed, and with controls
    ceiling: str  # the control that leaves nothing to win, and its mean; else empty

    @property
    def card(self) -> Card:
        return cards()[self.scored.metric]

    @property
    def votes(self) -> bool:
        return self.decides and not self.ceiling


def _measure(scored: Scored, passed: set[tuple[str, str]]) -> _Measure:
    card, values = cards()[scored.metric], scored.values()
    means = {name: float(np.nanmean(values[name])) for name in card.controls if name in values}
    decides = card.family in ("faithfulness", "localisation") and scored.variant not in SIDE
    decides = decides and (scored.model, scored.name) in passed and bool(means)
    top = [f"{name} {number(mean)}" for name, mean in means.items() if abs(mean - card.optimum) <= card.margin]
    return _Measure(scored, values, list(means), decides, top[0] if top else "")


def _scores(measures: list[Scored], failed: pd.DataFrame, passed: set[tuple[str, str]]) -> pd.DataFrame:
    """A line for each network, measure and method."""
    lines: list[dict[str, Any]] = []
    unread = {model: unreadable(failed, model) for model in {scored.model for scored in measures}}
    tests = Counter[tuple[str, str]]()
    for item in (_measure(scored, passed) for scored in measures):
        tests.update((item.scored.model, method) for method in (item.values if item.votes else ()))
    for item in (_measure(scored, passed) for scored in measures):  # anew: all at once are as much as all rows
        model, metric, measure = item.scored.model, item.scored.metric, item.scored.name
        asked = item.card.asked if len(item.card.asked) == 1 else ()  # else the variant says which
        names = {metric, "map", *asked, *item.scored.variants}
        bad = failed[(failed["model"] == model) & failed["metric"].isin(names)].groupby("method")["image"].agg(set)
        block = []
        for method, cell in item.scored.methods.items():
            values = pd.Series(item.values.get(method, ()), dtype=float).dropna()
            share = item.card.span == "0 or 1" and values.isin([0, 1]).all()
            line: dict[str, Any] = {"model": model, "measure": measure, "metric": metric, "variant": cell.variant}
            line |= {"method": method, "control": cell.control, "failed": len(bad.get(method, set()) | unread[model])}
            line |= (share_with_interval if share else mean_with_interval)("mean", values)
            line |= {"trusted": (model, measure) in passed, "decides": item.decides, "ceiling": item.ceiling}
            line |= _against(item, method, tests[model, method]) if not cell.control else {}
            block.append(line)
        ranks = pd.Series([-item.card.sign * line["mean"] for line in block]).rank()
        lines += [line | {"rank": rank} for line, rank in zip(block, ranks, strict=True)]
    return _judged(pd.DataFrame(lines)) if lines else pd.DataFrame()


_AUXILIARY = ["decides", "against_of", "pairs", "votes", "tests", "needed", "least", "least_of"]


def _against(item: _Measure, method: str, tests: int) -> dict[str, Any]:
    """The differences from the control that is hardest to beat, and how much better than some control it can be."""
    results, most = dict[str, statistics.PairedTest](), dict[str, float]()
    for name in item.controls if method in item.values else ():
        both = np.stack([item.values[method], item.values[name]])
        both = both[:: item.card.sign, ~np.isnan(both).any(axis=0)]  # lower is better: the control's less its own
        results[name] = statistics.paired_test(*both)
        if item.votes:
            most[name] = statistics.paired_test(*both, alpha=ALPHA / tests / len(item.controls)).high
    if not results:
        return {"pairs": 0, "votes": item.votes, "tests": tests}
    p = {name: test.p if test.mean > 0 else 1.0 for name, test in results.items()}
    hardest = max(results, key=lambda name: (p[name], -results[name].mean))
    test = results[hardest]
    line = {"against": hardest, "against_of": len(results)} | with_ends("over", test.mean, (test.low, test.high))
    line |= {"p": p[hardest], "smallest": statistics.smallest_effect(test.sd, test.n, alpha=ALPHA / max(1, tests))}
    line |= {"pairs": min(test.n for test in results.values()), "votes": item.votes, "tests": tests}
    least = min(most, key=lambda name: (np.isnan(most[name]), most[name]), default="")
    return line | {"least": most.get(least, np.nan), "least_of": least}


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """The lines with q and their word; a method's words depend on its own lines and the controls' alone."""
    table = table.reindex(columns=list(dict.fromkeys([*table, "against", "p", "smallest", *_AUXILIARY])))
    needed = table["tests"].map(lambda tests: statistics.pairs_needed(int(tests)) if tests > 0 else 0)
    votes, margin = table["votes"].eq(True), table["metric"].map(lambda metric: cards()[metric].margin)
    few = table["pairs"] < needed
    counted = table["p"].where(votes & ~few)
    table["q"] = counted.groupby([table["model"], table["method"]]).transform(statistics.benjamini_hochberg)
    words = {
        CONTROL: table["control"], SILENT: ~table["decides"], CEILING: ~votes, FEW: few | table["p"].isna(),
        BETTER: table["q"] < ALPHA, WORSE: table["least"] < 0, NO_BETTER: table["least"] < margin,
    }  # fmt: skip
    table["verdict"] = np.select(list(words.values()), list(words), UNSHOWN)
    table["needed"] = needed.where(table["verdict"] == FEW)
    return table


def _family_of(line: dict[str, Any]) -> str:
    """Measures that share a property of the map have one vote together."""
    if line["variant"] in ("composites", "boxes"):
        return f"place in {line['variant']}"
    card = cards()[line["metric"]]
    return "removal" if card.takes == "outputs" else card.asked[0]


def _vote(lines: list[dict[str, Any]]) -> tuple[str, str, str]:
    """The word on one method by some of its lines, how many of them are better, and all else that there is to say."""
    counted = [line for line in lines if line["verdict"] in COUNTED]
    few, full = ([line for line in lines if line["verdict"] == word] for word in (FEW, CEILING))
    if not counted:
        return (FEW, _few(few), "") if few else (UNSHOWN, "in each measure a control is at its ceiling", "")
    families: dict[str, list[bool]] = {}
    for line in counted:
        families.setdefault(_family_of(line), []).append(line["verdict"] == BETTER)
    won = [2 * sum(better) > len(better) for better in families.values()]
    words = {line["verdict"] for line in counted}
    none = UNSHOWN if words & {BETTER, UNSHOWN} else NO_BETTER if NO_BETTER in words else WORSE
    word = BETTER if 2 * sum(won) > len(won) else MIXED if any(won) else none
    total = f"better in {sum(won)} of {len(won)} families, "
    total += f"{sum(line['verdict'] == BETTER for line in counted)} of {len(counted)} measures"
    parts = [", ".join(f"{name} {sum(better)} of {len(better)}" for name, better in families.items())]
    for verdict, brief in ((UNSHOWN, "not shown"), (NO_BETTER, "no better"), (WORSE, "worse")):
        names = [line["measure"] for line in counted if line["verdict"] == verdict]
        parts += [f"{brief}: {', '.join(names)}"] if names else []
    tops = [f"{line['measure']} ({line['ceiling']})" for line in full]
    parts += [f"left out, a control is at its ceiling: {', '.join(tops)}"] if tops else []
    parts += [_few(few)] if few else []
    least, most = (of(line["pairs"] for line in counted) for of in (min, max))
    parts += [f"n = {least:.0f}" + (f" to {most:.0f}" if most > least else "")]
    return word, total, "; ".join(parts)


def _few(lines: list[dict[str, Any]]) -> str:
    names = ", ".join(f"{line['measure']} ({line['pairs']:.0f})" for line in lines)
    return f"too few photos, {lines[0]['needed']:.0f} would do for {lines[0]['tests']:.0f} tests: {names}"


def _why(line: dict[str, Any]) -> str:
    if line["verdict"] == FEW:
        return _few([line])
    if line["verdict"] == CEILING:
        return f"{line['ceiling']} of {cards()[line['metric']].optimum:g}: nothing to win"
    reason = f"mean {number(line['mean'])}; over {line['against']}, the hardest of {line['against_of']:.0f} controls, "
    reason += f"{number(line['over'])} [{number(line['over_low'])}, {number(line['over_high'])}], "
    reason += f"p {number(line['p'])}, corrected {number(line['q'])}; n = {line['pairs']:.0f}"
    if line["verdict"] == UNSHOWN:
        reason += f", which shows a difference of {number(line['smallest'])} with 80% probability"
    if line["verdict"] in (WORSE, NO_BETTER):
        margin = f", margin {cards()[line['metric']].margin:g}" if line["verdict"] == NO_BETTER else ""
        reason += f"; over {line['least_of']} at most {number(line['least'])}{margin}"
    return reason


def _verdicts(main: pd.DataFrame) -> pd.DataFrame:
    if main.empty:
        return main
    decides = main[main["decides"] & ~main["control"]]
    lines = []
    for (model, method), group in groups(decides, "model", "method"):
        word, total, rest = _vote(records(group))
        lines.append((model, method, "overall", word, f"{total} ({rest})" if rest else total))
    for line in records(decides):
        lines.append((line["model"], line["method"], line["measure"], line["verdict"], _why(line)))
    return pd.DataFrame(lines, columns=["model", "method", "measure", "verdict", "reason"])


def _which(main: pd.DataFrame, wrong: pd.DataFrame) -> pd.DataFrame:
    """For each use the map that its evidence is best for, or that there is none."""
    lines = []
    for model in dict.fromkeys(main["model"]) if len(main) else ():
        for use, metrics in USES.items():
            network, table = ("wrong", wrong) if use == DEBUGGING else ("right", main)
            table = table if len(table) else main[:0]
            table = table[(table["model"] == model) & table["metric"].isin(metrics)]
            table = table[table["decides"] & ~table["control"]]
            answer = _answer(table) if len(table) else (UNKNOWN, "no such photo, or no measure passed its self-test")
            lines.append({"model": model, "use": use, "map": answer[0], "evidence": answer[1], "network": network})
    return pd.DataFrame(lines)


def _mean_ranks(table: pd.DataFrame) -> "pd.Series[float]":
    """By method, over the measures that counted, among the methods alone."""
    counted = table[table["verdict"].isin(COUNTED)]
    return counted.groupby("measure")["rank"].rank().groupby(counted["method"]).mean()


def _answer(table: pd.DataFrame) -> tuple[str, str]:
    """The best of the methods that are better than their controls, and why; or why there is none."""
    votes = {str(method): _vote(records(group)) for method, group in groups(table, "method")}
    ranks = _mean_ranks(table)
    good = ranks[[method for method in ranks.index if votes[method][0] == BETTER]].sort_values(kind="stable")
    if len(good):
        best = str(good.index[0])
        rest = ", ".join(f"{name} {number(rank)}" for name, rank in good.iloc[1:].items())
        others = f"then {rest}" if rest else "no other map is better than its controls"
        return best, f"mean rank {number(good.iloc[0])} of {len(ranks)}; {votes[best][1]}, {votes[best][2]}; {others}"
    words = {word for word, *_ in votes.values()}
    if words == {FEW}:
        few = table[table["verdict"] == FEW]
        return f"{FEW} ({few['pairs'].max():.0f}; {few['needed'].max():.0f} would do)", next(iter(votes.values()))[1]
    answer = "none can be trusted" if words <= {NO_BETTER, WORSE} else "none is shown to be better than its controls"
    return answer, "; ".join(f"{method} {total}" for method, (_, total, _) in votes.items())


def _duel(measures: list[Scored], manifest: dict[str, Any]) -> pd.DataFrame:
    """Saliency against Grad-CAM over all measures, paired by photo."""
    by_name = {info["name"]: title for title, info in reversed(manifest.get("methods", {}).items())}
    a, b = by_name.get("saliency", ""), by_name.get("grad_cam", "")
    lines: list[dict[str, Any]] = []
    for scored in in_order(measures, ok=True):
        columns, card = scored.columns(), cards()[scored.metric]
        if not {a, b} <= columns.keys() or scored.variant in SIDE:
            continue
        pair = np.stack([columns[a], columns[b]])
        pair = pair[:, ~np.isnan(pair).any(0)]
        if not pair.size:
            continue
        test = statistics.paired_test(*pair[:: card.sign])
        line: dict[str, Any] = {
            "model": scored.model,
            "measure": scored.name,
            "family": card.family,
            "n": pair.shape[1],
        }
        line |= {"saliency": pair[0].mean(), "grad_cam": pair[1].mean(), "p": test.p}
        lines.append(line | with_ends("difference", test.mean, (test.low, test.high)))
    table = pd.DataFrame(lines)
    if len(table):
        by_model = table.groupby("model")["p"]
        few = table["n"] < by_model.transform("size").map(statistics.pairs_needed)
        table["p"] = by_model.transform(statistics.holm)
        sides = [few, table["p"] >= ALPHA, table["difference"] > 0]
        table["better"] = np.select(sides, [FEW, "undecided", str(a)], str(b))
    return table


def _metrics(tested: pd.DataFrame, measures: list[Scored]) -> pd.DataFrame:
    lines = []
    for scored in measures:
        own = tested[
            (tested["model"] == scored.model)
            & (tested["metric"] == scored.metric)
            & tested["variant"].isin(scored.variants)
            & tested["baseline"].isin({*scored.baselines, "mean"})
        ].drop_duplicates("method")
        table = np.stack([*scored.without_controls().values().values()] or [np.empty(0)], axis=1)
        table = table[~np.isnan(table).any(1)]
        card = cards()[scored.metric]
        line: dict[str, Any] = {"model": scored.model, "measure": scored.name, "family": card.family}
        line |= {"better": card.better, "range": card.span, "margin": card.margin}
        line["self_test"] = _self_test(own, card.sign) if card.family != "axiom" else "an axiom: not tested here"
        line |= {"rank_stability_w": statistics.kendall_w(table), "photos": len(table)}
        lines.append(line | {"cost": card.cost, "says": card.says, "paper": card.paper})
    return pd.DataFrame(lines)


def _self_test(tested: pd.DataFrame, sign: int) -> str:
    """passes, or why the metric is not to be believed."""
    values = ok(tested).set_index("method")["value"]
    if not {"truth", "noise", "weak", "strong"} <= set(values.index):
        return "not run, or undefined on the linear network"
    truth, noise, weak, strong = (sign * values[name] for name in ("truth", "noise", "weak", "strong"))
    gap = truth - noise
    shown = f"truth {number(sign * truth)}, noise {number(sign * noise)}"
    if not gap > 1e-9:
        return f"fails: noise does as well as the truth ({shown})"
    if abs(truth - weak) > 0.2 * gap:
        return f"fails: a weak disturbance moves it ({shown}, weakly disturbed {number(sign * weak)})"
    if truth - strong < gap / 3:
        return f"fails: a strong disturbance hardly moves it ({shown}, strongly disturbed {number(sign * strong)})"
    return "passes"


def _agreement(measures: list[Scored]) -> pd.DataFrame:
    """Spearman's correlation of two measures over the methods of a photo, mean over photos; three methods at least."""
    order = [name for name, card in cards().items() if card.family != "axiom"]
    some = [m for m in in_order(measures, ok=True) if m.variant not in SIDE and m.metric in order]
    by_model: dict[str, list[Scored]] = {}
    for scored in sorted(some, key=lambda m: order.index(m.metric)):
        by_model.setdefault(scored.model, []).append(scored)
    lines = []
    for model, own in by_model.items():
        correlations = rank_correlations(aligned(own))
        for (i, first), (j, second) in combinations(enumerate(own), 2):
            values = correlations[i, j]
            if len(values := values[~np.isnan(values)]):
                line = {"model": model, "measure": first.name, "with": second.name}
                lines.append(line | mean_with_interval("spearman", pd.Series(values)))
    return pd.DataFrame(lines)


def _photos(gathered: Gathered) -> pd.DataFrame:
    """The best and the worst photo of each method, by the first measure of faithfulness."""
    alone = [m.without_controls() for m in gathered.measures if m.variant not in SIDE]
    by_model: dict[str, list[Scored]] = {}
    for scored in in_order(alone, ok=True):
        by_model.setdefault(scored.model, []).append(scored)
    faithful = [name for name, card in cards().items() if card.family == "faithfulness"]
    lines = []
    for network, own in by_model.items():
        judges = sorted((m for m in own if m.metric in faithful), key=lambda m: faithful.index(m.metric))
        for method, values in judges[0].columns().items() if judges else ():
            ordered = pd.Series(values, gathered.images).dropna()
            ordered = ordered.sort_values(ascending=cards()[judges[0].metric].better == "higher")
            line: dict[str, Any] = {"model": network, "method": method, "measure": judges[0].name}
            for end, at in (("best", -1), ("worst", 0)):
                line |= {end: ordered.index[at], f"{end}_value": ordered.iloc[at]}
            lines.append(line)
    return pd.DataFrame(lines)


def _plots(curves: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    main = tables.get("scores", pd.DataFrame())
    for model, everything in groups(main, "model"):
        table = everything[~everything["variant"].isin(SIDE)].dropna(subset=["mean"])
        if len(compared := _by_card(table)):
            text = f"Methods by measures on {model}: mean, 95% interval and rank; darker is better, grey failed its "
            yield Plot(f"scores-{model}", f"{text}self-test.", partial(_heat, compared))
        own = curves[curves["model"] == model]
        if (of_curve := own["metric"].str.endswith("_curve")).any():
            text = f"The target's probability on {model} as the pixels that a map calls important go, or come back."
            yield Plot(f"scores-curves-{model}", text, partial(_curves, own[of_curve]))
        both = tables.get("scores_agreement", pd.DataFrame())
        both = both[both["model"] == model] if len(both) else both
        if len(both) > 1:
            text = f"Do the metrics agree on {model}? Rank correlation over methods, mean over photos."
            yield Plot(f"scores-agreement-{model}", text, partial(_pairs, both))
        passes = own[own["metric"] == "passes"].set_index("method")["mean"]
        ranks = _mean_ranks(table)
        if len(passes) and len(ranks):
            text = f"Cost beside quality on {model}: mean rank over the measures that decide, against passes an image."
            yield Plot(f"scores-cost-{model}", text, partial(_cost, passes, ranks))


def _heat(table: pd.DataFrame) -> Figure:
    import seaborn as sns

    table = _by_card(table)
    controls = table.groupby("method", sort=False)["control"].any().sort_values(kind="stable")
    measures = list(dict.fromkeys(table["measure"]))
    panels = [measures[i : i + ACROSS] for i in range(0, len(measures), ACROSS)]
    across, height = min(ACROSS, len(measures)), (1.5 + 0.4 * len(controls)) * len(panels)
    figure, axes = canvas(height, len(panels), width=2 + 1.1 * across, squeeze=False)
    signs = table.drop_duplicates("measure").set_index("measure")["metric"].map(lambda metric: cards()[metric].sign)
    for ax, names in zip(axes[:, 0], panels, strict=True):
        part = table[table["measure"].isin(names)]
        methods = [method for method in controls.index if method in set(part["method"])]
        cells = part.assign(text=[_cell(line) for line in records(part)]).pivot(index="method", columns="measure")
        cells = cells.reindex(index=methods)
        value = cells["mean"][names] * signs[names]
        shade = (value - value.min()) / (value.max() - value.min())
        shade = shade.mask(value.notna(), shade.fillna(0.5))  # a measure of which all values are equal
        trusted = part.groupby("measure")["trusted"].any().astype(bool)[names]
        for colours, top, which in (("Blues", 2.0, trusted), ("Greys", 3.0, ~trusted)):
            sns.heatmap(
                shade.where(np.tile(which, (len(methods), 1))), annot=cells["text"][names], fmt="", cmap=colours,
                vmin=-0.1, vmax=top, cbar=False, annot_kws={"fontsize": 7.5, "color": DARK}, ax=ax,
            )  # fmt: skip
        ax.set(xlim=(0, across), xlabel="", ylabel="")
        ax.axhline(sum(not controls[method] for method in methods), color=DARK, lw=1.2)
        ax.grid(False)
        ticks = [f"{label(name)} {'↑' if signs[name] > 0 else '↓'}" for name in names]
        ax.set_xticks(np.arange(len(names)) + 0.5, ticks, rotation=20, ha="right", rotation_mode="anchor")
        ax.set_yticks(np.arange(len(methods)) + 0.5, [label(method, 24) for method in methods], rotation=0)
        ax.tick_params(length=0)
    return figure


def _cell(line: dict[str, Any]) -> str:
    text = f"{number(line['mean'])}  #{line['rank']:g}"
    if pd.notna(line["mean_low"]):
        text += f"\n[{number(line['mean_low'])}, {number(line['mean_high'])}]"
    return text


def _curves(curves: pd.DataFrame) -> Figure:
    panels = list(groups(curves.sort_values(["metric", "baseline"], kind="stable"), "metric", "baseline"))
    figure, axes = canvas(0.9 + 2.7 * len(panels), len(panels), squeeze=False)
    controls = curves.groupby("method", sort=False)["control"].any().sort_values(kind="stable")
    words = {"deletion_curve": "share deleted", "insertion_curve": "share inserted", "road_curve": "share imputed"}
    for ax, ((metric, baseline), panel) in zip(axes[:, 0], panels, strict=True):
        for k, (method, control) in enumerate(controls.items()):
            at = panel[panel["method"] == method]
            ends = np.reshape([*map(statistics.interval_of_mean, at["mean"], at["sd"], at["n"])], (-1, 2))
            look = {"color": PALETTE[k % 10], "ls": "--" if control else "-", "lw": 1.6}
            draw_curve(ax, list(at["share"]), at["mean"], (ends[:, 0], ends[:, 1]), label(str(method)), **look)
        ax.set_xlabel(f"{words[metric]}, highest first" + (f" ({baseline})" if baseline else ""))
        ax.set_ylabel("probability of the target")
        ax.set_ylim(bottom=0)
        ax.grid(True, axis="both")
    legend(figure, 3, axes[0, 0])
    return figure


def _pairs(table: pd.DataFrame) -> Figure:
    values = square(table, "measure", "with", "spearman")
    return draw_matrix(values, 0.5, 7.5, vmin=-1, vmax=1, cmap="vlag")[0]


def _cost(passes: "pd.Series[float]", ranks: "pd.Series[float]") -> Figure:
    figure, ax = canvas(3.4)
    passes = passes.reindex(ranks.index)
    ax.scatter(passes, ranks, s=36, color=COLOURS["own"])
    for method, at in zip(ranks.index, zip(passes, ranks, strict=True), strict=True):
        ax.annotate(label(method, 24), at, (6, 4), textcoords="offset points", fontsize=9)
    log_scale(ax)
    shown = sorted(set(passes.dropna()))
    ax.set_xticks(shown, map(number, shown))
    ax.margins(x=0.25, y=0.15)
    ax.invert_yaxis()
    ax.set_xlabel("passes an image, forwards and backwards")
    ax.set_ylabel("mean rank, best on top")
    return figure


def _pictures(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """A sheet a network: each method's best and worst photo with its map."""
    from suite.results import scan

    pictures: list[Picture] = []
    photos = cache(lambda: _photos(gather(scan(run_dir, ("scores",)))))
    shards = list((run_dir / "rows" / "scores").glob("*"))
    for folder, model in titles_of(manifest).items() if shards else ():
        path, maps = run_dir / "plots" / f"scores-photos-{slug(model)}.png", run_dir / "images" / folder
        if not newer(path, *shards, *maps.glob("[0-9]*.npz")):
            if not (rows := _best_and_worst(photos(), maps, manifest, model)):
                continue  # no map of these photos was saved
            save_png(sheet(rows, side=150), path)
        title = f"{model}: best and worst photo of each method"
        pictures.append((path, title, "A row a method: photo and map, twice."))
    return pictures


def _best_and_worst(photos: pd.DataFrame, maps: Path, manifest: dict[str, Any], model: str) -> list[Row]:
    signed = signed_methods(manifest)
    files = enumerate(manifest.get("data", {}).get("files", []))
    saved = {file["id"]: path for i, file in files if (path := maps / f"{i:06d}.npz").is_file()}
    lines: list[Row] = []
    for line in records(photos[photos["model"] == model] if len(photos) else photos):
        tiles: list[Tile | None] = []
        for end in ("best", "worst"):
            arrays = load(saved[line[end]]) if line[end] in saved else {}
            words = f"{line['measure']} {number(line[f'{end}_value'])}, {line[end]}"
            values, method = arrays.get(f"own|{line['method']}"), line["method"]
            tiles.append(Tile(end, arrays["photo"], below=words) if arrays else None)
            tiles.append(None if values is None else map_tile("", values, signed.get(method)))
        lines += [(method, tiles)] if any(tiles) else []
    return lines


SECTION = Section(
    study="scores",
    title="Are the maps faithful, stable, concentrated and well placed?",
    order=("variant", "method"),
    question="Is the map faithful?",
    texts=TEXTS,
    gather=gather,
    tables=_tables,
    plot_rows=curve_means,
    plots=_plots,
    draw=_pictures,
    also=("predictions",),
    compared=Compared(
        higher=frozenset(metric for metric, card in cards().items() if card.better == "higher"),
        lower=frozenset(metric for metric, card in cards().items() if card.better == "lower"),
        without={"role": "self-test"},
    ),
    good=frozenset({BETTER}),
    bad=frozenset({NO_BETTER, WORSE}),
    sentences={
        BETTER: "beats every control in most families of measures that can be believed.",
        MIXED: "beats every control in some families of measures, and not in most.",
        UNSHOWN: "is not shown to be better than maps that know nothing of the network.",
        NO_BETTER: "is no better than some control, to the margin, in each measure.",
        WORSE: "is worse than some control in each measure.",
        FEW: "cannot be judged from so few photos.",
    },
    headers={
        "metric": "metric", "mean": "mean [95%]", "over": "over [95%]", "against": "hardest control",
        "self_test": "self-test", "rank_stability_w": "W",
        "spearman": "Spearman [95%]", "difference": "difference [95%]", "grad_cam": "Grad-CAM",
    },
)  # fmt: skip
