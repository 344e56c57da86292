"""Materialization: killed anywhere, it goes on where it stood, and ends as if nothing had happened (G4, T1, T11)."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, FixedClock, RepoConfig
from likewise.config import MaterializationConfig, OnlineStoreConfig
from likewise.core.errors import InvalidTime, LeaseHeld, NotSupported
from likewise.jobs.materialize import Crash, Event
from likewise.plan.lookup import table_name
from likewise.registry.crash import no_crash
from likewise.registry.leases import acquire
from likewise.registry.watermarks import read_watermark
from likewise.testing.faults import fail_at
from likewise.testing.strategies import examples
from likewise.types import Int64

DAY = 86_400_000_000
NOW = 20_000 * DAY
KEYS = 6_000


def write_rows(folder: Path, rows: Sequence[tuple[int, int, int]], name: str = "rows.parquet") -> None:
    """Write (key, days before now, number) rows."""
    at = pa.array([NOW - days * DAY for _, days, _ in rows], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"k": [r[0] for r in rows], "at": at, "n": [r[2] for r in rows]}), folder / name)


def config_of() -> RepoConfig:
    """Return the configuration of all stores here."""
    return RepoConfig(
        project="p",
        online_store=OnlineStoreConfig(type="lmdb", path="online", map_size=1 << 28),
        materialization=MaterializationConfig(chunk_rows=1000, online_write_batch_size=500, lease_seconds=30),
    )


def open_store(folder: Path, crash: Crash = no_crash, **view: Any) -> FeatureStore:
    """Return a store on disk with one view over the folder's rows, applied."""
    store = FeatureStore(folder, config_of(), clock=FixedClock(NOW), crash=crash)
    source = FileSource(path="rows.parquet", timestamp_field="at", name="rows")
    user = Entity(name="k")
    store.apply(
        [FeatureView(**{"name": "v", "source": source, "schema": [Field("n", Int64)], "entities": [user], **view})]
    )
    return store


def values(store: FeatureStore, keys: Sequence[int]) -> list[int | None]:
    """Return what the online store has for some keys."""
    found: list[int | None] = store.get_online_features(["v:n"], {"k": list(keys)}).to_dict()["n"]
    return found


PROGRAM = """
    import sys
    from pathlib import Path
    from test_materialize import NOW, open_store
    from likewise.testing.faults import crash_from_environment

    open_store(Path(sys.argv[1]), crash=crash_from_environment()).materialize(0, NOW)
"""
POINTS = (
    "materialize.opened",
    "materialize.batch_written",
    "materialize.chunk_written",
    "materialize.chunk_done",
    "materialize.closed",
)


def run_killed(folder: Path, crash_at: str) -> int:
    """Materialize in another process that is killed at a crash point; return its exit code."""
    return run(folder, PROGRAM, LIKEWISE_CRASH_AT=crash_at)


def run(folder: Path, program: str, **environment: str) -> int:
    """Run a program on the folder in another process; return its exit code."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, **environment, "PYTHONPATH": path}
    command = [sys.executable, "-c", textwrap.dedent(program), str(folder)]
    return subprocess.run(command, env=environment, timeout=60, check=False, capture_output=True).returncode


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_anywhere_ends_as_if_it_had_not_been(point: str, tmp_path: Path) -> None:
    """Every record is whole, the watermark is never ahead, and one more run changes nothing."""
    rng = np.random.default_rng(5)
    rows = [
        (int(k), int(d), int(k) * 1000 + int(d))
        for k, d in zip(rng.integers(0, KEYS, 20_000), rng.integers(0, 90, 20_000), strict=True)
    ]
    write_rows(tmp_path, rows)
    true = {k: min((d, n) for key, d, n in rows if key == k)[1] for k in {k for k, _, _ in rows[:50]}}
    passed_once = point in (POINTS[0], POINTS[-1])
    for time in range(1, examples(3, soak=6)):
        crash = f"{point}:{1 if passed_once else random.Random(f'{point}{time}').randint(1, 12)}"
        code = run_killed(tmp_path, crash)
        assert time > 1 or code == -signal.SIGKILL
        with open_store(tmp_path) as store:
            end = read_watermark(store.registry.side, "p", "v").end
            assert end is None or code == 0 or point == "materialize.closed"
            assert all(n in (None, true[k]) for k, n in zip(true, values(store, list(true)), strict=True))
        assert code in (-signal.SIGKILL, 0)
    with open_store(tmp_path) as store:
        store.materialize(0, NOW)
        assert values(store, list(true)) == list(true.values())
        assert read_watermark(store.registry.side, "p", "v").end == NOW
        table = table_name("p", store.get_feature_view("v"))
        before = store.online_store.scan(table, limit=KEYS)
        store.materialize(0, NOW)
        assert store.online_store.scan(table, limit=KEYS) == before


DELETE = """
    import sys
    from pathlib import Path
    from test_materialize import open_store
    from likewise.testing.faults import kill_at

    with open_store(Path(sys.argv[1])) as store:
        view = store.get_feature_view("v")
    open_store(Path(sys.argv[1]), kill_at("apply.committed", 2)).apply([], objects_to_delete=[view])
