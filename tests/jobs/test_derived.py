"""Views whose rows are made by functions: applied, trained, materialized and pushed through a whole store."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from likewise import (
    Aggregation,
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    StreamFeatureView,
)
from likewise.config import parse_config
from likewise.core.errors import NotSupported, RepoProblems, RequestError, SourceError, TransformError
from likewise.define.windowed import batch_feature_view, stream_feature_view
from likewise.jobs.derived import FOLDER, MOST_ALIKE
from likewise.types import Float64, Int64, String

NOW = datetime(2024, 2, 1, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"])


def day(number):
    """Return a day of January."""
    return pd.Timestamp(2024, 1, number, tz="UTC")


def payments(**columns):
    """Return three payments of two users."""
    rows = {"user_id": [1, 1, 2], "at": [day(1), day(9), day(3)], "amount": [7.0, 8.0, 9.0]}
    return pd.DataFrame({**rows, **columns})


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a file of payments."""
    payments().to_parquet(tmp_path / "payments.parquet")
    return tmp_path


def open_store(folder, **more):
    """Return a store over the folder."""
    config = parse_config("{project: p, registry: reg.db, online_store: {type: sqlite, path: online.db}}")
    return FeatureStore(folder, config, clock=FixedClock(NOW), **more)


def files():
    """Return the source of the payments."""
    return FileSource(path="payments.parquet", timestamp_field="at")


def pushed():
    """Return the source of payments that are pushed, over the file."""
    return PushSource("incoming", batch_source=files())


def doubled(df):
    """Return payments with twice their amount."""
    return df.assign(twice=df["amount"] * 2)[["user_id", "at", "twice"]]


def derived(source=None, udf=doubled, name="v", **more):
    """Return a view with a function."""
    return BatchFeatureView(name, source or files(), entities=[USER], udf=udf, online=True, **more)


def train(store, *features, keys=(1, 1, 2, 3), days=(5, 10, 4, 4)):
    """Return the features of a training set, one list each."""
    spine = pd.DataFrame({"user_id": list(keys), "event_timestamp": [day(number) for number in days]})
    found = store.get_historical_features(spine, list(features)).to_arrow().to_pydict()
    return {name: values for name, values in found.items() if name not in spine.columns}


def serve(store, *features, keys=(1, 2, 3)):
    """Return the features of an online read, one list each."""
    answer = store.get_online_features(list(features), {"user_id": list(keys)}).to_dict()
    return {name: values for name, values in answer.items() if name != "user_id"}


def problems(folder, *objects):
    """Return what is wrong with definitions, as one text."""
    with open_store(folder) as store, pytest.raises(RepoProblems) as caught:
        store.apply(list(objects))
    return str(caught.value)


def kept(folder):
    """Return the files of rows that were made."""
    return sorted((folder / FOLDER).glob("*.parquet"))


def test_training_and_serving_read_what_the_function_makes(folder):
    """The same rows are joined to entity rows and materialized."""
    with open_store(folder) as store:
        store.apply([derived()])
        assert store.get_feature_view("v").features == [Field("twice", Float64)]
        assert train(store, "v:twice") == {"twice": [14.0, 16.0, 18.0, None]}
        store.materialize_incremental(NOW)
        assert serve(store, "v:twice") == {"twice": [16.0, 18.0, None]}


def test_rows_are_made_once_and_again_when_the_source_changes(folder):
    """They are kept as a file that the state of the source names, and made anew for another state."""
    with open_store(folder) as store:
        store.apply([derived()])
        train(store, "v:twice")
        [first] = kept(folder)
        stamp = first.stat().st_ino
        train(store, "v:twice")
        assert [path.stat().st_ino for path in kept(folder)] == [stamp]
        payments(amount=[1.0, 2.0, 3.0]).to_parquet(folder / "payments.parquet")
        assert train(store, "v:twice")["twice"][:3] == [2.0, 4.0, 6.0]
        assert len(kept(folder)) == 2
        assert (folder / FOLDER / ".gitignore").read_text() == "*\n"


