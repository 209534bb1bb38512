"""Is my implementation right? A user's function against a reference, on small networks and on a real one.

Each finding has a kind (`Kind`, `Defect`). Decisions are made on kinds; sentences are only shown.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from suite.core.torch_private import says_detached
from suite.errors import NotApplicable, one_line
from suite.metrics.similarity import relative_l2
from suite.verify.behaviour import Defect, Run, WrongResult, examine, few_objects, observe, some
from suite.verify.hypotheses import ATTACK_FORMS, FORMS, SCALES, Candidates, Relation, mistakes
from suite.verify.networks import Case, small_cases
from suite.verify.references import Reference, find_references

TOLERANCE = 1e-5
"""On the small networks, pixel by pixel: of the pixel's value plus a tenth of the map's largest."""
REAL_L2, REAL_GAP = 2e-3, 1e-2
"""On a real network, where rounding flips rectifiers: of the map's L2 norm, and of its largest value."""
REAL_FLIPS = 1e-3
"""On a real network: share of an adversarial image's pixels whose gradient may round to the other sign."""


Kind = StrEnum("Kind", "EXACT CLOSE NOT_COMPARED DIFFERENT NO_RESULT")
"""The outcome of the comparison on one network; the first three count as equal."""


@dataclass(frozen=True)
class Finding:
    """The comparison on one network.

    Attributes:
        network: its name.
        equal: whether the results agree, or cannot be compared there.
        text: to the bit, up to rounding, or how far apart and where.
        kind: what `text` says, for code.
    """

    network: str
    equal: bool
    text: str
    kind: Kind


@dataclass
class Verification:
    """The answer.

    Attributes:
        verdict: "equal", or the mistakes, the likeliest first.
        findings: one a network.
        defects: of behaviour: batch, a second call, state, memory, no_grad.
        notes: further hints.
    """

    verdict: str
    findings: list[Finding] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the implementation may be trusted to be the reference's."""
        return all(f.equal for f in self.findings) and not self.defects

    def __str__(self) -> str:
        """A line a network, the notes, and the verdict as the last line."""
        width = max((len(f.network) for f in self.findings), default=0)
        lines = [f"{f.network:{width}}  {'ok     ' if f.equal else 'DIFFERS'}  {f.text}" for f in self.findings]
        exact = all(f.kind in (Kind.EXACT, Kind.NOT_COMPARED) for f in self.findings)
        how = (" to the bit" if exact else " (see above where not to the bit)") if self.equal else ""
        return "\n".join([*lines, *self.notes, f"verdict: {self.verdict}{how}"])


@dataclass(frozen=True)
class Trial:
    """An implementation's call on a case: its result or its error, and the state that it changed."""

    case: Case
    result: Tensor | None
    changed: Sequence[str] = ()
    error: WrongResult | None = None


def verify(function: Callable[..., Any], against: str, cases: Iterable[Case] | None = None) -> Verification:
    """Compares an implementation with a reference.

    One network on which it differs decides. The verdict names the first hypothesis that explains the result on every
    small network; behaviour is examined on the small networks.

    Args:
        function: (model, images, targets) -> a map (B, C, h, w), or adversarial images (B, 3, H, W) for an attack. One
            that has a parameter `layer` is given the target layer's name.
        against: `captum:NAME`, `suite:NAME` or `torchattacks:NAME`.
        cases: networks with images; the small ones by default.

    Raises:
        ConfigError: where the reference does not exist.
    """
    references = find_references(against)
    run = _runner(function, attack=references[0].attack)
    with torch.inference_mode(False), torch.enable_grad():
        trials = [_try(run, case) for case in (small_cases() if cases is None else cases)]
        judged = [(r, [_judge(r, t) for t in trials]) for r in references]
        reference, findings = next((j for j in judged if all(f.equal for f in j[1])), judged[0])
        defects = _defects(run, reference, trials)
        notes = [f"compared with {reference.name} without the random start"] if reference.still else []
        if reference.attack and Defect.NO_GRAD in defects:  # torchattacks itself needs gradients to be enabled
            notes.append(defects.pop(Defect.NO_GRAD))
        reasons = [*defects.values()]
        if not all(f.equal for f in findings):
            reasons = _reasons(run, references, trials, findings, defects)
        return Verification("; ".join(reasons) or "equal", findings, [*defects.values()], notes)


