"""Forget: an entity is gone from all that the store owns, and does not come back (T12)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

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
    FileLoggingDestination,
    FileSource,
    FixedClock,
    LoggingConfig,
    PushMode,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from likewise.config import MaterializationConfig, OnlineStoreConfig, RegistryConfig
from likewise.core.errors import EntityKeyError, RequestError
from likewise.core.time import from_micros
from likewise.core.types import Int64, String
from likewise.jobs.served import served_files

NOW, DAY = 1_700_000_000_000_000, 86_400_000_000
USER, SHOP = Entity("user", value_type=Int64), Entity("shop", value_type=String)
ROWS = FileSource(path="rows", timestamp_field="at", name="rows", field_mapping={"who": "user"})
FIELDS = [Field("n", Int64)]


def rows(users: list[int], at: int, shop: str = "a") -> pa.Table:
    """Return rows as the source has them: the key's column has another name there."""
    times = pa.array([at] * len(users), pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.table({"who": users, "shop": [shop] * len(users), "at": times, "n": pa.array(users, pa.int64())})


def open_store(folder: Path, crash: Any = None) -> FeatureStore:
    """Return a store in a folder."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(path="registry.db"),
        online_store=OnlineStoreConfig(path="online", map_size=1 << 28),
        materialization=MaterializationConfig(chunk_rows=1000, online_write_batch_size=1),
    )
    more = {} if crash is None else {"crash": crash}
    return FeatureStore(folder, config, clock=FixedClock(NOW), **more)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with values, values by two keys, and windows; one file is somebody's, others were pushed."""
    (tmp_path / "rows").mkdir()
    pq.write_table(rows([1, 2, 3], NOW - 3 * DAY), tmp_path / "rows" / "mine.parquet")
    with open_store(tmp_path) as opened:
        pushed = PushSource("pushed", ROWS)
        count = Aggregation("*", "count", timedelta(days=9), name="all")
        opened.apply(
            [
                FeatureView("plain", source=pushed, entities=[USER], schema=FIELDS),
                FeatureView("both", source=ROWS, entities=[USER, SHOP], schema=FIELDS),
                StreamFeatureView("sums", source=pushed, entities=[USER], aggregations=[count]),
            ]
        )
        for number in range(3):
            pushed_rows = rows([1, 2], NOW - (2 - number) * DAY).rename_columns(["user", "shop", "at", "n"])
            token = f"push {number}"
            opened.push("pushed", pushed_rows, to=PushMode.ONLINE_AND_OFFLINE, idempotency_key=token)
        opened.materialize_incremental(NOW)
        yield opened


def served(store: FeatureStore) -> dict[str, list[Any]]:
    """Return what is served of both users."""
    keys = {"user": [1, 2], "shop": ["a", "a"]}
    found = store.get_online_features(["plain:n", "both:n", "sums:all"], keys, True).to_dict()
    return {name: found[name] for name in ("plain__n", "both__n", "sums__all")}


def in_files(folder: Path) -> dict[str, list[int]]:
    """Return whose rows each file of the source holds."""
    return {
        "mine" if file.name == "mine.parquet" else "pushed": pq.read_table(file)["who"].to_pylist()
        for file in sorted((folder / "rows").glob("*.parquet"))
    }


def test_an_entity_is_gone_everywhere_and_does_not_come_back(store: FeatureStore, tmp_path: Path) -> None:
    """Online, in states and in the files that the store owns; whoever materializes again changes nothing of that."""
    assert served(store) == {"plain__n": [1, 2], "both__n": [1, 2], "sums__all": [4, 4]}
    found = {each.view: each for each in store.forget({"user": 1})}
    mine = str(tmp_path / "rows" / "mine.parquet")
    assert {view: (each.online, each.left) for view, each in found.items()} == {
        "plain": (1, {mine: 1}),
        "both": (1, {mine: 1}),
        "sums": (1, {mine: 1}),
    }
    assert sum(each.rows for each in found.values()) == 3
    assert in_files(tmp_path) == {"mine": [1, 2, 3], "pushed": [2]}
    for _ in range(2):
        assert served(store) == {"plain__n": [None, 2], "both__n": [None, 2], "sums__all": [0, 4]}
        store.materialize(0, NOW)


def test_a_materialization_at_work_does_not_bring_it_back(store: FeatureStore, tmp_path: Path) -> None:
    """The entity is forgotten between any two batches of a run that has read the files before (T12)."""
    points = 0

    def crash(point: str) -> None:
        nonlocal points
        points += point == "materialize.batch_written"
        if points == 1 and point == "materialize.batch_written":
            store.forget({"user": 2})

    with open_store(tmp_path, crash) as other:
        other.materialize(0, NOW, ["plain", "both"])
    assert points >= 3
    assert served(store) == {"plain__n": [1, None], "both__n": [1, None], "sums__all": [4, 0]}


def test_a_part_of_a_key_means_all_keys_that_have_it(store: FeatureStore) -> None:
    """Of a view by user and shop, all shops of the user are forgotten; views without the key are not asked."""
    found = store.forget({"shop": "a", "user": 1})
    assert [each.view for each in found] == ["both"]
    assert served(store) == {"plain__n": [1, 2], "both__n": [None, 2], "sums__all": [4, 4]}
    assert [(each.view, each.online) for each in store.forget({"shop": "a"})] == [("both", 3)]
    assert served(store)["both__n"] == [None, None]


def test_a_push_of_the_same_token_adds_nothing_afterwards(store: FeatureStore, tmp_path: Path) -> None:
    """The file of the push stays, without the rows, so that sending it again does not undo the deletion."""
    store.forget({"user": 1})
    again = rows([1, 2], NOW - DAY).rename_columns(["user", "shop", "at", "n"])
    store.push("pushed", again, to=PushMode.ONLINE_AND_OFFLINE, idempotency_key="push 1")
    assert in_files(tmp_path)["pushed"] == [2]
    assert served(store)["plain__n"] == [None, 2]


def test_rows_after_the_deletion_count_again(store: FeatureStore) -> None:
    """Who comes back is known by what came since."""
    store.forget({"user": 1})
    later = [{"user": 1, "shop": "a", "at": from_micros(NOW + 1), "n": 9}]
    store.push("pushed", later)
    found = store.get_online_features(["plain:n", "sums:all"], {"user": [1]}, as_of=NOW + 2).to_dict()
    assert (found["n"], found["all"]) == ([9], [1])


def test_the_audit_log_names_no_entity(store: FeatureStore) -> None:
    """It says which views, and a digest."""
    store.forget({"user": 3})
    entry = store.audit_log()[-1]
    assert (entry.what, len(entry.objects)) == ("forget", 3)
    assert "3" not in entry.detail.split()
    assert entry.detail.startswith("entity ")


def test_a_log_of_served_features_is_rewritten(store: FeatureStore, tmp_path: Path) -> None:
    """Rows of the entity are taken out of it as well."""
    (tmp_path / "served").mkdir()
    pq.write_table(pa.table({"user": [1, 2, 1], "plain__n": [1, 2, 1]}), tmp_path / "served" / "one.parquet")
    [log] = [each for each in store.forget({"user": 1}, logs=["served"]) if each.view.startswith("served")]
    assert (log.rows, pq.read_table(tmp_path / "served" / "one.parquet")["user"].to_pylist()) == (2, [2])


def test_a_key_nobody_has_and_a_value_of_another_type_are_refused(store: FeatureStore) -> None:
    """By name, and nothing is forgotten."""
    with pytest.raises(RequestError, match=r"no view has the key 'usr'.*'user'"):
        store.forget({"usr": 1})
    with pytest.raises(EntityKeyError, match="'x'"):
        store.forget({"user": "x"})
    assert json.dumps(served(store)) == json.dumps({"plain__n": [1, 2], "both__n": [1, 2], "sums__all": [4, 4]})


def test_states_of_former_definitions_are_asked_for_the_keys_as_well(tmp_path: Path) -> None:
    """Of a part of a key: what was pushed before the windows changed lies only there, and is forgotten there."""
    pq.write_table(rows([9], NOW - DAY), tmp_path / "rows.parquet")
    source = FileSource(path="rows.parquet", timestamp_field="at", field_mapping={"who": "user"})
    with open_store(tmp_path) as store:

        def windows(*days: int) -> StreamFeatureView:
            counts = [Aggregation("*", "count", timedelta(days=d), name=f"of_{d}") for d in days]
            return StreamFeatureView("w", PushSource("pushed", source), entities=[USER, SHOP], aggregations=counts)

        def of_9() -> list[Any]:
            return store.get_online_features(["w:of_9"], {"user": [1, 9], "shop": ["a", "a"]}).to_dict()["of_9"]

        store.apply([windows(9)])
        store.materialize_incremental(NOW - DAY)
        store.push("pushed", [{"user": 1, "shop": "a", "at": from_micros(NOW - 1), "n": 1}])
        store.apply([windows(9, 3)])
        assert of_9() == [1, 1]
        assert [each.online for each in store.forget({"user": 1})] == [1]
        assert of_9() == [0, 1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "user,at,n\n1,2023-11-13T00:00:00Z,1\n2,2023-11-13T00:00:00Z,2\n"),
        (
            "rows.json",
            '{"user": 1, "at": "2023-11-13T00:00:00Z", "n": 1}\n{"user": 2, "at": "2023-11-13T00:00:00Z", "n": 2}\n',
        ),
    ],
)
def test_sources_of_text_are_told_and_what_was_pushed_to_them_is_removed(tmp_path: Path, name: str, text: str) -> None:
    """CSV and JSON lines are somebody's; the rows beside them are the store's."""
    (tmp_path / name).write_text(text)
    source = PushSource("pushed", FileSource(path=name, timestamp_field="at"))
    with open_store(tmp_path) as store:
        store.apply([FeatureView("plain", source=source, entities=[USER], schema=FIELDS)])
        both = [{"user": user, "at": from_micros(NOW - 1), "n": 5} for user in (1, 2)]
        store.push("pushed", both, to=PushMode.ONLINE_AND_OFFLINE)
        [found] = store.forget({"user": 1})
        assert (found.online, found.rows, found.left) == (1, 1, {str(tmp_path / name): 1})
        assert store.get_online_features(["plain:n"], {"user": [1, 2]}).to_dict()["n"] == [None, 5]


