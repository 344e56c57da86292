"""Backup and restore: registry, watermarks and online data come back as they were, or not at all (G6)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.json import encode
from msgspec.structs import replace

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
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.errors import LeaseHeld, StoreCorrupt, StoreError, StoreTooNew
from likewise.core.time import from_micros
from likewise.core.types import Int64
from likewise.jobs.backup import read_manifest
from likewise.jobs.materialize import held
from likewise.registry.handover import HistoriesDiffer

NOW, DAY = 1_700_000_000_000_000, 86_400_000_000
USER = Entity("user", value_type=Int64)
USERS = 300


def open_store(folder: Path, name: str, kind: str = "lmdb", project: str = "p") -> FeatureStore:
    """Return a store whose registry and online store have a name."""
    config = RepoConfig(
        project=project,
        registry=RegistryConfig(path=f"{name}.db"),
        online_store=OnlineStoreConfig(type=kind, path=f"online-{name}", map_size=1 << 28),
    )
    return FeatureStore(folder, config, clock=FixedClock(NOW))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with values and windows, filled, pushed to, and with a deleted key."""
    times = pa.array([NOW - DAY] * USERS, pa.int64()).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"user": range(USERS), "at": times, "n": range(USERS)}), tmp_path / "rows.parquet")
    source = PushSource("pushed", FileSource(path="rows.parquet", timestamp_field="at"))
    count = Aggregation("*", "count", timedelta(days=9), name="all")
    with open_store(tmp_path, "old") as opened:
        opened.apply(
            [
                FeatureView("plain", source=source, entities=[USER], schema=[Field("n", Int64)]),
                StreamFeatureView("sums", source=source, entities=[USER], aggregations=[count]),
            ]
        )
        opened.materialize_incremental(NOW)
        opened.push("pushed", [{"user": 1, "at": from_micros(NOW), "n": -1}])
        for view in ("plain", "sums"):
            opened.delete_from_online_store(view, [{"user": 2}])
        yield opened


def served(store: FeatureStore) -> dict[str, list[object]]:
    """Return all that is served."""
    return store.get_online_features(["plain:n", "sums:all"], {"user": list(range(USERS + 5))}).to_dict()


@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
def test_a_set_comes_back_as_it_was_also_in_another_kind_of_store(
    store: FeatureStore, tmp_path: Path, kind: str
) -> None:
    """Values, windows, deletions, watermarks, history and the audit log; nothing has to be materialized again."""
    made = store.backup(tmp_path / "set")
    assert (made.catalog, made.records > 2 * USERS) == (1, True)
    with open_store(tmp_path, "new", kind) as other:
        other.restore(tmp_path / "set")
        assert served(other) == served(store)
        assert other.materialization_intervals("plain") == store.materialization_intervals("plain")
        assert [info.seal for info in other.history()] == [info.seal for info in store.history()]
        log = other.check_audit()
        assert log[:-1] == store.audit_log()
        assert log[-1].what == "restore"
        for again in (store, other):
            again.materialize_incremental(NOW)
            assert served(again) == served(store)
        assert served(other)["n"][1:3] == [-1, None]


def test_a_restore_that_was_killed_is_run_again(store: FeatureStore, tmp_path: Path) -> None:
    """Whatever it had written stays, and the rest is added."""
    store.backup(tmp_path / "set")

    class Killed(Exception):
        pass

    def die(table: str, records: int) -> None:
        raise Killed

    with open_store(tmp_path, "new") as other:
        with pytest.raises(Killed):
            other.restore(tmp_path / "set", report=die)
        other.restore(tmp_path / "set")
        assert served(other) == served(store)
        other.restore(tmp_path / "set")
        assert served(other) == served(store)


def test_a_store_with_other_records_is_refused_untouched(store: FeatureStore, tmp_path: Path) -> None:
    """A restore never mixes two states: it says which table holds how many other records."""
    store.backup(tmp_path / "set")
    store.push("pushed", [{"user": 5, "at": from_micros(NOW), "n": -5}])
    before = served(store)
    with pytest.raises(StoreError, match="other records than the backup"):
        store.restore(tmp_path / "set")
    assert served(store) == before


