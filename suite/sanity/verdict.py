"""From similarities to verdicts: the sensitivity index, its interval, and its stability. Numpy alone, no torch.

S = 1 - (r_stage - r_null) / (r_self - r_null): 0 for a map that ignores the network, 1 for one that follows it. Each r
is averaged over photos and draws first; S is the ratio of means, and is not clipped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, isfinite, nan
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.metrics.statistics import crossed_mean

PASS, FAIL, UNSTABLE, UNDECIDED = "PASS", "FAIL", "UNSTABLE", "UNDECIDED"
UNINFORMATIVE, VOID = "UNINFORMATIVE", "VOID"
INTACT, EVERYTHING, PERMUTED = "intact", "everything", "permuted"  # stages
ALMOST = "almost_same"  # the stage whose weights differ by a thousandth
THRESHOLD = 0.5
KEPT = 0.9  # share of a map that a network almost the same must keep: methods keep 0.99, maps keyed to the weights 0
PHOTOS, DRAWS = 10, 3  # fewer valid ones at a stage decide nothing
GATE = 0.99  # confidence that a map resembles itself more than another photo's
STABLE, SHARED = 0.8, 0.5  # shares of the analyses
CELL, METRIC, ORDER = 4, "spearman_abs", "cascade_top"  # of the headline
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
        r_stage: of its map of x and the random network's of x + e.
        r_null: of its map of x and the random network's of x' + e.
        r_other: of its map of x and its own of x' + e.
    """
    valid = np.isfinite([r_self, r_stage, r_null, r_other]).all(axis=0)
    s = Sensitivity(
        r_self=float(np.nanmean(r_self)) if np.isfinite(r_self).any() else nan, pairs=int(valid.sum()), of=valid.size,
        photos=int((valid.mean(axis=1) >= 0.5).sum()), draws=int((valid.mean(axis=0) >= 0.5).sum()),
    )  # fmt: skip
    if not valid.any():
        return s
    same, stage, null, other = (float(r[valid].mean()) for r in (r_self, r_stage, r_null, r_other))
    gap = r_self - np.where(valid, r_null, nan)
    s = replace(
        s, r_self=same, r_stage=stage, r_null=null, r_other=other,
        gap_low=_low_end(gap), other_low=_low_end(r_self - np.where(valid, r_other, nan)),
    )  # fmt: skip
    if same == null:
        return s
    kept = (stage - null) / (same - null)
    spread = crossed_mean((kept * gap - (r_stage - r_null)) / (same - null))
    half = spread.half_width()
    return replace(
        s, value=1 - kept, low=1 - kept - half, high=1 - kept + half,
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

    def columns(self) -> dict[str, float]:
        """S at both stages as table columns; NaN where the map is uninformative, and S a ratio of two nothings."""
        informative = self.verdict != UNINFORMATIVE
        columns: dict[str, float] = {}
        for name, s in (("s_half", self.half), ("s_everything", self.everything)):
            columns |= {name: s.value, f"{name}_low": s.low, f"{name}_high": s.high}
        return columns if informative else dict.fromkeys(columns, nan)


def judge(half: Sensitivity, everything: Sensitivity, almost: Sensitivity, *, permuted: bool = False) -> Judgement:
    """PASS, FAIL, UNSTABLE, UNDECIDED or UNINFORMATIVE, and why.

    Args:
        half: with the upper half of the blocks random.
        everything: with all of them random; the same again where there is one stage.
        almost: with weights that differ by a thousandth, and `everything`'s r_null.
        permuted: whether both are of the network trained on permuted labels.
    """
    names = ["permuted labels"] * 2 if permuted else ["the upper half random", "everything random"]
    verdict, reason = _rule(list(zip(names, (half, everything), strict=True)), almost)
    return Judgement(verdict, reason, half, everything, almost)


def _rule(stages: Sequence[tuple[str, Sensitivity]], almost: Sensitivity) -> tuple[str, str]:
    """The first of these that applies: no correlation, too few pairs, unlike itself, FAIL, UNSTABLE, PASS."""
    if all(not isfinite(s.r_self) for _, s in stages):
        return UNINFORMATIVE, "its map of a photo does not correlate with itself: it is constant"
    for name, s in (*stages, ("the network almost the same", almost)):
        if 2 * s.pairs < s.of or s.photos < PHOTOS or s.draws < DRAWS:
            few = f"{s.pairs} of {s.of} pairs, {s.photos} photos and {s.draws} draws are valid with {name}"
            return UNDECIDED, f"{few}; half of the pairs, {PHOTOS} photos and {DRAWS} draws are needed"
    for _, s in stages:
        if not (s.gap_low > 0 and s.other_low > 0):
            return UNINFORMATIVE, _unlike_itself(s)
    for name, s in stages:
        if s.high < THRESHOLD:
            return FAIL, f"S is below {THRESHOLD} with {name}: nearer to its old map than to another photo's"
    keeps = f"{1 - almost.value:.2f} [{1 - almost.high:.2f}, {1 - almost.low:.2f}] of the map"
    if 1 - almost.low < KEPT:
        return UNSTABLE, f"weights changed by a thousandth keep {keeps}: it answers to the weights' identity"
    for name, s in stages:
        if not s.low > THRESHOLD:
            return UNDECIDED, f"the interval holds {THRESHOLD} with {name}; {_would_decide(s)}"
    if not 1 - almost.high > KEPT:
        return UNDECIDED, f"weights changed by a thousandth keep {keeps}, not shown to be above {KEPT}"
    names = " and with ".join(dict.fromkeys(name for name, _ in stages))
    necessary = "necessary, not sufficient: it depends on the weights, which says nothing of whether it is right"
    return PASS, f"{necessary}; S is above {THRESHOLD} with {names}"


def _unlike_itself(s: Sensitivity) -> str:
    whose, r = ("the same", s.r_other) if s.gap_low > 0 else ("the random", s.r_null)
    why = f"its map of a photo (r {s.r_self:.2f} with that of a noisy copy) is not shown to resemble itself"
    return f"{why} more than {whose} network's map of another photo (r {r:.2f})"


def _would_decide(s: Sensitivity) -> str:
    """How many photos and draws would give a short enough interval, by the variances measured here."""
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


class Key(NamedTuple):
    """The columns that name similarities; `kind` says what the intact network's map is compared with."""

    method: str
    order: str
    blocks: int  # of random blocks; of the block or network where the stage is of one
    kind: str
    noise: float
    cell: int
    metric: str


@dataclass(frozen=True)
class Similarities:
    """The rows of one network as arrays (photos, draws).

    Attributes:
        arrays: key -> similarities, NaN where undefined.
        methods: label -> whether it is a control, in the rows' order.
        blocks: how many blocks are random at the stage `last`.
        noise: the standard deviation that is judged.
        last: the stage with everything random, or the network trained on permuted labels.
    """

    arrays: Mapping[Key, Array]
    methods: Mapping[str, bool]
    blocks: int
    noise: float
    last: str

    def headline(self, method: str) -> Key:
        """The key that is judged, at the stage where everything is random."""
        return Key(method, self.last, self.blocks, "stage", self.noise, CELL, METRIC)

    def sensitivity(self, stage: Key) -> Sensitivity | None:
        """S at one stage, or None where a similarity was not measured."""
        intact = stage._replace(order=INTACT, blocks=0)
        null = stage._replace(order=self.last, blocks=self.blocks) if stage.order == ALMOST else stage
        keys = intact._replace(kind="self"), stage, null._replace(kind="null"), intact._replace(kind="other")
        parts = [self.arrays.get(key) for key in keys]
        return None if any(part is None for part in parts) else sensitivity(*parts)  # type: ignore[arg-type]

    def judgements(self, method: str) -> dict[tuple[Key, str], Judgement]:
        """The verdict of every analysis, by its stage with everything random and the order of the other one."""
        upper, last = -(-self.blocks // 2), (method, self.last, self.blocks, "stage")
        orders = (ORDER, "cascade_bottom") if upper < self.blocks else (ORDER,)
        keys = [key for key in self.arrays if key[:4] == last]
        keys.sort(key=lambda key: (key.metric, key.cell, key.noise))
        judgements = {}
        for key, order in product(keys, orders):
            stages = (key._replace(order=order, blocks=upper) if upper < self.blocks else key), key
            parts = [self.sensitivity(stage) for stage in (*stages, key._replace(order=ALMOST, blocks=0))]
            if all(parts):
                judgements[key, order] = judge(*parts, permuted=self.last == PERMUTED)  # type: ignore[arg-type]
        return judgements


def arrange(rows: pd.DataFrame, noise: float) -> Similarities:
    """Rows of the study sanity or labels, of one network, as arrays.

    Args:
        rows: with NaN values where a row is not ok.
        noise: the standard deviation of e that is judged.
    """
    rows = rows[rows["kind"].isin(["self", "stage", "null", "other", "rolled", "input"])]
    images, draws = rows["image"].astype("category"), rows["draw"].astype("category")
    shape = len(images.cat.categories), len(draws.cat.categories)
    pairs = images.cat.codes.to_numpy(np.int64) * shape[1] + draws.cat.codes.to_numpy()
    values = rows["value"].to_numpy(float)
    arrays = {}
    columns = ["method", "order", "blocks", "kind", "noise", "cell", "metric"]
    for key, index in rows.groupby(columns, sort=False).indices.items():
        method, order, count, kind, sd, cell, metric = cast(tuple[Any, ...], key)
        array = np.full(shape[0] * shape[1], nan)
        array[pairs[index]] = values[index]
        full = Key(method, order, int(count), kind, round(float(sd), 9), int(cell), metric)
        arrays[full] = array.reshape(shape)
    named = rows.loc[rows["method"] != "", ["method", "control"]].drop_duplicates()
    methods = dict(zip(named["method"], named["control"], strict=True))
    last = PERMUTED if (rows["order"] == PERMUTED).any() else EVERYTHING
    blocks = rows.loc[rows["order"] == last, "blocks"]
    return Similarities(arrays, methods, int(blocks.max()) if len(blocks) else 0, round(noise, 9), last)


def verdicts(similarities: Similarities, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(one overall verdict a method, the verdicts of all measures, all specifications) of one network.

    A headline that fewer than half of its own analyses share is UNDECIDED; whether a control came out right is decided
    by the headline itself. A specification is one combination of measure, sign, noise (times the default), cell, order.
    The rows are of the same network; they give the reasons where a method was not measured.
    """
    overall, measures, curves = [], [], []
    headlines: dict[str, Judgement] = {}
    for method, control in similarities.methods.items():
        line: dict[str, Any] = {"method": method, "measure": "overall"}
        judgements = similarities.judgements(method)
        judged = similarities.headline(method)
        if (judged, ORDER) not in judgements:
            reasons = rows.loc[(rows["method"] == method) & (rows["status"] != "ok"), "message"].tolist()
            reason = reasons[0] if reasons else "it was not measured"
            overall.append(line | {"verdict": "not applicable", "reason": reason})
            continue
        headline = headlines[method] = judgements[judged, ORDER]
        by_measure = {}
        for (key, order), judgement in judgements.items():
            if (key._replace(metric=METRIC), order) == (judged, ORDER):
                by_measure[key.metric] = judgement
                reason = f"{judgement.reason} ({_what_counts(key.metric)})"
                measure = {"method": method, "measure": key.metric, "verdict": judgement.verdict, "reason": reason}
                measures.append(measure | judgement.columns())
        curves.append(_specification_curve(judgements, similarities.noise))
        line |= _stable(headline, by_measure, curves[-1]) | _evidence(headline)
        overall.append(line | {"control": control})
    table = _void(pd.DataFrame(overall), headlines)
    return table, pd.DataFrame(measures), pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def _specification_curve(judgements: Mapping[tuple[Key, str], Judgement], noise: float) -> pd.DataFrame:
    lines = []
    for (key, order), judgement in judgements.items():
        measure, _, sign = key.metric.rpartition("_")
        line = {"method": key.method, "measure": measure, "sign": sign, "noise": round(key.noise / noise, 6)}
        line |= {"cell": key.cell, "order": order, "verdict": judgement.verdict}
        lines.append(line | judgement.columns())
    return pd.DataFrame(lines)


def _stable(headline: Judgement, by_measure: Mapping[str, Judgement], curve: pd.DataFrame) -> dict[str, str]:
    """The verdict, UNDECIDED where too few analyses share it; its reason; and how many share it."""
    agree = int((curve["verdict"] == headline.verdict).sum())
    verdict, reason = headline.verdict, headline.reason + _disagreement(headline.verdict, by_measure)
    if agree < SHARED * len(curve) and verdict != UNDECIDED:
        shared = f"{agree} of {len(curve)} analyses share the headline's {verdict}"
        verdict, reason = UNDECIDED, f"unstable: {shared}; {_turns(curve, verdict)} (the headline: {reason})"
    elif agree < STABLE * len(curve):
        reason += f"; not stable: {_turns(curve, verdict)}"
    return {"verdict": verdict, "reason": reason, "stability": f"{agree} of {len(curve)}"}


def _evidence(headline: Judgement) -> dict[str, Any]:
    """The numbers that a verdict rests on."""
    last, almost = headline.everything, headline.almost
    kept = [1 - almost.value, 1 - almost.high, 1 - almost.low] if headline.verdict != UNINFORMATIVE else [nan] * 3
    least = min((headline.half, last, almost), key=lambda s: s.pairs)
    line = headline.columns() | dict(zip(("kept", "kept_low", "kept_high"), kept, strict=True))
    line |= {"r_self": last.r_self, "r_stage": last.r_stage, "r_null": last.r_null, "r_other": last.r_other}
    return line | {"photos": least.photos, "draws": least.draws, "pairs": f"{least.pairs} of {least.of}"}


def _void(table: pd.DataFrame, headlines: Mapping[str, Judgement]) -> pd.DataFrame:
    """Every verdict is void where a control's headline came out wrong; too few photos are no fault of a control's."""
    wrong = [
        f"{method} came out {headline.verdict}, not {EXPECTED[method]}"
        for method, headline in headlines.items()
        if method in EXPECTED and headline.verdict not in (EXPECTED[method], UNDECIDED)
    ]
    if not wrong:
        return table
    reason = f"void, for {'; '.join(wrong)} (it would be " + table["verdict"] + ": " + table["reason"] + ")"
    return table.assign(verdict=VOID, reason=reason)


_WHAT_COUNTS = {
    "spearman": "it ranks the pixels",
    "cosine": "the few largest values decide it",
    "ssim": "it compares local contrast, and flat regions count as alike",
    "hog": "it compares the directions of local edges and not where the mass lies",
}


def _what_counts(metric: str) -> str:
    measure, _, sign = metric.rpartition("_")
    return _WHAT_COUNTS[measure] + (", with signs, which may flip where magnitudes stay" if sign == "signed" else "")


def _disagreement(verdict: str, by_measure: Mapping[str, Judgement]) -> str:
    """Which measures decide otherwise; why each may, stands in its own row."""
    others: dict[str, list[str]] = {}
    for metric, judgement in by_measure.items():
        if judgement.verdict != verdict and judgement.verdict in (PASS, FAIL):
            others.setdefault(judgement.verdict, []).append(metric.replace("_", " "))
    return "".join(f"; {', '.join(metrics)}: {other}" for other, metrics in others.items())


def _turns(curve: pd.DataFrame, verdict: str) -> str:
    """The choice that agrees least with the headline, and its most frequent other verdict."""
    agrees = curve["verdict"] == verdict
    shares: dict[tuple[str, Any], float] = {}
    for column in ("measure", "sign", "noise", "cell", "order"):
        for value in curve[column].unique() if curve[column].nunique() > 1 else ():
            shares[column, value] = float(agrees[curve[column] == value].mean())
    if not shares:
        return "it rests on one analysis"
    column, value = min(shares, key=lambda key: shares[key])
    part = curve.loc[curve[column] == value, "verdict"]
    others = part[part != verdict].value_counts()
    instead = f", {others.index[0]} in {others.iloc[0]}" if len(others) else ""
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"with {column} {shown} it is {verdict} in {(part == verdict).sum()} of {len(part)} analyses{instead}"
