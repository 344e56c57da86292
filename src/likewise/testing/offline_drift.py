"""What a source's files may be: with columns that drift between them (T23), damaged, empty or wide (T24)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from likewise.core.errors import SourceDrift, SourceError, SourceMissing, SourceUnreadable
from likewise.core.types import (
    Array,
    Bool,
    Decimal,
    FeatureType,
    Float64,
    Int64,
    String,
    UnixTimestamp,
    type_from_arrow,
)
from likewise.offline.base import OfflineEngine
from likewise.plan.scan import Location, Scan
from likewise.testing.offline_case import (
    ALWAYS,
    US,
    OfflineEngineCase,
    T,
    join,
    latest,
    plan_of,
    refused,
    rows,
    scan,
    shown,
    spine,
    table,
)

FIRST = {"at": pa.array([T], US), "k": [1], "v": [1]}
"""The columns of the first file of a source that drifts."""


def each_method(engine: OfflineEngine, one: Scan) -> list[Callable[[], Iterable[pa.RecordBatch]]]:
    """Return a call of each method that reads rows, each of which gives batches."""
    asked = spine([T], k=[1])
    return [
        lambda: engine.training(plan_of(join(one)), asked),
        lambda: engine.latest(one, ALWAYS),
        lambda: engine.rows(one, ALWAYS),
    ]


class DriftTests(OfflineEngineCase):
    """T23: files whose columns differ are one source when nothing is lost, and refused by file and column when not."""

    @pytest.mark.parametrize("column", ["k", "v", "at", "made"])
    def test_a_column_removed_is_refused(self, subject: OfflineEngine, tmp_path: Path, column: str) -> None:
        """A column that one of several files lacks is an error that names the file and the column."""
        whole = table(at=[T], made=[T], k=[1], v=[1])
        source = self.put(tmp_path, a=whole, b=whole.drop_columns([column]), c=whole)
        for act in each_method(subject, scan(source, created="made")):
            refused(act, SourceDrift, "b.parquet", f"'{column}'")

    def test_a_column_renamed_is_refused(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A column that has another name in a later file is missing there."""
        source = self.put(tmp_path, a=table(FIRST), b=table(FIRST).rename_columns(["at", "k", "w"]))
        for act in each_method(subject, scan(source)):
            refused(act, SourceDrift, "b.parquet", "'v'")

    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("v", pa.array(["1"])),
            ("v", pa.array([True])),
            ("v", pa.array([[1]])),
            ("v", pa.array([T], US)),
            ("v", pa.array([b"1"])),
            ("k", pa.array(["1"])),
            ("k", pa.array([True])),
            ("at", pa.array([1])),
            ("at", pa.array([1.0])),
            ("at", pa.array([True])),
        ],
        ids=shown,
    )
    def test_a_column_retyped_is_refused(
        self, subject: OfflineEngine, tmp_path: Path, column: str, values: pa.Array
    ) -> None:
        """A column whose type cannot hold the declared one, in one of several files, is an error that names both."""
        source = self.put(tmp_path, a=table(FIRST), b=table({**FIRST, column: values}))
        for act in each_method(subject, scan(source)):
            refused(act, SourceDrift, "b.parquet", f"'{column}'")

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (String, pa.array([1])),
            (String, pa.array([b"a"])),
            (Bool, pa.array([1])),
            (Float64, pa.array(["1.0"])),
            (UnixTimestamp, pa.array([1])),
            (UnixTimestamp, pa.array(["2024-01-01"])),
            (Decimal, pa.array([1.5])),
            (Array(Int64), pa.array([1])),
            (Array(Int64), pa.array([["a"]])),
        ],
        ids=shown,
    )
    def test_a_type_that_cannot_be_is_refused(
        self, subject: OfflineEngine, tmp_path: Path, kind: FeatureType, values: pa.Array
    ) -> None:
        """A column that holds another kind of values than the declared type is refused, not converted."""
        source = self.put(tmp_path, a=table({**FIRST, "v": values}))
        for act in each_method(subject, scan(source, columns={"v": kind})):
            refused(act, SourceDrift, "a.parquet", "'v'")

    def test_columns_added_and_reordered_are_read_by_name(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Files whose columns stand in another order, or that have more of them, are read by the columns' names."""
        source = self.put(
            tmp_path,
            a=table(at=[T], k=[1], v=[10], w=[100]),
            b=table(w=[200], v=[20], new=["x"], k=[2], at=[T]),
            c=table(k=[3], w=[300], at=[T], v=[30]),
        )
        one = scan(source, columns={"w": Int64, "v": Int64})
        assert rows(subject, one) == [(n, T, None, n * 100, n * 10) for n in (1, 2, 3)]
        answer = self.train(subject, spine([T] * 3, k=[3, 2, 1]), join(one))
        assert [answer["out_v"].to_pylist(), answer["out_w"].to_pylist()] == [[30, 20, 10], [300, 200, 100]]

    def test_a_column_widened_keeps_every_value(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Files that hold a column, a key or a time in a narrower or wider type give every value exactly."""
        source = self.put(
            tmp_path,
            a=table(
                at=pa.array([T // 1000], pa.timestamp("ms")), k=pa.array([1], pa.int32()), v=pa.array([7], pa.int8())
            ),
            b=table(at=pa.array([T], US), k=[2], v=[2**53 + 1]),
            c=table(at=pa.array([T * 1000], pa.timestamp("ns")), k=pa.array([3.0]), v=[5.0]),
            d=table(at=[T], k=pa.array([4], pa.uint8()), v=pa.array([None], pa.null())),
        )
        assert [(row[0], row[-1]) for row in rows(subject, scan(source))] == [(1, 7), (2, 2**53 + 1), (3, 5), (4, None)]
        asked = spine([T] * 4, k=[4, 3, 2, 1])
        assert self.trained(subject, asked, join(scan(source))) == [None, 5, 2**53 + 1, 7]

    def test_drift_in_other_columns_disturbs_nobody(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A column that is not asked for may change its type or go away."""
        source = self.put(
            tmp_path,
            a=table(FIRST, other=[1]),
            b=table(FIRST, other=["x"]),
            c=table(FIRST, more=[[1]]),
        )
        assert [row[-1] for row in rows(subject, scan(source))] == [1, 1, 1]
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [1]

    def test_the_schema_is_alike_in_all_files(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A source's schema has the columns in file order, each with a type that holds the values of every file."""
        source = self.put(
            tmp_path,
            a=table(FIRST, s=["x"], n=pa.array([1], pa.int16()), f=pa.array([1.0], pa.float32())),
            b=table(FIRST, s=["x"], f=[1.0], n=[2**40]),
        )
        found = subject.schema(source)
        assert found.names == ["at", "k", "v", "s", "n", "f"]
        assert [type_from_arrow(kind) for kind in found.types] == [UnixTimestamp, Int64, Int64, String, Int64, Float64]

    @pytest.mark.parametrize(
        "other", [pa.array(["x"]), pa.array([True]), pa.array([T], US), pa.array([[1]])], ids=shown
    )
    def test_the_schema_of_files_that_disagree_is_refused(
        self, subject: OfflineEngine, tmp_path: Path, other: pa.Array
    ) -> None:
        """Files that hold a column in types none of which holds the other's values have no schema in common."""
        source = self.put(tmp_path, a=table(FIRST), b=table({**FIRST, "v": other}))
        refused(lambda: [subject.schema(source)], SourceDrift, "b.parquet", "'v'")

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_the_schema_of_text_is_inferred(self, subject: OfflineEngine, tmp_path: Path, ending: str) -> None:
        """Columns of CSV and JSON lines files have the type that all of their values look like."""
        path = tmp_path / f"a.{ending}"
        self.write(path, table(at=[T, T + 1_000_000], i=[1, 2], f=[0.5, 1.5], s=["x", "y z"]))
        found = subject.schema(scan(path).location)
        kinds = {field.name: type_from_arrow(field.type) for field in found}
        assert kinds == {"at": UnixTimestamp, "i": Int64, "f": Float64, "s": String}

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_a_column_missing_in_text_is_refused(self, subject: OfflineEngine, tmp_path: Path, ending: str) -> None:
        """A column that a CSV or JSON lines file lacks is an error that names the file and the column."""
        self.write(tmp_path / f"a.{ending}", table(at=[T], k=[1], v=[1]))
        self.write(tmp_path / f"b.{ending}", table(at=[T], k=[1], w=[1]))
        for act in each_method(subject, scan(Location(str(tmp_path), ending))):
            refused(act, SourceDrift, f"b.{ending}", "'v'")


class DamageTests(OfflineEngineCase):
    """T24: files that are missing, damaged, empty or unusually shaped."""

    @pytest.mark.parametrize("path", ["none.parquet", "none", "*.parquet"])
    def test_a_path_without_files_is_missing(self, subject: OfflineEngine, tmp_path: Path, path: str) -> None:
        """A path, directory or glob that matches no file is an error that names it as the definition does."""
        (tmp_path / "none").mkdir()
        one = scan(Location(str(tmp_path / path), "parquet", shown=f"data/{path}"))
        for act in (*each_method(subject, one), lambda: [subject.schema(one.location)], lambda: [subject.count(one)]):
            refused(act, SourceMissing, f"data/{path}")

    @pytest.mark.parametrize(
        "damage",
        [
            lambda good: b"",
            lambda good: b"at,k,v\n2024-01-01,1,1\n",
            lambda good: good[: len(good) // 2],
            lambda good: good[:-1],
            lambda good: good[4:],
            lambda good: good[:-8] + b"\xff\xff\xff\x7fPAR1",
            lambda good: good[:4] + b"\0" * (len(good) // 2) + good[4 + len(good) // 2 :],
        ],
        ids=["empty", "foreign", "half", "one-byte-short", "no-head", "footer-length", "zeroed-pages"],
    )
    def test_a_damaged_parquet_file_is_unreadable(
        self, subject: OfflineEngine, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        """A Parquet file that is empty, cut off, foreign or overwritten is an error that names it, and gives no row."""
        many = table(at=[T + n for n in range(1000)], k=list(range(1000)), v=list(range(1000)))
        self.write(tmp_path / "b.parquet", many)
        (good,) = self.stored(tmp_path).values()
        self.store(tmp_path / "b.parquet", damage(good))
        for act in each_method(subject, scan(self.put(tmp_path, a=table(FIRST)))):
            with pytest.raises(SourceError, match=r"b\.parquet"):
                list(act())

    def test_the_schema_of_a_damaged_file(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A file that is no Parquet has no schema, and the error names it."""
        self.store(tmp_path / "a.parquet", b"no parquet")
        source = self.put(tmp_path)
        for act in (lambda: [subject.schema(source)], lambda: [subject.count(scan(source))]):
            refused(act, SourceUnreadable, "a.parquet")

    @pytest.mark.parametrize(
        ("ending", "content"),
        [
            ("csv", b""),
            ("csv", b"at,k,v\n2024-01-01,1,1\n2024-01-01,1,1,1\n"),
            ("csv", b"at,k,v\n2024-01-01,1,\xff\xfe\n"),
            ("jsonl", b'{"at": "2024-01-01", "k": 1, "v": 1}\n{"at": "2024-01-01", "k"'),
            ("jsonl", b"[1, 2]\n"),
            ("jsonl", b"PAR1\0\0\xff"),
        ],
    )
    def test_damaged_text_is_unreadable(
        self, subject: OfflineEngine, tmp_path: Path, ending: str, content: bytes
    ) -> None:
        """A CSV or JSON lines file that is empty of columns, cut off or not of its format is an error that names it."""
        self.store(tmp_path / f"a.{ending}", content)
        for act in each_method(subject, scan(tmp_path / f"a.{ending}")):
            with pytest.raises(SourceError, match=rf"a\.{ending}"):
                list(act())

    def test_a_source_without_rows(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A file with columns but no rows is a source nobody has a value in, alone and beside others."""
        nothing = table(FIRST).slice(0, 0)
        source = self.put(tmp_path / "alone", a=nothing)
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [None]
        assert (rows(subject, scan(source)), latest(subject, scan(source)), subject.count(scan(source))) == ([], {}, 0)
        source = self.put(tmp_path / "beside", a=nothing, b=table(FIRST), c=nothing)
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [1]

    def test_columns_without_values(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Columns of nothing but nulls, typed or not, are null features; null keys and times make no rows."""
        source = self.put(
            tmp_path / "values",
            a=table(at=[T], k=[1], v=pa.array([None], pa.int64()), w=pa.array([None], pa.null())),
        )
        answer = self.train(subject, spine([T], k=[1]), join(scan(source, columns={"v": Int64, "w": Array(String)})))
        assert [answer["out_v"].to_pylist(), answer["out_w"].to_pylist()] == [[None], [None]]
        nulls = pa.array([None, None], pa.null())
        source = self.put(tmp_path / "keys", a=table(at=pa.array([T, T], US), k=nulls, v=[1, 2]))
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [None]
        source = self.put(tmp_path / "times", a=table(at=nulls, k=[1, 1], v=[1, 2]))
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [None]

    def test_five_thousand_columns(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A file of 5,000 columns gives the few that are asked for, and its schema all of them."""
        columns = {f"c{number}": [number] for number in range(5000)}
        source = self.put(tmp_path, a=table(columns, at=[T], k=[1]))
        assert len(subject.schema(source)) == 5002
        one = scan(source, columns={"c4999": Int64, "c0": Int64})
        assert rows(subject, one) == [(1, T, None, 4999, 0)]
        assert self.trained(subject, spine([T], k=[1]), join(one)) == [0]

    def test_files_are_looked_at_anew(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A file that was damaged, is mended, and changes is read each time as it is then."""
        self.store(tmp_path / "a.parquet", b"no parquet")
        one = scan(tmp_path / "a.parquet")
        for act in each_method(subject, one):
            refused(act, SourceUnreadable, "a.parquet")
        for value in (1, 2):
            self.write(tmp_path / "a.parquet", table({**FIRST, "v": [value]}))
            assert self.trained(subject, spine([T], k=[1]), join(one)) == [value]
            assert [row[-1] for row in rows(subject, one)] == [value]

    def test_a_file_beside_a_glob_of_its_name(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A path that names an existing file is that file, whatever its characters would match."""
        self.write(tmp_path / "a[1].parquet", table({**FIRST, "v": [10]}))
        self.write(tmp_path / "a1.parquet", table({**FIRST, "v": [20]}))
        assert self.trained(subject, spine([T], k=[1]), join(scan(tmp_path / "a[1].parquet"))) == [10]