def test_few_sets_of_rows_are_kept(folder):
    """Of one view the rows of the source's last states stay, once nobody reads the others; a teardown removes all."""
    with open_store(folder) as store:
        store.apply([derived()])
        for number in range(4):
            payments(amount=[float(number)] * 3).to_parquet(folder / "payments.parquet")
            os.utime(folder / "payments.parquet", ns=(number, number))
            assert train(store, "v:twice")["twice"][0] == 2.0 * number
        assert len(kept(folder)) == 4
        for path in kept(folder):
            os.utime(path, (1, 1))
        payments(amount=[9.0] * 3).to_parquet(folder / "payments.parquet")
        train(store, "v:twice")
        assert len(kept(folder)) == MOST_ALIKE
        store.teardown()
        assert kept(folder) == []


def test_a_function_that_fails_leaves_nothing(folder):
    """Rows are kept whole or not at all, and the next read runs the function again."""

    def failing(df):
        if df["amount"].max() > 8.5:
            raise ValueError("too much")
        return df.assign(twice=df["amount"] * 2)

    with open_store(folder) as store:
        store.apply([derived(udf=failing, schema=[Field("twice", Float64)])])
        with pytest.raises(TransformError, match=r"function 'failing' .*raised ValueError: too much"):
            train(store, "v:twice")
        assert [path.name for path in (folder / FOLDER).iterdir()] == [".gitignore"]
        payments(amount=[1.0, 2.0, 3.0]).to_parquet(folder / "payments.parquet")
        assert train(store, "v:twice")["twice"][:3] == [2.0, 4.0, 6.0]


def test_a_folder_that_cannot_be_written_is_named(folder):
    """The error says where the rows would be kept, and what to set instead."""
    (folder / FOLDER.parts[0]).write_text("in the way")
    with open_store(folder) as store:
        store.apply([derived()])
        with pytest.raises(SourceError, match=r"cannot be kept in .*derived.*set temp_directory"):
            train(store, "v:twice")


def test_nothing_is_computed_before_it_is_asked_for(folder):
    """A retrieval explains itself without running the function."""
    with open_store(folder) as store:
        store.apply([derived(schema=[Field("twice", Float64)])])
        spine = pd.DataFrame({"user_id": [1], "event_timestamp": [day(5)]})
        job = store.get_historical_features(spine, ["v:twice"])
        assert "the rows that batch feature view 'v' makes of 'payments.parquet'" in str(job.explain())
        assert kept(folder) == []


def test_pushed_rows_go_through_the_function(folder):
    """A push holds the source's columns, and what is stored is what the function makes of them."""
    with open_store(folder) as store:
        store.apply([derived(pushed())])
        store.materialize_incremental(NOW)
        rows = payments().iloc[:1].assign(at=day(20), amount=50)
        assert store.push("incoming", rows, to=PushMode.ONLINE_AND_OFFLINE) == 1
        assert serve(store, "v:twice", keys=[1]) == {"twice": [100.0]}
        assert train(store, "v:twice", keys=[1, 1], days=[19, 21]) == {"twice": [16.0, 100.0]}


def test_a_push_that_the_function_cannot_take_writes_nothing(folder):
    """A missing column, a bad value and a failing function are found out before anything is written."""
    with open_store(folder) as store:
        plain = FeatureView("plain", pushed(), [Field("amount", Float64)], [USER])

        def strict(df):
            if (df["amount"] < 0).any():
                raise ValueError("negative")
            return doubled(df)

        store.apply([derived(pushed(), udf=strict), plain])
        rows = payments().iloc[:1]
        with pytest.raises(RequestError, match="have no column 'amount', which its function is given"):
            store.push("incoming", rows.drop(columns=["amount"]))
        with pytest.raises(RequestError, match="column 'amount' of the rows for batch feature view 'v'"):
            store.push("incoming", rows.assign(amount="x"))
        with pytest.raises(TransformError, match="raised ValueError: negative"):
            store.push("incoming", rows.assign(amount=-1.0), to=PushMode.ONLINE_AND_OFFLINE)
        assert serve(store, "plain:amount", "v:twice", keys=[1]) == {"amount": [None], "twice": [None]}
        assert not (folder / "payments.parquet.appended").exists()


