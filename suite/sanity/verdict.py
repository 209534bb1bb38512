"""From similarities to verdicts: the sensitivity index, its interval, and its stability. Numpy alone, no torch.

S = 1 - (r_stage - r_null) / (r_self - r_null): 0 for a map that ignores the network, 1 for one that follows it. Each r
is averaged over photos and draws first; S is the ratio of means, and is not clipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite, nan
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.metrics.statistics import crossed_mean

PASS, FAIL, UNSTABLE, UNDECIDED = "PASS", "FAIL", "UNSTABLE", "UNDECIDED"
UNINFORMATIVE, VOID = "UNINFORMATIVE", "VOID"
ALMOST = "almost_same"  # the stage whose weights differ by a thousandth
STAGES = ("the upper half random", "everything random")
LABELS = ("permuted labels",) * 2
THRESHOLD = 0.5
KEPT = 0.9  # share of a map that a network almost the same must keep: methods keep 0.99, maps keyed to the weights 0
PHOTOS, DRAWS = 10, 3  # fewer valid ones at a stage decide nothing
GATE = 0.99  # confidence that a map resembles itself more than another photo's
STABLE, SHARED = 0.8, 0.5  # shares of the analyses
HEADLINE = ("spearman", "abs", 4, "cascade_top")
NECESSARY = "necessary, not sufficient: it depends on the weights, which says nothing of whether it is right"
EXPECTED = {
    "control_edges": FAIL,
    "control_luminance": FAIL,
    "control_constant": UNINFORMATIVE,
    "control_noise": UNINFORMATIVE,
}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """S at one stage, from the pairs of a photo and a draw where all four similarities exist.

    Attributes:
        value, low, high: S and its 95% interval, NaN where there is none.
        gap_low, other_low: lower ends of the 99% intervals of r_self - r_null and of r_self - r_other.
        r_self, r_stage, r_null, r_other: means.
        photos, draws: those with at least half of their pairs.
        pairs, of: pairs with all four similarities, and all pairs.
        by_photo, by_draw: the parts of S's variance that more photos, and only more draws, would lessen.
    """

    value: float = nan
    low: float = nan
    high: float = nan
    gap_low: float = nan
    other_low: float = nan
    r_self: float = nan
    r_stage: float = nan
    r_null: float = nan
    r_other: float = nan
    photos: int = 0
    draws: int = 0
    pairs: int = 0
    of: int = 0
    by_photo: float = nan
    by_draw: float = nan


def sensitivity(r_self: Array, r_stage: Array, r_null: Array, r_other: Array) -> Sensitivity:
    """S with its interval over photos and draws, two crossed random factors.

    The interval is the delta method's: S is linearised as the mean of
    -((r_stage - r_null) - (1 - S)(r_self - r_null)) / mean(r_self - r_null), and `crossed_mean` gives its variance.

    Args:
        r_self: (photos, draws) similarities of the intact network's maps of x and x + e, NaN where undefined.
        r_stage: likewise, of its map of x and the random network's of x + e.
        r_null: likewise, of its map of x and the random network's of x' + e.
        r_other: likewise, of its map of x and its own of x' + e.
    """
    valid = np.isfinite(r_self) & np.isfinite(r_stage) & np.isfinite(r_null) & np.isfinite(r_other)
    own = float(np.nanmean(r_self)) if np.isfinite(r_self).any() else nan
    known = Sensitivity(
        r_self=own, pairs=int(valid.sum()), of=valid.size,
        photos=int((valid.mean(axis=1) >= 0.5).sum()), draws=int((valid.mean(axis=0) >= 0.5).sum()),
    )  # fmt: skip
    if not valid.any():
        return known
    same, stage, null, other = (float(r[valid].mean()) for r in (r_self, r_stage, r_null, r_other))
    gap, apart = r_self - np.where(valid, r_null, nan), r_self - np.where(valid, r_other, nan)
    known = replace(
        known, r_self=same, r_stage=stage, r_null=null, r_other=other, gap_low=_low_end(gap), other_low=_low_end(apart)
    )
    if same == null:
        return known
    kept = (stage - null) / (same - null)
    spread = crossed_mean((kept * gap - (r_stage - r_null)) / (same - null))
    half = spread.half_width()
    return replace(
        known, value=1 - kept, low=1 - kept - half, high=1 - kept + half,
        by_photo=spread.variance - spread.draws, by_draw=spread.draws,
    )  # fmt: skip


def _low_end(differences: Array) -> float:
    mean = crossed_mean(differences)
    return mean.value - mean.half_width(GATE)


@dataclass(frozen=True)
class Judgement:
    """A verdict, its reason, and S at the stages that it rests on."""

    verdict: str
    reason: str
    half: Sensitivity
    everything: Sensitivity
    almost: Sensitivity


def judge(half: Sensitivity, everything: Sensitivity, almost: Sensitivity, names: Sequence[str] = STAGES) -> Judgement:
    """PASS, FAIL, UNSTABLE, UNDECIDED or UNINFORMATIVE, and why.

    Args:
        half: with the upper half of the blocks random.
        everything: with all of them random; the same again where there is one stage.
        almost: with weights that differ by a thousandth, and `everything`'s r_null.
        names: what the first two stages are called in the reason.
    """
    verdict, reason = _judged(list(zip(names, (half, everything), strict=True)), almost)
    return Judgement(verdict, reason, half, everything, almost)


def _judged(both: Sequence[tuple[str, Sensitivity]], almost: Sensitivity) -> tuple[str, str]:
    if all(not isfinite(s.r_self) for _, s in both):
        return UNINFORMATIVE, "its map of a photo does not correlate with itself: it is constant"
    for name, s in (*both, ("the network almost the same", almost)):
        if 2 * s.pairs < s.of or s.photos < PHOTOS or s.draws < DRAWS:
            few = f"{s.pairs} of {s.of} pairs, {s.photos} photos and {s.draws} draws are valid with {name}"
            return UNDECIDED, f"{few}; half of the pairs, {PHOTOS} photos and {DRAWS} draws are needed"
    for _, s in both:
        unlike = {"the random network's": (s.gap_low, s.r_null), "the same network's": (s.other_low, s.r_other)}
        for whose, (low, r) in unlike.items():
            if not low > 0:
                why = f"its map of a photo (r {s.r_self:.2f} with that of a noisy copy) is not shown to resemble itself"
                return UNINFORMATIVE, f"{why} more than {whose} map of another photo (r {r:.2f})"
    for name, s in both:
        if s.high < THRESHOLD:
            return (
                FAIL,
                f"S is below {THRESHOLD} with {name}: nearer to its old map than to another photo's",
            )
    keeps = f"{1 - almost.value:.2f} [{1 - almost.high:.2f}, {1 - almost.low:.2f}] of the map"
    if 1 - almost.low < KEPT:
        return UNSTABLE, f"weights changed by a thousandth keep {keeps}: it answers to the weights' identity"
    if all(s.low > THRESHOLD for _, s in both):
        if not 1 - almost.high > KEPT:
            return UNDECIDED, f"weights changed by a thousandth keep {keeps}, not shown to be above {KEPT}"
        where = " and with ".join(dict.fromkeys(name for name, _ in both))
        return PASS, f"{NECESSARY}; S is above {THRESHOLD} with {where}"
    name, s = next((n, s) for n, s in both if not s.low > THRESHOLD)
    return UNDECIDED, f"the interval holds {THRESHOLD} with {name}; {_would_decide(s)}"


def _would_decide(s: Sensitivity) -> str:
    """Photos and draws whose interval would be short enough, by the pilot's two variances."""
    half = (s.high - s.low) / 2
    target = (s.by_photo + s.by_draw) * ((s.value - THRESHOLD) / half) ** 2 if half > 0 else 0.0
    if not target > 0:
        return "S lies on the threshold, no number of photos would decide"
    if s.by_draw < target / 2:
        photos, draws = ceil(s.photos * s.by_photo / (target - s.by_draw)), s.draws
    else:
        factor = (s.by_photo + s.by_draw) / target
        photos, draws = ceil(s.photos * factor), ceil(s.draws * factor)
    photos = max(photos, s.photos)
    if photos > 100_000:
        return "more than 100,000 photos would be needed"
    times = photos * draws / (s.photos * s.draws)
    return f"about {photos} photos and {draws} draws would decide, {times:.2g} times this audit's passes"


