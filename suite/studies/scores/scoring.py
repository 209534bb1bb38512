"""The metrics of one chunk of images on one network, for the study `scores`.

Each name in the configuration makes one kind of measurement, and all metrics that take it (`Card.takes`) share its
passes. Maps, clean predictions, controls, and perturbed copies that do not depend on a map are computed once for all
methods. Contributions keep their sign; of sensitivities (`Attribution.sensitivity`) the size counts.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.baselines import baseline
from suite.attribution.controls import AbsoluteNoise, Center, CenterEdges, Constant, Edges, Noise
from suite.attribution.fused import attribute_each
from suite.core.draws import ImageDraws, generator_for
from suite.core.memory import images_per_pass
from suite.core.network import Network
from suite.core.partners import NO_PARTNER, WHY_NONE, distinct_groups, partners
from suite.core.passes import predict
from suite.data.boxes import Places
from suite.errors import NotApplicable, SuiteError, as_suite_error
from suite.metrics.cards import Metric, Takes, cards, measured
from suite.metrics.fidelity import subset_sums
from suite.metrics.imputation import impute
from suite.metrics.localisation import Box, Scene, box_of, cells, composite, filled, mosaic
from suite.metrics.perturbed import TargetOutputs, evaluate_perturbed, first_removed, removal_ranks, target_outputs
from suite.metrics.sensitivity import relative_change
from suite.studies.base import Rows, Work, finite, magnitude
from suite.studies.scores.config import ScoresConfig

CONTROLS: Mapping[str, Attribution] = {
    "control_noise": Noise(),
    "control_edges": Edges(),
    "control_center": Center(),
    "control_center_edges": CenterEdges(),
    "control_constant": Constant(),
    "control_absolute_noise": AbsoluteNoise(),
    "control_center_point": Center(spread=0.02),
}
_NOISE = 0.01  # of ROAD's imputation, standard deviation in pixel units, as its authors have it
_SUPERPIXELS_A_REMOVED_ONE = 5  # a subset removes one superpixel in five, as Xplique's mu-fidelity
_COPIES_ON_CPU = 8  # copies in one forward pass: more only leave the cache
_FORWARD_ONLY = 4  # times the images of a pass with gradients: a forward pass keeps nothing for a backward one


@cache
def controls_of(asked: str) -> frozenset[str]:
    """The controls that decide some metric of a name in the configuration."""
    return frozenset(name for card in cards().values() if asked in card.asked for name in card.controls)


class _Maps(NamedTuple):
    """One method's maps of a batch, in the forms that metrics take."""

    maps: Tensor  # (B, C, h, w), zero where they were not finite
    evidence: Tensor  # (B, H, W): channels summed, of sensitivities their size, at the images' size
    damaged: Tensor  # (B,) bool, maps that held NaN or infinity


def _upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def prepared(maps: Tensor, method: Attribution, size: tuple[int, int]) -> _Maps:
    """A method's maps (B, C, h, w) in the forms that metrics take, for images of a size (H, W)."""
    damaged = ~torch.isfinite(maps).flatten(1).all(1)
    maps = maps.masked_fill(damaged.view(-1, 1, 1, 1), 0)
    flat = maps.abs() if method.sensitivity else maps
    return _Maps(maps, _upsampled(flat.sum(1, keepdim=True), size)[:, 0], damaged)


