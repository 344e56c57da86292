"""Windowed training sets: 4 windows x 5 functions beside the plain training set of the same size, in one run.

`python -m benchmarks.windows [--rows 10e6] [--entities 1e6] [--memory 3GB] [--known-by] [--smoke]` generates the events
and entity rows of `benchmarks.training` twice: with even keys, and with one key that holds a tenth of the events and
of the entity rows. It then times, from Parquet to a pandas DataFrame, warm, taking turns, each in a process of its own:
the plain training set (10 features as of the entity rows' times), and count, sum, mean, min and max of a Float64 column
over 1 hour, 1 day, 7 days and 30 days. It prints the least and the median time, the ratio to the plain set of the same
data, and the most memory that each process took.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.training import Engine, features, in_turns, peak_memory, times

from likewise.core.aggregates import aggregate_for
from likewise.core.frames import to_pandas, to_table
from likewise.core.windows import Window
from likewise.jobs.spine import narrowed, with_utc_times
from likewise.offline.duckdb import DuckDBEngine
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import TrainingPlan
from likewise.plan.windows import WindowFeature, WindowInput, WindowJoin, WindowSet
from likewise.types import Float64, Int64

CHUNK = 10_000_000
HOT = 0
HOUR = 3_600_000_000
SPANS = {"1h": HOUR, "1d": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR}
FUNCTIONS = ("count", "sum", "mean", "min", "max")


def generate(folder: Path, rows: int, entities: int, keys: int, hot: float) -> None:
    """Write events and entity rows; a share of both has one key."""
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, CHUNK):
        table = heated(rng, features(rng, min(CHUNK, rows - start), keys, text=False), hot)
        writer = writer or pq.ParquetWriter(folder / "features.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    asked_keys = rng.integers(0, int(keys * 1.02) + 1, entities)
    spine = heated(rng, pa.table({"key": asked_keys, "event_timestamp": times(rng, entities)}), hot)
    pq.write_table(spine.append_column("label", pa.array(rng.integers(0, 2, entities))), folder / "entities.parquet")


def heated(rng: np.random.Generator, table: pa.Table, hot: float) -> pa.Table:
    """Give a share of the rows the hot key."""
    key = np.where(rng.random(table.num_rows) < hot, HOT, table.column("key").to_numpy())
    return table.set_column(0, "key", pa.array(key))


class Windows:
    """The engine's windowed features."""

    def __init__(self, memory: str, known_by: bool) -> None:
        self.engine = DuckDBEngine(memory)
        self.known_by = known_by

    def __call__(self, source: Path, spine: pd.DataFrame) -> pd.DataFrame:
        table = with_utc_times(to_table(spine), "event_timestamp")
        given = WindowInput("f4", "", Float64, ("f4",))
        made = [
            WindowFeature(f"{function}_{name}", 0, function, Window(span), aggregate_for(function, Float64).output)
            for name, span in SPANS.items()
            for function in FUNCTIONS
        ]
        columns = (ScanColumn("f4", Float64),)
        location = Location(str(source), "parquet")
        scan = Scan("view", location, "event_timestamp", "created", (ScanColumn("key", Int64),), columns)
        windows = WindowSet("view", (given,), tuple(made), (("f4", Float64),))
        join = WindowJoin(scan, windows, ("key",), tuple(feature.name for feature in made))
        types = (("key", Int64),)
        plan = TrainingPlan("bench", 1, "event_timestamp", types, (), (), (), self.known_by, (join,))
        keys = narrowed(table, "event_timestamp", plan.spine_types)
        return to_pandas(self.engine.training(plan, keys.append_column("label", table.column("label"))).read_all())


def work(name: str, folder: Path, memory: str, known_by: bool) -> None:
    """Run one method each time a line comes in; print seconds and peak memory in MB."""
    spine = pq.read_table(folder / "entities.parquet").to_pandas()
    method = Windows(memory, known_by) if name == "windows" else Engine(memory)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        answer = method(folder / "features.parquet", spine)
        seconds = time.perf_counter() - began
        assert (answer["key"].to_numpy() == spine["key"].to_numpy()).all(), "not in the order given"
        print(seconds, peak_memory(), flush=True)
        del answer


def compare(folders: dict[str, Path], rounds: int, options: list[str]) -> None:
    """Time all methods on all data by turns, and print a table."""
    command = [sys.executable, "-m", "benchmarks.windows", *options]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {
        (data, name): subprocess.Popen([*command, "--folder", str(folder), "--work", name], **pipes)
        for data, folder in folders.items()
        for name in ("plain", "windows")
    }
    show(in_turns(workers, rounds))


def show(found: dict[tuple[str, str], list[list[float]]]) -> None:
    print(f"{'data':<10} {'method':<10} {'min s':>8} {'median s':>9} {'ratio':>6} {'peak MB':>8}")
    for (data, name), runs in found.items():
        seconds = [run[0] for run in runs]
        ratio = min(seconds) / min(run[0] for run in found[data, "plain"])
        middle = statistics.median(seconds)
        print(f"{data:<10} {name:<10} {min(seconds):8.3f} {middle:9.3f} {ratio:6.2f} {runs[-1][1]:8.0f}")


def main(argv: list[str] | None = None) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=float, default=10e6, help="events")
    parser.add_argument("--entities", type=float, help="entity rows; by default one for ten events")
    parser.add_argument("--keys", type=float, help="distinct keys; by default as many as entity rows")
    parser.add_argument("--memory", default="3GB", help="the memory limit")
    parser.add_argument("--known-by", action="store_true", help="count an event only once it was created")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.work:
        work(given.work, given.folder, given.memory, given.known_by)
        return
    rows = 20_000 if given.smoke else int(given.rows)
    entities = int(given.entities or rows / 10)
    options = ["--memory", given.memory, *(["--known-by"] if given.known_by else [])]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folders = {data: Path(name) / data for data in ("even", "hot key")}
        for folder, hot in zip(folders.values(), (0.0, 0.1), strict=True):
            folder.mkdir()
            generate(folder, rows, entities, int(given.keys or entities), hot)
        print(
            f"{rows:,} events x {entities:,} entity rows; plain: 10 features; windows: {len(SPANS)} x {len(FUNCTIONS)}"
        )
        compare(folders, 1 if given.smoke else given.rounds, options)


if __name__ == "__main__":
    main()
