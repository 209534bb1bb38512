"""Attacks: how easily is the network fooled, is the attack itself sound, and do the maps notice?

Success is of the photos that the network has right. Randomness is each photo's own, so no row depends on the chunk.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from suite.results.schema import Keys
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
    keys: ClassVar[Keys] = {
        "question": str, "norm": str, "epsilon": float, "implementation": str, "attack": str, "images": str,
        "other_model": str, "goal": str, "step_size": float, "steps": int, "line": str,
    }  # fmt: skip

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """At most, without the audit: an image that is fooled leaves, so that a run takes about a tenth of it."""
        settings, maps = config.section(AttacksConfig), plan_cost(methods.values())
        total = Cost(6 * maps.forwards, 6 * maps.backwards)
        for _, method in _attacks(settings):
            runs = len(_radii(settings, method))
            if isinstance(method, Noise):
                total = total + Cost(settings.noise_draws * method.draws * runs, 0)
                continue
            steps = method.steps * method.restarts if isinstance(method, PGD) else 1
            runs += _SEARCHED * (settings.minimal and isinstance(method, PGD))
            total = total + Cost((steps + 1) * runs, steps * runs)
        return total

    def check(self, config: RunConfig, network: Network) -> None:
        for name in config.section(AttacksConfig).targets:
            network.card.classes.resolve(name)

    def run(self, work: Work) -> Outcome:
        chunk = _Chunk(work, work.config.section(AttacksConfig))
        chunk.measure()
        return Outcome(chunk.rows, chunk.pictures)


@dataclass
class _Chunk:
    """The study of one chunk of images on one network; each method adds its rows and pictures."""

    work: Work
    settings: AttacksConfig
    rows: Rows = field(default_factory=list)
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        correct = self.work.scores.argmax(1) == self.work.targets
        self.everyone = torch.arange(len(correct), device=correct.device)
        self.right, self.wrong = self.everyone[correct], self.everyone[~correct]

    def measure(self) -> None:
        """Everything that the settings ask for."""
        settings, attacks = self.settings, dict(_attacks(self.settings))
        for label, method in attacks.items():
            self._curve(label, method)
            if settings.minimal and isinstance(method, PGD) and len(self.right):
                self._minimal(label, method)
            if settings.agreement:
                self._agreement(label, method)
        pgds = [(label, m) for label, m in attacks.items() if isinstance(m, PGD) and m.ball == "linf"]
        if pgds and len(self.right):
            self._first_pgd(*pgds[0])
        self._alignment()
        if settings.limits:
            self._limits()
        if settings.audit and self.work.positions[0] == 0 and pgds and len(self.right):
            self._audit(*pgds[0])

    def _first_pgd(self, label: str, pgd: PGD) -> None:
        """Transfer, maps and targets; without early stop the whole budget is spent, as noise of that size spends it."""
        work, right, at = self.work, self.right, self.settings.at
        result = self._attack(pgd.whole(), at, right, saved=False)
        self._transfer(label, result)
        moved = self._maps(label, result, self._attack(Noise(), at, right, saved=False))
        self._targeted(label, pgd)
        # The coursework's image, towards the class that is nearest: pixels change where it helps most.
        nearest = work.scores[right].scatter(1, work.targets[right, None], -torch.inf).argmax(1)
        fooling = self._attack(Fooling(), None, right, targets=nearest, saved=False)
        self._maps("fooling image", fooling, self._attack(Noise(norm="l2"), fooling.l2, right, saved=False))
        self._keep(right, result, f"{label}, epsilon {at * 255:.3g}/255", moved)

    def _attack(self, method: Attack, epsilon: float | Tensor | None, index: Tensor, **options: Any) -> AttackResult:
        """An attack on some of the images."""
        work = self.work
        options |= {"epsilon": epsilon, "ids": self._ids(index), "seed": work.config.seed, "clean": work.scores[index]}
        return attack(work.model, work.images[index], work.targets[index], method, **options)

    def _ids(self, index: Tensor) -> tuple[str, ...]:
        return tuple(self.work.ids[i] for i in index.tolist())

    def _add(self, index: Tensor, method: str, values: Mapping[str, Tensor], **fields: Any) -> None:
        """Rows of each metric for some images; NaN and infinity become not_applicable."""
        undefined = fields.pop("undefined", "the value is undefined here")
        targets, fields = self.work.targets[index].tolist(), self.work.columns(Attacks.name, method) | fields
        for metric, tensor in values.items():
            numbers = finite(tensor.double()).cpu().numpy()
            named = {"metric": metric, "unit": _UNITS.get(metric, ""), **fields}
            self.rows.append(Block(self._ids(index), targets, numbers, undefined, named))

    def _curve(self, label: str, method: Attack) -> None:
        """Ascending epsilons; a fooled photo stays fooled, because its image lies in every larger ball too."""
        left = self.right
        for epsilon in _radii(self.settings, method):
            fields = {"question": "curve", "norm": method.ball, "epsilon": epsilon, "control": method.control}
            never, why = torch.full((len(self.wrong),), torch.nan), "the network has this photo wrong before any attack"
            self._add(self.wrong, label, {"success": never}, **fields, undefined=why)
            fooled, why = self.right[~torch.isin(self.right, left)], "fooled within a smaller epsilon"
            self._add(fooled, label, {"success": torch.ones(len(fooled))}, **fields, message=why)
            if not len(left):
                continue
            if isinstance(method, Noise):  # a draw that fools says nothing about the next one
                self._add(left, label, _numbers(self._share(method, epsilon, left), _OF_NOISE), **fields)
                continue
            result = self._attack(method, epsilon, left)
            self._add(left, label, _numbers(result, _ALL), **fields)
            left = left[~result.success]

    def _share(self, noise: Noise, epsilon: float, index: Tensor) -> AttackResult:
        """The first draw's result; `success` is the share of draws that fool, and passes are those of all draws."""
        draws = self.settings.noise_draws
        result = self._attack(noise, epsilon, index, saved=False)
        fooled = result.success.double()
        for draw in range(1, draws):  # added up, so that one draw's images are held at a time
            again = replace(noise, first=noise.first + draw * noise.draws)
            fooled += self._attack(again, epsilon, index, saved=False).success
        return replace(result, success=fooled / draws, forwards=result.forwards * draws)

    def _minimal(self, label: str, pgd: PGD) -> None:
        in_the_box = pgd.ball == "linf"
        searching = pgd.searching(self.settings.at if in_the_box else 1.0)

        def attempt(index: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
            result = self._attack(searching, epsilon, self.right[index], saved=False)
            return result.success, result.images

        first, largest = (1 / 255, 1.0) if in_the_box else (1.0, 100.0)
        least, _ = minimal_epsilon(attempt, self.work.images[self.right], first=first, largest=largest, tolerance=0.1)
        fields = {"question": "minimal", "norm": pgd.ball, "undefined": f"not fooled at {largest:g}"}
        self._add(self.right, label, {"minimal_epsilon": least}, **fields)

    def _agreement(self, label: str, method: Attack) -> None:
        """Ours in the library's way and the library's, from one start: pixels, verdicts and norms."""
        work, goal = self.work, Goal(self.work.targets)
        epsilon = self.settings.at if method.ball == "linf" else 1.0
        pair = run_pair(method, work.model, work.images, goal, work.scores, epsilon=epsilon, seed=work.config.seed)
        if pair is None:
            return
        own, reference = pair
        same = (own.images == reference).flatten(1)
        values = {
            "bit_equal": same.all(1),
            "unequal_pixels": (~same).sum(1),
            "verdict_equal": goal.reached(own.scores) == verdicts_of(work.model, reference, goal),
        }
        for side, images in (("own", own.images), ("library", reference)):
            difference = (images - work.images).double().flatten(1)
            values |= {f"{side}_l2": difference.norm(dim=1), f"{side}_linf": difference.norm(p=torch.inf, dim=1)}
        self._add(self.everyone, label, values, implementation="torchattacks", epsilon=epsilon, question="agreement")

    def _transfer(self, label: str, result: AttackResult) -> None:
        """The success of the adversarial images on the run's other networks, on photos that these have right."""
        truth, why = self.work.targets[self.right], "the other network has this photo wrong"
        for other in self.work.others:
            before = other.scores[self.right].argmax(1) == truth
            after = predict(other.model, result.images).argmax(1) != truth
            values = {"transfer_success": after.double().masked_fill(~before, torch.nan)}
            fields = {"question": "transfer", "other_model": other.model.card.name, "epsilon": self.settings.at}
            self._add(self.right, label, values, **fields, undefined=why)

    def _explain(self, images: Tensor, targets: Tensor) -> Maps:
        work = self.work
        return attribute_each(work.model, images, targets, work.methods, ids=self._ids(self.right))

    def _maps(self, name: str, attacked: AttackResult, noise: AttackResult) -> Maps:
        """How far maps move under attack and under noise of its size, and where the perturbation lies; the maps."""
        work, right = self.work, self.right
        images = {"attack": attacked.images, "noise": noise.images}
        of_label = {moved_by: self._explain(moved, work.targets[right]) for moved_by, moved in images.items()}
        of_prediction = self._explain(attacked.images, attacked.prediction)
        pushes = {moved_by: (moved - work.images[right]).abs().sum(1) for moved_by, moved in images.items()}
        self._in_object(name, pushes)
        for label, intact in work.maps.items():
            results = [intact, of_label["attack"][label], of_label["noise"][label], of_prediction[label]]
            maps = [result for result in results if isinstance(result, Tensor)]
            if len(maps) < len(results):
                continue
            before, *after, target_map = (magnitude(m, work.size) for m in (maps[0][right], *maps[1:]))
            for (moved_by, push), moved in zip(pushes.items(), after, strict=True):
                values = {
                    "map_spearman": spearman(before, moved),
                    "map_top10_overlap": top_overlap(before, moved),
                    "shows_perturbation": spearman(target_map, push),
                    "energy_in_source_map": _energy_inside(push, _top(before)),
                    "energy_in_target_map": _energy_inside(push, _top(target_map)),
                }
                self._add(right, label, values, question="maps", attack=name, images=moved_by)
        return of_label["attack"]

    def _in_object(self, name: str, pushes: Mapping[str, Tensor]) -> None:
        """The share of the perturbation in the object's boxes; spread evenly, it is the share of their area."""
        if self.work.objects is None:
            return
        boxes = [self.work.objects[i] for i in self.right.tolist()]
        masks = [filled([] if isinstance(places, SuiteError) else places, self.work.size) for places in boxes]
        inside, why = torch.stack(masks).to(self.work.images.device), "the photo has no box, or one that is all of it"
        for moved_by, push in pushes.items():
            values, fields = {"energy_in_object": _energy_inside(push, inside)}, {"attack": name, "images": moved_by}
            self._add(self.right, "", values, question="maps", **fields, undefined=why)

    def _alignment(self) -> None:
        """Whether maps follow what is bright in the picture: on digits, the digit (after Etmann et al. 2019)."""
        bright = luminance(self.work.images)[:, 0]
        for label, comparable in self.work.comparable.items():
            self._add(self.everyone, label, {"alignment": spearman(comparable.maps, bright)}, question="alignment")

    def _targeted(self, label: str, pgd: PGD) -> None:
        classes, at = self.work.model.card.classes, self.settings.at
        for aim in map(classes.resolve, self.settings.targets):
            index = self.right[self.work.targets[self.right] != aim]
            if len(index):
                fields = {"goal": classes.name(aim), "question": "targeted"}
                result = self._attack(replace(pgd, early_stop=True), at, index, targets=aim)
                self._add(index, label, _numbers(result, _BRIEF), epsilon=at, **fields)
                result = self._attack(Fooling(), None, index, targets=aim)
                self._add(index, "fooling", _numbers(result, _BRIEF), **fields)
                self._keep(index, result, f"fooling image, aimed at {classes.name(aim)}")

    def _limits(self) -> None:
        """The naive attack: a sweep of its step size, and steps past success until the image is garbage."""
        model, images, everyone = self.work.model, self.work.images, self.everyone
        aim = self.work.scores.argmin(1)
        for eta in (0.1, 0.5, 1.0, 10.0, 100.0):
            result = self._attack(Fooling(recipe="cs231n", eta=eta, steps=20), None, everyone, targets=aim)
            self._add(everyone, "fooling", _numbers(result, _BRIEF), question="swept", step_size=eta)
        current, scores, done = images, self.work.scores, 0
        radius, ids = images.new_zeros(len(images)), self._ids(everyone)
        for steps in (0, 1, 3, 10, 20):
            problem = Problem(model, current, Goal(aim, True), scores, radius, ids, self.work.config.seed)
            with in_use(model):
                iterates = fooling_image(problem, Fooling(recipe="cs231n", eta=10.0, steps=steps - done), stop=False)
            current, scores, done = iterates.images, iterates.scores, steps
            values = {
                "confidence": scores.double().softmax(1).gather(1, aim[:, None])[:, 0],
                "outside": ((current < 0) | (current > 1)).flatten(1).double().mean(1),
            }
            if min(self.work.size) >= 11:
                values["ssim"] = ssim(luminance(images)[:, 0], luminance(current.clamp(0, 1))[:, 0], data_range=1.0)
            self._add(everyone, "fooling", values, question="past", steps=steps)

    def _audit(self, label: str, pgd: PGD) -> None:
        work, right, at = self.work, self.right, self.settings.at
        few = tuple(self.settings.epsilons[:: max(1, len(self.settings.epsilons) // 5)])
        images, labels = work.images[right], work.targets[right]
        audit = Audit(work.model, images, labels, self._ids(right), at, pgd, few, work.config.seed)
        for line, (value, note) in audit.run().items():
            fields = work.columns(Attacks.name, label) | {"metric": "audit", "question": "audit", "epsilon": at}
            fields |= {"line": line, "control": line.startswith("control")}
            if value is None:
                self.rows.append(fields | {"status": "not_applicable", "message": f"not run: {note}"})
            else:
                self.rows.append(fields | {"value": value, "message": note})

    def _keep(self, index: Tensor, result: AttackResult, title: str, moved: Maps | None = None) -> None:
        """For the report: photo and adversarial image as saved, what the network sees in these, and maps of both."""
        work = self.work
        saved = as_saved(result.images)
        before, after = self._seen(work.scores[index]), self._seen(predict(work.model, saved))
        kind = "".join(c if c.isalnum() else "_" for c in title)
        for k, i in enumerate(index.tolist()):
            if i not in work.plotted:
                continue
            words = {"id": work.ids[i], "title": title, "before": before[k], "after": after[k]}
            picture = {name: np.array(text) for name, text in words.items()}
            picture |= {"photo": pixels(work.images[i]), "adversarial": pixels(saved[k])}
            for label, other in (moved or {}).items():
                own = work.maps[label]
                if isinstance(own, Tensor) and isinstance(other, Tensor) and not work.methods[label].control:
                    picture |= {f"before|{label}": drawable(own[i]), f"after|{label}": drawable(other[k])}
            self.pictures[f"attacks-{work.stem(i)}-{kind}"] = picture

    def _seen(self, scores: Tensor) -> list[str]:
        """The top class of each image and its probability, in words."""
        sure, top = scores.double().softmax(1).max(1)
        names = map(self.work.model.card.classes.name, top.tolist())
        return [f"{name}, {share:.1%}" for name, share in zip(names, sure.tolist(), strict=True)]


def _numbers(result: AttackResult, metrics: Sequence[str]) -> dict[str, Tensor]:
    """Some of an attack's numbers; without the SSIM where the images are too small for it."""
    numbers = {metric: getattr(result, metric) for metric in metrics}
    return {metric: n for metric, n in numbers.items() if metric != "ssim" or bool(torch.isfinite(n).all())}


def _radii(settings: AttacksConfig, method: Attack) -> tuple[float, ...]:
    return settings.epsilons_l2 if method.ball == "l2" else settings.epsilons


def _attacks(settings: AttacksConfig) -> Iterator[tuple[str, Attack]]:
    """Label and attack, checked against their epsilons, and noise in each norm as a control."""
    norms = []
    for part in settings.methods:
        method = make_attack(part.name, part.parameters)
        if not method.radius:
            raise ConfigError(
                f"studies.attacks.methods: {part.name!r} takes no epsilon; the study runs it by `targets`"
            )
        for epsilon in _radii(settings, method):
            check_epsilon(epsilon, method.ball, f"studies.attacks: epsilon of {part.title!r}")
        norms.append(method.ball)
        yield part.title, method
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
