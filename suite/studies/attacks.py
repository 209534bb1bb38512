"""Attacks: how easily is the network fooled, is the attack itself sound, and do the maps notice?

Success is asked of the photos that the network has right; what is reported as robust is an upper bound, by these
attacks. Randomness is each photo's own, so no row depends on the chunk.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from suite.attacks.attack import Attack, attack, make_attack
from suite.attacks.audit import Audit
from suite.attacks.audit_lines import LINES
from suite.attacks.fgsm import Noise
from suite.attacks.fooling import Fooling, fooling_image
from suite.attacks.pgd import PGD, minimal_epsilon
from suite.attacks.result import AttackResult, Goal, check_epsilon, from_png, png
from suite.attribution.base import Attribution
from suite.attribution.controls import luminance
from suite.attribution.fused import attribute_each, plan_cost
from suite.attribution.passes import Cost
from suite.config import AttacksConfig, RunConfig
from suite.errors import ConfigError, NotApplicable, SuiteError
from suite.metrics.localisation import filled
from suite.metrics.similarity import spearman, ssim, top_overlap
from suite.models.network import scores_of
from suite.models.state import in_use
from suite.reference.torchattacks import run_pair, verdicts_of
from suite.results.schema import row
from suite.studies.base import Outcome, Row, Study, Work, flat_map, magnitude

Maps = Mapping[str, Tensor | Exception]
_UNITS = {"confidence": "probability", "prediction": "class", "l0": "pixels"}
_METRICS = ("iterations", "prediction", "confidence", "l0", "l2", "linf", "ssim", "zero_gradients", "silent")
_PASSES = ("forwards", "backwards")
_WRONG = NotApplicable("the network has this photo wrong before any attack")


class Attacks(Study):
    """Security curves, minimal epsilon, targets, transfer, maps under attack, the naive attack's limits, the audit."""

    name: ClassVar[str] = "attacks"

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """At most: an image that is fooled leaves, so that a run takes about a tenth of it."""
        wanted = _section(config)
        total = Cost()
        for _, made in _attacks(wanted):
            steps = made.steps * made.restarts if isinstance(made, PGD) else 1
            radii = wanted.epsilons_l2 if made.ball == "l2" else wanted.epsilons
            total = total + Cost((steps + 1) * len(radii), steps * len(radii))
        maps = plan_cost(methods.values())
        return total + Cost(6 * maps.forwards, 6 * maps.backwards)

    def run(self, work: Work) -> Outcome:
        wanted = _section(work.config)
        right = (work.scores.argmax(1) == work.targets).nonzero()[:, 0]
        rows: list[Row] = []
        for label, made in _attacks(wanted):
            rows += self._curve(work, wanted, label, made, right)
            if wanted.minimal and isinstance(made, PGD):
                rows += self._minimal(work, label, made, right)
            if wanted.agreement:
                rows += self._agreement(work, wanted, label, made)
        pictures: dict[str, dict[str, np.ndarray]] = {}
        base = next((made for _, made in _attacks(wanted) if isinstance(made, PGD) and made.ball == "linf"), None)
        if base is not None and len(right):
            # without early stop, so that the whole budget is spent as noise of that size spends it
            found = _run(work, PGD(loss=base.loss), wanted.at, right, saved=False)
            rows += self._transfer(work, wanted, found, right)
            noise = _run(work, Noise(), wanted.at, right, saved=False)
            made_rows, moved = self._maps(work, "pgd", found, noise, right)
            rows += made_rows
            rows += self._targeted(work, wanted, base, right, pictures)
            # The coursework's image, towards the class that is nearest: pixels change where it helps most.
            near = work.scores[right].scatter(1, work.targets[right, None], -torch.inf).argmax(1)
            fooling = _run(work, Fooling(), None, right, targets=near, saved=False)
            noise = _run(work, Noise(norm="l2"), fooling.l2, right, saved=False)
            rows += self._maps(work, "fooling image", fooling, noise, right)[0]
            _keep(work, right, found, f"PGD, epsilon {wanted.at * 255:.3g}/255", pictures, moved)
        rows += self._alignment(work)
        if wanted.limits:
            rows += self._limits(work)
        if wanted.audit and work.positions[0] == 0 and base is not None and len(right):
            rows += self._audit(work, wanted, base, right)
        return Outcome(rows, pictures)

    def _rows(self, work: Work, index: Tensor, method: str, metric: str, values: Tensor, **more: Any) -> list[Row]:
        """A row for each of some images; NaN and infinity become not_applicable."""
        why = more.pop("undefined", "the value is undefined here")
        made = []
        for i, value in zip(index.tolist(), values.double().tolist(), strict=True):
            place = {"study": self.name, "model": work.model.card.name, "method": method, "image": work.files[i].id}
            place |= {"target": int(work.targets[i]), "metric": metric, "unit": _UNITS.get(metric, "")} | more
            fine = np.isfinite(value)
            made.append(row(**place, value=value) if fine else row(**place, status="not_applicable", message=why))
        return made

    def _curve(self, work: Work, wanted: AttacksConfig, label: str, made: Attack, right: Tensor) -> list[Row]:
        """Ascending epsilons; what is fooled stays fooled, for its image lies within every larger ball too."""
        rows: list[Row] = []
        norm = made.ball
        everyone = torch.arange(len(work.images), device=right.device)
        wrong = everyone[~torch.isin(everyone, right)]
        left = right
        for epsilon in wanted.epsilons_l2 if norm == "l2" else wanted.epsilons:
            place = {"stage": norm, "x": epsilon, "control": made.control}
            nan = torch.full((len(wrong),), torch.nan)
            rows += self._rows(work, wrong, label, "success", nan, **place, undefined=str(_WRONG))
            done = right[~torch.isin(right, left)]
            rows += self._rows(
                work, done, label, "success", torch.ones(len(done)), **place, message="fooled within a smaller epsilon"
            )
            if not len(left):
                continue
            found = _run(work, made, epsilon, left)
            for metric in ("success", "saved_success", *_METRICS, *_PASSES):
                value = getattr(found, metric)
                if metric != "ssim" or bool(torch.isfinite(value).all()):
                    rows += self._rows(work, left, label, metric, value, **place)
            if not made.control:  # a draw of noise that was lucky says nothing of the next
                left = left[~found.success]
        return rows

    def _minimal(self, work: Work, label: str, made: PGD, right: Tensor) -> list[Row]:
        if not len(right):
            return []
        quick = PGD(norm=made.norm, steps=made.steps, loss=made.loss, early_stop=True)

        def attempt(index: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
            found = _run(work, quick, epsilon, right[index], saved=False)
            return found.success, found.images

        first, largest = (1 / 255, 1.0) if made.ball == "linf" else (1.0, 100.0)
        least, _ = minimal_epsilon(attempt, work.images[right], first=first, largest=largest, tolerance=0.1)
        why = f"not fooled at {largest:g}"
        return self._rows(work, right, label, "minimal_epsilon", least, stage=made.ball, undefined=why)

    def _agreement(self, work: Work, wanted: AttacksConfig, label: str, made: Attack) -> list[Row]:
        """Ours in the library's way and the library's, from one start: pixels, verdicts and norms."""
        epsilon = wanted.at if made.ball == "linf" else 1.0
        goal, everyone = Goal(work.targets), torch.arange(len(work.images), device=work.targets.device)
        pair = run_pair(made, work.model, work.images, goal, work.scores, epsilon=epsilon, seed=work.config.seed)
        if pair is None:
            return []
        own, theirs = pair
        same = (own.images == theirs).flatten(1)
        values = {
            "bit_equal": same.all(1),
            "unequal_pixels": (~same).sum(1),
            "verdict_equal": goal.reached(own.scores) == verdicts_of(work.model, theirs, goal),
        }
        for name, p in (("l2", 2.0), ("linf", torch.inf)):
            for side, images in (("own", own.images), ("library", theirs)):
                values[f"{side}_{name}"] = (images - work.images).double().flatten(1).norm(p=p, dim=1)
        place = {"implementation": "torchattacks", "x": epsilon, "stage": "agreement"}
        return [r for metric, v in values.items() for r in self._rows(work, everyone, label, metric, v, **place)]

    def _transfer(self, work: Work, wanted: AttacksConfig, found: AttackResult, right: Tensor) -> list[Row]:
        """The adversarial images given to the run's other networks, where these have the photo right."""
        rows: list[Row] = []
        for other in work.others:
            before = other.scores[right].argmax(1) == work.targets[right]
            with in_use(other.model), torch.no_grad():
                after = scores_of(other.model, found.images).argmax(1) != work.targets[right]
            value = after.double().masked_fill(~before, torch.nan)
            place = {
                "other": other.model.card.name,
                "x": wanted.at,
                "undefined": "the other network has this photo wrong",
            }
            rows += self._rows(work, right, "pgd", "transfer_success", value, **place)
        return rows

    def _maps(
        self, work: Work, what: str, found: AttackResult, noise: AttackResult, right: Tensor
    ) -> tuple[list[Row], Maps]:
        """How far maps move under attack and under noise of its size, where the perturbation lies, and these maps."""
        ids = [work.ids[i] for i in right.tolist()]
        size = (work.images.shape[2], work.images.shape[3])
        truth = work.targets[right]
        moved = attribute_each(work.model, found.images, truth, work.methods, ids=ids)
        noisy = attribute_each(work.model, noise.images, truth, work.methods, ids=ids)
        new = attribute_each(work.model, found.images, found.prediction, work.methods, ids=ids)
        pushes = {
            "attack": (found.images - work.images[right]).abs().sum(1),
            "noise": (noise.images - work.images[right]).abs().sum(1),
        }
        rows = self._in_object(work, what, pushes, right)
        for label, before in work.maps.items():
            results = [moved[label], noisy[label], new[label]]
            if not isinstance(before, Tensor) or any(not isinstance(r, Tensor) for r in results):
                continue
            old = magnitude(before[right], size)
            attacked, disturbed, aimed = (magnitude(r, size) for r in results if isinstance(r, Tensor))
            place = {"other": what, "control": work.methods[label].control}
            for stage, after in (("attack", attacked), ("noise", disturbed)):
                for metric, measure in (("map_spearman", spearman), ("map_top10_overlap", top_overlap)):
                    rows += self._rows(work, right, label, metric, measure(old, after), stage=stage, **place)
            for stage, push in pushes.items():
                rows += self._rows(
                    work, right, label, "shows_perturbation", spearman(aimed, push), stage=stage, **place
                )
                for whose, chart in (("source", old), ("target", aimed)):
                    value = _energy_inside(push, _top(chart))
                    rows += self._rows(work, right, label, f"energy_in_{whose}_map", value, stage=stage, **place)
        return rows, moved

    def _in_object(self, work: Work, what: str, pushes: Mapping[str, Tensor], right: Tensor) -> list[Row]:
        """The share of the perturbation in the object's boxes; spread evenly, it is the share of their area."""
        if work.objects is None:
            return []
        places = [work.objects[i] for i in right.tolist()]
        size = (work.images.shape[2], work.images.shape[3])
        boxes = [[] if isinstance(place, SuiteError) else place for place in places]
        inside = torch.stack([filled(some, size) for some in boxes]).to(work.images.device)
        why = "the photo has no box, or one that is all of it"
        rows: list[Row] = []
        for stage, push in pushes.items():
            value = _energy_inside(push, inside)
            rows += self._rows(work, right, "", "energy_in_object", value, stage=stage, other=what, undefined=why)
        return rows

    def _alignment(self, work: Work) -> list[Row]:
        """Whether maps follow what is bright in the picture: on digits, the digit (after Etmann et al. 2019)."""
        size = (work.images.shape[2], work.images.shape[3])
        everyone, bright = torch.arange(len(work.images)), luminance(work.images)[:, 0]
        rows: list[Row] = []
        for label, found in work.maps.items():
            if isinstance(found, Tensor):
                control = work.methods[label].control
                value = spearman(magnitude(found, size), bright)
                rows += self._rows(work, everyone, label, "alignment", value, stage="clean", control=control)
        return rows

    def _targeted(
        self, work: Work, wanted: AttacksConfig, base: PGD, right: Tensor, pictures: dict[str, dict[str, np.ndarray]]
    ) -> list[Row]:
        rows: list[Row] = []
        for name in wanted.targets:
            aim = work.model.card.classes.resolve(name)
            those = right[work.targets[right] != aim]
            if not len(those):
                continue
            title = work.model.card.classes.name(aim)
            for label, made, epsilon in (
                ("pgd", PGD(loss=base.loss, early_stop=True), wanted.at),
                ("fooling", Fooling(), None),
            ):
                found = _run(work, made, epsilon, those, targets=aim)
                place = {"other": title, "stage": "targeted", "x": epsilon}
                for metric in ("success", "saved_success", "iterations", "l2", "linf", "ssim"):
                    value = getattr(found, metric)
                    if metric != "ssim" or bool(torch.isfinite(value).all()):
                        rows += self._rows(work, those, label, metric, value, **place)
                if label == "fooling":
                    _keep(work, those, found, f"fooling image, aimed at {title}", pictures)
        return rows

    def _limits(self, work: Work) -> list[Row]:
        """The naive attack: its step swept, and gone on past success until the image is garbage."""
        rows: list[Row] = []
        model, images = work.model, work.images
        aim = work.scores.argmin(1)
        everyone = torch.arange(len(images), device=aim.device)
        for eta in (0.1, 0.5, 1.0, 10.0, 100.0):
            found = attack(
                model, images, work.targets, Fooling(recipe="cs231n", eta=eta, steps=20),
                targets=aim, ids=work.ids, clean=work.scores,
            )  # fmt: skip
            for metric in ("success", "saved_success", "iterations", "l2", "linf", "ssim"):
                value = getattr(found, metric)
                if metric != "ssim" or bool(torch.isfinite(value).all()):
                    rows += self._rows(work, everyone, "fooling", metric, value, stage="swept", x=eta)
        current, scores, taken = images, work.scores, 0
        for steps in (0, 1, 3, 10, 20):
            with in_use(model):
                here = fooling_image(
                    model, current, Goal(aim, True), scores,
                    eta=10.0, steps=steps - taken, scale=model.std, stop=False,
                )  # fmt: skip
            current, scores, taken = here.images, here.scores, steps
            confidence = scores.double().softmax(1).gather(1, aim[:, None])[:, 0]
            outside = ((current < 0) | (current > 1)).flatten(1).double().mean(1)
            values = {"confidence": confidence, "outside": outside}
            if min(images.shape[2:]) >= 11:
                values["ssim"] = ssim(luminance(images)[:, 0], luminance(current.clamp(0, 1))[:, 0], data_range=1.0)
            for metric, value in values.items():
                rows += self._rows(work, everyone, "fooling", metric, value, stage="past", x=float(steps))
        return rows

    def _audit(self, work: Work, wanted: AttacksConfig, base: PGD, right: Tensor) -> list[Row]:
        ids = tuple(work.ids[i] for i in right.tolist())
        few = tuple(wanted.epsilons[:: max(1, len(wanted.epsilons) // 5)])
        images, labels = work.images[right], work.targets[right]
        found = Audit(work.model, images, labels, ids, wanted.at, base, few, work.config.seed).run()
        place = {"study": self.name, "model": work.model.card.name, "method": "pgd", "metric": "audit", "x": wanted.at}
        return [
            row(**place, other=line, value=value, message=note, control=line.startswith("control"))
            if value is not None
            else row(**place, other=line, status="not_applicable", message=f"not run: {note}")
            for line, (value, note) in found.items()
            if line in LINES
        ]


def _section(config: RunConfig) -> AttacksConfig:
    assert config.studies.attacks is not None
    return config.studies.attacks


def _attacks(wanted: AttacksConfig) -> Iterator[tuple[str, Attack]]:
    """Label and attack, checked against their epsilons, and noise in each norm as a control."""
    norms = []
    for one in wanted.methods:
        made = make_attack(one.name, one.parameters)
        if not made.radius:
            raise ConfigError(f"studies.attacks.methods: {one.name!r} takes no epsilon; the study runs it by `targets`")
        for epsilon in wanted.epsilons_l2 if made.ball == "l2" else wanted.epsilons:
            check_epsilon(epsilon, made.ball, f"studies.attacks: epsilon of {one.title!r}")
        norms.append(made.ball)
        yield one.title, made
    for norm in dict.fromkeys(norms):
        yield "control_noise" if norm == "linf" else "control_noise_l2", Noise(norm=norm)


def _run(work: Work, made: Attack, epsilon: float | Tensor | None, index: Tensor, **more: Any) -> AttackResult:
    ids = [work.ids[i] for i in index.tolist()]
    call = {"epsilon": epsilon, "ids": ids, "seed": work.config.seed, "clean": work.scores[index]} | more
    return attack(work.model, work.images[index], work.targets[index], made, **call)


def _energy_inside(push: Tensor, inside: Tensor) -> Tensor:
    """(B, H, W) twice -> (B,): the share of the squared perturbation where `inside`; NaN if nowhere or all over."""
    energy, covered = push.double().square(), inside.double().mean((1, 2))
    share = (energy * inside).sum((1, 2)) / energy.sum((1, 2))
    return share.masked_fill((covered == 0) | (covered == 1), torch.nan)


def _top(chart: Tensor) -> Tensor:
    """(B, H, W) bool: the tenth of pixels where a map is largest; all of a constant one."""
    return chart >= chart.flatten(1).quantile(0.9, dim=1).view(-1, 1, 1)


def _keep(
    work: Work, index: Tensor, found: AttackResult, title: str, pictures: dict[str, dict[str, np.ndarray]],
    moved: Maps = MappingProxyType({}),
) -> None:  # fmt: skip
    """Photo and adversarial image as saved, with what the network sees in these, and maps of both, for the report."""
    classes = work.model.card.classes
    saved = torch.stack([from_png(png(image)) for image in found.images]).to(work.images)
    with in_use(work.model), torch.no_grad():
        after = scores_of(work.model, saved).double().softmax(1).max(1)
    before = work.scores[index].double().softmax(1).max(1)
    for k, i in enumerate(index.tolist()):
        if work.positions[i] >= work.config.pictures:
            continue
        both = [image.permute(1, 2, 0).cpu().numpy() for image in (work.images[i], saved[k])]
        words = [f"{classes.name(int(before.indices[k]))}, {float(before.values[k]):.1%}"]
        words.append(f"{classes.name(int(after.indices[k]))}, {float(after.values[k]):.1%}")
        arrays = {"id": work.files[i].id, "title": title, "before": words[0], "after": words[1]}
        pixels = [(image * 255).round().astype(np.uint8) for image in both]
        kind = "".join(c if c.isalnum() else "_" for c in title)
        stem = f"attacks-{work.stem(i)}-{kind}"
        pictures[stem] = {k: np.array(v) for k, v in arrays.items()} | {"photo": pixels[0], "adversarial": pixels[1]}
        for label, after_map in moved.items():
            before_map = work.maps[label]
            if isinstance(before_map, Tensor) and isinstance(after_map, Tensor) and not work.methods[label].control:
                for when, maps, place in (("before", before_map, i), ("after", after_map, k)):
                    one = flat_map(maps[place : place + 1])[0].cpu().numpy().astype(np.float32)
                    pictures[stem][f"{when}|{label}"] = one
