"""Is my implementation right? A user's function against a reference, on small networks and on a real one."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from suite.errors import NotApplicable
from suite.metrics.similarity import relative_l2
from suite.verify import hypotheses
from suite.verify.behaviour import Run, WrongResult, examine, few_objects, observe, some
from suite.verify.hypotheses import ATTACK_FORMS, FORMS, SCALES, Candidates, Hypothesis, Relation
from suite.verify.networks import Case, small_cases
from suite.verify.references import Reference, find_references

TOLERANCE = 1e-5
"""On the small networks, pixel by pixel: of the pixel's value plus a tenth of the map's largest."""
REAL_L2, REAL_GAP = 2e-3, 1e-2
"""On a real network, where rounding flips rectifiers: of the map's L2 norm, and of its largest value."""
REAL_FLIPS = 1e-3
"""On a real network: share of an adversarial image's pixels whose gradient may round to the other sign."""


@dataclass(frozen=True)
class Finding:
    """What was seen on one network.

    Attributes:
        network: its name.
        equal: whether the results agree, or cannot be compared there.
        text: to the bit, up to rounding, or how far apart and where.
    """

    network: str
    equal: bool
    text: str


@dataclass
class Verification:
    """The answer.

    Attributes:
        verdict: "equal", or what is wrong, the likeliest first.
        findings: one a network.
        defects: of behaviour: batch, a second call, state, memory, no_grad.
        notes: what else helps.
    """

    verdict: str
    findings: list[Finding] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the implementation may be trusted to be the reference's."""
        return self.verdict == "equal"

    def __str__(self) -> str:
        """A line a network, the notes, and the verdict as the last line."""
        width = max((len(f.network) for f in self.findings), default=0)
        lines = [f"{f.network:{width}}  {'ok     ' if f.equal else 'DIFFERS'}  {f.text}" for f in self.findings]
        exact = all(f.text.startswith(("equal to the bit", "not compared")) for f in self.findings)
        how = (" to the bit" if exact else " (see above where not to the bit)") if self.equal else ""
        return "\n".join([*lines, *self.notes, f"verdict: {self.verdict}{how}"])


@dataclass(frozen=True)
class Trial:
    """What the implementation gave on a case: a result, or what went wrong; and what it left changed."""

    case: Case
    found: Tensor | None
    changed: str = ""
    error: WrongResult | None = None


