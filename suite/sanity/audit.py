"""Audits by randomisation (Adebayo et al. 2018): how alike are the maps of the intact network and of random ones?

Every method's map of a photo x by the intact network is compared with another map, whose kind is a column of the rows.
self: the intact network's map of a noisy copy x + e; stage: a random network's of x + e; null: a random network's of
x' + e, x' a photo of another class; other: the intact network's of x' + e; rolled: its map of x, rolled and flipped.
input compares x times noise with x times other noise.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attribution.base import Attribution
from suite.attribution.controls import Constant, Edges, Luminance, Noise
from suite.attribution.fused import attribute_each
from suite.attribution.grad_cam import GradCam
from suite.attribution.guided_backprop import GuidedBackprop
from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.core.draws import ImageDraws, generator_for
from suite.core.network import scores_of
from suite.core.partners import NO_PARTNER, partners
from suite.core.state import in_use
from suite.errors import SuiteError, as_suite_error, unavailable
from suite.models.blocks import randomised
from suite.results.columns import Block
from suite.sanity.compared import Compared, Measure, measures_for
from suite.sanity.settings import AuditSettings
from suite.sanity.stages import RANDOM_LOGIT, UNCHANGED, Stage
from suite.sanity.verdict import ALMOST, CELL, EVERYTHING, PERMUTED

JITTER = 0.001  # of the stage almost the same: weights times (1 + JITTER N(0, 1))
CONTROLS: Mapping[str, Attribution] = {
    "control_edges": Edges(),
    "control_luminance": Luminance(),
    "control_constant": Constant(),
    "control_noise": Noise(),
}
BINS = 100  # of eMPRT's histogram
SMOOTHING = 0.1  # sMPRT's standard deviation, in pixel units
FROZEN = "(Grad-CAM factor frozen)"
_PLOTTED = ("cascade_top", EVERYTHING, PERMUTED)
_GUIDED, _CAM = "guided factor of ", "Grad-CAM factor of "
Maps = dict[str, Tensor | Exception]
Ready = dict[str, Compared]


def with_controls(methods: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The methods, and the controls that every audit holds."""
    return {**methods, **{label: c for label, c in CONTROLS.items() if label not in methods}}


