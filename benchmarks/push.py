"""Windows online: how fast events get into the states of their keys, and values out of them, and what a key costs.

`python -m benchmarks.push [--keys 1000] [--smoke]` prints, for 4 windows (1 h, 1 d, 7 d, 30 d) x 5 functions (count,
sum, mean, min, max) of one column, with and without slide:

- events a second through keys + states + swap into LMDB, in batches of 10,000 and of 1, and through `FeatureStore.push`
  in batches of 10,000,
- the time of an online read of 20 features through `FeatureStore`, `to_dict()` included: median and 99th percentile for
  1 key (and that of the processor time alone, for where other work runs), median for 100 keys; beside it a raw LMDB get
  of the same records, likewise; and the bytes of a key's record.

Keys that are read have a history from a Parquet source, and 30 events that were pushed since.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from likewise import (
    Aggregation,
    Entity,
    FeatureStore,
    FileSource,
    FixedClock,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.aggregates import aggregate_for
from likewise.core.keys import KeyCodec
from likewise.core.types import Float64, Int64
from likewise.core.windows import BEFORE_ALL, Window
from likewise.online.base import OnlineStore
from likewise.online.lmdb import LmdbStore
from likewise.online.window_state import META_KEY, Events, Meta, WindowStates
from likewise.plan.lookup import table_name
from likewise.plan.windows import WindowFeature, WindowInput, WindowSet

TABLE = "bench/windows"
HOUR, DAY = 3_600_000_000, 86_400_000_000
NOW = 1_714_521_600_000_000
SPANS = ((HOUR, HOUR // 12), (DAY, HOUR), (7 * DAY, 6 * HOUR), (30 * DAY, DAY))
"""(length, slide) of each window."""
FUNCTIONS = ("count", "sum", "mean", "min", "max")
CODEC = KeyCodec([Int64], ["user_id"])
READ_KEYS = 100


def window_set(slides: bool) -> WindowSet:
    """Return the 20 features."""
    features = tuple(
        WindowFeature(
            f"{function}_{width}",
            0,
            function,
            Window(width, slide if slides else None),
            aggregate_for(function, Float64).output,
        )
        for width, slide in SPANS
        for function in FUNCTIONS
    )
    return WindowSet("users", (WindowInput("amount", "", Float64),), features)


def events_of(ids: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> Events:
    """Return events as a push has them: the keys are encoded here."""
    encoded = CODEC.encode_arrow([pa.array(ids)])
    numbers: dict[bytes, int] = {}
    code = np.fromiter((numbers.setdefault(key, len(numbers)) for key in encoded), np.int64, len(encoded))
    amounts = pa.array(np.round(rng.gamma(2.0, 30.0, len(ids)), 2))
    return Events(list(numbers), code, times, None, np.arange(len(ids)), [amounts])


def push(store: OnlineStore, states: WindowStates, events: Events, now: int) -> None:
    """Add events to the states, as a push does."""
    [stored] = store.read([(TABLE, events.keys)])
    made = states.pushed(events.keys, stored, events, now, None, False, now)
    todo = [(key, old, new) for key, old, new in zip(events.keys, stored, made, strict=True) if new is not None]
    lost = store.swap(TABLE, [key for key, _, _ in todo], [old for _, old, _ in todo], [new for _, _, new in todo])
    assert not lost


def opened(folder: Path, slides: bool) -> tuple[OnlineStore, WindowStates]:
    """Return an empty store that is live, and the states of its table."""
    store = LmdbStore(folder)
    states = WindowStates(window_set(slides), TABLE, has_source=False)
    store.create([TABLE])
    store.swap(TABLE, [META_KEY], [None], [states.meta(Meta(BEFORE_ALL, None, 0))])
    return store, states


def fill(store: OnlineStore, states: WindowStates, keys: int, per_key: int, spread: int) -> None:
    """Give each key a history that ends now, in batches by time."""
    rng = np.random.default_rng(1)
    times = np.sort(NOW - rng.integers(0, spread, keys * per_key))
    for start in range(0, len(times), 10_000):
        part = times[start : start + 10_000]
        push(store, states, events_of(rng.integers(0, keys, len(part)), part, rng), int(part[-1]))


def rates(work: Callable[[], float], events: int, seconds: float) -> list[float]:
    """Return the events a second of each round of a job that returns how long it took, slowest first."""
    spent: list[float] = []
    while sum(spent) < seconds:
        spent.append(work())
    return sorted(events / each for each in spent)


def pushes(folder: Path, keys: int, seconds: float) -> None:
    """Print how many events a second get in, after each key has some history."""
    print(f"\n{'push, events/s (keys with 100 events)':<40}{'of 10,000, median':>18}{'best':>10}{'of 1, median':>14}")
    for slides in (True, False):
        store, states = opened(folder / f"push-{slides}", slides)
        fill(store, states, keys, 100, 30 * DAY)
        rng, at = np.random.default_rng(2), NOW

        def batch(size: int, store: OnlineStore = store, states: WindowStates = states, rng: Any = rng) -> float:
            nonlocal at
            ids, times = rng.integers(0, keys, size), at + np.arange(size) * 1000
            at = int(times[-1]) + 1000
            began = time.perf_counter()
            push(store, states, events_of(ids, times, rng), at)
            return time.perf_counter() - began

        many, single = rates(lambda: batch(10_000), 10_000, seconds), rates(lambda: batch(1), 1, seconds)
        figures = f"{np.median(many):>18,.0f}{many[-1]:>10,.0f}{np.median(single):>14,.0f}"
        print(f"{'with slide' if slides else 'without slide':<40}{figures}")
        store.close()


def windows(slides: bool) -> StreamFeatureView:
    """Return the view with the 20 features, over a Parquet source that is pushed to as well."""
    aggregations = [
        Aggregation(
            "amount", function, timedelta(microseconds=width), timedelta(microseconds=slide) if slides else None
        )
        for width, slide in SPANS
        for function in FUNCTIONS
    ]
    source = PushSource("pushed", FileSource(path="source.parquet", timestamp_field="at"))
    return StreamFeatureView("users", source=source, entities=[Entity("user_id")], aggregations=aggregations)


def rows_of(ids: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Return events as a source has them."""
    at = pa.array(times).cast(pa.timestamp("us", tz="UTC"))
    return pa.table({"user_id": ids, "at": at, "amount": np.round(rng.gamma(2.0, 30.0, len(ids)), 2)})


