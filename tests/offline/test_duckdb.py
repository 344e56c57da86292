"""DuckDBEngine passes the suite of all offline engines; and what is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.config import OfflineStoreConfig
from likewise.core.errors import ConfigError, InvalidTime, RequestError, SourceError
from likewise.core.types import FeatureType, Float64, Int32, Int64, String
from likewise.offline.asof import Ints
from likewise.offline.base import OfflineEngine, Part, Span
from likewise.offline.duckdb import DuckDBEngine
from likewise.offline.duckdb_sql import Session, SqlMatcher
from likewise.plan.scan import Location
from likewise.testing.offline_case import US, T, join, latest, plan_of, rows, scan, table
from likewise.testing.offline_suite import OfflineEngineSuite

EARLY = pa.schema([("at", pa.timestamp("us")), ("k", pa.string()), ("v", pa.int64())])


class TestDuckDBEngine(OfflineEngineSuite):
    """The suite."""

    backend = "duckdb"
    runs_on = "DuckDB ({duckdb})"

    def engine(self) -> OfflineEngine:
        """Return a new engine."""
        return DuckDBEngine()


def history(folder: Path, kind: FeatureType, count: int = 200_000, keys: int = 5_000) -> Location:
    """Write rows with few times, many of them alike, in three files of many row groups."""
    rng = np.random.default_rng(11)
    key = rng.integers(0, keys, count)
    columns = {
        "at": pa.array(T + rng.integers(0, 50, count), US),
        "made": pa.array(T + rng.integers(0, 70, count), US),
        "k": pa.array([f"user-{number}" for number in key]) if kind is String else pa.array(key),
        "v": np.arange(count),
    }
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, count, count // 3 + 1)):
        part = pa.table(columns).slice(start, count // 3 + 1)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=9_000)
    return Location(str(folder), "parquet")


@pytest.mark.parametrize("kind", [Int64, String], ids=str)
@pytest.mark.parametrize("known_by", [False, True])
def test_little_memory_changes_no_answer(tmp_path: Path, kind: FeatureType, known_by: bool) -> None:
    """Entity rows that are taken in slices, as there is little memory, get the answers of all at once."""
    rng = np.random.default_rng(3)
    key = rng.integers(-5, 5_005, 150_000)
    keys = pa.array([f"user-{number}" for number in key]) if kind is String else pa.array(key)
    asked = pa.table({"t": pa.array(T + rng.integers(-5, 80, 150_000), US), "k": keys, "n": np.arange(150_000)})
    one = join(scan(history(tmp_path, kind), keys={"k": kind}, created="made"), ttl=30)
    plan = plan_of(one, known_by=known_by)
    whole = DuckDBEngine().training(plan, asked).read_all()
    sliced = DuckDBEngine("1MB", threads=1).training(plan, asked).read_all()
    assert sliced.equals(whole)
    assert whole["n"].to_pylist() == list(range(150_000))


@pytest.mark.parametrize("known_by", [False, True])
@pytest.mark.parametrize("created", ["", "made"])
def test_all_roads_lead_to_one_answer(tmp_path: Path, known_by: bool, created: str) -> None:
    """Keys that are numbered by subtraction, looked up, of text or of two parts give the same rows the same answers."""
    rng = np.random.default_rng(9)
    count, asked = 60_000, 20_000
    key, wanted = rng.integers(0, 3_000, count), rng.integers(-50, 3_050, asked)
    times = {"at": pa.array(T + rng.integers(0, 40, count), US), "made": pa.array(T + rng.integers(0, 60, count), US)}
    forms: dict[str, tuple[FeatureType, Callable[[Ints], pa.Array]]] = {
        "close": (Int64, pa.array),
        "far": (Int64, lambda keys: pa.array(keys * 7_919_000_000_000)),
        "text": (String, lambda keys: pa.array([f"user {number}" for number in keys])),
        "half": (Int32, lambda keys: pa.array(keys // 55, pa.int32())),
        "rest": (Float64, lambda keys: pa.array(keys % 55 / 4)),
    }
    columns = {name: make(key) for name, (_, make) in forms.items()}
    pq.write_table(pa.table({**times, **columns, "v": np.arange(count)}), tmp_path / "a.parquet", row_group_size=7_000)
    columns = {name: make(wanted) for name, (_, make) in forms.items()}
    spine = pa.table({"t": pa.array(T + rng.integers(-5, 70, asked), US), **columns})
    engine = DuckDBEngine()
    trained, newest = [], []
    for names in (["close"], ["far"], ["text"], ["half", "rest"]):
        one = scan(tmp_path / "a.parquet", keys={name: forms[name][0] for name in names}, created=created)
        trained.append(
            engine.training(plan_of(join(one, ttl=25), known_by=known_by), spine).read_all()["out_v"].to_pylist()
        )
        newest.append(sorted(row[-1] for row in latest(engine, one, Span(T + 3, T + 30)).values()))
    assert trained[1:] == trained[:1] * 3
    assert newest[1:] == newest[:1] * 3
    assert 0 < trained[0].count(None) < asked
    assert 2_900 < len(newest[0]) <= 3_000


@pytest.mark.parametrize("kind", [Int64, String], ids=str)
def test_parts_are_read_in_one_pass(tmp_path: Path, kind: FeatureType) -> None:
    """The parts of a source are those of the whole, also in any order, twice, and after the source has changed."""
    source = history(tmp_path / "rows", kind)
    one = scan(source, keys={"k": kind}, created="made")
    engine = DuckDBEngine(temp_directory=str(tmp_path / "spill"))
    whole = latest(engine, one)
    parts = [latest(engine, one, part=Part(number, 5)) for number in (3, 0, 3, 1, 2, 4)]
    assert len(whole) == 5_000
    assert {key: row for part in parts for key, row in part.items()} == whole
    assert sum(map(len, parts[1:])) == 5_000
    key = next(iter(latest(engine, one, part=Part(1, 5))))
    engine.append(source, table(at=[T + 99], made=[T], k=[key[0]], v=[-1]))
    assert latest(engine, one, part=Part(1, 5))[key] == (T + 99, T, -1)
    engine.close()
    assert list((tmp_path / "spill").iterdir()) == []


def test_several_threads_use_one_engine(tmp_path: Path) -> None:
    """Training sets, latest rows, queries and appends at the same time do not disturb one another."""
    engine = DuckDBEngine(threads=2)
    one = scan(history(tmp_path / "rows", String, 30_000, 500), keys={"k": String})
    asked = pa.table({"t": pa.array([T + 60] * 500, US), "k": [f"user-{n}" for n in range(500)]})
    newest = {key[0]: row[-1] for key, row in latest(engine, one).items()}
    start = threading.Barrier(8)

    def work(number: int) -> bool:
        start.wait()
        if number % 4 == 0:
            found = engine.training(plan_of(join(one)), asked).read_all()
            values: dict[str, int] = {row["k"]: row["out_v"] for row in found.to_pylist()}
            return values == newest
        if number % 4 == 1:
            return sum(len(latest(engine, one, part=Part(part, 3))) for part in range(3)) == 500
        if number % 4 == 2:
            return bool(engine.query(f"FROM range({number * 1000})").read_all().num_rows == number * 1000)
        return len(engine.append(Location(str(tmp_path / "other"), "parquet"), table(at=[T], k=["a"], v=[1]))) > 0

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8


def test_an_answer_that_is_left_half_read(tmp_path: Path) -> None:
    """A reader that is dropped after its first batch leaves no thread and no file behind."""
    source = history(tmp_path / "rows", String)
    engine = DuckDBEngine(temp_directory=str(tmp_path / "spill"))
    asked = pa.table({"t": pa.array([T + 60] * 200_000, US), "k": ["user-7"] * 200_000})
    reader = engine.training(plan_of(join(scan(source, keys={"k": String}))), asked)
    assert reader.read_next_batch().num_rows > 0
    del reader
    first = engine.rows(scan(source, keys={"k": String}), Span(None, None))
    assert next(first).num_rows > 0
    del first
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("likewise-offline")]
    assert list((tmp_path / "spill").iterdir()) == []


def test_an_error_among_the_rows_comes_out_as_it_is(tmp_path: Path) -> None:
    """What is wrong with a file is said of the file, also where DuckDB was reading its rows."""
    source = history(tmp_path, String, 30_000)
    pq.write_table(pa.table({"at": [-(2**61)], "k": ["a"], "v": [1]}).cast(EARLY), tmp_path / "z.parquet")
    asked = pa.table({"t": pa.array([T], US), "k": ["user-7"]})
    for act in (
        lambda: DuckDBEngine().training(plan_of(join(scan(source, keys={"k": String}))), asked).read_all(),
        lambda: list(DuckDBEngine().latest(scan(source, keys={"k": String}), Span(None, None))),
    ):
        with pytest.raises(InvalidTime, match=r"column 'at' of .*z\.parquet, row 0"):
            act()


def test_rows_that_do_not_go_through_duckdb_are_an_error_by_name() -> None:
    """What DuckDB itself cannot do is an error of ours with a cure."""
    matcher = SqlMatcher(Session(64 << 20, 1, ""))
    wrong = pa.schema([("k0", pa.int64()), ("place", pa.int64())])
    with pytest.raises(SourceError, match=r"DuckDB cannot match the keys of a source.*raise memory_limit"):
        list(matcher.number([pa.array([[1]])], wrong, [pa.record_batch([[1], [2]], wrong)]))


def test_open_takes_the_configuration(tmp_path: Path) -> None:
    """Sizes and folders of the configuration are the engine's; relative paths start from the repo."""
    config = OfflineStoreConfig(memory_limit="1GB", threads=1, temp_directory="spill")
    engine = DuckDBEngine.open(config, str(tmp_path))
    (tmp_path / "a.csv").write_text("at,k,v\n1970-01-01,1,1\n")
    assert rows(engine, scan(tmp_path / "a.csv")) == [(1, 0, None, 1)]
    assert (tmp_path / "spill").is_dir()
    with pytest.raises(ConfigError, match="'much'"):
        DuckDBEngine.open(OfflineStoreConfig(memory_limit="much"), str(tmp_path))