def _runner(function: Callable[..., Any], *, attack: bool) -> Run:
    try:
        takes_layer = "layer" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes_layer = False

    def run(case: Case) -> Tensor:
        layer = {"layer": case.layer} if takes_layer else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                result = function(case.model, case.images, case.targets, **layer)
            except (Exception, SystemExit) as error:
                raise WrongResult(f"raises {type(error).__name__}: {one_line(error)}") from error
        return _checked(result, case, attack=attack)

    return run


def _checked(result: object, case: Case, *, attack: bool) -> Tensor:
    count, size = len(case.images), case.images.shape
    expected = f"{tuple(size)}" if attack else f"(B={count}, C, h, w)"
    if not isinstance(result, Tensor):
        got = "None" if result is None else type(result).__name__
        raise WrongResult(f"returns {got}, expected a tensor {expected}")
    if not result.is_floating_point():
        raise WrongResult(f"returns a tensor of {result.dtype}, expected floating point numbers")
    if result.ndim != 4 or len(result) != count or not result.numel() or (attack and result.shape != size):
        channel = ": unsqueeze(1) adds the channel" if result.ndim == 3 and len(result) == count else ""
        raise WrongResult(f"returns a tensor of the wrong shape {tuple(result.shape)}, expected {expected}{channel}")
    result = result.detach().cpu().float()
    if not bool(result.isfinite().all()):
        image = int((~result.isfinite()).flatten(1).any(1).nonzero()[0])
        raise WrongResult(f"returns {'NaN' if bool(result.isnan().any()) else 'infinity'} (first in image {image})")
    return result


def _try(run: Run, case: Case) -> Trial:
    try:
        return Trial(case, *observe(run, case))
    except WrongResult as error:
        return Trial(case, None, error=error)


def _defects(run: Run, reference: Reference, trials: Sequence[Trial]) -> dict[Defect, str]:
    """Defects of behaviour on the small networks, one sentence a kind."""
    texts: dict[Defect, set[str]] = {kind: set() for kind in Defect}
    texts[Defect.CHANGES] = {f"changes {', '.join(t.changed)}" for t in trials if t.changed}
    small = [(t.case, t.result) for t in trials if t.case.small and t.result is not None]
    with few_objects():
        for k, (case, result) in enumerate(small):
            index, thorough = k % len(case.images), k >= len(small) - 2
            defects = examine(run, reference, case, result, index, partial(close, case), thorough=thorough)
            for kind, text in defects.items():
                texts[kind].add(text)
    return {kind: min(of_kind) for kind, of_kind in texts.items() if of_kind}


def close(case: Case, result: Tensor, expected: Tensor) -> bool:
    """Equal up to rounding (see `TOLERANCE` and `REAL_L2`)."""
    if result.shape != expected.shape:
        return False
    apart = _apart(result, expected)
    if not bool(apart.any()):
        return True
    # Where most pixels of an image are equal to the bit, nothing was computed in another order: rounding excuses none.
    counted = expected != 0
    same_order = ((result == expected) & counted).flatten(1).sum(1) > 0.5 * counted.flatten(1).sum(1)
    if case.small or bool((same_order & apart.flatten(1).any(1)).any()):
        return False
    room = REAL_GAP * expected.abs().amax((1, 2, 3), keepdim=True)
    return bool(((result - expected).abs() <= room).all()) and bool((relative_l2(result, expected) <= REAL_L2).all())


def _apart(result: Tensor, expected: Tensor) -> Tensor:
    room = expected.abs() + 0.1 * expected.abs().amax((1, 2, 3), keepdim=True)
    return ~((result - expected).abs() <= TOLERANCE * room)


def _close_attack(case: Case, result: Tensor, expected: Tensor, *, steps: bool) -> bool:
    """On a real network; after several steps, the ball, the loss and who is fooled are compared, not pixels."""
    if not steps:
        return float(((result - expected).abs() > TOLERANCE).float().mean()) <= REAL_FLIPS
    moved, reference = (result - case.images).flatten(1), (expected - case.images).flatten(1)
    with torch.no_grad():
        scores, others = case.model(result), case.model(expected)
    loss, other = (F.cross_entropy(s, case.targets, reduction="none") for s in (scores, others))
    inside = all(bool((moved.norm(p, 1) <= reference.norm(p, 1) * 1.1 + 1e-6).all()) for p in (2, torch.inf))
    fooled = torch.equal(scores.argmax(1) == case.targets, others.argmax(1) == case.targets)
    return inside and fooled and bool(((loss - other).abs() <= 0.25 * other).all())


