"""What `apply` costs: new views, none that changed, all that changed; beside it, writing the same views as JSON.

`python -m benchmarks.apply [--views 1000] [--rounds 3] [--smoke]` applies a repo of so many views of 10 features each,
on the registry in a file and on one in a SQLite database, and prints medians of wall and of processor time; beside them
a program that writes one JSON file for each view, and makes the bytes durable once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from likewise import FeatureStore

REPO = """
from datetime import timedelta
from likewise import Entity, FeatureView, Field, FileSource, ValueType
from likewise.types import Float64

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
source = FileSource(name="rows", path="data/rows.parquet", timestamp_field="event_timestamp")
views = [
    FeatureView(
        name=f"view_{{n:04}}", entities=[user], ttl=timedelta(days={days}), source=source, description="what users did",
        schema=[Field(f"f{{i}}", Float64) for i in range({features})], tags={{"team": "risk"}},
    )
    for n in range({views})
]
"""
REGISTRIES = {"file": "data/registry.db", "sql (SQLite)": "sqlite:///data/sql.db"}
Timed = tuple[float, float]
"""Wall and processor time, in seconds."""


def make_repo(folder: Path, registry: str, views: int) -> Path:
    """Make a repo."""
    (folder / "data").mkdir(parents=True)
    columns = {f"f{i}": [1.0, 2.0] for i in range(10)}
    times = pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True)
    rows = pd.DataFrame({"user_id": [1, 2], "event_timestamp": times, **columns})
    rows.to_parquet(folder / "data" / "rows.parquet")
    (folder / "feature_store.yaml").write_text(f"project: bench\nregistry: {registry}\nonline_store: lmdb\n")
    define(folder, views)
    return folder


def define(folder: Path, views: int, features: int = 10, days: int = 7) -> None:
    """Write the definitions."""
    (folder / "features.py").write_text(REPO.format(views=views, features=features, days=days))


def timed(job: Callable[[], object]) -> Timed:
    """Return what a job takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def write_json(folder: Path, store: FeatureStore) -> None:
    """Write a file for each definition, and wait for the disk once."""
    folder.mkdir()
    for plain in store.registry.catalog("bench").definitions():
        (folder / f"{plain['kind']}-{plain['name']}.json").write_text(json.dumps(plain))
    os.sync()


def one_round(folder: Path, registry: str, views: int) -> dict[str, Timed]:
    """Apply a repo again and again, as it changes."""
    repo = make_repo(folder, registry, views)
    found: dict[str, Timed] = {}
    with FeatureStore(repo) as store:
        found["apply, all new"] = timed(store.apply)
        found["their JSON, a file each"] = timed(lambda: write_json(folder / "json", store))
        found["apply, nothing changed"] = timed(store.apply)
        define(repo, views, days=8)
        found["apply, each ttl changed"] = timed(store.apply)
        define(repo, views, features=9)
        found["apply, each schema changed"] = timed(store.apply)
    return found


def main(argv: list[str] | None = None) -> None:
    """Print medians, and how often writing the JSON fits into each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--views", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="few views, one round")
    asked = parser.parse_args(argv)
    views, rounds = (20, 1) if asked.smoke else (asked.views, asked.rounds)
    with TemporaryDirectory() as place:
        one_round(Path(place, "warm"), "registry.db", 5)  # loads what an apply needs
        for name, registry in REGISTRIES.items():
            measured = [one_round(Path(place, f"{name} {n}"), registry, views) for n in range(rounds)]
            print_table(f"{views} views, registry: {name}", measured)


def print_table(title: str, rounds: list[dict[str, Timed]]) -> None:
    """Print the medians of rounds."""
    medians = {job: [statistics.median(each[job][i] for each in rounds) for i in (0, 1)] for job in rounds[0]}
    base = medians["their JSON, a file each"][0]
    print(f"\n{title}")
    for job, (wall, cpu) in medians.items():
        print(f"  {job:<28}{wall:>8.3f} s{cpu:>9.3f} s CPU{wall / base:>8.1f} x the JSON")


if __name__ == "__main__":
    main()
