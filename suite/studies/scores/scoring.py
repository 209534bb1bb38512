"""The metrics of one chunk of images on one network: what the study `scores` measures.

Maps, the clean prediction, perturbed copies that no map decides, and the controls are computed once for all methods.
A method whose values are amounts of evidence is taken with its sign; of slopes, the size counts (`Attribution.slopes`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.baselines import baseline
from suite.attribution.controls import Edges, Noise
from suite.attribution.draws import ImageDraws, generator_for
from suite.attribution.fused import attribute_each
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.input_x_gradient import InputXGradient
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.attribution.memory import images_per_pass
from suite.attribution.passes import predict
from suite.data.boxes import Box, Places
from suite.errors import NotApplicable, SuiteError
from suite.metrics import axioms, faithfulness, localisation
from suite.metrics.complexity import effective_complexity, entropy, gini
from suite.metrics.faithfulness import Answers, answers, area, ask, first_removed, normalised, removal_ranks
from suite.metrics.robustness import relative_change
from suite.models.network import Network
from suite.studies.base import Row, Work, fault, magnitude
from suite.studies.scores.config import ScoresConfig

CONTROLS: Mapping[str, Attribution] = {"control_noise": Noise(), "control_edges": Edges()}
_NOISE = 0.01  # of ROAD's imputation, standard deviation in pixel units, as its authors have it
_FIFTH = 5  # a subset removes one superpixel in five, as Xplique's mu-fidelity
_SHIFT = 0.25  # of input invariance, in pixel units
_LEAST = {"probability": 0.05, "score": 1.0}  # fall from clean to wholly perturbed that a curve can be divided by
_ZERO = "the map is zero everywhere"
_ON_CPU = 8  # copies in one forward pass: more only leave the cache
_ELSEWHERE = 4  # times the images of a pass with gradients: a forward pass keeps nothing for a backward one


@dataclass
class _Maps:
    """One method's maps of a batch, in the forms that metrics take.

    Attributes:
        maps: (B, C, h, w), zero where they were not finite.
        evidence: (B, H, W): channels summed, of slopes their size, at the images' size.
        damaged: (B,) bool, maps that held NaN or infinity.
    """

    maps: Tensor
    evidence: Tensor
    damaged: Tensor


def _upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def prepared(maps: Tensor, method: Attribution, size: tuple[int, int]) -> _Maps:
    """A method's maps (B, C, h, w) in the forms that metrics take, for images of a size (H, W)."""
    damaged = ~torch.isfinite(maps).flatten(1).all(1)
    maps = maps.masked_fill(damaged.view(-1, 1, 1, 1), 0)
    flat = maps.abs() if method.slopes else maps
    return _Maps(maps, _upsampled(flat.sum(1, keepdim=True), size)[:, 0], damaged)


