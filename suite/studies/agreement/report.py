"""The section on agreement: rows to one verdict a method, how far the maps are apart. Pure; no torch, no files."""

from collections.abc import Iterable, Set
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from suite.report.figures import draw_strips, log_scale
from suite.report.sections import Compared, Plot, Section, Tables, by_metric, groups, ok, summarise, unreadable
from suite.report.style import GRID, Figure, canvas

# What a row of agreement promises: the first to the bit, the second up to a stated tolerance.
PROMISES = ("bit_equal", "within_tolerance")
OTHER_FORMAT = "contiguous"  # rows of a channels_last run, beside the maps of the usual memory format
COLUMNS = ("model", "method", "measure", "verdict", "reason")
TEXTS = {
    "agreement_verdicts": ("Verdicts", "Is the handwritten method the same as the reference?"),
    "agreement": (
        "Agreement",
        "The handwritten map against the reference's, pixel by pixel. A difference of 0 is equality. Relative L2 is "
        "the length of the difference over that of the reference's map: smaller is nearer. Spearman is 1 when both put "
        "the pixels in the same order.",
    ),
    "agreement_memory_format": (
        "channels_last against the usual memory format",
        "The run used `memory_format: channels_last`, which is faster and rounds in another order. Relative L2 to the "
        "maps of the usual format: where rounding flips a rectifier, single photos stand out, and the worst is named.",
    ),
}


class Verdict(NamedTuple):
    """`verdict` is equal, within tolerance, differs, not applicable or failed (nothing could be compared)."""

    measure: str
    verdict: str
    reason: str


