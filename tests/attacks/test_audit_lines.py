"""The audit's lines: each verdict at its limit, and one line for every number that the audit measures."""

from math import inf, nan, nextafter

import pytest

from suite.attacks.audit import Audit
from suite.attacks.audit_lines import LINES, SCOPE, Line


@pytest.mark.parametrize(("mild", "beyond"), [(True, "warn"), (False, "fail")])
def test_the_limit_itself_passes_and_what_is_beyond_warns_or_fails(mild, beyond) -> None:
    line = Line("title", "number", 0.05, "S", mild=mild)
    assert line.verdict(0.05) == line.verdict(-inf) == "pass"
    assert line.verdict(nextafter(0.05, 1)) == line.verdict(inf) == line.verdict(nan) == beyond


def test_titles_are_distinct_and_sources_are_named() -> None:
    assert len({line.title for line in LINES.values()}) == len(LINES)
    assert {source for line in LINES.values() for source in line.source.split(", ")} == {"C", "A", "I", "S"}
    assert "neither necessary nor sufficient" in " ".join(SCOPE.split())


def test_every_line_has_its_number_and_controls_are_named_so() -> None:
    measured = {name[1:] for name in vars(Audit) if name.startswith("_")}
    of_tables = {"iterated", "converged", "restarts", "noise", "losses"}  # variants of the attack
    faults = {"control_constant", "control_quantised", "control_saturated", "control_dropout"}
    assert set(LINES) <= measured | of_tables | faults
    assert {name for name in LINES if LINES[name].title.startswith("control:")} == {
        name for name in LINES if name.startswith("control_")
    }
