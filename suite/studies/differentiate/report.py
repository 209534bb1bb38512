"""The section on what to differentiate, and on the limits of a gradient. Pure; no torch, no files."""

from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from suite.report.figures import draw_curve, draw_strips, legend, log_scale
from suite.report.sections import Plot, Section, Tables, groups, mean_with_interval, median_with_quartiles, ok
from suite.report.style import COLOURS, INK, Axes, Figure, canvas
from suite.report.words import number

MIXES, VANISHES = 0.05, 0.1  # median share through other classes; norm of the most confident photo's over the score's
LIMIT = 0.1  # a median beyond it (of what is missed) is no rounding
_QUANTITIES = ("score", "log_probability", "probability", "cross_entropy")
_NAMES = {
    "log_probability": "log-probability",
    "probability": "probability",
    "sign_of_gradient": "along the gradient's sign",
    "random_signs": "along random signs",
    "input_x_gradient": "input × gradient",
    "integrated_gradients": "integrated gradients",
}
_MARKERS = {"log_probability": ("o", COLOURS["own"]), "probability": ("^", COLOURS["captum"])}
TEXTS = {
    "differentiate_verdicts": (
        "What to differentiate, and how far a gradient can be trusted",
        "A gradient that answers for its class passes through that class's score alone, and is not small because the "
        "network is sure. Then the three limits: linearity, saturation, interactions.",
    ),
    "differentiate": (
        "Four quantities",
        "Share of the gradient that comes through other classes' scores (0: the class alone), and its norm over the "
        "score's (1: as large). Means with their 95% interval (Student's t); the smallest norm is the most confident "
        "photo's.",
    ),
    "differentiate_pairs": (
        "How alike their maps are",
        "Spearman of two quantities' gradients, with sign and of magnitudes: 1 is the same order of pixels, −1 the "
        "reverse. Means with their 95% interval (Student's t).",
    ),
    "differentiate_linearity": (
        "How far the gradient predicts the score",
        "What g·d misses of f(x + d) − f(x), as a share of it: 0 is exact, 1 is no better than predicting no change. "
        "The radius is in grey levels (1/255), at every pixel. Medians, in brackets the middle half of the photos.",
    ),
    "differentiate_limits": (
        "Saturation and interactions",
        "Share of change: the sum of a map over f(x) − f(black), 1 where the map accounts for it; the toy is "
        "1 − ReLU(1 − x) at x = 2, flat there. Interaction: the part of what two touching squares do together that "
        "is not the sum of what each does alone, 0 where a sum of pixels can carry it. Medians, in brackets the "
        "middle half of the photos.",
    ),
}


def _values(rows: pd.DataFrame, metric: str, *keys: str) -> dict[Any, "pd.Series[float]"]:
    """Value by image for each group of one metric's rows."""
    values = ok(rows)
    values = values[values["metric"] == metric]
    return {key: part.set_index("image")["value"] for key, part in groups(values, *keys)}


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in TEXTS}
    for model, own in groups(rows, "model"):
        shares, norms = _values(own, "other_classes", "method"), _values(own, "relative_norm", "method")
        for name in _QUANTITIES:
            if name in shares:
                line = {"model": model, "method": name} | mean_with_interval("other_classes", shares[name])
                line |= mean_with_interval("relative_norm", norms[name]) | {"smallest_norm": norms[name].min()}
                lines["differentiate"].append(line)
        signed, sizes = (_values(own, name, "method", "other_quantity") for name in ("spearman", "spearman_magnitude"))
        for (a, b), values in signed.items():
            line = {"model": model, "method": a, "other_quantity": b} | mean_with_interval("spearman", values)
            lines["differentiate_pairs"].append(line | mean_with_interval("spearman_magnitude", sizes[a, b]))
        for (direction, radius), values in _values(own, "linear_error", "direction", "radius").items():
            line = {"model": model, "directions": _NAMES[direction], "radius": radius * 255, "n": len(values)}
            lines["differentiate_linearity"].append(line | median_with_quartiles("missed", values))
        for metric in ("share_of_change", "interaction"):
            for (method, example), values in _values(own, metric, "method", "example").items():
                line = {"model": model, "metric": metric, "method": method, "shown_on": example, "n": len(values)}
                lines["differentiate_limits"].append(line | median_with_quartiles("median", values))
        lines["differentiate_verdicts"] += _verdicts(str(model), own)
    return {name: pd.DataFrame(table) for name, table in lines.items()}


