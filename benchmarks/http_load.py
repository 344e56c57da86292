"""Servers in processes of their own, and what asks them: wrk where it is on PATH, a client of ours where it is not.

Part of `benchmarks/serve.py`. `python -m benchmarks.http_load PORT FILE` asks one request again and again, one at a
time, until it is ended: the other work beside which a server is measured.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATH = "/get-online-features"
CONNECTIONS = 16
WRK = shutil.which("wrk")
CLIENT = "wrk" if WRK else "a client of ours"
"""What asks as fast as answers come."""


class Server:
    """A server in a process of its own.

    Args:
        command: starts it.
        cwd: the folder it runs in.
        port: where it listens; None: it prints a JSON object that says so.
        ready: for how many seconds to wait for a server that does not say so.
    """

    def __init__(self, command: list[str], cwd: Path, port: int | None = None, ready: float = 60.0) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        out = subprocess.PIPE if port is None else subprocess.DEVNULL
        errors = None if port is None else subprocess.DEVNULL
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=errors, text=True)
        self.port = self._told() if port is None else self._answers(port, ready)

    def _told(self) -> int:
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        return int(text.partition("127.0.0.1:")[2].partition('"')[0])

    def _answers(self, port: int, seconds: float) -> int:
        end = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.close()
                    raise SystemExit(f"{self.process.args!r} does not answer") from None
                time.sleep(0.2)
            else:
                return port

    def cpu(self) -> float:
        """Return the processor time it took so far, in seconds; 0 where the system does not tell."""
        file = Path(f"/proc/{self.process.pid}/stat")
        if not file.exists():
            return 0.0
        fields = file.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return the memory it holds; 0 where the system does not tell."""
        file = Path(f"/proc/{self.process.pid}/statm")
        return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if file.exists() else 0.0

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(command: list[str], cwd: Path, port: int | None = None) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(command, cwd, port)
    try:
        yield server
    finally:
        server.close()


def fastest(server: Server, bodies: list[bytes], seconds: float) -> tuple[float, int]:
    """Ask as fast as answers come; return requests a second, and how many there were."""
    if WRK is None:
        rate, took = ask(server, bodies, seconds)
        return rate, len(took)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(bodies))
        script.flush()
        address = f"http://127.0.0.1:{server.port}"
        command = [WRK, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", script.name, address]
        said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found = re.search(r"(?P<count>\d+) requests in .*Requests/sec:\s+(?P<rate>[\d.]+)", said, re.DOTALL)
    broken = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))  # Feast's server drops a few
    if found is None or "Non-2xx" in said or broken > int(found["count"]) / 100:
        raise SystemExit(said)
    return float(found["rate"]), int(found["count"])


def _script(bodies: list[bytes]) -> str:
    texts = ",\n".join(f"[==[{body.decode()}]==]" for body in bodies)
    return (
        f"local bodies = {{{texts}}}\nlocal made, at = {{}}, 0\n"
        "function init(args)\n  for i, body in ipairs(bodies) do\n"
        f'    made[i] = wrk.format("POST", "{PATH}", {{["Content-Type"] = "application/json"}}, body)\n  end\nend\n'
        "function request()\n  at = at % #made + 1\n  return made[at]\nend\n"
    )


def ask(server: Server, bodies: list[bytes], seconds: float, rate: float = 0.0) -> tuple[float, list[float]]:
    """Ask as fast as answers come, or at a rate; return requests a second, and how long each took.

    At a rate, the time of each counts from when it was due, so a server that stands still makes all that wait for it
    slow, not just one.
    """
    asked = [raw(body) for body in bodies]
    selector, took = selectors.DefaultSelector(), []
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CONNECTIONS)]
    due: dict[socket.socket, float] = {}
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
    idle, sent = list(clients), 0
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        while idle and (not rate or began + sent / rate <= now):
            client = idle.pop()
            client.sendall(asked[sent % len(asked)])
            due[client] = began + sent / rate if rate else now
            sent += 1
        ready = selector.select(0 if rate else 1)
        for key, _ in ready:
            client = key.fileobj
            assert isinstance(client, socket.socket)
            read_answer(client)
            took.append(time.perf_counter() - due[client])
            idle.append(client)
        if rate and not ready:
            time.sleep(0.00005)
    for client in clients:
        client.close()
    return len(took) / (time.perf_counter() - began), took


def slowest(took: list[float]) -> float:
    """Return what one in a hundred took at least, in milliseconds."""
    return sorted(took)[-max(1, len(took) // 100)] * 1e3


def raw(body: bytes) -> bytes:
    """Return a request as the bytes that are sent."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def read_answer(client: socket.socket) -> bytes:
    """Read one answer; it must be good."""
    data = client.recv(1 << 18)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), data[:500]
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    parts, left = [body], length - len(body)
    while left:
        parts.append(client.recv(1 << 18))
        left -= len(parts[-1])
    return b"".join(parts)


def first_answer(server: Server, body: bytes) -> dict[str, Any]:
    """Return the answer of one request."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(raw(body))
        found: dict[str, Any] = json.loads(read_answer(client))
        return found


@contextmanager
def beside(server: Server, body: bytes) -> Iterator[None]:
    """Have one request asked again and again by another process, for a while."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.http_load", str(server.port), file.name]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()  # the first answer was read
            yield
            assert process.poll() is None, "the other work ended"
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def main() -> None:
    """Ask one request again and again."""
    port, file = sys.argv[1:]
    request = raw(Path(file).read_bytes())
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        while True:
            client.sendall(request)
            read_answer(client)
            print("answered", flush=True)


if __name__ == "__main__":
    main()