def test_a_key_of_two_types_is_taken_as_each_view_has_it(tmp_path: Path) -> None:
    """A number to one view is a text to another: what fits not all is refused by name, and a view may be named."""
    for name, kind in (("numbers", pa.int64()), ("texts", pa.string())):
        found = rows([1, 2], NOW - DAY)
        pq.write_table(found.set_column(0, "user", found["who"].cast(kind)), tmp_path / f"{name}.parquet")
    with open_store(tmp_path) as store:
        store.apply(
            [
                FeatureView(
                    name,
                    source=FileSource(path=f"{name}.parquet", timestamp_field="at"),
                    entities=[Entity(name, join_keys=["user"], value_type=kind)],
                    schema=FIELDS,
                )
                for name, kind in (("numbers", Int64), ("texts", String))
            ]
        )
        store.materialize_incremental(NOW)
        with pytest.raises(EntityKeyError, match="its entity says String"):
            store.forget({"user": 1})
        assert [each.view for each in store.forget({"user": 1}, ["numbers"])] == ["numbers"]
        found_texts = store.get_online_features(["texts:n"], {"user": ["1", "2"]}).to_dict()["n"]
        assert found_texts == [1, 2]
        assert [each.view for each in store.forget({"user": "1"}, ["texts"])] == ["texts"]
        assert store.get_online_features(["texts:n"], {"user": ["1", "2"]}).to_dict()["n"] == [None, 2]