def _verdicts(model: str, rows: pd.DataFrame) -> Iterable[dict[str, str]]:
    def line(method: str, measure: str, verdict: str, reason: str) -> dict[str, str]:
        return {"model": model, "method": method, "measure": measure, "verdict": verdict, "reason": reason}

    shares, norms = _values(rows, "other_classes", "method"), _values(rows, "relative_norm", "method")
    alike, others = _values(rows, "spearman", "method", "other_quantity"), _values(rows, "other_probability", "metric")
    surest = str(others["other_probability"].idxmin()) if others else ""
    at = f"where p = {1 - others['other_probability'][surest]:.4f}" if others else ""
    for name in filter(shares.__contains__, _QUANTITIES):
        share, norm = shares[name].median(), norms[name].get(surest, np.nan)
        words = [word for word, true in (("mixes", share > MIXES), ("vanishes", norm < VANISHES)) if true]
        reason = f"{share:.0%} of it comes through other classes; {at} its norm is {number(norm)} of the score's"
        if ("score", name) in alike:
            reason += f"; Spearman with the score's map {alike['score', name].median():.2f} (medians over photos)"
        yield line(name, "what to differentiate", ", ".join(words) or "own class alone", reason)
    errors = _values(rows, "linear_error", "direction", "radius")
    if errors:
        missed = {key: values.median() for key, values in errors.items()}
        sentences = [
            f"{_NAMES[stage]} it misses "
            + ", ".join(f"{value:.0%} at {_level(x)}" for (s, x), value in missed.items() if s == stage)
            for stage in dict.fromkeys(stage for stage, _ in missed)
        ]
        beyond = min((x for (_, x), value in missed.items() if not value <= LIMIT), default=np.inf)
        radii = {x for _, x in missed}
        verdict = "linear" if beyond > max(radii) else "linear nearby" if beyond > min(radii) else "not linear"
        yield line("score", "linearity", verdict, f"{'; '.join(sentences)} grey levels (medians over photos)")
    parts = _values(rows, "share_of_change", "example", "method")
    if ("photo", "input_x_gradient") in parts:
        sentences = [f"{_NAMES[m]} {number(v.median())}" + " (toy)" * (s == "toy") for (s, m), v in parts.items()]
        saturates = abs(parts["photo", "input_x_gradient"].median() - 1) > LIMIT
        reason = f"share of f(x) − f(black) that the maps sum to, median photo: {', '.join(sentences)}"
        yield line("score", "saturation", "saturates" if saturates else "does not saturate", reason)
    for interaction in _values(rows, "interaction", "metric").values():
        middle = median_with_quartiles("i", interaction)
        reason = f"{middle['i']:.0%} [{middle['i_low']:.0%}, {middle['i_high']:.0%}] of what touching squares do "
        reason += "together is no sum of what each does alone"
        yield line("score", "interactions", "interacts" if middle["i"] > LIMIT else "nearly additive", reason)


def _level(radius: float) -> str:
    """A radius in grey levels, as a fraction where it is less than one."""
    level = Fraction(radius * 255).limit_denominator(1024)
    return str(level) if level < 1 else f"{float(level):.3g}"


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for model, table in groups(tables.get("differentiate_linearity", pd.DataFrame()), "model"):
        text = f"{model}: what the gradient misses of the score's change as the radius grows: median and middle half."
        yield Plot(f"differentiate-linearity-{model}", text, partial(_linearity, table))
    for model, of_model in groups(ok(rows), "model"):
        text = f"{model}: norm of each gradient over that of the score's, against confidence, a mark a photo."
        yield Plot(f"differentiate-vanishing-{model}", text, partial(_vanishing, of_model))
        text = f"{model}: what the gradient leaves out by saturation (left) and by interactions (right), a dot a photo."
        yield Plot(f"differentiate-limits-{model}", text, partial(_limits, of_model))


