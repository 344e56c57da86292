"""Verify and rebuild online: every kind of difference is found and counted by its name, and mended (G6, T14)."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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
from likewise.config import MaterializationConfig, OnlineStoreConfig, RegistryConfig
from likewise.core.errors import LeaseHeld, StoreCorrupt
from likewise.core.keys import KeyCodec
from likewise.core.time import from_micros
from likewise.core.types import Float64, Int64
from likewise.jobs.materialize import held
from likewise.online.rows import Layout, RowWriter
from likewise.plan.lookup import table_name

NOW, DAY = 1_700_000_000_000_000, 86_400_000_000
USER = Entity("user", value_type=Int64)
ROWS = FileSource(path="rows.parquet", timestamp_field="at", created_timestamp_column="made")
FIELDS = [Field("n", Int64), Field("x", Float64)]
CODEC = KeyCodec([Int64], ["user"])


def write_rows(folder: Path, users: list[int], day: int = 1) -> None:
    """Write two rows for each user: an old one, and one some days before now."""
    both = [*users, *users]
    at = [NOW - 9 * DAY] * len(users) + [NOW - day * DAY] * len(users)
    table = {
        "user": pa.array(both, pa.int64()),
        "at": pa.array(at, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "made": pa.array(at, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "n": pa.array(range(len(both)), pa.int64()),
        "x": pa.array([float("nan") if user == 3 else user / 7 for user in both], pa.float64()),
    }
    pq.write_table(pa.table(table), folder / "rows.parquet")


def open_store(folder: Path) -> FeatureStore:
    """Return a store with a plain view, one that is pushed to, and one with windows."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(path="registry.db"),
        online_store=OnlineStoreConfig(path="online", map_size=1 << 28),
        materialization=MaterializationConfig(chunk_rows=1000),
    )
    return FeatureStore(folder, config, clock=FixedClock(NOW))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store that is filled with 2,500 users."""
    write_rows(tmp_path, list(range(2500)))
    with open_store(tmp_path) as opened:
        pushed = PushSource("pushed", ROWS)
        sums = [Aggregation("x", "sum", timedelta(days=3), name="spent"), Aggregation("*", "count", None, name="all")]
        opened.apply(
            [
                FeatureView("plain", source=ROWS, entities=[USER], schema=FIELDS, ttl=timedelta(days=30)),
                FeatureView("fed", source=pushed, entities=[USER], schema=FIELDS),
                StreamFeatureView("sums", source=pushed, entities=[USER], aggregations=sums),
            ]
        )
        opened.materialize_incremental(NOW)
        yield opened


def counts(store: FeatureStore, view: str) -> dict[str, int]:
    """Return how many keys have each outcome."""
    [check] = store.verify_online([view])
    return {kind: count for kind, count in check.counts.items() if count}


def damage(store: FeatureStore, view: str, users: list[int], records: list[bytes] | None = None) -> None:
    """Replace records behind everybody's back; by default with one flipped bit."""
    table = table_name("p", store.get_feature_view(view))
    keys = CODEC.encode([users])
    [held] = store.online_store.read([(table, keys)])
    made = records or [bytes([*record[:-1], record[-1] ^ 1]) for record in held if record is not None]
    assert store.online_store.swap(table, keys, held, made) == []


def record(user: int, at: int, n: int) -> bytes:
    """Return a whole record."""
    layout = Layout.of([("n", Int64), ("x", Float64)])
    return RowWriter(layout).encode(CODEC.encode([[user]]), [at], [at], [[n], [0.5]])[0]


def test_what_was_materialized_is_equal_key_by_key(store: FeatureStore) -> None:
    """In views with and without windows, NaN included, no key differs."""
    found = store.verify_online()
    assert {check.view: (check.counts, check.differences) for check in found} == {
        name: (Counter(equal=2500), 0) for name in ("plain", "fed", "sums")
    }


