"""What testers found: each a wrong value, a silent loss or a foreign error once, and none again."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FieldStatus,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    ValueType,
)
from likewise.core import errors
from likewise.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

NOW = datetime(2024, 1, 20, tzinfo=UTC)


def pushed(name: str, field: Field, key: str, kind: Any, source: str = "p") -> FeatureView:
    """A view that is only pushed to, of one entity of the view's own."""
    return FeatureView(name, PushSource(source, timestamp_field="t"), [field], [Entity(f"{name}_{key}", [key], kind)])


def day(number: int) -> datetime:
    """A time in January 2024."""
    return datetime(2024, 1, number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty repo."""
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: sqlite\n")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[FeatureStore]:
    """A store over the empty repo."""
    with FeatureStore(folder, clock=FixedClock(NOW)) as opened:
        yield opened


def source(folder: Path, name: str, **columns: Any) -> FileSource:
    """Write a file of these columns and return its source."""
    pq.write_table(
        pa.table({"t": pa.array([day(1)] * len(next(iter(columns.values())))), **columns}), folder / f"{name}.parquet"
    )
    return FileSource(path=f"{name}.parquet", timestamp_field="t", name=name)


def test_a_view_whose_key_changes_never_serves_a_value_of_the_old_key(store: FeatureStore, folder: Path) -> None:
    """Merchant 2 is not user 2: until it is materialized anew, nothing is known of it."""
    rows = source(folder, "a", user=[1, 2], merchant=[2, 9], x=[10, 20])
    store.apply([FeatureView("w", rows, [Field("x", Int64)], [Entity(name="user")])])
    store.materialize(day(1), day(2))
    store.apply([FeatureView("w", rows, [Field("x", Int64)], [Entity(name="merchant")])])
    answer = store.get_online_features(["w:x"], [{"merchant": 2}])
    assert answer.statuses()["x"] == [FieldStatus.NOT_FOUND]
    store.materialize_incremental(NOW)
    assert store.get_online_features(["w:x"], [{"merchant": 2}]).to_dict()["x"] == [10]


def test_a_push_to_a_source_of_dates_is_refused(store: FeatureStore, folder: Path) -> None:
    """Cut off to midnight, the row would be known eighteen hours too early."""
    pq.write_table(pa.table({"t": [date(2024, 1, 1)], "k": [1], "x": [1]}), folder / "d.parquet")
    pushed = PushSource("push", FileSource(path="d.parquet", timestamp_field="t"))
    store.apply([FeatureView("v", pushed, [Field("x", Int64)], [Entity(name="k")])])
    rows = pd.DataFrame({"k": [1], "t": [datetime(2024, 1, 1, 18, 30)], "x": [2]})
    with pytest.raises(errors.RequestError, match="as dates, which cannot hold a time of day"):
        store.push("push", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(["v:x"], [{"k": 1}]).statuses()["x"] == [FieldStatus.NOT_FOUND]


def test_a_renamed_key_column_that_is_missing_is_not_looked_for_elsewhere(store: FeatureStore, folder: Path) -> None:
    """The entity's name stands in for a join key only where no column was named."""
    view = FeatureView(
        "loc", source(folder, "l", loc_id=[1], temp=[10]), entities=[Entity(name="loc", join_keys=["loc_id"])]
    )
    store.apply([view])
    destination = FeatureService("s", [view.with_name("d").with_join_key_map({"loc_id": "dest_id"})])
    rows = pd.DataFrame({"loc": [1], "event_timestamp": [day(3)]})
    with pytest.raises(errors.EntityKeyError, match="'dest_id'"):
        store.get_historical_features(rows, destination)
    with pytest.raises(errors.EntityKeyError, match="'dest_id'"):
        store.get_online_features(destination, [{"loc": 1}])
    assert store.get_historical_features(rows, ["loc:temp"]).to_arrow()["temp"].to_pylist() == [10]


def test_a_feature_named_as_a_key_does_not_hide_the_key(store: FeatureStore, folder: Path) -> None:
    """The answer would look as if its rows were swapped."""
    a = FeatureView("a", source(folder, "a", user=[1, 2], x=[100, 200]), entities=[Entity(name="user")])
    b = FeatureView("b", source(folder, "b", card=[1, 2], user=[2, 1]), entities=[Entity(name="card")])
    store.apply([a, b])
    keys = {"user": [1, 2], "card": [1, 2]}
    with pytest.raises(errors.FeatureNameCollision, match="'user' is a key of the request"):
        store.get_online_features(["a:x", "b:user"], keys)
    assert list(store.get_online_features(["a:x", "b:user"], keys, full_feature_names=True).to_dict())[-1] == "b__user"


@pytest.mark.parametrize(("one", "other"), [(Int64, Bool), (Int64, String), (Float64, Float32)])
def test_one_column_is_not_two_different_keys(store: FeatureStore, one: Any, other: Any) -> None:
    """True is not 1, and 0.1 is not the nearest Float32: training and serving refuse alike."""
    views = [pushed(f"v{i}", Field(f"x{i}", Int64), "id", kind, f"p{i}") for i, kind in enumerate((one, other))]
    store.apply(views)
    with pytest.raises(errors.EntityKeyError, match="'id' is a key of type"):
        store.get_online_features(["v0:x0", "v1:x1"], [{"id": True}])


def test_narrow_and_wide_integers_are_one_key(store: FeatureStore) -> None:
    """Int32 and Int64 keys are the same bytes."""
    views = [pushed(f"v{i}", Field(f"x{i}", Int64), "id", kind, f"p{i}") for i, kind in enumerate((Int32, Int64))]
    store.apply(views)
    for i in range(2):
        store.push(f"p{i}", pd.DataFrame({"id": [7], "t": [day(2)], f"x{i}": [i]}))
    assert store.get_online_features(["v0:x0", "v1:x1"], [{"id": 7}]).to_dict() == {"id": [7], "x0": [0], "x1": [1]}


def test_a_key_without_a_type_takes_the_wider_of_its_sources(store: FeatureStore, folder: Path) -> None:
    """In whichever order the views are applied, two different keys stay two."""
    wide = source(folder, "wide", k=pa.array([0.1, 0.1 + 1e-12]), x=[1, 2])
    narrow = source(folder, "narrow", k=pa.array([0.5], pa.float32()), y=[3])
    key = Entity(name="k")
    for order in ([0, 1], [1, 0]):
        views = [FeatureView("wide", wide, entities=[key]), FeatureView("narrow", narrow, entities=[key])]
        store.apply([views[i] for i in order], partial=False)
        rows = pd.DataFrame({"k": [0.1, 0.1 + 1e-12], "event_timestamp": [day(2)] * 2})
        assert store.get_historical_features(rows, ["wide:x"]).to_arrow()["x"].to_pylist() == [1, 2]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "D"])