def verify(function: Callable[..., Any], against: str, cases: Iterable[Case] | None = None) -> Verification:
    """Compares an implementation with a reference.

    One network on which it differs decides. What differs is explained by the first hypothesis that explains the result
    on every small network; behaviour is examined on the small networks.

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
        seen = {t.changed for t in trials} - {""}
        small = [(t.case, t.found) for t in trials if t.case.small and t.found is not None]
        with few_objects():
            for k, (case, found) in enumerate(small):
                place, thorough = k % len(case.images), k >= len(small) - 2
                seen |= examine(run, reference, case, found, place, partial(close, case), thorough=thorough)
        notes = [f"compared with {reference.name} {reference.variant}"] if reference.variant else []
        if reference.attack:  # torchattacks itself needs gradients to be enabled
            notes += sorted(text for text in seen if text.startswith("fails under no_grad"))
        kinds = {text.split()[0]: text for text in sorted(seen - {*notes}, reverse=True)}
        defects = [kinds[word] for word in ("couples", "gives", "changes", "leaks", "fails") if word in kinds]
        reasons = defects
        if not all(f.equal for f in findings):
            reasons = _reasons(run, references, trials, findings, defects)
        return Verification("; ".join(reasons) or "equal", findings, defects, notes)


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
                said = f"raises {type(error).__name__}: {' '.join(str(error).split())[:160]}"
                raise WrongResult(said, soft=isinstance(error, NotApplicable)) from None
        return _checked(result, case, attack=attack)

    return run


def _checked(result: object, case: Case, *, attack: bool) -> Tensor:
    count, size = len(case.images), case.images.shape
    wanted = f"{tuple(size)}" if attack else f"(B={count}, C, h, w)"
    if not isinstance(result, Tensor):
        raise WrongResult(f"returns {'None' if result is None else type(result).__name__}, expected a tensor {wanted}")
    if not result.is_floating_point():
        raise WrongResult(f"returns a tensor of {result.dtype}, expected floating point numbers")
    if result.ndim != 4 or len(result) != count or not result.numel() or (attack and result.shape != size):
        channel = ": unsqueeze(1) adds the channel" if result.ndim == 3 and len(result) == count else ""
        raise WrongResult(f"returns a tensor of the wrong shape {tuple(result.shape)}, expected {wanted}{channel}")
    found = result.detach().cpu().float()
    if not bool(found.isfinite().all()):
        image = int((~found.isfinite()).flatten(1).any(1).nonzero()[0])
        raise WrongResult(f"returns {'NaN' if bool(found.isnan().any()) else 'infinity'} (first in image {image})")
    return found


def _try(run: Run, case: Case) -> Trial:
    try:
        return Trial(case, *observe(run, case))
    except WrongResult as error:
        return Trial(case, None, "", error)


def close(case: Case, found: Tensor, expected: Tensor) -> bool:
    """Equal up to rounding (see `TOLERANCE` and `REAL_L2`)."""
    if found.shape != expected.shape:
        return False
    apart = _apart(found, expected)
    if not bool(apart.any()):
        return True
    # Where most pixels of an image are equal to the bit, nothing was computed in another order: rounding excuses none.
    counted = expected != 0
    same_order = ((found == expected) & counted).flatten(1).sum(1) > 0.5 * counted.flatten(1).sum(1)
    if case.small or bool((same_order & apart.flatten(1).any(1)).any()):
        return False
    room = REAL_GAP * expected.abs().amax((1, 2, 3), keepdim=True)
    return bool(((found - expected).abs() <= room).all()) and bool((relative_l2(found, expected) <= REAL_L2).all())


def _apart(found: Tensor, expected: Tensor) -> Tensor:
    room = expected.abs() + 0.1 * expected.abs().amax((1, 2, 3), keepdim=True)
    return ~((found - expected).abs() <= TOLERANCE * room)


def _close_attack(case: Case, found: Tensor, expected: Tensor, *, steps: bool) -> bool:
    """On a real network; after several steps, the ball, the loss and who is fooled are compared, not pixels."""
    if not steps:
        return float(((found - expected).abs() > TOLERANCE).float().mean()) <= REAL_FLIPS
    moved, theirs = (found - case.images).flatten(1), (expected - case.images).flatten(1)
    with torch.no_grad():
        scores, others = case.model(found), case.model(expected)
    loss, other = (F.cross_entropy(s, case.targets, reduction="none") for s in (scores, others))
    inside = all(bool((moved.norm(p, 1) <= theirs.norm(p, 1) * 1.1 + 1e-6).all()) for p in (2, torch.inf))
    fooled = torch.equal(scores.argmax(1) == case.targets, others.argmax(1) == case.targets)
    return inside and fooled and bool(((loss - other).abs() <= 0.25 * other).all())


def _judge(reference: Reference, trial: Trial) -> Finding:
    case, found = trial.case, trial.found
    say = partial(Finding, case.name)
    try:
        expected = reference(case)
    except NotApplicable:
        if found is not None or (trial.error and trial.error.soft):
            return say(True, f"not compared: {reference.name.rpartition(':')[2]} is not defined on this network")
    if found is None:
        return say(False, str(trial.error))
    if found.shape != expected.shape:
        return say(False, f"its shape is {tuple(found.shape)}, the reference's {tuple(expected.shape)}")
    if torch.equal(found, expected):
        return say(True, "equal to the bit")
    gap, far = (found - expected).abs(), float(relative_l2(found, expected).max())
    if close(case, found, expected):
        allowed = f"{TOLERANCE:g} pixel by pixel" if case.small else f"{REAL_L2:g}"
        return say(True, f"equal up to rounding (relative L2 {far:.1e}; allowed {allowed})")
    if reference.attack and not case.small and _close_attack(case, found, expected, steps=reference.twin != "FGSM"):
        share = float((gap > TOLERANCE).float().mean())
        return say(True, f"equal up to rounding, which turned the gradient's sign in {share:.2%} of the pixels")
    if (deviation := reference.known_deviation(case)) and close(case, found, deviation[0]):
        return say(True, f"equal to the definition, from which {reference.name} parts: {deviation[1]}")
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    where = ", ".join(f"{n} {int(i)}" for n, i in zip(("image", "channel", "row", "column"), place, strict=True))
    return say(False, f"relative L2 {far:.2g}, largest gap {float(gap.max()):.2g} at {where}")


def _scope(pairs: Sequence[tuple[Trial, Tensor]]) -> tuple[str, bool]:
    """What the wrong values have in common, in words, and whether they are a few pixels only."""
    images: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    pixels: set[tuple[int, ...]] = set()
    share = 0.0
    for trial, expected in pairs:
        if trial.found is None or trial.found.shape != expected.shape:
            return "", False
        bad = _apart(trial.found, expected).any(1)
        pixels |= {tuple(place[1:]) for place in bad.nonzero().tolist()}
        share = max(share, float(bad.float().mean((1, 2)).max()))
        for i, target in enumerate(trial.case.targets.tolist()):
            images[bool(bad[i].any())].add((i, target))
    said = "at one pixel only (row {}, column {}); ".format(*min(pixels)) if len(pixels) == 1 else ""
    for index, words in ((1, "only where the target is {}; "), (0, "only in image {} of a batch; ")):
        common = {key[index] for key in images[True]}
        if len(common) == 1 and not common & {key[index] for key in images[False]}:
            said += words.format(*common)
            break
    return said, share < 0.05


Theory = tuple[str, Callable[[Case], Candidates], tuple[Relation, ...]]


def _theories(references: Sequence[Reference]) -> Iterator[Theory]:
    """A named mistake; the reference itself up to something; a named mistake up to something."""
    itself: list[Hypothesis] = [("", lambda _, r=r: [("", r)]) for r in references]  # type: ignore[misc]
    named: list[Hypothesis] = []
    for r in references:
        named += (hypotheses.attack_definitions if r.attack else hypotheses.definitions)(r)
        named += hypotheses.outcomes(r)
    forms, scales = (ATTACK_FORMS, ()) if references[0].attack else (FORMS, SCALES)
    single = [(relation,) for relation in (*forms, *scales)]
    yield from ((text, make, ()) for text, make in named)
    for relations in (*single, *product(forms, scales)):
        yield from ((text, make, relations) for text, make in itself)
    yield from ((text, make, relations) for text, make in named for relations in single)


def _explain(references: Sequence[Reference], differing: Sequence[Trial], equal: Sequence[Trial]) -> tuple[str, bool]:
    """The first theory under which all the trials are right, and whether it is a named mistake; "" where none is."""
    known: dict[tuple[int, str], list[tuple[str, Tensor | None]]] = {}

    def candidates(make: Callable[[Case], Candidates], case: Case) -> Iterator[tuple[str, Tensor | None]]:
        done = known.setdefault((id(make), case.name), [])
        yield from done
        for detail, compute in islice(make(case), len(done), None):
            try:
                made = compute(case).float()
            except Exception:  # what cannot be had on this network explains nothing there
                made = torch.empty(0)
            done.append((detail, made if made.ndim == 4 else None))
            yield done[-1]

    def fits(trial: Trial, make: Callable[[Case], Candidates], relations: tuple[Relation, ...]) -> str | None:
        for detail, candidate in candidates(make, trial.case):
            pair = None if candidate is None or trial.found is None else (trial.found, candidate)
            for _, relation in relations:
                pair = relation(trial.case, *pair) if pair else None
            if candidate is None or pair is None or (relations and not bool(pair[1].any())):
                continue
            if close(trial.case, *pair):
                fitted = relations[-1:] == SCALES[:1]
                return f"{float(pair[1].sum() / candidate.sum()):.4g} on {trial.case.name}" if fitted else detail
        return None

    for text, make, relations in _theories(references):
        details: list[str] = []
        for trial in (*differing, *equal):
            detail = fits(trial, make, relations)
            if detail is None:
                break
            details.append(detail)
        else:
            of = list(dict.fromkeys(filter(None, details[: len(differing)])))[:2]
            up_to = f"equal up to {' and '.join(name for name, _ in relations)}" if relations else ""
            said = "; and is then ".join(filter(None, (text, up_to)))
            return said + f" ({', '.join(of)})" * bool(of), not relations
    return "", False


def _reasons(
    run: Run, references: Sequence[Reference], trials: Sequence[Trial], findings: Sequence[Finding], defects: list[str]
) -> list[str]:
    """What is wrong, the likeliest first."""
    pairs = list(zip(trials, findings, strict=True))
    broken = [f"{f.text} (on {f.network})" for t, f in pairs if not f.equal and t.found is None][:1]
    if broken and ("does not require grad" in broken[0] or "not have been used in the graph" in broken[0]):
        broken = [f"a path of the graph is detached: {broken[0]}"]
    compared = [(t, f) for t, f in pairs if t.found is not None and not f.text.startswith("not compared")]
    # Networks on which the reference is not disputed say most, and a real one only where it alone differs.
    small = [(t, f) for t, f in compared if t.case.small]
    clean = [(t, f) for t, f in small if references[0].known_deviation(t.case) is None]
    pool = next((p for p in (clean, small, compared) if not all(f.equal for _, f in p)), [])
    if not pool:
        return [*broken, *defects]
    differing, equal = [t for t, f in pool if not f.equal], [t for t, f in pool if f.equal]
    if not differing[0].case.small:  # one photo: theories cost passes
        differing, equal = [_one_image(run, references[0], differing[0])], []
    scope, local = _scope([(t, references[0](t.case)) for t, _ in compared])
    # A fault of a few pixels is a fault of its own: none of the theories is about so few.
    said, named = ("", False) if local else _explain(references, differing, equal)
    if named:
        return [said, *broken, *defects]
    causes = [text for text in defects if text.startswith(("couples", "gives"))]
    rest = [text for text in defects if text not in causes]
    if said:
        return [*causes, said, *broken, *rest]
    wrong = [(t.case, f) for t, f in compared if not f.equal]
    only = "only " * (len(wrong) == 1 < len(compared))
    hint = f" ({wrong[0][0].hint})" if only and wrong[0][0].hint else ""
    return [*broken, *causes, f"differs {only}on {wrong[0][1].network}{hint}: {scope}{wrong[0][1].text}", *rest]


def _one_image(run: Run, reference: Reference, trial: Trial) -> Trial:
    """The photo that is furthest off."""
    expected, found = reference(trial.case), trial.found
    assert found is not None
    i = int((found - expected).abs().amax((1, 2, 3)).argmax()) if found.shape == expected.shape else 0
    alone = _try(run, some(trial.case, [i]))
    return trial if alone.found is None else alone