def test_a_pushed_row_that_the_function_drops_is_not_stored(folder):
    """A function may leave rows out, of a push as of a source."""
    with open_store(folder) as store:
        store.apply([derived(pushed(), udf=lambda df: doubled(df[df["amount"] > 7.5]))])
        assert train(store, "v:twice") == {"twice": [None, 16.0, 18.0, None]}
        assert store.push("incoming", payments().assign(amount=[1.0, 20.0, 2.0])) == 1
        assert serve(store, "v:twice") == {"twice": [40.0, None, None]}


def test_columns_are_mapped_before_the_function_sees_them(folder):
    """A function knows the names of the view, whether rows come from a file or a push, under either name."""
    mapped = FileSource(path="payments.parquet", timestamp_field="at", field_mapping={"amount": "cents"})

    def function(df):
        return df.assign(twice=df["cents"] * 2).drop(columns=["cents"])

    with open_store(folder) as store:
        store.apply([derived(PushSource("incoming", batch_source=mapped), udf=function)])
        assert train(store, "v:twice")["twice"][:3] == [14.0, 16.0, 18.0]
        store.push("incoming", payments().assign(at=day(20)).rename(columns={"amount": "cents"}).iloc[:1])
        store.push("incoming", payments().assign(at=day(20)).iloc[2:])
        assert serve(store, "v:twice") == {"twice": [14.0, 18.0, None]}


def test_a_view_reads_the_rows_of_another(folder):
    """Functions are chained: the rows of a view are given to the function of the next, also when they are pushed."""
    first = derived(pushed(), name="first")

    def plus(df):
        return df.assign(more=df["twice"] + 1).drop(columns=["twice"])

    with open_store(folder) as store:
        store.apply([derived(first, plus, "second")])
        assert [view.name for view in store.list_feature_views()] == ["first", "second"]
        assert train(store, "second:more") == {"more": [15.0, 17.0, 19.0, None]}
        store.materialize_incremental(NOW)
        store.push("incoming", payments().assign(at=day(20), amount=100.0).iloc[:1])
        assert serve(store, "first:twice", "second:more") == {"twice": [200.0, 18.0, None], "more": [201.0, 19.0, None]}


def test_a_view_reads_the_rows_of_several(folder):
    """A function of several views is given the rows of each, of files and of functions; no push can feed it."""
    plain = FeatureView("plain", pushed(), [Field("amount", Float64)], [USER])

    def both(rows, others):
        return rows.merge(others, on=["user_id", "at"]).assign(sum=lambda df: df["amount"] + df["twice"])

    both_views = derived([plain, derived(name="other")], both, "both", schema=[Field("sum", Float64)])
    with open_store(folder) as store:
        store.apply([both_views])
        assert train(store, "both:sum") == {"sum": [21.0, 24.0, 27.0, None]}
        store.materialize_incremental(NOW)
        store.push("incoming", payments().assign(at=day(20)).iloc[:1])
        assert serve(store, "both:sum") == {"sum": [24.0, 27.0, None]}


def test_a_view_may_be_over_another_without_a_function(folder):
    """Then it has that one's rows, or those of its features that are chosen; a sink as in Feast is not needed."""
    above = derived(schema=[Field("twice", Float64)])
    sink = FileSource(path="sink.parquet", timestamp_field="at")
    with open_store(folder) as store:
        store.apply([FeatureView("same", above[["twice"]], entities=[USER], sink_source=sink)])
        assert train(store, "same:twice") == {"twice": [14.0, 16.0, 18.0, None]}
        assert not (folder / "sink.parquet").exists()


def test_functions_in_sql_name_their_tables_or_take_the_names(folder):
    """As in Feast, the function is given the name of each table, and returns a query."""

    def query(rows):
        return f'SELECT user_id, "at", amount * 2 AS twice FROM {rows}'

    def literal(rows):
        return 'SELECT user_id, "at", twice FROM first WHERE twice > 15'

    first = derived(udf=query, mode="sql", name="first")
    with open_store(folder) as store:
        store.apply([first, derived(first, literal, "second", mode="sql")])
        assert train(store, "second:twice") == {"twice": [None, 16.0, 18.0, None]}