def agreement_verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """One line of `COLUMNS` for each model and method of the study agreement, in the order of the rows."""
    agreement = rows[rows["study"] == "agreement"]
    lines = [
        (model, method, *judge(group, unreadable(rows, str(model))))
        for (model, method), group in agreement.groupby(["model", "method"], sort=True)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def memory_format(rows: pd.DataFrame) -> pd.DataFrame:
    """How far maps in channels_last are from those in the usual format; empty where the run used the latter."""

    def line(group: pd.DataFrame) -> dict[str, Any]:
        values, worst = group["value"], group.iloc[int(group["value"].argmax())]
        numbers = {"n": len(group), "median": values.median(), "largest": worst["value"], "worst_photo": worst["image"]}
        return numbers | {"above_1e-5": int((values > 1e-5).sum())}

    return summarise(ok(rows[rows["implementation"] == OTHER_FORMAT]), ["model", "method"], line)


def judge(group: pd.DataFrame, unread: Set[str] = frozenset()) -> Verdict:
    """The verdict on the agreement rows of one method, all of one model.

    A bit_equal row beside a difference above 0 counts as differing: one of the two is wrong.

    Args:
        group: Rows of the study agreement.
        unread: photos that could not be read and so have no row here; they count as failed.
    """
    promises = group[group["metric"].isin(PROMISES)]
    compared = promises[promises["status"] == "ok"]
    others = (promises if len(promises) else group).query("status != 'ok'")
    measure = " and ".join(name for name in PROMISES if name in set(promises["metric"])) or PROMISES[0]
    images = {status: set(others.loc[others["status"] == status, "image"]) - {""} for status in set(others["status"])}
    failed = images.pop("failed", set()) | unread
    total = len(set(compared["image"]).union(failed, *images.values()))
    unavailable = f"; {len(failed)} failed" if failed else ""
    for status, names in images.items():
        messages = others.loc[others["status"] == status, "message"]
        unavailable += f"; {len(names) or 'all'} {status.replace('_', ' ')}: {messages.iloc[0]}"
    if compared.empty:
        if set(others["status"]) == {"not_applicable"}:
            return Verdict(measure, "not applicable", str(others["message"].iloc[0]))
        message = others["message"].iloc[0] if len(others) else "no photo was compared"
        return Verdict(measure, "failed", f"0 of {_photos(total)}{unavailable or '; ' + message}")

    size = group[(group["metric"] == "max_abs_difference") & (group["status"] == "ok")]
    compared = compared.merge(
        size[["image", "layer", "value", "message"]], on=["image", "layer"], how="left", suffixes=("", "_size")
    )
    bit = compared["metric"] == "bit_equal"
    differs = (compared["value"] != 1) | (bit & (compared["value_size"] > 0))
    lines = compared[differs] if differs.any() else compared
    # NaN sorts first: a difference that is no number is worse than any that is one.
    worst = lines.sort_values("value_size", ascending=False, na_position="first").iloc[0]
    has_size, text = pd.notna(worst["value_size"]), worst["message"] or worst["message_size"]
    why = f": {text}" if text and pd.notna(text) else ""
    count = f"{lines['image'].nunique()} of {_photos(total)}"
    if differs.any():
        size_words = f" by {worst['value_size']:.3g} at most" if has_size else ""
        return Verdict(measure, "differs", f"{count} differ, worst {worst['image']}{size_words}{why}{unavailable}")
    if bit.all():
        return Verdict(measure, "equal", f"{count} equal to the last bit{unavailable}")
    size_words = f", largest difference {worst['value_size']:.3g} ({worst['image']})" if has_size else ""
    return Verdict(measure, "within tolerance", f"{count} within tolerance{size_words}{why}{unavailable}")


def _photos(n: int) -> str:
    return f"{n} photo" if n == 1 else f"{n} photos"


def agreement(rows: pd.DataFrame) -> pd.DataFrame:
    """How far the handwritten maps are from the reference's: a line for each model, method and layer."""
    study = rows[rows["study"] == "agreement"].copy()
    if study.empty:
        return pd.DataFrame()
    # A row that failed before the layer was known belongs to the only layer that its method has.
    for _, part in study.groupby(["model", "method"]):
        layers = set(part["layer"]) - {""}
        if len(layers) == 1:
            study.loc[part.index[(part["layer"] == "") & (part["status"] != "ok")], "layer"] = layers.pop()

    def line(group: pd.DataFrame) -> dict[str, Any]:
        values = by_metric(ok(group))
        nothing = pd.Series(dtype=float)
        numbers: dict[str, Any] = {"n": sum(len(values.get(name, nothing)) for name in PROMISES)}
        numbers |= {f"{name}_n": (values[name] == 1).sum() if name in values else None for name in PROMISES}
        numbers["max_abs_difference"] = values.get("max_abs_difference", nothing).max()
        numbers |= {name: values.get(name, nothing).median() for name in ("relative_l2", "spearman")}
        return numbers | {"verdict": judge(group, unreadable(rows, group["model"].iloc[0])).verdict}

    study = study.sort_values(["model", "method", "layer"], kind="stable")
    table = summarise(study, ["model", "method", "layer"], line)
    return table.astype({f"{name}_n": "Int64" for name in PROMISES})


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    own = rows[rows["implementation"] != OTHER_FORMAT]
    return {
        "agreement_verdicts": agreement_verdicts(own),
        "agreement": agreement(own),
        "agreement_memory_format": memory_format(rows),
    }


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    own = ok(rows[rows["implementation"] != OTHER_FORMAT])
    for model, table in groups(tables.get("agreement_verdicts", pd.DataFrame()), "model"):
        text = f"How far own and Captum's maps differ on {model}, a dot a photo; dots in the band are exactly equal."
        yield Plot(f"difference-{model}", text, partial(_difference, own[own["model"] == model], list(table["method"])))


def _difference(rows: pd.DataFrame, methods: list[str]) -> Figure:
    """A dot a photo on a log axis; exact zeros stand in a labelled band at the left, with their count."""
    figure, axes = canvas(1.5 + 0.42 * len(methods), 1, 2, sharey=True)
    units = {
        "max_abs_difference": "max |own − Captum|\n(score per pixel unit)",
        "relative_l2": "‖own − Captum‖ / ‖Captum‖\n(no unit)",
    }
    for ax, (metric, unit) in zip(axes, units.items(), strict=True):
        part = rows[rows["metric"] == metric]
        values = {method: part.loc[part["method"] == method, "value"] for method in methods}
        draw_strips(ax, {method: own_values[own_values > 0] for method, own_values in values.items()}, middle=False)
        positive = part.loc[part["value"] > 0, "value"]
        low, high = (positive.min(), positive.max()) if len(positive) else (1e-8, 1e-6)
        decades = max(1.0, np.log10(high / low))
        left, edge, right = low / 10 ** (0.47 * decades + 0.3), low / 10 ** (0.12 * decades), high * 10**0.12
        log_scale(ax)
        ticks = [tick for tick in ax.get_xticks() if edge < tick < right] if len(positive) else []
        ax.set_xticks(ticks[:: 1 + len(ticks) // 4])
        ax.set_xlim(left, right)
        ax.axvspan(left, edge, color=GRID, alpha=0.55, lw=0)
        middle = np.sqrt(left * edge)
        for y, own_values in enumerate(values.values()):
            if (own_values == 0).any():
                ax.text(middle, y, f"{(own_values == 0).sum()} of {len(own_values)}", ha="center", va="center")
        ax.annotate("bit-equal", (middle, -0.5), (0, 4), textcoords="offset points", ha="center", fontsize=9)
        ax.set_xlabel(unit)
    return figure


SECTION = Section(
    study="agreement",
    title="Is it right?",
    question="Is the implementation right?",
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    also=("predictions",),
    compared=Compared(
        higher=frozenset({"bit_equal", "within_tolerance", "spearman"}),
        lower=frozenset({"max_abs_difference", "relative_l2"}),
    ),
    good=frozenset({"equal", "within tolerance"}),
    bad=frozenset({"differs", "failed"}),
    sentences={
        "equal": "is the same as the reference, to the last bit.",
        "within tolerance": "is the same as the reference up to rounding.",
        "differs": "is not the same as the reference.",
        "not applicable": "cannot be compared here.",
        "failed": "could not be compared.",
    },
    headers={
        "bit_equal_n": "bit-equal",
        "within_tolerance_n": "within tolerance",
        "max_abs_difference": "max |difference|",
        "relative_l2": "median relative L2",
        "spearman": "median Spearman",
    },
)
