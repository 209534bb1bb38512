"""Visualization: what does the network look for? An item is a job: one batch of pictures, made and scored.

Photos of the run serve only where a job names one. A picture's noise and jitter depend on its seed alone, so that
variants and networks begin alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.core.network import Network
from suite.core.passes import Cost
from suite.core.pixels import as_saved, pixels
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.errors import ConfigError, DataError, did_you_mean
from suite.results.schema import row
from suite.studies.base import Outcome, Row, Rows, Study, Work
from suite.studies.visualization.config import JobConfig, PictureConfig, VisualizationConfig
from suite.synthesis import scores
from suite.synthesis.class_visualization import Objective, Recipe, visualize
from suite.synthesis.picture import recipe_of

_POINTS = 25  # of a curve
_UNITS = {"confidence": "probability", "saved_confidence": "probability", "steps": "steps", "saturated": "share"}


class _Tile(NamedTuple):
    """A picture as the report shows it: (H, W, 3) uint8, where it stands, and what is written below."""

    pixels: np.ndarray
    row: str
    column: str
    below: str


class Visualization(Study):
    """Class visualisations by recipe, sweep, seed and network: pictures, and scores that a picture does not show."""

    name: ClassVar[str] = "visualization"
    once: ClassVar[bool] = True

    def parts(self, config: RunConfig) -> int:
        """One a job."""
        return len(_jobs(config))

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """All steps of all pictures, as if shared by the photos of the first chunk."""
        titles = [part.title for part in config.models]
        steps = 0
        for job in _jobs(config):
            for title in job.networks:
                if title not in titles:
                    raise ConfigError(
                        f"visualization job {job.name!r}: no network {title!r}{did_you_mean(title, titles)}"
                    )
            steps += sum(r.steps for r in _recipes(job).values()) * len(job.pictures) * job.seeds
        share = -(-steps // min(config.data.batch_size, config.data.limit or config.data.batch_size))
        return Cost(share, share)

    def check(self, config: RunConfig, network: Network) -> None:
        for job in _jobs(config):
            if not job.networks or network.card.name in job.networks:
                for picture in job.pictures:
                    if picture.target:
                        network.card.classes.resolve(picture.target)

    def run(self, work: Work) -> Outcome:
        job = _jobs(work.config)[work.part]
        if job.networks and work.model.card.name not in job.networks:
            return Outcome([])
        rows: Rows = []
        tiles: list[_Tile] = []
        recipes = _recipes(job)
        for kind in dict.fromkeys(recipe.image for recipe in recipes.values()):
            mine = {label: recipe for label, recipe in recipes.items() if recipe.image == kind}
            made, shown = self._batch(work, job, mine)
            rows, tiles = rows + made, tiles + shown
        columns = map(np.array, zip(*tiles, strict=True))
        pictures = dict(zip(_Tile._fields, columns, strict=True)) | {"title": np.array(job.name)}
        return Outcome(rows, {f"visualization-{work.part:03d}": pictures})

    def _batch(self, work: Work, job: JobConfig, recipes: Mapping[str, Recipe]) -> tuple[Rows, list[_Tile]]:
        rows: Rows = []
        tiles: list[_Tile] = []
        seeds = [work.config.seed + k for k in range(job.seeds)]
        made = [(p, label, seed) for p in job.pictures for label in recipes for seed in seeds]
        begun = {p.title: _begun(p, work) for p in job.pictures}
        objectives = [Objective(recipe=recipes[label], seed=seed, **begun[p.title]) for p, label, seed in made]
        found = visualize(work.model, objectives, snapshots=job.snapshots)
        places = [
            work.place(self.name) | {"stage": job.name, "method": label, "image": p.title, "draw": seed}
            | {"target": objective.target, "layer": objective.layer}
            for (p, label, seed), objective in zip(made, objectives, strict=True)
        ]  # fmt: skip
        shots: list[tuple[int | None, Tensor]] = [*found.snapshots.items(), (None, found.images)]
        for x, images in shots:
            scored, confidences = self._scored(work, objectives, places, images, x)
            rows += scored
            if x is None and found.snapshots:
                continue  # the snapshots are shown instead
            for (p, label, seed), image, sure, why in zip(made, images, confidences, found.stopped, strict=True):
                seeded = f", seed {seed}" if job.seeds > 1 else ""
                after = f", {x} iterations" if x is not None else ""
                share = "" if np.isnan(sure) else f"confidence {sure:.1%}"
                below = "; ".join(filter(None, [share, why.partition(":")[0].partition(",")[0]]))
                tiles.append(_Tile(pixels(image), p.title, label + seeded + after, below))
        every = max(1, len(found.values) // _POINTS)
        for i, place in enumerate(places):
            rows.append(row(**place, metric="steps", value=int(found.done[i]), unit="steps", message=found.stopped[i]))
            for metric, curve in (("step_value", found.values), ("step_confidence", found.confidences)):
                points = [(t, float(curve[t, i])) for t in range(0, len(curve), every)]
                rows += [row(**place, metric=metric, x=float(t), value=v) for t, v in points if not np.isnan(v)]
        if job.seeds > 1:
            for i in range(0, len(made), job.seeds):
                value = scores.diversity(found.images[i : i + job.seeds])
                rows.append(row(**places[i] | {"draw": None}, metric="diversity", value=value))
        return rows, tiles

    def _scored(
        self, work: Work, objectives: list[Objective], places: list[Row], images: Tensor, x: int | None
    ) -> tuple[Rows, list[float]]:
        """Rows of all pictures after x iterations (None: as they ended); the confidences, NaN without a class."""
        columns = {("", name): measure(images) for name, measure in scores.PICTURE_SCORES.items()}
        aimed = torch.tensor([objective.target is not None for objective in objectives], device=images.device)
        targets = torch.tensor([objective.target or 0 for objective in objectives], device=images.device)
        if bool(aimed.any()):
            saved = scores.seen(work.model, as_saved(images), targets)
            judged = {("", name): value for name, value in scores.seen(work.model, images, targets).items()}
            judged["", "saved_confidence"] = saved["confidence"]
            for by in work.others:
                there = scores.seen(by.model, images, targets)
                judged |= {(by.model.card.name, name): there[name] for name in ("confidence", "top1")}
            columns |= {key: value.masked_fill(~aimed, torch.nan) for key, value in judged.items()}
        rows: Rows = []
        for (other, metric), values in columns.items():
            place = {"other": other, "metric": metric, "unit": _UNITS.get(metric, ""), "x": x}
            for objective, whose, value in zip(objectives, places, values.tolist(), strict=True):
                if np.isfinite(value):
                    rows.append(row(**whose, **place, value=value))
                elif objective.target is not None:
                    why = "the network's scores of this picture are not finite, or it is of one colour"
                    rows.append(row(**whose, **place, status="not_applicable", message=why))
        return rows, columns.get(("", "confidence"), torch.full((len(objectives),), torch.nan)).tolist()


def _jobs(config: RunConfig) -> tuple[JobConfig, ...]:
    return config.section(VisualizationConfig).jobs


def _recipes(job: JobConfig) -> dict[str, Recipe]:
    """Variant -> recipe."""
    made = {}
    for label, fields in (job.variants or {job.preset: {}}).items():
        changes = job.recipe | fields
        try:
            made[label] = recipe_of(changes.pop("preset", job.preset), changes)
        except ConfigError as error:
            raise ConfigError(f"visualization job {job.name!r}, variant {label!r}: {error}") from None
    return made


def _begun(picture: PictureConfig, work: Work) -> dict[str, Any]:
    """A picture as fields of a `Objective`."""
    network = work.model
    return {
        "target": network.card.classes.resolve(picture.target) if picture.target else None,
        "layer": picture.layer,
        "channel": picture.channel,
        "position": picture.position,
        "like": _photo(picture.like, network, work.config),
        "start": _photo(picture.start, network, work.config),
    }


def _photo(name: str, network: Network, config: RunConfig) -> Tensor | None:
    """A photo of the run's source by id or by the name of its label (the first of it), or a file of one's own."""
    if not name:
        return None
    path, classes = Path(name), network.card.classes
    if not path.is_file():
        files = list_images(config.data.source, labels=config.data.labels or None, classes=classes).files
        named = {classes.name(f.label): f for f in reversed(files) if f.label is not None} | {f.id: f for f in files}
        if name not in named:
            raise DataError(
                f"photo {name!r}: no id or label of {config.data.source!r}, and no file{did_you_mean(name, named)}"
            )
        path = named[name].path
    return load_image(path, resize=network.card.resize, crop=network.card.input_size)[0]


STUDY = Visualization()
