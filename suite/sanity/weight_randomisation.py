"""Weight randomisation (Adebayo et al. 2018): maps of random networks, all methods together, and how alike they are."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isfinite
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
from suite.core.partners import NO_PARTNER, WHY_NONE, partners
from suite.core.state import in_use
from suite.errors import ConfigError
from suite.metrics.similarity import hog_features, normalise, ranks, ssim, units
from suite.models.blocks import Block, blocks_of, randomised
from suite.sanity.config import SanityConfig
from suite.sanity.verdict import ALMOST

MEASURES = ("spearman", "cosine", "ssim", "hog")
CELL = 4  # of the headline
JITTER = 0.001  # of the stage almost the same: weights times (1 + JITTER N(0, 1))
ZERO = "is zero everywhere"
CONTROLS: Mapping[str, Attribution] = {
    "control_edges": Edges(),
    "control_luminance": Luminance(),
    "control_constant": Constant(),
    "control_noise": Noise(),
}
BINS = 100  # of eMPRT's histogram
SMOOTHING = 0.1  # sMPRT's standard deviation, in pixel units
FROZEN = "(Grad-CAM factor frozen)"
_HIDDEN = "\0"
Maps = Mapping[str, Tensor | Exception]
Key = tuple[str, str, int]  # measure, sign, cell


@dataclass(frozen=True)
class Stage:
    """How much is random.

    Attributes:
        order: cascade_top, cascade_bottom, independent, everything, almost_same (all weights, by a thousandth), or
            random_logit (another class, nothing random).
        count: blocks that are random; the place from the top under independent.
        block: the one that was randomised last.
        chosen: places of the random blocks, counted from the top.
        judged: whether the verdict needs it.
    """

    order: str
    count: int
    block: str
    chosen: tuple[int, ...]
    judged: bool = False


@dataclass(frozen=True)
class Finding:
    """One similarity an image.

    Attributes:
        method: label.
        kind: what the intact network's map of x is compared with. self: its map of x + e; stage: the random network's
            of x + e; null: the random network's of x' + e, x' a photo of another class; other: its own of x' + e;
            rolled: its own, rolled and flipped. input: two maps that share only the photo, x times noise (no method).
        values: (B,), NaN where undefined.
        why: (B,) reasons for what is undefined.
    """

    method: str
    stage: Stage
    kind: str
    metric: str
    noise: float
    cell: int | None
    values: Tensor
    why: Sequence[str]


def plan_stages(names: Sequence[str], settings: SanityConfig) -> list[Stage]:
    """All stages, each set of blocks once but for what two orders share.

    Args:
        names: the blocks', from the top.
        settings: see `SanityConfig`.
    """
    n = len(names)
    half = -(-n // 2)
    stages = []
    for order in settings.orders:
        for count in range(1, n + (order == "independent")):
            if order == "independent":
                chosen: tuple[int, ...] = (count - 1,)
            else:
                chosen = tuple(range(count) if order == "cascade_top" else range(n - count, n))
            block = names[chosen[0] if order == "cascade_bottom" else chosen[-1]]
            judged = count == half and order != "independent"
            if judged or settings.stages == "all" or (order == "cascade_top" and count == 1):
                stages.append(Stage(order, count, block, chosen, judged))
    last = Stage("everything", n, names[-1], tuple(range(n)), True)
    logit = [Stage("random_logit", 0, "", ())] if settings.random_logit else []
    return [*stages, last, almost_same(n), *logit]


def almost_same(blocks: int) -> Stage:
    """The stage at which a map must stay."""
    return Stage(ALMOST, 0, "", tuple(range(blocks)), True)


def _network_of(stage: Stage) -> tuple[str, tuple[int, ...]]:
    """Which changed network a stage looks at: two orders share one where the same blocks are random."""
    return stage.order if stage.order in (ALMOST, "random_logit") else "", stage.chosen


def with_controls(methods: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The methods, and the controls that every audit holds."""
    return {**methods, **{label: c for label, c in CONTROLS.items() if label not in methods}}


