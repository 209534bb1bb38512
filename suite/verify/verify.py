"""Is my implementation right? A user's function against a reference, on small networks and on a real one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from suite.metrics.similarity import relative_l2
from suite.verify import behaviour
from suite.verify.hypotheses import attempt, circumstances, definitions, relations
from suite.verify.networks import Case, small_cases
from suite.verify.references import Reference, find_reference, own_twin

Function = Callable[[nn.Module, Tensor, Tensor], Any]


@dataclass(frozen=True)
class Finding:
    """What was seen on one network.

    Attributes:
        network: its name.
        equal: whether the results agree.
        exact: whether to the bit.
        text: how far apart, and where.
    """

    network: str
    equal: bool
    exact: bool
    text: str


@dataclass
class Verification:
    """The answer.

    Attributes:
        verdict: "equal", or what is wrong, the likeliest first.
        findings: one a network.
        defects: of behaviour: state, batch, memory, no_grad.
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


def verify(function: Function, against: str, cases: Iterable[Case] | None = None) -> Verification:
    """Compares an implementation with a reference.

    One network on which it differs decides. What differs is explained by the first hypothesis that explains the result
    on every network; behaviour is examined on the small networks.

    Args:
        function: (model, images, targets) -> a map (B, C, h, w), or adversarial images for an attack.
        against: `captum:NAME`, `suite:NAME` or `torchattacks:NAME`.
        cases: networks with images; the small ones by default.

    Raises:
        ConfigError: where the reference does not exist.
    """
    reference = find_reference(against)
    cases = list(cases if cases is not None else small_cases())
    found: list[Tensor] = []
    expected: list[Tensor] = []
    findings: list[Finding] = []
    for case in cases:
        try:
            result = _call(function, case)
        except _WrongResult as error:
            return Verification(f"differs: {error} on {case.name}", findings)
        found.append(result)
        expected.append(reference(case))
        findings.append(_finding(case, found[-1], expected[-1]))
    defects = _behaviour(function, cases)
    if all(finding.equal for finding in findings):
        verdict = "; ".join(defects) or "equal"
        return Verification(verdict, findings, defects)
    reason = _explain(reference, cases, found, expected)
    notes = _notes(reference, cases, found, findings)
    if reason is None:
        worst = next(finding for finding in findings if not finding.equal)
        reason = "; ".join([*defects, f"differs: on {worst.network}, {worst.text}"])
        return Verification(reason, findings, defects, notes)
    return Verification("; ".join([reason, *defects]), findings, defects, notes)


class _WrongResult(Exception):
    pass


def _call(function: Function, case: Case) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        # A deep copy keeps a function that changes the network from spoiling the next comparison.
        from copy import deepcopy

        try:
            result = function(deepcopy(case.model), case.images.clone(), case.targets.clone())
        except Exception as error:
            raise _WrongResult(f"it raises {type(error).__name__}: {' '.join(str(error).split())[:160]}") from None
    if not isinstance(result, Tensor) or result.ndim != 4 or len(result) != len(case.images):
        got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise _WrongResult(f"it returns {got}, expected a tensor (B={len(case.images)}, C, h, w)")
    return result.detach().float()


def close(case: Case, found: Tensor, expected: Tensor) -> bool:
    """Equal up to rounding: element by element on the small networks, by relative L2 on a real one."""
    if found.shape != expected.shape or bool(torch.isnan(found).any()):
        return False
    if not case.exact:
        return bool((relative_l2(found, expected) <= case.tolerance).all())
    room = case.tolerance * (expected.abs() + 0.1 * expected.abs().flatten(1).amax(1).view(-1, 1, 1, 1))
    return bool(((found - expected).abs() <= room).all())


