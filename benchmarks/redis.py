"""Redis: online reads and materialization through `FeatureStore`, beside a raw MGET of the same keys, in one run.

`python -m benchmarks.redis [--keys 200000] [--smoke]` starts a Redis server of its own on a socket of this machine and
prints the median time of an online read of 1, 100 and 1,000 entities x 10 features, with a raw MGET of the same keys
beside it, alone and with the decoding of its records; keys a second of a materialization and of the store's own writes;
and the memory that a record takes in the server, beside Feast's layout of the same values. Next to times on the clock
stand those of the processors, the server's and this process's together: they say more on a machine that others use.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import redis
from benchmarks.sdk import NAMES, TYPES, interleaved, write_source

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from likewise.core.keys import KeyCodec
from likewise.core.types import Float64, Int64
from likewise.online.guard import GuardedStore
from likewise.online.redis import RedisStore
from likewise.online.rows import Layout, RowWriter
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


def server_seconds(client: redis.Redis) -> float:
    """Return how much time of a processor the server has used."""
    used = client.info("cpu")
    seconds: float = used["used_cpu_user"] + used["used_cpu_sys"]
    return seconds


def processors(client: redis.Redis, jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return how much time of processors each job takes at least, here and in the server, in microseconds."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, work in jobs.items():
            own, servers = time.process_time(), server_seconds(client)
            for _ in range(100):
                work()
            taken[name].append((time.process_time() - own + server_seconds(client) - servers) * 1e4)
    return {name: min(found) for name, found in taken.items()}


def materialize(store: FeatureStore, client: redis.Redis, now: int) -> None:
    """Print how many keys a second get from Parquet into Redis."""
    own, servers = time.process_time(), server_seconds(client)
    [done] = store.materialize(now - 86_400_000_000, now)
    own, servers = (each / done.keys * 1e6 for each in (time.process_time() - own, server_seconds(client) - servers))
    rate = done.keys / done.seconds
    print(f"materialize into Redis: {done.keys:,} keys in {done.seconds:.2f} s, {rate:,.0f} keys/s")
    print(f"  of the processors: {own:.1f} us a key here, {servers:.1f} us in the server")


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
    mark = client.get("{lw}t:" + table)[:9]
    features = [f"users:{name}" for name in NAMES]
    rng = np.random.default_rng(4)
    head = f"{'online read x 10 features':<28}{'SDK':>12}{'raw MGET':>12}{'ratio':>8}{'MGET + decode':>16}{'ratio':>8}"
    head += f"{'processors':>14}{'raw':>12}{'ratio':>8}"
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
        used = processors(client, {"sdk": by_sdk, "raw": by_hand}, max(rounds // 5, 1))
        ours, plain = used["sdk"], used["raw"]
        print(
            f"{f'{count} entities':<28}{sdk:>9.1f} us{raw:>9.1f} us{sdk / raw:>8.2f}{more:>13.1f} us{sdk / more:>8.2f}"
            f"{ours:>11.1f} us{plain:>9.1f} us{ours / plain:>8.2f}"
        )


def memory(client: redis.Redis, keys: int) -> None:
    """Print the bytes that the server needs for one entity, as Likewise and as Feast lay out 10 features of a view."""
    rng = np.random.default_rng(5)
    columns = [
        (rng.integers(0, 1000, keys) if kind is Int64 else rng.random(keys).astype(str(kind).lower())).tolist()
        for kind in TYPES
    ]
    times = (1_700_000_000_000_000 + rng.integers(0, 3_600_000_000, keys)).tolist()
    encoded = KeyCodec([Int64], ["user_id"]).encode([list(range(keys))])
    records = RowWriter(Layout.of(list(zip(NAMES, TYPES, strict=True)))).encode(encoded, times, None, columns)

    def ours(views: int, number: int) -> list[Layed]:
        return [(b"SET", b"lw1Ab3dE_%02d{%b}" % (view, encoded[number]), records[number]) for view in range(views)]

    def expiring(views: int, number: int) -> list[Layed]:
        return [(*command, b"EX", 86_400) for command in ours(views, number)]

    def feasts(views: int, number: int) -> list[Layed]:
        return feast_hash(number, times[number], views, [column[number] for column in columns])

    print(f"{'bytes of memory an entity':<28}{'Likewise':>12}{'expiring':>12}{'Feast':>12}")
    for views in (1, 3):
        taken = [measure(client, keys, views, layout) for layout in (ours, expiring, feasts)]
        print(f"{f'{views} views x 10 features':<28}" + "".join(f"{each:>12.0f}" for each in taken))


Layed = tuple[bytes | int, ...]
"""A command that stores something."""


def feast_hash(number: int, time_us: int, views: int, values: Sequence[float]) -> list[Layed]:
    """Return what Feast stores for one entity: a hash with a field for each feature, and a time for each view.

    The name is the entity key in Feast's third format and the project; a field is four bytes of a hash of
    ``view:feature``, its value a protobuf of type Value.
    """
    key = struct.pack("<III7sIIq", 1, 2, 7, b"user_id", 4, 8, number)
    fields: list[bytes] = []
    for view in range(views):
        for name, kind, value in zip(NAMES, TYPES, values, strict=True):
            field = murmur3(f"view_{view}:{name}".encode()).to_bytes(4, "little")
            fields += [field, _protobuf(kind, value)]
        seconds, micros = divmod(time_us, 1_000_000)
        fields += [b"_ts:view_%d" % view, b"\x08" + _varint(seconds) + b"\x10" + _varint(micros * 1000)]
    return [(b"HSET", key + b"payments", *fields)]


def _protobuf(kind: object, value: float) -> bytes:
    if kind is Int64:
        return b"\x20" + _varint(int(value))
    return b"\x29" + struct.pack("<d", value) if kind is Float64 else b"\x35" + struct.pack("<f", value)


def _varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


@lru_cache
def murmur3(data: bytes) -> int:
    """Return MurmurHash3 of some bytes, 32 bits, seed 0."""
    mixed, most = 0, 0xFFFFFFFF
    for at in range(0, len(data), 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & most
        word = (word << 15 | word >> 17) * 0x1B873593 & most
        mixed ^= word
        if at + 4 <= len(data):
            mixed = ((mixed << 13 | mixed >> 19) & most) * 5 + 0xE6546B64 & most
    mixed ^= len(data)
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & most
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & most
    return mixed ^ mixed >> 16


def measure(client: redis.Redis, keys: int, views: int, layout: Callable[[int, int], list[Layed]]) -> float:
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
            materialize(store, client, now)
            assert isinstance(store.online_store, GuardedStore)
            assert isinstance(store.online_store.store, RedisStore)
            reads(store, client, table, keys, 3 if asked.smoke else 25)
            rewrite(store.online_store.store, table)
        memory(client, min(keys, 100_000))
        client.close()


if __name__ == "__main__":
    main()
