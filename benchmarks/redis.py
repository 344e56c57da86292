"""Redis: online reads and materialization through `FeatureStore`, beside a raw MGET of the same keys, in one run.

`python -m benchmarks.redis [--keys 200000] [--server PROGRAM] [--smoke]` starts a Redis server of its own on a socket
of this machine and prints the median time of an online read of 1, 100 and 1,000 entities x 10 features, with a raw MGET
of the same keys beside it, alone and with the decoding of its records; keys a second of a materialization; and the
memory that a record takes in the server, beside Feast's layout of the same values.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import redis
from benchmarks.sdk import NAMES, TYPES, interleaved, write_source

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from likewise.core.keys import KeyCodec
from likewise.core.types import Int64
from likewise.online.redis import RedisStore
from likewise.plan.lookup import table_name
from likewise.testing.redis_process import RedisProcess


def open_store(folder: Path, address: str) -> FeatureStore:
    """Return a store over the folder's source, applied, with its values in Redis."""
    online = {"type": "redis", "connection_string": address, "timeout_seconds": 10}
    store = FeatureStore(folder, RepoConfig(project="bench", registry="registry.db", online_store=online))
    fields = [Field(name, kind) for name, kind in zip(NAMES, TYPES, strict=True)]
    user = Entity(name="user", join_keys=["user_id"])
    store.apply([FeatureView("users", FileSource(path="source.parquet", timestamp_field="at"), fields, [user])])
    return store


def materialize(store: FeatureStore, now: int) -> None:
    """Print how many keys a second get from Parquet into Redis."""
    [done] = store.materialize(now - 86_400_000_000, now)
    rate = done.keys / done.seconds
    print(f"materialize into Redis: {done.keys:,} keys in {done.seconds:.2f} s, {rate:,.0f} keys/s")


def rewrite(store: RedisStore, table: str) -> None:
    """Print how many keys a second the store itself writes again, and how many it refuses as older."""
    pairs = []
    while page := store.scan(table, pairs[-1][0] if pairs else None, 50_000):
        pairs += page
    keys, records = [key for key, _ in pairs], [record for _, record in pairs]
    older = [record[:10] + bytes(8) + record[18:] for record in records]
    for name, batch, kept in (("write again", records, len(keys)), ("write older rows", older, 0)):
        began = time.perf_counter()
        won = sum(
            store.write(table, keys[at : at + 50_000], batch[at : at + 50_000]) for at in range(0, len(keys), 50_000)
        )
        assert won == kept
        print(f"{name}: {len(keys) / (time.perf_counter() - began):,.0f} keys/s")


def reads(store: FeatureStore, client: redis.Redis, table: str, keys: int, rounds: int) -> None:
    """Print online reads beside raw ones."""
    decode = msgspec.msgpack.Decoder().decode
    encode = KeyCodec([Int64], ["user_id"]).encode
    mark = client.get("{lw}t:" + table)
    features = [f"users:{name}" for name in NAMES]
    rng = np.random.default_rng(4)
    head = f"{'online read x 10 features':<28}{'SDK':>12}{'raw MGET':>12}{'ratio':>8}{'MGET + decode':>16}{'ratio':>8}"
    print(head)
    for count in (1, 100, 1000):
        asked = rng.choice(keys, min(count, keys), replace=False).tolist()
        rows = [{"user_id": key} for key in asked]
        names = [b"lw%b{%b}" % (mark, key) for key in encode([asked])]

        def by_hand(names: Sequence[bytes] = names) -> object:
            return client.mget(names)

        def decoded(names: Sequence[bytes] = names) -> object:
            return list(map(decode, client.mget(names)))

        def by_sdk(rows: Sequence[dict[str, int]] = rows) -> object:
            return store.get_online_features(features, rows).to_dict()

        jobs: dict[str, Callable[[], object]] = {"sdk": by_sdk, "raw": by_hand, "decoded": decoded}
        times = interleaved(jobs, rounds)
        sdk, raw, more = times["sdk"], times["raw"], times["decoded"]
        print(
            f"{f'{count} entities':<28}{sdk:>9.1f} us{raw:>9.1f} us{sdk / raw:>8.2f}{more:>13.1f} us{sdk / more:>8.2f}"
        )


def memory(client: redis.Redis, keys: int) -> None:
    """Print the bytes that the server needs for one entity, as Likewise and as Feast lay out 10 features of a view."""
    draw = random.Random(1)
    records = [bytes(103) for _ in range(keys)]
    encoded = KeyCodec([Int64], ["user_id"]).encode([list(range(keys))])

    def ours(views: int, number: int) -> list[tuple[bytes | int, ...]]:
        return [(b"SET", b"lw1Ab3dE_%02d{%b}" % (view, encoded[number]), records[number]) for view in range(views)]

    def feasts(views: int, number: int) -> list[tuple[bytes | int, ...]]:
        name = b"\2\0\0\0\7\0\0\0user_id\4\0\0\0\x08\0\0\0" + number.to_bytes(8, "little") + b"payments"
        fields: list[bytes] = []
        for view in range(views):
            for _ in range(3):  # an Int64, a Float64 and a Float32 as Feast's protobufs have them
                fields += [draw.randbytes(4), bytes(3), draw.randbytes(4), bytes(9), draw.randbytes(4), bytes(5)]
            fields += [draw.randbytes(4), bytes(5), b"_ts:view_%d" % view, bytes(12)]
        return [(b"HSET", name, *fields)]

    print(f"{'bytes of memory an entity':<28}{'Likewise':>12}{'Feast':>12}")
    for views in (1, 3):
        taken = [measure(client, keys, views, layout) for layout in (ours, feasts)]
        print(f"{f'{views} views x 10 features':<28}{taken[0]:>12.0f}{taken[1]:>12.0f}")


def measure(
    client: redis.Redis, keys: int, views: int, layout: Callable[[int, int], list[tuple[bytes | int, ...]]]
) -> float:
    """Return how much memory the server takes for each key."""
    client.flushall()
    before = client.info("memory")["used_memory"]
    pipeline = client.pipeline(transaction=False)
    for number in range(keys):
        for command in layout(views, number):
            pipeline.execute_command(*command)
        if number % 1000 == 999:
            pipeline.execute()
    pipeline.execute()
    taken: float = (client.info("memory")["used_memory"] - before) / keys
    return taken


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(argv)
    keys = 2_000 if asked.smoke else asked.keys
    now = time.time_ns() // 1000
    with tempfile.TemporaryDirectory() as name, RedisProcess(name) as server:
        folder = Path(name)
        client = redis.Redis(unix_socket_path=server.address)
        print(f"redis {client.info()['redis_version']}, {client.info('memory')['mem_allocator']}")
        write_source(folder / "source.parquet", keys, now)
        with open_store(folder, server.address) as store:
            table = table_name("bench", store.get_feature_view("users"))
            materialize(store, now)
            assert isinstance(store.online_store, RedisStore)
            reads(store, client, table, keys, 3 if asked.smoke else 25)
            rewrite(store.online_store, table)
        memory(client, min(keys, 100_000))
        client.close()


if __name__ == "__main__":
    main()
