"""run.json, and the lock that keeps two runs out of one directory. Plain dicts in and out; no torch."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from suite.core.atomic import write_bytes
from suite.errors import SuiteError
from suite.results.schema import READ_BY, VERSION

FILE_NAME = "run.json"


def write_manifest(run_dir: Path | str, manifest: dict[str, Any]) -> None:
    """Writes run.json atomically as strict JSON, with the version of the rows' schema.

    Raises:
        ValueError: A number is NaN or infinite (strict JSON has neither).
    """
    text = json.dumps(manifest | {"schema": VERSION}, indent=2, allow_nan=False)
    write_bytes(Path(run_dir) / FILE_NAME, (text + "\n").encode())


def read_manifest(run_dir: Path | str) -> dict[str, Any]:
    """The content of run.json.

    Raises:
        SuiteError: There is none, it is not one strict JSON object, or its rows are of another schema.
    """
    path = Path(run_dir) / FILE_NAME
    if not path.is_file():
        raise SuiteError(f"{path} does not exist; expected a run directory, as `suite run` leaves it")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise SuiteError(f"{path} is not strict JSON ({error}); delete it and run again") from error
    if not isinstance(manifest, dict):
        raise SuiteError(f"{path} holds a {type(manifest).__name__}; expected one JSON object")
    if (schema := manifest.get("schema", 1)) != VERSION:
        reader = f"saliency-suite {READ_BY[schema]}" if schema in READ_BY else "a newer release"
        raise SuiteError(f"{path}: its rows are of schema {schema}, this release reads {VERSION}; {reader} reads it")
    return manifest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class RunLock:
    """Held by the one process that writes to a run directory; the kernel lets go of it when that process dies.

    Raises:
        SuiteError: On entering, when another run holds it or the directory cannot be written.
    """

    def __init__(self, run_dir: Path | str) -> None:
        self._run_dir = Path(run_dir)
        self._lock = FileLock(self._run_dir / ".lock", timeout=0)

    def __enter__(self) -> "RunLock":
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise SuiteError(
                f"another run is at work in {self._run_dir}; wait for it to end, or give this one its own --run-dir"
            ) from error
        except OSError as error:
            raise SuiteError(
                f"{self._run_dir} cannot be written ({error.strerror or error}); give another --run-dir"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