def filled(folder: Path, slides: bool, keys: int, per_key: int) -> FeatureStore:
    """Return a store whose keys have a history up to now."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    count = keys * per_key
    history = rows_of(np.arange(count) % keys, NOW - rng.integers(0, 30 * DAY, count), rng)
    pq.write_table(history, folder / "source.parquet")
    config = RepoConfig(
        project="bench",
        registry=RegistryConfig(path="registry.db"),
        online_store=OnlineStoreConfig(type="lmdb", path="online"),
    )
    store = FeatureStore(folder, config, clock=FixedClock(NOW))
    store.apply([windows(slides)])
    store.materialize(0, NOW)
    return store


def sdk_pushes(folder: Path, keys: int, seconds: float) -> None:
    """Print how many events a second get in through the SDK, after each key has some history."""
    print(f"\n{'FeatureStore.push, events/s':<40}{'of 10,000, median':>18}{'best':>10}")
    for slides in (True, False):
        with filled(folder / f"sdk-push-{slides}", slides, keys, 100) as store:
            rng = np.random.default_rng(2)

            def batch(store: FeatureStore = store, rng: Any = rng) -> float:
                rows = rows_of(rng.integers(0, keys, 10_000), NOW - rng.integers(0, HOUR, 10_000), rng)
                began = time.perf_counter()
                store.push("pushed", rows)
                return time.perf_counter() - began

            many = rates(batch, 10_000, seconds)
            label = "with slide" if slides else "without slide"
            print(f"{label:<40}{np.median(many):>18,.0f}{many[-1]:>10,.0f}")


def raw_copy(store: FeatureStore, folder: Path) -> lmdb.Environment:
    """Return a plain LMDB of the same keys and records, as one would write it by hand."""
    raw = lmdb.open(str(folder / "raw"), map_size=1 << 33)
    found = store.online_store.scan(table_name("bench", store.get_feature_view("users")), None, READ_KEYS + 10)
    with raw.begin(write=True) as transaction, transaction.cursor() as cursor:
        cursor.putmulti(found)
    return raw


def timed(work: Callable[[int], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return the time of each round of a job, in microseconds."""
    spent = []
    for number in range(rounds):
        began = clock()
        work(number)
        spent.append((clock() - began) * 1e6)
    return spent


