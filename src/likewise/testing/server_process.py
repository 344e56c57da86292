"""A real server as a process of its own for tests and benchmarks: bounded in time, and gone when it is closed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from likewise.core.errors import BackendMissing, StoreUnavailable

if sys.platform != "win32":
    import pwd

__all__ = ["ServerMissing", "ServerProcess", "find_program"]

_SECONDS = 60.0
_IN_MEMORY = "/dev/shm"
_ROOM = 1 << 30
"""How many bytes a folder in memory must have left."""


class ServerMissing(BackendMissing):
    """A server's program is not on this machine."""


class ServerProcess(ABC):
    """A server with a new folder of its own, on a socket in it.

    Args:
        port: a loopback port to listen at as well; 0 for the socket alone.
    """

    ends_at: ClassVar[int] = 9
    """The number of the signal that ends it at once: SIGKILL."""
    as_nobody: ClassVar[bool] = True
    """Whether it runs as somebody without rights where root starts it: database servers refuse to be root."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="likewise-", dir=_quick_folder()))
        self._user = _plain_user() if self.as_nobody else None
        try:
            if self._user is not None:
                os.chown(self.folder, self._user, -1)
            self.run(self._installation())
            self._process = self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def processes(self) -> list[int]:
        """The numbers of its processes, the first of which began the others."""
        return [self._process.pid, *_children(self._process.pid)]

    @abstractmethod
    def _installation(self) -> Sequence[str]:
        """Return the command that makes the files of an empty database."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command that starts the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether the server answers."""

    def run(self, command: Sequence[str]) -> None:
        """Run a program of the server's as the server's user.

        Raises:
            StoreUnavailable: it fails.
        """
        done = subprocess.run(
            command, user=self._user, cwd=self.folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise StoreUnavailable(f"{command[0]} fails: {done.stdout[-500:]}{done.stderr[-500:]}", cure="see above")

    def restart(self) -> None:
        """Kill the server and start it anew with what it had stored."""
        self.kill()
        self._process = self._start()

    def kill(self) -> None:
        """Kill the server, as a power cut would; its folder stays."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Stop the server and all of its processes as they are: they keep their connections and answer none."""
        self._signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # its threads stop one by one

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server at once, and remove its folder."""
        self.thaw()
        self._process.send_signal(self.ends_at)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        log = self.folder / "server.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command(),
                user=self._user,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        end = time.monotonic() + _SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                process.wait()
                raise StoreUnavailable(f"the server does not start: {log.read_text()[-800:]}", cure="see above")
            time.sleep(0.02)
        return process

    def _signal(self, number: int) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def _quick_folder() -> str | None:
    """Return a folder in memory, if there is one with some room: making a table on a disk takes forty times as long."""
    try:
        free = shutil.disk_usage(_IN_MEMORY).free
    except OSError:
        return None
    return _IN_MEMORY if free >= _ROOM and os.access(_IN_MEMORY, os.W_OK) else None


def _children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, timeout=10, check=False)
    return [int(line) for line in found.stdout.split()]


def _plain_user() -> int | None:
    """Return somebody without rights, for whoever is root; None for others."""
    return pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None


def find_program(name: str, folders: Sequence[str | os.PathLike[str]], cure: str) -> str:
    """Return the path of a program: one on PATH, else the first in some folders.

    Args:
        name: what it is called.
        folders: where else it may be.
        cure: what to do when there is none.

    Raises:
        ServerMissing: there is none.
    """
    if sys.platform == "win32":
        raise ServerMissing(f"no {name} is started on Windows, for it needs Unix' sockets and signals", cure=cure)
    found = shutil.which(name) or next(filter(None, (shutil.which(name, path=folder) for folder in folders)), None)
    if found is None:
        raise ServerMissing(f"there is no {name} on this machine", cure=cure)
    return str(Path(found).resolve())
