"""Feast's further calls on a store, and broken definitions that are used without being applied."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    FileSource,
    FixedClock,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
    ValueType,
    on_demand_feature_view,
)
from likewise.core import errors
from likewise.types import Array, Int64

NOW = datetime(2024, 1, 20, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
SOURCE = FileSource(path="users.parquet", timestamp_field="at", name="rows")
USERS = FeatureView("users", PushSource("events", SOURCE), [Field("a", Int64), Field("b", Int64)], [USER])


@on_demand_feature_view(sources=[USERS], schema=[Field("sum", Int64), Field("twice", Int64)], mode="python")
def sums(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Two features of two."""
    pairs = list(zip(inputs["a"], inputs["b"], strict=True))
    return {"sum": [a + b for a, b in pairs], "twice": [2 * a for a, _ in pairs]}


def day(number: int) -> datetime:
    """A time in January 2024."""
    return datetime(2024, 1, number, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with one view and a function of it."""
    rows = {"user_id": [1, 2], "at": [day(1), day(2)], "a": [10, 20], "b": [1, 2]}
    pq.write_table(pa.table(rows), tmp_path / "users.parquet")
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: memory\n")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as opened:
        opened.apply([USERS, sums])
        yield opened


def spine() -> pd.DataFrame:
    """Two entity rows."""
    return pd.DataFrame({"user_id": [1, 2], "event_timestamp": [day(5), day(6)], "label": [0, 1]})


BROKEN: dict[str, tuple[FeatureService, str]] = {
    "part": (FeatureService("s", [USERS[["zz"]]]), "feature view 'users' has no feature 'zz'"),
    "number": (FeatureService("s", [USERS[5]]), "feature view 'users' has no feature '5'"),  # type: ignore[index]
    "nothing": (FeatureService("s", [USERS[[]]]), "names no features"),
    "join key": (FeatureService("s", [USERS.with_join_key_map({"usr": "u"})]), "has no join key 'usr'"),
    "map": (FeatureService("s", [USERS.with_join_key_map(5)]), "cannot take the join key map 5"),  # type: ignore[arg-type]
    "by name": (
        FeatureService("s", [FeatureView("users", SOURCE, entities=["user"]).with_join_key_map({"usr": "u"})]),
        "feature view 'users' has no join key 'usr'",
    ),
    "alias": (FeatureService("s", [USERS.with_name(5)]), "cannot be seen under the name 5"),  # type: ignore[arg-type]
    "no features": (FeatureService("q", None), "feature service 'q': it lists no features"),  # type: ignore[arg-type]
    "on demand": (FeatureService("s", [sums[["zz"]]]), "on-demand feature view 'sums' has no feature 'zz'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_service_is_refused_by_name_without_being_applied(store: FeatureStore, case: str) -> None:
    """What no constructor raises is raised where it is used: training, serving and apply."""
    service, said = BROKEN[case]
    with pytest.raises(errors.LikewiseError, match=said):
        store.get_historical_features(spine(), service)
    with pytest.raises(errors.LikewiseError, match=said):
        store.get_online_features(service, [{"user_id": 1}])
    with pytest.raises(errors.RepoProblems):
        store.apply([service])


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.map_(pa.string(), pa.string())])
def test_a_key_of_a_source_that_no_key_can_be_is_a_problem(store: FeatureStore, kind: pa.DataType) -> None:
    """Whether the source or the view's schema says so."""
    keys = pa.array([[]], kind)
    pq.write_table(pa.table({"k": keys, "at": [day(1)], "x": [1]}), store.repo_path / "k.parquet")
    view = FeatureView("v", FileSource("k.parquet", timestamp_field="at"), [Field("x", Int64)], [Entity(name="k")])
    with pytest.raises(
        errors.RepoProblems, match=r"1 problem .*\n.*entity 'k': its key 'k' is .*, which no key can be"
    ):
        store.apply([view])
    listed = FeatureView("v", PushSource("q", timestamp_field="t"), [Field("x", Int64)], [Entity("e", Array(Int64))])
    with pytest.raises(errors.RepoProblems, match=r"entity 'e': its type Array\(Int64\) cannot be that of a key"):
        store.apply([listed])


def test_a_source_that_cannot_be_read_is_named_once(store: FeatureStore) -> None:
    """The problem does not begin with the source's title twice."""
    remote = FileSource("s3://bucket/x.parquet", "far", timestamp_field="t")
    with pytest.raises(errors.RepoProblems) as caught:
        store.apply([remote])
    assert str(caught.value).count("data source 'far'") == 1


def test_a_part_of_an_on_demand_view_is_computed_under_its_name(store: FeatureStore) -> None:
    """In training and serving alike, from a service that was applied or not."""
    service = FeatureService("part", [sums[["twice"]].with_name("other")])
    store.materialize(day(1), day(9))
    for asked in (service, "part"):
        if asked == "part":
            store.apply([service])
        trained = store.get_historical_features(spine(), asked, full_feature_names=True).to_df()
        served = store.get_online_features(asked, [{"user_id": 2}], full_feature_names=True).to_dict()
        assert trained["other__twice"].tolist() == [20, 40]
        assert served == {"user_id": [2], "other__twice": [40]}
    assert [field.name for field in store.get_on_demand_feature_view("sums").features] == ["sum", "twice"]


def test_versions_of_a_view_are_listed(store: FeatureStore) -> None:
    """Each content that it had, oldest first; view@v1 reads the first."""
    store.apply([FeatureView("users", SOURCE, [Field("a", Int64)], [USER])])
    first, second = store.list_feature_view_versions("users")
    assert (first["version"], first["version_number"], first["feature_view_type"]) == ("v1", 1, "feature_view")
    assert (second["version"], second["created_timestamp"]) == ("v2", NOW)
    assert first["version_id"] != second["version_id"]
    with pytest.raises(errors.FeatureViewNotFound, match="did you mean 'users'"):
        store.list_feature_view_versions("user")


def test_the_store_knows_what_is_materialized(store: FeatureStore) -> None:
    """Which a definition cannot know."""
    assert store.materialization_intervals("users") == []
    store.materialize(day(1), day(9))
    assert store.materialization_intervals("users") == [(day(1), day(9))]


@pytest.mark.parametrize("name", ["users", "sums"])
def test_a_disabled_view_is_refused_until_it_is_enabled(store: FeatureStore, name: str) -> None:
    """What was stored is there again; the source need not be, for it is not looked at."""
    store.materialize(day(1), day(9))
    asked, before = [f"{name}:{'a' if name == 'users' else 'sum'}"], (store.repo_path / "users.parquet").read_bytes()
    (store.repo_path / "users.parquet").unlink()
    store.disable_feature_view(name)
    with pytest.raises(errors.NotSupported, match=f"feature view '{name}' is disabled"):
        store.get_online_features(asked, [{"user_id": 1}])
    store.enable_feature_view(name)
    assert store.get_online_features(asked, [{"user_id": 1}]).to_dict()[asked[0].partition(":")[2]] in ([10], [11])
    (store.repo_path / "users.parquet").write_bytes(before)
    with pytest.raises(errors.FeatureViewNotFound):
        store.disable_feature_view("user")


def test_a_dataset_is_retrieved_and_saved_in_one_call(store: FeatureStore) -> None:
    """And its first rows are read back."""
    service = FeatureService("s", [USERS])
    saved = store.create_dataset_from_retrieval("train", spine(), service, "train.parquet", {"team": "x"})
    assert (saved.features, saved.rows, saved.tags, saved.feature_service_name) == (("a", "b"), 2, {"team": "x"}, "s")
    assert store.retrieve_dataset_data("train", limit=1)["a"].tolist() == [10]
    assert len(store.retrieve_dataset_data("train")) == 2
    with pytest.raises(errors.RequestError, match="already"):
        store.create_dataset_from_retrieval("train", spine(), ["users:a"], "train.parquet")
    with pytest.raises(errors.SavedDatasetNotFound, match="did you mean 'train'"):
        store.retrieve_dataset_data("trian")


def test_what_writes_can_be_awaited(store: FeatureStore) -> None:
    """Each does what its namesake does."""

    async def write() -> tuple[int, int]:
        await store.initialize()
        pushed = await store.push_async("events", pd.DataFrame({"user_id": [1], "at": [day(7)], "a": [7], "b": [0]}))
        row = {"user_id": [2], "at": [day(7)], "a": [8], "b": [0]}
        return pushed, await store.write_to_online_store_async("users", inputs=row)

    assert asyncio.run(write()) == (1, 1)
    assert store.get_online_features(["users:a"], [{"user_id": 1}, {"user_id": 2}]).to_dict()["a"] == [7, 8]


def test_a_job_says_what_it_is_about(store: FeatureStore) -> None:
    """Its features, keys and times, without computing it."""
    job = store.get_historical_features(spine(), ["users:a", "sums:sum"])
    found = job.metadata
    assert (found.features, found.keys) == (["a", "sum"], ["user_id"])
    assert (found.min_event_timestamp, found.max_event_timestamp) == (day(5), day(6))
    assert [view.name for view in job.on_demand_feature_views] == ["sums"]
    assert isinstance(job.on_demand_feature_views[0], OnDemandFeatureView)
    assert (job.full_feature_names, job.supports_remote_storage_export()) == (False, False)
    empty = store.get_historical_features(spine().head(0), ["users:a"]).metadata
    assert (empty.min_event_timestamp, empty.max_event_timestamp) == (None, None)


def test_a_training_set_is_written_as_parquet_only(store: FeatureStore, tmp_path: Path) -> None:
    """No ending promises what is not in the file."""
    job = store.get_historical_features(spine(), ["users:a"])
    with pytest.raises(errors.RequestError, match=r"give a path that ends in \.parquet"):
        job.persist(tmp_path / "x.csv")
    with pytest.raises(errors.RequestError, match="cannot be written"):
        job.persist("/proc/p.parquet")
    assert job.persist(tmp_path / "x.parquet").exists()


@pytest.mark.parametrize("what", ["start_date", "end_date"])
def test_what_is_no_time_is_named(store: FeatureStore, what: str) -> None:
    """With the argument it was given as."""
    with pytest.raises(errors.InvalidTime, match=f"^{what} 'foo' is not a time"):
        store.get_historical_features(None, ["users:a"], **{what: "foo"})


def test_a_method_of_feast_that_is_not_there_yet_says_so(tmp_path):
    """It is an AttributeError, so programs can ask for it, and it says what comes later or which name was meant."""
    store = FeatureStore(tmp_path, config=RepoConfig(project="p"))
    with pytest.raises(AttributeError, match=r"has no 'serve_ui': other servers come in a later version"):
        store.serve_ui()
    with pytest.raises(AttributeError, match=r"did you mean 'get_online_features'"):
        store.get_online_feature()
    assert not hasattr(store, "list_permissions")
