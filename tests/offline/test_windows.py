"""Windows of the DuckDB engine: long histories, hot keys, little memory; the suite has the meaning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.core.aggregates import FUNCTIONS
from likewise.core.types import FeatureType, Float64, Int64, String
from likewise.core.windows import Window
from likewise.offline.base import OfflineEngine
from likewise.offline.duckdb import DuckDBEngine
from likewise.plan.scan import Location, ScanColumn
from likewise.testing.offline_case import T, plan_of, spine, table
from likewise.testing.offline_windows import LIFETIME, of, windowed
from likewise.testing.reference_engine import ReferenceEngine
from likewise.testing.reference_values import plain_values
from likewise.testing.values import exact_all

WINDOWS = (Window(7), Window(500, 64), Window(2_000, None, 30), LIFETIME)
QUICK = ("count", "sum", "mean", "min", "max", "first", "last", "last_n(3)", "count_distinct", "median", "stddev_samp")


def history(folder: Path, kind: FeatureType, count: int, spread: int, hot: float = 0.5) -> Path:
    """Write events of 20 keys, of which one has a share of all; some alike in time, some created late."""
    rng = np.random.default_rng(5)
    key = np.where(rng.random(count) < hot, 0, rng.integers(0, 20, count))
    at = rng.integers(0, spread, count)
    made = pa.array(T + at + rng.integers(0, 20, count), pa.timestamp("us"), mask=rng.random(count) < 0.1)
    value = pa.array(np.round(rng.normal(0, 100, count), 2), mask=rng.random(count) < 0.2)
    keys = pa.array([f"user-{number}" for number in key]) if kind is String else pa.array(key)
    pq.write_table(
        table(at=pa.array(T + at, pa.timestamp("us")), made=made, k=keys, v=value),
        folder / "a.parquet",
        row_group_size=997,
    )
    return folder


def entity_rows(kind: FeatureType, count: int, spread: int) -> pa.Table:
    """Return entity rows of these keys, of an unknown one and of none, half of them of the hot key."""
    rng = np.random.default_rng(6)
    key = np.where(rng.random(count) < 0.5, 0, rng.integers(0, 21, count))
    keys = [None if number == 7 else f"user-{number}" if kind is String else number for number in key.tolist()]
    return spine((T + rng.integers(-5, spread + 50, count)).tolist(), k=pa.array(keys))


def trained(
    engine: OfflineEngine, folder: Path, kind: FeatureType, asked: pa.Table, functions: tuple[str, ...], known_by: bool
) -> dict[str, list[Any]]:
    """Return the values of all functions over all windows."""
    features = [(name, of("v", Float64), window) for name in functions for window in WINDOWS]
    join = windowed(Location(str(folder), "parquet"), *features, columns={"v": Float64}, created="made")
    join = replace(join, scan=replace(join.scan, keys=(ScanColumn("k", kind),)))
    plan = replace(plan_of(known_by=known_by), windows=(join,))
    answer = engine.training(plan, asked).read_all()
    engine.close()
    return {
        f"{name} {window}": exact_all(plain_values(answer[output]))
        for output, (name, _, window) in zip(join.outputs, features, strict=True)
    }


@pytest.mark.parametrize("known_by", [False, True])
@pytest.mark.parametrize("kind", [Int64, String], ids=str)
def test_long_histories_equal_the_reference(tmp_path: Path, kind: FeatureType, known_by: bool) -> None:
    """Every function over thousands of events of one key is the reference engine's, to the bit."""
    folder = history(tmp_path, kind, count=2_000, spread=20_000)
    asked = entity_rows(kind, 20, 20_000)
    functions = tuple(FUNCTIONS)
    found = trained(DuckDBEngine(), folder, kind, asked, functions, known_by)
    assert found == trained(ReferenceEngine(), folder, kind, asked, functions, known_by)


@pytest.mark.parametrize("known_by", [False, True])
def test_little_memory_changes_no_window(tmp_path: Path, known_by: bool) -> None:
    """Events that do not fit at once are read a run of keys at a time, and give the answers of all at once."""
    folder = history(tmp_path, Int64, count=20_000, spread=60_000, hot=0.1)
    asked = entity_rows(Int64, 300, 60_000)
    whole = trained(DuckDBEngine(), folder, Int64, asked, QUICK, known_by)
    assert trained(DuckDBEngine("1MB"), folder, Int64, asked, QUICK, known_by) == whole
