"""A real MariaDB or MySQL server of its own for a test or a benchmark: started on this machine, gone when closed."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Sequence

from likewise.testing.server_process import ServerProcess, find_program

__all__ = ["MySQLProcess", "mysql_program"]

_CURE = "install MariaDB or MySQL (Debian: apt-get install mariadb-server)"
_FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin")


def mysql_program() -> str:
    """Return the path of the server's program.

    Raises:
        ServerMissing: there is none.
    """
    return find_program("mysqld", _FOLDERS, _CURE)


class MySQLProcess(ServerProcess):
    """A MariaDB or MySQL server that never waits for the disk; root needs no password.

    Args:
        port: a loopback port to listen at as well; 0 for the socket alone.
        settings: more of the server's options, such as ``["--max-allowed-packet=1M"]``.
    """

    user = "root"

    def __init__(self, port: int = 0, settings: Sequence[str] = ()) -> None:
        self._program = mysql_program()
        said = subprocess.run([self._program, "--version"], capture_output=True, text=True, timeout=20, check=True)
        self.is_mariadb = "MariaDB" in said.stdout
        self._settings = settings
        super().__init__(port)

    @property
    def host(self) -> str:
        """The path of its socket."""
        return str(self.folder / "mysql.sock")

    def _installation(self) -> Sequence[str]:
        where = ["--no-defaults", f"--datadir={self.folder}/data", *_SMALL]
        if not self.is_mariadb:
            return [self._program, *where, "--initialize-insecure"]
        install = find_program("mariadb-install-db", ("/usr/bin", "/usr/local/bin"), _CURE)
        return [install, *where, "--auth-root-authentication-method=normal", "--skip-name-resolve"]

    def _command(self) -> Sequence[str]:
        listening = [f"--port={self.port}", "--bind-address=127.0.0.1"] if self.port else ["--skip-networking"]
        return [
            *(self._program, "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.host}"),
            *(f"--pid-file={self.folder}/pid", "--skip-name-resolve", *listening, *_SMALL, *self._settings),
        ]

    def _answers(self) -> bool:
        """Tell whether the server greets."""
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.connect(self.host)
            return len(client.recv(5)) == 5
        return False


_SMALL = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--innodb-flush-method=nosync")
"""What keeps it quick and small."""