def _flat(maps: Tensor, sign: str, cells: Sequence[int], size: tuple[int, int]) -> dict[tuple[str, int], Tensor]:
    """(B, C, h, w) -> (B, H / cell, W / cell) each: the sum over channels of |a| or a, at image size, averaged."""
    flat = (maps.abs() if sign == "abs" else maps).sum(1, keepdim=True)
    if flat.shape[2:] != size:
        flat = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    found, at = {}, 1
    for cell in sorted(cells):
        if cell % at:
            raise ConfigError(
                f"cells: {cell} is no multiple of {at}; give sizes that divide one another, such as 4, 8, 16"
            )
        flat, at = F.avg_pool2d(flat, cell // at), cell
        found[sign, cell] = flat[:, 0]
    return found


def describe(maps: Tensor) -> list[str]:
    """Why a map has no correlation, "" where it has one."""
    low, high = maps.detach().flatten(1).aminmax(dim=1)  # NaN where a map holds one
    return [
        "holds NaN or infinity" if not isfinite(b - a) else "" if a < b else ZERO if a == 0 else "is constant"
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]


class Compared:
    """Maps made ready to be compared many times: ranks, unit vectors, histograms, once each."""

    def __init__(self, maps: Tensor, keys: Sequence[Key], size: tuple[int, int]) -> None:
        self.maps = maps
        self.why = describe(maps)
        bad = torch.tensor([bool(w) for w in self.why], device=maps.device)
        flat: dict[tuple[str, int], Tensor] = {}
        for sign in dict.fromkeys(sign for _, sign, _ in keys):
            flat |= _flat(maps, sign, sorted({cell for _, s, cell in keys if s == sign}), size)
        self.found: dict[Key, Tensor] = {}
        for measure, sign, cell in keys:
            made = _ready(measure, flat[sign, cell])
            self.found[measure, sign, cell] = made.masked_fill(bad.view(-1, *[1] * (made.ndim - 1)), torch.nan)

    def at(self, places: Sequence[int]) -> "Compared":
        """For each image the map of another, none where its place is `NO_PARTNER`."""
        chosen = copy.copy(self)
        chosen.why = [WHY_NONE if place == NO_PARTNER else self.why[place] for place in places]
        index = torch.tensor(places, device=self.maps.device)
        none = index == NO_PARTNER
        chosen.found = {
            key: made[index].masked_fill(none.view(-1, *[1] * (made.ndim - 1)), torch.nan)
            for key, made in self.found.items()
        }
        return chosen

    def similarity(self, key: Key, other: "Compared") -> Tensor:
        """(B,): 0 by definition where one of the two maps is zero everywhere and the other is sound and is not."""
        a, b = self.found[key], other.found[key]
        if key[0] == "ssim":
            values = ssim(a, b, data_range=1.0 if key[1] == "abs" else 2.0)
        else:
            values = (a * b).sum(1).clamp(-1, 1)
        one_is_zero = [{x, y} == {"", ZERO} for x, y in zip(self.why, other.why, strict=True)]
        return values.masked_fill(torch.tensor(one_is_zero, device=values.device), 0)

    def reasons(self, other: "Compared") -> list[str]:
        """(B,): which of the two maps is to blame."""
        return [
            b
            if b == WHY_NONE
            else f"the intact network's map {a}"
            if a
            else f"the map compared with it {b}"
            if b
            else ""
            for a, b in zip(self.why, other.why, strict=True)
        ]


def _ready(measure: str, maps: Tensor) -> Tensor:
    if measure == "ssim":
        return normalise(maps)
    if measure == "hog":
        made = hog_features(normalise(maps), pixels_per_cell=hog_cell(min(maps.shape[1:])))
    else:
        made = ranks(maps) if measure == "spearman" else maps.double()
    return units(made if measure == "cosine" else made - made.mean(1, keepdim=True))


def hog_cell(side: int) -> int:
    """Adebayo et al.'s 16 of 224 pixels, at any side; at least 2."""
    return max(2, round(side / 14))


def keys_for(signed: bool, size: tuple[int, int], cells: Sequence[int]) -> list[Key]:
    """What can be measured on maps of this size: SSIM's window needs 11 values a side, HOG three cells."""
    found = []
    for cell in cells:
        side = min(size) // cell
        fits = {"ssim": side >= 11, "hog": side >= 6}
        for measure in MEASURES:
            if side >= 3 and fits.get(measure, True):
                found += [(measure, sign, cell) for sign in (("abs", "signed") if signed else ("abs",))]
    return found


Ready = Mapping[str, Compared | Exception]


class WeightAudit:
    """One chunk of images and one draw: `findings` are computed stage by stage, the network is left as it was.

    Args:
        model: (B, 3, H, W) -> (B, K); already without a trailing rectifier where that is wanted.
        images: (B, 3, H, W).
        targets: (B,), the same in both networks.
        ids: the images' names.
        methods: label -> method, controls among them.
        settings: see `SanityConfig`.
        seed: the run's.
        draw: which random networks, and which e.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Tensor,
        ids: Sequence[str],
        methods: Mapping[str, Attribution],
        settings: SanityConfig,
        *,
        seed: int,
        draw: int,
    ) -> None:
        self.model, self.images, self.targets, self.ids = model, images, targets, list(ids)
        self.methods, self.settings, self.seed, self.draw = dict(methods), settings, seed, draw
        self.size = (images.shape[2], images.shape[3])
        self.held = {f"{label} {FROZEN}": label for label, m in methods.items() if isinstance(m, GuidedGradCam)}
        self.blocks: list[Block] = blocks_of(model, images, settings.unit, settings.blocks)[::-1]
        self.stages = plan_stages([b.name for b in self.blocks], settings)
        noise = generator_for(seed, f"draw {draw}", "sanity noise")
        self.noise = torch.randn(images.shape[1:], generator=noise).to(images) * settings.noise
        self.partner = partners(targets.tolist(), draw)  # where x' stands
        # random blocks from the top -> label -> map of the first image
        self.pictures: dict[int, dict[str, Tensor]] = {}

    def maps(
        self, images: Tensor, targets: Tensor, purpose: str, *, controls: bool = True
    ) -> dict[str, Tensor | Exception]:
        """Label -> (B, C, h, w) of the network as it now is; sampled methods draw anew for each purpose."""
        methods = {k: m for k, m in self.methods.items() if controls or not m.control}
        for label in self.held.values():
            layer = self.methods[label].layer_asked or ""
            methods |= {f"{_HIDDEN}guided": GuidedBackprop(), f"{_HIDDEN}cam|{label}": GradCam(layer=layer)}
        return attribute_each(self.model, images, targets, methods, ids=[f"{i} {purpose}" for i in self.ids])

    def findings(self) -> Iterator[Finding]:
        """All similarities of this draw."""
        intact = self.maps(self.images, self.targets, f"draw {self.draw}")
        cams = {h: intact[f"{_HIDDEN}cam|{label}"] for h, label in self.held.items()}
        reference = self._ready(self._with_held(intact, cams), self.settings.cells)
        whole = Stage("intact", 0, "", ())
        self._keep(0, intact)
        yield from self._nulls(reference, whole)
        for factor in self.settings.noise_factors:
            noise = factor * self.settings.noise
            shaken, purpose = self.images + factor * self.noise, f"draw {self.draw} noise {noise:g}"
            again = self.maps(shaken, self.targets, purpose)
            for kind, ready in self._both(again, cams, self.settings.cells).items():
                yield from self._compare(reference, ready, whole, {"stage": "self", "null": "other"}[kind], noise)
            stages = [s for s in sorted(self.stages, key=lambda s: not s.judged) if factor == 1 or s.judged]
            waiting, done = Counter(map(_network_of, stages)), dict[tuple[str, tuple[int, ...]], dict[str, Ready]]()
            for stage in stages:
                key = _network_of(stage)
                if key not in done:
                    targets = self._other_class() if stage.order == "random_logit" else self.targets
                    with self._changed(stage):
                        found = self.maps(shaken, targets, purpose, controls=stage.judged)
                        if stage.order == "everything" and factor == 1:
                            yield from self._entropies(stage, again, found, noise)
                    done[key] = self._both(found, cams, self.settings.cells if stage.judged else (CELL,))
                    if factor == 1 and stage.order in ("cascade_top", "everything", "permuted"):
                        self._keep(stage.count, found)
                yield from self._compare(reference, done[key]["stage"], stage, "stage", noise)
                if stage.order != ALMOST:
                    yield from self._compare(reference, done[key]["null"], stage, "null", noise)
                waiting[key] -= 1
                if not waiting[key]:  # two orders may share a network; what none needs any more is much memory
                    del done[key]
        if self.settings.smoothed:
            yield from self._smoothed()

    def _changed(self, stage: Stage) -> AbstractContextManager[None]:
        """The network as a stage has it."""
        blocks, jitter = [self.blocks[i] for i in stage.chosen], JITTER if stage.order == ALMOST else 0.0
        return randomised(
            self.model, blocks, seed=self.seed, draw=self.draw, statistics=self.settings.batch_norm, jitter=jitter
        )

    def _both(self, found: Maps, cams: Maps, cells: Sequence[int]) -> dict[str, Ready]:
        """The maps of the photos themselves, and of their partners."""
        stage = self._ready(self._with_held(found, cams), cells)
        null = {k: r.at(self.partner) if isinstance(r, Compared) else r for k, r in stage.items() if k not in self.held}
        if self.held:
            held = {k: m for k, m in self._with_held(found, cams, self.partner).items() if k in self.held}
            null |= self._ready(held, cells)
        return {"stage": stage, "null": null}

    def _keys(self, label: str, cells: Sequence[int]) -> list[Key]:
        method = self.methods[self.held.get(label, label)]
        return keys_for(method.signed, self.size, cells)

    def _ready(self, maps: Maps, cells: Sequence[int]) -> Ready:
        return {
            label: found if isinstance(found, Exception) else Compared(found, self._keys(label, cells), self.size)
            for label, found in maps.items()
        }

    def _with_held(self, found: Maps, cams: Maps, places: Sequence[int] = ()) -> dict[str, Tensor | Exception]:
        """The maps, and Guided Grad-CAM's with the intact network's Grad-CAM of the photo it will be compared with.

        Args:
            found: the maps, `_HIDDEN` factors among them.
            cams: label -> the intact network's Grad-CAM.
            places: for each photo where its guided factor is taken from; its own by default.
        """
        made = {label: one for label, one in found.items() if not label.startswith(_HIDDEN)}
        for name, label in self.held.items():
            guided, cam = found[f"{_HIDDEN}guided"], cams[name]
            if isinstance(guided, Exception) or isinstance(cam, Exception):
                made[name] = guided if isinstance(guided, Exception) else cam
            else:
                how = cast(GuidedGradCam, self.methods[label]).upsample
                frozen = F.interpolate(cam, size=guided.shape[2:], mode=how)
                made[name] = guided[list(places) or slice(None)] * frozen
        return made

    def _compare(self, reference: Ready, ready: Ready, stage: Stage, kind: str, noise: float) -> Iterator[Finding]:
        for label, found in ready.items():
            mine = reference[label]
            fault = mine if isinstance(mine, Exception) else found if isinstance(found, Exception) else None
            keys = self._keys(label, (CELL,)) if isinstance(found, Exception) else list(found.found)
            for key in keys:
                metric = f"{key[0]}_{key[1]}"
                if fault is not None:
                    nothing = torch.full((len(self.images),), torch.nan)
                    why_not = [str(fault)] * len(self.images)
                    yield Finding(label, stage, kind, metric, noise, key[2], nothing, why_not)
                    continue
                assert isinstance(mine, Compared)
                assert isinstance(found, Compared)
                values, why_not = mine.similarity(key, found), mine.reasons(found)
                yield Finding(label, stage, kind, metric, noise, key[2], values, why_not)

    def _nulls(self, reference: Ready, whole: Stage) -> Iterator[Finding]:
        """Maps of the same smoothness that share nothing, and maps that share the photo alone."""
        rolled: dict[str, Tensor | Exception] = {}
        for label, mine in reference.items():
            if isinstance(mine, Compared) and not mine.maps.isnan().any():
                height, width = mine.maps.shape[2:]
                rolled[label] = mine.maps.flip(3).roll((height // 2, width // 2), (2, 3))
        yield from self._compare(reference, self._ready(rolled, (CELL,)), whole, "rolled", 0.0)
        pair = []
        drawn = ImageDraws(self.images, self.ids, self.seed, f"random gradient {self.draw}").normal(2)
        for k in range(2):
            pair.append(Compared(self.images * drawn[:, k], keys_for(True, self.size, (CELL,)), self.size))
        for key in keys_for(True, self.size, (CELL,)):
            values = pair[0].similarity(key, pair[1])
            yield Finding("", whole, "input", f"{key[0]}_{key[1]}", 0.0, CELL, values, pair[0].reasons(pair[1]))

    def _entropies(self, stage: Stage, intact: Maps, random: Maps, noise: float) -> Iterator[Finding]:
        """The relative rise of a map's histogram entropy (eMPRT, Hedström et al. 2024); beside it the output's."""
        shaken = self.images + self.noise
        with in_use(self.model), torch.no_grad():
            after = _output_entropy(scores_of(self.model, shaken))
        for label, found in random.items():
            before = intact.get(label)
            if label.startswith(_HIDDEN) or isinstance(found, Exception) or not isinstance(before, Tensor):
                continue
            old, new = histogram_entropy(before), histogram_entropy(found)
            why = ["the entropy of a constant map is zero"] * len(old)
            rise = torch.where(old > 0, (new - old) / old, torch.nan)
            yield Finding(label, stage, "entropy", "emprt", noise, None, rise, why)
        yield Finding("", stage, "entropy", "output_entropy", noise, None, after, [""] * len(after))

    def _smoothed(self) -> Iterator[Finding]:
        """The cascade's mean similarity between maps averaged over noisy copies (sMPRT, Hedström et al. 2024)."""
        draws = ImageDraws(self.images, self.ids, self.seed, f"smprt {self.draw}").normal(self.settings.smoothed)

        def smooth() -> dict[str, Tensor | Exception]:
            total: dict[str, Tensor | Exception] = {}
            for k in range(self.settings.smoothed):
                copies = self.images + SMOOTHING * draws[:, k]
                for label, found in self.maps(copies, self.targets, f"smprt {k}", controls=False).items():
                    before = total.get(label, found)
                    both = k and isinstance(found, Tensor) and isinstance(before, Tensor)
                    total[label] = before + found if both else found  # type: ignore[operator]
            return {k: v for k, v in total.items() if not k.startswith(_HIDDEN)}

        keys: list[Key] = [("spearman", "abs", CELL)]
        reference = {k: Compared(m, keys, self.size) for k, m in smooth().items() if isinstance(m, Tensor)}
        chosen = [s for s in self.stages if s.order in ("cascade_top", "everything")]
        sums: dict[str, list[Tensor]] = {label: [] for label in reference}
        for stage in chosen:
            with self._changed(stage):
                for label, found in smooth().items():
                    if isinstance(found, Tensor) and label in reference:
                        sums[label].append(reference[label].similarity(keys[0], Compared(found, keys, self.size)))
        for label, parts in sums.items():
            why = ["one of the maps is constant at every stage"] * len(self.images)
            values = torch.stack(parts).nanmean(0)
            yield Finding(label, chosen[-1], "smoothed", "smprt", SMOOTHING, CELL, values, why)

    def _other_class(self) -> Tensor:
        """(B,): for each image a class that is not its target, drawn anew each draw."""
        with in_use(self.model), torch.no_grad():
            classes = scores_of(self.model, self.images[:1]).shape[1]
        steps = [
            int(torch.randint(1, max(2, classes), (1,), generator=generator_for(self.seed, name, f"logit {self.draw}")))
            for name in self.ids
        ]
        return (self.targets + torch.tensor(steps, device=self.targets.device)) % classes

    def _keep(self, count: int, maps: Maps) -> None:
        kept = {k: m[0].sum(0) for k, m in maps.items() if isinstance(m, Tensor) and not k.startswith(_HIDDEN)}
        self.pictures.setdefault(count, kept)


def histogram_entropy(maps: Tensor) -> Tensor:
    """(B,) entropy in nats of each map's values over `BINS` equal bins between its own least and greatest value."""
    flat = maps.detach().sum(1).flatten(1).double()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    place = ((flat - low) / (high - low) * BINS).nan_to_num().long().clamp(0, BINS - 1)
    share = torch.zeros(len(flat), BINS, dtype=torch.float64, device=flat.device)
    share = share.scatter_add_(1, place, torch.ones_like(flat)) / flat.shape[1]
    return cast(Tensor, torch.special.entr(share).sum(1))


def _output_entropy(scores: Tensor) -> Tensor:
    return cast(Tensor, torch.special.entr(scores.double().softmax(1)).sum(1))
