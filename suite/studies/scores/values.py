"""The rows of scores as arrays, a number a photo, gathered from a stream of tables. No torch, no files, no verdicts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from suite.errors import SuiteError
from suite.metrics.cards import cards
from suite.report.words import as_words
from suite.results import key_of

SIDE = frozenset({"raw", "score", "accuracy"})  # forms of a metric that stand in the table and decide nothing
_CELL = ["model", "metric", "variant", "baseline", "method"]
_BLOCK = 4096  # photos whose correlations are worked out at a time


@dataclass(frozen=True)
class Cell:
    """The rows of one method in one form of a metric on one network.

    Attributes:
        values: (photos,) NaN where there is no number.
        present: (photos,) whether there is a row at all.
        control: whether the method is one.
    """

    method: str
    variant: str
    baseline: str
    control: bool
    values: NDArray[np.float64]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """One measure on one network: what its methods and controls have on some of the photos.

    Attributes:
        name: metric, form, and what replaces pixels where several do.
        cells: by method, form and what replaces pixels.
        photos: (photos,) those that count.
    """

    model: str
    metric: str
    name: str
    cells: Sequence[Cell]
    photos: NDArray[np.bool_]

    def among(self, photos: NDArray[np.bool_]) -> "Scored":
        """The same on some of the photos, without what has no row there."""
        photos = photos & self.photos
        return replace(self, cells=[cell for cell in self.cells if (cell.present & photos).any()], photos=photos)

    @property
    def variant(self) -> str:
        """The form of the first row."""
        return (self.first() or ("", "", ""))[2]

    @property
    def variants(self) -> set[str]:
        return {cell.variant for cell in self.cells}

    @property
    def baselines(self) -> set[str]:
        return {cell.baseline for cell in self.cells}

    @property
    def methods(self) -> dict[str, Cell]:
        """Method -> the first of its cells."""
        methods: dict[str, Cell] = {}
        for cell in self.cells:
            methods.setdefault(cell.method, cell)
        return methods

    def without_controls(self) -> "Scored":
        """The methods alone."""
        return replace(self, cells=[cell for cell in self.cells if not cell.control])

    def first(self, *, ok: bool = False) -> tuple[str, str, str, str, int, str] | None:
        """Model, method, form, baseline, photo and metric of the first row (that has a number); sorts measures."""
        for cell in self.cells:
            at = self.photos & (~np.isnan(cell.values) if ok else cell.present)
            if at.any():
                return self.model, cell.method, cell.variant, cell.baseline, int(at.argmax()), self.metric
        return None

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Method -> (photos that count,), for those that have a number."""
        columns: dict[str, NDArray[np.float64]] = {}
        for cell in self.cells:
            values = cell.values[self.photos]
            before = columns.get(cell.method, values)
            columns[cell.method] = np.where(np.isnan(before), values, before)
        return {method: values for method, values in columns.items() if not np.isnan(values).all()}

    def values(self) -> dict[str, NDArray[np.float64]]:
        """The same on those photos on which some method has a number."""
        columns = self.columns()
        scored = ~np.all([np.isnan(values) for values in columns.values()], axis=0)
        return {method: values[scored] for method, values in columns.items()}


