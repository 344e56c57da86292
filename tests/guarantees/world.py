"""The repo of these tests: one view over one file, in any registry and online store, and what processes do to it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - so that a forked process has it
import pyarrow as pa
import pyarrow.parquet as pq

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, FixedClock, PushSource, RepoConfig
from likewise.backends import Once
from likewise.core.keys import KeyCodec
from likewise.core.types import Int64, String
from likewise.jobs.materialize import Crash
from likewise.online.rows import Layout, RowReader, RowWriter, head_of
from likewise.plan.lookup import table_name
from likewise.plan.materialize import plan_materialize
from likewise.registry.crash import no_crash
from likewise.registry.file import FileRegistry
from likewise.registry.sql import SqlRegistry
from likewise.testing.faults import kill_at

DAY = 86_400_000_000
NOW = 20_000 * DAY
USER = Entity(name="user", value_type=Int64)
FIELDS = [Field("n", Int64), Field("text", String), Field("twice", Int64)]
Stamp = tuple[int, int | None]
"""An event time and a created time, in microseconds since the epoch."""


@dataclass(frozen=True)
class World:
    """A repo in a folder."""

    folder: str
    """Where its file is."""
    registry: dict[str, Any]
    """What ``feature_store.yaml`` says under ``registry``."""
    online: dict[str, Any]
    """What it says under ``online_store``."""
    view: str = "v"
    """The view."""
    chunk_rows: int = 1000
    """About how many rows one chunk of a materialization covers."""
    batch: int = 250
    """How many keys are written at once."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return dataclasses.asdict(self)

    def open(self, crash: Crash = no_crash, now: int = NOW) -> FeatureStore:
        """Open the store."""
        config = RepoConfig(
            project="proof",
            registry=self.registry,
            online_store=self.online,
            materialization={
                "chunk_rows": self.chunk_rows,
                "online_write_batch_size": self.batch,
                "lease_seconds": 30.0,
            },
        )
        return FeatureStore(self.folder, config, clock=FixedClock(now), crash=crash)

    @property
    def rows(self) -> Path:
        """The source's file."""
        return Path(self.folder, f"{self.view}.parquet")

    @property
    def pushed(self) -> str:
        """The push source."""
        return f"pushed_{self.view}"

    @property
    def orders(self) -> str:
        """A table beside the view's, for records that are written directly."""
        return f"proof/orders_{self.view}"

    def definition(self, **changed: Any) -> FeatureView:
        """Return the view."""
        files = FileSource(
            path=self.rows.name, timestamp_field="at", created_timestamp_column="made", name=f"rows_{self.view}"
        )
        given = {"schema": FIELDS, "entities": [USER], "source": PushSource(self.pushed, files), **changed}
        return FeatureView(name=self.view, **given)

    def write(self, rows: pa.Table) -> None:
        """Put rows in the place of the source's."""
        pq.write_table(rows, self.rows)

    def held(self, store: FeatureStore) -> dict[int, tuple[Stamp, tuple[Any, ...]]]:
        """Return all records of the view by key, read one by one around the paths that serve them."""
        plan = plan_materialize("proof", store.definitions.view(self.view), self.folder, 0, 0)
        layout, keys = Layout.of(zip(plan.names, plan.types, strict=True)), KeyCodec([Int64], ["user"])
        found = self.raw(store)
        if not found:
            return {}
        decoded = RowReader(layout, [field.name for field in FIELDS]).decode(
            [key for key, _ in found], [record for _, record in found]
        )
        assert not decoded.absent
        values = zip(*decoded.columns, strict=True)
        heads = [head_of(record) for _, record in found]
        numbers = [keys.decode(key)[0] for key, _ in found]
        stamps = [(head.event, head.created) for head in heads]
        return {n: (stamp, held) for n, stamp, held in zip(numbers, stamps, values, strict=True)}

    def raw(self, store: FeatureStore) -> list[tuple[bytes, bytes]]:
        """Return all records of the view as they are stored."""
        table = table_name("proof", store.get_feature_view(self.view))
        return [pair for keys, records in store.online_store.pages(table) for pair in zip(keys, records, strict=True)]


