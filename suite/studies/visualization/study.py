"""Visualization: what does the network look for? An item is a job: one batch of pictures, made and scored.

Photos of the run serve only where a job names one. A picture's noise and jitter depend on its seed alone, so that
variants and networks begin alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

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
from suite.results.schema import Keys
from suite.studies.base import Outcome, Row, Rows, Study, Work
from suite.studies.visualization.config import JobConfig, PictureConfig, VisualizationConfig
from suite.synthesis import scores
from suite.synthesis.class_visualization import Objective, Recipe, visualize
from suite.synthesis.picture import recipe_of

_POINTS = 25  # of a curve
_UNITS = {"confidence": "probability", "saved_confidence": "probability", "steps": "steps", "saturated": "share"}
_TILE = ("pixels", "row", "column", "below")  # (H, W, 3) uint8, where it stands, and what is written below


class Visualization(Study):
    """Class visualisations by recipe, sweep, seed and network: pictures, and scores that a picture does not show."""

    name: ClassVar[str] = "visualization"
    keys: ClassVar[Keys] = {"job": str, "seed": int, "iterations": int, "layer": str, "other_model": str}
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
                    why = f"no network {title!r}{did_you_mean(title, titles)}"
                    raise ConfigError(f"visualization job {job.name!r}: {why}")
            steps += sum(r.steps for r in _recipes(job).values()) * len(job.pictures) * job.seeds
        share = -(-steps // min(config.data.batch_size, config.data.limit or config.data.batch_size))
        return Cost(share, share)

    def check(self, config: RunConfig, network: Network) -> None:
        for job in _jobs(config):
            for picture in job.pictures:
                if picture.target and (not job.networks or network.card.name in job.networks):
                    network.card.classes.resolve(picture.target)

    def run(self, work: Work) -> Outcome:
        job = _jobs(work.config)[work.part]
        if job.networks and work.model.card.name not in job.networks:
            return Outcome([])
        rows: Rows = []
        tiles: list[tuple[Any, ...]] = []
        recipes = _recipes(job)
        for kind in dict.fromkeys(recipe.image for recipe in recipes.values()):
            batch = {label: recipe for label, recipe in recipes.items() if recipe.image == kind}
            more_rows, more_tiles = self._batch(work, job, batch)
            rows, tiles = rows + more_rows, tiles + more_tiles
        arrays = {name: np.array(column) for name, column in zip(_TILE, zip(*tiles, strict=True), strict=True)}
        return Outcome(rows, {f"visualization-{work.part:03d}": arrays | {"title": np.array(job.name)}})

    def _batch(self, work: Work, job: JobConfig, recipes: Mapping[str, Recipe]) -> tuple[Rows, list[tuple[Any, ...]]]:
        rows: Rows = []
        tiles: list[tuple[Any, ...]] = []
        seeds = [work.config.seed + k for k in range(job.seeds)]
        pictures = [(p, label, seed) for p in job.pictures for label in recipes for seed in seeds]
        fields = {p.title: _objective(p, work) for p in job.pictures}
        objectives = [Objective(recipes[label], seed=seed, **fields[p.title]) for p, label, seed in pictures]
        ascent = visualize(work.model, objectives, snapshots=job.snapshots)
        keys = [
            work.columns(self.name) | {"job": job.name, "method": label, "image": p.title, "seed": seed}
            | {"target": objective.target, "layer": objective.layer}
            for (p, label, seed), objective in zip(pictures, objectives, strict=True)
        ]  # fmt: skip
        shots: list[tuple[int | None, Tensor]] = [*ascent.snapshots.items(), (None, ascent.images)]
        for iterations, images in shots:
            scored, confidences = _scored(work, keys, images, iterations)
            rows += scored
            if iterations is None and ascent.snapshots:
                continue  # the snapshots are shown instead
            for (p, label, seed), image, share, why in zip(pictures, images, confidences, ascent.stopped, strict=True):
                column = label + (f", seed {seed}" if job.seeds > 1 else "")
                column += f", {iterations} iterations" if iterations else ""
                confidence = "" if np.isnan(share) else f"confidence {share:.1%}"
                below = "; ".join(filter(None, [confidence, why.partition(":")[0].partition(",")[0]]))
                tiles.append((pixels(image), p.title, column, below))
        curves = {"step_value": ascent.values, "step_confidence": ascent.confidences}
        every = max(1, ascent.step // _POINTS)
        for i, key in enumerate(keys):
            steps = {"metric": "steps", "value": int(ascent.done[i]), "unit": "steps", "message": ascent.stopped[i]}
            rows.append(key | steps)
            for metric, curve in curves.items():
                points = [(t, float(curve[t, i])) for t in range(0, len(curve), every)]
                rows += [key | {"metric": metric, "iterations": t, "value": v} for t, v in points if not np.isnan(v)]
        for i in range(0, len(keys), job.seeds) if job.seeds > 1 else ():
            value = scores.diversity(ascent.images[i : i + job.seeds])
            rows.append(keys[i] | {"seed": None, "metric": "diversity", "value": value})
        return rows, tiles


def _scored(work: Work, keys: Sequence[Row], images: Tensor, iterations: int | None) -> tuple[Rows, list[float]]:
    """Rows of all pictures after some iterations (None: as they ended); the confidences, NaN without a class."""
    columns = {("", name): measure(images) for name, measure in scores.PICTURE_SCORES.items()}
    confidences = torch.full((len(keys),), torch.nan)
    has_target = torch.tensor([key["target"] is not None for key in keys], device=images.device)
    if bool(has_target.any()):
        targets = torch.tensor([key["target"] or 0 for key in keys], device=images.device)
        values = {("", name): value for name, value in scores.seen(work.model, images, targets).items()}
        values["", "saved_confidence"] = scores.seen(work.model, as_saved(images), targets)["confidence"]
        for held_out in work.others:
            judgement = scores.seen(held_out.model, images, targets)
            values |= {(held_out.model.card.name, name): judgement[name] for name in ("confidence", "top1")}
        columns |= {column: value.masked_fill(~has_target, torch.nan) for column, value in values.items()}
        confidences = columns["", "confidence"]
    rows: Rows = []
    for (other, metric), column in columns.items():
        unit = _UNITS.get(metric, "")
        fields = {"other_model": other, "metric": metric, "unit": unit, "iterations": iterations}
        for key, value in zip(keys, column.tolist(), strict=True):
            if np.isfinite(value):
                rows.append(key | fields | {"value": value})
            elif key["target"] is not None:
                why = "the network's scores of this picture are not finite, or it is of one colour"
                rows.append(key | fields | {"status": "not_applicable", "message": why})
    return rows, confidences.tolist()


def _jobs(config: RunConfig) -> tuple[JobConfig, ...]:
    return config.section(VisualizationConfig).jobs


def _recipes(job: JobConfig) -> dict[str, Recipe]:
    """Variant -> recipe."""
    recipes = {}
    for label, fields in (job.variants or {job.preset: {}}).items():
        changes = job.recipe | fields
        try:
            recipes[label] = recipe_of(changes.pop("preset", job.preset), changes)
        except ConfigError as error:
            raise ConfigError(f"visualization job {job.name!r}, variant {label!r}: {error}") from None
    return recipes


def _objective(picture: PictureConfig, work: Work) -> dict[str, Any]:
    """A picture as fields of an `Objective`."""
    photos = {name: _photo(getattr(picture, name), work.model, work.config) for name in ("like", "start")}
    target = work.model.card.classes.resolve(picture.target) if picture.target else None
    return photos | {"target": target} | picture.model_dump(include={"layer", "channel", "position"})


def _photo(name: str, network: Network, config: RunConfig) -> Tensor | None:
    """A photo of the run's source by id or by the name of its label (the first of it), or a file of one's own."""
    if not name:
        return None
    path, classes = Path(name), network.card.classes
    if not path.is_file():
        files = list_images(config.data.source, labels=config.data.labels or None, classes=classes).files
        named = {classes.name(f.label): f for f in reversed(files) if f.label is not None} | {f.id: f for f in files}
        if name not in named:
            why = f"no id or label of {config.data.source!r}, and no file{did_you_mean(name, named)}"
            raise DataError(f"photo {name!r}: {why}")
        path = named[name].path
    return load_image(path, resize=network.card.resize, crop=network.card.input_size)[0]


STUDY = Visualization()
