"""Training sets: ours beside the best queries we could write by hand for DuckDB, in one run.

`python -m benchmarks.training [--rows 10e6] [--entities 1e6] [--keys 1e6] [--text-keys] [--memory 6GB] [--smoke]`
generates feature rows (key, event time, created time, 10 features; unsorted, 0.1 % ties) and entity rows once, then
times each method from Parquet to a pandas DataFrame: each in a process of its own, warm, taking turns. It prints the
least and the median time, the ratio to the best query, and the most memory that each process took. The queries have it
easier: of rows that are alike in event time they take any, or all, and they know no created times.

By default it runs two sizes, 2 M x 200 k and 10 M x 1 M.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from likewise.config import OfflineStoreConfig, OnlineStoreConfig, RegistryConfig
from likewise.core.frames import to_pandas, to_table
from likewise.jobs.spine import narrowed, with_utc_times
from likewise.offline.duckdb import DuckDBEngine
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.types import Float32, Float64, Int64, String

K = TypeVar("K")

NAMES = [f"f{i}" for i in range(10)]
TYPES = [Float32] * 4 + [Float64] * 3 + [Int64] * 3
START, YEAR = 1_704_067_200_000_000, 365 * 86_400_000_000
CHUNK = 10_000_000
Method = Callable[[Path, pd.DataFrame], pd.DataFrame]


# ---- data


def generate(folder: Path, rows: int, entities: int, keys: int, text: bool) -> None:
    """Write the feature rows, a chunk at a time, and the entity rows."""
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, CHUNK):
        table = features(rng, min(CHUNK, rows - start), keys, text)
        writer = writer or pq.ParquetWriter(folder / "features.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    hit = (
        pq.ParquetFile(folder / "features.parquet")
        .read_row_group(0, ["key", "event_timestamp"])
        .slice(0, entities // 50)
    )
    missing = entities - hit.num_rows  # 2 % hit a row's time exactly; of the others some keys are unknown
    table = pa.table(
        {
            "key": key_column(rng.integers(0, int(keys * 1.02) + 1, missing), text),
            "event_timestamp": times(rng, missing),
        }
    )
    asked = pa.concat_tables([hit, table]).take(pa.array(rng.permutation(entities)))
    pq.write_table(asked.append_column("label", pa.array(rng.integers(0, 2, entities))), folder / "entities.parquet")


def features(rng: np.random.Generator, rows: int, keys: int, text: bool) -> pa.Table:
    """Return feature rows; one in a thousand repeats the key and time of another."""
    key, at = rng.integers(0, keys, rows), rng.integers(START, START + YEAR, rows)
    twin, of = rng.integers(0, rows, (2, rows // 1000))
    key[twin], at[twin] = key[of], at[of]
    created = at + rng.integers(0, 6 * 3_600_000_000, rows)
    columns = {"key": key_column(key, text), "event_timestamp": stamps(at), "created": stamps(created)}
    makers = {Float32: lambda: rng.random(rows, np.float32), Float64: lambda: rng.normal(size=rows)}
    for number, (name, kind) in enumerate(zip(NAMES, TYPES, strict=True)):
        columns[name] = makers.get(kind, lambda high=10 ** (number - 4): rng.integers(0, high, rows))()
    return pa.table(columns)


def key_column(numbers: Any, text: bool) -> Any:
    return pa.array([f"user-{number:08d}" for number in numbers]) if text else numbers


def times(rng: np.random.Generator, rows: int) -> pa.Array:
    return stamps(rng.integers(START, START + YEAR, rows))


def stamps(micros: Any) -> pa.Array:
    return pa.array(micros, pa.timestamp("us"))


# ---- ours


class Engine:
    """The engine by itself."""

    def __init__(self, memory: str) -> None:
        self.engine = DuckDBEngine(memory)

    def __call__(self, source: Path, spine: pd.DataFrame) -> pd.DataFrame:
        table = with_utc_times(to_table(spine), "event_timestamp")
        kind = Int64 if pa.types.is_integer(table.schema.field("key").type) else String
        columns = tuple(ScanColumn(name, kind) for name, kind in zip(NAMES, TYPES, strict=True))
        location = Location(str(source), "parquet")
        scan = Scan("view", location, "event_timestamp", "created", (ScanColumn("key", kind),), columns)
        join = AsOfJoin(scan, ("key",), tuple(NAMES), None)
        plan = TrainingPlan("bench", 1, "event_timestamp", (("key", kind),), (join,), (), ())
        keys = narrowed(table, "event_timestamp", plan.spine_types)
        answer = self.engine.training(plan, keys.append_column("label", table.column("label"))).read_all()
        return to_pandas(answer)


class Store:
    """The whole way, through ``FeatureStore``."""

    def __init__(self, memory: str) -> None:
        self.memory = memory
        self.store: FeatureStore | None = None

    def __call__(self, source: Path, spine: pd.DataFrame) -> pd.DataFrame:
        self.store = self.store or self.opened(source, spine)
        return self.store.get_historical_features(spine, [f"view:{name}" for name in NAMES]).to_df()

    def opened(self, source: Path, spine: pd.DataFrame) -> FeatureStore:
        config = RepoConfig(
            project="bench",
            registry=RegistryConfig(registry_type="memory"),
            online_store=OnlineStoreConfig(type="memory"),
            offline_store=OfflineStoreConfig(memory_limit=self.memory),
        )
        store = FeatureStore(source.parent, config)
        kind = Int64 if pd.api.types.is_integer_dtype(spine["key"]) else String
        entity = Entity(name="key", join_keys=["key"], value_type=kind.to_value_type())
        rows = FileSource(path=str(source), timestamp_field="event_timestamp", created_timestamp_column="created")
        fields = [Field(name, kind) for name, kind in zip(NAMES, TYPES, strict=True)]
        store.apply([entity, FeatureView(name="view", entities=[entity], schema=fields, source=rows)])
        return store


# ---- by hand


def connected(spine: pd.DataFrame) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    columns = {name: pa.array(spine[name]) for name in ("key", "event_timestamp", "label")}
    connection.register("given", pa.table({"rn": np.arange(len(spine), dtype="i4"), **columns}))
    connection.execute("CREATE TEMP TABLE spine AS FROM given")
    return connection


def asof(source: Path, spine: pd.DataFrame) -> pd.DataFrame:
    """Join and sort, as the documentation shows it."""
    columns = ", ".join(f"f.{name}" for name in NAMES)
    query = (
        f"SELECT s.key, s.event_timestamp, s.label, {columns} FROM spine s ASOF LEFT JOIN '{source}' f "
        "ON s.key = f.key AND s.event_timestamp >= f.event_timestamp ORDER BY s.rn"
    )
    return connected(spine).sql(query).df()


def asof_row_fetch(source: Path, spine: pd.DataFrame) -> pd.DataFrame:
    """Join narrow rows that carry their number, then fetch the features by number."""
    connection = connected(spine)
    connection.execute("SET preserve_insertion_order = false")
    narrow = f"SELECT key, event_timestamp, file_row_number r FROM '{source}' WHERE key IN (SELECT key FROM spine)"
    connection.execute(
        f"CREATE TEMP TABLE m AS SELECT s.rn, f.r FROM spine s ASOF JOIN ({narrow}) f "
        "ON s.key = f.key AND s.event_timestamp >= f.event_timestamp"
    )
    query = f"SELECT m.rn, {', '.join(NAMES)} FROM m JOIN '{source}' f ON m.r = f.file_row_number"
    return scattered(spine, connection.sql(query).to_arrow_table())


def pairs_max_fetch(source: Path, spine: pd.DataFrame) -> pd.DataFrame:
    """Take the greatest time of all pairs of a key, then fetch the features by key and time."""
    connection = connected(spine)
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        "CREATE TEMP TABLE m AS SELECT s.rn, any_value(s.key) AS key, max(f.event_timestamp) ts FROM spine s "
        f"JOIN (SELECT key, event_timestamp FROM '{source}') f "
        "ON s.key = f.key AND s.event_timestamp >= f.event_timestamp GROUP BY s.rn"
    )
    query = f"SELECT m.rn, {', '.join(NAMES)} FROM m JOIN '{source}' f ON m.key = f.key AND m.ts = f.event_timestamp"
    return scattered(spine, connection.sql(query).to_arrow_table())


def scattered(spine: pd.DataFrame, found: pa.Table) -> pd.DataFrame:
    """Put rows that come in any order into their places; integers become floats, as they do by hand."""
    place = found.column("rn").to_numpy()
    columns = {name: spine[name].array for name in spine}
    for name in NAMES:
        values = found.column(name).to_numpy()
        column = np.full(len(spine), np.nan, values.dtype if values.dtype.kind == "f" else np.float64)
        column[place] = values
        columns[name] = column
    return pd.DataFrame(columns, copy=False)


OURS: dict[str, Callable[[str], Method]] = {"ours, engine": Engine, "ours, FeatureStore": Store}
"""What is measured, by name; made with a memory limit."""
BY_HAND: dict[str, Method] = {"asof": asof, "asof_row_fetch": asof_row_fetch, "pairs_max_fetch": pairs_max_fetch}
"""What it is measured against."""


# ---- timing


def work(name: str, folder: Path, memory: str) -> None:
    """Run one method each time a line comes in; print seconds, peak memory in MB, and how many values are null."""
    spine = pq.read_table(folder / "entities.parquet").to_pandas()
    method = OURS[name](memory) if name in OURS else BY_HAND[name]
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        answer = method(folder / "features.parquet", spine)
        seconds = time.perf_counter() - began
        assert (answer["key"].to_numpy() == spine["key"].to_numpy()).all(), "not in the order given"
        nulls = int(answer[NAMES[0]].isna().sum())
        print(seconds, peak_memory(), nulls, flush=True)
        del answer


def peak_memory() -> float:
    """Return the most memory that this process has taken, in MB; Linux counts it from the start of the program."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(folder: Path, names: list[str], rounds: int, memory: str) -> None:
    """Time the methods by turns, and print a table."""
    command = [sys.executable, "-m", "benchmarks.training", "--folder", str(folder), "--memory", memory, "--work"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {name: subprocess.Popen([*command, name], **pipes) for name in names}
    show(in_turns(workers, rounds))


def in_turns(workers: dict[K, Any], rounds: int) -> dict[K, list[list[float]]]:
    """Ask each worker once to warm up, then all of them by turns, and end them; return what each said."""
    for worker in workers.values():
        worker.stdout.readline()
        asked(worker)
    found: dict[K, list[list[float]]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            found[name].append(asked(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return found


def asked(worker: Any) -> list[float]:
    worker.stdin.write("\n")
    worker.stdin.flush()
    return [float(word) for word in worker.stdout.readline().split()]


def show(found: dict[str, list[list[float]]]) -> None:
    best = min((min(run[0] for run in runs) for name, runs in found.items() if name in BY_HAND), default=0.0)
    print(f"{'method':<20} {'min s':>8} {'median s':>9} {'ratio':>6} {'peak MB':>8} {'no value':>9}")
    for name, runs in found.items():
        seconds = [run[0] for run in runs]
        ratio = f"{min(seconds) / best:.2f}" if best else ""
        middle = statistics.median(seconds)
        print(f"{name:<20} {min(seconds):8.3f} {middle:9.3f} {ratio:>6} {runs[-1][1]:8.0f} {runs[-1][2]:9.0f}")


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=float, help="feature rows; by default ten for each entity row")
    parser.add_argument("--entities", type=float, help="entity rows")
    parser.add_argument("--keys", type=float, help="distinct keys; by default as many as entity rows")
    parser.add_argument("--text-keys", action="store_true", help="keys like user-00000001")
    parser.add_argument("--memory", default="", help="the memory limit of ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--methods", nargs="*", default=[*OURS, *BY_HAND], metavar="METHOD", help="which; all by default"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.work:
        work(given.work, given.folder, given.memory)
        return
    sizes = [(2_000_000, 200_000, 100_000), (10_000_000, 1_000_000, 1_000_000)]
    if given.rows or given.entities:
        entities = int(given.entities or given.rows / 10)
        sizes = [(int(given.rows or entities * 10), entities, int(given.keys or entities))]
    if given.smoke:
        sizes = [(20_000, 2_000, 1_000)]
    for rows, entities, keys in sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            generate(Path(name), rows, entities, keys, given.text_keys)
            print(f"\n{rows:,} feature rows x {entities:,} entity rows, {keys:,} keys, 10 features", flush=True)
            methods = [*OURS, "asof_row_fetch"] if given.smoke else given.methods
            compare(Path(name), methods, 1 if given.smoke else given.rounds, given.memory)


if __name__ == "__main__":
    main()
