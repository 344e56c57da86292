"""Windows: what attackers found, so that it stays found."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
    PushMode,
    PushSource,
    RepoConfig,
    StreamFeatureView,
    ValueType,
)
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.errors import RequestError
from likewise.online.response import FieldStatus
from likewise.types import FeatureType, Float32, Float64

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CARD = Entity("card", value_type=ValueType.INT64)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store over an empty folder."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(registry_type="memory"),
        online_store=OnlineStoreConfig(type="memory"),
    )
    return FeatureStore(tmp_path, config, clock=FixedClock(NOW))


def payments(folder: Path, amount: pa.DataType, **columns: list[Any]) -> PushSource:
    """One payment of card 1, of 0.5, an hour and a half ago."""
    columns = {"card": [1], "at": [NOW - 1.5 * HOUR], "amount": pa.array([0.5], amount), **columns}
    (folder / "files").mkdir()
    pq.write_table(pa.table(columns), folder / "files" / "a.parquet")
    return PushSource("payments", batch_source=FileSource(path="files", timestamp_field="at"))


def windowed(
    source: PushSource,
    *windows: Aggregation,
    name: str = "v",
    schema: Sequence[Field] = (),
    inputs: Sequence[Field] = (),
) -> StreamFeatureView:
    """A view of some windows of cards."""
    return StreamFeatureView(name, source, entities=[CARD], aggregations=windows, schema=schema, inputs=inputs)


def both(store: FeatureStore, feature: str, card: int) -> tuple[object, object]:
    """Return what training and serving say of a card now."""
    rows = [{"card": card, "event_timestamp": NOW}]
    trained = store.get_historical_features(rows, [feature]).to_arrow().column(2)[0].as_py()
    [served] = store.get_online_features([feature], [{"card": card}]).to_dict()[feature.partition(":")[2]]
    return trained, served


@pytest.mark.parametrize(
    ("column", "function", "where", "value"),
    [("1", "sum", "", 1), ("'a'", "last", "true", "a"), ("*", "count", "true", 1), ("1", "count", "1 = 0", 0)],
)
def test_an_expression_that_reads_no_column_is_computed(
    store: FeatureStore, tmp_path: Path, column: str, function: str, where: str, value: object
) -> None:
    """A constant is an expression like any other, in files and in pushes."""
    source = payments(tmp_path, pa.float64())
    store.apply([CARD, windowed(source, Aggregation(column, function, 2 * HOUR, name="x", where=where))])
    store.materialize_incremental(NOW)
    store.push("payments", [{"card": 7, "at": NOW, "amount": 1.0}])
    assert both(store, "v:x", 1) == (value, value)
    assert both(store, "v:x", 7)[1] == value


def test_a_column_may_have_the_name_that_places_have_inside(store: FeatureStore, tmp_path: Path) -> None:
    """Windows read a source's column called __order."""
    source = payments(tmp_path, pa.float64(), __order=[5])
    windows = [
        Aggregation(column, "last", 2 * HOUR, name=name) for column, name in (("__order", "x"), ("__order+1", "y"))
    ]
    store.apply([CARD, windowed(source, *windows)])
    store.materialize_incremental(NOW)
    assert both(store, "v:x", 1) == (5, 5)
    assert both(store, "v:y", 1) == (6, 6)


@pytest.mark.parametrize("key", ["", 5, b"x"])
def test_an_idempotency_key_is_a_text_that_says_something(store: FeatureStore, tmp_path: Path, key: Any) -> None:
    """Were '' a name, all pushes but the first would be dropped."""
    store.apply([CARD, windowed(payments(tmp_path, pa.float64()), Aggregation("*", "count", HOUR, name="x"))])
    with pytest.raises(RequestError, match="names no push"):
        store.push("payments", [{"card": 1, "at": NOW, "amount": 1.0}], idempotency_key=key)


def pushed(store: FeatureStore, card: int, **values: object) -> None:
    """Materialize, and push an event of a card to both places."""
    store.materialize_incremental(NOW)
    store.push("payments", [{"card": card, "at": NOW, **values}], to=PushMode.ONLINE_AND_OFFLINE)


def test_a_feature_named_as_a_column_says_nothing_of_the_column(store: FeatureStore, tmp_path: Path) -> None:
    """A sum declared Float32 that is called as what it sums does not round what the file gets."""
    last = Aggregation("amount", "last", HOUR, name="last")
    windows = Aggregation("amount", "sum", HOUR, name="amount"), last
    store.apply([CARD, windowed(payments(tmp_path, pa.float64()), *windows, schema=[Field("amount", Float32)])])
    pushed(store, 7, amount=0.1)
    assert both(store, "v:last", 7) == (0.1, 0.1)


def test_a_column_that_is_named_as_a_feature_need_not_be_pushed(store: FeatureStore, tmp_path: Path) -> None:
    """Windows do not read it, and the count of that name is another thing."""
    source = payments(tmp_path, pa.float64(), note=["x"])
    store.apply([CARD, windowed(source, Aggregation("amount", "count", HOUR, name="note"))])
    pushed(store, 7, amount=0.1)
    assert both(store, "v:note", 7) == (1, 1)


