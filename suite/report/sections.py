"""What a section of the report is: the tables, plots and pictures of one study. Pure functions of rows; no torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from suite.metrics.statistics import mean_interval, wilson_interval
from suite.registry import ALWAYS, studies, study_part
from suite.report.style import Figure

Tables = dict[str, pd.DataFrame]
Captions = Mapping[tuple[str, str], tuple[str, str]]  # (network, photo) -> the photo's label, what the network sees


class Plot(NamedTuple):
    """One figure: its file's name under plots/, a sentence that says what it shows, and what draws it."""

    name: str
    text: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Compared:
    """How `suite compare` reads the rows of a study.

    Attributes:
        higher, lower: the metrics of which that is better; all others can only change.
        where: key column -> the value that a row has if its metric has a better direction.
        skipped: metrics that are no quality of anything.
        without: key column -> the value whose rows are left out.
        averaged: key columns over whose values a photo's numbers are averaged, such as draws.
        units: key columns that name, beside the image, what one number is of.
        of_machine: whether the numbers depend on the machine and its threads.
        margin: the share of the base by which a number must move: what a machine does is in all rounds of a run.
    """

    higher: frozenset[str] = frozenset()
    lower: frozenset[str] = frozenset()
    where: Mapping[str, str] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    without: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ("draw", "seed")
    units: tuple[str, ...] = ()
    of_machine: bool = False
    margin: float = 0.0

    def direction(self, named: Mapping[str, Any]) -> int:
        """1 where higher is better, -1 where lower is, 0 where a number can only change."""
        if any(named.get(column) != value for column, value in self.where.items()):
            return 0
        return (named["metric"] in self.higher) - (named["metric"] in self.lower)


@dataclass(frozen=True)
class Section:
    """What the report says of one study.

    Attributes:
        study: its name in rows.
        title: the section's heading.
        texts: table's file name -> (title, what the numbers mean and which direction is better).
        tables: (the study's rows, manifest) -> tables by file name, in reading order; empty ones are dropped. The
            table `<study>_verdicts` has the columns model, method, measure, verdict, reason and stands first of all.
        gather: where all rows do not fit memory as a frame, (their stream, as `suite.results.scan` gives it) -> what
            `tables` takes in their place.
        plots: (the study's rows, its tables) -> figures; whoever draws keeps them while neither of the two changes.
        plot_rows: as `gather`, a frame that `plots` takes in place of the rows.
        draw: (run directory, manifest) -> pictures drawn from saved arrays: (file, title, alternative text).
        shown: pictures that stand on the page at most; the others are files only.
        also: other studies whose rows `tables` needs to see.
        good, bad: verdicts shown as such; all others are neither.
        sentences: verdict -> what it says of the method, after its name.
        findings: (all tables) -> what is said first of a study that judges nothing: lines of model, method, verdict
            (a few words or a number) and reason.
        headers: column -> words, where underscores made spaces do not read well.
        page: its page under docs/, without .md; studies/<study> by default.
        of_network: whether its findings are of the network, and no method is answerable for them.
        question: what people ask that this study answers, as the first page says it; "" for what comes after these.
        overview: (all tables, manifest) -> tables made of the other studies' tables.
        order: the columns by which its tables are sorted, behind metric and network.
        compared: how `suite compare` reads its rows.
        captions: (all tables) -> the words beside photos.
        terminal: tables that a terminal shows after a run -> their columns there, all where none is named.
        beside: number of a verdict -> plots of other studies that are shown beside it. A section that has them stands
            first on the page, and the other sections' pictures are files only.
    """

    study: str
    title: str
    texts: Mapping[str, tuple[str, str]]
    tables: Callable[[Any, dict[str, Any]], Tables]
    gather: Callable[[Iterable[pa.Table]], Any] | None = None
    plot_rows: Callable[[Iterable[pa.Table]], pd.DataFrame] | None = None
    plots: Callable[[pd.DataFrame, Tables], Iterable[Plot]] = lambda rows, tables: ()
    draw: Callable[[Path, dict[str, Any]], list[tuple[Path, str, str]]] = lambda run_dir, manifest: []
    shown: int = 6
    also: tuple[str, ...] = ()
    good: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()
    sentences: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    findings: Callable[[Tables], Iterable[dict[str, Any]]] = lambda tables: ()
    page: str = ""
    of_network: bool = False
    question: str = ""
    overview: Callable[[Tables, dict[str, Any]], Tables] = lambda tables, manifest: {}
    captions: Callable[[Tables], Captions] = lambda tables: {}
    terminal: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    order: tuple[str, ...] = ("method", "image")
    compared: Compared = Compared()

    @property
    def verdicts(self) -> str:
        """The name of its table of verdicts."""
        return f"{self.study}_verdicts"

    def tone(self, verdict: str) -> str:
        """good, bad or plain."""
        return "good" if verdict in self.good else "bad" if verdict in self.bad else "plain"


