"""From similarities to verdicts: the sensitivity index, its interval, and its stability. Numpy alone, no torch.

S = 1 - (r_stage - r_null) / (r_self - r_null): 0 for a map that ignores the network, 1 for one that follows it. Each r
is averaged over photos and draws first; S is the ratio of means, and is not clipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, isfinite, nan
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.metrics.statistics import crossed_weights, holm

PASS, FAIL, UNDECIDED, UNINFORMATIVE, VOID = "PASS", "FAIL", "UNDECIDED", "UNINFORMATIVE", "VOID"
STAGES = ("the upper half random", "everything random")
THRESHOLD = 0.5
PHOTOS, DRAWS = 10, 2  # fewer valid ones at a stage decide nothing
RESAMPLES, RESAMPLES_OF_CURVE = 10_000, 2_000
STABLE = 0.8
HEADLINE = ("spearman", "abs", 4, "cascade_top")
EXPECTED = {
    "control_edges": FAIL,
    "control_luminance": FAIL,
    "control_constant": UNINFORMATIVE,
    "control_noise": UNINFORMATIVE,
}
Array = NDArray[np.float64]


@lru_cache(maxsize=8)
def _weights(shape: tuple[int, int], resamples: int) -> tuple[Array, ...]:
    return crossed_weights(shape, resamples=resamples)


@dataclass(frozen=True)
class Sensitivity:
    """S at one stage, from the photos and draws where all three similarities exist.

    Attributes:
        value, low, high: S and its plain 95% bootstrap interval, NaN where there is none.
        p: one-sided, of S > 0.
        gap_low: lower end of the 99.9% interval of r_self - r_null.
        r_self, r_stage, r_null: means.
        photos, draws: those with at least one value.
        missing: photo-draw pairs without a value.
        spread: (from photos, from draws): the two parts of S's variance, where the interval holds the threshold.
    """

    value: float = nan
    low: float = nan
    high: float = nan
    p: float = nan
    gap_low: float = nan
    r_self: float = nan
    r_stage: float = nan
    r_null: float = nan
    photos: int = 0
    draws: int = 0
    missing: int = 0
    spread: tuple[float, float] = (nan, nan)


def sensitivity(r_self: Array, r_stage: Array, r_null: Array, *, resamples: int = RESAMPLES) -> Sensitivity:
    """S with its interval; photos and draws are resampled as crossed factors.

    Args:
        r_self: (photos, draws) similarities of the intact network's maps of x and x + e, NaN where undefined.
        r_stage: likewise, of its map of x and the random network's of x + e.
        r_null: likewise, of its map of x and the random network's of x' + e.
        resamples: of the bootstrap.
    """
    three = np.stack([r_self, r_stage, r_null])  # (3, P, D)
    valid = np.asarray(np.isfinite(three).all(axis=0))
    counts: dict[str, Any] = {
        "photos": int(valid.any(axis=1).sum()),
        "draws": int(valid.any(axis=0).sum()),
        "missing": int(valid.size - valid.sum()),
    }
    own = float(np.nanmean(r_self)) if np.isfinite(r_self).any() else nan
    if not valid.any():
        return Sensitivity(r_self=own, **counts)
    three = np.where(valid, three, 0.0)
    first, second = _weights((valid.shape[0], valid.shape[1]), resamples)
    n = valid.sum()
    same, stage, null = (float(r) for r in three.sum((1, 2)) / n)

    table = np.concatenate([*three, valid.astype(float)], axis=1)  # (P, 4 D)

    def resampled(by_photo: Array, by_draw: Array) -> tuple[Array, Array]:
        by_both = (by_photo @ table).reshape(len(by_photo), 4, -1)
        sums = np.einsum("nkd,nd->kn", by_both, by_draw)
        with np.errstate(all="ignore"):
            return 1 - (sums[1] - sums[2]) / (sums[0] - sums[2]), (sums[0] - sums[2]) / sums[3]

    index, gap = resampled(first, second)
    index, gap = index[np.isfinite(index)], gap[np.isfinite(gap)]
    if same == null or not index.size:
        return Sensitivity(r_self=same, r_stage=stage, r_null=null, **counts)
    low, high = np.quantile(index, [0.025, 0.975])
    spread = (nan, nan)
    if low <= THRESHOLD <= high and resamples == RESAMPLES:
        parts = resampled(first, np.ones_like(second))[0], resampled(np.ones_like(first), second)[0]
        spread = (float(np.var(parts[0][np.isfinite(parts[0])])), float(np.var(parts[1][np.isfinite(parts[1])])))
    return Sensitivity(
        value=1 - (stage - null) / (same - null), low=float(low), high=float(high),
        p=(float((index <= 0).sum()) + 1) / (index.size + 1), gap_low=float(np.quantile(gap, 0.0005)),
        r_self=same, r_stage=stage, r_null=null, spread=spread, **counts,
    )  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """A verdict, its reason, and S at the two stages that it rests on."""

    verdict: str
    reason: str
    half: Sensitivity
    everything: Sensitivity


def judge(half: Sensitivity, everything: Sensitivity, names: Sequence[str] = STAGES) -> Judgement:
    """PASS, FAIL, UNDECIDED or UNINFORMATIVE, and why.

    Args:
        half: with the upper half of the blocks random.
        everything: with all of them random; the same again where there is one stage.
        names: what the two stages are called in the reason.
    """
    both = list(zip(names, (half, everything), strict=True))

    def done(verdict: str, reason: str) -> Judgement:
        return Judgement(verdict, reason, half, everything)

    if all(not isfinite(s.r_self) for _, s in both):
        return done(UNINFORMATIVE, "its map of a photo does not correlate with itself: it is constant")
    for name, s in both:
        if s.photos < PHOTOS or s.draws < DRAWS:
            few = f"{s.photos} photos and {s.draws} draws are valid with {name}"
            return done(UNDECIDED, f"{few}; {PHOTOS} and {DRAWS} are needed")
    for _, s in both:
        if not s.gap_low > 0:
            why = f"a map of the same photo (r {s.r_self:.2f}) is no more alike than another photo's (r {s.r_null:.2f})"
            return done(UNINFORMATIVE, why)
    for name, s in both:
        if s.high < THRESHOLD:
            return done(FAIL, f"S is below {THRESHOLD} with {name}: the map stays what it was")
    if all(s.low > THRESHOLD for _, s in both):
        where = " and with ".join(dict.fromkeys(names))
        return done(PASS, f"S is above {THRESHOLD} with {where}: the map follows the network")
    name, s = next((n, s) for n, s in both if not s.low > THRESHOLD)
    return done(UNDECIDED, f"the interval holds {THRESHOLD} with {name}; {_would_decide(s)}")


def _would_decide(s: Sensitivity) -> str:
    """Photos and draws whose interval would be short enough, by the pilot's two variances."""
    target = ((s.value - THRESHOLD) / 1.96) ** 2
    by_photo, by_draw = s.spread
    if not target > 0 or not isfinite(by_photo + by_draw):
        return "S lies on the threshold, no number of photos would decide"
    if by_draw < target / 2:
        photos, draws = ceil(s.photos * by_photo / (target - by_draw)), s.draws
    else:
        factor = (by_photo + by_draw) / target
        photos, draws = ceil(s.photos * factor), ceil(s.draws * factor)
    photos = max(photos, s.photos)
    if photos > 100_000:
        return "more than 100,000 photos would be needed"
    times = photos * draws / (s.photos * s.draws)
    return f"about {photos} photos and {draws} draws would decide, {times:.2g} times this audit's passes"