@pytest.mark.parametrize("file", ["registry.jsonl", "online/00000.arrow", "online/00002.arrow", "backup.json"])
def test_a_set_that_was_changed_is_refused_before_anything_is_done(
    store: FeatureStore, tmp_path: Path, file: str
) -> None:
    """A flipped bit, a cut file and a missing file are named."""
    store.backup(tmp_path / "set")
    path = tmp_path / "set" / file
    whole = path.read_bytes()
    with open_store(tmp_path, "new") as other:
        for damaged in (whole[:-3], whole[: len(whole) // 2] + b"\xff" + whole[len(whole) // 2 + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(StoreCorrupt, match=path.name):
                other.restore(tmp_path / "set")
        path.unlink()
        with pytest.raises(StoreError, match=path.name):
            other.restore(tmp_path / "set")
        assert other.registry.head("p") == 0
        path.write_bytes(whole)
        other.restore(tmp_path / "set")


def test_a_set_of_a_newer_version_or_of_another_project_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    """The message names the version that reads it, or the project (T6)."""
    store.backup(tmp_path / "set")
    with open_store(tmp_path, "new", project="q") as other, pytest.raises(StoreError, match=r"project 'p'.*'q'"):
        other.restore(tmp_path / "set")
    path = tmp_path / "set" / "backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "likewise_backup": 2, "needs": "9.9"}))
    with open_store(tmp_path, "new") as other, pytest.raises(StoreTooNew, match=r"Likewise >= 9\.9"):
        other.restore(tmp_path / "set")


def test_a_name_in_the_list_never_leaves_the_folder(store: FeatureStore, tmp_path: Path) -> None:
    """A set may come from anywhere: paths out of it are refused (T33)."""
    store.backup(tmp_path / "set")
    path = tmp_path / "set" / "backup.json"
    listed = json.loads(path.read_text())
    for bad in ("../old.db", "/etc/passwd"):
        listed["parts"][0]["file"] = bad
        path.write_text(json.dumps(listed))
        with open_store(tmp_path, "new") as other, pytest.raises(StoreCorrupt, match="outside of the set"):
            other.restore(tmp_path / "set")


def test_no_materialization_runs_while_a_set_is_made(store: FeatureStore, tmp_path: Path) -> None:
    """One that is at work makes the backup wait for another time; a folder that holds something is refused."""
    with held(store.registry.side, "p", "plain", 60.0), pytest.raises(LeaseHeld):
        store.backup(tmp_path / "set")
    (tmp_path / "set").mkdir(exist_ok=True)
    (tmp_path / "set" / "mine").write_text("")
    with pytest.raises(StoreError, match="not empty"):
        store.backup(tmp_path / "set")


def test_any_changed_bit_of_the_list_is_refused_or_changes_nothing(store: FeatureStore, tmp_path: Path) -> None:
    """Also in the name of a table, which no file's hash has; a table of another project is refused though sealed."""
    store.backup(tmp_path / "set")
    path = tmp_path / "set" / "backup.json"
    whole, random = path.read_bytes(), Random(5)
    read = read_manifest(tmp_path / "set")
    for _ in range(200):
        place = random.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << random.randrange(7)]) + whole[place + 1 :])
        try:
            assert read_manifest(tmp_path / "set") == read
        except StoreError:
            continue
    moved = [replace(part, table=part.table.replace("p/", "q/")) for part in read.parts]
    path.write_bytes(encode(replace(read, parts=moved).sealed()))
    with open_store(tmp_path, "new") as other, pytest.raises(StoreCorrupt, match=r"'q/.*not of project 'p'"):
        other.restore(tmp_path / "set")


def test_a_registry_that_knows_more_does_not_skip_what_the_set_lacks(store: FeatureStore, tmp_path: Path) -> None:
    """A view that was first materialized after the backup has no records in it: it begins anew after the restore."""
    source = FileSource(path="rows.parquet", timestamp_field="at")
    store.apply([FeatureView("later", source=source, entities=[USER], schema=[Field("n", Int64)])])
    store.backup(tmp_path / "set")
    store.materialize_incremental(NOW, ["later"])
    store.online_store.close()
    config = replace(store.config, online_store=OnlineStoreConfig(path="online-new", map_size=1 << 28))
    with FeatureStore(tmp_path, config, clock=FixedClock(NOW)) as other:
        other.restore(tmp_path / "set")
        other.materialize_incremental(NOW)
        assert [check.differences for check in other.verify_online(["plain", "later"])] == [0, 0]
        assert other.get_online_features(["later:n"], {"user": [7]}).to_dict()["n"] == [7]
        other.check_audit()


def test_two_audit_logs_are_not_put_together(store: FeatureStore, tmp_path: Path) -> None:
    """What was done in both after they parted cannot be one chain: it is refused before a record is written."""
    store.backup(tmp_path / "first")
    store.delete_from_online_store("plain", [{"user": 3}])
    store.backup(tmp_path / "second")
    with open_store(tmp_path, "new") as other:
        other.restore(tmp_path / "first")
        kept = served(other)
        with pytest.raises(HistoriesDiffer, match="audit log of project 'p' has another entry"):
            other.restore(tmp_path / "second")
        assert served(other) == kept
        other.check_audit()
        other.restore(tmp_path / "first")
        other.check_audit()
