"""The base class of studies, and the work that they share: one item of work in, rows out. No Lightning here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.fused import attribute_each
from suite.config import RunConfig
from suite.core.memory import in_halves
from suite.core.network import Network
from suite.core.partners import partners
from suite.core.passes import Cost, predict
from suite.core.pixels import pixels
from suite.data.boxes import Places, boxes_for
from suite.data.sources import ImageFile
from suite.errors import DataError, SuiteError, as_suite_error, unavailable
from suite.metrics.similarity import Comparable
from suite.results.columns import Block
from suite.results.schema import Keys

Row = dict[str, Any]
Rows = list[Row | Block]
T = TypeVar("T")


@dataclass
class Outcome:
    """The result of an item: rows, and arrays for the pictures (file stem -> name -> array)."""

    rows: Rows | pa.Table
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass
class Work:
    """One chunk of images on one network. What several studies need is computed once.

    Attributes:
        model: left by every study as it was.
        methods: label -> method.
        images: (B, 3, H, W) in [0, 1], on the network's device.
        files: the images' files, whose ids name them in rows.
        positions: the images' indices in the run's list of files.
        notes: how each image was converted when it was read.
        faults: files that could not be used, and why.
        config: the run's.
        others: the same chunk on the run's other networks, those that see the same pixels.
        part: which part of the study's work on this chunk.
        at_once: how many images went through the network together for the item at work; fewer than all where memory
            did not hold them.
    """

    model: Network
    methods: Mapping[str, Attribution]
    images: Tensor
    files: Sequence[ImageFile]
    positions: Sequence[int]
    notes: Sequence[str]
    faults: Sequence[tuple[ImageFile, str]]
    config: RunConfig
    others: Sequence["Work"] = ()
    part: int = 0
    at_once: int = field(init=False)
    _maps_at_once: int = field(init=False)

    def __post_init__(self) -> None:
        self.at_once = self._maps_at_once = len(self.images)

    def begin(self, part: int) -> "Work":
        """This work, ready for the next item: `at_once` counts anew."""
        self.part, self.at_once = part, len(self.images)
        return self

    def some(self, at: slice) -> "Work":
        """The same work on some of the images; those that could not be read stay with the first."""
        faults = [] if at.start else self.faults
        cut = {name: getattr(self, name)[at] for name in ("images", "files", "positions", "notes")}
        others = [replace(other, others=(), **(cut | {"images": other.images[at]})) for other in self.others]
        return replace(self, faults=faults, others=others, **cut)

    def _fitting(self, make: Callable[[slice], T], join: Callable[[list[T]], T]) -> T:
        """The result of `make` for all images, joined of halves, quarters, ... where memory does not hold them all."""
        parts = in_halves(lambda at: (at.stop - at.start, make(at)), slice(0, len(self.images)))
        self.at_once = min(self.at_once, max(size for size, _ in parts))
        return join([result for _, result in parts])

    @cached_property
    def scores(self) -> Tensor:
        """(B, K), detached."""
        return self._fitting(lambda at: predict(self.model, self.images[at]), torch.cat)

    @cached_property
    def targets(self) -> Tensor:
        """(B,) the class explained: the label, or the network's top class where there is none."""
        top = self.scores.argmax(1)
        classes = self.scores.shape[1]
        for file in self.files:
            if file.label is not None and not 0 <= file.label < classes:
                raise DataError(
                    f"{file.id}: label {file.label} is out of range, the network's classes are 0..{classes - 1}"
                )
        chosen = [t if file.label is None else file.label for file, t in zip(self.files, top.tolist(), strict=True)]
        return torch.tensor(chosen, device=top.device)

    @cached_property
    def objects(self) -> Places | None:
        """Each photo's boxes in the network's pixels, or the reason why it has none; None in a run without boxes."""
        folder, card = self.config.data.objects, self.model.card
        if not folder:
            return None
        places: Places = []
        for name, target in zip(self.ids, self.targets.tolist(), strict=True):
            synset = None if card.classes.synsets is None else card.classes.synsets[target]
            try:
                places.append(boxes_for(folder, name, synset=synset, resize=card.resize, crop=self.size))
            except SuiteError as error:
                places.append(error)
        return places

    @cached_property
    def map_results(self) -> dict[str, Tensor | Exception]:
        """Label -> (B, C, h, w) as the method returned it, or its exception; all methods in the fewest passes."""
        maps = self._fitting(
            lambda at: attribute_each(self.model, self.images[at], self.targets[at], self.methods, ids=self.ids[at]),
            _joined,
        )
        self._maps_at_once = self.at_once
        return maps

    @cached_property
    def _usable_maps(self) -> dict[str, Tensor | SuiteError]:
        return {label: self._usable(label, result) for label, result in self.map_results.items()}

    @property
    def maps(self) -> dict[str, Tensor | SuiteError]:
        """Label -> (B, C, h, w), or why there is none; `at_once` falls to that of the maps."""
        maps = self._usable_maps
        self.at_once = min(self.at_once, self._maps_at_once)
        return maps

    @cached_property
    def _comparable(self) -> dict[str, Comparable]:
        maps = self._usable_maps.items()
        return {label: Comparable(magnitude(m, self.size)) for label, m in maps if isinstance(m, Tensor)}

    @property
    def comparable(self) -> dict[str, Comparable]:
        """Label -> |map| at the image's size, of the methods that have one."""
        return self._comparable if self.maps else {}

    def _usable(self, label: str, result: Tensor | Exception) -> Tensor | SuiteError:
        """The map, or the reason why it cannot be used."""
        if isinstance(result, Exception):
            return as_suite_error(f"method {label!r}", result)
        sound = torch.isfinite(result).flatten(1).all(1).tolist()
        damaged = [name for name, is_finite in zip(self.ids, sound, strict=True) if not is_finite]
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            return SuiteError(f"method {label!r}: its map holds NaN or infinity on {damaged[0]}{more}")
        return result

    def pairings(self) -> dict[str, list[int] | None]:
        """Pairing -> for each photo the index of the photo of the second map; None for the same photo."""
        return {"same_photo": None, "unrelated_photos": partners(self.targets.tolist())}

    @property
    def ids(self) -> list[str]:
        """The images' names in rows."""
        return [file.id for file in self.files]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def first(self) -> bool:
        """Whether this is the run's first chunk, or a half of it. Rows that are of no photo are written there once."""
        return self.positions[0] < self.config.data.batch_size

    def columns(self, study: str, method: str = "") -> Row:
        """The columns that all rows of a method on this network have."""
        control = method in self.methods and self.methods[method].control
        return {"study": study, "model": self.model.card.name, "method": method, "control": control}

    def block(self, study: str, method: str, metric: str, values: Tensor | Sequence[float], **more: Any) -> Block:
        """One value for each image; NaN becomes not_applicable with `undefined` (one reason, or one for each image)."""
        undefined = more.pop("undefined", "the value is undefined for this map")
        numbers = values.detach().double().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, float)
        fields = self.columns(study, method) | {"metric": metric} | more
        return Block(self.ids, self.targets.tolist(), numbers, undefined, fields)

    def rows(self, study: str, method: str, metric: str, values: Tensor | Sequence[float], **more: Any) -> Rows:
        """`block` as an outcome's rows take it."""
        return [self.block(study, method, metric, values, **more)]

    def unavailable_rows(self, study: str, method: str, metric: str, why: SuiteError, **more: Any) -> Rows:
        """A row without a value for each image, of a method without a map: not_applicable, or failed after an error."""
        status = unavailable(why)
        none = [np.nan] * len(self.files)
        return self.rows(study, method, metric, none, undefined=status.pop("message"), **status | more)

    @property
    def plotted(self) -> list[int]:
        """Indices of the images that the report shows: the run's first ones."""
        return [i for i, position in enumerate(self.positions) if position < self.config.pictures]

    def pictures(self, *unless: str) -> dict[str, dict[str, np.ndarray]]:
        """Photo and maps of the plotted images; none if one of the studies `unless` runs, which saves them itself."""
        if {*unless} & {*self.config.studies.chosen()}:
            return {}
        return {self.stem(i): self.picture_of(i) for i in self.plotted}

    def picture_of(self, index: int) -> dict[str, np.ndarray]:
        """The photo (H, W, 3) uint8 and the maps (h, w) float32 of one image, for the report."""
        arrays = {"id": np.array(self.files[index].id), "photo": pixels(self.images[index])}
        maps = {label: result for label, result in self.maps.items() if isinstance(result, Tensor)}
        return arrays | {f"own|{label}": drawable(result[index]) for label, result in maps.items()}

    def stem(self, index: int) -> str:
        """The file name of an image's arrays: its index in the list, so that no name can escape a folder."""
        return f"{self.positions[index]:06d}"


