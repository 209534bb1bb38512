"""Tests follow the code: a room of tests a room of the suite, and a test that imports each module of some size."""

import re
from pathlib import Path

import pytest
import tiny

SUITE, TESTS = tiny.ROOT / "suite", tiny.ROOT / "tests"
MODULES = [p for p in SUITE.rglob("*.py") if p.name != "__init__.py" and len(p.read_text().splitlines()) > 25]
SOURCES = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SUITE).as_posix())
def test_a_test_imports_the_module(path: Path) -> None:
    *parents, name = ("suite", *path.relative_to(SUITE).with_suffix("").parts)
    package = re.escape(".".join(parents))
    importing = re.compile(rf"\b{package}\.{name}\b|from {package} import [^\n]*\b{name}\b")
    assert any(importing.search(text) for text in SOURCES.values())


def test_rooms_of_tests_are_rooms_of_the_suite() -> None:
    rooms = {path.parent.name for path in SOURCES if path.parent != TESTS}
    assert rooms <= {path.name for path in SUITE.iterdir() if path.is_dir()}


def test_no_test_module_imports_another() -> None:
    importing = re.compile(r"^\s*(?:from|import) (?:tests\.\S+|test_\w+)", re.M)
    assert [path.name for path, text in SOURCES.items() if importing.search(text)] == []
