"""A chunk of photos on small networks, as studies take it, and what a study makes of it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from attacked import Bent, photos
from networks import CLASSES, seeded

from suite.attribution.fused import as_methods
from suite.config import validate
from suite.core.classes import ClassNames
from suite.core.network import Card, Network
from suite.data.sources import ImageFile
from suite.results import as_table
from suite.studies.base import Study, Work

LABELS = [0, 1, 2, 3, 4, 0, 1, 2]


def work(methods=("saliency",), count=4, labels=LABELS, names=("one",), **studies) -> Work:
    """The first photos on the first of some networks, which are beside one another; `studies` are their settings."""
    images, works = photos(count), []
    methods = as_methods(methods)
    models = [{"name": name, "factory": "tiny:net"} for name in names]
    config = validate({"models": models, "data": {"batch_size": count}, "methods": ["saliency"], "studies": studies})
    files = [ImageFile(f"{i}.png", Path(), label, "") for i, label in enumerate(labels[:count])]
    for seed, name in enumerate(names):
        card = Card(name, "test", "", images.shape[2:], None, ClassNames.indices(CLASSES))
        network = Network(seeded(Bent, seed=seed), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), card).eval()
        works.append(Work(network, methods, images, files, range(count), [""] * count, [], config))
    return replace(works[0], others=works[1:])


def rows(study: Study, given: Work) -> pd.DataFrame:
    return as_table(study.run(given).rows, study.keys).to_pandas()


def values(frame: pd.DataFrame, metric: str, **where: object) -> list[float]:
    """The values of a metric, photo by photo."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame[frame["metric"] == metric].sort_values("image")["value"].tolist()