def test_numpy_times_as_keys_keep_their_unit(store: FeatureStore, unit: str) -> None:
    """A nanosecond count is not taken for microseconds."""
    hour = Entity("h", value_type=UnixTimestamp)
    store.apply([FeatureView("v", PushSource("p", timestamp_field="t"), [Field("x", Int64)], [hour])])
    store.push("p", pd.DataFrame({"h": [datetime(1970, 1, 2)], "t": [day(1)], "x": [5]}))
    keys = {"h": np.array(["1970-01-02"], f"datetime64[{unit}]")}
    assert store.get_online_features(["v:x"], keys).to_dict()["x"] == [5]


def test_after_a_change_a_narrow_run_does_not_hide_the_rest(store: FeatureStore, folder: Path) -> None:
    """What was asked for by date says nothing of what lies before it."""
    columns = {"k": [1, 2, 3], "x": [1, 2, 3], "y": [4, 5, 6]}
    table = pa.table({"t": [day(1), day(5), day(9)], **columns})
    pq.write_table(table, folder / "r.parquet")
    rows = FileSource(path="r.parquet", timestamp_field="t", name="r")
    store.apply([FeatureView("v", rows, [Field("x", Int64)], [Entity(name="k")])])
    store.materialize_incremental(day(10))
    store.apply([FeatureView("v", rows, [Field("x", Int64), Field("y", Int64)], [Entity(name="k")])])
    store.materialize(day(8), day(10))
    [done] = store.materialize_incremental(day(20))
    assert done.keys == 3
    assert store.get_online_features(["v:y"], {"k": [1, 2, 3]}).to_dict()["y"] == [4, 5, 6]


@pytest.mark.filterwarnings("ignore:view 'v' has rows with event times up to 5 days ahead:UserWarning")
def test_a_deleted_key_with_a_row_of_the_future_is_deleted(store: FeatureStore) -> None:
    """Its time comes, and it stays deleted."""
    store.apply([pushed("v", Field("x", Int64), "k", Int64)])
    store.push("p", pd.DataFrame({"k": [1], "t": [day(25)], "x": [1]}))
    assert store.delete_from_online_store("v", [{"k": 1}]) == 1
    assert store.get_online_features(["v:x"], [{"k": 1}], as_of=day(26)).statuses()["x"] == [FieldStatus.NOT_FOUND]


def test_retyping_an_entity_looks_at_the_views_that_use_it(store: FeatureStore, folder: Path) -> None:
    """An apply of the entity alone cannot break its views."""
    store.apply([FeatureView("v", source(folder, "a", k=[1], x=[1]), entities=[Entity(name="k")])])
    with pytest.raises(errors.RepoProblems, match="but the key of entity 'k' is String"):
        store.apply([Entity(name="k", value_type=ValueType.STRING)])
    assert store.get_entity("k").value_type is ValueType.INT64


