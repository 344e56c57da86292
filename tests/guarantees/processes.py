"""Processes that are forked from one that has imported everything: they start in milliseconds, and may be killed."""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.guarantees.world import WORK, World

from likewise import backends
from likewise.testing.moto_process import CREDENTIALS

ROOT = Path(__file__).parents[2]


class Forks:
    """Starts work of :mod:`tests.guarantees.world` in processes of their own; use it in a ``with`` block."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT), *sys.path])
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.guarantees.processes"],
            env={**os.environ, **CREDENTIALS, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _ask(self, **asked: Any) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(asked).encode() + b"\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def start(self, work: str, world: World, **given: Any) -> int:
        """Start some work; return the number of its process."""
        return self._ask(work=work, world=world.plain(), given=given)

    def wait(self, process: int) -> int:
        """Wait for a process; return its exit code, which is negative for a signal."""
        return os.waitstatus_to_exitcode(self._ask(wait=process))

    def run(self, work: str, world: World, **given: Any) -> int:
        """Do some work; return its exit code."""
        return self.wait(self.start(work, world, **given))

    def run_killed(self, work: str, world: World, after: float, **given: Any) -> int:
        """Do some work, and kill its process some seconds after its start; return its exit code."""
        process = self.start(work, world, **given)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):  # whoever has ended stays known until it is waited for
            os.kill(process, signal.SIGKILL)
        return self.wait(process)

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.kill()
        self._parent.wait()
        self._parent.stdout.close()


def serve() -> None:
    """Fork a process for each line that asks for work, and answer its number; wait for one where that is asked."""
    for backend in (*backends.OFFLINE.values(), *backends.ONLINE.values(), *backends.REGISTRIES.values()):
        with contextlib.suppress(ImportError):  # whoever asks for one that is missing here is told so
            importlib.import_module(backend.module)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if "wait" in asked:
            answers.write(b"%d\n" % os.waitpid(asked["wait"], 0)[1])
            continue
        child = os.fork()
        if child == 0:
            _work(asked)
        answers.write(b"%d\n" % child)


def _work(asked: dict[str, Any]) -> None:
    code = 1
    try:
        WORK[asked["work"]](World(**asked["world"]), **asked["given"])
        code = 0
    except BaseException:  # noqa: BLE001 - the surface of the process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
