"""DynamoDB as moto emulates it, in a process of its own for a test or a benchmark: gone when it is closed."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
from collections.abc import Sequence
from typing import ClassVar

from likewise.testing.server_process import ServerMissing, ServerProcess

__all__ = ["CREDENTIALS", "MotoProcess"]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "emulated",
    "AWS_SECRET_ACCESS_KEY": "emulated",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "",
    "AWS_SHARED_CREDENTIALS_FILE": "",
}
"""What a process has in its environment to use the emulator: it takes any login, but there must be one."""

# Connections are kept, as AWS keeps them; moto's own program ends each after one request.
_PROGRAM = """
import sys
from pathlib import Path
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, *_):
        pass

port = int(sys.argv[1])
server = make_server("127.0.0.1", port, create_backend_app("dynamodb"), threaded=True, request_handler=Handler)
Path("port.new").write_text(str(server.port))
Path("port.new").rename("port")
server.serve_forever()
"""


class MotoProcess(ServerProcess):
    """A server on a loopback port that speaks like DynamoDB; what it holds is in its memory.

    Args:
        port: the port; 0 for any that is free.

    Raises:
        ServerMissing: moto is not installed.
    """

    as_nobody: ClassVar[bool] = False

    def __init__(self, port: int = 0) -> None:
        for name in ("moto", "flask"):
            if importlib.util.find_spec(name) is None:
                raise ServerMissing("there is no moto, which emulates DynamoDB", cure="pip install 'moto[server]'")
        super().__init__(port)

    @property
    def address(self) -> str:
        """Where it is, as ``endpoint_url`` has it."""
        return f"http://127.0.0.1:{self.port}"

    def _installation(self) -> Sequence[str]:
        return [sys.executable, "-c", ""]

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-c", _PROGRAM, str(self.port)]

    def _answers(self) -> bool:
        said = self.folder / "port"
        if not said.exists():
            return False
        self.port = int(said.read_text())
        with socket.socket() as client, contextlib.suppress(OSError):
            client.settimeout(1)
            client.connect(("127.0.0.1", self.port))
            return True
        return False
