"""Attacks: how easily is the network fooled, is the attack itself sound, and do the maps notice?

Success is asked of the photos that the network has right; what is reported as robust is an upper bound, by these
attacks. Randomness is each photo's own, so no row depends on the chunk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from suite.attacks.attack import Attack, Problem, attack, make_attack
from suite.attacks.audit import Audit
from suite.attacks.fgsm import Noise
from suite.attacks.fooling import Fooling, fooling_image
from suite.attacks.pgd import PGD, minimal_epsilon
from suite.attacks.result import AttackResult, Goal, check_epsilon
from suite.attribution.base import Attribution
from suite.attribution.fused import attribute_each, plan_cost
from suite.config import RunConfig
from suite.core.network import Network
from suite.core.passes import Cost, predict
from suite.core.pixels import as_saved, luminance, pixels
from suite.core.state import in_use
from suite.errors import ConfigError, SuiteError
from suite.metrics.localisation import filled
from suite.metrics.similarity import spearman, ssim, top_overlap
from suite.reference.torchattacks import run_pair, verdicts_of
from suite.results.columns import Block
from suite.results.schema import row
from suite.studies.attacks.config import AttacksConfig
from suite.studies.base import Outcome, Rows, Study, Work, drawable, finite, magnitude

Maps = Mapping[str, Tensor | Exception]
_UNITS = {"confidence": "probability", "prediction": "class", "l0": "pixels"}
_SEARCHED = 14  # epsilons that a bisection to 10% tries at most
_BRIEF = ("success", "saved_success", "iterations", "l2", "linf", "ssim")
_ALL = (*_BRIEF, "prediction", "confidence", "l0", "zero_gradients", "silent", "forwards", "backwards")
_OF_NOISE = ("success", "l2", "linf", "forwards", "backwards")


class Attacks(Study):
    """Security curves, minimal epsilon, targets, transfer, maps under attack, the naive attack's limits, the audit."""

    name: ClassVar[str] = "attacks"

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """At most, without the audit: an image that is fooled leaves, so that a run takes about a tenth of it."""
        wanted = config.section(AttacksConfig)
        total = Cost()
        for _, made in _attacks(wanted):
            runs = len(_radii(wanted, made))
            if isinstance(made, Noise):
                total = total + Cost(wanted.noise_draws * made.draws * runs, 0)
                continue
            steps = made.steps * made.restarts if isinstance(made, PGD) else 1
            runs += _SEARCHED * (wanted.minimal and isinstance(made, PGD))
            total = total + Cost((steps + 1) * runs, steps * runs)
        maps = plan_cost(methods.values())
        return total + Cost(6 * maps.forwards, 6 * maps.backwards)

    def check(self, config: RunConfig, network: Network) -> None:
        for name in config.section(AttacksConfig).targets:
            network.card.classes.resolve(name)

    def run(self, work: Work) -> Outcome:
        item = _Item(work, work.config.section(AttacksConfig))
        item.ask()
        return Outcome(item.rows, item.pictures)


