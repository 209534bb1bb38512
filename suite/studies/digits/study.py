"""Digits: a run of its own inside the run, for questions that need networks which are trained first.

Its rows keep their studies' names and name its own networks, so that each stands in its study's section.
"""

from collections.abc import Mapping
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.attribution.fused import make_method
from suite.config import RunConfig, validate
from suite.core.network import Network
from suite.core.passes import Cost
from suite.data.datamodule import read_chunk
from suite.data.sources import ImageList, list_images
from suite.errors import ConfigError
from suite.models.load import load_model
from suite.registry import study_part
from suite.results.columns import as_table, union
from suite.studies.base import Outcome, Study, Work


class Digits(Study):
    """The studies of `studies.digits` on its own networks and pictures, as one item."""

    name: ClassVar[str] = "digits"
    once: ClassVar[bool] = True
    own_networks: ClassVar[bool] = True

    def prepare(self, config: RunConfig) -> None:
        inner = _inner(config)
        for part in inner.models:
            load_model(part)
        for study in _studies(inner).values():
            study.prepare(inner)

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """Checks the inner run; its passes are of small networks, and not counted."""
        inner = _inner(config)
        for name, study in _studies(inner).items():
            if study.once:
                raise ConfigError(f"studies.digits: {name!r} is no study of single photos; leave it out")
            inner.networks_of(name)
            study.cost(_methods(inner), inner)
        return Cost()

    def run(self, work: Work) -> Outcome:
        inner = _inner(work.config)
        networks = [load_model(part).to(work.images).requires_grad_(False) for part in inner.models]
        classes = networks[0].card.classes
        data = inner.data
        images = list_images(data.source, classes=classes, limit=data.limit, seed=inner.seed)
        tables = []
        for first in range(0, len(images.files), data.batch_size):
            works = _works(inner, networks, images, first, work)
            for name, study in _studies(inner).items():
                for chosen in (w for w in works if w.model.card.name in inner.networks_of(name)):
                    for part in range(study.parts(inner)):
                        tables.append(as_table(study.run(chosen.begin(part)).rows, study.keys))
        return Outcome(union(tables))


def _works(inner: RunConfig, networks: list[Network], images: ImageList, first: int, outer: Work) -> list[Work]:
    """The same chunk on each network."""
    positions = range(first, min(first + inner.data.batch_size, len(images.files)))
    chunk = read_chunk(None, [images.files[i] for i in positions], networks[0].card.taken)
    pixels, methods = chunk.images.to(outer.images), _methods(inner)
    works = [
        Work(network, methods, pixels, chunk.files, list(positions), chunk.notes, chunk.faults, inner)
        for network in networks
    ]
    for work in works:
        work.others = [other for other in works if other is not work]
    return works


def _inner(config: RunConfig) -> RunConfig:
    """The inner run; pictures are the outer run's own."""
    return validate({"name": "digits", "pictures": 0} | config.section(dict), "studies.digits")


def _studies(inner: RunConfig) -> dict[str, Study]:
    return {name: study_part(name, "study:STUDY") for name in inner.studies.chosen()}


def _methods(inner: RunConfig) -> dict[str, Attribution]:
    return {m.title: make_method(m.name, m.parameters) for m in inner.methods}


STUDY = Digits()