@cache
def sections() -> tuple[Section, ...]:
    """The sections of all studies that have one, in the order of the registry. They are imported on the first call."""
    parts = (study_part(name, "report:SECTION") for name in studies())
    return tuple(part for part in parts if part is not None)


MARKS = {"good": "✓", "bad": "✗", "plain": "–"}


def headline(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What is said first of a study: its overall verdicts where it has such, else all."""
    overall = verdicts["measure"] == "overall"
    return verdicts[overall] if overall.any() else verdicts


def ok(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a number."""
    return rows[rows["status"] == "ok"]


def unreadable(rows: pd.DataFrame, model: str) -> frozenset[str]:
    """The photos that could not be read at all: they failed in the study predictions and reached no other."""
    failed = rows[(rows["study"] == ALWAYS) & (rows["model"] == model) & (rows["status"] == "failed")]
    return frozenset(failed["image"]) - {""}


def groups(frame: pd.DataFrame, *by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The groups of a table in its own order; none of an empty one, whatever its columns."""
    if len(frame):
        yield from frame.groupby(by[0] if len(by) == 1 else list(by), sort=False, dropna=False)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, each by column."""
    return [{str(column): value for column, value in line.items()} for line in table.to_dict("records")]


def summarise(
    frame: pd.DataFrame, by: Sequence[str], of: Callable[[pd.DataFrame], Mapping[str, Any] | None]
) -> pd.DataFrame:
    """A line a group: its keys and then what `of` makes of it; a group of which it makes None has no line."""
    lines = []
    for key, group in groups(frame, *by):
        keys = dict(zip(by, key if len(by) > 1 else (key,), strict=True))
        if (line := of(group)) is not None:
            if clash := keys.keys() & line.keys():
                raise ValueError(f"a table's columns {', '.join(sorted(clash))} would be keys and numbers at once")
            lines.append(keys | dict(line))
    return pd.DataFrame(lines)


def square(pairs: pd.DataFrame, first: str, second: str, value: str) -> pd.DataFrame:
    """A symmetric table of what lies between two names, 1 on its diagonal and NaN where no pair says."""
    names = list(dict.fromkeys([*pairs[first], *pairs[second]]))
    half = pairs.pivot(index=first, columns=second, values=value).reindex(index=names, columns=names).to_numpy(float)
    values = np.where(np.isnan(half), half.T, half)
    np.fill_diagonal(values, 1)
    return pd.DataFrame(values, names, names)


def by_metric(group: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """The values of each metric."""
    return {str(metric): part["value"] for metric, part in group.groupby("metric")}


def with_ends(name: str, value: float, ends: tuple[float, float]) -> dict[str, float]:
    """A number and the ends of its interval as `name`, `name_low`, `name_high`."""
    return {name: float(value), f"{name}_low": ends[0], f"{name}_high": ends[1]}


def mean_with_interval(name: str, values: "pd.Series[float]") -> dict[str, float]:
    """`n`, and the mean with its 95% interval, Student's t."""
    return {"n": len(values)} | with_ends(name, values.mean(), mean_interval(values.to_numpy(float)))


def seeds_with_interval(name: str, values: "pd.Series[float]", seeds: "pd.Series[Any]") -> dict[str, float]:
    """`n`, `seeds`, and the mean over seeds of shares, each of a network of its own, with its 95% interval.

    Student's t over the seeds' means, and nowhere narrower than Wilson's over all pictures, which it can be by chance
    where seeds are few; no interval for fewer than three seeds.
    """
    means = values.groupby(seeds).mean()
    ends = np.array([mean_interval(means), wilson_interval(round(values.sum()), len(values))])
    low, high = (max(0.0, ends[:, 0].min()), min(1.0, ends[:, 1].max())) if len(means) >= 3 else (np.nan, np.nan)
    return {"n": len(values), "seeds": len(means)} | with_ends(name, means.mean(), (low, high))


def share_with_interval(name: str, hits: "pd.Series[Any]", confidence: float = 0.95) -> dict[str, float]:
    """`n`, and the share of ones (or True; or the mean of shares) with Wilson's interval."""
    ends = wilson_interval(float(hits.sum()), len(hits), confidence=confidence)
    return {"n": len(hits)} | with_ends(name, hits.mean(), ends)


def median_with_quartiles(name: str, values: "pd.Series[float]") -> dict[str, float]:
    """The median with the ends of the middle half."""
    middle, low, high = values.quantile([0.5, 0.25, 0.75])
    return with_ends(name, middle, (low, high))
