"""Configuration -> list of work. Pure: reads no image, runs no network; `--dry-run` prints what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest

from suite.attribution.base import Attribution
from suite.attribution.fused import make_method, plan_cost
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.registry import ALWAYS, study_part
from suite.studies.base import Study


@dataclass(frozen=True)
class WorkItem:
    """One study, one network, one fixed chunk of images.

    Attributes:
        study, model: names.
        index: of the chunk.
        images: positions in the run's list of files.
        part: of the study's work on this chunk (a draw, say).
    """

    study: str
    model: str
    index: int
    images: tuple[int, ...]
    part: int = 0

    def shard(self, network: int) -> str:
        """The shard's path under `rows/`; `network` is the network's number, so that no name can escape the folder."""
        part = f"-{self.part:03d}" if self.part else ""
        return f"{self.study}/{network:02d}-{self.index:06d}{part}.parquet"


def studies_of(config: RunConfig) -> dict[str, Study]:
    """The studies of a run by name; predictions always come first."""
    return {name: study_part(name, "study:STUDY") for name in (ALWAYS, *config.studies.chosen())}


def methods_of(config: RunConfig) -> dict[str, Attribution]:
    """Label -> method, parameters checked."""
    return {m.title: make_method(m.name, m.parameters) for m in config.methods}


def chunks(count: int, size: int) -> list[tuple[int, ...]]:
    """Consecutive chunks of positions; they depend on the number of images and the chunk size alone."""
    return [tuple(range(start, min(start + size, count))) for start in range(0, count, size)]


def plan(config: RunConfig, models: Sequence[str], count: int, studies: Mapping[str, Study]) -> list[WorkItem]:
    """All items of a run: chunk by chunk, so that studies and networks of a chunk share its maps; single items last.

    `models` are the titles of the networks that could be loaded, `count` is the number of images.
    """
    parts = chunks(count, config.data.batch_size)
    items = [
        WorkItem(name, model, index, images, part)
        for index, images in enumerate(parts)
        for model in models
        for name, study in studies.items()
        if not study.once and model in config.networks_of(name, models)
        for part in range(study.parts(config))
    ]
    items += [
        WorkItem(name, model, 0, parts[0], part)
        for name, study in studies.items()
        if study.once
        for part in range(study.parts(config))
        for model in (models[:1] if study.own_networks else models)
        if model in config.networks_of(name, models)
    ]
    return items


def assign_to_ranks(items: Sequence[WorkItem], processes: int) -> list[WorkItem | None]:
    """Items in turns: turn t belongs to process t % processes; None keeps step.

    A process gets whole chunks, so that their maps are computed once; single items where chunks are too few. One
    process keeps the plan's order.
    """
    groups = [list(group) for _, group in groupby(items, key=lambda item: item.images)]
    if len(groups) < processes:
        groups = [[item] for item in items]
    ranks: list[list[WorkItem]] = [[] for _ in range(processes)]
    for group in groups:
        min(ranks, key=len).extend(group)
    return list(chain.from_iterable(zip_longest(*ranks)))


def passes(
    config: RunConfig, networks: int, count: int, studies: Mapping[str, Study], methods: Mapping[str, Attribution]
) -> str:
    """The passes of a run in words: for the shared maps, and for each study beyond them."""
    shared = plan_cost(methods.values())
    lines = [f"maps, shared by all studies: {shared} an image (chunks of {config.data.batch_size})"]
    total = _times(shared, count)
    for name, study in studies.items():
        cost = study.cost(methods, config)
        images = min(count, config.data.batch_size) if study.once else count
        total = total + _times(cost, images)
        lines.append(f"{name}: {cost} an image, {images} images")
    many = f" on each of {networks} networks" if networks != 1 else ""
    lines.append(f"in all: {total}{many}")
    return "\n".join(lines)


def _times(cost: Cost, count: int) -> Cost:
    return Cost(cost.forwards * count, cost.backwards * count)