@dataclass
class Similarities:
    """The rows of one network as arrays (photos, draws), by what was measured."""

    arrays: Mapping[tuple[Any, ...], Array]
    methods: Sequence[str]
    controls: frozenset[str]
    blocks: int
    noise: float
    known: dict[tuple[Any, ...], Sensitivity | None] = field(default_factory=dict)  # of `sensitivity_at`

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
    """Rows of the study sanity, of one network, as arrays.

    Args:
        rows: with NaN values where a row is not ok.
        noise: the standard deviation of e that is judged.
    """
    rows = rows[rows["other"].isin(["self", "stage", "null", "rolled", "input"])]
    images, draws = rows["image"].astype("category"), rows["draw"].astype("category")
    shape = len(images.cat.categories), len(draws.cat.categories)
    places = images.cat.codes.to_numpy() * shape[1] + draws.cat.codes.to_numpy()
    values = rows["value"].to_numpy(float)
    arrays = {}
    keys = ["method", "stage", "x", "other", "noise", "cell", "metric"]
    for key, at in rows.groupby(keys, sort=False).indices.items():
        method, stage, x, other, sd, cell, metric = cast(tuple[Any, ...], key)
        made = np.full(shape[0] * shape[1], nan)
        made[places[at]] = values[at]
        arrays[method, stage, int(x), other, round(float(sd), 9), int(cell), metric] = made.reshape(shape)
    named = rows.loc[rows["method"] != "", ["method", "control"]].drop_duplicates()
    blocks = rows.loc[rows["stage"] == "everything", "x"]
    return Similarities(
        arrays, list(dict.fromkeys(named["method"])), frozenset(named.loc[named["control"], "method"]),
        int(blocks.max()) if len(blocks) else 0, noise,
    )  # fmt: skip


