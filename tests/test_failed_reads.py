"""What a service gives where a real Redis is frozen or emptied: an error, nulls, or what was last read (G5, G9)."""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from likewise import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FieldStatus,
    FileSource,
    FixedClock,
    PushSource,
    RepoConfig,
    RequestSource,
    StreamFeatureView,
    on_demand_feature_view,
)
from likewise.core.errors import RepoProblems, RequestError, StoreUnavailable
from likewise.online.base import TableMissing
from likewise.online.deadline import DeadlineExceeded
from likewise.online.guard import GuardedStore, StoreShunned
from likewise.plan.lookup import table_name
from likewise.registry.codec import decode, encode
from likewise.testing.redis_process import RedisProcess
from likewise.types import Float64, Int64

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no redis-server for Windows"),
    pytest.mark.filterwarnings("ignore:view .* has values that are .* old:UserWarning"),
]
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
INVALID, PRESENT, NOT_FOUND = FieldStatus.INVALID, FieldStatus.PRESENT, FieldStatus.NOT_FOUND
SECONDS = 0.3


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisProcess]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisProcess(folder) as server:
        yield server


user = Entity(name="user", value_type=Int64)
source = FileSource(name="visits", path="visits.parquet", timestamp_field="at")
view = FeatureView("users", source, [Field("visits", Int64), Field("rating", Float64)], [user], timedelta(days=1))
pushes = PushSource("pushes", batch_source=source)
hour = Aggregation("visits", "sum", timedelta(hours=1), name="hour")
windows = StreamFeatureView("windows", source=pushes, entities=[user], aggregations=[hour])
asked = RequestSource("asked", schema=[Field("factor", Float64)])


@on_demand_feature_view(sources=[view, asked], schema=[Field("scaled", Float64)], mode="python", singleton=True)
def scaled(row):
    """Scale the rating; -1 shows that it saw a null."""
    return {"scaled": -1.0 if row["rating"] is None else row["rating"] * row["factor"]}


@on_demand_feature_view(sources=[asked], schema=[Field("twice", Float64)], mode="python", singleton=True)
def twice(row):
    """Need nothing of the store."""
    return {"twice": 2 * row["factor"]}


def service(policy: str) -> FeatureService:
    """Return a service of all views."""
    return FeatureService(policy, features=[view, windows, scaled, twice], on_failed_read=policy)


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> int:
        """Return the time, in microseconds."""
        return FixedClock(self.at).now()


def open_store(folder: Path, server: RedisProcess, clock: HandClock, seconds: float = SECONDS) -> FeatureStore:
    """Return a store that has two users and three services."""
    online = {"type": "redis", "connection_string": server.address, "timeout_seconds": seconds}
    store = FeatureStore(folder, RepoConfig(project="p", registry="r.db", online_store=online), clock=clock)
    pd.DataFrame(
        {
            "user": [1, 2],
            "at": [NOW - timedelta(minutes=30), NOW - timedelta(minutes=50)],
            "visits": [7, 8],
            "rating": [1.5, 2.5],
        }
    ).to_parquet(folder / "visits.parquet")
    store.apply([view, windows, scaled, twice, *map(service, ("error", "null", "stale"))])
    store.materialize(NOW - timedelta(days=2), NOW)
    return store


def ask(store: FeatureStore, policy: str, users: list[int], **more: object):
    """Ask a service."""
    return store.get_online_features(policy, {"user": users, "factor": [2.0] * len(users)}, **more)


@pytest.fixture(name="clock")
def _clock() -> HandClock:
    return HandClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path, server: RedisProcess, clock: HandClock) -> Iterator[FeatureStore]:
    with open_store(tmp_path, server, clock) as store:
        yield store


def test_by_default_a_failed_read_is_an_error(store, server):
    """A frozen store is an error within its time, then one at once; nothing is made up (G9)."""
    server.freeze()
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="did not answer within"):
            ask(store, "error", [1])
    assert time.monotonic() - began < 5 * SECONDS + 2
    with pytest.raises(StoreShunned):
        ask(store, "error", [1])
    server.thaw()
    end = time.monotonic() + 5
    while True:
        try:
            answer = ask(store, "error", [1])
            break
        except StoreUnavailable:
            assert time.monotonic() < end, "it did not recover within 5 s"
            time.sleep(0.02)
    assert (answer.to_dict()["visits"], answer.failed_values, answer.stale_values) == ([7], 0, 0)


def test_a_timeout_is_over_in_time_and_is_a_timeout_error(tmp_path, server, clock):
    """The caller's own seconds end a read of a frozen store, long before the store's own would (G5)."""
    with open_store(tmp_path, server, clock, 30.0) as store:
        assert ask(store, "error", [1], timeout=5.0).to_dict()["visits"] == [7]
        server.freeze()
        for read in (
            lambda: ask(store, "error", [1], timeout=0.1),
            lambda: asyncio.run(store.get_online_features_async("error", {"user": [1], "factor": [1.0]}, timeout=0.1)),
        ):
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="deadline is over"):
                read()
            assert 0.09 < time.monotonic() - began < 2
        server.thaw()
    for wrong in (0, -1.0, float("nan"), float("inf"), True, "1"):
        with pytest.raises(RequestError, match=r"give seconds above 0, such as timeout=0\.5"):
            ask(store, "error", [1], timeout=wrong)


