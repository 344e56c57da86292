"""The feature server: requests a second of one worker, beside the same answer written by hand, in one run.

`python -m benchmarks.serve [--keys 100000] [--seconds 3] [--smoke]` starts `likewise serve`, and a bare Starlette route
that answers the same JSON by hand (raw LMDB gets in one transaction, msgpack, one JSON dump) from the same records.
Both run under uvicorn, one worker each, and are asked in turns on 16 connections for 10 features of 1 and of 100
entities. Beside requests a second it prints the server's processor time of a request, which other work on the machine
disturbs less, and the slowest in a hundred at half of the load.

Then: three views and two on-demand views in one service, beside one view of as many features; and how long requests
of one entity take while requests of 10,000 are in work, beside when there are none.

`--memory [1000000]` asks so often, and prints the server's memory ten times. `--feast` puts Feast's own server beside
ours, in an environment of its own below `.benchmarks/`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lmdb
import msgspec
from benchmarks.http_load import CLIENT, Server, ask, beside, fastest, first_answer, running, slowest
from benchmarks.sdk import NAMES, TYPES, raw_copy, write_source

from likewise import FeatureStore
from likewise.core.keys import KeyCodec
from likewise.types import Int64

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
CONFIG = "project: bench\nregistry: registry.db\nonline_store: {type: lmdb, path: online}\n"
BULK = 10_000
"""How many entities a bulk request asks for: the most that a server takes by default."""


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
        config = uvicorn.Config(
            app, http="httptools", loop="uvloop", ws="none", log_config=None, access_log=False, lifespan="off"
        )
        uvicorn.Server(config).run(sockets=[listener])


def bodies(keys: int, entities: int, more: dict[str, Any], key: str = "user_id", many: int = 200) -> list[bytes]:
    """Return the bodies of requests for random keys."""
    rng = random.Random(5)
    count = min(entities, keys)
    return [json.dumps({**more, "entities": {key: rng.sample(range(keys), count)}}).encode() for _ in range(many)]


TEN = {"features": [f"users:{name}" for name in NAMES]}
"""Ten features of one view."""


def same(ours: list[dict[str, list[object]]], hand: list[dict[str, list[object]]]) -> bool:
    """Tell whether two answers say the same; the times are written in two ways."""
    for one in (*ours, *hand):
        one["event_timestamps"] = [datetime.fromisoformat(str(at)) for at in one["event_timestamps"]]
    return ours == hand


def in_turns(
    asked: dict[str, tuple[Server, list[bytes]]], seconds: float, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return requests a second, and processor time of a request in microseconds, of servers that take turns."""
    rates: dict[str, list[float]] = {name: [] for name in asked}
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, (server, sent) in asked.items():
            before = server.cpu()
            rate, done = fastest(server, sent, seconds)
            rates[name].append(rate)
            spent[name].append((server.cpu() - before) / max(1, done) * 1e6)
    return (
        {name: statistics.median(found) for name, found in rates.items()},
        {name: statistics.median(found) for name, found in spent.items()},
    )


def compare(ours: Server, hand: Server, keys: int, entities: int, seconds: float, rounds: int) -> None:
    """Print both servers' figures."""
    sent = bodies(keys, entities, TEN)
    found = [first_answer(server, sent[0])["results"] for server in (ours, hand)]
    assert same(*found), "the answers differ"
    rate, cpu = in_turns({"ours": (ours, sent), "by hand": (hand, sent)}, seconds, rounds)
    half = [slowest(ask(server, sent, seconds, rate["ours"] / 2)[1]) for server in (ours, hand)]
    share = cpu["by hand"] / cpu["ours"] if cpu["ours"] else 0.0
    cells = f"{rate['ours']:>10,.0f}{rate['by hand']:>10,.0f}{rate['ours'] / rate['by hand']:>8.2f}x"
    times = f"{cpu['ours']:>10.0f}{cpu['by hand']:>10.0f}{share:>8.2f}x"
    print(f"{f'{entities} entities':<14}{cells}{times}{half[0]:>10.1f} ms{half[1]:>9.1f} ms", flush=True)


def views_and_functions(ours: Server, keys: int, seconds: float, rounds: int) -> None:
    """Print a service of three views and two on-demand views beside one view."""
    print(f"\n{'3 views x 2 on-demand':<22}{'service/s':>10}{'1 view/s':>10}{'us':>8}{'1 view':>8}{'ratio':>8}")
    for entities in (1, 100):
        single, service = bodies(keys, entities, TEN), bodies(keys, entities, {"feature_service": "together"})
        assert len(first_answer(ours, service[0])["results"]) == 1 + len(NAMES) + 2
        rate, cpu = in_turns({"service": (ours, service), "view": (ours, single)}, seconds, rounds)
        more = cpu["service"] / cpu["view"] if cpu["view"] else rate["view"] / rate["service"]
        rates = f"{rate['service']:>10,.0f}{rate['view']:>10,.0f}"
        cells = f"{rates}{cpu['service']:>8.0f}{cpu['view']:>8.0f}{more:>7.2f}x"
        print(f"{f'{entities} entities':<22}{cells}", flush=True)


