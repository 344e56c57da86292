"""A real PostgreSQL server of its own for a test or a benchmark: started on this machine, and gone when closed."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from likewise.testing.server_process import ServerProcess, find_program

__all__ = ["PostgresProcess", "postgres_program"]

_CURE = "install PostgreSQL >= 12, or 'pip install pgserver'"
_DEBIAN = Path("/usr/lib/postgresql")


def postgres_program(name: str = "postgres") -> str:
    """Return the path of one of PostgreSQL's programs: the one in the package pgserver, else one on this machine.

    Args:
        name: what the program is called.

    Raises:
        ServerMissing: there is none.
    """
    found = importlib.util.find_spec("pgserver")
    packaged = [] if found is None else list(found.submodule_search_locations or ())
    bins = [Path(folder, "pginstall", "bin") for folder in packaged]
    for folder in bins:
        if (folder / name).is_file():
            return str(folder / name)
    return find_program(name, sorted(_DEBIAN.glob("*/bin"), reverse=True), _CURE)


class PostgresProcess(ServerProcess):
    """A PostgreSQL server that never waits for the disk; whoever is on this machine may log in as ``postgres``.

    Args:
        port: a loopback port to listen at as well; 0 for the socket alone.
        settings: more of the server's settings, such as ``{"work_mem": "1MB"}``.
    """

    ends_at: ClassVar[int] = 3  # SIGQUIT: it removes what it has in the system's memory
    user = "postgres"

    def __init__(self, port: int = 0, settings: dict[str, str] | None = None) -> None:
        kept = {"dynamic_shared_memory_type": "mmap", "max_connections": "150"}  # nothing outside of its folder
        self._settings = {"fsync": "off", "full_page_writes": "off", **kept, **(settings or {})}
        super().__init__(port)

    @property
    def host(self) -> str:
        """The folder of its socket."""
        return str(self.folder)

    @property
    def address(self) -> str:
        """Where it is, as libpq has it."""
        return f"host={self.host} port={self.port or 5432} user={self.user} dbname=postgres"

    def _installation(self) -> Sequence[str]:
        made = "--auth=trust --username=postgres --encoding=UTF8 --locale=C --no-sync"
        return [postgres_program("initdb"), "-D", str(self.folder / "data"), *made.split()]

    def _command(self) -> Sequence[str]:
        settings = {
            **self._settings,
            "unix_socket_directories": self.host,
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
        }
        said = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [postgres_program(), "-D", str(self.folder / "data"), *said]

    def _answers(self) -> bool:
        """Tell whether the server takes logins: it says so to a message of its protocol's version 3."""
        words = b"user\0postgres\0database\0postgres\0\0"
        hello = (len(words) + 8).to_bytes(4) + (3 << 16).to_bytes(4) + words
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.connect(f"{self.host}/.s.PGSQL.{self.port or 5432}")
            client.sendall(hello)
            return client.recv(1) == b"R"
        return False
