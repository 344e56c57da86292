"""Online stores: writes and reads of each, beside its raw client doing the same puts and gets, in one run.

`python -m benchmarks.stores [NAME …] [--keys 100000] [--smoke]` prints for each store keys a second of a write of new
keys, of the same keys again (newer wins is decided each time), and of a materialization from Parquet; and the time of a
read of 1, 100 and 1,000 keys, through the store and through `FeatureStore.get_online_features` (10 features, decoded).
Each has the raw client's figure of the same run beside it: by the clock, and by the time of the processors, of this
process and the server together, which is the steadier one where other work runs. Servers are started here, on sockets
of this machine, and do not wait for the disk. A store whose server is not installed is passed over, by name.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import lmdb
import numpy as np
from benchmarks.sdk import NAMES, TYPES, write_source

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from likewise.core.errors import BackendMissing
from likewise.plan.lookup import table_name

BATCH = 50_000
"""How many keys a store and a raw client write in one transaction."""
PIECE = 1_000
"""How many of them a raw client of a server sends in one statement."""
TABLE = "bench/again"

Pair = tuple[bytes, bytes]


class Raw(Protocol):
    """A client without a store around it, as one would use it by hand: records by key, the last one stays."""

    def clear(self) -> None: ...

    def put(self, pairs: Sequence[Pair]) -> None: ...

    def get(self, keys: Sequence[bytes]) -> object: ...


class RawLmdb:
    """LMDB through py-lmdb."""

    def __init__(self, folder: Path) -> None:
        self.environment = lmdb.open(str(folder / "raw"), map_size=1 << 33, sync=False)

    def clear(self) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.drop(self.environment.open_db(None, transaction), delete=False)

    def put(self, pairs: Sequence[Pair]) -> None:
        with self.environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(sorted(pairs))

    def get(self, keys: Sequence[bytes]) -> object:
        with self.environment.begin() as transaction:
            return list(map(transaction.get, keys))


class RawSqlite:
    """SQLite through the standard library."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -16384"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("CREATE TABLE raw (key BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID")

    def clear(self) -> None:
        self.connection.execute("DELETE FROM raw")

    def put(self, pairs: Sequence[Pair]) -> None:
        self.connection.execute("BEGIN")
        self.connection.executemany("INSERT OR REPLACE INTO raw VALUES (?, ?)", sorted(pairs))
        self.connection.execute("COMMIT")

    def get(self, keys: Sequence[bytes]) -> object:
        execute = self.connection.execute
        return [execute("SELECT record FROM raw WHERE key = ?", (key,)).fetchone() for key in keys]


class RawRedis:
    """Redis through redis-py."""

    def __init__(self, address: str) -> None:
        import redis

        self.client = redis.Redis(unix_socket_path=address, db=1)

    def clear(self) -> None:
        self.client.flushdb()

    def put(self, pairs: Sequence[Pair]) -> None:
        for at in range(0, len(pairs), PIECE):
            self.client.mset(dict(pairs[at : at + PIECE]))

    def get(self, keys: Sequence[bytes]) -> object:
        return self.client.mget(keys)


class RawPostgres:
    """PostgreSQL through psycopg."""

    _PUT = """INSERT INTO raw SELECT * FROM unnest(%b::bytea[], %b::bytea[])
    ON CONFLICT (key) DO UPDATE SET record = excluded.record"""

    def __init__(self, address: str) -> None:
        import psycopg

        self.connection = psycopg.connect(address)
        self.connection.execute("CREATE TABLE raw (key bytea PRIMARY KEY, record bytea)")
        self.connection.commit()

    def clear(self) -> None:
        self.connection.execute("TRUNCATE raw")
        self.connection.commit()

    def put(self, pairs: Sequence[Pair]) -> None:
        ordered = sorted(pairs)
        for at in range(0, len(ordered), PIECE):
            keys, records = zip(*ordered[at : at + PIECE], strict=True)
            self.connection.execute(self._PUT, (list(keys), list(records)))
        self.connection.commit()

    def get(self, keys: Sequence[bytes]) -> object:
        with self.connection.cursor(binary=True) as cursor:
            found = cursor.execute("SELECT key, record FROM raw WHERE key = ANY(%b)", (list(keys),)).fetchall()
        self.connection.commit()
        return found