def test_created_times_count_after_the_function(folder):
    """A function keeps the created time, so that what was not known yet does not count (S4)."""
    payments(made=[day(1), day(20), day(3)]).to_parquet(folder / "payments.parquet")
    source = FileSource(path="payments.parquet", timestamp_field="at", created_timestamp_column="made")

    def losing(df):
        return doubled(df)

    with open_store(folder) as store:
        store.apply([derived(source, lambda df: df.assign(twice=df["amount"] * 2).drop(columns="amount"))])
        spine = pd.DataFrame({"user_id": [1], "event_timestamp": [day(10)]})
        known = store.get_historical_features(spine, ["v:twice"], filter_by_created_timestamp=True)
        assert known.to_df()["twice"].tolist() == [14.0]
        store.apply([derived(source, losing, schema=[Field("twice", Float64)])])
        with pytest.raises(TransformError, match="did not return the column 'made', a time of its rows"):
            train(store, "v:twice")


def test_another_function_starts_with_an_empty_table(folder):
    """Values of the function before are never served as those of the new one."""
    with open_store(folder) as store:
        store.apply([derived()])
        store.materialize_incremental(NOW)
        store.apply([derived(udf=lambda df: df.assign(twice=df["amount"] * 20).drop(columns=["amount"]))])
        assert serve(store, "v:twice") == {"twice": [None, None, None]}
        store.materialize_incremental(NOW)
        assert serve(store, "v:twice") == {"twice": [160.0, 180.0, None]}


def test_a_new_function_above_starts_the_views_below_anew(folder):
    """What a chained view stores depends on every function above it."""
    below = FeatureView("below", derived(), entities=[USER])
    with open_store(folder) as store:
        store.apply([below])
        store.materialize_incremental(NOW)
        assert serve(store, "below:twice")["twice"][0] == 16.0
        store.apply([derived(udf=lambda df: df.assign(twice=df["amount"] * 20).drop(columns=["amount"]))])
        assert serve(store, "below:twice") == {"twice": [None, None, None]}
        assert train(store, "below:twice")["twice"][:3] == [140.0, 160.0, 180.0]


REPO = """
from likewise import BatchFeatureView, Entity, Field, FileSource, PushSource
from likewise.types import Float64

FACTOR = {factor}

def times(df):
    return df.assign(twice=df["amount"] * FACTOR)[["user_id", "at", "twice"]]

source = PushSource("incoming", batch_source=FileSource(path="payments.parquet", timestamp_field="at"))
view = BatchFeatureView(
    "v", source, [Field("twice", Float64)], [Entity(name="user", join_keys=["user_id"])], udf=times, online=True
)
"""


def test_a_process_with_other_code_is_refused(folder):
    """Rows are made by the applied function only, in training, materialization and pushes."""
    (folder / "features.py").write_text(REPO.format(factor=2))
    with open_store(folder) as store:
        store.apply()
    (folder / "features.py").write_text(REPO.format(factor=3))
    with open_store(folder) as other:
        for act in (
            lambda: train(other, "v:twice"),
            lambda: other.materialize_incremental(NOW),
            lambda: other.push("incoming", payments()),
        ):
            with pytest.raises(TransformError, match="its function in the repo differs from the applied one"):
                act()
    (folder / "features.py").write_text(REPO.format(factor=2))
    with open_store(folder) as again:
        assert train(again, "v:twice")["twice"][:3] == [14.0, 16.0, 18.0]


def test_an_older_version_needs_its_function(folder):
    """``v@v1`` is computed while this process knows the function of then."""
    with open_store(folder) as store:
        store.apply([derived()])
        store.apply([derived(udf=lambda df: df.assign(twice=df["amount"] * 20).drop(columns=["amount"]))])
        assert train(store, "v@v1:twice")["twice"][:3] == [14.0, 16.0, 18.0]
        assert train(store, "v:twice")["twice"][:3] == [140.0, 160.0, 180.0]


def test_a_chained_view_of_an_older_catalog_is_found(folder):
    """A version of a chained view comes with the views above it."""
    with open_store(folder) as store:
        store.apply([FeatureView("below", derived(), entities=[USER])])
        store.apply([FeatureView("below", derived(), entities=[USER], ttl=timedelta(days=1))])
        assert train(store, "below@v1:twice")["twice"][:3] == [14.0, 16.0, 18.0]
        assert train(store, "below:twice")["twice"][:3] == [None, 16.0, 18.0]


