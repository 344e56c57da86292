"""A real feature server in a process of its own, on a free port of this machine, and a client without habits."""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOW = "2024-06-01T12:00:00Z"
STARTS_WITHIN = 60.0


@dataclass(frozen=True)
class Reply:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON has it."""
        return json.loads(self.body)


class Refused(Exception):
    """The server did not start; the text is what it printed."""


class ServerProcess:
    """Runs ``likewise serve``; use it in a ``with`` block, which ends it."""

    def __init__(self, repo: Path, *options: str, now: str = NOW) -> None:
        command = [sys.executable, "-m", "likewise", "--chdir", str(repo), "--output", "json", "serve", "--port", "0"]
        self.log = repo / "serve.log"
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"LIKEWISE_NOW": now},
            )
        self.told = self._told()
        self.port = int(self.told["address"].rpartition(":")[2])

    def _told(self) -> dict[str, Any]:
        """Return what it prints once it can be reached: one JSON object."""
        found: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: found.put(self._first_object()), daemon=True).start()
        try:
            text = found.get(timeout=STARTS_WITHIN)
        except queue.Empty:
            text = ""
        if not text:
            self.close()
            raise Refused(self.log.read_text())
        return dict(json.loads(text))

    def _first_object(self) -> str:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line.decode())
            if line.rstrip() == b"}":
                return "".join(lines)
        return ""

    def close(self) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, seconds: float = 30.0) -> http.client.HTTPConnection:
        """Return a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def raw(self, seconds: float = 30.0) -> socket.socket:
        """Return a connection for bytes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send one request as it is."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str) -> Reply:
        """Send a GET."""
        return self.ask("GET", path)

    def post(self, path: str, body: object) -> Reply:
        """Send JSON."""
        return self.ask("POST", path, json.dumps(body).encode(), content_type="application/json")

    def read(self, features: list[str], entities: dict[str, list[Any]], **more: Any) -> Reply:
        """Ask for features."""
        return self.post("/get-online-features", {"features": features, "entities": entities, **more})


def columns(reply: Reply) -> dict[str, list[Any]]:
    """Return the values of an answer by name."""
    assert reply.status == 200, reply.body
    names = reply.json["metadata"]["feature_names"]
    return {name: result["values"] for name, result in zip(names, reply.json["results"], strict=True)}


def problem(reply: Reply) -> tuple[int, str, str | None]:
    """Return a problem's status, code and pointer; check that it is one, and shows nothing of the server's inside."""
    told = reply.json
    assert reply.headers["content-type"] == "application/problem+json"
    assert told["status"] == reply.status
    assert told["type"] == f"urn:likewise:problem:{told['code']}"
    assert told["request_id"] == reply.headers["x-request-id"]
    assert told["title"]
    assert told["detail"]
    assert b"Traceback" not in reply.body
    assert b'File \\"' not in reply.body
    return reply.status, told["code"], told.get("pointer")
