"""Two runs of the same photos: what changed beyond noise, and what got worse. Reads run directories; no torch."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import SuiteError
from suite.metrics.statistics import PairedTest, holm, paired_test, pairs_needed
from suite.report.sections import MARKS, Compared, Tables, ok, sections
from suite.report.tables import build_tables
from suite.report.words import as_words, number
from suite.results import COMMON, key_of, read, read_manifest, studies_in
from suite.results.schema import AT_ONCE

ALPHA = 0.05
LINES_SHOWN = 40
_SHARED = ("study", "model", "method", "metric")


@dataclass(frozen=True)
class Change:
    """One number of a run, over the units (photos; rounds of the clock) that both runs have.

    Attributes:
        what: study, method, network, metric and settings in words.
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
    """A verdict that changed; worse where it became a bad one."""

    what: str
    base: str
    new: str
    worse: bool
    reason: str


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`; `notes` name differences in how the runs were made, and what was left out."""

    notes: list[str]
    verdicts: list[Verdict]
    changes: list[Change]
    failed: list[str]

    @property
    def regressed(self) -> bool:
        """Whether anything got worse."""
        worse = any(v.worse for v in self.verdicts) or any(c.verdict == "worse" for c in self.changes)
        return worse or bool(self.failed)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; numbers within noise are only counted."""
        differing = [asdict(change) for change in self.changes if change.verdict != "same"]
        same = len(self.changes) - len(differing)
        return {"regressed": self.regressed, "notes": self.notes, "failed": self.failed, "same": same} | {
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "changes": [{k: None if v != v else v for k, v in change.items()} for change in differing],
        }

    def __str__(self) -> str:
        bad, good, plain = MARKS["bad"], MARKS["good"], MARKS["plain"]
        lines = [f"note: {note}" for note in self.notes] + [f"{bad} failed: {text}" for text in self.failed]
        for v in self.verdicts:
            lines.append(f"{bad if v.worse else plain} verdict: {v.what}: {v.base}, now {v.new} ({v.reason})")
        for kind, mark in (("worse", bad), ("better", good)):
            changes = [change for change in self.changes if change.verdict == kind]
            for c in changes[:LINES_SHOWN]:
                spread = f"{c.new - c.base:+.3g} [{c.low:+.3g}, {c.high:+.3g}], n {c.n}, p {c.p:.2g}"
                lines.append(f"{mark} {kind}: {c.what}: {number(c.base)}, now {number(c.new)}: {spread}")
            lines += [f"… and {len(changes) - LINES_SHOWN} more"] if len(changes) > LINES_SHOWN else []
        plain_ones = pd.Series([f"{c.study}: {as_words(c.metric)}" for c in self.changes if c.verdict == "changed"])
        lines += [f"{plain} changed: {name}, in {count} settings" for name, count in plain_ones.value_counts().items()]
        same = sum(change.verdict == "same" for change in self.changes)
        lines.append(f"{'worse than before' if self.regressed else 'nothing got worse'}; {same} numbers within noise")
        return "\n".join(lines)


def compare(base_dir: Path, new_dir: Path) -> Comparison:
    """Pairs two runs photo by photo.

    A number changed where p of its paired difference (`paired_test`), corrected by Holm for all numbers of its kind
    that both runs have, is below 0.05. The numbers of a study that have a better direction are one kind, those that
    have none another. What is better is said by each study's section (`Compared`); controls can only change.

    Raises:
        SuiteError: no run in one of the directories, the runs saw different photos, or share no study.
    """
    base, new = read_manifest(base_dir), read_manifest(new_dir)
    data = base.get("data", {}), new.get("data", {})
    if data[0].get("digest") != data[1].get("digest"):
        a, b = ({(f["id"], f.get("sha256")) for f in d.get("files", [])} for d in data)
        raise SuiteError(
            f"{base_dir} and {new_dir} saw different photos ({len(a)} and {len(b)}, {len(a & b)} in common); "
            f"run one of them again with data.source={base_dir}/files.csv"
        )
    notes = _settings_that_differ(base, new)
    shared, unshared = _shared_studies((base, new), (studies_in(base_dir), studies_in(new_dir)))
    notes += unshared
    if not shared:
        raise SuiteError(f"{base_dir} and {new_dir} share no study with the same settings ({'; '.join(notes)})")
    redefined = _redefined(base, new)
    notes += [
        f"{study}.{metric}: left out, version {versions[0]}, now {versions[1]}; so are the verdicts of {study}"
        for (study, metric), versions in redefined.items()
    ]
    changes, failed = list[Change](), list[str]()
    for study in shared:
        old, now = (_compared_rows(read(path, study), study, redefined) for path in (base_dir, new_dir))
        of_study, few = _changes(old, now, study)
        changes, notes = changes + of_study, notes + few
        failed += _failed_since(old, now)
    judged = {*shared} - {study for study, _ in redefined}
    before, after = (build_tables(path, m) for path, m in ((base_dir, base), (new_dir, new)))
    return Comparison(notes, list(_verdicts(before, after, judged)), changes, failed)


def _settings_that_differ(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Differences in how the runs were made, a line each."""
    keys = ("seed", "commit", "threads", "status")
    notes = [f"{key} {base.get(key)}, now {new.get(key)}" for key in keys if base.get(key) != new.get(key)]
    for key in ("versions", "hardware", "numerics", "models", "methods"):
        word = key if key == "numerics" else key.removesuffix("s")
        for name, before, after in _differences(base.get(key, {}), new.get(key, {})):
            notes.append(f"{word} {name}: {before}, now {after}")
    return notes


def _shared_studies(
    manifests: tuple[dict[str, Any], dict[str, Any]], present: tuple[list[str], list[str]]
) -> tuple[list[str], list[str]]:
    """The studies that both runs have with the same settings, and why the others are left out."""
    shared, notes = [], []
    machines = [[m.get(key) for key in ("hardware", "numerics", "threads")] for m in manifests]
    settings = [m.get("config", {}).get("studies", {}) for m in manifests]
    for study in sorted({*present[0], *present[1]}):
        absent = [side for side, studies in zip(("base", "new run"), present, strict=True) if study not in studies]
        if absent:
            notes.append(f"{study}: not in the {absent[0]}")
        elif differences := list(_differences(settings[0].get(study), settings[1].get(study))):
            listed = ", ".join(f"{name} {before}, now {after}" for name, before, after in differences[:3])
            notes.append(f"{study}: left out, its settings differ ({listed})")
        elif _compared(study).of_machine and machines[0] != machines[1]:
            notes.append(f"{study}: left out, another machine or other threads")
        else:
            shared.append(study)
    return shared, notes


def _redefined(base: Mapping[str, Any], new: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    """(study, metric) -> both versions of a metric that has been defined anew."""
    before, after = (m.get("metric_versions", {}) for m in (base, new))
    versions = {name: (before.get(name, 1), after.get(name, 1)) for name in {**before, **after}}
    split = {name: name.partition(".") for name in versions}
    return {(split[name][0], split[name][2]): pair for name, pair in versions.items() if pair[0] != pair[1]}


def _compared(study: str) -> Compared:
    return next((section.compared for section in sections() if section.study == study), Compared())


def _compared_rows(rows: pd.DataFrame, study: str, redefined: Collection[tuple[str, str]]) -> pd.DataFrame:
    """The rows without metrics that were defined anew, and without those that the study's section leaves out."""
    skipped = _compared(study).skipped | {AT_ONCE} | {metric for owner, metric in redefined if owner == study}
    rows = rows[~rows["metric"].isin(skipped)]
    for column, value in _compared(study).without.items():
        rows = rows[rows[column] != value]
    return rows


def _differences(old: Any, new: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The leaves that differ, as (dotted name, old, new)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, "absent"), new.get(key, "absent"), f"{at}.{key}".strip("."))
    elif old != new:
        yield at, old, new


def _verdicts(base: Tables, new: Tables, studies: Collection[str]) -> Iterator[Verdict]:
    for section in sections():
        if section.study not in studies or section.verdicts not in base or section.verdicts not in new:
            continue
        old, now = (t[section.verdicts].set_index(["model", "method", "measure"]) for t in (base, new))
        for key in old.index.intersection(now.index):
            was, line = str(old.loc[[key], "verdict"].iloc[0]), now.loc[[key]].iloc[0]
            if was == line["verdict"]:
                continue
            model, method, measure = key
            worse = line["verdict"] in section.bad and was not in section.bad and not line.get("control", False)
            what = f"{section.study} of {method} on {model}{'' if measure == 'overall' else f', {measure}'}"
            # One measure among many is no verdict on the method: it is listed, but only the overall one counts.
            counts = measure == "overall" or "overall" not in set(now.index.get_level_values("measure"))
            yield Verdict(what, was, str(line["verdict"]), bool(worse and counts), str(line["reason"]))


def _failed_since(base: pd.DataFrame, new: pd.DataFrame) -> Iterator[str]:
    """Values of the base run that failed in the new one."""
    had = ok(base)[["study", "model", "image", "method"]].drop_duplicates()
    failed = new[new["status"] == "failed"].merge(had, on=["study", "model", "image"], suffixes=("", "_had"))
    failed = failed[(failed["method"] == failed["method_had"]) | (failed["method"] == "")]
    for (study, model, method), group in failed.groupby(["study", "model", "method"]):
        photos = group["image"].nunique()
        yield f"{study} of {method or 'all methods'} on {model} failed on {photos} photos: {group['message'].iloc[0]}"


def _changes(base: pd.DataFrame, new: pd.DataFrame, study: str) -> tuple[list[Change], list[str]]:
    """Every number of a study that both runs have, and a note for each kind with too few units to show a change."""
    compared = _compared(study)
    own = [name for name in key_of([str(name) for name in base]) if name in new and name not in COMMON]
    number = [*_SHARED, *(name for name in own if name not in (*compared.averaged, *compared.units))]
    unit = ["image", *compared.units]
    means = []
    for frame in (base, new):
        grouped = ok(frame).groupby([*number, *unit], dropna=False)
        means.append(grouped.agg(value=("value", "mean"), control=("control", "any")).reset_index())
    paired = means[0].merge(means[1], on=[*number, *unit], suffixes=("_base", "_new"))
    kinds: dict[bool, list[tuple[dict[str, Any], int, float, PairedTest]]] = {}
    for key, group in paired.groupby(number, dropna=False, sort=True):
        named = dict(zip(number, key, strict=True))
        before, after = (group[f"value_{side}"].to_numpy(float) for side in ("base", "new"))
        finite = np.isfinite(before) & np.isfinite(after)
        if finite.any():
            direction = 0 if group["control_base"].any() else compared.direction(named)
            test = paired_test(after[finite], before[finite])
            kinds.setdefault(direction != 0, []).append((named, direction, float(before[finite].mean()), test))
    changes, notes = list[Change](), list[str]()
    for directed, lines in kinds.items():
        most, needed = max(test.n for *_, test in lines), pairs_needed(len(lines), alpha=ALPHA)
        if most < needed:
            what = "with a better direction" if directed else "that can only change"
            notes.append(f"{study}: too few units ({most}) for its {len(lines)} numbers {what}; {needed} would do")
        for line, p in zip(lines, holm([test.p for *_, test in lines]), strict=True):
            changes.append(_change(*line, float(p), compared.margin))
    return changes, notes


def _change(named: dict[str, Any], direction: int, base: float, test: PairedTest, p: float, margin: float) -> Change:
    beyond = p < ALPHA and abs(test.mean) > margin * abs(base)
    better = test.mean * direction > 0
    verdict = "same" if not beyond else "changed" if not direction else "better" if better else "worse"
    settings = []
    for name, value in named.items():
        if name not in _SHARED and pd.notna(value) and value != "":
            settings.append(as_words(value) if isinstance(value, str) else f"{name} {value:g}")
    method = f" of {named['method']}" if named["method"] else ""
    what = f"{named['study']}: {as_words(named['metric'])}{method} on {named['model']}"
    what += f" ({', '.join(settings)})" if settings else ""
    ends = base, base + test.mean, test.low, test.high
    return Change(what, named["study"], named["metric"], verdict, *ends, p, test.n)