def test_a_push_mode_may_be_named_and_not_mistyped(store: FeatureStore) -> None:
    """ "online" is PushMode.ONLINE; anything else is refused, and nothing is lost in silence."""
    store.apply([pushed("v", Field("x", Int64), "k", Int64)])
    rows = pd.DataFrame({"k": [1], "t": [day(2)], "x": [1]})
    assert store.push("p", rows, to="online") == 1  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidType, match="to='onlin' is no push mode"):
        store.push("p", rows, to="onlin")  # type: ignore[arg-type]


def test_a_mistyped_online_store_is_refused_when_the_repo_is_opened(folder: Path) -> None:
    """Not when the first value is asked for."""
    (folder / "feature_store.yaml").write_text("project: p\nonline_store: lmbd\n")
    with pytest.raises(errors.ConfigError, match="did you mean 'lmdb'"):
        FeatureStore(folder)


def test_a_matrix_of_texts_is_refused_by_name(store: FeatureStore) -> None:
    """The feature is named, and what to do instead."""
    store.apply([pushed("v", Field("s", String), "k", Int64)])
    store.push("p", pd.DataFrame({"k": [1], "t": [day(2)], "s": ["y"]}))
    answer = store.get_online_features(["v:s"], [{"k": 1}])
    with pytest.raises(errors.RequestError, match="feature 's'"):
        answer.to_numpy()
    assert answer.to_numpy("object").tolist() == [["y"]]


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_lost_online_store_is_filled_again(tmp_path: Path, kind: str) -> None:
    """Incremental runs know that what they wrote is gone."""
    (tmp_path / "feature_store.yaml").write_text(f"project: p\nonline_store: {{type: {kind}, path: online/db}}\n")
    view = FeatureView("v", source(tmp_path, "a", k=[1, 2], x=[1, 2]), entities=[Entity(name="k")])
    lose: Callable[[], None] = lambda: shutil.rmtree(tmp_path / "online", ignore_errors=True)  # noqa: E731
    for _ in range(2):
        with FeatureStore(tmp_path, clock=FixedClock(NOW)) as opened:
            opened.apply([view])
            assert opened.materialize_incremental(NOW)[0].keys == 2
            assert opened.materialize_incremental(NOW + timedelta(0))[0].keys == 0
        lose()


def test_a_pushed_number_beyond_the_files_type_is_refused(store: FeatureStore, folder: Path) -> None:
    """A float32 column in the file does not turn 1e300 into infinity."""
    rows = source(folder, "f", k=[1], x=pa.array([1.0], pa.float32()))
    store.apply([FeatureView("v", PushSource("p", rows), [Field("x", Float64)], [Entity(name="k")])])
    with pytest.raises(errors.RequestError, match="does not fit the source's float"):
        store.push("p", pd.DataFrame({"k": [1], "t": [day(2)], "x": [1e300]}), to=PushMode.OFFLINE)


def test_times_in_json_lines_may_have_fractions_of_a_second(store: FeatureStore, folder: Path) -> None:
    """What pandas writes as ISO text is a time."""
    times = [day(1), day(2) + timedelta(milliseconds=500)]
    pd.DataFrame({"k": [1, 1], "t": times, "x": [1, 2]}).to_json(
        folder / "x.jsonl", orient="records", lines=True, date_format="iso"
    )
    rows = FileSource(path="x.jsonl", timestamp_field="t")
    store.apply([FeatureView("v", rows, [Field("x", Int64)], [Entity("k", value_type=Int64)])])
    spine = pd.DataFrame({"k": [1, 1], "event_timestamp": [day(2), day(3)]})
    assert store.get_historical_features(spine, ["v:x"]).to_arrow()["x"].to_pylist() == [1, 2]


def test_a_column_that_is_gone_stops_a_materialization_before_any_view_is_written(
    store: FeatureStore, folder: Path
) -> None:
    """The file, the column and both cures are named; what does not need the column goes on (T23)."""
    user = Entity("user", value_type=ValueType.INT64)
    times = [day(1), day(2)]
    first = FeatureView("a_first", source(folder, "one", user=[1, 1], t=times, x=[1, 2]), entities=[user])
    rows = source(folder, "two", user=[1, 1], t=times, y=[3, 4], segment=["gold", "gold"])
    second = FeatureView("b_second", rows, entities=[user])
    store.apply([first, second])
    store.materialize(day(1), day(1))
    source(folder, "two", user=[1, 1], t=times, y=[3, 4])

    with pytest.raises(errors.SourceDrift) as caught:
        store.materialize(day(1), day(3))
    for said in (str(folder / "two.parquet"), "'segment'", "'b_second'", "Write the column again, or remove it"):
        assert said in str(caught.value)
    read = ["a_first:x", "b_second:segment"]
    assert store.get_online_features(read, {"user": [1]}).to_dict() == {"user": [1], "x": [1], "segment": ["gold"]}

    spine = pd.DataFrame({"user": [1], "event_timestamp": [day(3)]})
    assert store.get_historical_features(spine, ["b_second:y"]).to_df()["y"].tolist() == [4]
    with pytest.raises(errors.SourceDrift, match="'segment'"):
        store.get_historical_features(spine, ["b_second:segment"]).to_df()
