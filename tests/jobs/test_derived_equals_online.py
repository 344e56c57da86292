"""The one rule for transformations: what training says of a key at a time, serving says, whatever the mode (G8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise import BatchFeatureView, Entity, FeatureStore, FileSource, FixedClock, PushMode, PushSource, RepoConfig
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.define.field import Field
from likewise.types import Bool, Float64, Int64, String

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
TIMES = pa.timestamp("us", tz="UTC")
FEATURES = ["v:next", "v:half", "v:label", "v:flag"]


@dataclass(frozen=True)
class Event:
    """One row of the source, or one that is pushed."""

    key: int
    at: int
    created: int | None
    number: int | None
    share: float | None
    text: str | None
    flag: bool | None


events = st.builds(
    Event,
    st.integers(1, 3),
    st.integers(NOW - 4 * SECOND, NOW),
    st.none() | st.integers(NOW - 4 * SECOND, NOW),
    st.none() | st.integers(-(2**62), 2**62),
    st.none() | st.floats(-1e300, 1e300),
    st.none() | st.text("abc", max_size=3),
    st.none() | st.booleans(),
)


def table(rows: Sequence[Event]) -> pa.Table:
    """Return rows as the source holds them."""
    return pa.table(
        {
            "user_id": pa.array([row.key for row in rows], pa.int64()),
            "at": pa.array([row.at for row in rows], pa.int64()).cast(TIMES),
            "made": pa.array([row.created for row in rows], pa.int64()).cast(TIMES),
            "number": pa.array([row.number for row in rows], pa.int64()),
            "share": pa.array([row.share for row in rows], pa.float64()),
            "text": pa.array([row.text for row in rows], pa.string()),
            "flag": pa.array([row.flag for row in rows], pa.bool_()),
        }
    )


def in_pandas(df: pd.DataFrame) -> pd.DataFrame:
    """Transform rows in pandas; those with the text ``a`` are left out."""
    df = df[df["text"].isna() | (df["text"] != "a")]
    columns = {"next": df["number"] + 1, "half": df["share"] / 2, "label": df["text"] + "!", "flag": ~df["flag"]}
    return df[["user_id", "at", "made"]].assign(**columns)


def in_polars(df: pl.DataFrame) -> pl.DataFrame:
    """Do the same in polars."""
    return df.filter(pl.col("text").is_null() | (pl.col("text") != "a")).select(
        "user_id",
        "at",
        "made",
        (pl.col("number") + 1).alias("next"),
        (pl.col("share") / 2).alias("half"),
        (pl.col("text") + "!").alias("label"),
        ~pl.col("flag"),
    )


def in_python(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Do the same in lists."""
    whole = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    kept = [row for row in whole if row["text"] != "a"]
    made: dict[str, Callable[[dict[str, Any]], Any]] = {
        "next": lambda row: None if row["number"] is None else row["number"] + 1,
        "half": lambda row: None if row["share"] is None else row["share"] / 2,
        "label": lambda row: None if row["text"] is None else row["text"] + "!",
        "flag": lambda row: None if row["flag"] is None else not row["flag"],
    }
    same = {name: [row[name] for row in kept] for name in ("user_id", "at", "made")}
    return same | {name: [make(row) for row in kept] for name, make in made.items()}


def in_sql(rows: str) -> str:
    """Do the same in SQL."""
    return f"""
        SELECT user_id, "at", made, number + 1 AS next, share / 2 AS half, text || '!' AS label, NOT flag AS flag
        FROM {rows} WHERE text IS NULL OR text <> 'a'
    """


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "pandas": in_pandas,
    "polars": in_polars,
    "python": in_python,
    "sql": in_sql,
}


def open_store(folder: Path, mode: str) -> FeatureStore:
    """Return a store whose view transforms a file, and can be pushed to."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(registry_type="memory"),
        online_store=OnlineStoreConfig(type="memory"),
    )
    store = FeatureStore(folder, config, clock=FixedClock(NOW))
    source = FileSource(path="rows.parquet", timestamp_field="at", created_timestamp_column="made")
    fields = [Field("next", Int64), Field("half", Float64), Field("label", String), Field("flag", Bool)]
    user, function = Entity(name="user", join_keys=["user_id"]), FUNCTIONS[mode]
    view = BatchFeatureView("v", PushSource("pushed", source), fields, [user], udf=function, mode=mode, online=True)
    store.apply([view])
    return store


def expected(rows: Sequence[Event], key: int) -> tuple[Any, ...]:
    """Return the features of a key by plain loops: of its latest row that is kept (S2, S3), each by its formula."""
    kept = [(row, order) for order, row in enumerate(rows) if row.key == key and row.text != "a"]
    if not kept:
        return None, None, None, None
    row, _ = max(kept, key=lambda one: (one[0].at, one[0].created or -1, one[1]))
    return (
        None if row.number is None else row.number + 1,
        None if row.share is None else row.share / 2,
        None if row.text is None else row.text + "!",
        None if row.flag is None else not row.flag,
    )


@pytest.mark.parametrize("mode", FUNCTIONS)
@given(st.lists(events, max_size=8), st.lists(events, max_size=4), st.booleans())
def test_training_and_serving_give_the_same_values(
    mode: str, files: list[Event], pushed: list[Event], push_first: bool
) -> None:
    """Materialized, pushed, or both, in either order: training and serving have what plain loops compute."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(table(files), folder / "rows.parquet")
        with open_store(folder, mode) as store:
            if pushed and push_first:
                store.push("pushed", table(pushed), to=PushMode.ONLINE_AND_OFFLINE)
            store.materialize(0, NOW)
            if pushed and not push_first:
                store.push("pushed", table(pushed), to=PushMode.ONLINE_AND_OFFLINE)
            keys = [1, 2, 3, 4]
            spine = pa.table({"user_id": keys, "event_timestamp": pa.array([NOW] * 4).cast(pa.timestamp("us"))})
            trained = store.get_historical_features(spine, FEATURES).to_arrow().to_pydict()
            served = store.get_online_features(FEATURES, {"user_id": keys}).to_dict()
        for row, key in enumerate(keys):
            wanted = expected([*files, *pushed], key)
            for feature, value in zip(("next", "half", "label", "flag"), wanted, strict=True):
                assert trained[feature][row] == value, (key, feature)
                assert served[feature][row] == value, (key, feature)
