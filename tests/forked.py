"""Processes of `tests/zygote.py`: started, watched, killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny


class Child:
    """One process of the suite; `log` has a line an item begun, `said` is what it wrote to stdout and stderr."""

    def __init__(self, zygote: "Zygote", **order: Any) -> None:
        self.log = Path(order["log"])
        self._zygote = zygote
        self._status: int | None = None
        zygote.tell(json.dumps(order))
        self.pid = int(zygote.answer())

    @property
    def begun(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def said(self) -> str:
        return Path(f"{self.log}.out").read_text()

    def until(self, condition: Callable[[], bool]) -> bool:
        """Waits for it; false where the process ended first."""
        while not condition():
            if not Path(f"/proc/{self.pid}/cmdline").exists() or not Path(f"/proc/{self.pid}/cmdline").read_bytes():
                return False
            time.sleep(0.01)
        return True

    def send(self, number: int) -> None:
        os.kill(self.pid, number)  # where it has ended, its id is still its own: only `code` waits for it

    def code(self) -> int:
        """Waits for the end; minus the signal's number where one ended it."""
        if self._status is None:
            self._zygote.tell("wait")
            self._status = int(self._zygote.answer())
        return os.waitstatus_to_exitcode(self._status)


class Zygote:
    """Forks one child at a time."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, str(tiny.ROOT / "tests" / "zygote.py")]
        env = tiny.environment() | {"SUITE_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            words, env=env, cwd=tiny.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.cache, self._folder, self._count = folder / "cache", folder, 0

    def start(self, *words: object, cwd: Path | None = None, report: bool = True, **env: str) -> Child:
        """`suite WORDS`; without its report a run ends sooner."""
        self._count += 1
        log, where = str(self._folder / f"{self._count}.log"), str(cwd or self._folder)
        return Child(self, words=[str(w) for w in words], report=report, env=env, cwd=where, log=log)

    def rows(self, path: Path, run_dir: Path, *overrides: str, **env: str) -> Child:
        """A run without its report."""
        return self.start("run", path, *overrides, "--run-dir", run_dir, report=False, **env)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote is gone"
        return line

    def close(self) -> None:
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote"))
    yield made
    made.close()