def beside_bulk(ours: Server, keys: int, seconds: float, rounds: int) -> None:
    """Print how long requests of one entity take while a bulk request is in work, and while none is."""
    [bulk] = bodies(keys, BULK, TEN, many=1)
    single = bodies(keys, 1, TEN)
    idle, busy, sizes = [], [], f"{min(BULK, keys):,} entities"
    for _ in range(rounds):
        idle += ask(ours, single, seconds, 200)[1]
        with beside(ours, bulk):
            busy += ask(ours, single, seconds, 200)[1]
    one, other = slowest(idle), slowest(busy)
    medians = f"median {statistics.median(idle) * 1e3:.2f} and {statistics.median(busy) * 1e3:.2f} ms"
    print(f"\n200 requests/s of 1 entity: p99 {one:.1f} ms; beside requests of {sizes}: {other:.1f} ms", end="")
    print(f", {other / one:.2f}x ({medians})", flush=True)


def memory(ours: Server, keys: int, times: int) -> None:
    """Print the server's memory over many requests."""
    sent, done, steps = bodies(keys, 1, TEN), 0, 10
    rate, _ = fastest(ours, sent, 1)
    print(f"{'requests':>12}{'memory':>12}")
    for step in range(1, steps + 1):
        while done < times * step / steps:
            done += fastest(ours, sent, max(1.0, (times * step / steps - done) / rate))[1]
        print(f"{done:>12,}{ours.megabytes():>9.1f} MB", flush=True)


FEAST = """project: bench
registry: data/registry.db
provider: local
online_store: {type: sqlite, path: data/online.db}
entity_key_serialization_version: 3
"""
FEAST_PROGRAM = """
from datetime import UTC, datetime, timedelta
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Float64, Int64
kinds = {"Float32": Float32, "Float64": Float64, "Int64": Int64}
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
schema = [Field(name=name, dtype=kinds[kind]) for name, kind in FIELDS]
source = FileSource(path=SOURCE, timestamp_field="at")
view = FeatureView(name="users", entities=[user], ttl=timedelta(days=1), schema=schema, source=source)
store = FeatureStore(repo_path=".")
store.apply([user, view])
now = datetime.now(UTC)
store.materialize(now - timedelta(days=1), now)
"""


def beside_feast(ours: Server, folder: Path, keys: int, seconds: float, rounds: int) -> None:
    """Print Feast's server beside ours."""
    from benchmarks.versus_feast import feast_python

    python, repo = feast_python(), folder / "feast"
    (repo / "data").mkdir(parents=True)
    (repo / "feature_store.yaml").write_text(FEAST)
    fields = [(name, str(kind)) for name, kind in zip(NAMES, TYPES, strict=True)]
    program = FEAST_PROGRAM.replace("FIELDS", repr(fields)).replace("SOURCE", repr(str(folder / "source.parquet")))
    subprocess.run([str(python), "-c", program], cwd=repo, check=True, capture_output=True, timeout=600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [str(python.parent / "feast"), "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with running(serve, repo, port) as theirs:
        print(f"\n{'10 features':<14}{'ours/s':>10}{'Feast/s':>10}{'ratio':>9}")
        for entities in (1, 100):
            sent = bodies(keys, entities, TEN)
            there = [sorted(first_answer(server, sent[0])["metadata"]["feature_names"]) for server in (ours, theirs)]
            assert there[0] == there[1], there
            rate, _ = in_turns({"ours": (ours, sent), "Feast": (theirs, sent)}, seconds, rounds)
            rates = f"{rate['ours']:>10,.0f}{rate['Feast']:>10,.1f}{rate['ours'] / rate['Feast']:>8.1f}x"
            print(f"{f'{entities} entities':<14}{rates}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--memory", type=int, nargs="?", const=1_000_000, help="the server's memory over many requests")
    parser.add_argument("--bulk", action="store_true", help="only how long requests take beside bulk requests")
    parser.add_argument("--feast", action="store_true", help="beside Feast's own server")
    parser.add_argument("--by-hand", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.by_hand:
        by_hand(given.by_hand)
        return
    if given.smoke:
        given.keys, given.seconds, given.rounds = 2_000, 0.2, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.keys)
        measure(folder, given)


def make(folder: Path, keys: int) -> None:
    """Write the source, the stores and the catalog."""
    now = time.time_ns() // 1000
    write_source(folder / "source.parquet", keys, now)
    (folder / "feature_store.yaml").write_text(CONFIG)
    shutil.copy(Path(__file__).with_name("serve_features.py"), folder / "features.py")
    subprocess.run([sys.executable, "-m", "likewise", "apply"], cwd=folder, check=True, capture_output=True)
    with FeatureStore(folder) as store:
        store.materialize(now - DAY, now)
        raw_copy(store, folder, keys).close()


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Print what was asked for."""
    serve = [sys.executable, "-m", "likewise", "--output", "json", "serve", "--port", "0"]
    with running(serve, folder) as ours:
        if given.memory:
            memory(ours, given.keys, given.memory)
        elif given.feast:
            beside_feast(ours, folder, given.keys, given.seconds, given.rounds)
        elif given.bulk:
            beside_bulk(ours, given.keys, given.seconds, given.rounds)
        else:
            hand = [sys.executable, "-m", "benchmarks.serve", "--by-hand", str(folder / "raw")]
            print(f"asked by {CLIENT}")
            heads = f"{'ours/s':>10}{'by hand/s':>10}{'ratio':>9}{'ours us':>10}{'by hand':>10}{'ratio':>9}"
            with running(hand, folder) as other:
                print(f"{'10 features':<14}{heads}{'p99 at half':>13}{'by hand':>12}")
                for entities in (1, 100):
                    compare(ours, other, given.keys, entities, given.seconds, given.rounds)
            views_and_functions(ours, given.keys, given.seconds, given.rounds)
            beside_bulk(ours, given.keys, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
