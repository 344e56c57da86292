"""Values at the edges come back with their type and bits on every path (T21, T22), and so does odd data (T24)."""

import math
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.guarantees.conftest import SHARED
from tests.guarantees.world import NOW, USER, World

from likewise import FeatureView, Field, FileSource
from likewise.core.types import arrow_type
from likewise.online.columns import ColumnWriter
from likewise.testing.online_suite import VALUES
from likewise.testing.strategies import soaking

TIMES = pa.timestamp("us", "UTC")
EDGES = [(kind, values) for kind, values in VALUES if not str(kind).startswith(("Set", "Map", "Struct"))]
"""The conformance suite's values; for sets, maps and structs see tests/jobs/test_values.py."""


def same_bits(value: Any) -> Any:
    """Return what tells values apart that compare as equal: type, sign of zero, kind of NaN."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, list):
        return [same_bits(item) for item in value]
    return type(value).__name__, value


@pytest.mark.parametrize("kind", ["memory", *SHARED])
def test_values_are_the_same_to_the_bit_on_every_path(kind, new_world, figures):
    """From Parquet to a training set, and online to dicts, Arrow and frames: the same types, bits and nulls (T21)."""
    world = new_world(kind)
    most = max(len(values) for _, values in EDGES)
    columns, given, fields = {}, {}, []
    for number, (type_, values) in enumerate(EDGES):
        padded = [*values, *[None] * (most - len(values))]
        columns[f"x{number}"] = ColumnWriter(f"x{number}", type_).array(padded)
        given[f"x{number}"] = padded
        fields.append(Field(f"x{number}", type_))
    at = pa.array([NOW - 1] * most, TIMES)
    pq.write_table(pa.table({"user": list(range(most)), "at": at, **columns}), world.rows)
    source = FileSource(path=world.rows.name, timestamp_field="at", name=f"rows_{world.view}")
    view = FeatureView(name=world.view, entities=[USER], schema=fields, source=source)
    with world.open() as store:
        store.apply([view])
        store.materialize(0, NOW, [world.view])
        spine = pa.table({"user": list(range(most)), "event_timestamp": pa.array([NOW] * most, TIMES)})
        trained = store.get_historical_features(spine, [world.view]).to_arrow()
        answer = store.get_online_features([world.view], {"user": list(range(most))})
        online, dicts, frame = answer.to_arrow(), answer.to_dict(), answer.to_df()
    wrong = []
    for field in fields:
        wanted = same_bits(columns[field.name].to_pylist())
        for path, found in (("training", trained[field.name]), ("arrow", online[field.name])):
            if found.type != arrow_type(field.dtype) or same_bits(found.to_pylist()) != wanted:
                wrong.append((path, field))
        if same_bits(dicts[field.name]) != same_bits(given[field.name]):
            wrong.append(("dict", field))
        if len(frame[field.name]) != most:
            wrong.append(("frame", field))
    figures(cases=4 * most * len(fields), differences=len(wrong))
    assert wrong == []


@pytest.mark.filterwarnings("ignore:view:UserWarning")
def test_times_of_a_day_that_is_changed_by_daylight_saving_are_instants(new_world, figures):
    """Entity rows in a zone whose clock goes back are asked at the instants they mean; naive ones are UTC (T22)."""
    world: World = new_world("memory")
    first = datetime(2023, 10, 28, 23, tzinfo=UTC)  # Berlin's clock goes back at 01:00 UTC of the 29th
    hours = pd.date_range(first, periods=8, freq="30min")
    rows = pa.table(
        {"user": [1] * 8, "at": pa.array(hours).cast(TIMES), "made": pa.nulls(8, TIMES), "n": list(range(8))}
    )
    rows = rows.append_column("text", pa.nulls(8, pa.string())).append_column("twice", pa.nulls(8, pa.int64()))
    world.write(rows)
    with world.open() as store:
        store.apply([world.definition()])
        asked = [f"{world.view}:n"]
        for zone in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"):
            spine = pd.DataFrame({"user": [1] * 8, "event_timestamp": hours.tz_convert(zone)})
            found = store.get_historical_features(spine, asked).to_df()
            assert found["n"].tolist() == list(range(8)), zone
        naive = pd.DataFrame({"user": [1] * 8, "event_timestamp": hours.tz_localize(None)})
        assert store.get_historical_features(naive, asked).to_df()["n"].tolist() == list(range(8))
        store.materialize(0, NOW)
        for number, hour in enumerate(hours.tz_convert("Europe/Berlin")):
            answer = store.get_online_features(asked, {"user": [1]}, as_of=hour.to_pydatetime()).to_dict()["n"]
            assert answer == [7 if hour >= hours[7] else None], number
    figures(cases=48, differences=0)


def test_a_key_with_a_million_events(new_world, figures):
    """One key that has most of the rows is trained on, and materialized, like any other (T24)."""
    count = 1_000_000 if soaking() else 100_000
    world: World = new_world("lmdb", chunk_rows=100_000)
    at = np.arange(NOW - count, NOW)
    np.random.default_rng(7).shuffle(at)
    numbers = at - (NOW - count)
    keys = np.where(numbers % 1000 == 999, numbers, -1)
    rows = pa.table(
        {
            "user": keys,
            "at": pa.array(at, pa.int64()).cast(TIMES),
            "made": pa.nulls(count, TIMES),
            "n": numbers,
            "text": pa.nulls(count, pa.string()),
            "twice": numbers * 2,
        }
    )
    world.write(rows)
    with world.open() as store:
        store.apply([world.definition()])
        times = np.arange(NOW - count, NOW, count // 1000)
        spine = pa.table({"user": np.full(len(times), -1), "event_timestamp": pa.array(times).cast(TIMES)})
        found = store.get_historical_features(spine, [f"{world.view}:n"]).to_arrow()["n"].to_pylist()
        wanted = [int(t - (NOW - count)) for t in times]
        wanted = [n - 1 if n % 1000 == 999 else n for n in wanted]
        wrong = sum(a != b for a, b in zip(found, wanted, strict=True))
        [done] = store.materialize(0, NOW)
        served = store.get_online_features([f"{world.view}:n"], {"user": [-1, 999, 5]}).to_dict()["n"]
    figures(cases=count, differences=wrong)
    assert (wrong, done.keys, served) == (0, count // 1000 + 1, [count - 2, 999, None])