def _joined(parts: list[dict[str, Tensor | Exception]]) -> dict[str, Tensor | Exception]:
    """Each method's maps of all parts, or the first exception."""
    joined: dict[str, Tensor | Exception] = {}
    for label in parts[0]:
        maps = [result for part in parts if isinstance(result := part[label], Tensor)]
        errors = [result for part in parts if isinstance(result := part[label], Exception)]
        joined[label] = errors[0] if errors else torch.cat(maps)
    return joined


def value_row(value: float, undefined: str, **columns: Any) -> Row:
    """One row; where the value is NaN it is not_applicable, for the reason `undefined`."""
    if np.isnan(value):
        return columns | {"status": "not_applicable", "message": undefined}
    return columns | {"value": value}


def finite(values: Tensor) -> Tensor:
    """Infinity, a quotient by zero, becomes NaN."""
    return values.masked_fill(values.isinf(), torch.nan)


def drawable(channels: Tensor) -> np.ndarray:
    """(C, h, w) -> (h, w) float32: a map for the report, its channels summed, sign kept."""
    return channels.sum(0).cpu().numpy().astype(np.float32)


def magnitude(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, H, W): the sum of |a| over channels (Adebayo et al. 2018), bilinearly at the image's size."""
    summed = maps.abs().sum(1, keepdim=True)
    if summed.shape[2:] != size:
        summed = torch.nn.functional.interpolate(summed, size=size, mode="bilinear", align_corners=False)
    return summed[:, 0]


class Study(ABC):
    """A question asked of every network.

    Attributes:
        name: in rows, configurations and the registry.
        once: its items are on the first chunk of images, one a network and part, instead of one a chunk.
        own_networks: brings its own networks, so it has items on the first of the run's networks alone.
        without_images: also runs on a chunk of which no image could be read.
        keys: the columns of its rows that are its own: name -> str, int or float.
    """

    name: ClassVar[str]
    once: ClassVar[bool] = False
    own_networks: ClassVar[bool] = False
    without_images: ClassVar[bool] = False
    keys: ClassVar[Keys] = {}

    def parts(self, config: RunConfig) -> int:
        """Items a chunk, or a network where `once`; more than one where that takes long."""
        return 1

    def check(self, config: RunConfig, network: Network) -> None:  # noqa: B027 - most have nothing to check
        """Refuses, before anything runs, a configuration that needs something the network lacks."""

    def prepare(self, config: RunConfig) -> None:  # noqa: B027 - most have nothing to prepare
        """Runs once before the first item; trains networks, for example."""

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """Passes an image beyond the maps that studies share."""
        return Cost()

    @abstractmethod
    def run(self, work: Work) -> Outcome:
        """The item's rows and pictures."""