def _judge(reference: Reference, trial: Trial) -> Finding:
    case, result = trial.case, trial.result

    def finding(kind: Kind, text: str) -> Finding:
        return Finding(case.name, kind not in (Kind.DIFFERENT, Kind.NO_RESULT), text, kind)

    try:
        expected = reference(case)
    except NotApplicable:
        if result is not None or (trial.error and isinstance(trial.error.__cause__, NotApplicable)):
            name = reference.name.rpartition(":")[2]
            return finding(Kind.NOT_COMPARED, f"not compared: {name} is not defined on this network")
    if result is None:
        return finding(Kind.NO_RESULT, str(trial.error))
    if result.shape != expected.shape:
        shapes = f"its shape is {tuple(result.shape)}, the reference's {tuple(expected.shape)}"
        return finding(Kind.DIFFERENT, shapes)
    if torch.equal(result, expected):
        return finding(Kind.EXACT, "equal to the bit")
    gap, distance = (result - expected).abs(), float(relative_l2(result, expected).max())
    if close(case, result, expected):
        allowed = f"{TOLERANCE:g} pixel by pixel" if case.small else f"{REAL_L2:g}"
        return finding(Kind.CLOSE, f"equal up to rounding (relative L2 {distance:.1e}; allowed {allowed})")
    if reference.attack and not case.small and _close_attack(case, result, expected, steps=reference.twin != "FGSM"):
        share = float((gap > TOLERANCE).float().mean())
        flips = f"equal up to rounding, which turned the gradient's sign in {share:.2%} of the pixels"
        return finding(Kind.CLOSE, flips)
    if (deviation := reference.known_deviation(case)) and close(case, result, deviation[0]):
        return finding(Kind.CLOSE, f"equal to the definition, from which {reference.name} parts: {deviation[1]}")
    index = np.unravel_index(int(gap.argmax()), gap.shape)
    where = ", ".join(f"{n} {int(i)}" for n, i in zip(("image", "channel", "row", "column"), index, strict=True))
    return finding(Kind.DIFFERENT, f"relative L2 {distance:.2g}, largest gap {float(gap.max()):.2g} at {where}")


def _scope(pairs: Sequence[tuple[Trial, Tensor]]) -> tuple[str, bool]:
    """In words, the pixels, targets or images that all wrong values share; and whether they are few pixels."""
    images: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    pixels: set[tuple[int, ...]] = set()
    share = 0.0
    for trial, expected in pairs:
        if trial.result is None or trial.result.shape != expected.shape:
            return "", False
        bad = _apart(trial.result, expected).any(1)
        pixels |= {tuple(index[1:]) for index in bad.nonzero().tolist()}
        share = max(share, float(bad.float().mean((1, 2)).max()))
        for i, target in enumerate(trial.case.targets.tolist()):
            images[bool(bad[i].any())].add((i, target))
    text = "at one pixel only (row {}, column {}); ".format(*min(pixels)) if len(pixels) == 1 else ""
    for position, words in ((1, "only where the target is {}; "), (0, "only in image {} of a batch; ")):
        common = {key[position] for key in images[True]}
        if len(common) == 1 and not common & {key[position] for key in images[False]}:
            return text + words.format(*common), share < 0.05
    return text, share < 0.05


Theory = tuple[str, Callable[[Case], Candidates], tuple[Relation, ...]]


def _theories(references: Sequence[Reference]) -> Iterator[Theory]:
    """A named mistake; the reference itself up to something; a named mistake up to something."""
    named = [mistake for reference in references for mistake in mistakes(reference)]
    itself = [lambda _, reference=reference: [("", reference)] for reference in references]
    forms, scales = (ATTACK_FORMS, ()) if references[0].attack else (FORMS, SCALES)
    single = [(relation,) for relation in (*forms, *scales)]
    yield from ((text, make, ()) for text, make in named)
    yield from (("", make, relations) for relations in (*single, *product(forms, scales)) for make in itself)
    yield from ((text, make, relations) for text, make in named for relations in single)


