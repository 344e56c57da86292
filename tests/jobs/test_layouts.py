"""Layouts: a record is read by the definition it was written under, and a value is never taken for another's."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import Entity, FeatureStore, FeatureView, Field, FieldStatus, FileSource, FixedClock, PushSource
from likewise.jobs.layouts import PastLayouts
from likewise.online.rows import Layout
from likewise.registry.catalog import DefinitionVersion
from likewise.registry.codec import encode
from likewise.registry.memory import MemoryRegistry
from likewise.types import Int64, String

AT, NOW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 20, tzinfo=UTC)
FIELDS = [Field("f", Int64), Field("w", Int64)]
pytestmark = pytest.mark.filterwarnings("ignore:view 'v' has records of another definition:UserWarning")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store over one file of columns x, y, z and w, and two of keys."""
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: memory\n")
    columns = {"k": [1, 2], "j": [2, 1], "x": [10, 11], "y": [20, 21], "z": [30, 31], "w": [1, 2], "at": [AT, AT]}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as opened:
        yield opened


def view(path: str = "rows.parquet", key: str = "k", **mapping: str) -> FeatureView:
    """Return the view ``v`` with its columns mapped to its names."""
    rows = FileSource(path=path, timestamp_field="at", field_mapping=mapping, name="rows")
    return FeatureView("v", rows, FIELDS, [Entity(name=key, value_type=Int64)])


def served(store: FeatureStore, key: str = "k") -> dict[str, Any]:
    """Return what is served of key 1, and None for what is not found."""
    answer = store.get_online_features(["v:f", "v:w"], [{key: 1}])
    found, statuses = answer.to_dict(), answer.statuses()
    for name in ("f", "w"):
        assert statuses[name] == [FieldStatus.PRESENT if found[name] != [None] else FieldStatus.NOT_FOUND]
    return {name: found[name][0] for name in ("f", "w")}


def test_a_feature_that_is_mapped_to_another_column_is_not_served_from_the_old_one(store: FeatureStore) -> None:
    """Until it is materialized again it is not found; the view's other features are served all the while."""
    store.apply([view(x="f")])
    store.materialize(AT, NOW)
    assert served(store) == {"f": 10, "w": 1}
    for column, value in (("y", 20), ("z", 30), ("x", 10)):
        store.apply([view(**{column: "f"})])
        assert served(store) == {"f": None, "w": 1}
        spine = pa.table({"k": [1], "event_timestamp": [NOW]})
        assert store.get_historical_features(spine, ["v:f"]).to_arrow()["f"].to_pylist() == [value]
        store.materialize_incremental(NOW)
        assert served(store) == {"f": value, "w": 1}


def test_a_mapping_that_comes_back_finds_its_values_again(store: FeatureStore) -> None:
    """They are still those of the column that they were stored from."""
    store.apply([view(x="f")])
    store.materialize(AT, NOW)
    store.apply([view(y="f")])
    store.rollback(1)
    assert served(store) == {"f": 10, "w": 1}


def test_a_key_that_is_mapped_to_another_column_finds_nothing_of_the_old_one(store: FeatureStore) -> None:
    """A record belongs to the column that its key was read from."""
    store.apply([view(key="user", k="user", x="f")])
    store.materialize(AT, NOW)
    assert served(store, "user") == {"f": 10, "w": 1}
    store.apply([view(key="user", j="user", x="f")])
    assert served(store, "user") == {"f": None, "w": None}
    store.materialize_incremental(NOW)
    assert served(store, "user") == {"f": 11, "w": 2}


def test_a_pushed_value_is_under_the_mapping_of_the_batch_source(store: FeatureStore) -> None:
    """Rows that were pushed under an old mapping are values of the old column, too."""

    def push_view(**mapping: str) -> FeatureView:
        rows = FileSource(path="rows.parquet", timestamp_field="at", field_mapping=mapping, name="rows")
        return FeatureView("v", PushSource("pushed", rows), FIELDS, [Entity(name="k", value_type=Int64)])

    store.apply([push_view(x="f")])
    store.push("pushed", pa.table({"k": [1], "x": [7], "w": [1], "at": [AT]}))
    assert served(store) == {"f": 7, "w": 1}
    store.apply([push_view(y="f")])
    assert served(store) == {"f": None, "w": 1}
    store.push("pushed", pa.table({"k": [1], "y": [8], "w": [1], "at": [AT]}))
    assert served(store) == {"f": 8, "w": 1}


def test_a_path_that_changes_serves_what_was_stored_until_the_next_materialization(
    store: FeatureStore, tmp_path: Path
) -> None:
    """A file that moved is the same feature; the next materialization starts the online table anew."""
    store.apply([view(x="f")])
    store.materialize(AT, NOW)
    pq.write_table(pa.table({"k": [2], "x": [99], "w": [3], "at": [AT]}), tmp_path / "moved.parquet")
    store.apply([view("moved.parquet", x="f")])
    assert served(store) == {"f": 10, "w": 1}
    store.materialize_incremental(NOW)
    assert served(store) == {"f": None, "w": None}
    assert store.get_online_features(["v:f"], [{"k": 2}]).to_dict()["f"] == [99]


class Counting(MemoryRegistry):
    """A registry that counts how often the history of a definition is read."""

    reads = 0

    def definition_versions(self, project: str, kind: str, name: str) -> list[DefinitionVersion]:
        """Return every content of a definition, and count the call."""
        self.reads += 1
        return super().definition_versions(project, kind, name)


def test_the_history_is_read_once_a_catalog() -> None:
    """Also for layouts that nobody knows: records of a stranger cost one search, not one for each read."""
    registry = Counting()

    def commit(number: int, *fields: Field) -> None:
        source = FileSource(path="rows.parquet", timestamp_field="at", name="rows")
        key = Entity(name="k", value_type=Int64)
        objects = [key, source, FeatureView("v", source, list(fields), [key])]
        registry.commit("p", number, list(map(encode, objects)), now=number)

    commit(0, Field("a", Int64))
    past = PastLayouts(lambda: registry, "p")
    old, new = Layout.of([("a", Int64)]), Layout.of([("a", Int64), ("b", String)])
    assert (past.find("v", old.id), past.find("v", new.id)) == (old, None)
    reads = registry.reads
    assert [past.find("v", number) for number in (old.id, new.id, 7)] == [old, None, None]
    assert registry.reads == reads
    commit(1, Field("a", Int64), Field("b", String))
    assert [past.find("v", number) for number in (old.id, new.id, 7)] == [old, new, None]
    assert registry.reads > reads
