"""Reading without entity rows and writing: ``latest``, ``rows``, ``count``, ``append`` and ``query``."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from likewise.core.errors import LikewiseError, SourceError
from likewise.core.types import Float64, Int64, String, arrow_type
from likewise.offline.base import OfflineEngine, Part, Span
from likewise.plan.scan import Location
from likewise.testing.offline_case import US, OfflineEngineCase, T, join, latest, rows, scan, spine, table
from likewise.testing.offline_values import EDGES
from likewise.testing.reference_values import plain_values
from likewise.testing.values import exact_all


class ReadTests(OfflineEngineCase):
    """``latest``, ``rows`` and ``count``: what materialization reads."""

    def test_the_latest_row_of_each_key(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Each key comes once, with its times and values of the latest row: by event, created time, then place."""
        source = self.put(
            tmp_path,
            a=table(at=[T + 5, T, T, T], made=[None, T + 9, T + 1, None], k=[1, 2, 2, 3], v=[1, 2, None, 4]),
            b=table(at=[T + 4, T, T], made=[T + 50, T + 9, None], k=[1, 2, 3], v=[5, None, 7]),
        )
        one = scan(source, created="made")
        assert latest(subject, one) == {(1,): (T + 5, None, 1), (2,): (T, T + 9, None), (3,): (T, None, 7)}

    def test_a_span_includes_both_of_its_ends(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The rows of a span are those from its start to its end, both included; no end is without limit."""
        source = self.put(tmp_path, a=table(at=[T + 2, T, T + 1, T + 3], k=[1] * 4, v=[2, 0, 1, 3]))
        one = scan(source)
        expected = {
            Span(None, None): [2, 0, 1, 3],
            Span(T + 1, T + 2): [2, 1],
            Span(T + 1, None): [2, 1, 3],
            Span(None, T): [0],
            Span(T + 4, None): [],
            Span(T + 2, T + 1): [],
        }
        assert {span: [row[-1] for row in rows(subject, one, span)] for span in expected} == expected
        newest = {span: [row[-1] for row in latest(subject, one, span).values()] for span in expected}
        assert newest == {span: [max(values)] if values else [] for span, values in expected.items()}

    def test_rows_come_in_file_order(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """All rows come, repeats too, in the order of paths and places, over many row groups."""
        for number, name in enumerate(("c", "a", "b")):
            part = table(at=[T - n for n in range(12_000)], k=[number] * 12_000, v=list(range(12_000)))
            self.write(tmp_path / f"{name}.parquet", part, row_group=1000)
        found = rows(subject, scan(self.put(tmp_path)))
        assert [(row[0], row[-1]) for row in found] == [(key, n) for key in (1, 2, 0) for n in range(12_000)]

    def test_rows_without_key_or_time_are_left_out(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A row with a null in its key, or without an event time, is in no answer, but it is counted."""
        nulls = table(at=[T, None, T, T], x=["a", "b", None, "c"], y=[1, 2, 3, None], v=[1, 2, 3, 4])
        one = scan(self.put(tmp_path, a=nulls), keys={"x": String, "y": Int64})
        assert rows(subject, one) == [("a", 1, T, None, 1)]
        assert latest(subject, one) == {("a", 1): (T, None, 1)}
        assert subject.count(one) == 4

    def test_a_view_without_entities_has_one_latest_row(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Without keys all rows are one key's, and there is one latest row, or none."""
        one = scan(self.put(tmp_path, a=table(at=[T, T + 1], v=[1, 2])), keys={})
        assert latest(subject, one) == {(): (T + 1, None, 2)}
        assert latest(subject, one, Span(None, T - 1)) == {}
        halves = [latest(subject, one, part=Part(number, 2)) for number in (0, 1)]
        assert sorted(map(len, halves)) == [0, 1]

    def test_no_columns(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A scan without feature columns gives keys and times."""
        one = scan(self.put(tmp_path, a=table(at=[T, T], k=[1, 2])), columns={})
        assert rows(subject, one) == [(1, T, None), (2, T, None)]
        assert latest(subject, one) == {(1,): (T, None), (2,): (T, None)}

    def test_the_parts_are_disjoint_and_complete(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The parts of all keys together are all keys, none of them twice, and of about the same size."""
        keys = list(range(-500, 1500))
        one = scan(self.put(tmp_path, a=table(at=[T] * 2000, k=keys, v=keys)))
        whole = latest(subject, one)
        for parts in (1, 2, 7):
            found = [latest(subject, one, part=Part(number, parts)) for number in range(parts)]
            assert sum(map(len, found)) == 2000
            assert {key: values for part in found for key, values in part.items()} == whole
            assert min(map(len, found)) > 1000 / parts

    def test_the_part_of_a_key_never_changes(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A key is in the same part for another engine, another span, other rows and a narrower type in the file."""
        keys = list(range(100))
        first = scan(self.put(tmp_path / "one", a=table(at=[T] * 100, k=keys, v=keys)))
        narrow = pa.array(keys[::2], pa.int16())
        other = scan(self.put(tmp_path / "two", a=table(at=[T + 5] * 50, k=narrow, v=keys[::2])))
        engine = self.engine()
        try:
            for number in range(3):
                here = set(latest(subject, first, part=Part(number, 3)))
                there = set(latest(engine, other, Span(T + 5, T + 5), Part(number, 3)))
                assert there == {key for key in here if key[0] % 2 == 0}
        finally:
            engine.close()

    def test_two_readers_at_once(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Two answers read by turns, and a third begun in between, do not disturb one another."""
        source = self.put(tmp_path, a=table(at=[T] * 30_000, k=list(range(30_000)), v=list(range(30_000))))
        first, second = (subject.rows(scan(source), Span(None, None)) for _ in range(2))
        counts = [0, 0]
        for one, two in zip(first, second, strict=True):
            counts[0] += one.num_rows
            assert subject.count(scan(source)) == 30_000
            counts[1] += two.num_rows
        assert counts == [30_000, 30_000]


class AppendTests(OfflineEngineCase):
    """``append``: new files, never rewritten ones."""

    def test_an_append_adds_a_file_and_changes_none(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Each append makes one new file that the source matches; the bytes of all others stay as they are."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[1]))
        for number in range(3):
            before = self.stored(tmp_path)
            path = subject.append(source, table(at=[T + number], k=[2], v=[number]))
            after = self.stored(tmp_path)
            assert set(after) - set(before) == {path}
            assert {name: after[name] for name in before} == before
        assert sorted(row[-1] for row in rows(subject, scan(source))) == [0, 1, 1, 2]

    @pytest.mark.parametrize("name", ["a", "zzz", "part-00009", "Ω"])
    def test_rows_appended_later_count_as_later(self, subject: OfflineEngine, tmp_path: Path, name: str) -> None:
        """Of rows alike in all times the one appended last counts, whatever the files before are called."""
        source = self.put(tmp_path, **{name: table(at=[T], k=[1], v=[-1])})
        for number in range(12):
            subject.append(source, table(at=[T, T], k=[1, 1], v=[100 + number, number]))
            assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [number]
        assert latest(subject, scan(source))[(1,)][-1] == 11

    def test_an_append_to_a_glob(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A new file of a glob matches it."""
        self.put(tmp_path, part_1=table(at=[T], k=[1], v=[1]), other=table(at=[T], k=[1], v=[9]))
        source = Location(str(tmp_path / "part_*.parquet"), "parquet")
        subject.append(source, table(at=[T], k=[1], v=[2]))
        subject.append(source, table(at=[T], k=[1], v=[3]))
        assert [row[-1] for row in rows(subject, scan(source))] == [1, 2, 3]

    def test_the_first_append_makes_the_folder(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A source whose folder is not there yet begins with its first append."""
        source = Location(str(tmp_path / "new" / "rows"), "parquet")
        subject.append(source, table(at=[T], k=[1], v=[1]))
        assert [row[-1] for row in rows(subject, scan(source))] == [1]

    def test_a_source_of_one_file_is_not_rewritten(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """An append to a source that is one file leaves it as it is: it is refused, or read with the rows added."""
        self.write(tmp_path / "a.parquet", table(at=[T], k=[1], v=[1]))
        one = scan(tmp_path / "a.parquet")
        before = self.stored(tmp_path)
        try:
            subject.append(one.location, table(at=[T], k=[1], v=[2]))
        except SourceError:
            assert self.stored(tmp_path) == before
        else:
            assert self.stored(tmp_path).items() >= before.items()
            assert [row[-1] for row in rows(subject, one)] == [1, 2]

    def test_appended_values_keep_their_bits(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Values of every type come back from an append as they went in."""
        source = Location(str(tmp_path / "rows"), "parquet")
        kinds = {f"v{number}": kind for number, (kind, _) in enumerate(EDGES)}
        longest = max(len(values) for _, values in EDGES)
        columns = {
            name: [*values, *[None] * (longest - len(values))] for name, (_, values) in zip(kinds, EDGES, strict=True)
        }
        typed = {name: pa.array(values, arrow_type(kinds[name])) for name, values in columns.items()}
        times = pa.array([T] * longest, US)
        subject.append(source, pa.table({"at": times, "made": times, "k": list(range(longest)), **typed}))
        found = rows(subject, scan(source, columns=kinds, created="made"))
        for number, name in enumerate(kinds):
            assert exact_all(row[3 + number] for row in found) == exact_all(columns[name]), name

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_an_append_to_text_files(self, subject: OfflineEngine, tmp_path: Path, ending: str) -> None:
        """Rows appended to a source of CSV or JSON lines are read back as they were, after those before."""
        self.write(tmp_path / f"a.{ending}", table(at=[T], k=[1], s=["x"], f=[0.5]))
        source = Location(str(tmp_path), ending)
        times = pa.array([T + 1, T + 2], US)
        more = pa.table({"at": times, "k": [2, 2**53 + 1], "s": ['say "é",\n007', None], "f": [0.1, None]})
        subject.append(source, more)
        found = rows(subject, scan(source, columns={"s": String, "f": Float64}))
        assert found == [
            (1, T, None, "x", 0.5),
            (2, T + 1, None, 'say "é",\n007', 0.1),
            (2**53 + 1, T + 2, None, None, None),
        ]

    def test_a_reader_never_sees_half_a_file(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """While one engine appends files of 1,000 rows, another reads whole files only, and no other names appear."""
        source = self.put(tmp_path, a=table(at=[T] * 1000, k=[1] * 1000, v=[1] * 1000))
        done = threading.Event()
        seen: list[int] = []

        def watch() -> None:
            engine = self.engine()
            while not done.is_set():
                seen.append(engine.count(scan(source)))
            seen.append(engine.count(scan(source)))
            engine.close()

        watcher = threading.Thread(target=watch)
        watcher.start()
        paths = [subject.append(source, table(at=[T] * 1000, k=[1] * 1000, v=[1] * 1000)) for _ in range(20)]
        done.set()
        watcher.join()
        assert {count % 1000 for count in seen} == {0}
        assert seen == sorted(seen)
        assert seen[-1] == 21_000
        assert sorted(self.stored(tmp_path)) == sorted([str(tmp_path / "a.parquet"), *paths])

    def test_many_writers_lose_nothing(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Engines that append at the same time each add their own files."""
        source = self.put(tmp_path, a=table(at=[T], k=[-1], v=[-1]))

        def work(writer: int) -> None:
            engine = self.engine()
            for number in range(10):
                engine.append(source, table(at=[T], k=[writer], v=[number]))
            engine.close()

        writers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        found = [(row[0], row[-1]) for row in rows(subject, scan(source))]
        assert sorted(found) == [(-1, -1), *((writer, number) for writer in range(4) for number in range(10))]

    def test_an_append_that_fails_leaves_nothing(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """An append to a place that cannot be written is an error by name, and no file stays behind."""
        self.store(tmp_path / "a.parquet", b"a file, not a folder")
        before = self.stored(tmp_path)
        with pytest.raises((LikewiseError, OSError), match=r"a\.parquet"):
            subject.append(Location(str(tmp_path / "a.parquet" / "rows"), "parquet"), table(at=[T], k=[1], v=[1]))
        assert self.stored(tmp_path) == before


class QueryTests(OfflineEngineCase):
    """``query``: one SQL statement, such as one that selects entity rows."""

    @pytest.fixture
    def speaker(self, subject: OfflineEngine) -> OfflineEngine:
        """Give a test its engine, if it runs SQL."""
        if not self.sql:
            pytest.skip("this engine runs no SQL")
        return subject

    def test_rows_come_in_the_order_asked_for(self, speaker: OfflineEngine) -> None:
        """A query gives its rows in its own order, with the names and types that it says."""
        answer = speaker.query("SELECT v AS k FROM (VALUES (1), (3), (2)) AS given(v) ORDER BY v DESC").read_all()
        assert (answer.column_names, plain_values(answer["k"])) == (["k"], [3, 2, 1])

    def test_times_are_utc(self, speaker: OfflineEngine) -> None:
        """A time of a query is the instant it says, a naive one in UTC."""
        answer = speaker.query("SELECT TIMESTAMP '1970-01-01 00:00:01' AS t").read_all()
        assert plain_values(answer["t"]) == [1_000_000]

    @pytest.mark.parametrize("sql", ["SELEC 1", "SELECT * FROM no_such_table", "", "SELECT 1; SELECT 2"])
    def test_a_query_that_cannot_run_is_refused(self, speaker: OfflineEngine, sql: str) -> None:
        """Text that is not one query, or that names what is not there, is an error of ours that quotes it."""
        with pytest.raises(LikewiseError):
            speaker.query(sql).read_all()
