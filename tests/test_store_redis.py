"""A feature store with its values in Redis, from its configuration to windows, against one in memory."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import redis

from likewise import (
    Aggregation,
    BatchFeatureView,
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
from likewise.online.base import TableMissing
from likewise.plan.lookup import table_name
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


def open_store(folder, online, *, push: bool = True) -> FeatureStore:
    """Return a store of a plain view and of a windowed one over the same file, filled and, maybe, pushed to."""
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
    if push:
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


def test_a_server_that_lost_everything_is_filled_again(tmp_path, server):
    """A Redis that comes back empty is an error by name; apply and materialize bring every value back (T14)."""
    address = f"{server.address},db=5"
    with open_store(tmp_path / "a", {"type": "redis", "connection_string": address, "timeout_seconds": 20}) as store:
        features = ["plain:amount", "plain:at_all"]
        before = store.get_online_features(features, {"user": USERS}).to_df(True)
        assert before["amount"].notna().sum() > 20
        server.restart()
        with pytest.raises(TableMissing, match="demo/plain"):
            store.get_online_features(features, {"user": USERS})
        store.apply(list(store.list_feature_views()))
        answer = store.get_online_features(features, {"user": USERS})
        assert {status.name for status in answer.statuses()["amount"]} == {"NOT_FOUND"}
        store.materialize_incremental(NOW)
        again = store.get_online_features(features, {"user": USERS}).to_df(True)
        pd.testing.assert_frame_equal(again, before)


def test_records_go_with_their_views_ttl(tmp_path, server):
    """With expire_with_ttl, records of a view with a ttl go, those of windows and of views without one stay.

    Another ttl, once applied, counts for records that are there; so does rolling it back.
    """
    folder = tmp_path / "a"
    folder.mkdir()
    online = {"type": "redis", "connection_string": f"{server.address},db=6", "expire_with_ttl": True}
    now = datetime.now(UTC)
    rows = [(user, now - timedelta(minutes=user), 1.0) for user in USERS]
    pd.DataFrame(rows, columns=["user", "at", "amount"]).to_parquet(folder / "rows.parquet")
    source, user = FileSource(path="rows.parquet", timestamp_field="at"), Entity(name="user", value_type=Int64)
    hourly = [Aggregation("amount", "sum", timedelta(hours=1), name="hour")]

    def views(ttl: timedelta | None) -> list[FeatureView]:
        fields = [Field("amount", Float64)]
        plain = [FeatureView(name, source, fields, [user], span) for name, span in (("some", ttl), ("all", None))]
        windows = BatchFeatureView("windows", source=source, entities=[user], ttl=ttl, aggregations=hourly, online=True)
        return [*plain, windows]

    with (
        FeatureStore(folder, RepoConfig(project="demo", registry="registry.db", online_store=online)) as store,
        contextlib.closing(redis.Redis(unix_socket_path=server.address, db=6)) as client,
    ):

        def lives(view: str) -> set[int]:
            mark = client.get("{lw}t:" + table_name("demo", store.get_feature_view(view)))[:9]
            return {-1 if each < 0 else each // 3600 for each in map(client.ttl, client.keys(b"lw%b*" % mark))}

        store.apply(views(timedelta(days=2)))
        store.materialize(now - timedelta(days=1), now)
        assert (lives("some"), lives("all"), lives("windows")) == ({48}, {-1}, {-1})
        before = store.get_online_features(["some:amount", "windows:hour"], {"user": USERS}).to_dict()
        number = store.apply(views(timedelta(days=9))).catalog
        assert lives("some") == {216}
        store.rollback(number - 1)
        assert (lives("some"), lives("windows")) == ({48}, {-1})
        store.apply(views(None))
        assert lives("some") == {-1}
        assert store.get_online_features(["some:amount", "windows:hour"], {"user": USERS}).to_dict() == before
