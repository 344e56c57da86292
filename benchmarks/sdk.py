"""The SDK, embedded: online reads and materialization through `FeatureStore`, beside raw LMDB, in one run.

`python -m benchmarks.sdk [--keys 1000000] [--smoke]` prints the median time of an online read of 1, 100 and 1,000
entities x 10 features, with the raw key-value get + decode of the same records beside it, and keys a second and peak
memory of a materialization into LMDB.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import lmdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.keys import KeyCodec
from likewise.plan.lookup import table_name
from likewise.types import Float32, Float64, Int64

NAMES = [f"f{i}" for i in range(10)]
TYPES = [Float32, Float64, Int64, Float32, Float64, Int64, Float32, Float64, Int64, Float32]


def write_source(path: Path, keys: int, now: int) -> None:
    """Write one row for each of many keys, unsorted, seeded."""
    rng = np.random.default_rng(3)
    order = rng.permutation(keys)
    at = now - rng.integers(0, 3_600_000_000, keys)
    columns = {"user_id": order, "at": pa.array(at).cast(pa.timestamp("us", tz="UTC"))}
    for name, kind in zip(NAMES, TYPES, strict=True):
        columns[name] = (
            rng.integers(0, 1000, keys)
            if kind is Int64
            else rng.random(keys).astype("float32" if kind is Float32 else "float64")
        )
    pq.write_table(pa.table(columns), path)


def open_store(folder: Path) -> FeatureStore:
    """Return a store over the folder's source, applied."""
    config = RepoConfig(
        project="bench",
        registry=RegistryConfig(path="registry.db"),
        online_store=OnlineStoreConfig(type="lmdb", path="online"),
    )
    store = FeatureStore(folder, config)
    source = FileSource(path="source.parquet", timestamp_field="at")
    fields = [Field(name, kind) for name, kind in zip(NAMES, TYPES, strict=True)]
    user = Entity(name="user", join_keys=["user_id"])
    store.apply([FeatureView("users", source, fields, [user], timedelta(days=1))])
    return store


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of a job in microseconds."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e6


def interleaved(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each job's median time in microseconds, the jobs taking turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, work in jobs.items():
            times[name].append(median(work, 20))
    return {name: statistics.median(found) for name, found in times.items()}


def raw_copy(store: FeatureStore, folder: Path, keys: int) -> lmdb.Environment:
    """Return a plain LMDB of the same keys and records, as one would write it by hand."""
    raw = lmdb.open(str(folder / "raw"), map_size=1 << 33)
    after = None
    table = table_name("bench", store.get_feature_view("users"))
    while found := store.online_store.scan(table, after, 50_000):
        with raw.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(found)
        after = found[-1][0]
    return raw


def reads(store: FeatureStore, raw: lmdb.Environment, keys: int, rounds: int) -> None:
    """Print online reads beside raw ones."""
    decode = msgspec.msgpack.Decoder().decode
    encode = KeyCodec([Int64], ["user_id"]).encode
    features = [f"users:{name}" for name in NAMES]
    rng = np.random.default_rng(4)
    print(f"{'online read x 10 features':<28}{'SDK':>12}{'raw get + decode':>20}{'ratio':>8}{'more':>12}")
    for count in (1, 100, 1000):
        asked = rng.choice(keys, min(count, keys), replace=False).tolist()
        rows = [{"user_id": key} for key in asked]
        found = encode([asked])

        def by_hand(found: list[bytes] = found) -> object:
            with raw.begin() as transaction:
                return [decode(record) for record in map(transaction.get, found)]

        def by_sdk(rows: list[dict[str, int]] = rows) -> object:
            return store.get_online_features(features, rows).to_dict()

        times = interleaved({"sdk": by_sdk, "raw": by_hand}, rounds)
        sdk, plain = times["sdk"], times["raw"]
        print(f"{f'{count} entities':<28}{sdk:>9.1f} us{plain:>17.1f} us{sdk / plain:>8.2f}{sdk - plain:>9.1f} us")


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(argv)
    keys = 2_000 if asked.smoke else asked.keys
    now = time.time_ns() // 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder / "source.parquet", keys, now)
        with open_store(folder) as store:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            [done] = store.materialize(now - 86_400_000_000, now)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            rate = done.keys / done.seconds
            print(f"materialize into LMDB: {done.keys:,} keys in {done.seconds:.2f} s, {rate:,.0f} keys/s")
            print(f"peak memory: {peak / 1024:,.0f} MB, {before / 1024:,.0f} MB before")
            raw = raw_copy(store, folder, keys)
            reads(store, raw, keys, 3 if asked.smoke else 25)
            raw.close()


if __name__ == "__main__":
    main()