def sensitivity_at(
    found: Similarities, method: str, stage: str, count: int, noise: float, cell: int, metric: str, resamples: int
) -> Sensitivity | None:
    """S of one method at one stage, or None where a similarity was not measured; worked out once."""
    key = (method, stage, count, noise, cell, metric, resamples)
    if key in found.known:
        return found.known[key]
    parts = [
        found.find(method, "intact", 0, "self", noise, cell, metric),
        found.find(method, stage, count, "stage", noise, cell, metric),
        found.find(method, stage, count, "null", noise, cell, metric),
    ]
    measured = all(part is not None for part in parts)
    found.known[key] = sensitivity(*parts, resamples=resamples) if measured else None  # type: ignore[arg-type]
    return found.known[key]


def judgement(
    found: Similarities, method: str, order: str, noise: float, cell: int, metric: str, resamples: int = RESAMPLES
) -> Judgement | None:
    """The verdict of one analysis; None where it was not measured."""
    halfway = (order, found.half) if found.half < found.blocks else ("everything", found.blocks)
    half, whole = (
        sensitivity_at(found, method, stage, count, noise, cell, metric, resamples)
        for stage, count in (halfway, ("everything", found.blocks))
    )
    return None if half is None or whole is None else judge(half, whole)


def specification_curve(found: Similarities, method: str) -> pd.DataFrame:
    """Every combination that was measured: measure, sign, noise (times the default), cell, order, S at both stages."""
    lines = []
    for noise, cell, metric in _specifications(found, method):
        for order in ("cascade_top", "cascade_bottom"):
            made = judgement(found, method, order, noise, cell, metric, RESAMPLES_OF_CURVE)
            if made is not None:
                measure, _, sign = metric.rpartition("_")
                line = {"method": method, "measure": measure, "sign": sign, "noise": round(noise / found.noise, 6)}
                line |= {"cell": cell, "order": order, "verdict": made.verdict}
                lines.append(line | _both(made))
    return pd.DataFrame(lines)


def _specifications(found: Similarities, method: str) -> Iterator[tuple[float, int, str]]:
    keys = {k[4:] for k in found.arrays if k[0] == method and k[1] == "everything" and k[3] == "stage"}
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

    Args:
        found: of `arrange`.
        rows: the same network's, for the reasons of what was not measured.
    """
    noise = found.noise
    overall, measures, curves = [], [], []
    metric = f"{HEADLINE[0]}_{HEADLINE[1]}"
    for method in found.methods:
        headline = judgement(found, method, HEADLINE[3], noise, HEADLINE[2], metric)
        if headline is None:
            why = _why_not(rows, method)
            overall.append({"method": method, "measure": "overall", "verdict": "not applicable", "reason": why})
            continue
        others = []
        for other in sorted({k[6] for k in found.arrays if k[0] == method and k[3] == "stage"}):
            made = judgement(found, method, HEADLINE[3], noise, HEADLINE[2], other)
            if made is not None:
                others.append((other, made))
                line = {
                    "method": method,
                    "measure": other,
                    "verdict": made.verdict,
                    "reason": f"{made.reason} ({_why(other)})",
                }
                measures.append(line | _both(made))
        curve = specification_curve(found, method)
        curves.append(curve)
        agree = int((curve["verdict"] == headline.verdict).sum())
        p = max(headline.half.p, headline.everything.p)
        reason = headline.reason + _disagreement(headline.verdict, others)
        if agree < STABLE * len(curve):
            reason += f"; not stable: {_turns(curve, headline.verdict)}"
        line = {"method": method, "measure": "overall", "verdict": headline.verdict, "reason": reason}
        line |= {"stability": f"{agree} of {len(curve)}"}
        line |= _both(headline)
        line |= {"r_self": headline.everything.r_self, "r_null": headline.everything.r_null, "p": p}
        line |= {"photos": headline.everything.photos, "draws": headline.everything.draws}
        line |= {"not_applicable": max(headline.half.missing, headline.everything.missing)}
        line |= {"control": method in found.controls}
        overall.append(line)
    table = pd.DataFrame(overall)
    if "p" in table:
        real = ~table["control"].fillna(False).astype(bool)
        table["p_holm"] = nan
        table.loc[real, "p_holm"] = holm(table.loc[real, "p"].to_numpy(float))
        table = void(table.drop(columns="p"))
    return table, pd.DataFrame(measures), pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def _why_not(rows: pd.DataFrame, method: str) -> str:
    lost = rows[(rows["method"] == method) & (rows["status"] != "ok")]
    return str(lost["message"].iloc[0]) if len(lost) else "it was not measured"


def void(table: pd.DataFrame) -> pd.DataFrame:
    """Every verdict is void where a control came out wrong; too few photos are no fault of a control's."""
    wrong = [
        f"{line['method']} came out {line['verdict']}, not {EXPECTED[line['method']]}"
        for line in table.to_dict("records")
        if line["method"] in EXPECTED
        and line["verdict"] in (PASS, FAIL, UNINFORMATIVE)
        and line["verdict"] != EXPECTED[line["method"]]
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
    "cosine": "it is ruled by the few largest values",
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
