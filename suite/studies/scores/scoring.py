"""The metrics of one chunk of images on one network: what the study `scores` measures.

Maps, the clean prediction, perturbed copies that no map decides, and the controls are computed once for all methods.
Contributions are taken with their sign; of sensitivities (`Attribution.sensitivity`) the size counts.
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
from suite.attribution.controls import AbsoluteNoise, Center, CenterEdges, Constant, Edges, Noise
from suite.attribution.fused import attribute_each
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.input_x_gradient import InputXGradient
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.core.draws import ImageDraws, generator_for
from suite.core.memory import images_per_pass
from suite.core.network import Network
from suite.core.partners import NO_PARTNER, WHY_NONE, distinct_groups, partners
from suite.core.passes import predict
from suite.data.boxes import Box, Places
from suite.errors import NotApplicable, SuiteError
from suite.metrics import axioms, faithfulness, localisation
from suite.metrics.complexity import effective_complexity, entropy, gini
from suite.metrics.faithfulness import (
    TargetOutputs,
    area,
    evaluate_perturbed,
    first_removed,
    normalised,
    removal_ranks,
    target_outputs,
)
from suite.metrics.robustness import relative_change
from suite.studies.base import Rows, Work, as_suite_error, magnitude
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
ALONE: Mapping[str, tuple[str, ...]] = {  # the metrics, none of them dear, that some controls are there for
    "control_constant": ("fidelity",),
    "control_absolute_noise": ("fidelity",),
    "control_center_point": ("composites", "boxes"),
}
_NOISE = 0.01  # of ROAD's imputation, standard deviation in pixel units, as its authors have it
_FIFTH = 5  # a subset removes one superpixel in five, as Xplique's mu-fidelity
_SHIFT = 0.25  # of input invariance, in pixel units
_LEAST = {"probability": 0.05, "score": 1.0}  # fall from clean to wholly perturbed that a curve can be divided by
_ZERO, _NOTHING = "the map is zero everywhere", "the map has no positive values"
_ON_CPU = 8  # copies in one forward pass: more only leave the cache
_ELSEWHERE = 4  # times the images of a pass with gradients: a forward pass keeps nothing for a backward one


@dataclass
class _Maps:
    """One method's maps of a batch, in the forms that metrics take.

    Attributes:
        maps: (B, C, h, w), zero where they were not finite.
        evidence: (B, H, W): channels summed, of sensitivities their size, at the images' size.
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
    flat = maps.abs() if method.sensitivity else maps
    return _Maps(maps, _upsampled(flat.sum(1, keepdim=True), size)[:, 0], damaged)