def test_unspoken_modes_are_pandas(folder):
    """A function without a mode is given a DataFrame, also where Feast's decorator would say Spark."""

    @batch_feature_view(source=files(), entities=[USER])
    def batch(df):
        return doubled(df)

    @stream_feature_view(source=pushed(), entities=[USER], schema=[Field("twice", Float64)])
    def stream(df):
        return doubled(df)

    assert (batch.mode, stream.mode) == ("pandas", "pandas")
    with open_store(folder) as store:
        store.apply([batch, stream])
        assert train(store, "batch:twice")["twice"] == train(store, "stream:twice")["twice"]


def test_spark_functions_are_declared_and_refused_by_name(folder):
    """A mode that is not run is kept and listed, and an error by name where a value would be computed."""
    spark = StreamFeatureView(
        "v", pushed(), [Field("twice", Float64)], [USER], udf=lambda df: df.withColumn("twice", 1), mode="spark"
    )
    with open_store(folder) as store:
        store.apply([spark])
        for act in (
            lambda: train(store, "v:twice"),
            lambda: serve(store, "v:twice"),
            lambda: store.materialize(day(1), NOW, feature_views=["v"]),
            lambda: store.push("incoming", payments()),
        ):
            with pytest.raises(NotSupported, match=r"in mode='spark', which this version does not run.*'pandas'"):
                act()


def test_what_cannot_be_chained_is_a_problem_of_apply(folder):
    """Circles, missing views, and several views without a function are found before anything is stored."""
    first = derived(name="first")
    second = FeatureView("second", first, entities=[USER])
    first.source_views = [second]
    assert "it reads itself: 'second' -> 'first' -> 'second'" in problems(folder, first, second)
    views = [FeatureView(name, files(), [Field("amount", Float64)], [USER]) for name in ("a", "b")]
    assert "reads 2 views and has no function" in problems(folder, FeatureView("v", views, entities=[USER]))
    with open_store(folder) as store:
        store.apply([FeatureView("below", derived(), entities=[USER])])
        with pytest.raises(RepoProblems, match="it reads feature view 'v', which is not there"):
            store.delete_feature_view("v")


def test_what_a_function_returns_is_looked_at_only_where_no_schema_says_it(folder):
    """With a schema apply runs no function; without, what fails is a problem with file and line."""

    def broken(df):
        return df["nothing"]

    text = problems(folder, derived(udf=broken))
    for said in ("function 'broken'", "raised KeyError: 'nothing'", "test_derived.py"):
        assert said in text
    with open_store(folder) as store:
        store.apply([derived(udf=broken, schema=[Field("twice", Float64)])])


def test_inferred_types_are_those_of_the_values(folder):
    """All columns that a function returns but keys and times are features, also those of the source."""

    def several(df):
        return df.assign(whole=1, label="x", at_hour=df["at"].dt.hour)

    with open_store(folder) as store:
        store.apply([derived(udf=several)])
        found = {field.name: field.dtype for field in store.get_feature_view("v").features}
    assert found == {"amount": Float64, "whole": Int64, "label": String, "at_hour": found["at_hour"]}


def test_a_source_without_rows_tells_types_too(folder):
    """The function is run on no rows, and their types are those of its columns."""
    payments().iloc[:0].to_parquet(folder / "payments.parquet")
    with open_store(folder) as store:
        store.apply([derived()])
        assert store.get_feature_view("v").features == [Field("twice", Float64)]
        assert train(store, "v:twice") == {"twice": [None] * 4}


