"""Imports everything once, then forks a child a line of stdin: a real process to kill, without seconds of imports.

A line is JSON: `words` of the command line, whether to make the `report` of a run, `cwd`, `env`, and `log`, a file that
gets a line for each item begun. Answers with the child's id and, told to wait, with its wait status.
"""

import importlib.util
import json
import os
import resource
import signal
import sys
from typing import Any

import suite.cli
import suite.report
from suite.config import RunConfig
from suite.registry import STUDIES, study_part
from suite.run.bench import Bench
from suite.run.runner import methods_of
from suite.training.fit import _pictures

methods_of(RunConfig())
for study in STUDIES:
    study_part(study, "study:STUDY")
_pictures("digits", "")


def child(order: dict[str, Any]) -> None:
    os.environ |= order["env"]
    if "SUITE_FILE_LIMIT" in os.environ:  # as a disk that is full, for files of more bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["SUITE_FILE_LIMIT"]),) * 2)
    out = os.open(order["log"] + ".out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    step = Bench.predict_step

    def logged(self: Bench, batch: Any, *more: Any) -> Any:
        if batch.item is not None:
            with open(order["log"], "a") as log:  # noqa: PTH123
                log.write(f"{batch.item}\n")
        return step(self, batch, *more)

    Bench.predict_step = logged  # type: ignore[method-assign]
    if not order["report"]:
        suite.cli._close = lambda *_, **more: int(more["interrupted"])
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("suite.__main__")  # what Lightning starts again
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell in the background ignores
    os.chdir(order["cwd"])
    sys.argv = ["suite", *order["words"]]
    suite.cli.main()


for line in sys.stdin:
    pid = os.fork()
    if not pid:
        code = 70
        try:
            child(json.loads(line))
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(pid, flush=True)
    sys.stdin.readline()  # told to wait: until then nobody else gets the id
    print(os.waitpid(pid, 0)[1], flush=True)