def _finding(case: Case, found: Tensor, expected: Tensor) -> Finding:
    if found.shape != expected.shape:
        return Finding(
            case.name, False, False, f"its shape is {tuple(found.shape)}, the reference's {tuple(expected.shape)}"
        )
    apart = float(relative_l2(found, expected).max())
    if torch.equal(found, expected):
        return Finding(case.name, True, True, "equal to the bit")
    if close(case, found, expected):
        return Finding(case.name, True, False, f"equal up to rounding (relative L2 {apart:.1e})")
    place = int((found - expected).abs().flatten(1).amax(1).argmax())
    gap = (found - expected)[place].abs()
    channel, row, column = (int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    where = f"image {place}, channel {channel}, row {row}, column {column}"
    return Finding(case.name, False, False, f"relative L2 {apart:.2g}, largest gap {float(gap.max()):.2g} at {where}")


def _explain(
    reference: Reference, cases: Sequence[Case], found: Sequence[Tensor], expected: Sequence[Tensor]
) -> str | None:
    """The first hypothesis under which the result is right on every network."""
    ratios = [dict(relations(f, e)) for f, e in zip(found, expected, strict=True)]
    for text in dict.fromkeys(name for one in ratios for name in one):
        if (
            text.startswith("equal up to")
            and all(
                close(c, f, e) or (text in one and close(c, *one[text]))
                for c, f, e, one in zip(cases, found, expected, ratios, strict=True)
            )
            and not _specific(text, reference, cases, found)
        ):
            return text + _how_much(text, cases, found, expected)
    for source in (definitions, circumstances):
        made = [dict(source(reference, case)) for case in cases]
        for text in dict.fromkeys(name for one in made for name in one):
            if all(_explains(one.get(text), c, f) for c, f, one in zip(cases, found, made, strict=True)):
                return _worded(text, cases)
    for text in dict.fromkeys(name for one in ratios for name in one):
        if all(
            close(c, f, e) or (text in one and close(c, *one[text]))
            for c, f, e, one in zip(cases, found, expected, ratios, strict=True)
        ):
            return text + _how_much(text, cases, found, expected)
    if _looks_half(found):
        return "computes in half precision"
    return None


def _specific(text: str, reference: Reference, cases: Sequence[Case], found: Sequence[Tensor]) -> bool:
    """Whether a definition explains more than "up to a ReLU" or "up to the absolute value" does."""
    if text not in ("equal up to a ReLU", "equal up to the absolute value"):
        return False
    made = [dict(definitions(reference, case)) for case in cases]
    return any(
        all(_explains(one.get(name), c, f) for c, f, one in zip(cases, found, made, strict=True))
        for name in dict.fromkeys(n for one in made for n in one)
    )


def _explains(make: Callable[[], Tensor] | None, case: Case, found: Tensor) -> bool:
    candidate = attempt(make) if make is not None else None
    if candidate is None:
        return False
    return close(case, found, candidate.float())


def _looks_half(found: Sequence[Tensor]) -> bool:
    return all(torch.equal(f, f.half().float()) or torch.equal(f, f.bfloat16().float()) for f in found)


def _worded(text: str, cases: Sequence[Case]) -> str:
    if not text.startswith("takes the wrong layer"):
        return text
    role = int(text.rpartition(" ")[2].rstrip(")"))
    names = ", ".join(f"{c.other_layers[role]} on {c.name}" for c in cases[:2] if role < len(c.other_layers))
    return f"takes the wrong layer ({names})"


def _how_much(text: str, cases: Sequence[Case], found: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    if text != "equal up to the scale":
        return ""
    scales = [float((f * e).sum() / e.square().sum()) for f, e in zip(found, expected, strict=True)]
    return f" ({scales[0]:.4g} on {cases[0].name})"


def _behaviour(function: Function, cases: Sequence[Case]) -> list[str]:
    defects: list[str] = []
    for case in cases:
        if not case.exact:
            continue
        checks: list[Callable[[], str]] = [
            lambda c=case: behaviour.couples_batch(function, c, lambda a, b: close(c, a, b)),  # type: ignore[misc]
            lambda c=case: behaviour.leaks(function, c),  # type: ignore[misc]
            lambda c=case: behaviour.fails_without_grad(function, c),  # type: ignore[misc]
            lambda c=case: behaviour.state_changes(function, c),  # type: ignore[misc]
        ]
        for check in checks:
            kept = {k: v.clone() for k, v in case.model.state_dict().items()}
            said = check()
            case.model.load_state_dict(kept)
            case.model.eval()
            if said and said.partition(":")[0] not in {d.partition(":")[0] for d in defects}:
                defects.append(said)
    return defects


def _notes(
    reference: Reference, cases: Sequence[Case], found: Sequence[Tensor], findings: Sequence[Finding]
) -> list[str]:
    """Where the reference itself is known to part from the definition."""
    notes = []
    for case, result, finding in zip(cases, found, findings, strict=True):
        if finding.equal or not reference.name.startswith("captum:"):
            continue
        own = own_twin(reference, case)
        if own is not None and close(case, result, own):
            notes.append(f"on {case.name} it equals suite:{reference.twin}, which follows the definition; Captum parts")
    return notes
