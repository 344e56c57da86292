"""The feature server on Redis: requests a second, small reads beside bulk ones, and what a frozen store costs.

`python -m benchmarks.serve_redis [--keys 50000] [--seconds 3] [--smoke]` starts a Redis server, and `likewise serve`
on it with one worker. It prints requests a second and processor time for 10 features of 1 and of 100 entities; the
slowest in a hundred of small reads at a quarter of that load, alone and beside one client that asks for 10,000 entities
again and again (T27); and, with the store frozen under load and requests that give it 200 ms, how late the last reply
came, how many waited, and how soon all was well again (T13).
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.http_load import PATH, Server, ask, beside, fastest, running, slowest
from benchmarks.redis import open_store
from benchmarks.sdk import NAMES, write_source

from likewise.testing.redis_process import RedisProcess

BULK = 10_000
CLIENTS = 12
DEADLINE = 0.2


def bodies(keys: int, entities: int, count: int = 200) -> list[bytes]:
    """Return requests for random keys."""
    draw = random.Random(5)
    asked = [draw.sample(range(keys), min(entities, keys)) for _ in range(count)]
    features = [f"users:{name}" for name in NAMES]
    return [json.dumps({"features": features, "entities": {"user_id": users}}).encode() for users in asked]


def rates(server: Server, keys: int, seconds: float) -> float:
    """Print requests a second; return those for one entity."""
    first = 0.0
    for entities in (1, 100):
        before = server.cpu()
        rate, count = fastest(server, bodies(keys, entities), seconds)
        cpu = (server.cpu() - before) / max(count, 1) * 1e6
        print(f"{f'{entities} entities x 10 features':<32}{rate:>10,.0f} requests/s{cpu:>10.0f} us of processor each")
        first = first or rate
    return first


def beside_bulk(server: Server, keys: int, rate: float, seconds: float) -> None:
    """Print how slow small reads are, alone and beside large ones."""
    _, alone = ask(server, bodies(keys, 1), seconds, rate)
    with beside(server, bodies(keys, BULK, 1)[0]):
        _, together = ask(server, bodies(keys, 1), seconds, rate)
    print(
        f"{f'1 entity at {rate:,.0f}/s, p99':<32}{slowest(alone):>10.1f} ms alone"
        f"{slowest(together):>10.1f} ms beside reads of {min(BULK, keys):,} entities"
    )


class Clients:
    """Ask on connections of their own, and note how long each answer took, and what it was."""

    def __init__(self, server: Server, body: bytes) -> None:
        self.told: list[tuple[float, float, str]] = []
        self._server, self._body = server, body
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        headers = {"content-type": "application/json", "x-request-deadline-ms": f"{DEADLINE * 1000:.0f}"}
        while not self._end.is_set():
            at = time.monotonic()
            connection.request("POST", PATH, self._body, headers)
            reply = connection.getresponse()
            said = reply.read()
            code = "" if reply.status == 200 else str(json.loads(said)["code"])
            self.told.append((at, time.monotonic() - at, code))
            if code:
                time.sleep(0.005)
        connection.close()

    def close(self) -> None:
        """End them."""
        self._end.set()
        for thread in self._threads:
            thread.join()


def frozen(server: Server, store: RedisProcess, keys: int, seconds: float) -> None:
    """Print what becomes of requests while the store is frozen, and after."""
    clients = Clients(server, bodies(keys, 1, 1)[0])
    time.sleep(0.5)
    begin = time.monotonic()
    store.freeze()
    time.sleep(seconds)
    end = time.monotonic()
    store.thaw()
    while not any(at > end and not code for at, _, code in list(clients.told)):
        time.sleep(0.005)
    well = time.monotonic() - end
    clients.close()
    during = [(took, code) for at, took, code in clients.told if begin <= at < end]
    waited = [took for took, code in during if code != "store_shunned"]
    late = max((took for took, _ in during), default=0.0) - DEADLINE
    print(
        f"{f'frozen for {seconds:g} s, {CLIENTS} clients':<32}{len(waited):>10,} of {len(during):,} replies waited"
        f"{late * 1e3:>10.0f} ms after its deadline came the last{well:>10.2f} s until well"
    )


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    given = parser.parse_args(argv)
    keys, seconds = (2_000, 0.5) if given.smoke else (given.keys, given.seconds)
    with tempfile.TemporaryDirectory() as name, RedisProcess(name) as store:
        folder, now = Path(name), time.time_ns() // 1000
        write_source(folder / "source.parquet", keys, now)
        with open_store(folder, store.address) as features:
            features.materialize(now - 86_400_000_000, now)
        online = f"{{type: redis, connection_string: '{store.address}'}}"
        (folder / "feature_store.yaml").write_text(
            f"project: bench\nregistry: registry.db\nonline_store: {online}\n", encoding="utf-8"
        )
        command = [sys.executable, "-m", "likewise", "--output", "json", "serve", "--port", "0"]
        with running(command, folder) as server:
            rate = rates(server, keys, seconds)
            beside_bulk(server, keys, rate / 4, seconds)
            frozen(server, store, keys, max(seconds, 1.0))


if __name__ == "__main__":
    main()
