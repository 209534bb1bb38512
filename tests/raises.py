"""Errors that a user reads: one line, of the right kind."""

from collections.abc import Callable

import pytest

from suite.errors import SuiteError


def one_line(run: Callable[[], object], said: str, kind: type[Exception] = SuiteError) -> str:
    """The message of what `run` raises, which matches `said` and is one line."""
    with pytest.raises(kind, match=said) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)
