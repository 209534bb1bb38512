"""Two runs of the same photos: what changed beyond noise, and what got worse. Reads run directories; no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import SuiteError
from suite.metrics.cards import cards
from suite.metrics.statistics import PairedTest, holm, paired_test, pairs_needed
from suite.report.sections import MARKS, Tables, ok, sections
from suite.report.tables import build_tables
from suite.report.words import as_words, number
from suite.results import read, read_manifest

ALPHA = 0.05
# Rounds of a clock are no photos: what the machine does between two runs is in all of them, so a tenth must be beyond.
SPEED_MARGIN = 0.1
LINES_SHOWN = 40
_NUMBER = ["study", "model", "method", "implementation", "other", "layer", "stage", "x", "noise", "cell", "metric"]
_SKIPPED = {("predictions", "top1"), ("attacks", "prediction"), ("speed", "seconds"), ("speed", "peak_memory")}
_HIGHER = {
    ("agreement", "bit_equal"), ("agreement", "within_tolerance"), ("agreement", "spearman"),
    ("predictions", "correct"), ("predictions", "correct_top5"),
}  # fmt: skip
_LOWER = {("agreement", "max_abs_difference"), ("agreement", "relative_l2"), ("speed", "passes")}


@dataclass(frozen=True)
class Change:
    """One number of a run, over the units (photos; rounds of the clock) that both runs have.

    Attributes:
        what: its study, method, network, metric and settings.
        verdict: worse, better, changed (no direction is the better one) or same.
        base, new: means.
        low, high: ends of the 95% interval of the mean of new - base (`paired_test`).
        p: of the same test, corrected for all numbers of its kind.
        n: units.
    """

    what: str
    study: str
    metric: str
    verdict: str
    base: float
    new: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Verdict:
    """A verdict that is another in the new run; worse where it has become a bad one."""

    what: str
    base: str
    new: str
    worse: bool
    reason: str


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `notes` name what differs in how the runs were made, and what was left out for it."""

    notes: list[str]
    verdicts: list[Verdict]
    changes: list[Change]
    lost: list[str]

    @property
    def regressed(self) -> bool:
        """Whether anything got worse."""
        worse = any(v.worse for v in self.verdicts) or any(c.verdict == "worse" for c in self.changes)
        return worse or bool(self.lost)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain JSON values; what is within noise is counted only."""
        told = [asdict(change) for change in self.changes if change.verdict != "same"]
        same = len(self.changes) - len(told)
        return {"regressed": self.regressed, "notes": self.notes, "lost": self.lost, "same": same} | {
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "changes": [{k: None if v != v else v for k, v in change.items()} for change in told],
        }

    def __str__(self) -> str:
        bad, good, plain = MARKS["bad"], MARKS["good"], MARKS["plain"]
        lines = [f"note: {note}" for note in self.notes] + [f"{bad} lost: {text}" for text in self.lost]
        for v in self.verdicts:
            lines.append(f"{bad if v.worse else plain} verdict: {v.what}: {v.base}, now {v.new} ({v.reason})")
        for kind, mark in (("worse", bad), ("better", good)):
            found = [change for change in self.changes if change.verdict == kind]
            for c in found[:LINES_SHOWN]:
                spread = f"{c.new - c.base:+.3g} [{c.low:+.3g}, {c.high:+.3g}], n {c.n}, p {c.p:.2g}"
                lines.append(f"{mark} {kind}: {c.what}: {number(c.base)}, now {number(c.new)}: {spread}")
            lines += [f"… and {len(found) - LINES_SHOWN} more"] if len(found) > LINES_SHOWN else []
        plain_ones = pd.Series([f"{c.study}: {as_words(c.metric)}" for c in self.changes if c.verdict == "changed"])
        lines += [f"{plain} changed: {name}, in {count} settings" for name, count in plain_ones.value_counts().items()]
        same = sum(change.verdict == "same" for change in self.changes)
        lines.append(f"{'worse than before' if self.regressed else 'nothing got worse'}; {same} numbers within noise")
        return "\n".join(lines)


def compare(base_dir: Path, new_dir: Path) -> Comparison:
    """Pairs two runs photo by photo.

    A number changed where p of its paired difference (`paired_test`), corrected by Holm for all numbers of its kind
    that both runs have, is below 0.05. The numbers of a study that have a better direction are one kind, those that
    have none another. What is better is the metric cards' to say, and for agreement, accuracy and passes it is fixed
    here; controls and all others can only change.

    Raises:
        SuiteError: no run in one of the directories, the runs saw different photos, or share no study.
    """
    manifests = tuple(read_manifest(path) for path in (base_dir, new_dir))
    data = tuple(m.get("data", {}) for m in manifests)
    if data[0].get("digest") != data[1].get("digest"):
        a, b = ({(f["id"], f.get("sha256")) for f in d.get("files", [])} for d in data)
        raise SuiteError(
            f"{base_dir} and {new_dir} saw different photos ({len(a)} and {len(b)}, {len(a & b)} in common); "
            f"run one of them again with data.source={base_dir}/files.csv"
        )
    frames = tuple(read(path) for path in (base_dir, new_dir))
    notes, out = _notes(manifests, frames)
    shared = set(frames[0]["study"]) & set(frames[1]["study"]) - out
    if not shared:
        raise SuiteError(f"{base_dir} and {new_dir} share no study with the same settings ({'; '.join(notes)})")
    frames = tuple(f[f["study"].isin(shared) & (f["implementation"] != "self-test")] for f in frames)
    versions = tuple(m.get("metric_versions", {}) for m in manifests)
    redefined = set[str]()
    for name in {**versions[0], **versions[1]}:
        old, new = (known.get(name, 1) for known in versions)
        study, _, metric = name.partition(".")
        if old != new:
            redefined.add(study)
            notes.append(f"{name}: left out, version {old}, now {new}; so are the verdicts of {study}")
            frames = tuple(f[(f["study"] != study) | (f["metric"] != metric)] for f in frames)
    tables = [build_tables(frame, manifest) for frame, manifest in zip(frames, manifests, strict=True)]
    unjudged = {section.verdicts for section in sections() if section.study in redefined}
    tables = [{name: table for name, table in made.items() if name not in unjudged} for made in tables]
    changes, few = _changes(*frames)
    return Comparison(notes + few, list(_verdicts(*tables)), changes, list(_lost(*frames)))


def _notes(manifests: tuple[dict[str, Any], ...], frames: tuple[pd.DataFrame, ...]) -> tuple[list[str], set[str]]:
    """What differs in how the runs were made, and the studies that cannot be compared for it."""
    notes, out = [], set[str]()
    for key in ("seed", "commit", "threads", "status"):
        old, new = (m.get(key) for m in manifests)
        if old != new:
            notes.append(f"{key} {old}, now {new}")
    for key in ("versions", "hardware", "models", "methods"):
        for name, old, new in _differences(manifests[0].get(key, {}), manifests[1].get(key, {})):
            notes.append(f"{key.removesuffix('s')} {name}: {old}, now {new}")
    machines = [{**m.get("hardware", {}), "threads": m.get("threads")} for m in manifests]
    if machines[0] != machines[1] and all("speed" in set(frame["study"]) for frame in frames):
        out.add("speed")
        notes.append("speed: left out, another machine or other threads")
    studies = [m.get("config", {}).get("studies", {}) for m in manifests]
    for study in sorted(set(frames[0]["study"]) | set(frames[1]["study"])):
        sides = zip(("base", "new run"), frames, strict=True)
        missing = [side for side, frame in sides if study not in set(frame["study"])]
        if missing:
            notes.append(f"{study}: not in the {missing[0]}")
        elif found := list(_differences(studies[0].get(study), studies[1].get(study))):
            out.add(study)
            said = ", ".join(f"{name} {old}, now {new}" for name, old, new in found[:3])
            notes.append(f"{study}: left out, its settings differ ({said})")
    return notes, out


def _differences(old: Any, new: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The leaves that differ, as (dotted name, old, new)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, "absent"), new.get(key, "absent"), f"{at}.{key}".strip("."))
    elif old != new:
        yield at, old, new


def _verdicts(base: Tables, new: Tables) -> Iterator[Verdict]:
    for section in sections():
        if section.verdicts not in base or section.verdicts not in new:
            continue
        old, now = (t[section.verdicts].set_index(["model", "method", "measure"]) for t in (base, new))
        for key in old.index.intersection(now.index):
            was, line = str(old.loc[[key], "verdict"].iloc[0]), now.loc[[key]].iloc[0]
            if was == line["verdict"]:
                continue
            model, method, measure = key
            worse = line["verdict"] in section.bad and was not in section.bad and not line.get("control", False)
            what = f"{section.study} of {method} on {model}{'' if measure == 'overall' else f', {measure}'}"
            # One measure among many is no verdict on the method: it is told, and the overall one counts.
            counts = measure == "overall" or "overall" not in set(now.index.get_level_values("measure"))
            yield Verdict(what, was, str(line["verdict"]), bool(worse and counts), str(line["reason"]))


def _lost(base: pd.DataFrame, new: pd.DataFrame) -> Iterator[str]:
    """What was a number and failed in the new run."""
    had = ok(base)[["study", "model", "image", "method"]].drop_duplicates()
    failed = new[new["status"] == "failed"].merge(had, on=["study", "model", "image"], suffixes=("", "_had"))
    failed = failed[(failed["method"] == failed["method_had"]) | (failed["method"] == "")]
    for (study, model, method), group in failed.groupby(["study", "model", "method"]):
        photos = group["image"].nunique()
        yield f"{study} of {method or 'all methods'} on {model} failed on {photos} photos: {group['message'].iloc[0]}"


def _changes(base: pd.DataFrame, new: pd.DataFrame) -> tuple[list[Change], list[str]]:
    """Every number that both runs have, and a note for each kind of which nothing could have been shown."""
    unit = ["image", "draw"]
    means = []
    for frame in (base, new):
        kept = ok(frame)
        kept = kept[~pd.MultiIndex.from_frame(kept[["study", "metric"]]).isin(_SKIPPED)]
        # Of a photo, random networks and targets are averaged; rounds of the clock are units of their own.
        groups = kept.assign(draw=kept["draw"].where(kept["study"] == "speed")).groupby([*_NUMBER, *unit], dropna=False)
        means.append(groups.agg(value=("value", "mean"), control=("control", "any")).reset_index())
    both = means[0].merge(means[1], on=[*_NUMBER, *unit], suffixes=("_base", "_new"))
    kinds: dict[tuple[str, bool], list[tuple[dict[str, Any], int, float, PairedTest]]] = {}
    for key, group in both.groupby(_NUMBER, dropna=False, sort=True):
        named = dict(zip(_NUMBER, key, strict=True))
        a, b = (group[f"value_{side}"].to_numpy(float) for side in ("base", "new"))
        finite = np.isfinite(a) & np.isfinite(b)
        if finite.any():
            direction = 0 if group["control_base"].any() else _direction(named)
            one = named, direction, float(a[finite].mean()), paired_test(b[finite], a[finite])
            kinds.setdefault((str(named["study"]), direction != 0), []).append(one)
    changes, notes = list[Change](), list[str]()
    for (study, directed), some in kinds.items():
        most, needed = max(test.n for *_, test in some), pairs_needed(len(some), alpha=ALPHA)
        if most < needed:
            what = "with a better direction" if directed else "that can only change"
            notes.append(f"{study}: too few units ({most}) for its {len(some)} numbers {what}; {needed} would do")
        for line, p in zip(some, holm([test.p for *_, test in some]), strict=True):
            changes.append(_change(*line, float(p)))
    return changes, notes


def _direction(named: dict[str, Any]) -> int:
    key = named["study"], named["metric"]
    if key[0] == "scores" and key[1] in cards():
        return cards()[str(key[1])].sign
    if key[0] == "speed" and named["implementation"] != "own":
        return 0
    return 1 if key in _HIGHER else -1 if key in _LOWER else 0


def _change(named: dict[str, Any], direction: int, base: float, test: PairedTest, p: float) -> Change:
    beyond = p < ALPHA
    if named["study"] == "speed":
        beyond = beyond and abs(test.mean) > SPEED_MARGIN * abs(base)
    better = test.mean * direction > 0
    verdict = "same" if not beyond else "changed" if not direction else "better" if better else "worse"
    settings = [as_words(str(named[k])) for k in ("implementation", "other", "stage") if named[k]]
    settings += [f"{k} {named[k]:g}" for k in ("x", "cell", "noise") if pd.notna(named[k])]
    of = f" of {named['method']}" if named["method"] else ""
    what = f"{named['study']}: {as_words(named['metric'])}{of} on {named['model']}"
    what += f" ({', '.join(settings)})" if settings else ""
    ends = base, base + test.mean, test.low, test.high
    return Change(what, named["study"], named["metric"], verdict, *ends, p, test.n)