def test_null_gives_none_with_status_invalid_and_says_how_many(store, server):
    """No value is made up, no function sees a made-up null, and what needs no store is there."""
    server.freeze()
    answer = ask(store, "null", [1, 2])
    server.thaw()
    assert answer.to_dict() == {
        "user": [1, 2], "visits": [None] * 2, "rating": [None] * 2, "hour": [None] * 2, "scaled": [None] * 2,
        "twice": [4.0, 4.0],
    }  # fmt: skip
    assert answer.statuses() == {
        **{name: [INVALID] * 2 for name in ("visits", "rating", "hour", "scaled")},
        "twice": [PRESENT] * 2,
    }
    assert set(answer.event_timestamps()["visits"]) == {None}
    assert (answer.failed_values, answer.stale_values) == (8, 0)
    assert answer.to_df()["visits"].isna().all()


def test_stale_gives_what_was_last_read_by_the_rules_of_now(store, server, clock):
    """Old records are judged anew: a window has moved on, a ttl is over; keys never read are INVALID."""
    assert ask(store, "stale", [1]).to_dict()["hour"] == [7]
    server.freeze()
    answer = ask(store, "stale", [1, 2])
    assert answer.to_dict() == {
        "user": [1, 2], "visits": [7, None], "rating": [1.5, None], "hour": [7, None], "scaled": [3.0, None],
        "twice": [4.0, 4.0],
    }  # fmt: skip
    assert answer.statuses()["visits"] == answer.statuses()["scaled"] == [PRESENT, INVALID]
    assert answer.event_timestamps()["visits"] == [NOW - timedelta(minutes=30), None]
    assert (answer.failed_values, answer.stale_values) == (4, 4)
    clock.at = NOW + timedelta(minutes=40)
    assert ask(store, "stale", [1]).to_dict()["hour"] == [None]
    clock.at = NOW + timedelta(days=1)
    late = ask(store, "stale", [1])
    server.thaw()
    assert (late.to_dict()["visits"], late.statuses()["visits"]) == ([None], [FieldStatus.OUTSIDE_MAX_AGE])


def test_only_reads_for_such_services_are_remembered(store, server):
    """A read of another service, or of single features, leaves nothing behind, and a deleted key is forgotten."""
    guard = store.online_store
    assert isinstance(guard, GuardedStore)
    table = table_name("p", store.get_feature_view("users"))
    for asked_for in ("null", "error", ["users:visits"]):
        store.get_online_features(asked_for, {"user": [1], "factor": [1.0]})
        assert not guard.last_good._records
    ask(store, "stale", [1, 2])
    held = [key for (name, key) in guard.last_good._records if name == table]
    assert len(held) == 2
    store.delete_from_online_store("users", pd.DataFrame({"user": [1]}))
    server.freeze()
    answer = ask(store, "stale", [1, 2])
    server.thaw()
    assert answer.statuses()["visits"] == [INVALID, PRESENT]


def test_what_was_absent_stays_not_found(store, server):
    """A key that the store did not have when it was last read is NOT_FOUND, as that read said."""
    assert ask(store, "stale", [9]).statuses()["visits"] == [NOT_FOUND]
    server.freeze()
    answer = ask(store, "stale", [9])
    server.thaw()
    assert (answer.statuses()["visits"], answer.stale_values) == ([NOT_FOUND], 4)


def test_an_emptied_store_is_a_failed_read_and_an_error_by_default(store, server):
    """Tables that are missing are named, or INVALID, or as last read; never NOT_FOUND (T14)."""
    before = ask(store, "stale", [1]).to_dict()
    server.restart()
    with pytest.raises(TableMissing, match="has no table"):
        ask(store, "error", [1])
    assert ask(store, "null", [1]).statuses()["visits"] == [INVALID]
    stale = ask(store, "stale", [1])
    assert (stale.to_dict(), stale.stale_values) == (before, 4)
    store.apply([view, windows, scaled, twice, *map(service, ("error", "null", "stale"))])
    assert ask(store, "null", [1]).statuses()["visits"] == [NOT_FOUND]


def test_what_services_do_not_agree_on_is_an_error(store, server):
    """Single features, and services with other policies beside them, have the strictest: an error."""
    server.freeze()
    entities = {"user": [1], "factor": [1.0]}
    for features in (["users:visits"], ["null", "users:visits"], ["null", "error"]):
        with pytest.raises(StoreUnavailable):
            store.get_online_features(features, entities)
    assert store.get_online_features(service("null"), entities).failed_values == 4
    server.thaw()


def test_the_policy_is_checked_kept_and_shown():
    """A policy that is not known is refused by apply; only another than error is in the registry."""
    from likewise.define.contents import collect

    wrong = FeatureService("s", [view], on_failed_read="nul")
    assert [problem.cure for problem in wrong.problems] == ["did you mean 'null'?"]
    assert "on_failed_read" not in encode(service("error"))
    stored = [encode(each) for each in collect([service("stale"), view, windows, scaled, twice, user]).all()]
    [back] = decode(stored).services
    assert (back.on_failed_read, encode(back)) == ("stale", encode(service("stale")))
    assert ("on_failed_read", "stale") in list(back.summary())
    assert "on_failed_read" not in dict(service("error").summary())
    with pytest.raises(RepoProblems, match="on_failed_read='nul' cannot be"):
        FeatureStore(config=RepoConfig(project="p", registry={"registry_type": "memory"}, online_store="memory")).apply(
            [view, user, wrong], skip_source_validation=True
        )