@dataclass(frozen=True)
class Similarities:
    """The rows of one network as arrays (photos, draws), by what was measured; `whole` is the last stage."""

    arrays: Mapping[tuple[Any, ...], Array]
    methods: Sequence[str]
    controls: frozenset[str]
    blocks: int
    noise: float
    whole: str = "everything"

    def find(
        self, method: str, stage: str, count: int, kind: str, noise: float, cell: int, metric: str
    ) -> Array | None:
        """(photos, draws), or None where it was not measured."""
        return self.arrays.get((method, stage, count, kind, round(noise, 9), cell, metric))

    @property
    def half(self) -> int:
        """Blocks in the upper half."""
        return -(-self.blocks // 2)


def arrange(rows: pd.DataFrame, noise: float) -> Similarities:
    """Rows of the study sanity or labels, of one network, as arrays.

    Args:
        rows: with NaN values where a row is not ok.
        noise: the standard deviation of e that is judged.
    """
    rows = rows[rows["other"].isin(["self", "stage", "null", "other", "rolled", "input"])]
    images, draws = rows["image"].astype("category"), rows["draw"].astype("category")
    shape = len(images.cat.categories), len(draws.cat.categories)
    places = images.cat.codes.to_numpy(np.int64) * shape[1] + draws.cat.codes.to_numpy()
    values = rows["value"].to_numpy(float)
    arrays = {}
    keys = ["method", "stage", "x", "other", "noise", "cell", "metric"]
    for key, at in rows.groupby(keys, sort=False).indices.items():
        method, stage, x, other, sd, cell, metric = cast(tuple[Any, ...], key)
        made = np.full(shape[0] * shape[1], nan)
        made[places[at]] = values[at]
        arrays[method, stage, int(x), other, round(float(sd), 9), int(cell), metric] = made.reshape(shape)
    named = rows.loc[rows["method"] != "", ["method", "control"]].drop_duplicates()
    whole = next((stage for stage in ("everything", "permuted") if (rows["stage"] == stage).any()), "everything")
    blocks = rows.loc[rows["stage"] == whole, "x"]
    return Similarities(
        arrays, list(dict.fromkeys(named["method"])), frozenset(named.loc[named["control"], "method"]),
        int(blocks.max()) if len(blocks) else 0, noise, whole,
    )  # fmt: skip


def sensitivity_at(
    found: Similarities, method: str, stage: str, count: int, noise: float, cell: int, metric: str
) -> Sensitivity | None:
    """S of one method at one stage, or None where a similarity was not measured."""
    null = (found.whole, found.blocks) if stage == ALMOST else (stage, count)
    parts = [
        found.find(method, "intact", 0, "self", noise, cell, metric),
        found.find(method, stage, count, "stage", noise, cell, metric),
        found.find(method, *null, "null", noise, cell, metric),
        found.find(method, "intact", 0, "other", noise, cell, metric),
    ]
    return None if any(part is None for part in parts) else sensitivity(*parts)  # type: ignore[arg-type]


def judgement(found: Similarities, method: str, order: str, noise: float, cell: int, metric: str) -> Judgement | None:
    """The verdict of one analysis; None where it was not measured."""
    whole = (found.whole, found.blocks)
    stages = ((order, found.half) if found.half < found.blocks else whole, whole, (ALMOST, 0))
    half, everything, almost = (sensitivity_at(found, method, *stage, noise, cell, metric) for stage in stages)
    if half is None or everything is None or almost is None:
        return None
    return judge(half, everything, almost, LABELS if found.whole == "permuted" else STAGES)


def specification_curve(found: Similarities, method: str) -> pd.DataFrame:
    """Every combination that was measured: measure, sign, noise (times the default), cell, order, S at both stages."""
    lines = []
    orders = ("cascade_top", "cascade_bottom")[: 1 + (found.half < found.blocks)]
    for noise, cell, metric in _specifications(found, method):
        for order in orders:
            made = judgement(found, method, order, noise, cell, metric)
            if made is not None:
                measure, _, sign = metric.rpartition("_")
                line = {"method": method, "measure": measure, "sign": sign, "noise": round(noise / found.noise, 6)}
                line |= {"cell": cell, "order": order, "verdict": made.verdict}
                lines.append(line | _both(made))
    return pd.DataFrame(lines)


def _specifications(found: Similarities, method: str) -> Iterator[tuple[float, int, str]]:
    keys = {k[4:] for k in found.arrays if k[0] == method and k[1] == found.whole and k[3] == "stage"}
    yield from sorted(keys, key=lambda key: (key[2], key[1], key[0]))


def numbers(name: str, s: Sensitivity, *, informative: bool = True) -> dict[str, float]:
    """S as a table's three columns; without information it is the ratio of two nothings, and left out."""
    values = (s.value, s.low, s.high) if informative else (nan, nan, nan)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _both(made: Judgement) -> dict[str, float]:
    known = made.verdict != UNINFORMATIVE
    return numbers("s_half", made.half, informative=known) | numbers("s_everything", made.everything, informative=known)


def verdicts(found: Similarities, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(one overall verdict a method, the verdicts of all measures, all specifications) of one network.

    A headline that fewer than half of its own analyses share is UNDECIDED; whether a control came out right is decided
    by the headline itself.

    Args:
        found: of `arrange`.
        rows: the same network's, for the reasons of what was not measured.
    """
    overall, measures, curves = [], [], []
    for method in found.methods:
        headline = judgement(found, method, HEADLINE[3], found.noise, HEADLINE[2], f"{HEADLINE[0]}_{HEADLINE[1]}")
        if headline is None:
            why = _why_not(rows, method)
            overall.append({"method": method, "measure": "overall", "verdict": "not applicable", "reason": why})
            continue
        others = []
        for other in sorted({k[6] for k in found.arrays if k[0] == method and k[3] == "stage"}):
            made = judgement(found, method, HEADLINE[3], found.noise, HEADLINE[2], other)
            if made is not None:
                others.append((other, made))
                line = {"method": method, "measure": other, "verdict": made.verdict}
                measures.append(line | {"reason": f"{made.reason} ({_why(other)})"} | _both(made))
        curves.append(specification_curve(found, method))
        line = {"method": method, "measure": "overall"} | _headline(headline, others, curves[-1])
        overall.append(line | {"control": method in found.controls})
    table = void(pd.DataFrame(overall)).drop(columns="alone", errors="ignore")
    return table, pd.DataFrame(measures), pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def _headline(made: Judgement, others: Sequence[tuple[str, Judgement]], curve: pd.DataFrame) -> dict[str, Any]:
    """The verdict that its analyses let stand, `alone` what the headline's own analysis says, and what it rests on."""
    agree = int((curve["verdict"] == made.verdict).sum())
    verdict, reason, last = made.verdict, made.reason + _disagreement(made.verdict, others), made.everything
    if agree < SHARED * len(curve) and verdict != UNDECIDED:
        shared = f"{agree} of {len(curve)} analyses share the headline's {verdict}"
        verdict, reason = UNDECIDED, f"unstable: {shared}; {_turns(curve, verdict)} (the headline: {reason})"
    elif agree < STABLE * len(curve):
        reason += f"; not stable: {_turns(curve, verdict)}"
    least = min((made.half, last, made.almost), key=lambda s: s.pairs)
    line: dict[str, Any] = {"verdict": verdict, "alone": made.verdict, "reason": reason}
    line |= {"stability": f"{agree} of {len(curve)}"} | _both(made)
    almost = numbers("kept", made.almost, informative=made.verdict != UNINFORMATIVE)
    line |= {"kept": 1 - almost["kept"], "kept_low": 1 - almost["kept_high"], "kept_high": 1 - almost["kept_low"]}
    line |= {"r_self": last.r_self, "r_stage": last.r_stage, "r_null": last.r_null, "r_other": last.r_other}
    return line | {"photos": least.photos, "draws": least.draws, "pairs": f"{least.pairs} of {least.of}"}


def _why_not(rows: pd.DataFrame, method: str) -> str:
    lost = rows[(rows["method"] == method) & (rows["status"] != "ok")]
    return str(lost["message"].iloc[0]) if len(lost) else "it was not measured"


def void(table: pd.DataFrame) -> pd.DataFrame:
    """Every verdict is void where a control came out wrong `alone`; too few photos are no fault of a control's."""
    wrong = [
        f"{line['method']} came out {line['alone']}, not {EXPECTED[line['method']]}"
        for line in table.to_dict("records")
        if line["method"] in EXPECTED
        and line.get("alone") in (PASS, FAIL, UNSTABLE, UNINFORMATIVE)
        and line["alone"] != EXPECTED[line["method"]]
    ]
    if not wrong:
        return table
    reasons = [
        f"void, for {'; '.join(wrong)} (it would be {v}: {r})"
        for v, r in zip(table["verdict"], table["reason"], strict=True)
    ]
    return table.assign(verdict=VOID, reason=reasons)


_WHY = {
    "spearman": "it ranks the pixels",
    "cosine": "the few largest values decide it",
    "ssim": "it compares local contrast, and flat regions count as alike",
    "hog": "it compares the directions of local edges and not where the mass lies",
}


def _disagreement(verdict: str, others: Sequence[tuple[str, Judgement]]) -> str:
    """Which measures decide otherwise; why each may, stands in its own row."""
    said: dict[str, list[str]] = {}
    for metric, made in others:
        if made.verdict != verdict and made.verdict in (PASS, FAIL):
            said.setdefault(made.verdict, []).append(metric.replace("_", " "))
    return "".join(f"; {', '.join(names)}: {other}" for other, names in said.items())


def _why(metric: str) -> str:
    measure, _, sign = metric.rpartition("_")
    return _WHY[measure] + (", with signs, which may flip where magnitudes stay" if sign == "signed" else "")


def _turns(curve: pd.DataFrame, verdict: str) -> str:
    """The choice whose one value agrees least with the headline, and what it says instead."""
    agrees = curve["verdict"] == verdict
    shares = {
        (column, value): float(agrees[curve[column] == value].mean())
        for column in ("measure", "sign", "noise", "cell", "order")
        if curve[column].nunique() > 1
        for value in curve[column].unique()
    }
    if not shares:
        return "it rests on one analysis"
    column, value = min(shares, key=lambda key: shares[key])
    part = curve[curve[column] == value]
    most = part.loc[part["verdict"] != verdict, "verdict"].value_counts()
    said = f", {most.index[0]} in {most.iloc[0]}" if len(most) else ""
    shown = f"{value:g}" if isinstance(value, float) else value
    agreeing = int((part["verdict"] == verdict).sum())
    return f"with {column} {shown} it is {verdict} in {agreeing} of {len(part)} analyses{said}"