@pytest.mark.parametrize("first", ["a", "c"])
def test_a_view_of_float32_does_not_round_what_others_read(store: FeatureStore, tmp_path: Path, first: str) -> None:
    """Two views of one push source: what the one declares narrower, the other still trains on as it was pushed."""
    source = payments(tmp_path, pa.float64())
    narrow = FeatureView(name=first, source=source, entities=[CARD], schema=[Field("amount", Float32)])
    store.apply([CARD, narrow, windowed(source, Aggregation("amount", "sum", HOUR, name="x"), name="b")])
    pushed(store, 7, amount=0.1)
    assert both(store, "b:x", 7) == (0.1, 0.1)
    assert both(store, f"{first}:amount", 7) == (pytest.approx(0.1), pytest.approx(0.1))


@pytest.mark.parametrize(("declared", "fits"), [(Float32, True), (Float64, False)])
def test_what_the_files_would_round_is_refused(
    store: FeatureStore, tmp_path: Path, declared: FeatureType, fits: bool
) -> None:
    """A float column holds no 0.1; declared Float32 it is the same everywhere, declared Float64 it would not be."""
    view = windowed(
        payments(tmp_path, pa.float32()),
        Aggregation("amount", "last", HOUR, name="x"),
        inputs=[Field("amount", declared)],
    )
    store.apply([CARD, view])
    pushed(store, 6, amount=0.25)
    assert both(store, "v:x", 6) == (0.25, 0.25)
    if not fits:
        with pytest.raises(
            RequestError, match=r"row 0: the source's float cannot hold 0\.1, which is declared Float64"
        ):
            pushed(store, 7, amount=0.1)
        return
    pushed(store, 7, amount=0.1)
    trained, served = both(store, "v:x", 7)
    assert trained == served == pytest.approx(0.1)


def test_a_deleted_key_stays_deleted_when_the_windows_change(store: FeatureStore, tmp_path: Path) -> None:
    """Neither a back-fill of the new windows nor a late push brings back what was before the deletion."""
    source = payments(tmp_path, pa.float64())
    spent = Aggregation("amount", "sum", 3 * HOUR, name="spent")
    most = Aggregation("amount", "max", 3 * HOUR, name="most")
    store.apply([CARD, windowed(source, spent)])
    store.materialize_incremental(NOW)
    store.delete_from_online_store("v", [{"card": 1}])
    store.apply([windowed(source, spent, most)])
    store.push("payments", pa.table({"card": [1], "at": [NOW - HOUR], "amount": [7.0]}))
    store.materialize_incremental(NOW)

    answer = store.get_online_features(["v"], [{"card": 1}]).to_dict()
    assert (answer["spent"], answer["most"]) == ([None], [None])
    store.clock = FixedClock(NOW + HOUR)
    store.push("payments", pa.table({"card": [1], "at": [NOW + HOUR / 2], "amount": [9.0]}))
    assert store.get_online_features(["v:spent"], [{"card": 1}]).to_dict()["spent"] == [9.0]


def test_a_view_that_is_defined_again_knows_of_no_deletion(store: FeatureStore, tmp_path: Path) -> None:
    """Deleting the view forgets what was deleted of it."""
    source = payments(tmp_path, pa.float64())
    view = windowed(source, Aggregation("amount", "sum", 3 * HOUR, name="spent"))
    store.apply([CARD, view])
    store.delete_from_online_store("v", [{"card": 1}])
    store.delete_feature_view("v")
    store.apply([CARD, view])
    store.materialize_incremental(NOW)
    assert store.get_online_features(["v:spent"], [{"card": 1}]).to_dict()["spent"] == [0.5]


def test_what_was_pushed_before_its_time_is_not_lost_by_a_change(store: FeatureStore, tmp_path: Path) -> None:
    """Events of the future that only the earlier states have keep the new ones from being served in part."""
    source = payments(tmp_path, pa.float64())
    spent = Aggregation("amount", "sum", 3 * HOUR, name="spent")
    most = Aggregation("amount", "max", 3 * HOUR, name="most")
    store.apply([CARD, windowed(source, spent)])
    store.materialize_incremental(NOW)
    with pytest.warns(UserWarning, match="ahead of now"):
        store.push("payments", pa.table({"card": [1], "at": [NOW + HOUR / 2], "amount": [7.0]}))
    store.apply([windowed(source, spent, most)])
    store.clock = FixedClock(NOW + HOUR)
    with pytest.warns(UserWarning, match="not served yet: up to 2024-05-01T12:30"):
        store.materialize_incremental(NOW + HOUR / 4)

    answer = store.get_online_features(["v"], [{"card": 1}])
    assert answer.to_dict()["spent"] == [7.5]
    assert answer.statuses()["most"] == [FieldStatus.NOT_FOUND]
    store.materialize_incremental(NOW + HOUR)  # from now on, what counts up to then is what the files say
    assert store.get_online_features(["v"], [{"card": 1}]).to_dict()["spent"] == [0.5]
