"""The online stores by themselves: keys, records and stores beside raw LMDB, in one run.

`python -m benchmarks.online [--keys 1000000] [--smoke]` prints, for 10 mixed features: how fast Arrow columns become
keys and records and get into each store, new ones and newer ones, with raw LMDB (`putmulti` of the same pairs) beside
it; the time of reading 1, 100 and 1,000 keys into columns of Python values, with raw LMDB gets + msgspec decodes of the
same records beside it; and writes of one record a second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import lmdb
import msgspec
import numpy as np
import pyarrow as pa
from benchmarks.sdk import interleaved

from likewise.core.keys import KeyCodec
from likewise.core.types import Bool, Float32, Float64, Int64, String
from likewise.online.base import OnlineStore
from likewise.online.lmdb import LmdbStore
from likewise.online.memory import MemoryStore
from likewise.online.rows import Layout, RowReader, RowWriter
from likewise.online.sqlite import SqliteStore

TABLE = "bench/users"
BATCH = 50_000
TYPES = (Int64, Int64, Int64, Float64, Float64, Float64, Float32, Bool, String, String)
LAYOUT = Layout.of((f"f{n}", kind) for n, kind in enumerate(TYPES))
CODEC = KeyCodec([Int64], ["user_id"])


@dataclass(frozen=True)
class Batch:
    """Some rows, as a materialization has them."""

    ids: pa.Array
    events: pa.Array
    columns: list[pa.Array]


def batches(keys: int, at: int) -> Iterator[Batch]:
    """Yield rows of all keys in their order, seeded."""
    rng = np.random.default_rng(3)
    for start in range(0, keys, BATCH):
        rows = min(BATCH, keys - start)
        ids = np.arange(start, start + rows)
        some = pa.array(np.where(ids % 10 == 0, None, ids), pa.int64())
        floats = [pa.array(rng.normal(size=rows)) for _ in range(3)]
        columns = [
            pa.array(rng.integers(0, 100, rows)),
            pa.array(rng.integers(-(2**40), 2**40, rows)),
            some,
            *floats,
            pa.array(rng.random(rows).astype("float32")),
            pa.array(rng.random(rows) < 0.5),
            pa.array([f"category {n % 50}" for n in ids.tolist()]),
            pa.array([f"user number {n}" for n in ids.tolist()]),
        ]
        events = pa.array(at + rng.integers(0, 1000, rows)).cast(pa.timestamp("us", tz="UTC"))
        yield Batch(pa.array(ids), events, columns)


def writes(keys: int, stores: dict[str, OnlineStore], raw: lmdb.Environment) -> None:
    """Print how many keys a second get from Arrow into each store."""
    writer = RowWriter(LAYOUT)
    for name, at in (("new keys", 1_700_000_000_000_000), ("newer rows", 1_700_000_100_000_000)):
        spent = dict.fromkeys(["keys from Arrow", "records from Arrow", "raw LMDB putmulti", *stores], 0.0)
        for batch in batches(keys, at):
            found = timed(spent, "keys from Arrow", lambda b=batch: CODEC.encode_arrow([b.ids]))
            make = lambda b=batch, f=found: writer.encode_arrow(f, b.events, None, b.columns)  # noqa: E731
            records = timed(spent, "records from Arrow", make)
            pairs = list(zip(found, records, strict=True))
            timed(spent, "raw LMDB putmulti", lambda p=pairs: put(raw, p))
            for label, store in stores.items():
                timed(spent, label, lambda s=store, f=found, r=records: s.write(TABLE, f, r))
        print(f"\n{name + ', keys/s':<28}{'':>12}{'of raw':>10}{'with encoding':>16}")
        encoding = spent["keys from Arrow"] + spent["records from Arrow"]
        for label, seconds in spent.items():
            share = f"{spent['raw LMDB putmulti'] / seconds:>10.2f}{keys / (seconds + encoding):>16,.0f}"
            print(f"{label:<28}{keys / seconds:>12,.0f}{share if label in stores else ''}")


def timed(spent: dict[str, float], label: str, work: Callable[[], list[bytes] | int]) -> list[bytes]:
    """Do something, and note how long it took."""
    began = time.perf_counter()
    done = work()
    spent[label] += time.perf_counter() - began
    return done if isinstance(done, list) else []


def put(raw: lmdb.Environment, pairs: list[tuple[bytes, bytes]]) -> int:
    """Write a batch as one would by hand: no comparison, nothing to tell tables apart."""
    with raw.begin(write=True) as txn, txn.cursor() as cursor:
        return cursor.putmulti(pairs)[1]


def reads(keys: int, stores: dict[str, OnlineStore], raw: lmdb.Environment, rounds: int) -> None:
    """Print the time of reads into columns of Python values."""
    decode = msgspec.msgpack.Decoder().decode
    reader = RowReader(LAYOUT, table=TABLE)
    rng = np.random.default_rng(4)
    print(f"\n{'read, us':<28}{'raw LMDB':>12}" + "".join(f"{name:>18}" for name in stores))
    for count in (1, 100, 1000):
        asked = CODEC.encode([rng.choice(keys, min(count, keys), replace=False).tolist()])

        def by_hand(asked: list[bytes] = asked) -> object:
            with raw.begin() as txn:
                return [decode(record) for record in map(txn.get, asked)]

        def by(store: OnlineStore, asked: list[bytes] = asked) -> Callable[[], object]:
            return lambda: reader.decode(asked, store.read([(TABLE, asked)])[0])

        times = interleaved({"raw": by_hand, **{name: by(store) for name, store in stores.items()}}, rounds)
        plain = times.pop("raw")
        cells = "".join(f"{spent:>10.1f} ({spent / plain:.2f}x)" for spent in times.values())
        print(f"{f'{count} keys x 10 features':<28}{plain:>12.1f}{cells}")


def singles(folder: Path, seconds: float) -> None:
    """Print how many writes of one record a second each setting takes."""
    print(f"\n{'writes of one record':<28}{'a second':>12}")
    kinds = {"lmdb": LmdbStore, "sqlite": SqliteStore}
    for name, durable in (("lmdb", False), ("lmdb", True), ("sqlite", False), ("sqlite", True)):
        with kinds[name](folder / f"{name}-{durable}", durable=durable) as store:
            store.create([TABLE])
            [key] = CODEC.encode([[7]])
            records = RowWriter(LAYOUT).encode(
                [key] * 100_000, list(range(100_000)), None, [[None] * 100_000] * len(TYPES)
            )
            done, end = 0, time.perf_counter() + seconds
            while time.perf_counter() < end:
                done += store.write(TABLE, [key], [records[done % len(records)]])
        print(f"{name + (', durable' if durable else ''):<28}{done / seconds:>12,.0f}")


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(argv)
    keys = 2_000 if asked.smoke else asked.keys
    with TemporaryDirectory() as name:
        folder = Path(name)
        stores: dict[str, OnlineStore] = {
            "lmdb": LmdbStore(folder / "lmdb"),
            "sqlite": SqliteStore(folder / "sqlite"),
            "memory": MemoryStore(),
        }
        for store in stores.values():
            store.create([TABLE])
        with lmdb.open(str(folder / "raw"), map_size=1 << 36, metasync=False) as raw:
            writes(keys, stores, raw)
            reads(keys, stores, raw, 3 if asked.smoke else 15)
        for store in stores.values():
            store.close()
        singles(folder, 0.1 if asked.smoke else 2)


if __name__ == "__main__":
    main()