def test_a_query_reads_files_of_the_repo(tmp_path: Path) -> None:
    """Relative paths in a query start from the repo, too."""
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"user": [3, 1, 2]}), tmp_path / "data" / "a.parquet")
    engine = DuckDBEngine.open(OfflineStoreConfig(), str(tmp_path))
    assert engine.query("SELECT user FROM 'data/a.parquet'").read_all()["user"].to_pylist() == [3, 1, 2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM spine",
        "INSTALL httpfs",
        "COPY (SELECT 1) TO 'x.csv'",
        "CREATE TABLE x (i INT)",
        "SET threads = 1",
    ],
)
def test_a_query_only_reads(tmp_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query sees no variable of the program, and what is no SELECT does not run."""
    monkeypatch.chdir(tmp_path)
    spine = pa.table({"a": [1]})
    with pytest.raises(RequestError):
        DuckDBEngine().query(sql).read_all()
    assert spine.num_rows == 1
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_fails_on_the_way(tmp_path: Path) -> None:
    """An error in the middle of the rows is one of ours, too."""
    with pytest.raises(RequestError, match="cannot run"):
        DuckDBEngine().query(
            "SELECT CAST(CASE WHEN i = 900000 THEN 'x' ELSE '1' END AS INT) FROM range(1000000) t(i)"
        ).read_all()


def test_a_query_over_tables_reads_them_and_nothing_else(tmp_path: Path) -> None:
    """Tables are read as often as the query says, in their order, and files are shut away."""
    rows = pa.table({"a": [3, 1, 2]})
    pq.write_table(rows, tmp_path / "a.parquet")
    engine = DuckDBEngine(search=str(tmp_path))
    query = 'SELECT a, (SELECT sum(a) FROM "order") AS total FROM "order"'
    found = engine.query(query, {"order": rows.to_reader()}).read_all()
    assert found["a"].to_pylist() == [3, 1, 2]
    assert [int(total) for total in found["total"].to_pylist()] == [6, 6, 6]
    with pytest.raises(RequestError, match="cannot run"):
        engine.query("SELECT * FROM 'a.parquet'", {"order": rows.to_reader()})


def test_a_query_over_more_rows_than_memory_spills(tmp_path: Path) -> None:
    """Tables that a query reads need not fit in memory, and nothing is left on the disk."""
    schema = pa.schema([("a", pa.int64())])
    batches = (pa.record_batch([pa.array(range(n, n + 100_000))], schema=schema) for n in range(0, 10_000_000, 100_000))
    engine = DuckDBEngine(memory_limit="130MB", temp_directory=str(tmp_path / "spill"))
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    query = "SELECT count(*) AS n FROM rows WHERE a > (SELECT avg(a) FROM rows)"
    assert engine.query(query, {"rows": reader}).read_all()["n"].to_pylist() == [5_000_000]
    assert list((tmp_path / "spill").iterdir()) == []