def reads(folder: Path, events: Sequence[int], rounds: int) -> None:
    """Print the time of reads through the SDK, and the bytes of the records that are read."""
    head = f"{'p99':>8}{'p99, CPU':>10}{'raw get':>9}{'p99':>8}{'100 keys':>10}{'bytes of a key':>16}"
    print(f"\n{'online read x 20 features, us':<34}{'1 key':>8}{head}")
    for slides in (True, False):
        for count in events:
            with filled(folder / f"read-{slides}-{count}", slides, READ_KEYS, count) as store:
                rng = np.random.default_rng(5)
                for second in range(30):
                    store.push("pushed", rows_of(np.arange(READ_KEYS), np.full(READ_KEYS, NOW - 30 + second), rng))
                print_reads(store, folder / f"read-{slides}-{count}", slides, count, rounds)


def print_reads(store: FeatureStore, folder: Path, slides: bool, count: int, rounds: int) -> None:
    """Print one line of :func:`reads`."""
    features = [f"users:{feature.name}" for feature in store.get_feature_view("users").features]
    raw, keys = raw_copy(store, folder), CODEC.encode([list(range(READ_KEYS))])
    rows = [{"user_id": number} for number in range(READ_KEYS)]

    def by_hand(number: int) -> object:
        with raw.begin() as transaction:
            return transaction.get(keys[number % READ_KEYS])

    def by_sdk(number: int) -> object:
        return store.get_online_features(features, [rows[number % READ_KEYS]]).to_dict()

    answer = store.get_online_features(features, rows)
    assert all(status.name == "PRESENT" for statuses in answer.statuses().values() for status in statuses)
    timed(by_sdk, 100)
    spent, busy = timed(by_sdk, rounds), timed(by_sdk, rounds, time.thread_time)
    plain = timed(by_hand, rounds)
    many = timed(lambda _: store.get_online_features(features, rows).to_dict(), max(3, rounds // 100))
    with raw.begin() as transaction:
        size = np.mean([len(transaction.get(key) or b"") for key in keys])
    label = f"{count:,} events, {'with' if slides else 'without'} slide"
    figures = f"{np.median(spent):>8.1f}{np.percentile(spent, 99):>8.1f}{np.percentile(busy, 99):>10.1f}"
    figures += f"{np.median(plain):>9.1f}{np.percentile(plain, 99):>8.1f}{np.median(many):>10,.0f}{size:>16,.0f}"
    print(f"{label:<34}{figures}")
    raw.close()


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(argv)
    keys, seconds = (200, 0.2) if asked.smoke else (asked.keys, 5)
    with TemporaryDirectory() as name:
        pushes(Path(name), keys, seconds)
        sdk_pushes(Path(name), keys, seconds)
        reads(Path(name), (100,) if asked.smoke else (100, 1_000, 10_000), 200 if asked.smoke else 5_000)


if __name__ == "__main__":
    main()