class RawMySQL:
    """MariaDB through PyMySQL."""

    _PUT = "INSERT INTO raw VALUES (%s, %s) ON DUPLICATE KEY UPDATE record = VALUES(record)"

    def __init__(self, socket: str) -> None:
        import pymysql

        self.connection = pymysql.connect(unix_socket=socket, user="root", database="bench", ssl_disabled=True)
        self._do("CREATE TABLE raw (k VARBINARY(1000) PRIMARY KEY, record LONGBLOB)")

    def _do(self, text: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(text)

    def clear(self) -> None:
        self._do("TRUNCATE raw")

    def put(self, pairs: Sequence[Pair]) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(self._PUT, sorted(pairs))
        self.connection.commit()

    def get(self, keys: Sequence[bytes]) -> object:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT k, record FROM raw WHERE k IN %s", (list(keys),))
            found = cursor.fetchall()
        self.connection.commit()
        return found


class RawDynamo:
    """DynamoDB through boto3: puts without a condition, in as many threads as the store has; gets by the hundred."""

    def __init__(self, address: str) -> None:
        import boto3
        from botocore.config import Config

        self.client = boto3.client("dynamodb", endpoint_url=address, config=Config(max_pool_connections=16))
        self.threads = ThreadPoolExecutor(16)
        self._make()

    def _make(self) -> None:
        self.client.create_table(
            TableName="raw",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "B"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def clear(self) -> None:
        self.client.delete_table(TableName="raw")
        self._make()

    def _put(self, pair: Pair) -> None:
        self.client.put_item(TableName="raw", Item={"k": {"B": pair[0]}, "r": {"B": pair[1]}})

    def put(self, pairs: Sequence[Pair]) -> None:
        list(self.threads.map(self._put, pairs))

    def _get(self, keys: Sequence[bytes]) -> list[object]:
        asked = {"raw": {"Keys": [{"k": {"B": key}} for key in keys], "ConsistentRead": True}}
        return list(self.client.batch_get_item(RequestItems=asked)["Responses"]["raw"])

    def get(self, keys: Sequence[bytes]) -> object:
        return list(self.threads.map(self._get, [keys[at : at + 100] for at in range(0, len(keys), 100)]))


# ---- One store after the other

Opened = tuple[dict[str, object], Raw, Callable[[], list[int]]]
"""The keys of online_store, the raw client, and what tells the server's processes."""


@contextlib.contextmanager
def in_lmdb(folder: Path) -> Iterator[Opened]:
    raw = RawLmdb(folder)
    yield {"type": "lmdb", "path": "online"}, raw, list
    raw.environment.close()


@contextlib.contextmanager
def in_sqlite(folder: Path) -> Iterator[Opened]:
    raw = RawSqlite(folder)
    yield {"type": "sqlite", "path": "online.db"}, raw, list
    raw.connection.close()


@contextlib.contextmanager
def in_redis(folder: Path) -> Iterator[Opened]:
    from likewise.testing.redis_process import RedisProcess

    with RedisProcess(folder) as server:
        raw = RawRedis(server.address)
        process = raw.client.info()["process_id"]
        yield {"type": "redis", "connection_string": server.address}, raw, lambda: [process]
        raw.client.close()


@contextlib.contextmanager
def in_postgres(folder: Path) -> Iterator[Opened]:
    from likewise.testing.postgres_process import PostgresProcess

    with PostgresProcess(settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}) as server:
        raw = RawPostgres(server.address)
        online = {"type": "postgres", "host": server.host, "user": server.user, "db_schema": "features"}
        yield online, raw, lambda: server.processes
        raw.connection.close()


@contextlib.contextmanager
def in_mysql(folder: Path) -> Iterator[Opened]:
    import pymysql

    from likewise.testing.mysql_process import MySQLProcess

    with MySQLProcess(settings=["--innodb-buffer-pool-size=256M"]) as server:
        with contextlib.closing(pymysql.connect(unix_socket=server.host, user="root", ssl_disabled=True)) as client:
            client.cursor().execute("CREATE DATABASE bench")
        raw = RawMySQL(server.host)
        online = {"type": "mysql", "host": server.host, "user": server.user, "database": "bench"}
        yield online, raw, lambda: server.processes
        raw.connection.close()


@contextlib.contextmanager
def in_dynamodb(folder: Path) -> Iterator[Opened]:
    from likewise.testing.moto_process import CREDENTIALS, MotoProcess

    os.environ.update(CREDENTIALS)
    with MotoProcess() as server:
        raw = RawDynamo(server.address)
        yield {"type": "dynamodb", "endpoint_url": server.address}, raw, lambda: server.processes
        raw.threads.shutdown()
        raw.client.close()


STORES: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Opened]]] = {
    "lmdb": in_lmdb,
    "sqlite": in_sqlite,
    "redis": in_redis,
    "postgres": in_postgres,
    "mysql": in_mysql,
    "dynamodb": in_dynamodb,
}


