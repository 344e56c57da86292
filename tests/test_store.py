"""FeatureStore: Feast's calls, from definitions to training sets and online answers."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
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
    OnDemandFeatureView,
    PushMode,
    PushSource,
    RequestSource,
    SavedDatasetFileStorage,
    StreamFeatureView,
    ValueType,
    on_demand_feature_view,
)
from likewise.core import errors
from likewise.define.source import DataSource
from likewise.types import Float32, Float64, Int64, String

NOW = datetime(2024, 3, 10, tzinfo=UTC)


def day(number: int, hour: int = 0) -> datetime:
    """A time in March 2024, naive."""
    return datetime(2024, 3, number, hour)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A folder with two sources: rows of users, and rows of places with other column names."""
    users = {"user_id": [1, 1, 2, 3], "event_timestamp": [day(1), day(5), day(4), day(8)], "a": [10, 11, 20, None]}
    frame = pd.DataFrame({**users, "b": [0.1, 0.2, 0.3, 0.4], "c": ["v", "w", None, "y"]})
    pq.write_table(
        pa.Table.from_pandas(frame).set_column(2, "a", pa.array([10, 11, 20, None], pa.int64())),
        tmp_path / "users.parquet",
    )
    places = {"place": ["X", "Y"], "t": [day(1), day(2)], "a": [7, 8]}
    pd.DataFrame(places).to_csv(tmp_path / "places.csv", index=False)
    (tmp_path / "feature_store.yaml").write_text("project: shop\nonline_store: memory\nregistry: registry.db\n")
    return tmp_path


USER = Entity(name="user", join_keys=["user_id"])
PLACE = Entity(name="place_entity", join_keys=["place_id"], value_type=ValueType.STRING)
USERS = FileSource(path="users.parquet", timestamp_field="event_timestamp", name="users_file")
PLACES = FileSource(path="places.csv", timestamp_field="t", field_mapping={"place": "place_id"})
FIELDS = [Field("a", Int64), Field("b", Float32), Field("c", String)]
user_view = FeatureView("users", USERS, FIELDS, [USER], timedelta(days=3))
place_view = FeatureView("places", PLACES, [Field("a", Int64)], [PLACE])
request = RequestSource("payment", [Field("amount", Float64)])