def test_each_kind_of_difference_is_counted_by_its_name_and_mended(store: FeatureStore) -> None:
    """Missing, older, different, corrupt and unknown records are told with key and times, and are right afterwards."""
    stamp = NOW - DAY
    damage(store, "plain", [5])
    damage(store, "plain", [6, 7], [record(6, stamp, -1), record(7, stamp - 1, 7)])
    table = table_name("p", store.get_feature_view("plain"))
    keys = CODEC.encode([[9_000, 9_001]])
    store.online_store.write(table, keys, [record(9_000, stamp, 1), record(9_001, stamp, 1)])
    store.delete_from_online_store("plain", [{"user": 8}])
    store.write_to_online_store(
        "plain", [{"user": 9, "at": from_micros(NOW), "made": from_micros(NOW), "n": 1, "x": 1.0}]
    )
    [check] = store.verify_online(["plain"], limit=100)
    expected = {"corrupt": 1, "different": 1, "older": 1, "online only": 2, "deleted": 1, "newer": 1, "equal": 2495}
    assert dict(check.counts) == expected
    assert check.differences == 5
    told = {(each.kind, each.key["user"]): each for each in check.examples}
    assert set(told) == {("corrupt", 5), ("different", 6), ("older", 7), ("online only", 9_000), ("online only", 9_001)}
    assert told["different", 6].features["n"] == (2506, -1)
    assert told["older", 7].offline == stamp
    assert "older; source 2023-11-13T22:13:20+00:00; online 2023-11-13T22:13:19.999999+00:00" in str(told["older", 7])
    store.rebuild_online(["plain"])
    assert counts(store, "plain") == {"deleted": 1, "newer": 1, "equal": 2498}
    answer = store.get_online_features(["plain:n"], {"user": [5, 6, 7, 8, 9_000]})
    assert answer.to_dict()["n"] == [2505, 2506, 2507, None, None]


def test_a_key_that_only_the_store_has_is_no_difference_where_rows_are_pushed(store: FeatureStore) -> None:
    """It is counted, and a rebuild leaves it."""
    now = from_micros(NOW - 1)
    store.push("pushed", [{"user": 9_000, "at": now, "made": now, "n": 4, "x": 1.0}])
    store.rebuild_online()
    assert counts(store, "fed") == {"equal": 2500, "online only": 1}
    assert [check.differences for check in store.verify_online(["fed"])] == [0]
    assert store.get_online_features(["fed:n", "sums:all"], {"user": [9_000]}).to_dict()["n"] == [4]


def test_rows_that_were_taken_out_of_the_source_are_found_and_taken_out_online(store: FeatureStore) -> None:
    """A key that the source does not have any more is online only, until it is rebuilt."""
    write_rows(store.repo_path, list(range(2400)))
    assert counts(store, "plain")["online only"] == 100
    store.rebuild_online(["plain"])
    assert set(counts(store, "plain")) == {"equal"}
    assert store.get_online_features(["plain:n"], {"user": [2450]}).to_dict()["n"] == [None]


def test_damaged_windows_are_found_and_made_anew(store: FeatureStore) -> None:
    """States that fail their checks are made anew from the source, and say then what training says."""
    damage(store, "sums", [11, 12])
    store.rebuild_online(["sums"])
    assert counts(store, "sums") == {"equal": 2500}


def test_a_store_that_was_emptied_is_restored_wholly(store: FeatureStore) -> None:
    """All tables are lost: everything is NOT_FOUND or refused by name, and a rebuild restores every key (T14)."""
    tables = [table_name("p", view) for view in store.list_feature_views()]
    store.online_store.drop([*tables, "p/.store"])
    store.online_store.create(tables)
    assert counts(store, "plain") == {"missing": 2500}
    store.rebuild_online()
    assert [(check.counts["equal"], check.differences) for check in store.verify_online()] == [(2500, 0)] * 3


def test_a_view_that_was_never_materialized_has_nothing_to_compare(tmp_path: Path) -> None:
    """It is told so, and is no difference."""
    write_rows(tmp_path, [1])
    with open_store(tmp_path) as store:
        store.apply([FeatureView("plain", source=ROWS, entities=[USER], schema=FIELDS)])
        [check] = store.verify_online()
        assert (check.until, check.differences, check.counts.total()) == (None, 0, 0)


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_at(folder: Path, point: str, view: str) -> None:
    """Materialize a view up to now, and be killed at a point."""

    def crash(here: str) -> None:
        if here == point:
            raise Killed

    with open_store(folder) as store:
        other = FeatureStore(folder, store.config, clock=FixedClock(NOW), crash=crash)
        with other, pytest.raises(Killed):
            other.materialize_incremental(NOW, [view])