class RandomisationAudit:
    """One chunk of images and one draw: `rows` goes stage by stage and leaves the network as it was.

    Args:
        model: the intact network, (B, 3, H, W) -> (B, K), already without a trailing rectifier if that is wanted.
        stages: the networks that it is compared with.
        images, targets, ids: (B, 3, H, W), (B,) and the images' names.
        methods: label -> method, controls among them.
        settings: see `AuditSettings`.
        draw: which random networks, and which e.

    Attributes:
        frozen: label -> Guided Grad-CAM, measured also with the intact network's Grad-CAM as its second factor.
        partner: (B,) the place of x' in the chunk.
        pictures: random blocks from the top -> label -> map of the first image.
    """

    def __init__(
        self,
        model: nn.Module,
        stages: Sequence[Stage],
        images: Tensor,
        targets: Tensor,
        ids: Sequence[str],
        methods: Mapping[str, Attribution],
        settings: AuditSettings,
        draw: int,
    ) -> None:
        self.model, self.stages, self.images, self.targets, self.ids = model, stages, images, targets, list(ids)
        self.methods, self.settings, self.draw = dict(methods), settings, draw
        self.size = (images.shape[2], images.shape[3])
        self.frozen = {f"{label} {FROZEN}": m for label, m in methods.items() if isinstance(m, GuidedGradCam)}
        generator = generator_for(settings.seed, f"draw {draw}", "sanity noise")
        self.noise = torch.randn(images.shape[1:], generator=generator).to(images) * settings.noise
        self.partner = partners(targets.tolist(), draw)
        self.pictures: dict[int, dict[str, Tensor]] = {}
        self._intact_factors: Maps = {}  # of the frozen maps; `rows` begins with them

    def rows(self) -> Iterator[Block]:
        """All similarities of this draw, and the other tests' numbers; without the columns study and model."""
        maps, self._intact_factors = self.maps(self.model, self.images, self.targets, f"draw {self.draw}")
        self._keep(UNCHANGED, maps)
        reference = self._ready(maps | self.frozen_maps(self._intact_factors), self.settings.cells)
        yield from self._rolled_and_input(reference)
        for factor in self.settings.noise_factors:
            yield from self._noisy(reference, factor)
        if self.settings.smoothed:
            yield from self._smoothed()

    def maps(
        self, model: nn.Module, images: Tensor, targets: Tensor, purpose: str, *, controls: bool = True
    ) -> tuple[Maps, Maps]:
        """Label -> (B, C, h, w), and the factors of the frozen maps. Sampled methods draw anew for each purpose."""
        methods = {label: m for label, m in self.methods.items() if controls or not m.control}
        factors: dict[str, Attribution] = {}
        for label, method in self.frozen.items():
            factors |= {_GUIDED + label: GuidedBackprop(), _CAM + label: GradCam(layer=method.layer)}
        ids = [f"{name} {purpose}" for name in self.ids]
        results = attribute_each(model, images, targets, methods | factors, ids=ids)
        return {label: results[label] for label in methods}, {name: results[name] for name in factors}

    def frozen_maps(self, factors: Maps, partner: Sequence[int] | slice = slice(None)) -> Maps:
        """Guided Grad-CAM of some factors' guided map and the intact network's Grad-CAM.

        The Grad-CAM is always of the photo itself; `partner` says whose guided map it is multiplied by.
        """
        maps: Maps = {}
        for label, method in self.frozen.items():
            guided, cam = factors[_GUIDED + label], self._intact_factors[_CAM + label]
            if isinstance(guided, Exception) or isinstance(cam, Exception):
                maps[label] = guided if isinstance(guided, Exception) else cam
            else:
                maps[label] = guided[partner] * F.interpolate(cam, size=guided.shape[2:], mode=method.upsample)
        return maps

    def _noisy(self, reference: Ready, factor: float) -> Iterator[Block]:
        """The intact network's maps of noisy copies, and each stage's."""
        settings, noise = self.settings, factor * self.settings.noise
        images, purpose = self.images + factor * self.noise, f"draw {self.draw} noise {noise:g}"
        intact, factors = self.maps(self.model, images, self.targets, purpose)
        own, others = self._of_photos_and_partners(intact, factors, settings.cells)
        yield from self._compare(reference, own, UNCHANGED, "self", noise)
        yield from self._compare(reference, others, UNCHANGED, "other", noise)
        for stages in self._by_network(judged_only=factor != 1):
            first = stages[0]
            targets = self._other_class() if first.order == RANDOM_LOGIT else self.targets
            with self._network(first) as network:
                maps, factors = self.maps(network, images, targets, purpose, controls=first.judged)
                if first.order == EVERYTHING and factor == 1:
                    yield from self._entropies(first, network, images, intact, maps)
            own, others = self._of_photos_and_partners(maps, factors, settings.cells if first.judged else (CELL,))
            for stage in stages:
                if factor == 1 and stage.order in _PLOTTED:
                    self._keep(stage, maps)
                yield from self._compare(reference, own, stage, "stage", noise)
                if stage.order != ALMOST:
                    yield from self._compare(reference, others, stage, "null", noise)

    def _by_network(self, *, judged_only: bool) -> list[list[Stage]]:
        """Stages that look at the same network together.

        Judged stages come first: the first of a network says whether controls and all cell sizes are measured.
        """
        networks: dict[Hashable, list[Stage]] = {}
        for stage in sorted(self.stages, key=lambda stage: not stage.judged):
            if stage.judged or not judged_only:
                networks.setdefault(stage.change, []).append(stage)
        return list(networks.values())

    @contextmanager
    def _network(self, stage: Stage) -> Iterator[nn.Module]:
        if stage.network is not None:
            yield stage.network
            return
        seed, statistics = self.settings.seed, self.settings.batch_norm
        jitter = JITTER if stage.order == ALMOST else 0.0
        with randomised(self.model, stage.blocks, seed=seed, draw=self.draw, statistics=statistics, jitter=jitter):
            yield self.model

    def _of_photos_and_partners(self, maps: Maps, factors: Maps, cells: Sequence[int]) -> tuple[Ready, Ready]:
        """The maps of the photos themselves, and of their partners."""
        own = self._ready(maps | self.frozen_maps(factors), cells)
        others = {label: ready.at(self.partner) for label, ready in own.items()}
        if self.frozen and NO_PARTNER not in self.partner:
            # A finished map's Grad-CAM would move to the partner too, so the product is made again.
            others |= self._ready(self.frozen_maps(factors, self.partner), cells)
        return own, others

    def _ready(self, maps: Maps, cells: Sequence[int]) -> Ready:
        ready = {}
        for label, result in maps.items():
            signed = (self.methods | self.frozen)[label].signed
            if isinstance(result, Tensor):
                ready[label] = Compared(result, measures_for(signed, self.size, cells), self.size)
            else:
                nothing = self.images.new_full((len(self.images), 1, *self.size), torch.nan)
                measures = measures_for(signed, self.size, (CELL,))
                failure = as_suite_error(f"method {label!r}", result)
                ready[label] = Compared(nothing, measures, self.size, failure)
        return ready

    def _compare(self, reference: Ready, compared: Ready, stage: Stage, kind: str, noise: float) -> Iterator[Block]:
        for label, candidate in compared.items():
            intact = reference[label]
            why, failure = intact.reasons(candidate), intact.failure or candidate.failure
            for measure in candidate.features:
                values = intact.similarity(measure, candidate)
                yield self._block(label, stage, kind, measure.metric, noise, measure.cell, values, why, failure)

    def _rolled_and_input(self, reference: Ready) -> Iterator[Block]:
        """What others are judged by: a map and itself, flipped and moved; the photo times one noise and another."""
        rolled: Maps = {}
        for label, own in reference.items():
            if own.failure is None:
                height, width = own.maps.shape[2:]
                rolled[label] = own.maps.flip(3).roll((height // 2, width // 2), (2, 3))
        yield from self._compare(reference, self._ready(rolled, (CELL,)), UNCHANGED, "rolled", 0.0)
        noise = ImageDraws(self.images, self.ids, self.settings.seed, f"random gradient {self.draw}").normal(2)
        measures = measures_for(True, self.size, (CELL,))
        first, second = (Compared(self.images * noise[:, k], measures, self.size) for k in range(2))
        for measure in measures:
            values, why = first.similarity(measure, second), first.reasons(second)
            yield self._block("", UNCHANGED, "input", measure.metric, 0.0, CELL, values, why)

    def _entropies(
        self, stage: Stage, network: nn.Module, images: Tensor, intact: Maps, random: Maps
    ) -> Iterator[Block]:
        """The relative rise of a map's histogram entropy (eMPRT, Hedström et al. 2024); beside it the output's."""
        noise, why = self.settings.noise, ["the entropy of a constant map is zero"] * len(images)
        for label, maps in random.items():
            before = intact[label]
            if isinstance(maps, Tensor) and isinstance(before, Tensor):
                old, new = histogram_entropy(before), histogram_entropy(maps)
                rise = torch.where(old > 0, (new - old) / old, torch.nan)
                yield self._block(label, stage, "entropy", "emprt", noise, None, rise, why)
        with in_use(network), torch.no_grad():
            output = torch.special.entr(scores_of(network, images).double().softmax(1)).sum(1)
        yield self._block("", stage, "entropy", "output_entropy", noise, None, output, [""] * len(images))

    def _smoothed(self) -> Iterator[Block]:
        """The cascade's mean similarity between maps averaged over noisy copies (sMPRT, Hedström et al. 2024)."""
        draws = ImageDraws(self.images, self.ids, self.settings.seed, f"smprt {self.draw}")
        noise = draws.normal(self.settings.smoothed).unbind(1)
        measure = Measure("spearman", "abs", CELL)

        def smooth(model: nn.Module) -> dict[str, Compared]:
            sums: dict[str, Tensor] = {}
            failed: set[str] = set()
            for k, e in enumerate(noise):
                copies = self.images + SMOOTHING * e
                results, _ = self.maps(model, copies, self.targets, f"smprt {k}", controls=False)
                for label, result in results.items():
                    if isinstance(result, Exception) or (label in sums and result.shape != sums[label].shape):
                        failed.add(label)
                    else:
                        sums[label] = sums[label] + result if label in sums else result
            # The sum serves as the mean: ranks do not change with scale.
            return {label: Compared(maps, [measure], self.size) for label, maps in sums.items() if label not in failed}

        reference = smooth(self.model)
        similarities: dict[str, list[Tensor]] = {label: [] for label in reference}
        cascade = [stage for stage in self.stages if stage.order in ("cascade_top", EVERYTHING)]
        for stage in cascade:
            with self._network(stage) as network:
                smoothed = smooth(network)
            for label in reference.keys() & smoothed.keys():
                similarities[label].append(reference[label].similarity(measure, smoothed[label]))
        why = ["one of the maps is constant at every stage"] * len(self.images)
        for label, values in similarities.items():
            if len(values) == len(cascade):  # a method that failed at a stage has no mean over the cascade
                mean = torch.stack(values).nanmean(0)
                yield self._block(label, cascade[-1], "smoothed", "smprt", SMOOTHING, CELL, mean, why)

    def _other_class(self) -> Tensor:
        """(B,): for each image a class that is not its target, drawn anew each draw."""
        with in_use(self.model), torch.no_grad():
            classes = scores_of(self.model, self.images[:1]).shape[1]
        steps = []
        for name in self.ids:
            generator = generator_for(self.settings.seed, name, f"logit {self.draw}")
            steps.append(int(torch.randint(1, max(2, classes), (1,), generator=generator)))
        return (self.targets + torch.tensor(steps, device=self.targets.device)) % classes

    def _block(  # noqa: PLR0913 - the columns of a row
        self, method: str, stage: Stage, kind: str, metric: str, noise: float, cell: int | None, values: Tensor,
        why: Sequence[str], failure: SuiteError | None = None,
    ) -> Block:  # fmt: skip
        fields = {
            "method": method, "metric": metric, "kind": kind, "block": stage.block, "order": stage.order,
            "blocks": stage.count, "draw": self.draw, "noise": noise, "cell": cell,
            "control": method in self.methods and self.methods[method].control,
            "status": unavailable(failure)["status"] if failure else "not_applicable",
        }  # fmt: skip
        undefined = [reason or "the similarity is undefined for these maps" for reason in why]
        return Block(self.ids, self.targets.tolist(), values.double().cpu().numpy(), undefined, fields)

    def _keep(self, stage: Stage, maps: Maps) -> None:
        self.pictures[stage.count] = {label: m[0].sum(0) for label, m in maps.items() if isinstance(m, Tensor)}


def histogram_entropy(maps: Tensor) -> Tensor:
    """(B,) entropy in nats of each map's values over `BINS` equal bins between its own least and greatest value."""
    flat = maps.detach().sum(1).flatten(1).double()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    bins = ((flat - low) / (high - low) * BINS).nan_to_num().long().clamp(0, BINS - 1)
    share = torch.zeros(len(flat), BINS, dtype=torch.float64, device=flat.device)
    share = share.scatter_add_(1, bins, torch.ones_like(flat)) / flat.shape[1]
    return cast(Tensor, torch.special.entr(share).sum(1))