def _explain(
    references: Sequence[Reference], differing: Sequence[Trial], equal: Sequence[Trial]
) -> tuple[str, bool] | None:
    """The first theory under which all the trials are right, in words, and whether it is a named mistake."""

    @cache
    def candidates(make: Callable[[Case], Candidates], case: Case) -> list[tuple[str, Tensor]]:
        results = []
        for detail, compute in make(case):
            with suppress(Exception):  # what cannot be had on this network explains nothing there
                results.append((detail, compute(case).float()))
        return [(detail, result) for detail, result in results if result.ndim == 4]

    def fits(trial: Trial, make: Callable[[Case], Candidates], relations: tuple[Relation, ...]) -> str | None:
        for detail, candidate in candidates(make, trial.case):
            pair = None if trial.result is None else (trial.result, candidate)
            for _, relation in relations:
                pair = relation(trial.case, *pair) if pair else None
            if pair and not (relations and not bool(pair[1].any())) and close(trial.case, *pair):
                scaled = relations[-1:] == SCALES[:1]
                return f"{float(pair[1].sum() / candidate.sum()):.4g} on {trial.case.name}" if scaled else detail
        return None

    for text, make, relations in _theories(references):
        details: list[str] = []
        for trial in (*differing, *equal):
            detail = fits(trial, make, relations)
            if detail is None:
                break
            details.append(detail)
        else:
            shown = list(dict.fromkeys(filter(None, details[: len(differing)])))[:2]
            up_to = f"equal up to {' and '.join(name for name, _ in relations)}" if relations else ""
            words = "; and is then ".join(filter(None, (text, up_to)))
            return words + f" ({', '.join(shown)})" * bool(shown), not relations
    return None


def _reasons(
    run: Run,
    references: Sequence[Reference],
    trials: Sequence[Trial],
    findings: Sequence[Finding],
    defects: dict[Defect, str],
) -> list[str]:
    """The mistakes, the likeliest first."""
    pairs = list(zip(trials, findings, strict=True))
    broken = [f"{f.text} (on {f.network})" for f in findings if f.kind is Kind.NO_RESULT][:1]
    failure = next((t.error for t, f in pairs if f.kind is Kind.NO_RESULT), None)
    if failure and says_detached(failure.__cause__):
        broken = [f"a path of the graph is detached: {broken[0]}"]
    compared = [(t, f) for t, f in pairs if f.kind not in (Kind.NO_RESULT, Kind.NOT_COMPARED)]
    # Networks on which the reference is not disputed say most, and a real one only where it alone differs.
    small = [(t, f) for t, f in compared if t.case.small]
    clean = [(t, f) for t, f in small if references[0].known_deviation(t.case) is None]
    pool = next((p for p in (clean, small, compared) if not all(f.equal for _, f in p)), [])
    if not pool:
        return [*broken, *defects.values()]
    differing, equal = [t for t, f in pool if not f.equal], [t for t, f in pool if f.equal]
    if not differing[0].case.small:  # one photo: theories cost passes
        differing, equal = [_one_image(run, references[0], differing[0])], []
    scope, local = _scope([(t, references[0](t.case)) for t, _ in compared])
    # No theory is about a fault of a few pixels.
    explained = None if local else _explain(references, differing, equal)
    if explained and explained[1]:
        return [explained[0], *broken, *defects.values()]
    causes = [text for kind, text in defects.items() if kind in (Defect.COUPLES, Defect.CALLED_AGAIN)]
    others = [text for kind, text in defects.items() if kind not in (Defect.COUPLES, Defect.CALLED_AGAIN)]
    if explained:
        return [*causes, explained[0], *broken, *others]
    wrong = [(t.case, f) for t, f in compared if not f.equal]
    only = "only " * (len(wrong) == 1 < len(compared))
    hint = f" ({wrong[0][0].hint})" if only and wrong[0][0].hint else ""
    return [*broken, *causes, f"differs {only}on {wrong[0][1].network}{hint}: {scope}{wrong[0][1].text}", *others]


def _one_image(run: Run, reference: Reference, trial: Trial) -> Trial:
    """The photo that is furthest off."""
    expected, result = reference(trial.case), trial.result
    assert result is not None
    i = int((result - expected).abs().amax((1, 2, 3)).argmax()) if result.shape == expected.shape else 0
    alone = _try(run, some(trial.case, [i]))
    return trial if alone.result is None else alone