@dataclass
class _Item:
    """The study's questions of one chunk of images on one network; each adds its rows and pictures."""

    work: Work
    wanted: AttacksConfig
    rows: Rows = field(default_factory=list)
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fits = self.work.scores.argmax(1) == self.work.targets
        self.everyone = torch.arange(len(fits), device=fits.device)
        self.right, self.wrong = self.everyone[fits], self.everyone[~fits]

    def ask(self) -> None:
        """All questions."""
        work, wanted, right = self.work, self.wanted, self.right
        chosen = dict(_attacks(wanted))
        for label, made in chosen.items():
            self._curve(label, made)
            if wanted.minimal and isinstance(made, PGD) and len(right):
                self._minimal(label, made)
            if wanted.agreement:
                self._agreement(label, made)
        pgds = ((label, made) for label, made in chosen.items() if isinstance(made, PGD) and made.ball == "linf")
        label, base = next(pgds, ("", None))
        if base is not None and len(right):
            # without early stop, so that the whole budget is spent as noise of that size spends it
            found = self._attack(base.whole(), wanted.at, right, saved=False)
            self._transfer(label, found)
            moved = self._maps(label, found, self._attack(Noise(), wanted.at, right, saved=False))
            self._targeted(label, base)
            # The coursework's image, towards the class that is nearest: pixels change where it helps most.
            near = work.scores[right].scatter(1, work.targets[right, None], -torch.inf).argmax(1)
            fooling = self._attack(Fooling(), None, right, targets=near, saved=False)
            self._maps("fooling image", fooling, self._attack(Noise(norm="l2"), fooling.l2, right, saved=False))
            self._keep(right, found, f"{label}, epsilon {wanted.at * 255:.3g}/255", moved)
        self._alignment()
        if wanted.limits:
            self._limits()
        if wanted.audit and work.positions[0] == 0 and base is not None and len(right):
            self._audit(label, base)

    def _attack(self, made: Attack, epsilon: float | Tensor | None, index: Tensor, **more: Any) -> AttackResult:
        """An attack on some of the images."""
        work = self.work
        call = {"epsilon": epsilon, "ids": self._ids(index), "seed": work.config.seed, "clean": work.scores[index]}
        return attack(work.model, work.images[index], work.targets[index], made, **call | more)

    def _ids(self, index: Tensor) -> tuple[str, ...]:
        return tuple(self.work.ids[i] for i in index.tolist())

    def _add(self, index: Tensor, method: str, metric: str, values: Tensor, **more: Any) -> None:
        """A row for each of some images; NaN and infinity become not_applicable."""
        undefined = more.pop("undefined", "the value is undefined here")
        place = self.work.place(Attacks.name, method) | {"metric": metric, "unit": _UNITS.get(metric, "")} | more
        numbers = finite(values.double()).cpu().numpy()
        self.rows.append(Block(self._ids(index), self.work.targets[index].tolist(), numbers, undefined, place))

    def _add_result(
        self, index: Tensor, method: str, found: AttackResult, metrics: tuple[str, ...], **place: Any
    ) -> None:
        """Rows of an attack; none of the SSIM where the images are too small for it."""
        for metric in metrics:
            value = getattr(found, metric)
            if metric != "ssim" or bool(torch.isfinite(value).all()):
                self._add(index, method, metric, value, **place)

    def _curve(self, label: str, made: Attack) -> None:
        """Ascending epsilons; what is fooled stays fooled, for its image lies within every larger ball too."""
        left = self.right
        for epsilon in _radii(self.wanted, made):
            place = {"stage": made.ball, "x": epsilon, "control": made.control}
            never = torch.full((len(self.wrong),), torch.nan)
            why = "the network has this photo wrong before any attack"
            self._add(self.wrong, label, "success", never, **place, undefined=why)
            done = self.right[~torch.isin(self.right, left)]
            why = "fooled within a smaller epsilon"
            self._add(done, label, "success", torch.ones(len(done)), **place, message=why)
            if not len(left):
                continue
            if isinstance(made, Noise):  # of which one draw that fools says nothing of the next
                self._add_result(left, label, self._share(made, epsilon, left), _OF_NOISE, **place)
                continue
            found = self._attack(made, epsilon, left)
            self._add_result(left, label, found, _ALL, **place)
            left = left[~found.success]

    def _share(self, made: Noise, epsilon: float, index: Tensor) -> AttackResult:
        """Many draws: the first one's result, but for `success`, the share that fools, and the passes of all."""
        found = self._attack(made, epsilon, index, saved=False)
        fooled = found.success.double()
        for draw in range(1, self.wanted.noise_draws):  # added up, so that one draw's images are held at a time
            again = replace(made, first=made.first + draw * made.draws)
            fooled += self._attack(again, epsilon, index, saved=False).success
        draws = self.wanted.noise_draws
        return replace(found, success=fooled / draws, forwards=found.forwards * draws)

    def _minimal(self, label: str, made: PGD) -> None:
        searching = made.searching(self.wanted.at if made.ball == "linf" else 1.0)

        def attempt(index: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
            found = self._attack(searching, epsilon, self.right[index], saved=False)
            return found.success, found.images

        first, largest = (1 / 255, 1.0) if made.ball == "linf" else (1.0, 100.0)
        least, _ = minimal_epsilon(attempt, self.work.images[self.right], first=first, largest=largest, tolerance=0.1)
        why = f"not fooled at {largest:g}"
        self._add(self.right, label, "minimal_epsilon", least, stage=made.ball, undefined=why)

    def _agreement(self, label: str, made: Attack) -> None:
        """Ours in the library's way and the library's, from one start: pixels, verdicts and norms."""
        work, goal = self.work, Goal(self.work.targets)
        epsilon = self.wanted.at if made.ball == "linf" else 1.0
        pair = run_pair(made, work.model, work.images, goal, work.scores, epsilon=epsilon, seed=work.config.seed)
        if pair is None:
            return
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
        for metric, value in values.items():
            place = {"implementation": "torchattacks", "x": epsilon, "stage": "agreement"}
            self._add(self.everyone, label, metric, value, **place)

    def _transfer(self, label: str, found: AttackResult) -> None:
        """The adversarial images given to the run's other networks, where these have the photo right."""
        truth = self.work.targets[self.right]
        for other in self.work.others:
            before = other.scores[self.right].argmax(1) == truth
            after = predict(other.model, found.images).argmax(1) != truth
            value = after.double().masked_fill(~before, torch.nan)
            place = {"other": other.model.card.name, "x": self.wanted.at}
            why = "the other network has this photo wrong"
            self._add(self.right, label, "transfer_success", value, undefined=why, **place)

    def _maps(self, what: str, found: AttackResult, noise: AttackResult) -> Maps:
        """How far maps move under attack and under noise of its size, and where the perturbation lies; the maps."""
        work, right = self.work, self.right

        def explained(images: Tensor, targets: Tensor) -> Maps:
            return attribute_each(work.model, images, targets, work.methods, ids=self._ids(right))

        truth = work.targets[right]
        moved, noisy = explained(found.images, truth), explained(noise.images, truth)
        new = explained(found.images, found.prediction)
        pushes = {
            stage: (one.images - work.images[right]).abs().sum(1)
            for stage, one in (("attack", found), ("noise", noise))
        }
        self._in_object(what, pushes)
        for label, before in work.maps.items():
            after = [moved[label], noisy[label], new[label]]
            results = [magnitude(r, work.size) for r in after if isinstance(r, Tensor)]
            if not isinstance(before, Tensor) or len(results) < 3:
                continue
            old = magnitude(before[right], work.size)
            attacked, disturbed, aimed = results
            place = {"other": what, "control": work.methods[label].control}
            for stage, chart in (("attack", attacked), ("noise", disturbed)):
                for metric, measure in (("map_spearman", spearman), ("map_top10_overlap", top_overlap)):
                    self._add(right, label, metric, measure(old, chart), stage=stage, **place)
            for stage, push in pushes.items():
                values = {"shows_perturbation": spearman(aimed, push)}
                values["energy_in_source_map"] = _energy_inside(push, _top(old))
                values["energy_in_target_map"] = _energy_inside(push, _top(aimed))
                for metric, value in values.items():
                    self._add(right, label, metric, value, stage=stage, **place)
        return moved

    def _in_object(self, what: str, pushes: Mapping[str, Tensor]) -> None:
        """The share of the perturbation in the object's boxes; spread evenly, it is the share of their area."""
        if self.work.objects is None:
            return
        places = [self.work.objects[i] for i in self.right.tolist()]
        boxes = [[] if isinstance(place, SuiteError) else place for place in places]
        inside = torch.stack([filled(some, self.work.size) for some in boxes]).to(self.work.images.device)
        why = "the photo has no box, or one that is all of it"
        for stage, push in pushes.items():
            value = _energy_inside(push, inside)
            self._add(self.right, "", "energy_in_object", value, stage=stage, other=what, undefined=why)

    def _alignment(self) -> None:
        """Whether maps follow what is bright in the picture: on digits, the digit (after Etmann et al. 2019)."""
        bright = luminance(self.work.images)[:, 0]
        for label, found in self.work.maps.items():
            if isinstance(found, Tensor):
                value = spearman(magnitude(found, self.work.size), bright)
                self._add(self.everyone, label, "alignment", value, stage="clean")

    def _targeted(self, label: str, base: PGD) -> None:
        classes = self.work.model.card.classes
        for aim in map(classes.resolve, self.wanted.targets):
            those = self.right[self.work.targets[self.right] != aim]
            if not len(those):
                continue
            title = classes.name(aim)
            place = {"other": title, "stage": "targeted"}
            found = self._attack(replace(base, early_stop=True), self.wanted.at, those, targets=aim)
            self._add_result(those, label, found, _BRIEF, x=self.wanted.at, **place)
            found = self._attack(Fooling(), None, those, targets=aim)
            self._add_result(those, "fooling", found, _BRIEF, **place)
            self._keep(those, found, f"fooling image, aimed at {title}")

    def _limits(self) -> None:
        """The naive attack: its step swept, and gone on past success until the image is garbage."""
        model, images, everyone = self.work.model, self.work.images, self.everyone
        aim = self.work.scores.argmin(1)
        for eta in (0.1, 0.5, 1.0, 10.0, 100.0):
            found = self._attack(Fooling(recipe="cs231n", eta=eta, steps=20), None, everyone, targets=aim)
            self._add_result(everyone, "fooling", found, _BRIEF, stage="swept", x=eta)
        current, scores, taken = images, self.work.scores, 0
        radius, ids = images.new_zeros(len(images)), self._ids(everyone)
        for steps in (0, 1, 3, 10, 20):
            problem = Problem(model, current, Goal(aim, True), scores, radius, ids, self.work.config.seed)
            with in_use(model):
                here = fooling_image(problem, Fooling(recipe="cs231n", eta=10.0, steps=steps - taken), stop=False)
            current, scores, taken = here.images, here.scores, steps
            confidence = scores.double().softmax(1).gather(1, aim[:, None])[:, 0]
            outside = ((current < 0) | (current > 1)).flatten(1).double().mean(1)
            values = {"confidence": confidence, "outside": outside}
            if min(self.work.size) >= 11:
                values["ssim"] = ssim(luminance(images)[:, 0], luminance(current.clamp(0, 1))[:, 0], data_range=1.0)
            for metric, value in values.items():
                self._add(everyone, "fooling", metric, value, stage="past", x=float(steps))

    def _audit(self, label: str, base: PGD) -> None:
        work, right, at = self.work, self.right, self.wanted.at
        few = tuple(self.wanted.epsilons[:: max(1, len(self.wanted.epsilons) // 5)])
        images, labels = work.images[right], work.targets[right]
        audit = Audit(work.model, images, labels, self._ids(right), at, base, few, work.config.seed)
        for line, (value, note) in audit.run().items():
            place = work.place(Attacks.name, label) | {"metric": "audit", "x": at, "other": line}
            place["control"] = line.startswith("control")
            if value is None:
                self.rows.append(row(**place, status="not_applicable", message=f"not run: {note}"))
            else:
                self.rows.append(row(**place, value=value, message=note))

    def _keep(self, index: Tensor, found: AttackResult, title: str, moved: Maps = MappingProxyType({})) -> None:
        """For the report: photo and adversarial image as saved, what the network sees in these, and maps of both."""
        work = self.work
        saved = as_saved(found.images)
        before, after = self._seen(work.scores[index]), self._seen(predict(work.model, saved))
        kind = "".join(c if c.isalnum() else "_" for c in title)
        for k, i in enumerate(index.tolist()):
            if i not in work.plotted:
                continue
            words = {"id": work.ids[i], "title": title, "before": before[k], "after": after[k]}
            picture = {name: np.array(text) for name, text in words.items()}
            picture |= {"photo": pixels(work.images[i]), "adversarial": pixels(saved[k])}
            for label, other in moved.items():
                one = work.maps[label]
                if isinstance(one, Tensor) and isinstance(other, Tensor) and not work.methods[label].control:
                    picture |= {f"before|{label}": drawable(one[i]), f"after|{label}": drawable(other[k])}
            self.pictures[f"attacks-{work.stem(i)}-{kind}"] = picture

    def _seen(self, scores: Tensor) -> list[str]:
        """The top class of each image and its probability, in words."""
        sure, top = scores.double().softmax(1).max(1)
        names = map(self.work.model.card.classes.name, top.tolist())
        return [f"{name}, {share:.1%}" for name, share in zip(names, sure.tolist(), strict=True)]


def _radii(wanted: AttacksConfig, made: Attack) -> tuple[float, ...]:
    return wanted.epsilons_l2 if made.ball == "l2" else wanted.epsilons


def _attacks(wanted: AttacksConfig) -> Iterator[tuple[str, Attack]]:
    """Label and attack, checked against their epsilons, and noise in each norm as a control."""
    norms = []
    for one in wanted.methods:
        made = make_attack(one.name, one.parameters)
        if not made.radius:
            raise ConfigError(f"studies.attacks.methods: {one.name!r} takes no epsilon; the study runs it by `targets`")
        for epsilon in _radii(wanted, made):
            check_epsilon(epsilon, made.ball, f"studies.attacks: epsilon of {one.title!r}")
        norms.append(made.ball)
        yield one.title, made
    for norm in dict.fromkeys(norms):
        yield "control_noise" if norm == "linf" else "control_noise_l2", Noise(norm=norm)


def _energy_inside(push: Tensor, inside: Tensor) -> Tensor:
    """(B, H, W) twice -> (B,): the share of the squared perturbation where `inside`; NaN if nowhere or all over."""
    energy, covered = push.double().square(), inside.double().mean((1, 2))
    share = (energy * inside).sum((1, 2)) / energy.sum((1, 2))
    return share.masked_fill((covered == 0) | (covered == 1), torch.nan)


def _top(chart: Tensor) -> Tensor:
    """(B, H, W) bool: the tenth of pixels where a map is largest; all of a constant one."""
    return chart >= chart.flatten(1).quantile(0.9, dim=1).view(-1, 1, 1)


STUDY = Attacks()
