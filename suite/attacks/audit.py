"""The audit of an attack on a network: the numbers of `audit_lines.LINES`, and controls with each fault planted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attacks.attack import Attack, attack
from suite.attacks.audit_lines import LINES
from suite.attacks.fgsm import FGSM, Noise
from suite.attacks.pgd import PGD, minimal_epsilon
from suite.attacks.result import AttackResult, Goal, draw_start, losses, per_image, step_gradient
from suite.core.draws import generator_for
from suite.core.network import scores_of
from suite.core.passes import predict
from suite.core.pixels import as_saved
from suite.core.state import in_use
from suite.errors import NetworkError, NotApplicable

Value = float | tuple[float, str]  # a line's number, and a note where there is more to say


@dataclass
class Audit:
    """All lines for one network and one PGD, on images that the network has right.

    Attributes:
        model, images, labels, ids: of the images.
        epsilon: at which lines without an epsilon of their own are run.
        attack: FGSM, margin loss and more restarts are its variants.
        epsilons: for the line on monotony, ascending.
        seed: of the run.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: tuple[str, ...]
    epsilon: float
    attack: PGD
    epsilons: tuple[float, ...]
    seed: int = 0

    def run(self) -> dict[str, tuple[float | None, str]]:
        """Line -> (number, note). A line that cannot be run has no number, says why, and takes no other with it."""
        lines: dict[str, tuple[float | None, str]] = {}
        for name in LINES:
            try:
                lines[name] = self.line(name)
            except (NetworkError, NotApplicable) as error:
                lines[name] = (None, str(error))
        return lines

    def line(self, name: str) -> tuple[float, str]:
        """A line's number, and a note where there is more to say."""
        if name in self._variants:
            return self._gain(self._variants[name]), ""
        if name in self._faults:
            return self._noticed(*self._faults[name])
        value: Value = getattr(self, f"_{name}")()
        return value if isinstance(value, tuple) else (float(value), "")

    @cached_property
    def _variants(self) -> dict[str, Attack]:
        """Attacks whose success above the base's is a line's number."""
        quick, linf = self._quick, self.attack.ball == "linf"
        whole_step: dict[str, Any] = {"steps": 1, "restarts": 1, "random_start": False, "step_size": self.epsilon}
        return {
            "iterated": FGSM() if linf else replace(quick, **whole_step),
            "converged": replace(quick, steps=2 * quick.steps),
            "restarts": replace(quick, restarts=2 * quick.restarts),
            "noise": Noise(norm=quick.norm, draws=10),
            "losses": replace(quick, loss="ce" if quick.loss == "margin" else "margin"),
        }

    @cached_property
    def _faults(self) -> dict[str, tuple[nn.Module, tuple[str, ...]]]:
        """Control -> the network with a fault, and the lines of which one must notice it."""
        model = self.model
        steps = _Faulty(model, before=lambda images: (images * 15).round() / 15)
        dropout = _Faulty(model, after=lambda scores: F.dropout(scores, 0.5, training=True))
        return {
            "control_constant": (_Faulty(model, after=lambda scores: 0 * scores), ("zero_gradient",)),
            "control_quantised": (steps, ("zero_gradient", "real_gradient")),
            "control_saturated": (_Faulty(model, after=lambda scores: scores * 1e3), ("saturation", "zero_gradient")),
            "control_dropout": (dropout, ("deterministic",)),
        }

    def _run(self, method: Attack, epsilon: float, *, saved: bool = False, **more: Any) -> AttackResult:
        more |= {"ids": self.ids, "seed": self.seed, "saved": saved, "clean": self._clean, "epsilon": epsilon}
        return attack(self.model, self.images, self.labels, method, **more)

    def _scores(self, images: Tensor) -> Tensor:
        return predict(self.model, images)

    @cached_property
    def _clean(self) -> Tensor:
        return self._scores(self.images)

    @cached_property
    def _quick(self) -> PGD:
        """The verdicts of the attack in fewer passes: the first success is kept."""
        return replace(self.attack, early_stop=True)

    @cached_property
    def _base(self) -> AttackResult:
        return self._run(self._quick, self.epsilon, saved=True)

    def _rate(self, method: Attack, epsilon: float, **more: Any) -> float:
        return float(self._run(method, epsilon, **more).success.double().mean())

    def _gain(self, method: Attack, **more: Any) -> float:
        """Success of another attack less that of the base."""
        return self._rate(method, self.epsilon, **more) - float(self._base.success.double().mean())

    def _excess(self, images: Tensor) -> float:
        outside = max(0.0, float(-images.min()), float(images.max()) - 1)
        moved = (images.double() - self.images.double()).flatten(1)
        size = moved.norm(p=2 if self.attack.ball == "l2" else torch.inf, dim=1)
        return max(outside, float(size.max()) - self.epsilon)

    def _box_and_ball(self) -> float:
        return self._excess(self._base.images)

    def _saved_ball(self) -> Value:
        saved = as_saved(self._base.images)
        on_grid = bool(((self.images * 255).round() / 255 - self.images).abs().max() < 1e-6)
        slack = 0.0 if on_grid else 0.5 / 255
        return self._excess(saved) - slack, "" if on_grid else "the photos are off the 8-bit grid: half a level allowed"

    def _deterministic(self) -> float:
        runs = [F.normalize(self._scores(self.images), dim=1) for _ in range(5)]
        return max(float((run - runs[0]).norm(dim=1).max()) for run in runs)

    def _logits(self) -> float:
        rows = self._clean
        return float(bool(rows.min() >= -1e-5 and rows.max() <= 1 + 1e-5 and (rows.sum(1) - 1).abs().max() <= 1e-5))

    def _state(self) -> float:
        def state() -> list[object]:
            flags: list[object] = [module.training for module in self.model.modules()]
            return flags + [b.double().sum().item() for b in self.model.buffers()]

        before = state()
        grads = [p.grad for p in self.model.parameters()]
        self._run(replace(self.attack, steps=1), self.epsilon)
        same = all(p.grad is g for p, g in zip(self.model.parameters(), grads, strict=True))
        return sum(a != b for a, b in zip(before, state(), strict=True)) + (not same)

    def _batch_invariance(self) -> float:
        alone = torch.cat([self._scores(image[None]) for image in self.images])
        return float((alone - self._clean).abs().max() / self._clean.abs().max())

    def _zero_gradient(self) -> Value:
        with in_use(self.model):
            gradient = step_gradient(self.model, self.images, Goal(self.labels), "ce")[1]().flatten(1)
        pixels = float(gradient.eq(0).double().mean())
        return float(gradient.eq(0).all(1).double().mean()), f"{pixels:.1%} of all pixels have a zero gradient"

    def _saturation(self) -> float:
        return float((losses(self._clean, Goal(self.labels), "ce") < 1e-6).double().mean())

    def _real_gradient(self) -> Value:
        # of the margin: a cross entropy of 1e-12 is lost in rounding, which says nothing of the network
        model, images = self.model, self.images.double()
        dtypes = [(t, t.data) for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()]
        try:
            for tensor, _ in dtypes:
                tensor.data = tensor.data.double()
            with in_use(model):
                gradient = step_gradient(model, images, Goal(self.labels), "margin")[1]()
                norms = gradient.flatten(1).norm(dim=1)
                unit = gradient / norms.clamp_min(1e-300).reshape(-1, 1, 1, 1)
                with torch.no_grad():
                    moved = [scores_of(model, images + s * 1e-4 * unit) for s in (1, -1)]
                    ends = [losses(scores, Goal(self.labels), "margin") for scores in moved]
        finally:
            for tensor, data in dtypes:
                tensor.data = data
        error = ((ends[0] - ends[1]) / 2e-4 - norms).abs() / norms.clamp_min(1e-300)
        return float((error > 0.05).double().mean()), f"largest error {float(error.max()):.2g}, in float64"

    def _unstable(self) -> float:
        plain = losses(self._clean, Goal(self.labels), "ce")
        radius = per_image(4 / 255, self.images)
        changes = []
        for draw in range(10):
            noise = draw_start(self.images, radius, "linf", self.ids, self.seed, f"unstable {draw}")
            moved = (self.images + noise).clamp(0, 1)
            changes.append((losses(self._scores(moved), Goal(self.labels), "ce") - plain).abs() / plain.clamp_min(1e-6))
        return float(torch.stack(changes).clamp(max=1e3).mean())

    def _epsilon_zero(self) -> float:
        result = self._run(self.attack, 0.0)
        return float((result.linf > 0).sum() + result.success.sum())

    def _monotone(self) -> Value:
        rates = [self._rate(self.attack.searching(self.epsilon), epsilon) for epsilon in self.epsilons]
        falls = [before - after for before, after in pairwise(rates)]
        words = ", ".join(f"{rate:.0%}" for rate in rates)
        return max([0.0, *falls]) - 1 / len(self.images), f"success {words}"

    def _unbounded(self) -> float:
        epsilon = 1.0 if self.attack.ball == "linf" else self.images[0].numel() ** 0.5
        return float((~self._run(self.attack.searching(self.epsilon), epsilon).success).sum())

    def _silent(self) -> Value:
        last = self._run(replace(self.attack.whole(), best=False), self.epsilon).silent
        note = f"the last iterate, as libraries return it, throws away {int(last.sum())} of {len(last)}"
        return float(self._base.silent.double().mean()), note

    def _black_box(self) -> Value:
        survivors = (~self._base.success).nonzero()[:, 0]
        if not len(survivors):
            raise NotApplicable("no photo survived the attack, so there was nothing to search")
        if self.attack.ball == "l2":
            raise NotApplicable("the random search is in the box only")
        images, goal = self.images[survivors], Goal(self.labels[survivors])
        generator = generator_for(self.seed, "", "square")
        best = images.clone()
        margins = losses(self._scores(best), goal, "margin")
        side = max(1, images.shape[2] // 4)
        for _ in range(50):  # squares of random colour, kept where the margin grows (Andriushchenko et al. 2020)
            y, x = (int(torch.randint(n - side + 1, (1,), generator=generator)) for n in images.shape[2:])
            sign = torch.randint(2, (1, images.shape[1], 1, 1), generator=generator).to(images) * 2 - 1
            tried = best.clone()
            patch = (..., slice(y, y + side), slice(x, x + side))
            tried[patch] = (images[patch] + self.epsilon * sign).clamp(0, 1)
            value = losses(self._scores(tried), goal, "margin")
            better = value > margins
            best[better], margins[better] = tried[better], value[better]
        return float((margins > 0).double().mean()), f"{len(survivors)} survivors, 50 queries each"

    def _targeted(self) -> float:
        return self._gain(self._quick, targets="random")

    def _quantised(self) -> float:
        assert self._base.saved_success is not None
        failed = self._base.success & ~self._base.saved_success
        return float(failed.sum() / self._base.success.sum().clamp_min(1))

    def _control_linear(self) -> float:
        channels, side = self.images.shape[1], min(32, *self.images.shape[2:])
        size = channels * side * side
        generator = generator_for(self.seed, "", "linear control")
        weight = torch.randn(2, size, generator=generator, dtype=torch.float64)
        images = 0.4 + 0.2 * torch.rand(8, channels, side, side, generator=generator, dtype=torch.float64)
        linear = nn.Linear(size, 2, dtype=torch.float64)
        model = nn.Sequential(nn.Flatten(), linear).eval()
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(-weight @ images.flatten(1).mean(0))
            scores = model(images)
        labels, margin = scores.argmax(1), (scores[:, 0] - scores[:, 1]).abs()
        method = replace(self.attack.searching(self.epsilon), loss="margin", random_start=False, precision="fp32")

        def attempt(index: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
            result = attack(model, images[index], labels[index], method, epsilon=epsilon, saved=False)
            return result.success, result.images

        least, _ = minimal_epsilon(attempt, images, first=1e-3, largest=1, tolerance=0.005)
        exact = margin / (weight[0] - weight[1]).norm(p=1 if method.ball == "linf" else 2)
        return float(((least - exact).abs() / exact).max())

    def _noticed(self, fault: nn.Module, lines: tuple[str, ...]) -> tuple[float, str]:
        """0 where a line notices the fault, with the numbers."""
        other = replace(self, model=fault.eval())
        values: dict[str, float] = {}
        for line in lines:
            try:
                values[line] = other.line(line)[0]
            except NetworkError:
                values[line] = torch.inf  # no gradient at all is an error that nobody overlooks
        noticed = any(value > LINES[line].limit for line, value in values.items())
        words = ", ".join(f"{LINES[line].title}: {value:.3g}" for line, value in values.items())
        return float(not noticed), f"{'noticed by' if noticed else 'not noticed by'} {words}"


def _same(x: Tensor) -> Tensor:
    return x


class _Faulty(nn.Module):
    """A network with a fault before or after it."""

    def __init__(
        self, body: nn.Module, before: Callable[[Tensor], Tensor] = _same, after: Callable[[Tensor], Tensor] = _same
    ) -> None:
        super().__init__()
        self.body, self.before, self.after = body, before, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.body(self.before(images)))
