"""A feature store with its values in Redis, from its configuration to windows, against one in memory."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from likewise import (
    Aggregation,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    FixedClock,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from likewise.core.errors import StoreUnavailable
from likewise.testing.redis_process import RedisProcess
from likewise.types import Float64, Int64

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no redis-server for Windows")
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
USERS = list(range(1, 41))
ASKED = [*(f"windows:{name}" for name in ("hour", "day", "times")), "plain:amount", "plain:at_all"]


@pytest.fixture(name="server")
def _server(tmp_path_factory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


def events(count: int, first: int) -> pd.DataFrame:
    """Make events of many users in the last day and a half, some at one time."""
    rows = [
        (USERS[n * 7 % 37], NOW - timedelta(minutes=n * 13 % 2000), float(n % 50)) for n in range(first, first + count)
    ]
    return pd.DataFrame(rows, columns=["user", "at", "amount"]).assign(at_all=1)


def open_store(folder, online) -> FeatureStore:
    """Return a store of a plain view and of a windowed one over the same file, filled and pushed to."""
    folder.mkdir()
    config = RepoConfig(project="demo", registry="registry.db", online_store=online)
    store = FeatureStore(folder, config, clock=FixedClock(NOW))
    events(400, 0).to_parquet(folder / "events.parquet")
    source = FileSource(path="events.parquet", timestamp_field="at")
    user = Entity(name="user", value_type=Int64)
    pushed = PushSource("pushes", batch_source=source)
    sums = [
        Aggregation("amount", "sum", timedelta(hours=1), name="hour"),
        Aggregation("amount", "mean", timedelta(days=1), name="day"),
        Aggregation("amount", "count", timedelta(days=1), name="times"),
    ]
    store.apply(
        [
            StreamFeatureView("windows", source=pushed, entities=[user], aggregations=sums),
            FeatureView("plain", source, [Field("amount", Float64), Field("at_all", Int64)], [user], timedelta(days=1)),
        ]
    )
    store.materialize(NOW - timedelta(days=3), NOW)
    store.push("pushes", events(90, 400))
    return store


@pytest.mark.filterwarnings("ignore:view 'plain' has values that are:UserWarning")
def test_redis_says_what_memory_says(tmp_path, server):
    """Plain values, ttl and windows, back-filled, pushed and deleted, are the same from Redis as from memory (G8)."""
    config = {"type": "redis", "connection_string": f"{server.address},db=3", "timeout_seconds": 20}
    with open_store(tmp_path / "a", config) as ours, open_store(tmp_path / "b", "memory") as plain:
        for store in (ours, plain):
            store.delete_from_online_store("plain", [{"user": 3}])
        for minutes in (0, 17, 61, 1500):
            at = NOW + timedelta(minutes=minutes)
            answers = [s.get_online_features(ASKED, {"user": USERS}, as_of=at).to_df(True) for s in (ours, plain)]
            pd.testing.assert_frame_equal(*answers)
            assert answers[0]["times"].sum() > 0 or minutes == 1500


def test_an_open_store_sees_that_redis_is_gone(tmp_path, server):
    """When the server is down a read is an error that may pass, never an empty answer (G9)."""
    with open_store(tmp_path / "a", {"type": "redis", "connection_string": server.address}) as store:
        server.close()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.get_online_features(ASKED, {"user": USERS})
