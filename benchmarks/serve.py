"""The feature server: requests a second of one worker, beside the same answer written by hand, in one run.

`python -m benchmarks.serve [--keys 100000] [--seconds 3] [--smoke]` starts `likewise serve`, and a bare Starlette route
that answers the same JSON by hand (raw LMDB gets in one transaction, msgpack, one JSON dump) from the same records.
Both run under uvicorn, one worker each, and are asked in turns on 16 connections for 10 features of 1 and of 100
entities. Beside requests a second it prints the server's processor time of a request, which other work on the machine
disturbs less, and the slowest in a hundred at half of the load.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lmdb
import msgspec
from benchmarks.sdk import NAMES, open_store, raw_copy, write_source

from likewise.core.keys import KeyCodec
from likewise.core.types import Int64

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONNECTIONS = 16


def by_hand(folder: str) -> None:
    """Serve the same answer from a bare route, on the port that the first line says."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    raw = lmdb.open(folder, map_size=1 << 33)
    encode = KeyCodec([Int64], ["user_id"]).encode
    decode, span = msgspec.msgpack.Decoder().decode, timedelta
    header = {"feature_names": ["user_id", *NAMES]}

    async def answer(request: Request) -> Response:
        asked = msgspec.json.decode(await request.body())
        users = asked["entities"]["user_id"]
        with raw.begin() as transaction:
            records = [decode(record) for record in map(transaction.get, encode([users]))]
        at = [EPOCH + span(0, 0, record[2] - (1 << 63)) for record in records]
        there, none = ["PRESENT"] * len(users), ["1970-01-01T00:00:00Z"] * len(users)
        results = [{"values": users, "statuses": there, "event_timestamps": none}]
        for column in list(zip(*records, strict=True))[4:-1]:
            results.append({"values": column, "statuses": there, "event_timestamps": at})
        return Response(msgspec.json.encode({"metadata": header, "results": results}), media_type="application/json")

    app = Starlette(routes=[Route("/get-online-features", answer, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(json.dumps({"address": f"http://127.0.0.1:{listener.getsockname()[1]}"}), "}", sep="\n", flush=True)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


class Server:
    """A server in a process of its own."""

    def __init__(self, command: list[str], cwd: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        self.port = int(text.partition("127.0.0.1:")[2].partition('"')[0])

    def cpu(self) -> float:
        """Return the processor time it took so far, in seconds; 0 where the system does not tell."""
        file = Path(f"/proc/{self.process.pid}/stat")
        if not file.exists():
            return 0.0
        fields = file.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(command: list[str], cwd: Path) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(command, cwd)
    try:
        yield server
    finally:
        server.close()


def requests(keys: int, entities: int) -> list[bytes]:
    """Return requests for random keys, as bytes."""
    rng = random.Random(5)
    made = []
    for _ in range(200):
        users = rng.sample(range(keys), min(entities, keys))
        body = json.dumps({"features": [f"users:{name}" for name in NAMES], "entities": {"user_id": users}}).encode()
        head = "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        made.append(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return made


def load(server: Server, asked: list[bytes], seconds: float, rate: float = 0.0) -> tuple[float, list[float]]:
    """Ask as fast as answers come, or at a rate; return requests a second, and how long each took."""
    selector, took, done = selectors.DefaultSelector(), [], 0
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CONNECTIONS)]
    sent: dict[socket.socket, float] = {}
    idle = list(clients)
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
    began = time.perf_counter()
    asking = 0
    while (now := time.perf_counter()) < began + seconds:
        while idle and (not rate or asking < (now - began) * rate):
            client = idle.pop()
            client.sendall(asked[asking % len(asked)])
            sent[client] = now
            asking += 1
        for key, _ in selector.select(0.0005 if rate else 1):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            read_answer(client)
            took.append(time.perf_counter() - sent[client])
            done += 1
            idle.append(client)
    for client in clients:
        client.close()
    return done / (time.perf_counter() - began), took


def read_answer(client: socket.socket) -> bytes:
    """Read one answer; it must be good."""
    data = client.recv(1 << 18)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), data[:500]
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(1 << 18)
    return body


def first_answer(server: Server, asked: list[bytes]) -> list[dict[str, list[object]]]:
    """Return the results of the first request."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(asked[0])
        found: list[dict[str, list[object]]] = json.loads(read_answer(client))["results"]
        return found


def same(ours: list[dict[str, list[object]]], hand: list[dict[str, list[object]]]) -> bool:
    """Tell whether two answers say the same; the times are written in two ways."""
    for one in (*ours, *hand):
        one["event_timestamps"] = [datetime.fromisoformat(str(at)) for at in one["event_timestamps"]]
    return ours == hand


def compare(ours: Server, hand: Server, asked: list[bytes], entities: int, seconds: float, rounds: int) -> None:
    """Print both servers' figures."""
    assert same(first_answer(ours, asked), first_answer(hand, asked)), "the answers differ"
    rates: dict[str, list[float]] = {"ours": [], "by hand": []}
    spent: dict[str, list[float]] = {"ours": [], "by hand": []}
    for _ in range(rounds):
        for name, server in (("ours", ours), ("by hand", hand)):
            before = server.cpu()
            rate, took = load(server, asked, seconds)
            rates[name].append(rate)
            spent[name].append((server.cpu() - before) / len(took) * 1e6)
    rate = {name: statistics.median(found) for name, found in rates.items()}
    cpu = {name: statistics.median(found) for name, found in spent.items()}
    _, took = load(ours, asked, seconds, rate["ours"] / 2)
    slow = statistics.quantiles(took, n=100)[98] * 1e3 if len(took) > 100 else max(took) * 1e3
    share = cpu["by hand"] / cpu["ours"] if cpu["ours"] else 0.0
    cells = f"{rate['ours']:>10,.0f}{rate['by hand']:>10,.0f}{rate['ours'] / rate['by hand']:>8.2f}x"
    times = f"{cpu['ours']:>10.0f}{cpu['by hand']:>10.0f}{share:>8.2f}x"
    print(f"{f'{entities} entities':<14}{cells}{times}{slow:>10.1f} ms")


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--by-hand", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.by_hand:
        by_hand(given.by_hand)
        return
    keys, seconds, rounds = (2_000, 0.2, 1) if given.smoke else (given.keys, given.seconds, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        now = time.time_ns() // 1000
        write_source(folder / "source.parquet", keys, now)
        (folder / "feature_store.yaml").write_text(
            "project: bench\nregistry: registry.db\nonline_store: {type: lmdb, path: online}\n"
        )
        with open_store(folder) as store:
            store.materialize(now - 86_400_000_000, now)
            raw_copy(store, folder, keys).close()
        serve = [sys.executable, "-m", "likewise", "--output", "json", "serve", "--port", "0"]
        hand = [sys.executable, "-m", "benchmarks.serve", "--by-hand", str(folder / "raw")]
        with running(serve, folder) as one, running(hand, folder) as other:
            heads = f"{'ours/s':>10}{'by hand/s':>10}{'ratio':>9}{'ours us':>10}{'by hand':>10}{'ratio':>9}"
            print(f"{'10 features':<14}{heads}{'p99 at half':>13}")
            for entities in (1, 100):
                compare(one, other, requests(keys, entities), entities, seconds, rounds)


if __name__ == "__main__":
    main()