def rows_of(numbers: Sequence[tuple[int, Stamp, int]]) -> pa.Table:
    """Return rows of the source: (key, stamp, number); all values of a row follow from its number."""
    times = pa.timestamp("us", "UTC")
    found = [number for _, _, number in numbers]
    return pa.table(
        {
            "user": pa.array([key for key, _, _ in numbers], pa.int64()),
            "at": pa.array([stamp[0] for _, stamp, _ in numbers], pa.int64()).cast(times),
            "made": pa.array([stamp[1] for _, stamp, _ in numbers], pa.int64()).cast(times),
            "n": pa.array(found, pa.int64()),
            "text": [f"{number} " * (number % 9) for number in found],
            "twice": pa.array([2 * number for number in found], pa.int64()),
        }
    )


def values_of(number: int) -> tuple[Any, ...]:
    """Return the values of a row."""
    return number, f"{number} " * (number % 9), 2 * number


def generation(number: int, keys: int) -> list[tuple[int, Stamp, int]]:
    """Return the rows of a generation: one of each key, newer than all before."""
    return [(key, (time_of(number), None), number * 1_000_000 + key) for key in range(keys)]


def time_of(number: int) -> int:
    """Return the event time of a generation's rows."""
    return NOW - DAY + number


# What processes do


def materialize(world: World, end: int = NOW, point: str = "", times: int = 1) -> None:
    """Materialize all there is up to a time; the process is killed when it passes a crash point for the n-th time."""
    with world.open(kill_at(point, times) if point else no_crash) as store:
        store.materialize(0, end, [world.view])


def apply(world: World, changed: bool = False) -> None:
    """Apply the view, or a changed one with another one beside it."""
    with world.open() as store:
        store.apply(_views(world, changed), partial=False, skip_source_validation=True)


def apply_at(world: World, point: str) -> None:
    """Apply the changed views, and be killed at a point of the apply, or of the registry below it."""
    hook, path = kill_at(point), world.registry["path"]
    with world.open(hook) as store:
        store._registry = Once(
            lambda: (
                SqlRegistry(path, crash=hook) if "://" in path else FileRegistry(Path(world.folder, path), crash=hook)
            )
        )
        store.apply(_views(world, True), partial=False, skip_source_validation=True)


def _views(world: World, changed: bool) -> list[FeatureView]:
    if not changed:
        return [world.definition()]
    return [world.definition(tags={"team": "b"}), dataclasses.replace(world, view="w").definition()]


def write_stamps(world: World, stamps: list[list[Any]], seed: int, batch: int, push: bool) -> None:
    """Push rows, or write them to the online store, in an order of the process's own, some at a time."""
    order = [(key, (event, created), number) for key, event, created, number in stamps]
    random.Random(seed).shuffle(order)
    with world.open() as store:
        for start in range(0, len(order), batch):
            rows = rows_of(order[start : start + batch])
            if push:
                store.push(world.pushed, rows)
            else:
                store.write_to_online_store(world.view, rows)


def write_records(world: World, rows: list[list[Any]]) -> None:
    """Write one record of each key to the table beside the view's."""
    with world.open() as store:
        write_numbered(store, world, [(key, (event, created), number) for key, event, created, number in rows])


def write_numbered(store: FeatureStore, world: World, rows: Sequence[tuple[int, Stamp, int]]) -> None:
    """Write records of one number each to the table beside the view's, all in one batch."""
    keys = [b"%05d" % key for key, _, _ in rows]
    writer = RowWriter(Layout.of([("n", Int64)]))
    events, made = [stamp[0] for _, stamp, _ in rows], [stamp[1] for _, stamp, _ in rows]
    store.online_store.write(world.orders, keys, writer.encode(keys, events, made, [[n for _, _, n in rows]]))


WORK: dict[str, Callable[..., None]] = {
    "materialize": materialize,
    "apply": apply,
    "apply_at": apply_at,
    "write_stamps": write_stamps,
    "write_records": write_records,
}
"""What a process may be asked to do."""