class Size(NamedTuple):
    """How much is done with a store."""

    keys: int = 1 << 60
    """The most keys."""
    smoke: int = 2_000
    """How many at tiny sizes."""
    rounds: int = 15
    """How often store and raw client take turns at reads."""
    reads: int = 50
    """How many small reads are timed at once; a fifth as many large ones."""


SIZES: Mapping[str, Size] = {"dynamodb": Size(keys=2_000, smoke=40, rounds=5, reads=10)}
"""An emulator takes milliseconds for each key."""


def open_store(folder: Path, online: dict[str, object]) -> FeatureStore:
    """Return a store over the folder's source, applied."""
    if online["type"] in ("redis", "postgres", "mysql", "dynamodb"):
        online = {**online, "timeout_seconds": 20, "write_timeout_seconds": 60}
    store = FeatureStore(folder, RepoConfig(project="bench", registry="registry.db", online_store=online))
    fields = [Field(name, kind) for name, kind in zip(NAMES, TYPES, strict=True)]
    user = Entity(name="user", join_keys=["user_id"])
    store.apply([FeatureView("users", FileSource(path="source.parquet", timestamp_field="at"), fields, [user])])
    return store


def all_pairs(store: FeatureStore) -> list[Pair]:
    """Return all keys and records that were materialized, shuffled."""
    table = table_name("bench", store.get_feature_view("users"))
    pairs: list[Pair] = []
    while page := store.online_store.scan(table, pairs[-1][0] if pairs else None, BATCH):
        pairs += page
    order = np.random.default_rng(5).permutation(len(pairs))
    return [pairs[at] for at in order]


class Spent(NamedTuple):
    """How long something took, in seconds."""

    clock: float
    processors: float