@on_demand_feature_view(
    sources=[user_view[["a"]], request], schema=[Field("ratio", Float64), Field("big", Int64)], mode="python"
)
def ratios(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What a payment is of the user's a."""
    parts = [None if a is None else amount / a for a, amount in zip(inputs["a"], inputs["amount"], strict=True)]
    return {"ratio": parts, "big": [int(amount > 100) for amount in inputs["amount"]]}


service = FeatureService("scoring", [user_view[["b", "a"]], ratios])


@pytest.fixture
def store(repo: Path) -> Iterator[FeatureStore]:
    """A store with both views, the on-demand view and the service applied."""
    with FeatureStore(repo, clock=FixedClock(NOW)) as opened:
        opened.apply([user_view, place_view, ratios, service])
        yield opened


def spine(**more: Any) -> pd.DataFrame:
    """Five entity rows: early, fresh, exactly at the ttl, expired, unknown."""
    rows = {"user_id": [1, 1, 1, 2, 9], "event_timestamp": [day(4), day(5), day(8), day(7, 1), day(5)]}
    return pd.DataFrame({**rows, "label": list("vwxyz"), **more})


A = [10, 11, 11, None, None]


def test_a_training_set_has_the_rows_given_and_the_features_asked_for(store: FeatureStore) -> None:
    """Rows, order, extra columns and the order of features are what was asked for (S8)."""
    frame = store.get_historical_features(spine(), ["users:c", "users:a"]).to_df()
    assert list(frame.columns) == ["user_id", "event_timestamp", "label", "c", "a"]
    assert frame["label"].tolist() == list("vwxyz")
    assert str(frame["a"].dtype) == "Int64"
    assert [None if pd.isna(a) else a for a in frame["a"]] == A
    assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"


SPINES: dict[str, Any] = {
    "pandas": lambda f: f,
    "polars": pl.from_pandas,
    "arrow": lambda f: pa.Table.from_pandas(f, preserve_index=False),
    "reader": lambda f: pa.Table.from_pandas(f, preserve_index=False).to_reader(),
    "duckdb": lambda f: duckdb.sql("SELECT * FROM f"),
    "aware": lambda f: f.assign(event_timestamp=f.event_timestamp.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")),
    "nanoseconds": lambda f: f.assign(event_timestamp=f.event_timestamp.astype("datetime64[ns]")),
    "seconds": lambda f: f.assign(event_timestamp=f.event_timestamp.astype("datetime64[s]")),
    "text keys": lambda f: f.assign(user_id=f.user_id.astype("str")),
    "float keys": lambda f: f.assign(user_id=f.user_id.astype("float64")),
    "category keys": lambda f: f.assign(user_id=f.user_id.astype("category")),
    "small keys": lambda f: f.assign(user_id=f.user_id.astype("int8")),
    "other time column": lambda f: f.rename(columns={"event_timestamp": "when"}),
    "an index": lambda f: f.set_index(np.array([5, 4, 3, 2, 1])),
    "records": lambda f: f.to_dict("records"),
}


@pytest.mark.parametrize("kind", SPINES)
def test_entity_rows_come_in_any_form(store: FeatureStore, kind: str) -> None:
    """The form, the unit of the times and the type of the keys do not change a value."""
    given = SPINES[kind](spine())
    assert store.get_historical_features(given, ["users:a"]).to_arrow()["a"].to_pylist() == A


def test_entity_rows_come_from_a_query(store: FeatureStore, repo: Path) -> None:
    """A text is an SQL query that selects them, in its order."""
    pq.write_table(pa.Table.from_pandas(spine()), repo / "spine.parquet")
    query = f"SELECT user_id, event_timestamp, label FROM '{repo / 'spine.parquet'}' ORDER BY label DESC"
    answer = store.get_historical_features(query, ["users:a"]).to_arrow()
    assert answer["label"].to_pylist() == list("zyxwv")
    assert answer["a"].to_pylist() == A[::-1]


def test_equal_entity_rows_stay_apart(store: FeatureStore) -> None:
    """Two labels at one key and time are two rows."""
    twice = pd.concat([spine(), spine()])
    assert store.get_historical_features(twice, ["users:a"]).to_arrow()["a"].to_pylist() == A + A


def test_no_entity_rows_give_no_rows(store: FeatureStore) -> None:
    """An empty frame comes back with all columns."""
    frame = store.get_historical_features(spine()[:0], ["users:a", "users:c"]).to_df()
    assert (len(frame), list(frame.columns)) == (0, ["user_id", "event_timestamp", "label", "a", "c"])


def test_a_training_set_leaves_in_every_form(store: FeatureStore, tmp_path: Path) -> None:
    """Pandas, Arrow, polars, batches and a file hold the same."""
    job = store.get_historical_features(spine(), ["users:a", "users:b"])
    table = job.to_arrow()
    assert job.to_polars().to_arrow()["a"].to_pylist() == table["a"].to_pylist()
    assert pa.Table.from_batches(job.to_arrow_batches()) == table
    path = job.persist(SavedDatasetFileStorage(str(tmp_path / "out" / "train.parquet")))
    assert pq.read_table(path) == table
    with pytest.raises(errors.RequestError, match="is there already"):
        job.persist(path)
    assert job.persist(path, allow_overwrite=True) == path


def test_a_job_explains_itself(store: FeatureStore) -> None:
    """What is joined to what, as of when, from which catalog and definitions."""
    text = str(store.get_historical_features(spine(amount=1.0), ["scoring"]).explain())
    assert "from catalog 1 of 'shop'" in text
    assert "join view 'users'" in text
    assert "no older than its ttl: 3 days" in text
    assert "compute on-demand view 'ratios'" in text


def test_views_on_different_keys_join_in_one_call(store: FeatureStore) -> None:
    """Each view finds its own key columns; full names tell equal features apart."""
    rows = spine(place_id=["X", "Y", "Z", "X", None])
    with pytest.raises(errors.FeatureNameCollision, match="full_feature_names=True"):
        store.get_historical_features(rows, ["users:a", "places:a"])
    answer = store.get_historical_features(rows, ["places:a", "users:a"], full_feature_names=True).to_arrow()
    assert answer.column_names[-2:] == ["places__a", "users__a"]
    assert answer["places__a"].to_pylist() == [7, 8, None, 7, None]
    assert answer["users__a"].to_pylist() == A


def test_one_view_under_two_aliases(store: FeatureStore) -> None:
    """A payment has two users: the payer's values and the payee's, from one view."""
    payer = user_view[["a"]].with_name("payer").with_join_key_map({"user_id": "payer_id"})
    payee = user_view[["a"]].with_name("payee").with_join_key_map({"user_id": "payee_id"})
    both = FeatureService("both", [payer, payee])
    store.apply([both])
    rows = pd.DataFrame({"payer_id": [1, 2], "payee_id": [2, 1], "event_timestamp": [day(5), day(6)]})
    answer = store.get_historical_features(rows, both, full_feature_names=True).to_arrow()
    assert answer["payer__a"].to_pylist() == [11, 20]
    assert answer["payee__a"].to_pylist() == [20, 11]
    store.materialize(day(1), day(10))
    online = store.get_online_features(both, [{"payer_id": 1, "payee_id": 3}], full_feature_names=True, as_of=day(8))
    assert online.to_dict() == {"payer_id": [1], "payee_id": [3], "payer__a": [11], "payee__a": [None]}


def test_on_demand_features_are_the_same_in_training_and_serving(store: FeatureStore) -> None:
    """One function, one value, asked for by service, by view and by feature."""
    rows = spine(amount=[1.0, 220.0, 11.0, 5.0, 6.0])
    trained = store.get_historical_features(rows, ["scoring"]).to_arrow()
    assert trained.column_names[-4:] == ["b", "a", "ratio", "big"]
    assert trained["ratio"].to_pylist() == [0.1, 20.0, 1.0, None, None]
    store.materialize(day(1), day(10))
    served = store.get_online_features("scoring", [{"user_id": 1, "amount": 220.0}], as_of=day(8)).to_dict()
    assert served == {"user_id": [1], "b": [float(np.float32(0.2))], "a": [11], "ratio": [20.0], "big": [1]}
    only = store.get_online_features(["ratios:big"], {"user_id": [1], "amount": [5]}, as_of=day(8)).to_dict()
    assert only == {"user_id": [1], "big": [0]}


def test_on_demand_views_whose_names_run_together_stay_apart(store: FeatureStore) -> None:
    """The output b_c of view a is not the output c of view a_b."""
    request = RequestSource("asked", [Field("x", Int64)])

    def one(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"b_c": [1 for _ in inputs["x"]]}

    def two(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"c": [2 for _ in inputs["x"]]}

    first = OnDemandFeatureView("a", [request], [Field("b_c", Int64)], one, "python")
    store.apply([first, OnDemandFeatureView("a_b", [request], [Field("c", Int64)], two, "python")])
    trained = store.get_historical_features(spine(x=0), ["a:b_c", "a_b:c"]).to_arrow()
    assert (trained["b_c"][0].as_py(), trained["c"][0].as_py()) == (1, 2)


def test_every_value_says_what_is_known_of_it(store: FeatureStore) -> None:
    """Present, null in the source, too old, never seen; with event times."""
    store.apply([FeatureView("aging", USERS, FIELDS, [USER], timedelta(days=3))])
    store.materialize(day(1), day(10))
    with pytest.warns(UserWarning, match="view 'aging' has values that are"):
        answer = store.get_online_features(["aging:a"], {"user_id": [1, 2, 3, 4]}, as_of=day(8))
    assert answer.statuses()["a"] == [
        FieldStatus.PRESENT,
        FieldStatus.OUTSIDE_MAX_AGE,
        FieldStatus.NULL_VALUE,
        FieldStatus.NOT_FOUND,
    ]
    assert answer.to_dict(include_event_timestamps=True)["a__ts"] == [
        int(day(number).replace(tzinfo=UTC).timestamp()) if number else 0 for number in (5, 4, 8, 0)
    ]
    assert str(answer.to_df()["a"].dtype) == "Int64"
    assert answer.to_arrow().schema.field("a").type == pa.int64()
    assert answer.to_numpy().shape == (4, 1)


def test_date_ranges_need_no_entity_rows(store: FeatureStore) -> None:
    """Every key and event time of the views in the span, by time."""
    answer = store.get_historical_features(None, ["users:a", "users:c"], start_date=day(2), end_date=day(6)).to_arrow()
    assert answer.select(["user_id", "a", "c"]).to_pylist() == [
        {"user_id": 2, "a": 20, "c": None},
        {"user_id": 1, "a": 11, "c": "w"},
    ]
    assert store.get_historical_features(None, ["places:a"]).to_arrow()["a"].to_pylist() == [7, 8]
    with pytest.raises(errors.RequestError, match="different keys"):
        store.get_historical_features(None, ["users:a", "places:a"], full_feature_names=True)


def test_a_saved_dataset_remembers_what_it_was_made_from(store: FeatureStore) -> None:
    """Its catalog's number and the hashes of the definitions, and it can be read again."""
    job = store.get_historical_features(spine(), ["users:a"])
    saved = store.create_saved_dataset(job, "train", SavedDatasetFileStorage("data/train.parquet"), {"for": "fraud"})
    found = store.get_saved_dataset("train")
    assert found == saved
    assert (found.catalog, found.rows, list(found.hashes), found.features) == (1, 5, ["users"], ("a",))
    assert found.to_arrow() == job.to_arrow()
    with pytest.raises(errors.RequestError, match="already"):
        store.create_saved_dataset(job, "train", "data/other.parquet")
    with pytest.raises(errors.SavedDatasetNotFound, match="did you mean 'train'"):
        store.get_saved_dataset("trian")
    assert [dataset.name for dataset in store.list_saved_datasets(tags={"for": "fraud"})] == ["train"]


def test_history_grows_and_can_be_rolled_back(store: FeatureStore) -> None:
    """Nothing is lost: an old catalog becomes the newest, under a new number."""
    wider = FeatureView("users", USERS, FIELDS, [USER], timedelta(days=9))
    assert store.apply([wider]).catalog == 2
    assert store.apply([wider]).changes == ()
    assert store.get_feature_view("users").ttl == timedelta(days=9)
    assert store.rollback(1).catalog == 3
    assert store.get_feature_view("users").ttl == timedelta(days=3)
    assert [info.number for info in store.history()] == [1, 2, 3]
    with pytest.raises(errors.CatalogNotFound, match="has no catalog 7"):
        store.rollback(7)


def test_older_versions_of_a_view_can_be_asked_for(store: FeatureStore) -> None:
    """view@v1:feature is what the first version said."""
    store.apply([FeatureView("users", USERS, FIELDS, [USER], timedelta(days=30))])
    rows = pd.DataFrame({"user_id": [2], "event_timestamp": [day(9)]})
    answer = store.get_historical_features(rows, ["users:a", "users@v1:a"], full_feature_names=True).to_arrow()
    assert answer.to_pylist()[0]["users__a"] == 20
    assert answer.to_pylist()[0]["users@v1__a"] is None
    with pytest.raises(errors.FeatureViewNotFound, match="has no version 5"):
        store.get_historical_features(rows, ["users@v5:a"])
    with pytest.raises(errors.NotSupported, match="'users@v1' is an older version"):
        store.get_online_features(["users@v1:a"], [{"user_id": 1}])


def test_a_changed_view_serves_what_old_records_have(store: FeatureStore) -> None:
    """After a feature was added, the others are served on; the new one is NOT_FOUND until it is materialized."""
    store.materialize(day(1), day(10))
    reordered = [*FIELDS[::-1], Field("event_day", Int64)]
    frame = pd.read_parquet(store.repo_path / "users.parquet")
    frame.assign(event_day=5).to_parquet(store.repo_path / "users.parquet")
    store.apply([FeatureView("users", USERS, reordered, [USER], timedelta(days=3))])
    answer = store.get_online_features(["users:event_day", "users:a", "users:c"], [{"user_id": 1}], as_of=day(8))
    assert answer.to_dict() == {"user_id": [1], "event_day": [None], "a": [11], "c": ["w"]}
    assert answer.statuses()["event_day"] == [FieldStatus.NOT_FOUND]
    store.materialize(day(1), day(10))
    assert store.get_online_features(["users:event_day"], [{"user_id": 1}], as_of=day(8)).to_dict()["event_day"] == [5]


def test_apply_with_objects_leaves_the_rest_alone(store: FeatureStore) -> None:
    """Adding one view neither deletes nor checks anything else."""
    (store.repo_path / "places.csv").unlink()
    applied = store.apply([FeatureView("more", USERS, [Field("c", String)], [USER])])
    assert [(change.action, change.name) for change in applied.changes] == [("create", "more")]
    assert {view.name for view in store.list_feature_views()} == {"users", "places", "more"}
    store.delete_feature_view("more")
    assert {view.name for view in store.list_feature_views()} == {"users", "places"}


def test_apply_without_objects_applies_the_files(store: FeatureStore) -> None:
    """What the repo's files define is what stands, and what they do not is deleted."""
    (store.repo_path / "features.py").write_text(
        "from feast import Entity, FeatureView, FileSource\n"
        "user = Entity(name='user', join_keys=['user_id'])\n"
        "view = FeatureView(name='inferred', entities=[user], source=FileSource(path='users.parquet'))\n"
    )
    store.apply([])
    [view] = store.list_feature_views()
    assert [(field.name, field.dtype.name) for field in view.features] == [
        ("a", "Int64"),
        ("b", "Float64"),
        ("c", "String"),
    ]
    assert view.batch_source is not None
    assert view.batch_source.timestamp_field == "event_timestamp"
    assert store.get_entity("user").value_type is ValueType.INT64


def test_all_problems_of_a_repo_are_listed_and_nothing_is_applied(store: FeatureStore) -> None:
    """File, line, what and cure of each; also those that only the source can tell."""
    (store.repo_path / "features.py").write_text(
        "from feast import Entity, FeatureView, Field, FileSource\n"
        "from feast.types import Int64, String\n"
        "user = Entity(name='user', join_keys=['user_id'])\n"
        "source = FileSource(path='users.parquet', timestamp_field='event_timestam')\n"
        "one = FeatureView(name='one', entities=[user], schema=[Field(name='aa', dtype=Int64)], source=source)\n"
        "two = FeatureView(name='two', entities=[user], schema=[Field(name='c', dtype=Int64)], source=source)\n"
        "gone = FileSource(path='gone.parquet', timestamp_field='t')\n"
    )
    with pytest.raises(errors.RepoProblems) as caught:
        store.apply()
    text = str(caught.value)
    assert "features.py:4" in text
    assert "no column 'event_timestam'. did you mean 'event_timestamp'?" in text
    assert "features.py:5" in text
    assert "has no column 'aa' for the feature 'aa'" in text
    assert "feature 'c' is Int64, but column 'c' of 'users.parquet' holds" in text
    assert "gone.parquet" in text
    assert store.registry.head("shop") == 1


def test_a_plan_changes_nothing(store: FeatureStore) -> None:
    """It says what would, and can be committed as it is."""
    plan = store.plan([FeatureView("more", USERS, [Field("c", String)], [USER])])
    assert [change.name for change in plan.changes] == ["more"]
    assert store.registry.head("shop") == 1
    assert store.commit(plan).catalog == 2
    with pytest.raises(errors.ApplyConflict):
        store.commit(plan)


def test_pushed_rows_reach_both_stores(store: FeatureStore) -> None:
    """Online at once, offline as a file of its own; no file is rewritten."""
    push = PushSource("clicks", USERS)
    view = FeatureView("clicked", push, [Field("a", Int64)], [USER], offline=True)
    store.apply([view])
    before = (store.repo_path / "users.parquet").read_bytes()
    rows = pd.DataFrame({"user_id": [1, 50], "event_timestamp": [day(9), day(9)], "a": [99, 98]})
    assert store.push("clicks", rows, to=PushMode.ONLINE_AND_OFFLINE) == 2
    assert store.get_online_features(["clicked:a"], {"user_id": [1, 50]}).to_dict()["a"] == [99, 98]
    at = pd.DataFrame({"user_id": [1, 50, 2], "event_timestamp": [day(10)] * 3})
    assert store.get_historical_features(at, ["clicked:a"]).to_arrow()["a"].to_pylist() == [99, 98, 20]
    assert (store.repo_path / "users.parquet").read_bytes() == before


def test_a_push_that_one_view_cannot_take_is_written_nowhere(store: FeatureStore) -> None:
    """Neither to the files, nor to the views that could take it."""
    push = PushSource("clicks", USERS)
    one, two = (FeatureView(f"with_{n}", push, [field], [USER]) for n, field in zip("ab", FIELDS, strict=False))
    store.apply([one, two])
    rows = pd.DataFrame({"user_id": [50], "event_timestamp": [day(9)], "a": [99]})
    with pytest.raises(errors.RequestError, match="have no column 'b'"):
        store.push("clicks", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(["with_a:a"], {"user_id": [50]}).to_dict()["a"] == [None]
    assert sorted(path.name for path in store.repo_path.rglob("*.parquet")) == ["users.parquet"]


def test_a_push_source_takes_its_time_column_from_its_batch_source(store: FeatureStore) -> None:
    """Told or inferred, it is no feature."""
    batch = FileSource(path="users.parquet", name="untold")
    store.apply([FeatureView("clicked", PushSource("clicks", batch), None, [USER])])
    assert [field.name for field in store.get_feature_view("clicked").fields] == ["a", "b", "c"]


def test_a_closed_store_opens_anew(repo: Path) -> None:
    """What it had ready for its old online store is not used any more."""
    (repo / "feature_store.yaml").write_text("project: shop\nonline_store: sqlite\nregistry: registry.db\n")
    with FeatureStore(repo, clock=FixedClock(NOW)) as store:
        store.apply([place_view])
        store.materialize(day(1), day(10))
        for _ in range(2):
            assert store.get_online_features(["places:a"], [{"place_id": "X"}]).to_dict()["a"] == [7]
            store.close()


def test_a_rollback_and_a_teardown_have_an_author(store: FeatureStore) -> None:
    """As an apply has."""
    store.rollback(1)
    store.teardown()
    assert {info.author for info in store.history()} == {store.history()[0].author}


def test_a_windowed_view_is_trained_back_filled_pushed_and_read(store: FeatureStore) -> None:
    """One definition gives its values on every path; until it is back-filled, online reads find none (S5, S7)."""
    total = Aggregation("a", "sum", timedelta(days=6))
    window = StreamFeatureView(
        "recent", PushSource("events", USERS), [Field("total", Int64)], [USER], aggregations=[total]
    )
    store.apply([window])
    assert [view.name for view in store.list_stream_feature_views()] == ["recent"]
    trained = store.get_historical_features(spine(), ["recent:total"]).to_arrow()
    assert trained["total"].to_pylist() == [10, 21, 11, 20, None]

    def online() -> tuple[list[Any], list[str]]:
        answer = store.get_online_features(["recent:total"], {"user_id": [1, 2, 9]})
        return answer.to_dict()["total"], [status.name for status in answer.statuses()["total"]]

    assert online() == ([None, None, None], ["NOT_FOUND"] * 3)
    store.materialize(day(1), day(10), feature_views=["recent"])
    assert online() == ([11, None, None], ["PRESENT", "NULL_VALUE", "NULL_VALUE"])  # (March 4, March 10]
    store.push("events", pd.DataFrame({"user_id": [1, 9], "event_timestamp": [day(9), day(10)], "a": [5, 6]}))
    assert online() == ([16, None, 6], ["PRESENT", "NULL_VALUE", "PRESENT"])


Act = Callable[[FeatureStore], object]


def online(features: Any, rows: Any) -> Act:
    """An online read."""
    return lambda store: store.get_online_features(features, rows)


def train(rows: Any, *features: str, **more: Any) -> Act:
    """A training set."""
    return lambda store: store.get_historical_features(rows, features, **more).to_arrow()


def materialize_until(end: datetime) -> Act:
    """An incremental materialization."""
    return lambda store: store.materialize_incremental(end)


ONE = [{"user_id": 1}]
BAD: dict[str, tuple[Act, type[errors.LikewiseError], str]] = {
    "unknown feature": (online(["users:bb"], []), errors.FeatureNotFound, "view 'users' has no feature 'bb'"),
    "unknown view": (online(["user:a"], []), errors.FeatureViewNotFound, "did you mean 'users'"),
    "unknown name": (online(["score"], []), errors.InvalidFeatureReference, "neither a view nor a service"),
    "no features": (online([], []), errors.RequestError, "no features were asked for"),
    "no reference": (online(["a:b:c"], []), errors.InvalidFeatureReference, "is not a feature reference"),
    "no key": (online(["users:a"], [{"usr_id": 1}]), errors.EntityKeyError, "did you mean 'usr_id'"),
    "null key": (online(["users:a"], [{"user_id": None}]), errors.EntityKeyError, "user_id"),
    "wrong key": (online(["users:a"], [{"user_id": "x"}]), errors.EntityKeyError, "'x'"),
    "huge key": (online(["users:a"], [{"user_id": 2**70}]), errors.EntityKeyError, "user_id"),
    "no rows": (online(["users:a"], "user"), errors.RequestError, "entity_rows is a str"),
    "no dict": (online(["users:a"], [1]), errors.RequestError, "row 0 of entity_rows is 1"),
    "uneven": (online("scoring", {"user_id": [1], "amount": []}), errors.RequestError, "differ in length"),
    "no request": (online("scoring", ONE), errors.RequestDataMissing, "'amount'"),
    "no request column": (train(spine(), "scoring"), errors.RequestDataMissing, "'amount'"),
    "no key column": (train(spine().drop(columns="user_id"), "users:a"), errors.EntityKeyError, "'user_id'"),
    "no time": (
        train(spine().drop(columns="event_timestamp"), "users:a"),
        errors.RequestError,
        "no column of times",
    ),
    "two times": (
        train(spine(x=day(1)).rename(columns={"event_timestamp": "y"}), "users:a"),
        errors.RequestError,
        "several columns of times: 'y', 'x'",
    ),
    "text times": (train(spine(event_timestamp="2024-03-01"), "users:a"), errors.InvalidTime, "pd.to_datetime"),
    "taken name": (train(spine(a=1), "users:a"), errors.FeatureNameCollision, "column 'a'"),
    "rows and dates": (train(spine(), "users:a", start_date=day(1)), errors.RequestError, "both"),
    "not rows": (train(7, "users:a"), errors.RequestError, "are a int"),
    "no definition": (lambda s: s.apply([user_view, [place_view]]), errors.InvalidType, "cannot be applied"),  # type: ignore[list-item]
    "no known source": (
        lambda s: s.apply([FeatureView("v", DataSource("d", "t"), [Field("a", Int64)])]),
        errors.RepoProblems,
        "a DataSource cannot be read",
    ),
    "no time told": (
        lambda s: s.apply(FeatureView("v", FileSource("x.csv"), FIELDS), skip_source_validation=True),
        errors.RepoProblems,
        "does not say which column holds the event time",
    ),
    "no stream view": (
        lambda s: s.get_stream_feature_view("users"),
        errors.FeatureViewNotFound,
        "no stream feature view 'users', but a feature view",
    ),
    "other project": (lambda s: s.get_project("other"), errors.NotFound, "not of 'other'"),
    "unknown source": (lambda s: s.push("click", spine()), errors.PushSourceNotFound, "no push source 'click'"),
    "future": (materialize_until(datetime(2030, 1, 1, tzinfo=UTC)), errors.InvalidTime, "lies in the future"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_with_its_cure(store: FeatureStore, case: str) -> None:
    """What was wrong, where, and what would be right; every error is one of ours."""
    act, error, said = BAD[case]
    with pytest.raises(error, match=said):
        act(store)


def test_entities_without_a_known_type_are_refused(repo: Path) -> None:
    """A push-only view must say what its keys are."""
    view = FeatureView("v", PushSource("p", timestamp_field="t"), [Field("a", Int64)], [Entity(name="who")])
    with (
        FeatureStore(repo) as store,
        pytest.raises(errors.RepoProblems, match="type of the key of entity 'who' cannot be told"),
    ):
        store.apply([view])


def test_views_without_entities_have_one_row_for_all(repo: Path) -> None:
    """A global value joins every entity row, and serves every request row."""
    pd.DataFrame({"t": [day(1), day(5)], "rate": [1.5, 2.5]}).to_parquet(repo / "rates.parquet")
    rates = FeatureView("rates", FileSource(path="rates.parquet", timestamp_field="t"), [Field("rate", Float64)])
    with FeatureStore(repo, clock=FixedClock(NOW)) as store:
        store.apply([rates])
        rows = pd.DataFrame({"event_timestamp": [day(4), day(6)]})
        assert store.get_historical_features(rows, ["rates:rate"]).to_arrow()["rate"].to_pylist() == [1.5, 2.5]
        store.materialize(day(1), day(10))
        assert store.get_online_features(["rates:rate"], [{}, {"x": 1}]).to_dict() == {"rate": [2.5, 2.5]}


def test_a_composite_key_is_several_entities(repo: Path) -> None:
    """The order of the entities does not matter; ("a", "bc") is not ("ab", "c")."""
    one, two = Entity(name="one"), Entity(name="two")
    frame = {"one": ["a", "ab"], "two": ["bc", "c"], "t": [day(1), day(1)], "n": [1, 2]}
    pd.DataFrame(frame).to_parquet(repo / "pairs.parquet")
    source = FileSource(path="pairs.parquet", timestamp_field="t")
    with FeatureStore(repo, clock=FixedClock(NOW)) as store:
        store.apply([FeatureView("pairs", source, [Field("n", Int64)], [two, one])])
        store.materialize(day(1), day(2))
        keys = {"two": ["bc", "c", "bc"], "one": ["a", "ab", "ab"]}
        assert store.get_online_features(["pairs:n"], keys).to_dict()["n"] == [1, 2, None]
        rows = pd.DataFrame({**keys, "event_timestamp": day(3)})
        assert store.get_historical_features(rows, ["pairs:n"]).to_arrow()["n"].to_pylist() == [1, 2, None]


def test_a_process_whose_function_differs_says_so(store: FeatureStore) -> None:
    """The applied function's source is part of the definition (S10)."""
    with (
        FeatureStore(store.repo_path, clock=FixedClock(NOW)) as other,
        pytest.raises(errors.TransformError, match="does not define its function"),
    ):
        other.get_online_features(["scoring"], [{"user_id": 1, "amount": 1.0}])


def test_stored_definitions_are_plain_data(store: FeatureStore) -> None:
    """Nothing that could run is in the registry's file."""
    raw = (store.repo_path / "registry.db").read_bytes()
    assert b"cloudpickle" not in raw
    assert b"\x80\x04\x95" not in raw
    assert json.dumps(store.registry.catalog("shop").definitions())


def test_dates_are_taken_in_every_form(store: FeatureStore) -> None:
    """Text, date, naive and aware datetimes."""
    for start, end in (("2024-03-01", "2024-03-09T12:00:00+01:00"), (date(2024, 3, 1), NOW), (day(1), day(10))):
        assert {done.keys for done in store.materialize(start, end)} == {3, 2}  # type: ignore[arg-type]


def test_teardown_leaves_sources_and_history(store: FeatureStore) -> None:
    """Definitions and online data are gone; a rollback brings the definitions back."""
    store.materialize(day(1), day(10))
    store.teardown()
    assert store.list_feature_views() == []
    assert (store.repo_path / "users.parquet").exists()
    store.rollback(1)
    assert store.get_online_features(["users:a"], [{"user_id": 1}], as_of=day(8)).statuses()["a"] == [
        FieldStatus.NOT_FOUND
    ]


def test_what_others_read_cannot_be_deleted(store: FeatureStore) -> None:
    """A view that a service reads, or a source that a view reads, stays; the readers are named."""
    for delete in (
        lambda: store.delete_feature_view("users"),
        lambda: store.apply([], objects_to_delete=[store.get_data_source("users_file")]),
    ):
        with pytest.raises(errors.RepoProblems, match="which is not there"):
            delete()
    assert store.registry.head("shop") == 1


def test_key_types_that_were_registered_are_not_forgotten(store: FeatureStore) -> None:
    """An apply that does not look at the sources keeps what an earlier one found there."""
    store.apply([user_view, place_view, ratios, service], partial=False, skip_source_validation=True)
    assert store.get_entity("user").value_type is ValueType.INT64