@dataclass
class Scoring:
    """All metrics of one chunk of images on one network."""

    work: Work
    methods: Mapping[str, Attribution]
    settings: ScoresConfig
    places: Places | None = None  # the objects' boxes, where they are known already
    rows: Rows = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # methods that failed in the metric at work

    def all_rows(self) -> Rows:
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
                for label in self._judged(name):
                    self.rows += self._unavailable(label, name, as_suite_error(f"metric {name!r}", error))
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
                self.rows += self._unavailable(label, "map", as_suite_error(f"method {label!r}", result))
                continue
            made[label] = prepared(result, method, work.size)
            if bool(made[label].damaged.any()):
                why, none = f"method {label!r}: its map holds NaN or infinity", [np.nan] * len(work.files)
                place = {"control": method.control, "status": "failed", "undefined": why}
                self.rows.append(work.block("scores", label, "map", none, **place).only(made[label].damaged.tolist()))
        return made

    def _judged(self, metric: str) -> dict[str, _Maps]:
        """The maps that a metric takes: all but those of controls that are there for other metrics."""
        extra = {label for label, where in ALONE.items() if metric not in where}
        absent = {label for label in extra if self.methods.get(label) is CONTROLS[label]}  # a user's own is judged
        return {label: found for label, found in self.maps.items() if label not in absent}

    def _add(
        self, label: str, metric: str, values: Tensor | Sequence[float], reasons: Sequence[str] = (), **more: Any
    ) -> None:
        """A row a photo; `reasons` are why single photos have no value, "" where the map itself is why."""
        if label in self.lost:
            return
        control = self.methods[label].control
        if reasons:
            more["undefined"] = [reason or more["undefined"] for reason in reasons]
        block = self.work.block("scores", label, metric, values, control=control, **more)
        self.rows.append(block.only((~self.maps[label].damaged).tolist()))

    def _unavailable(self, label: str, metric: str, why: SuiteError) -> Rows:
        return self.work.unavailable_rows("scores", label, metric, why, control=self.methods[label].control)

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
    def clean(self) -> TargetOutputs:
        return target_outputs(self.work.scores.unsqueeze(1), self.work.targets)

    def _generators(self, purpose: str) -> list[torch.Generator]:
        return [generator_for(self.work.config.seed, name, f"scores {purpose}") for name in self.work.ids]

    @cached_property
    def shuffled(self) -> Tensor:
        """(B, H * W): the order of tied pixels, the same for all methods."""
        drawn = [torch.randperm(self.work.images[0, 0].numel(), generator=g) for g in self._generators("ties")]
        return torch.stack(drawn).to(self.work.images.device)

    @cached_property
    def ranks(self) -> dict[str, Tensor]:
        return {label: removal_ranks(m.evidence, self.shuffled) for label, m in self._judged("deletion").items()}

    def evaluate(self, images: Tensor, masks: Tensor, others: Tensor) -> TargetOutputs:
        """`faithfulness.evaluate_perturbed` of this network and these targets."""
        return evaluate_perturbed(self.work.model, images, self.work.targets, masks, others, self.room, self.layout)

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
            gone = self.evaluate(images, everywhere, ground)
            start, end = (images, ground) if metric == "deletion" else (ground, images)
            first, last = (self.clean, gone) if metric == "deletion" else (gone, self.clean)
            for label, ranks in self.ranks.items():
                inner = self.evaluate(start, first_removed(ranks, shares[1:-1]), end)
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
        of = torch.arange(len(images)).repeat_interleave(steps)
        at_once = 1 if images.device.type == "cpu" else self.room  # one copy's planes stay in the cache
        chunks = [slice(k, k + at_once) for k in range(0, len(of), at_once)]
        for label, ranks in self.ranks.items():
            removed = first_removed(ranks, shares)
            gone = removed.flatten(0, 1).unsqueeze(1)
            imputed = torch.cat([faithfulness.impute(images[of[some]], gone[some]) for some in chunks])
            found = self.evaluate(images, removed, imputed.view(len(images), steps, *images.shape[1:]) + noise)
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
        drops = self.clean.score - self.evaluate(images, masks, ground).score
        for label, found in self._judged("fidelity").items():
            sums = faithfulness.subset_sums(found.evidence, masks)
            predicted, method = sums, self.methods[label]
            if method.sensitivity and method.signed:  # a sensitivity without its sign predicts by its size, as above
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
        some = {label: self.methods[label] for label in self._judged(metric)}
        for label, found in attribute_each(model, images, targets, some, ids=ids).items():
            if not isinstance(found, Exception):
                yield label, found
            elif label not in self.lost:
                self.lost.add(label)
                self.rows += self._unavailable(label, metric, as_suite_error(f"method {label!r}", found))

    def _sensitivity(self) -> None:
        work, generators = self.work, self._generators("sensitivity")
        changes: dict[str, list[Tensor]] = {label: [] for label in self._judged("sensitivity")}
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
        for label, found in self._judged("complexity").items():
            size = magnitude(found.maps, self.work.size)
            for measure in (gini, entropy, effective_complexity):
                self._add(label, measure.__name__, measure(size), undefined=_ZERO)

    @cached_property
    def unsure(self) -> list[str]:
        """A photo why it is in no mosaic and on no composite, "" where its target comes first with confidence."""
        sure = (self.clean.top[:, 0] == 1) & (self.clean.probability[:, 0] >= self.settings.confidence)
        why = f"the target does not come first with confidence {self.settings.confidence:g}"
        return ["" if fits else why for fits in sure.tolist()]

    def _grid(self) -> None:
        work, targets = self.work, self.work.targets.tolist()
        sure = [i for i, why in enumerate(self.unsure) if not why]
        for side in self.settings.grids:
            count = side * side
            groups = [[sure[k] for k in group] for group in distinct_groups([targets[i] for i in sure], count)]
            judged = self._judged("grid")
            shares = {label: torch.full((len(work.images),), torch.nan, dtype=torch.float64) for label in judged}
            where = localisation.cells(side, self.work.size).to(work.images.device)
            for group in groups:
                picture = localisation.mosaic(work.images[group], side).expand(count, -1, -1, -1)
                self._sees(picture[:1])
                ids = [f"{work.ids[i]} in a mosaic" for i in group]
                for label, maps in self._explained("grid", work.model, picture, work.targets[group], ids):
                    evidence = prepared(maps, self.methods[label], (where.shape[1], where.shape[2])).evidence
                    shares[label][group] = localisation.mass_inside(evidence, where).cpu()
            lacks = f"no {count} such photos of different classes are left in the chunk for a mosaic with this one"
            reasons = [why or lacks for why in self.unsure]
            for i in (i for group in groups for i in group):
                reasons[i] = ""
            for label, values in shares.items():
                self._add(label, "grid_pointing", values, reasons, stage=f"{side}x{side}", undefined=_NOTHING)

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
        work, device = self.work, self.work.images.device
        other = partners(work.targets.tolist())
        reasons = [why or (WHY_NONE if j == NO_PARTNER else "") for why, j in zip(self.unsure, other, strict=True)]
        chosen = [i for i, why in enumerate(reasons) if not why]
        corners = [tuple(torch.rand(2, generator=g).tolist()) for g in self._generators("composites")]
        truth = torch.zeros(len(work.images), *work.size, dtype=torch.bool, device=device)
        maps = {label: torch.zeros_like(found.evidence) for label, found in self._judged("composites").items()}
        if chosen:
            made = [localisation.composite(work.images[i], work.images[other[i]], corners[i]) for i in chosen]
            pictures, wanted = torch.stack([picture for picture, _ in made]), work.targets[chosen][:, None]
            before = work.scores[[other[i] for i in chosen]].gather(1, wanted)
            seen = (self._sees(pictures).gather(1, wanted) > before)[:, 0].tolist()
            for i, (_, inside), raised in zip(chosen, made, seen, strict=True):
                truth[i] = inside & raised
                reasons[i] = "" if raised else "the photo pasted on another one does not raise its target's score"
            ids = [f"{work.ids[i]} in a composite" for i in chosen]
            for label, found in self._explained("composites", work.model, pictures, work.targets[chosen], ids):
                maps[label][chosen] = prepared(found, self.methods[label], work.size).evidence
        boxes = [[box] if (box := localisation.box_of(mask)) else [] for mask in truth]
        self._place("composites", maps, truth, boxes, reasons)

    def _boxes(self) -> None:
        places = self.work.objects if self.places is None else self.places
        if places is None:
            return
        boxes = [[] if isinstance(place, SuiteError) else place for place in places]
        reasons = [str(place) if isinstance(place, SuiteError) else "" for place in places]
        truth = torch.stack([localisation.filled(some, self.work.size) for some in boxes]).to(self.work.images.device)
        maps = {label: found.evidence for label, found in self._judged("boxes").items()}
        self._place("boxes", maps, truth, boxes, reasons)

    def _place(
        self, stage: str, maps: dict[str, Tensor], truth: Tensor, boxes: list[list[Box]], reasons: list[str]
    ) -> None:
        """Every measure of place of maps (B, H, W); each photo's reason is what is said where it has no truth."""
        unknown = ~truth.flatten(1).any(1)
        for label, evidence in maps.items():
            regions = localisation.object_masks(evidence)
            best = []
            for box, some in zip(map(localisation.box_of, regions), boxes, strict=True):
                best.append(max((localisation.box_iou(box, one) for one in some), default=torch.nan) if box else 0.0)
            overlaps = torch.tensor(best, dtype=torch.float64, device=truth.device)
            values = {
                "pointing_game": localisation.pointing(evidence, truth),
                "mass_accuracy": localisation.mass_inside(evidence, truth),
                "rank_accuracy": localisation.rank_inside(removal_ranks(evidence, self.shuffled), truth),
                "box_iou": overlaps,
                "corloc": (overlaps >= 0.5).double(),
            }
            if stage == "composites":
                values["mask_iou"] = localisation.mask_iou(regions, truth)
            for metric, value in values.items():
                known = value.masked_fill(unknown, torch.nan)
                self._add(label, metric, known, reasons, stage=stage, undefined=_NOTHING)

    def _axioms(self) -> None:
        work = self.work
        for label, method in self.methods.items():
            if isinstance(method, IntegratedGradients | InputXGradient | GradientShap) and label in self.maps:
                kinds = getattr(method, "baselines", (getattr(method, "baseline", "zeros"),))
                each = [predict(work.model, baseline(kind, work.images)) for kind in kinds]
                base = torch.stack([s.gather(1, work.targets[:, None])[:, 0] for s in each]).mean(0)
                gap = axioms.completeness_gap(self.maps[label].maps, self.clean.score[:, 0], base)
                self._add(label, "completeness_gap", gap, undefined="the baseline has the photo's own score")
        self._invariance("input_invariance", lambda: axioms.shifted(work.model, _SHIFT), work.images + _SHIFT)
        self._invariance("implementation_invariance", lambda: axioms.rewritten(work.model), work.images)

    def _invariance(self, metric: str, make: Callable[[], Network], images: Tensor) -> None:
        """How far maps are from those of another network that says the same of these images."""
        work, self.lost = self.work, set()
        try:
            twin = make()
            apart = float((predict(twin, images) - work.scores).norm() / work.scores.norm())
            if not apart < 1e-3:
                raise NotApplicable(f"{metric}: the two networks' scores are {apart:.2g} apart, so they differ")
            for label, found in self._explained(metric, twin, images, work.targets, work.ids):
                self._add(label, metric, relative_change(self.maps[label].maps, found), undefined=_ZERO)
        except NotApplicable as why:
            for label in self._judged(metric):
                self.rows += self._unavailable(label, metric, why)