@dataclass
class Scoring:
    """All metrics of one chunk of images on one network."""

    work: Work
    methods: Mapping[str, Attribution]
    settings: ScoresConfig
    places: Places | None = None  # the objects' boxes, where they are known already
    rows: list[Row] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # methods that failed in the metric at work

    def all_rows(self) -> list[Row]:
        """Metric by metric; what fails in one is that metric's failed rows alone."""
        made: dict[str, Callable[[], None]] = {
            "deletion": lambda: self._curves("deletion", self.settings.deletion),
            "insertion": lambda: self._curves("insertion", self.settings.insertion),
            "road": self._road,
            "fidelity": self._fidelity,
            "sensitivity": self._sensitivity,
            "complexity": self._complexity,
            "grid": self._grid,
            "composites": self._composites,
            "boxes": self._boxes,
            "axioms": self._axioms,
        }
        assert len(self.maps) <= len(self.methods)  # makes the maps, and the rows of those there are not
        for name in self.settings.metrics:
            done = len(self.rows)
            self.lost = set()
            try:
                made[name]()
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                del self.rows[done:]
                for label in self.maps:
                    self.rows += self._missing(label, name, fault(f"metric {name!r}", error))
        return self.rows

    @cached_property
    def maps(self) -> dict[str, _Maps]:
        """Label -> maps; one row a photo for each map that is not there, or not finite."""
        work = self.work
        mine = {label: m for label, m in self.methods.items() if label not in work.methods}
        found = attribute_each(work.model, work.images, work.targets, mine, ids=work.ids) | work.found
        made = {}
        for label, method in self.methods.items():
            result = found[label]
            if isinstance(result, Exception):
                self.rows += self._missing(label, "map", fault(f"method {label!r}", result))
                continue
            made[label] = prepared(result, method, work.size)
            failed = self._missing(label, "map", SuiteError(f"method {label!r}: its map holds NaN or infinity"))
            self.rows += [r for r, bad in zip(failed, made[label].damaged.tolist(), strict=True) if bad]
        return made

    def _add(self, label: str, metric: str, values: Tensor | Sequence[float], **more: Any) -> None:
        if label in self.lost:
            return
        control = self.methods[label].control
        rows = self.work.rows("scores", label, metric, values, control=control, **more)
        self.rows += [r for r, bad in zip(rows, self.maps[label].damaged.tolist(), strict=True) if not bad]

    def _missing(self, label: str, metric: str, why: SuiteError) -> list[Row]:
        return self.work.missing("scores", label, metric, why, control=self.methods[label].control)

    @cached_property
    def room(self) -> int:
        fit = _ELSEWHERE * images_per_pass(self.work.model, self.work.images)
        return min(_ON_CPU, fit) if self.work.images.device.type == "cpu" else fit

    @cached_property
    def layout(self) -> torch.memory_format:
        """Channels last on a CPU, which halves a convolution's time, for networks that take it."""
        images = self.work.images
        if images.device.type == "cpu":
            try:
                predict(self.work.model, images[:1].contiguous(memory_format=torch.channels_last))
            except RuntimeError:  # such as a `view` that wants channels first
                return torch.contiguous_format
            return torch.channels_last
        return torch.contiguous_format

    @cached_property
    def clean(self) -> Answers:
        return answers(self.work.scores.unsqueeze(1), self.work.targets)

    def _generators(self, purpose: str) -> list[torch.Generator]:
        return [generator_for(self.work.config.seed, name, f"scores {purpose}") for name in self.work.ids]

    @cached_property
    def shuffled(self) -> Tensor:
        """(B, H * W): the order of tied pixels, the same for all methods."""
        drawn = [torch.randperm(self.work.images[0, 0].numel(), generator=g) for g in self._generators("ties")]
        return torch.stack(drawn).to(self.work.images.device)

    @cached_property
    def ranks(self) -> dict[str, Tensor]:
        return {label: removal_ranks(found.evidence, self.shuffled) for label, found in self.maps.items()}

    def ask(self, images: Tensor, masks: Tensor, others: Tensor) -> Answers:
        """`faithfulness.ask` of this network and these targets."""
        return ask(self.work.model, images, self.work.targets, masks, others, self.room, self.layout)

    def _ground(self, kind: str) -> Tensor:
        images = self.work.images
        if kind == "noise":
            drawn = [torch.rand(images.shape[1:], generator=g) for g in self._generators("ground")]
            return torch.stack(drawn).to(images)
        return baseline(kind, images)

    def _curves(self, metric: str, kinds: Sequence[str]) -> None:
        images = self.work.images
        shares = torch.linspace(0, 1, self.settings.steps + 1, dtype=torch.float64)
        everywhere = torch.ones(len(images), 1, *self.work.size, dtype=torch.bool, device=images.device)
        for kind in kinds:
            ground = self._ground(kind)
            gone = self.ask(images, everywhere, ground)
            start, end = (images, ground) if metric == "deletion" else (ground, images)
            first, last = (self.clean, gone) if metric == "deletion" else (gone, self.clean)
            for label, ranks in self.ranks.items():
                inner = self.ask(start, first_removed(ranks, shares[1:-1]), end)
                curves = [torch.cat(parts, 1) for parts in zip(first, inner, last, strict=True)]
                self._add(label, metric, area(curves[1]), other=kind, stage="raw")
                for stage, form in (("score", 0), ("probability", 1)):
                    scaled = normalised(curves[form], self.clean[form][:, 0], gone[form][:, 0], _LEAST[stage])
                    why = f"the target's {stage} falls by less than {_LEAST[stage]:g} from clean to wholly perturbed"
                    self._add(label, metric, area(scaled), other=kind, stage=stage, undefined=why)
                for share, values in zip(shares.tolist(), curves[1].T, strict=True):
                    self._add(label, f"{metric}_curve", values, other=kind, stage="raw", x=share)

    def _road(self) -> None:
        images, shares = self.work.images, torch.tensor(self.settings.removed)
        steps = len(shares)
        noise = _NOISE * ImageDraws(images, self.work.ids, self.work.config.seed, "scores road").normal(1)
        for label, ranks in self.ranks.items():
            removed = first_removed(ranks, shares)
            pairs = zip(images, removed, strict=True)
            imputed = torch.stack(
                [faithfulness.impute(image.expand(steps, -1, -1, -1), gone.unsqueeze(1)) for image, gone in pairs]
            )  # (B, S, C, H, W)
            found = self.ask(images, removed, imputed + noise)
            kept = found.probability.mean(1) / self.clean.probability[:, 0]
            kept = kept.masked_fill(self.clean.probability[:, 0] < _LEAST["probability"], torch.nan)
            why = f"the target's clean probability is less than {_LEAST['probability']:g}"
            self._add(label, "road", kept, stage="probability", undefined=why)
            self._add(label, "road", found.top.mean(1), stage="accuracy")
            for share, values in zip(self.settings.removed, found.probability.T, strict=True):
                self._add(label, "road_curve", values, stage="raw", x=share)

    @cached_property
    def subsets(self) -> tuple[Tensor, Tensor]:
        """(B, S, H, W) bool, random fifths of the superpixels; (B,) bool, whether a photo has superpixels enough."""
        masks, enough = [], []
        for image, generator in zip(self.work.images, self._generators("superpixels"), strict=True):
            pixels = image.permute(1, 2, 0).double().cpu().numpy()
            parts = slic(pixels, n_segments=self.settings.superpixels, start_label=0, channel_axis=-1)
            count = int(parts.max()) + 1
            order = torch.rand(self.settings.samples, count, generator=generator).argsort(1).argsort(1)
            chosen = order < max(1, count // _FIFTH)  # (S, count)
            masks.append(chosen[:, torch.from_numpy(parts.astype(np.int64))])
            enough.append(count >= _FIFTH)
        device = self.work.images.device
        return torch.stack(masks).to(device), torch.tensor(enough, device=device)

    def _fidelity(self) -> None:
        images, (masks, enough) = self.work.images, self.subsets
        ground = baseline("mean", images)
        drops = self.clean.score - self.ask(images, masks, ground).score
        for label, found in self.maps.items():
            sums = faithfulness.subset_sums(found.evidence, masks)
            predicted = sums
            if self.methods[label].slopes:
                change = _upsampled(found.maps, self.work.size) * (images - ground)
                predicted = faithfulness.subset_sums(change.sum(1), masks)
            measures = {
                "faithfulness_correlation": faithfulness.faithfulness_correlation(sums, drops),
                "mu_fidelity": faithfulness.mu_fidelity(sums, drops),
                "infidelity": faithfulness.infidelity(predicted, drops) / drops.square().mean(1),
            }
            for metric, values in measures.items():
                why = "the map says the same of every subset, the score does not move, or there are no five superpixels"
                self._add(label, metric, values.masked_fill(~enough, torch.nan), undefined=why)

    def _explained(
        self, metric: str, model: Network, images: Tensor, targets: Tensor, ids: Sequence[str]
    ) -> Iterator[tuple[str, Tensor]]:
        """(label, maps) of other pictures or another network; a method that fails here has failed rows of it."""
        some = {label: self.methods[label] for label in self.maps}
        for label, found in attribute_each(model, images, targets, some, ids=ids).items():
            if not isinstance(found, Exception):
                yield label, found
            elif label not in self.lost:
                self.lost.add(label)
                self.rows += self._missing(label, metric, fault(f"method {label!r}", found))

    def _sensitivity(self) -> None:
        work, generators = self.work, self._generators("sensitivity")
        changes: dict[str, list[Tensor]] = {label: [] for label in self.maps}
        for _ in range(self.settings.perturbations):
            drawn = torch.stack([torch.rand(work.images.shape[1:], generator=g) for g in generators])
            noisy = work.images + self.settings.radius * (2 * drawn - 1).to(work.images)
            for label, found in self._explained("sensitivity", work.model, noisy, work.targets, work.ids):
                changes[label].append(relative_change(self.maps[label].maps, found))
        for label in [label for label in changes if label not in self.lost]:
            every = torch.stack(changes[label])
            self._add(label, "max_sensitivity", every.amax(0), undefined=_ZERO)
            self._add(label, "mean_sensitivity", every.mean(0), undefined=_ZERO)

    def _complexity(self) -> None:
        for label, found in self.maps.items():
            size = magnitude(found.maps, self.work.size)
            for measure in (gini, entropy, effective_complexity):
                self._add(label, measure.__name__, measure(size), undefined=_ZERO)

    @cached_property
    def confident(self) -> list[int]:
        """Photos whose target comes first with confidence."""
        sure = (self.clean.top[:, 0] == 1) & (self.clean.probability[:, 0] >= self.settings.confidence)
        return [i for i, fits in enumerate(sure.tolist()) if fits]

    def _grid(self) -> None:
        work, targets = self.work, self.work.targets.tolist()
        distinct = list({targets[i]: i for i in reversed(self.confident)}.values())[::-1]
        for side in self.settings.grids:
            count = side * side
            groups = [distinct[i : i + count] for i in range(0, len(distinct) - count + 1, count)]
            shares = {label: torch.full((len(work.images),), torch.nan, dtype=torch.float64) for label in self.maps}
            where = localisation.cells(side, self.work.size).to(work.images.device)
            for group in groups:
                picture = localisation.mosaic(work.images[group], side).expand(count, -1, -1, -1)
                self._sees(picture[:1])
                ids = [f"{work.ids[i]} in a mosaic" for i in group]
                for label, maps in self._explained("grid", work.model, picture, work.targets[group], ids):
                    evidence = prepared(maps, self.methods[label], (where.shape[1], where.shape[2])).evidence
                    shares[label][group] = localisation.mass_inside(evidence, where).cpu()
            why = (
                f"a mosaic of {side} x {side} needs {count} photos of different classes in a chunk, each seen with "
                f"confidence {self.settings.confidence:g}, and a map with positive values"
            )
            for label, values in shares.items():
                self._add(label, "grid_pointing", values, stage=f"{side}x{side}", undefined=why)

    def _sees(self, picture: Tensor) -> Tensor:
        """The scores of a picture of another size; not applicable where the network takes no such picture."""
        try:
            return predict(self.work.model, picture)
        except (RuntimeError, ValueError, AssertionError) as error:
            size = f"{picture.shape[2]}x{picture.shape[3]}"
            raise NotApplicable(
                f"the network takes no picture of {size}: {' '.join(str(error).split())[:120]}"
            ) from error

    def _composites(self) -> None:
        work, targets = self.work, self.work.targets.tolist()
        pairs = []
        for i in self.confident:  # each with the next photo of another class, the first following the last
            others = [*range(i + 1, len(targets)), *range(i)]
            pairs += [(i, j) for j in others if targets[j] != targets[i]][:1]
        corners = [tuple(torch.rand(2, generator=g).tolist()) for g in self._generators("composites")]
        made = [localisation.composite(work.images[i], work.images[j], corners[i]) for i, j in pairs]
        why = "a composite needs a photo seen with confidence, one of another class, and a score that the first raises"
        truth = torch.zeros(len(work.images), *self.work.size, dtype=torch.bool, device=work.images.device)
        maps = {label: torch.zeros_like(found.evidence) for label, found in self.maps.items()}
        if made:
            pictures, chosen = torch.stack([picture for picture, _ in made]), [i for i, _ in pairs]
            wanted = work.targets[chosen][:, None]
            before = work.scores[[j for _, j in pairs]].gather(1, wanted)
            seen = (self._sees(pictures).gather(1, wanted) > before)[:, 0]
            truth[chosen] = torch.stack([t for _, t in made]) & seen.view(-1, 1, 1)
            ids = [f"{work.ids[i]} in a composite" for i in chosen]
            for label, found in self._explained("composites", work.model, pictures, work.targets[chosen], ids):
                maps[label][chosen] = prepared(found, self.methods[label], self.work.size).evidence
        boxes = [[box] if (box := localisation.box_of(mask)) else [] for mask in truth]
        for label, evidence in maps.items():
            ranks = removal_ranks(evidence, self.shuffled)
            self._place(label, "composites", evidence, ranks, truth, boxes, [why] * len(truth))

    def _boxes(self) -> None:
        places = self.work.objects if self.places is None else self.places
        if places is None:
            return
        boxes = [[] if isinstance(place, SuiteError) else place for place in places]
        reasons = [str(place) if isinstance(place, SuiteError) else "" for place in places]
        truth = torch.stack([localisation.filled(some, self.work.size) for some in boxes]).to(self.work.images.device)
        for label, found in self.maps.items():
            self._place(label, "boxes", found.evidence, self.ranks[label], truth, boxes, reasons)

    def _place(
        self,
        label: str,
        stage: str,
        evidence: Tensor,
        ranks: Tensor,
        truth: Tensor,
        boxes: list[list[Box]],
        reasons: list[str],
    ) -> None:
        """Every measure of place; each photo's reason is what is said where it has no truth."""
        known = truth.flatten(1).any(1)
        regions = localisation.object_masks(evidence)
        pairs = zip(map(localisation.box_of, regions), boxes, strict=True)
        best = [
            max((localisation.box_iou(b, one) for one in some), default=torch.nan) if b else 0.0 for b, some in pairs
        ]
        overlaps = torch.tensor(best, dtype=torch.float64, device=truth.device)
        values = {
            "pointing_game": localisation.pointing(evidence, truth),
            "mass_accuracy": localisation.mass_inside(evidence, truth),
            "rank_accuracy": localisation.rank_inside(ranks, truth),
            "box_iou": overlaps,
            "corloc": (overlaps >= 0.5).double(),
        }
        if stage == "composites":
            values["mask_iou"] = localisation.mask_iou(regions, truth)
        without = {name: r for name, r, k in zip(self.work.ids, reasons, known.tolist(), strict=True) if not k}
        for metric, value in values.items():
            begin = len(self.rows)
            undefined = "the map has no positive values"
            self._add(label, metric, value.masked_fill(~known, torch.nan), stage=stage, undefined=undefined)
            for made in self.rows[begin:]:
                made["message"] = without.get(made["image"], made["message"])

    def _axioms(self) -> None:
        work = self.work
        for label, method in self.methods.items():
            if isinstance(method, IntegratedGradients | InputXGradient | GradientShap) and label in self.maps:
                kinds = getattr(method, "baselines", (getattr(method, "baseline", "zeros"),))
                each = [predict(work.model, baseline(kind, work.images)) for kind in kinds]
                base = torch.stack([s.gather(1, work.targets[:, None])[:, 0] for s in each]).mean(0)
                gap = axioms.completeness_gap(self.maps[label].maps, self.clean.score[:, 0], base)
                self._add(label, "completeness_gap", gap, undefined="the baseline has the photo's own score")
        twins: dict[str, Callable[[], tuple[Network, Tensor]]] = {
            "input_invariance": lambda: (axioms.shifted(work.model, _SHIFT), work.images + _SHIFT),
            "implementation_invariance": lambda: (axioms.rewritten(work.model), work.images),
        }
        for metric, make in twins.items():
            self.lost = set()
            try:
                twin, images = make()
                apart = float((predict(twin, images) - work.scores).norm() / work.scores.norm())
                if not apart < 1e-3:
                    raise NotApplicable(f"{metric}: the two networks' scores are {apart:.2g} apart, so they differ")
                for label, found in self._explained(metric, twin, images, work.targets, work.ids):
                    change = relative_change(self.maps[label].maps, found)
                    self._add(label, metric, change, undefined=_ZERO)
            except NotApplicable as why:
                for label in self.maps:
                    self.rows += self._missing(label, metric, why)