@pytest.mark.parametrize("by", [[], ["sender"], ["risk__n"]])
def test_the_log_of_a_service_is_searched_under_its_names_and_in_its_folders(
    store: FeatureStore, tmp_path: Path, by: list[str]
) -> None:
    """A view whose keys have other names in requests, and a log that is divided by a column, the key or another."""
    log = LoggingConfig(destination=FileLoggingDestination(path=f"file://{tmp_path}/log", partition_by=by))
    plain = store.get_feature_view("plain").with_name("risk").with_join_key_map({"user": "sender"})
    store.apply(FeatureService("risks", [plain], logging_config=log))
    times = pa.array([NOW, NOW, NOW - DAY], pa.int64()).cast(pa.timestamp("us", "UTC"))
    logged = {"sender": [1, 2, 1], "risk__n": [1, 1, 1], "__log_timestamp": times, "risk__n__timestamp": times}
    store.write_logged_features(
        pa.table(logged | {"__request_id": ["a", "b", "c"], "risk__n__status": [1, 1, 1]}), "risks"
    )
    before = [file.read().column_names for file in served_files(tmp_path / "log")]
    [found] = [each for each in store.forget({"user": 1}) if each.view.startswith("served")]
    assert found.rows == 2
    files = list(served_files(tmp_path / "log"))
    assert [user for file in files for user in file.read()["sender"].to_pylist()] == [2]
    assert all(sorted(file.read().column_names) == sorted(before[0]) for file in files)
    assert not list((tmp_path / "log").rglob("sender=1"))


def test_saved_datasets_that_hold_an_entity_are_told_and_stay(store: FeatureStore, tmp_path: Path) -> None:
    """A training set is what a model was trained on: whoever answers for it hears of it."""
    for name, users in (("with", [1, 2, 1]), ("without", [3])):
        spine = pa.table({"user": users, "event_timestamp": [from_micros(NOW)] * len(users)})
        job = store.get_historical_features(spine, ["plain:n"])
        store.create_saved_dataset(job, name, f"{name}.parquet")
    told = [each for each in store.forget({"user": 1}) if each.view.startswith("saved")]
    assert [(each.view, each.left) for each in told] == [("saved dataset 'with'", {str(tmp_path / "with.parquet"): 2})]
    assert pq.read_table(tmp_path / "with.parquet").num_rows == 3


def test_a_source_whose_key_a_function_makes_is_told(tmp_path: Path) -> None:
    """Nobody knows which of its rows are the entity's, so they stay, and that is said."""
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: {type: lmdb, map_size: 268435456}\n")
    (tmp_path / "features.py").write_text(
        "from likewise import *\n"
        "from likewise.types import Int64\n"
        "def renamed(rows):\n"
        "    return rows.rename(columns={'who': 'user'})\n"
        "user = Entity('user', value_type=Int64)\n"
        "source = FileSource(path='rows.parquet', timestamp_field='at')\n"
        "made = BatchFeatureView(name='made', mode='pandas', entities=[user], source=source, udf=renamed,\n"
        "    schema=[Field('user', Int64), Field('n', Int64)], online=True)\n"
    )
    pq.write_table(rows([1, 2], NOW - DAY), tmp_path / "rows.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        store.apply()
        store.materialize_incremental(NOW)
        [found] = store.forget({"user": 1})
        assert (found.online, found.left, Path(found.unknown).name) == (1, {}, "rows.parquet")
        assert store.get_online_features(["made:n"], {"user": [1, 2]}).to_dict()["n"] == [None, 2]
