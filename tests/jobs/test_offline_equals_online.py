"""The one rule: what training says of a key at a time, serving says at that time (G8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FieldStatus,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    RepoConfig,
)
from likewise.config import MaterializationConfig, OnlineStoreConfig, RegistryConfig
from likewise.core.errors import LikewiseError
from likewise.testing.oracle import Row, online
from likewise.types import Float32, Int64, String

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
TTLS = (None, timedelta(0), timedelta(seconds=3), timedelta(microseconds=1))
pytestmark = pytest.mark.filterwarnings("ignore:view 'v' has:UserWarning")


@dataclass(frozen=True)
class Event:
    """One row of the view's source, or one that is pushed."""

    key: int
    at: int
    created: int | None
    number: int | None
    text: str | None


near = st.builds(lambda s, us: NOW + s * SECOND + us, st.integers(-6, 1), st.sampled_from([0, 0, 1, -1]))
events = st.builds(
    Event,
    st.integers(1, 4),
    near,
    st.none() | near,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(max_size=4),
)


def table(rows: Sequence[Event]) -> pa.Table:
    """Return rows as a source holds them."""
    times = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "user_id": pa.array([row.key for row in rows], pa.int64()),
            "at": pa.array([row.at for row in rows], pa.int64()).cast(times),
            "made": pa.array([row.created for row in rows], pa.int64()).cast(times),
            "number": pa.array([row.number for row in rows], pa.int64()),
            "text": pa.array([row.text for row in rows], pa.string()),
            "share": pa.array([None if row.number is None else row.number / 3 for row in rows], pa.float64()),
        }
    )


def open_store(folder: Path, kind: str, ttl: timedelta | None) -> FeatureStore:
    """Return a store whose view reads a file in the folder and can be pushed to."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(registry_type="memory"),
        online_store=OnlineStoreConfig(type=kind, path=f"online-{kind}"),
        materialization=MaterializationConfig(chunk_rows=1000),
    )
    store = FeatureStore(folder, config, clock=FixedClock(NOW))
    source = FileSource(path="rows.parquet", timestamp_field="at", created_timestamp_column="made")
    fields = [Field("number", Int64), Field("text", String), Field("share", Float32)]
    user = Entity(name="user", join_keys=["user_id"])
    store.apply([FeatureView("v", PushSource("pushed", source), fields, [user], ttl)])
    return store


FEATURES = ["v:number", "v:text", "v:share"]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "lmdb"])
@given(st.lists(events, max_size=12), st.lists(events, max_size=4), st.sampled_from(TTLS), st.booleans())
def test_training_and_serving_give_the_same_values(
    kind: str, files: list[Event], pushed: list[Event], ttl: timedelta | None, push_first: bool
) -> None:
    """Materialized, pushed, or both, in either order: at the same time both paths say the same of every key.

    A key whose newest row lies in the future is left out: the online store keeps the newest row only.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(table(files), folder / "rows.parquet")
        with open_store(folder, kind, ttl) as store:
            until = NOW + 9 * SECOND
            if pushed and push_first:
                store.push("pushed", table(pushed), to=PushMode.ONLINE_AND_OFFLINE)
            store.materialize(0, until, allow_future=True)
            if pushed and not push_first:
                store.push("pushed", table(pushed), to=PushMode.ONLINE_AND_OFFLINE)
            keys = [1, 2, 3, 4, 5]
            ahead = {event.key for event in [*files, *pushed] if event.at > NOW}
            spine = pa.table({"user_id": keys, "event_timestamp": pa.array([NOW] * 5).cast(pa.timestamp("us"))})
            trained = store.get_historical_features(spine, FEATURES).to_arrow().to_pydict()
            served = store.get_online_features(FEATURES, {"user_id": keys}).to_dict()
            for row, key in enumerate(keys):
                if key not in ahead:
                    for feature in ("number", "text", "share"):
                        assert served[feature][row] == trained[feature][row], (key, feature)


@given(st.lists(events, max_size=12), st.sampled_from(TTLS))
def test_serving_says_what_the_oracle_says(rows: list[Event], ttl: timedelta | None) -> None:
    """Values and statuses of pushed rows, in any order of arrival, are those of plain loops."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(table([]), folder / "rows.parquet")
        with open_store(folder, "memory", ttl) as store:
            for row in rows:
                store.push("pushed", table([row]))
            answer = store.get_online_features(FEATURES, {"user_id": [1, 2, 3, 4]})
            written = [
                Row((row.key,), row.at, row.created, order, (row.number, row.text)) for order, row in enumerate(rows)
            ]
            micros = None if not ttl else int(ttl / timedelta(microseconds=1))
            for place, key in enumerate([1, 2, 3, 4]):
                found = online(written, (key,), NOW, micros)
                for number, feature in enumerate(("number", "text")):
                    assert answer.statuses()[feature][place] is FieldStatus[found.status(number)]
                    assert answer.to_dict()[feature][place] == found.value(number)


def test_a_ttl_counts_to_the_microsecond_on_both_paths(tmp_path: Path) -> None:
    """Exactly as old as the ttl still counts; one microsecond older does not (T11)."""
    pq.write_table(table([Event(1, NOW - 3 * SECOND, None, 7, "a")]), tmp_path / "rows.parquet")
    with open_store(tmp_path, "memory", timedelta(seconds=3)) as store:
        store.materialize(0, NOW)
        for late, seen in ((-1, 7), (0, 7), (1, None)):
            spine = pa.table({"user_id": [1], "event_timestamp": pa.array([NOW + late]).cast(pa.timestamp("us"))})
            trained: Any = store.get_historical_features(spine, FEATURES).to_arrow().to_pydict()["number"]
            served = store.get_online_features(FEATURES, [{"user_id": 1}], as_of=NOW + late).to_dict()["number"]
            assert trained == served == [seen]


def test_a_key_that_is_deleted_stays_deleted_until_something_newer_comes(tmp_path: Path) -> None:
    """A materialization of older rows does not bring it back; a push with a later event time does (T12)."""
    pq.write_table(
        table([Event(1, NOW - SECOND, None, 7, "a"), Event(2, NOW - SECOND, None, 8, "b")]), tmp_path / "rows.parquet"
    )
    with open_store(tmp_path, "lmdb", None) as store:
        store.materialize(0, NOW)
        store.delete_from_online_store("v", [{"user_id": 1}])
        store.materialize(0, NOW)
        answer = store.get_online_features(FEATURES, {"user_id": [1, 2]})
        assert answer.to_dict()["number"] == [None, 8]
        assert answer.statuses()["number"] == [FieldStatus.NOT_FOUND, FieldStatus.PRESENT]
        store.push("pushed", table([Event(1, NOW + 1, None, 9, "c")]))
        assert store.get_online_features(FEATURES, {"user_id": [1]}, as_of=NOW + 1).to_dict()["number"] == [9]


def test_a_push_that_lacks_a_column_writes_nothing(tmp_path: Path) -> None:
    """The message names the column, and what was there stays."""
    pq.write_table(table([]), tmp_path / "rows.parquet")
    with open_store(tmp_path, "memory", None) as store:
        with pytest.raises(LikewiseError, match="have no column 'number'"):
            store.push("pushed", table([Event(1, NOW, None, 7, "a")]).drop_columns(["number"]))
        assert store.get_online_features(FEATURES, {"user_id": [1]}).to_dict()["number"] == [None]