def _log_log(across: str, up: str) -> tuple[Figure, Axes]:
    figure, ax = canvas(3.6)
    log_scale(ax)
    log_scale(ax, "y")
    ax.set(xlabel=across, ylabel=up)
    ax.grid(axis="both")
    return figure, ax


def _linearity(table: pd.DataFrame) -> Figure:
    figure, ax = _log_log("radius in grey levels (1/255)", "share of the change missed")
    for (directions, part), (marker, colour) in zip(groups(table, "directions"), _MARKERS.values(), strict=False):
        part = part.sort_values("radius")
        ends = part["missed_low"], part["missed_high"]
        draw_curve(ax, part["radius"], part["missed"], ends, directions, color=colour, marker=marker)
    ax.axhline(1, color=INK, lw=1, ls=":", label="as wrong as predicting no change")
    radii = sorted(set(table["radius"]))
    ax.set_xticks(radii, [_level(radius / 255) for radius in radii])
    legend(figure, 3)
    return figure


def _vanishing(rows: pd.DataFrame) -> Figure:
    figure, ax = _log_log("confidence in the class", "norm of the gradient\nover the score's")
    norms, others = _values(rows, "relative_norm", "method"), _values(rows, "other_probability", "metric")
    for name, (marker, colour) in _MARKERS.items():
        points = pd.concat([others["other_probability"], norms[name]], axis=1, keys=["x", "y"]).query("x > 0 and y > 0")
        zeros = int((norms[name] == 0).sum())
        text = _NAMES[name] + ", cross entropy" * (name == "log_probability") + f" ({zeros} more at 0)" * (zeros > 0)
        ax.scatter(points["x"], points["y"], s=34, marker=marker, color=colour, alpha=0.8, lw=0, label=text)
    ax.axhline(1, color=INK, lw=1.4, label="score")
    ax.invert_xaxis()  # surer to the right
    nines = range(1, 1 + int(-np.log10(others["other_probability"].clip(lower=1e-12).min())))
    ax.set_xticks([1, 0.5, *(0.1**n for n in nines)], ["0", "0.5", *(f"{1 - 0.1**n:.{n}f}" for n in nines)])
    legend(figure, 3)
    return figure


def _limits(rows: pd.DataFrame) -> Figure:
    figure, (left, right) = canvas(2.3, 1, 2)
    parts = _values(rows, "share_of_change", "example", "method")
    names = [name for stage, name in parts if stage == "photo"]
    draw_strips(left, {_NAMES[name]: parts["photo", name] for name in names})
    for y, name in enumerate(names):
        toy = parts.get(("toy", name), ())
        left.scatter(toy, [y] * len(toy), marker="x", s=60, color=COLOURS["captum"], lw=2.2, zorder=3)
    left.set_xlabel("share of f(x) − f(black);\n1: all of it, ×: 1 − ReLU(1 − x)")
    draw_strips(right, dict(zip(["squares"], _values(rows, "interaction", "metric").values(), strict=False)))
    right.set_xlabel("share that no sum of pixels carries;\n0: additive")
    for ax, ideal in ((left, 1), (right, 0)):
        ax.axvline(ideal, color=INK, lw=1, ls=":")
    right.set_xlim(left=-0.02)
    return figure


SECTION = Section(
    study="differentiate",
    title="What should be differentiated, and how far does a gradient tell?",
    order=("method", "other_quantity"),
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    good=frozenset({"own class alone", "linear", "does not saturate", "nearly additive"}),
    sentences={
        "own class alone": "answers for its class alone: the one to differentiate (the coursework's B).",
        "mixes": "also answers for other classes.",
        "vanishes": "vanishes where the network is sure.",
        "mixes, vanishes": "also answers for other classes, and vanishes where the network is sure.",
        "linear nearby": "has a gradient that predicts it nearby, and not further away.",
        "not linear": "has a gradient that predicts it at no radius measured.",
        "saturates": "saturates: the gradient at the photo leaves out what happened on the way to it.",
        "interacts": "interacts: parts of the photo do together what no sum over pixels can say.",
    },
    headers={
        "other_quantity": "with",
        "other_classes": "through other classes",
        "relative_norm": "norm / score's norm",
        "smallest_norm": "smallest",
        "radius": "radius (1/255)",
        "missed": "missed share",
    },
)