def test_a_push_source_without_history_needs_a_schema(folder):
    """What is pushed is given as it comes, or as the push source declares it."""
    bare = PushSource("incoming", timestamp_field="at")
    entity = Entity(name="user", join_keys=["user_id"], value_type=Int64)
    view = StreamFeatureView("v", bare, [Field("twice", Float64)], [entity], udf=doubled)
    with open_store(folder) as store:
        store.apply([view])
        store.push("incoming", payments())
        assert serve(store, "v:twice") == {"twice": [16.0, 18.0, None]}
        with pytest.raises(NotSupported, match="has no batch source, so it has no history"):
            train(store, "v:twice")
    columns = [Field("user_id", Int64), Field("amount", Float64)]
    told = PushSource("incoming", timestamp_field="at", schema=[*columns, Field("at", Int64)])
    assert "lists no features" not in str(told)


def test_a_view_that_was_applied_without_a_look_at_its_source_says_so(folder):
    """Without the source's columns the function cannot be given them."""
    entity = Entity(name="user", join_keys=["user_id"], value_type=Int64)
    view = BatchFeatureView("v", files(), [Field("twice", Float64)], [entity], udf=doubled, online=True)
    with open_store(folder) as store:
        store.apply([view], skip_source_validation=True)
        with pytest.raises(NotSupported, match="was applied without a look at its source"):
            train(store, "v:twice")
        store.apply([view])
        assert train(store, "v:twice")["twice"][:3] == [14.0, 16.0, 18.0]
        store.disable_feature_view("v")
        store.enable_feature_view("v")
        assert train(store, "v:twice")["twice"][:3] == [14.0, 16.0, 18.0]


def test_rows_are_kept_where_the_configuration_says(tmp_path):
    """A temp_directory holds them, where the repo's folder cannot be written."""
    payments().to_parquet(tmp_path / "payments.parquet")
    text = "{project: p, registry: reg.db, online_store: memory, offline_store: {type: duckdb, temp_directory: spill}}"
    with FeatureStore(tmp_path, parse_config(text), clock=FixedClock(NOW)) as store:
        store.apply([derived()])
        assert train(store, "v:twice")["twice"][:3] == [14.0, 16.0, 18.0]
    assert len(list(Path(tmp_path, "spill", "likewise-derived").glob("*.parquet"))) == 1


def test_windows_are_over_the_rows_that_the_function_makes(folder):
    """With both, the function runs first: in training, in a back-fill, and for what is pushed."""
    week = [Aggregation("twice", "sum", timedelta(days=7), name="week"), Aggregation("*", "count", name="count")]
    view = derived(pushed(), lambda df: doubled(df[df["amount"] > 7.5]), aggregations=week)
    with open_store(folder) as store:
        store.apply([view])
        found = train(store, "v:week", "v:count", keys=[1, 1, 1, 2], days=[5, 10, 20, 9])
        assert found == {"week": [None, 16.0, None, 18.0], "count": [0, 1, 1, 1]}
        store.materialize_incremental(NOW)
        rows = payments().assign(at=day(31), amount=[1.0, 50.0, 2.0])
        store.push("incoming", rows, to=PushMode.ONLINE_AND_OFFLINE)
        assert serve(store, "v:week", "v:count") == {"week": [100.0, None, None], "count": [2, 1, 0]}
        now = train(store, "v:week", "v:count", keys=[1, 2, 3], days=[31, 31, 31])
        assert now == {"week": [100.0, None, None], "count": [2, 1, 0]}


def test_rows_of_windows_are_no_source(folder):
    """A view cannot be over windows, which have a value at any time and no rows."""
    week = [Aggregation("amount", "sum", timedelta(days=7), name="week")]
    windows = BatchFeatureView("windows", files(), entities=[USER], aggregations=week)
    text = problems(folder, FeatureView("v", windows, entities=[USER]))
    assert "it reads the rows of 'windows', which has windows" in text


def test_others_apply_without_knowing_the_function(folder):
    """A process that applies something else need not have the functions of what is applied already."""
    (folder / "features.py").write_text(REPO.format(factor=2))
    with open_store(folder) as store:
        store.apply()
    (folder / "features.py").unlink()
    with open_store(folder) as other:
        other.apply([FeatureView("plain", files(), [Field("amount", Float64)], [USER])])
        assert train(other, "plain:amount")["amount"][:3] == [7.0, 8.0, 9.0]
        assert {view.name for view in other.list_feature_views()} == {"v", "plain"}
        with pytest.raises(TransformError, match="does not define its function"):
            train(other, "v:twice")