@pytest.mark.parametrize("point", ["materialize.chunk_written", "materialize.finished"])
def test_what_a_killed_run_has_written_is_no_difference_and_a_rebuild_keeps_it(tmp_path: Path, point: str) -> None:
    """Rows whose watermark did not move yet were written rightly: the first ones of a view, and newer ones (T1)."""
    write_rows(tmp_path, [1, 2])
    with open_store(tmp_path) as store:
        store.apply([FeatureView("plain", source=ROWS, entities=[USER], schema=FIELDS)])
    killed_at(tmp_path, point, "plain")
    with open_store(tmp_path) as store:
        assert counts(store, "plain") == {}
        store.materialize_incremental(NOW - 2 * DAY)
        write_rows(tmp_path, [1, 2, 3])
    killed_at(tmp_path, point, "plain")
    with open_store(tmp_path) as store:
        assert counts(store, "plain") == {"newer": 3}
        store.rebuild_online()
        assert counts(store, "plain") == {"equal": 3}
        assert store.get_online_features(["plain:n"], {"user": [1, 2, 3]}).to_dict()["n"] == [3, 4, 5]


def test_a_row_that_comes_back_to_the_source_comes_back_online(store: FeatureStore) -> None:
    """Taken out by a rebuild, it is missing once the source has it again, and the next rebuild stores it."""
    write_rows(store.repo_path, list(range(2400)))
    store.rebuild_online(["plain"])
    write_rows(store.repo_path, list(range(2500)))
    assert counts(store, "plain")["missing"] == 100
    store.rebuild_online(["plain"])
    assert counts(store, "plain") == {"equal": 2500}
    assert store.get_online_features(["plain:n"], {"user": [2450]}).to_dict()["n"] == [2500 + 2450]


def test_a_rebuild_waits_for_nobody_and_changes_nothing_while_a_materialization_is_at_work(store: FeatureStore) -> None:
    """Somebody else's lease: it is refused before a record is touched."""
    write_rows(store.repo_path, list(range(2400)))
    with held(store.registry.side, "p", "plain", 60.0), pytest.raises(LeaseHeld):
        store.rebuild_online(["plain"])
    assert counts(store, "plain")["online only"] == 100


def test_rows_from_before_the_materialized_spans_are_no_difference(tmp_path: Path) -> None:
    """A shorter ttl begins anew later in time; what is older stays stored, is not served, and counts apart."""
    write_rows(tmp_path, [1, 2], day=5)
    with open_store(tmp_path) as store:
        for ttl in (30, 2):
            view = FeatureView("plain", source=ROWS, entities=[USER], schema=FIELDS, ttl=timedelta(days=ttl))
            store.apply([view])
            store.materialize_incremental(NOW)
        assert counts(store, "plain") == {"not materialized": 2}
        assert [check.differences for check in store.verify_online()] == [0]


def test_a_deletion_is_no_difference_of_windows_while_they_reach_it(store: FeatureStore) -> None:
    """The key's events are rightly gone; no rebuild brings them back."""
    store.delete_from_online_store("sums", [{"user": 8}])
    assert counts(store, "sums") == {"deleted": 1, "equal": 2499}
    assert [check.differences for check in store.verify_online(["sums"])] == [0]
    store.rebuild_online(["sums"])
    assert counts(store, "sums") == {"deleted": 1, "equal": 2499}


def test_windows_whose_table_was_lost_are_missing(store: FeatureStore) -> None:
    """Nothing of them is served, so it is no matter of windows that ended too long ago."""
    table = table_name("p", store.get_stream_feature_view("sums"))
    store.online_store.drop([table])
    store.online_store.create([table])
    [check] = store.verify_online(["sums"])
    assert (check.counts["missing"], check.counts.total(), check.differences, len(check.examples)) == (
        2500,
        2500,
        2500,
        10,
    )


def test_a_store_with_a_damaged_record_is_mended_by_another_process(store: FeatureStore) -> None:
    """A small store with damage is refused by name when it is opened, but these two open it, and mend it."""
    damage(store, "plain", [5])
    folder = store.repo_path
    store.close()
    with open_store(folder) as other, pytest.raises(StoreCorrupt, match="rebuild"):
        other.get_online_features(["plain:n"], {"user": [6]})
    with open_store(folder) as other:
        assert [check.differences for check in other.verify_online(["plain"])] == [1]
        other.close()
        other.rebuild_online(["plain"])
    with open_store(folder) as other:
        assert other.get_online_features(["plain:n"], {"user": [5]}).to_dict()["n"] == [2505]