@dataclass
class Scoring:
    """All metrics of one chunk of images on one network."""

    work: Work
    methods: Mapping[str, Attribution]
    settings: ScoresConfig
    objects: Places | None = None  # their boxes, where these do not come from the configuration
    rows: Rows = field(default_factory=list)
    failed: set[str] = field(default_factory=set)  # methods that failed for the name at work
    broken: set[tuple[str, str]] = field(default_factory=set)  # (method, metric) where the metric failed

    def all_rows(self) -> Rows:
        """All rows, by the names in the configuration; an error gives failed rows of its own name alone."""
        measurements: Mapping[str, Callable[[str], None]] = {
            "deletion": self._curves,
            "insertion": self._curves,
            "road": self._road,
            "fidelity": self._fidelity,
            "sensitivity": self._sensitivity,
            "complexity": self._complexity,
            "grid": self._grid,
            "composites": self._composites,
            "boxes": self._boxes,
            "axioms": self._axioms,
        }
        _ = self.maps  # the rows of missing maps must stand before the loop, which removes what a metric began
        for asked in self.settings.metrics:
            done = len(self.rows)
            self.failed = set()
            try:
                measurements[asked](asked)
                self._everything(asked)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                del self.rows[done:]
                for label in self._judged(asked):
                    self.rows += self._unavailable(label, asked, as_suite_error(f"metric {asked!r}", error))
        return self.rows

    @cached_property
    def maps(self) -> dict[str, _Maps]:
        """Label -> maps; adds a row a photo for each map that is missing or not finite."""
        work = self.work
        own = {label: method for label, method in self.methods.items() if label not in work.methods}
        results = attribute_each(work.model, work.images, work.targets, own, ids=work.ids) | work.map_results
        maps = {}
        for label, method in self.methods.items():
            result = results[label]
            if isinstance(result, Exception):
                self.rows += self._unavailable(label, "map", as_suite_error(f"method {label!r}", result))
                continue
            maps[label] = prepared(result, method, work.size)
            if bool(maps[label].damaged.any()):
                why, none = f"method {label!r}: its map holds NaN or infinity", [np.nan] * len(work.files)
                block = work.block("scores", label, "map", none, control=method.control, status="failed", undefined=why)
                self.rows.append(block.only(maps[label].damaged.tolist()))
        return maps

    def _judged(self, asked: str) -> dict[str, _Maps]:
        """The maps that the metrics of a name judge: without controls that decide none of them."""
        return {label: maps for label, maps in self.maps.items() if self._decides(label, controls_of(asked))}

    def _decides(self, label: str, controls: Container[str]) -> bool:
        """Whether a method is measured: all are, but of the suite's own controls only those in `controls`."""
        return label in controls or self.methods[label] is not CONTROLS.get(label)

    def _values(self, asked: str, takes: Takes, label: str, *arguments: Any) -> Iterator[tuple[Metric, Any]]:
        """The values of all metrics with this input, for a method; a metric that raises adds failed rows, once."""
        for metric in measured(asked, takes):
            key = label, metric.name
            if key in self.broken or not self._decides(label, metric.card.controls):
                continue
            try:
                values = metric.compute(*arguments)
                if isinstance(values, Tensor) and values.shape != (len(arguments[0]),):
                    raise ValueError(f"gave shape {tuple(values.shape)}, expected a value for each of the maps")
                values = finite(values) if isinstance(values, Tensor) else list(values)  # of forms
            except torch.OutOfMemoryError:
                raise
            except (Exception, SystemExit) as error:
                self.broken.add(key)
                reason = error if isinstance(error, Exception) else RuntimeError(f"it called sys.exit({error.code!r})")
                self.rows += self._unavailable(*key, as_suite_error(f"metric {metric.name!r}", reason))
                continue
            yield metric, values

    def _add(
        self, label: str, metric: str, values: Tensor | Sequence[float], reasons: Sequence[str] = (), **more: Any
    ) -> None:
        """Adds a row a photo; `reasons` say why single photos have no value, "" where the map is the reason."""
        if label in self.failed or (label, metric) in self.broken:
            return
        if reasons:
            more["undefined"] = [reason or more["undefined"] for reason in reasons]
        block = self.work.block("scores", label, metric, values, control=self.methods[label].control, **more)
        self.rows.append(block.only((~self.maps[label].damaged).tolist()))

    def _unavailable(self, label: str, metric: str, why: SuiteError) -> Rows:
        return self.work.unavailable_rows("scores", label, metric, why, control=self.methods[label].control)

    def _score(self, asked: str, takes: Takes, label: str, *arguments: Any, defined: Tensor | bool = True) -> None:
        """Adds rows of all metrics with this input, for a method; NaN on photos where they are not `defined`."""
        for metric, values in self._values(asked, takes, label, *arguments):
            values = values if defined is True else values.masked_fill(~defined, torch.nan)
            self._add(label, metric.name, values, undefined=metric.card.undefined)

    @cached_property
    def room(self) -> int:
        """Copies in one forward pass."""
        fit = _FORWARD_ONLY * images_per_pass(self.work.model, self.work.images)
        return min(_COPIES_ON_CPU, fit) if self.work.images.device.type == "cpu" else fit

    @cached_property
    def layout(self) -> torch.memory_format:
        """Channels last on a CPU, which halves a convolution's time, for networks that take it."""
        images = self.work.images
        if images.device.type != "cpu":
            return torch.contiguous_format
        try:
            predict(self.work.model, images[:1].contiguous(memory_format=torch.channels_last))
        except RuntimeError:  # such as a `view` that wants channels first
            return torch.contiguous_format
        return torch.channels_last

    @cached_property
    def clean(self) -> TargetOutputs:
        """(B, 1), of the images as they are."""
        return target_outputs(self.work.scores.unsqueeze(1), self.work.targets)

    def _generators(self, purpose: str) -> list[torch.Generator]:
        return [generator_for(self.work.config.seed, name, f"scores {purpose}") for name in self.work.ids]

    def _shuffled(self, pixels: int) -> Tensor:
        """(B, pixels): the order of tied pixels, the same for all methods."""
        orders = [torch.randperm(pixels, generator=g) for g in self._generators("ties")]
        return torch.stack(orders).to(self.work.images.device)

    @cached_property
    def shuffled(self) -> Tensor:
        """(B, H * W), of the images' own size."""
        return self._shuffled(self.work.images[0, 0].numel())

    @cached_property
    def ranks(self) -> dict[str, Tensor]:
        """Label -> (B, H, W), the order in which a map's pixels go; of all methods that some removal judges."""
        removals = [self._judged(asked) for asked in ("deletion", "insertion", "road")]
        judged = {label: maps for methods in removals for label, maps in methods.items()}
        return {label: removal_ranks(maps.evidence, self.shuffled) for label, maps in judged.items()}

    def evaluate(self, images: Tensor, masks: Tensor, others: Tensor) -> TargetOutputs:
        """`evaluate_perturbed` of this network and these targets."""
        return evaluate_perturbed(self.work.model, images, self.work.targets, masks, others, self.room, self.layout)

    def _baseline(self, kind: str) -> Tensor:
        images = self.work.images
        if kind == "noise":
            noise = [torch.rand(images.shape[1:], generator=g) for g in self._generators("ground")]
            return torch.stack(noise).to(images)
        return baseline(kind, images)

    def _forms(self, asked: str, label: str, kind: str, *outputs: TargetOutputs) -> None:
        """Adds rows of the metrics of outputs, which have several forms each."""
        for metric, forms in self._values(asked, "outputs", label, *outputs):
            for variant, values, why in forms:
                fields = {"baseline": kind, "variant": variant, "undefined": why or metric.card.undefined}
                self._add(label, metric.name, values, **fields)

    def _curves(self, asked: str) -> None:
        images, deletes = self.work.images, asked == "deletion"
        shares = torch.linspace(0, 1, self.settings.steps + 1, dtype=torch.float64)
        everywhere = torch.ones(len(images), 1, *self.work.size, dtype=torch.bool, device=images.device)
        for kind in self.settings.deletion if deletes else self.settings.insertion:
            replaced = self._baseline(kind)
            gone = self.evaluate(images, everywhere, replaced)
            start, end = (images, replaced) if deletes else (replaced, images)
            first, last = (self.clean, gone) if deletes else (gone, self.clean)
            for label in self._judged(asked):
                ranks = self.ranks[label]
                inner = self.evaluate(start, first_removed(ranks, shares[1:-1]), end)
                curves = TargetOutputs(*(torch.cat(parts, 1) for parts in zip(first, inner, last, strict=True)))
                self._forms(asked, label, kind, curves, self.clean, gone)
                for share, values in zip(shares.tolist(), curves.probability.T, strict=True):
                    self._add(label, f"{asked}_curve", values, baseline=kind, variant="raw", share=share)

    def _road(self, asked: str) -> None:
        images, shares = self.work.images, torch.tensor(self.settings.removed)
        steps = len(shares)
        noise = _NOISE * ImageDraws(images, self.work.ids, self.work.config.seed, "scores road").normal(1)
        index = torch.arange(len(images)).repeat_interleave(steps)
        at_once = 1 if images.device.type == "cpu" else self.room  # one copy's planes stay in the cache
        chunks = [slice(k, k + at_once) for k in range(0, len(index), at_once)]
        for label in self._judged(asked):
            removed = first_removed(self.ranks[label], shares)
            gone = removed.flatten(0, 1).unsqueeze(1)
            imputed = torch.cat([impute(images[index[part]], gone[part]) for part in chunks])
            outputs = self.evaluate(images, removed, imputed.view(len(images), steps, *images.shape[1:]) + noise)
            self._forms(asked, label, "", outputs, self.clean)
            for share, values in zip(self.settings.removed, outputs.probability.T, strict=True):
                self._add(label, f"{asked}_curve", values, variant="raw", share=share)

    @cached_property
    def subsets(self) -> tuple[Tensor, Tensor]:
        """(B, S, H, W) bool, random fifths of the superpixels; (B,) bool, whether a photo has superpixels enough."""
        masks, enough = [], []
        for image, generator in zip(self.work.images, self._generators("superpixels"), strict=True):
            pixels = image.permute(1, 2, 0).double().cpu().numpy()
            parts = slic(pixels, n_segments=self.settings.superpixels, start_label=0, channel_axis=-1)
            count = int(parts.max()) + 1
            order = torch.rand(self.settings.samples, count, generator=generator).argsort(1).argsort(1)
            chosen = order < max(1, count // _SUPERPIXELS_A_REMOVED_ONE)  # (S, count)
            masks.append(chosen[:, torch.from_numpy(parts.astype(np.int64))])
            enough.append(count >= _SUPERPIXELS_A_REMOVED_ONE)
        device = self.work.images.device
        return torch.stack(masks).to(device), torch.tensor(enough, device=device)

    def _fidelity(self, asked: str) -> None:
        images, (masks, enough) = self.work.images, self.subsets
        replaced = baseline("mean", images)
        drops = self.clean.score - self.evaluate(images, masks, replaced).score
        for label, maps in self._judged(asked).items():
            sums = predicted = subset_sums(maps.evidence, masks)
            method = self.methods[label]
            if method.sensitivity and method.signed:  # without a sign it predicts by its size, as above
                change = _upsampled(maps.maps, self.work.size) * (images - replaced)
                predicted = subset_sums(change.sum(1), masks)
            self._score(asked, "subsets", label, sums, drops, defined=enough)
            self._score(asked, "predictions", label, predicted, drops, defined=enough)

    def _explained(
        self, asked: str, metric: str, model: Network, images: Tensor, targets: Tensor, ids: Sequence[str]
    ) -> Iterator[tuple[str, Tensor]]:
        """(label, maps) of other pictures or another network; adds failed rows for a method that raises."""
        methods = {label: self.methods[label] for label in self._judged(asked)}
        for label, result in attribute_each(model, images, targets, methods, ids=ids).items():
            if not isinstance(result, Exception):
                yield label, result
            elif label not in self.failed:
                self.failed.add(label)
                self.rows += self._unavailable(label, metric, as_suite_error(f"method {label!r}", result))

    def _sensitivity(self, asked: str) -> None:
        work, generators = self.work, self._generators("sensitivity")
        changes: dict[str, list[Tensor]] = {label: [] for label in self._judged(asked)}
        for _ in range(self.settings.perturbations):
            noise = torch.stack([torch.rand(work.images.shape[1:], generator=g) for g in generators])
            noisy = work.images + self.settings.radius * (2 * noise - 1).to(work.images)
            for label, maps in self._explained(asked, asked, work.model, noisy, work.targets, work.ids):
                changes[label].append(relative_change(self.maps[label].maps, maps))
        for label in [label for label in changes if label not in self.failed]:
            self._score(asked, "changes", label, torch.stack(changes[label]).T)

    def _complexity(self, asked: str) -> None:
        for label, maps in self._judged(asked).items():
            self._score(asked, "magnitude", label, magnitude(maps.maps, self.work.size))

    def _everything(self, asked: str) -> None:
        work = self.work
        for label, maps in self._judged(asked).items():
            self._score(asked, "everything", label, maps.maps, work.model, work.images, work.targets)

    @cached_property
    def unsure(self) -> list[str]:
        """Why each photo is in no mosaic and no composite; "" where its target comes first with confidence."""
        sure = (self.clean.top[:, 0] == 1) & (self.clean.probability[:, 0] >= self.settings.confidence)
        why = f"the target does not come first with confidence {self.settings.confidence:g}"
        return ["" if fits else why for fits in sure.tolist()]

    def _grid(self, asked: str) -> None:
        work, targets = self.work, self.work.targets.tolist()
        sure = [i for i, why in enumerate(self.unsure) if not why]
        for side in self.settings.grids:
            count = side * side
            groups = [[sure[k] for k in group] for group in distinct_groups([targets[i] for i in sure], count)]
            nothing = torch.full((len(work.images),), torch.nan, dtype=torch.float64)
            pairs = product(self._judged(asked), measured(asked, "scene"))
            scores = {(k, m): nothing.clone() for k, m in pairs if self._decides(k, m.card.controls)}
            truth = cells(side, work.size).to(work.images.device)
            shuffled = self._shuffled(truth[0].numel())
            boxes = [[box] for box in map(box_of, truth) if box]
            for group in groups:
                picture = mosaic(work.images[group], side).expand(count, -1, -1, -1)
                self._predict(picture[:1])
                ids = [f"{work.ids[i]} in a mosaic" for i in group]
                for label, maps in self._explained(asked, asked, work.model, picture, work.targets[group], ids):
                    evidence = prepared(maps, self.methods[label], (truth.shape[1], truth.shape[2])).evidence
                    scene = Scene(evidence, truth, boxes, shuffled[group])
                    for metric, values in self._values(asked, "scene", label, scene):
                        scores[label, metric][group] = values.cpu()
            lacks = f"no {count} such photos of different classes are left in the chunk for a mosaic with this one"
            reasons = [why or lacks for why in self.unsure]
            for i in (i for group in groups for i in group):
                reasons[i] = ""
            for (label, metric), values in scores.items():
                undefined = metric.card.undefined
                self._add(label, metric.name, values, reasons, variant=f"{side}x{side}", undefined=undefined)

    def _predict(self, pictures: Tensor) -> Tensor:
        """The scores of pictures of another size.

        Raises:
            NotApplicable: the network takes no such picture.
        """
        try:
            return predict(self.work.model, pictures)
        except (RuntimeError, ValueError, AssertionError) as error:
            size = f"{pictures.shape[2]}x{pictures.shape[3]}"
            why = " ".join(str(error).split())[:120]
            raise NotApplicable(f"the network takes no picture of {size}: {why}") from error

    def _composites(self, asked: str) -> None:
        work, device = self.work, self.work.images.device
        partner = partners(work.targets.tolist())
        reasons = [why or (WHY_NONE if j == NO_PARTNER else "") for why, j in zip(self.unsure, partner, strict=True)]
        chosen = [i for i, why in enumerate(reasons) if not why]
        corners = [tuple(torch.rand(2, generator=g).tolist()) for g in self._generators("composites")]
        truth = torch.zeros(len(work.images), *work.size, dtype=torch.bool, device=device)
        evidence = {label: torch.zeros_like(maps.evidence) for label, maps in self._judged(asked).items()}
        if chosen:
            pasted = [composite(work.images[i], work.images[partner[i]], corners[i]) for i in chosen]
            pictures, targets = torch.stack([picture for picture, _ in pasted]), work.targets[chosen]
            before = work.scores[[partner[i] for i in chosen]].gather(1, targets[:, None])
            raises = (self._predict(pictures).gather(1, targets[:, None]) > before)[:, 0].tolist()
            for i, (_, inside), raised in zip(chosen, pasted, raises, strict=True):
                truth[i] = inside & raised
                reasons[i] = "" if raised else "the photo pasted on another one does not raise its target's score"
            ids = [f"{work.ids[i]} in a composite" for i in chosen]
            for label, maps in self._explained(asked, asked, work.model, pictures, targets, ids):
                evidence[label][chosen] = prepared(maps, self.methods[label], work.size).evidence
        boxes = [[box] if (box := box_of(mask)) else [] for mask in truth]
        self._scenes(asked, evidence, truth, boxes, reasons)

    def _boxes(self, asked: str) -> None:
        objects = self.work.objects if self.objects is None else self.objects
        if objects is None:
            return
        boxes = [[] if isinstance(where, SuiteError) else where for where in objects]
        reasons = [str(where) if isinstance(where, SuiteError) else "" for where in objects]
        truth = torch.stack([filled(places, self.work.size) for places in boxes]).to(self.work.images.device)
        evidence = {label: maps.evidence for label, maps in self._judged(asked).items()}
        self._scenes(asked, evidence, truth, boxes, reasons)

    def _scenes(
        self, asked: str, evidence: dict[str, Tensor], truth: Tensor, boxes: list[list[Box]], reasons: list[str]
    ) -> None:
        """Adds rows of the metrics of maps (B, H, W) of scenes; `reasons` say why a photo has no true region."""
        unknown = ~truth.flatten(1).any(1)
        for label, maps in evidence.items():
            scene = Scene(maps, truth, boxes, self.shuffled)
            for metric, values in self._values(asked, "scene", label, scene):
                values, undefined = values.masked_fill(unknown, torch.nan), metric.card.undefined
                self._add(label, metric.name, values, reasons, variant=asked, undefined=undefined)

    def _axioms(self, asked: str) -> None:
        work = self.work
        for label, maps in self.maps.items():
            if kinds := self.methods[label].complete_from:
                scores = [predict(work.model, baseline(kind, work.images)) for kind in kinds]
                base = torch.stack([s.gather(1, work.targets[:, None])[:, 0] for s in scores]).mean(0)
                self._score(asked, "scores", label, maps.maps, self.clean.score[:, 0], base)
        for metric in measured(asked, "network"):
            self.failed, done = set(), len(self.rows)
            try:
                self._invariance(asked, metric)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                del self.rows[done:]
                for label in self._judged(asked):
                    self.rows += self._unavailable(label, metric.name, as_suite_error(f"metric {metric.name!r}", error))

    def _invariance(self, asked: str, metric: Metric) -> None:
        """How far maps change on another network that gives the same scores."""
        work = self.work
        twin, images = metric.compute(work.model, work.images)
        apart = float((predict(twin, images) - work.scores).norm() / work.scores.norm())
        if not apart < 1e-3:
            raise NotApplicable(f"{metric.name}: the two networks' scores are {apart:.2g} apart, so they differ")
        for label, maps in self._explained(asked, metric.name, twin, images, work.targets, work.ids):
            change = relative_change(self.maps[label].maps, maps)
            self._add(label, metric.name, change, undefined=metric.card.undefined)