"""


def test_a_view_that_is_added_again_after_a_kill_begins_empty(tmp_path: Path) -> None:
    """A delete that died between its commit and the drop of the online table leaves records that nobody is served."""
    write_rows(tmp_path, [(1, 1, 7)])
    with open_store(tmp_path) as store:
        store.materialize(0, NOW)
        assert values(store, [1]) == [7]
        table = table_name("p", store.get_feature_view("v"))
    assert run(tmp_path, DELETE) == -signal.SIGKILL
    with FeatureStore(tmp_path, config_of(), clock=FixedClock(NOW)) as store:
        assert store.list_feature_views() == []
        assert len(store.online_store.scan(table, limit=2)) == 1  # the drop did not come to pass
    with open_store(tmp_path) as store:
        assert values(store, [1]) == [None]
        assert read_watermark(store.registry.side, "p", "v").end is None
        [done] = store.materialize_incremental(NOW)
        assert (done.keys, values(store, [1])) == (1, [7])


def test_a_version_that_is_not_the_applied_one_is_refused(tmp_path: Path) -> None:
    """The online store keeps the values of the applied version only, and never takes one for another in silence."""
    write_rows(tmp_path, [(1, 1, 7)])
    open_store(tmp_path).close()
    with open_store(tmp_path, ttl=timedelta(days=9)) as store:
        for version in ("v2", "2", "latest"):
            assert store.materialize(0, NOW, version=version)[0].keys == 1
            assert store.materialize_incremental(NOW, version=version)[0].view == "v"
        for version in ("v1", "v3", "newest"):
            refused = rf"version '{version}' of view 'v' is not the applied one \(v2\)"
            with pytest.raises(NotSupported, match=refused):
                store.materialize(0, NOW, version=version)
            with pytest.raises(NotSupported, match=refused):
                store.materialize_incremental(NOW, ["v"], version=version)
        store.rollback(1)
        assert store.materialize(0, NOW, version="v1")[0].keys == 1


def test_a_chunk_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    """The run after a kill reads only the missing parts of the keys."""
    write_rows(tmp_path, [(k, 1, k) for k in range(KEYS)])
    assert run_killed(tmp_path, "materialize.chunk_done:3") == -signal.SIGKILL
    seen: list[Event] = []
    with open_store(tmp_path) as store:
        store.materialize(0, NOW, report=seen.append)
        assert {event.chunk for event in seen} == {3, 4, 5}
        assert values(store, range(0, KEYS, 999)) == list(range(0, KEYS, 999))


def test_a_run_whose_source_changed_since_its_kill_is_begun_anew(tmp_path: Path) -> None:
    """Its finished chunks are of the old rows: each key has the new one afterwards (T1, G4)."""
    write_rows(tmp_path, [(k, 2, k) for k in range(KEYS)])
    assert run_killed(tmp_path, "materialize.chunk_done:3") == -signal.SIGKILL
    write_rows(tmp_path, [(k, 1, k + 1) for k in range(KEYS)])
    with open_store(tmp_path) as store:
        store.materialize(0, NOW)
        assert values(store, range(KEYS)) == [k + 1 for k in range(KEYS)]


def test_the_first_incremental_run_takes_the_ttl_and_the_next_what_came_since(tmp_path: Path) -> None:
    """Without a ttl it takes everything; later runs start at the last end."""
    write_rows(tmp_path, [(1, 10, 1), (2, 3, 2)])
    with open_store(tmp_path, ttl=timedelta(days=5)) as store:
        [done] = store.materialize_incremental(NOW)
        assert (done.keys, done.start, done.end) == (1, NOW - 5 * DAY, NOW)
        write_rows(tmp_path, [(1, 10, 1), (2, 3, 2), (3, 0, 3)])
        [done] = store.materialize_incremental(NOW)
        assert (done.keys, done.start) == (1, NOW)
        assert values(store, [1, 2, 3]) == [None, 2, 3]
    (tmp_path / "all").mkdir()
    write_rows(tmp_path / "all", [(1, 10_000, 1)])
    with open_store(tmp_path / "all") as store:
        assert store.materialize_incremental(NOW)[0].keys == 1


def test_rows_that_arrive_late_are_found_within_the_lookback(tmp_path: Path) -> None:
    """A row whose event time was materialized already is loaded when the view declares a lookback."""
    for lookback, found in ((None, [None]), (timedelta(days=2), [7])):
        folder = tmp_path / str(found)
        folder.mkdir()
        write_rows(folder, [(1, 3, 1)])
        with open_store(folder, lookback=lookback) as store:
            store.materialize_incremental(NOW)
            write_rows(folder, [(1, 3, 1), (2, 1, 7)])
            store.materialize_incremental(NOW)
            assert values(store, [2]) == found


def test_a_changed_definition_is_materialized_from_the_beginning(tmp_path: Path) -> None:
    """A longer ttl or a new feature needs older rows than the last end."""
    write_rows(tmp_path, [(1, 10, 1), (2, 3, 2)])
    with open_store(tmp_path, ttl=timedelta(days=5)) as store:
        store.materialize_incremental(NOW)
    with open_store(tmp_path, ttl=timedelta(days=20)) as store:
        [done] = store.materialize_incremental(NOW)
        assert "definition changed" in done.why
        assert values(store, [1, 2]) == [1, 2]


def test_a_renamed_feature_is_materialized_from_the_beginning(tmp_path: Path) -> None:
    """Under another name the same column is another feature: what is stored does not have it."""
    write_rows(tmp_path, [(1, 3, 7)])
    for name in ("x", "y"):
        source = FileSource(path="rows.parquet", timestamp_field="at", name="rows", field_mapping={"n": name})
        with open_store(tmp_path, source=source, schema=[Field(name, Int64)]) as store:
            store.materialize_incremental(NOW)
            assert store.get_online_features([f"v:{name}"], {"k": [1]}).to_dict()[name] == [7]


def test_a_run_over_another_definition_leaves_no_gap_behind(tmp_path: Path) -> None:
    """What the old source's watermark said is not taken for the new one's."""
    for name in ("rows.parquet", "other.parquet"):
        write_rows(tmp_path, [(1, 9, 1), (2, 1, 2)], name)
    with open_store(tmp_path) as store:
        store.materialize_incremental(NOW)
    other = FileSource(path="other.parquet", timestamp_field="at", name="rows")
    with open_store(tmp_path, source=other) as store:
        store.materialize(0, NOW - 5 * DAY)
        store.materialize_incremental(NOW)
        assert values(store, [1, 2]) == [1, 2]


def test_a_dropped_table_is_filled_again_though_the_run_was_killed(tmp_path: Path) -> None:
    """Back at the old source after a killed run over another one, the watermark does not speak of the dropped table."""
    write_rows(tmp_path, [(1, 9, 1)])
    with open_store(tmp_path) as store:
        store.materialize_incremental(NOW)

    killed = fail_at("materialize.opened", lambda: RuntimeError("opened"))
    other = FileSource(path="rows.parquet", timestamp_field="at", created_timestamp_column="at", name="rows")
    with open_store(tmp_path, crash=killed, source=other) as store, pytest.raises(RuntimeError, match="opened"):
        store.materialize_incremental(NOW)
    with open_store(tmp_path) as store:
        store.materialize_incremental(NOW)
        assert values(store, [1]) == [1]


def test_another_source_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    """Rows of the old source that look newer do not hide those of the new one."""
    write_rows(tmp_path, [(1, 1, 111), (9, 1, 999)])
    write_rows(tmp_path, [(1, 5, 5)], "other.parquet")
    with open_store(tmp_path) as store:
        store.materialize(0, NOW)
    other = FileSource(path="other.parquet", timestamp_field="at", name="rows")
    with open_store(tmp_path, source=other) as store:
        store.materialize(0, NOW)
        assert values(store, [1, 9]) == [5, None]


def test_an_end_in_the_future_is_refused_unless_asked_for(tmp_path: Path) -> None:
    """A watermark ahead of time would hide what comes until then."""
    write_rows(tmp_path, [(1, 1, 1)])
    with open_store(tmp_path) as store:
        with pytest.raises(InvalidTime, match="lies in the future"):
            store.materialize_incremental(datetime.fromtimestamp(NOW / 1e6, UTC) + timedelta(days=1))
        with pytest.raises(InvalidTime, match="lies in the future"):
            store.materialize(0, NOW + 1)
        assert store.materialize(0, NOW + 1, allow_future=True)[0].keys == 1
        with pytest.raises(InvalidTime, match="lies before the start"):
            store.materialize(NOW, 0)


def test_two_runs_do_not_meet(tmp_path: Path) -> None:
    """While a live run holds the lease, another one is refused, and told whose it is."""
    write_rows(tmp_path, [(1, 1, 1)])
    with open_store(tmp_path) as store:
        import time

        acquire(store.registry.side, "p", "materialize/v", "elsewhere:1", ttl=10**9, now=time.time_ns() // 1000)
        with pytest.raises(LeaseHeld, match="elsewhere:1"):
            store.materialize(0, NOW)


def test_a_view_that_is_not_online_is_refused_by_name(tmp_path: Path) -> None:
    """Asked for by name it is an error; among all views it is left out."""
    write_rows(tmp_path, [(1, 1, 1)])
    with open_store(tmp_path, online=False) as store:
        with pytest.raises(NotSupported, match="is not online"):
            store.materialize(0, NOW, feature_views=["v"])
        assert store.materialize(0, NOW) == []


def test_an_online_store_that_was_emptied_is_filled_again(tmp_path: Path) -> None:
    """The watermark says what was written into a store that is gone; the new one is known to be new."""
    write_rows(tmp_path, [(1, 10, 1), (2, 3, 2)])
    with open_store(tmp_path) as store:
        assert store.materialize_incremental(NOW)[0].keys == 2
        assert store.materialize_incremental(NOW)[0].keys == 0
    shutil.rmtree(tmp_path / "online")
    with open_store(tmp_path) as store:
        assert store.materialize_incremental(NOW)[0].keys == 2
        assert values(store, [1, 2]) == [1, 2]