def in_order(measures: Iterable[Scored], *, ok: bool = False) -> list[Scored]:
    """Those that have rows (with a number), by the first of these."""
    first = [(position, measure) for measure in measures if (position := measure.first(ok=ok))]
    return [measure for _, measure in sorted(first, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class Gathered:
    """All that the section on scores needs of its rows.

    Attributes:
        images: (photos,) their names, sorted.
        measures: what was measured, in the order of the rows.
        tested: the rows of the self-test.
        failed: the rows that failed, also of the predictions.
        wrong: network -> photos whose target does not come first.
    """

    images: NDArray[np.object_]
    measures: list[Scored]
    tested: pd.DataFrame
    failed: pd.DataFrame
    wrong: dict[str, set[str]]

    def split(self) -> tuple[list[Scored], list[Scored]]:
        """The measures on photos that their network gets right, and on those that it gets wrong."""
        missed = {model: np.isin(self.images, list(names)) for model, names in self.wrong.items()}
        none = np.zeros(len(self.images), bool)
        right = in_order(m.among(~missed.get(m.model, none)) for m in self.measures)
        return right, in_order(m.among(missed.get(m.model, none)) for m in self.measures)


class _Cells:
    """Numbers by cell, as they come."""

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
        self.parts: dict[tuple[str, ...], list[tuple[NDArray[np.int32], NDArray[np.float64]]]] = {}
        self.controls: set[tuple[str, ...]] = set()

    def add(self, rows: pa.Table) -> None:
        frame = rows.select([*_CELL, "image", "value", "control"]).to_pandas(strings_to_categorical=True)
        names = frame["image"].cat
        index = np.array([self.images.setdefault(name, len(self.images)) for name in names.categories], np.int32)
        images, values = index[names.codes], frame["value"].to_numpy(float)
        controls = frame["control"].to_numpy(bool)
        for cell, at in frame.groupby(_CELL, observed=True, sort=False).indices.items():
            self.parts.setdefault(cell, []).append((images[at], values[at]))
            if controls[at].any():
                self.controls.add(cell)

    def measures(self) -> tuple[NDArray[np.object_], list[Scored]]:
        images = np.array(sorted(self.images), dtype=object)
        position = np.empty(len(images), np.int32)  # of a photo by its number
        position[[self.images[name] for name in images]] = np.arange(len(images), dtype=np.int32)
        kinds = pd.DataFrame(list(self.parts), columns=_CELL).groupby("metric")["baseline"].nunique()
        cells: dict[tuple[str, str, str], list[Cell]] = {}
        for key in sorted(self.parts):
            model, metric, variant, baseline, method = key
            at, values = (np.concatenate(arrays) for arrays in zip(*self.parts.pop(key), strict=True))
            cell = Cell(method, variant, baseline, key in self.controls, np.full(len(images), np.nan),
                        np.zeros(len(images), bool))  # fmt: skip
            cell.values[position[at]], cell.present[position[at]] = values, True
            if (doubled := len(at) - int(cell.present.sum())) > 0:
                raise SuiteError(
                    f"{doubled} row(s) of scores whose key is there already: {metric} of {method} on {model}; "
                    "two shards hold the same item: delete rows/ and run again"
                )
            name = measure_name(metric, variant, baseline if kinds[metric] > 1 else "")
            cells.setdefault((model, metric, name), []).append(cell)
        every = np.ones(len(images), bool)
        for some in cells.values():
            some.sort(key=lambda cell: (cell.method, cell.variant, cell.baseline))
        return images, in_order(Scored(*key, some, every) for key, some in cells.items())


def measure_name(metric: str, variant: str, baseline: str = "") -> str:
    """What a measure is called: metric, form, and what replaces pixels where it is said."""
    form = f" ({variant})" if variant not in ("", "probability") else ""
    return as_words(metric) + form + (f", {baseline}" if baseline else "")


def gather(tables: Iterable[pa.Table]) -> Gathered:
    """Rows of scores and predictions, as `suite.results.scan` gives them, as arrays.

    Raises:
        SuiteError: two rows have one key.
    """
    cells, wrong = _Cells(), dict[str, set[str]]()
    tested, failed = list[pd.DataFrame](), list[pd.DataFrame]()
    names = pa.array(list(cards()))
    for table in tables:
        undone = table.filter(pc.equal(table["status"], "failed"))
        failed.append(undone.select(["study", "model", "method", "metric", "image", "status"]).to_pandas())
        top = table.filter(pc.and_(pc.equal(table["study"], "predictions"), pc.equal(table["metric"], "top1")))
        for model, image in _missed(top):
            wrong.setdefault(model, set()).add(image)
        if "role" not in table.column_names:
            continue
        scores = pc.and_(pc.equal(table["study"], "scores"), pc.is_in(table["metric"], names))
        tested.append(table.filter(pc.and_(scores, pc.equal(table["role"], "self-test"))).to_pandas())
        cells.add(table.filter(pc.and_(scores, pc.equal(table["role"], ""))))
    images, measures = cells.measures()
    return Gathered(images, measures, _sorted(tested), _sorted(failed).drop_duplicates(), wrong)


def _missed(top: pa.Table) -> Iterable[tuple[str, str]]:
    top = top.filter(pc.equal(top["status"], "ok"))
    missed = top.filter(pc.fill_null(pc.not_equal(top["value"], pc.cast(top["target"], pa.float64())), True))
    return zip(missed["model"].to_pylist(), missed["image"].to_pylist(), strict=True)


def _sorted(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat([frame for frame in frames if len(frame)] or list(frames)[:1] or [pd.DataFrame({"model": []})])
    return frame.sort_values(key_of(frame.columns.tolist()), kind="stable", na_position="first", ignore_index=True)


def aligned(measures: Sequence[Scored]) -> NDArray[np.float64]:
    """(measures, methods, photos), higher is better; all of one network and on the same photos."""
    columns = [measure.columns() for measure in measures]
    methods = sorted(set().union(*columns))
    values = np.full((len(measures), len(methods), int(measures[0].photos.sum())), np.nan)
    for i, (measure, by_method) in enumerate(zip(measures, columns, strict=True)):
        for k, method in enumerate(methods):
            if method in by_method:
                values[i, k] = cards()[measure.metric].sign * by_method[method]
    return values


def rank_correlations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's correlation over methods of each two measures on each photo.

    A measure counts on a photo only if no method that is present there lacks it and its values are not all equal; a
    photo only if three methods are present.

    Args:
        values: (measures, methods, photos), NaN where there is no number.

    Returns:
        (measures, measures, photos), NaN where one of the two does not count.
    """
    measures, _, photos = values.shape
    correlations = np.empty((measures, measures, photos))
    for start in range(0, photos, _BLOCK):
        at = slice(start, start + _BLOCK)
        block = values[:, :, at]
        finite = ~np.isnan(block)
        present = finite.any(0)
        count = present.sum(0)
        ranks = np.zeros_like(block)
        for k in range(block.shape[1]):  # NaN is neither below nor above
            ranks += (block[:, k : k + 1] < block).astype(np.int8) - (block[:, k : k + 1] > block).astype(np.int8)
        norm = np.sqrt(np.square(ranks).sum(1))
        counts = (finite == present).all(1) & (count >= 3) & (norm > 0)
        unit = np.divide(ranks, norm[:, None], out=np.full_like(ranks, np.nan), where=counts[:, None])
        correlations[:, :, at] = np.clip(np.einsum("amp,bmp->abp", unit, unit), -1, 1)
    return correlations


def curve_means(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """What is plotted beside the tables: curves as a mean a share, and what passes a method costs.

    Returns:
        Lines of model, metric, baseline, method and share, with control, n, mean, and the values' standard deviation.
    """
    by = ["model", "metric", "baseline", "method", "share"]
    parts = list[pd.DataFrame]()
    for table in tables:
        if "share" not in table.column_names:
            continue
        wanted = pc.or_(pc.ends_with(table["metric"], "_curve"), pc.equal(table["metric"], "passes"))
        table = table.filter(pc.and_(wanted, pc.equal(table["status"], "ok")))
        groups = table.select([*by, "control", "value"]).to_pandas().groupby(by, dropna=False)
        part = groups.agg(control=("control", "any"), n=("value", "size"), mean=("value", "mean"), var=("value", "var"))
        parts.append(part.reset_index())
    lines = pd.concat(parts) if parts else pd.DataFrame(columns=[*by, "control", "n", "mean", "var"])
    lines = lines.assign(total=lines["mean"] * lines["n"], squares=lines["var"].fillna(0) * (lines["n"] - 1))
    together = lines.groupby(by, dropna=False)
    means = together["total"].transform("sum") / together["n"].transform("sum")
    lines["squares"] += lines["n"] * np.square(lines["mean"] - means)  # of parts about the mean of all
    result = lines.groupby(by, dropna=False).agg(
        control=("control", "any"), n=("n", "sum"), total=("total", "sum"), squares=("squares", "sum")
    )
    spread = np.sqrt(result["squares"] / (result["n"] - 1).clip(lower=1))
    return result.assign(mean=result["total"] / result["n"], sd=spread)[["control", "n", "mean", "sd"]].reset_index()
