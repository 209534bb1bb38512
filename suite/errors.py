"""Errors that a user reads: one line that names the thing, what was expected, and what to do. No torch here."""

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class SuiteError(Exception):
    """Base of all errors shown as one line, without a traceback; whatever names it holds, it is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ConfigError(SuiteError):
    """The configuration or the command line is wrong; nothing was run."""


class DataError(SuiteError):
    """The images or labels asked for cannot be had."""


class NetworkError(SuiteError):
    """The network, its weights or one of its layers cannot be had."""


class ImageError(SuiteError):
    """One image cannot be used; it becomes a failed row and the run goes on."""


class NotApplicable(SuiteError):
    """What was asked for is undefined here; it becomes a not_applicable row with this reason."""


def as_suite_error(who: str, error: Exception) -> SuiteError:
    """An exception of somebody's code as one line that names its file and line; the suite's errors are unchanged."""
    if isinstance(error, SuiteError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    location = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return SuiteError(f"{who}: {type(error).__name__}: {' '.join(str(error).split())[:300]}{location}")


def unavailable(why: Exception) -> dict[str, str]:
    """Status and message of a missing result: not_applicable, or failed after an error."""
    return {"status": "not_applicable" if isinstance(why, NotApplicable) else "failed", "message": str(why)}


def one_line(error: BaseException, length: int = 160) -> str:
    """What an error says, on one line and cut at `length` characters."""
    return " ".join(str(error).split())[:length]


def did_you_mean(name: str, known: Iterable[str], *, shown: int = 3) -> str:
    """The nearest known names as the end of an error line, or "" where none is near."""
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    near = [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=shown, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