class Watch:
    """Measures jobs by the clock, and by the processors' time of this process and of a server's."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._files = [file for one in processes for file in Path(f"/proc/{one}/task").glob("*/schedstat")]

    def _processors(self) -> float:
        servers = 0.0
        for file in self._files:
            with contextlib.suppress(OSError):  # a thread that has ended
                servers += int(file.read_text().split()[0]) / 1e9
        return time.process_time() + servers

    def measure(self, work: Callable[[], object], times: int = 1) -> Spent:
        clock, processors = time.perf_counter(), self._processors()
        for _ in range(times):
            work()
        return Spent((time.perf_counter() - clock) / times, (self._processors() - processors) / times)


def middle(found: Sequence[Spent]) -> Spent:
    return Spent(*(statistics.median(column) for column in zip(*found, strict=True)))


def show(name: str, mine: Spent, plain: Spent, count: int = 0) -> None:
    """Print one line: rates of so many keys, or times."""
    figures = [
        f"{count / spent.clock:>12,.0f}" if count else f"{spent.clock * 1e6:>9.1f} us" for spent in (mine, plain)
    ]
    ratios = f"{mine.clock / plain.clock:>8.2f}{mine.processors / plain.processors:>12.2f}"
    print(f"{name:<28}{''.join(figures)}{ratios}")


def writes(
    store: FeatureStore, raw: Raw, processes: Callable[[], list[int]], pairs: Sequence[Pair], rounds: int, made: Spent
) -> None:
    """Print keys a second of new keys and of the same again, store and raw client taking turns."""
    online = store.online_store
    batches = [pairs[at : at + BATCH] for at in range(0, len(pairs), BATCH)]

    def by_store() -> None:
        for batch in batches:
            online.write(TABLE, *map(list, zip(*batch, strict=True)))

    def by_hand() -> None:
        for batch in batches:
            raw.put(batch)

    times: dict[str, list[Spent]] = {name: [] for name in ("new", "raw new", "again", "raw again")}
    for _ in range(rounds):
        online.drop([TABLE])
        online.create([TABLE])
        raw.clear()
        online.read([(TABLE, [b"warm"])])
        watch = Watch(processes())
        for name, work in (("new", by_store), ("raw new", by_hand), ("again", by_store), ("raw again", by_hand)):
            times[name].append(watch.measure(work))
    spent = {name: middle(found) for name, found in times.items()}
    print(f"{'keys/s':<28}{'Likewise':>12}{'raw puts':>12}{'ratio':>8}{'processors':>12}")
    show("write new keys", spent["new"], spent["raw new"], len(pairs))
    show("write them again", spent["again"], spent["raw again"], len(pairs))
    show("materialize from Parquet", made, spent["raw new"], len(pairs))


def reads(
    store: FeatureStore, raw: Raw, processes: Callable[[], list[int]], pairs: Sequence[Pair], rounds: int, small: int
) -> None:
    """Print reads through the store and through the SDK beside raw ones."""
    table = table_name("bench", store.get_feature_view("users"))
    features = [f"users:{name}" for name in NAMES]
    online = store.online_store
    print(f"{'reads':<28}{'Likewise':>12}{'raw gets':>12}{'ratio':>8}{'processors':>12}")
    for count in (1, 100, 1000):
        keys = [key for key, _ in pairs[:count]]
        rows = [{"user_id": n} for n in range(min(count, len(pairs)))]
        jobs: dict[str, Callable[[], object]] = {
            "store": lambda keys=keys: online.read([(table, keys)]),
            "sdk": lambda rows=rows: store.get_online_features(features, rows).to_dict(),
            "raw": lambda keys=keys: raw.get(keys),
        }
        for work in jobs.values():
            work()
        watch = Watch(processes())
        times: dict[str, list[Spent]] = {name: [] for name in jobs}
        for _ in range(rounds):
            for name, work in jobs.items():
                times[name].append(watch.measure(work, small if count < 1000 else small // 5))
        spent = {name: middle(found) for name, found in times.items()}
        show(f"{count} keys, the store", spent["store"], spent["raw"])
        show(f"{count} keys, the SDK", spent["sdk"], spent["raw"])


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; all by default: {', '.join(STORES)}")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(argv)
    now = time.time_ns() // 1000
    for name in asked.names or STORES:
        size = SIZES.get(name, Size())
        keys = size.smoke if asked.smoke else min(size.keys, asked.keys)
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write_source(folder / "source.parquet", keys, now)
            try:
                with STORES[name](folder) as (online, raw, processes), open_store(folder, online) as store:
                    print(f"\n-- {name}, {keys:,} keys", flush=True)
                    store.get_online_features([f"users:{NAMES[0]}"], [{"user_id": 1}])  # connects
                    watch = Watch(processes())
                    made = watch.measure(functools.partial(store.materialize, now - 86_400_000_000, now))
                    pairs = all_pairs(store)
                    writes(store, raw, processes, pairs, 1 if asked.smoke else 3, made)
                    reads(store, raw, processes, pairs, 2 if asked.smoke else size.rounds, size.reads)
            except BackendMissing as missing:
                print(f"\n-- {name}: passed over: {missing}")


if __name__ == "__main__":
    main()
