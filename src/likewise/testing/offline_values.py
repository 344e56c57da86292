"""What a value is: the same type and bits on every path (T21), times by one rule (T22), in files of every format."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from likewise.core.errors import LikewiseError, SourceDrift, SourceError
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    arrow_type,
)
from likewise.offline.base import OfflineEngine
from likewise.plan.scan import Location
from likewise.testing.offline_case import (
    ALWAYS,
    US,
    OfflineEngineCase,
    T,
    join,
    latest,
    refused,
    rows,
    scan,
    shown,
    spine,
    table,
)
from likewise.testing.reference_values import plain_values
from likewise.testing.values import declared, exact_all

INF, NAN = float("inf"), float("nan")
EDGES: list[tuple[FeatureType, list[Any]]] = [
    (Int64, [2**63 - 1, -(2**63), 2**53 + 1, 0, None]),
    (Int32, [2**31 - 1, -(2**31), None]),
    (Float64, [NAN, INF, -INF, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1, None]),
    (Float32, [NAN, INF, -INF, -0.0, 1.401298464324817e-45, 0.10000000149011612, None]),
    (Bool, [True, False, None]),
    (String, ["", "\0", "a\0b", "e\u0301", "é", "שלום\u202e", "👩‍👩‍👧", "x" * 65_536, "NULL", None]),
    (Bytes, [b"", b"\0\xff", bytes(range(256)), None]),
    (Json, ['{"a": [1, null]}', "null", None]),
    (Uuid, ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", None]),
    (Decimal, [Exact("99999999999999999999.999999999999999999"), Exact("-0.000000000000000001"), None]),
    (UnixTimestamp, [EARLIEST, LATEST, -1, 0, None]),
    (Array(Int64), [[2**63 - 1, None], [], None]),
    (Array(Float32), [[-0.0, NAN, 0.5], None]),
    (Array(Array(String)), [[["a\0", None], []], None, []]),
    (Array(UnixTimestamp), [[EARLIEST, None, LATEST], None]),
    (Set(String), [["a", "b"], [], None]),
    (Map, [[("a", "1"), ("b", None)], [], None]),
    (Struct({"a": Int64, "b": Array(Float64)}), [{"a": None, "b": [NAN]}, {"a": 2**53 + 1, "b": None}, None]),
]
"""The values of each type that are likely to come to harm."""


class ValueTests(OfflineEngineCase):
    """T21: what was written is what is read, by every method."""

    @pytest.mark.parametrize(("kind", "values"), EDGES, ids=shown)
    def test_values_keep_type_and_bits(
        self, subject: OfflineEngine, tmp_path: Path, kind: FeatureType, values: list[Any]
    ) -> None:
        """A value comes out of training, latest and rows with the type that is declared and the bits it had."""
        keys = list(range(len(values)))
        source = self.put(tmp_path, a=table(at=[T] * len(keys), k=keys, v=pa.array(values, arrow_type(kind))))
        one = scan(source, columns={"v": kind})
        expected = exact_all(values)
        assert exact_all(self.trained(subject, spine([T] * len(keys), k=keys), join(one))) == expected
        assert exact_all(row[-1] for row in rows(subject, one)) == expected
        found = latest(subject, one)
        assert exact_all(found[(key,)][-1] for key in keys) == expected

    @pytest.mark.parametrize("stored", [pa.float64(), pa.float32()], ids=shown)
    def test_whole_floats_are_integers(self, subject: OfflineEngine, tmp_path: Path, stored: pa.DataType) -> None:
        """A column of floats that are whole, as pandas makes of integers with gaps, is read as integers with nulls."""
        source = self.put(tmp_path, a=table(at=[T] * 3, k=[1, 2, 3], v=pa.array([1.0, None, -0.0], stored)))
        assert [row[-1] for row in rows(subject, scan(source))] == [1, None, 0]
        assert self.trained(subject, spine([T] * 3, k=[1, 2, 3]), join(scan(source))) == [1, None, 0]

    @pytest.mark.parametrize("value", [1.5, NAN, INF, 2.0**63, -1e300])
    def test_floats_that_are_not_whole_are_refused(self, subject: OfflineEngine, tmp_path: Path, value: float) -> None:
        """A float that is no integer, or too large for one, is an error that names file and column."""
        source = self.put(tmp_path, a=table(at=[T, T], k=[1, 2], v=[1.0, value]))
        refused(lambda: subject.rows(scan(source), ALWAYS), SourceDrift, "a.parquet", "'v'")
        asked = spine([T], k=[2])
        refused(lambda: [self.train(subject, asked, join(scan(source)))], SourceDrift, "a.parquet", "'v'")

    def test_integers_too_large_for_the_type_are_refused(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Wider integers are read as Int32 as long as they fit, and refused by name when one does not."""
        source = self.put(tmp_path / "fits", a=table(at=[T], k=[1], v=[2**31 - 1]))
        one = scan(source, columns={"v": Int32})
        assert [row[-1] for row in rows(subject, one)] == [2**31 - 1]
        source = self.put(tmp_path / "not", a=table(at=[T], k=[1], v=[2**31]))
        refused(lambda: subject.rows(scan(source, columns={"v": Int32}), ALWAYS), SourceDrift, "a.parquet", "'v'")
        unsigned = self.put(tmp_path / "unsigned", a=table(at=[T], k=[1], v=pa.array([2**64 - 1], pa.uint64())))
        refused(lambda: subject.rows(scan(unsigned), ALWAYS), SourceDrift, "a.parquet", "'v'")

    def test_float32_rounds_alike(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Doubles declared Float32 are rounded to the nearest, the same in training, latest and rows."""
        values = [0.1, 16_777_217.0, 1e-46, -2.5, NAN, None]
        keys = list(range(len(values)))
        source = self.put(tmp_path, a=table(at=[T] * 6, k=keys, v=values))
        one = scan(source, columns={"v": Float32})
        expected = exact_all(declared(value, Float32) for value in values)
        assert exact_all(self.trained(subject, spine([T] * 6, k=keys), join(one))) == expected
        assert exact_all(row[-1] for row in rows(subject, one)) == expected
        assert exact_all(latest(subject, one)[(key,)][-1] for key in keys) == expected

    @pytest.mark.parametrize(
        ("stored", "kind", "values"),
        [
            (pa.int8(), Int64, [-128, None]),
            (pa.uint32(), Int64, [2**32 - 1, None]),
            (pa.uint16(), Int32, [65_535]),
            (pa.int32(), Float64, [3, None]),
            (pa.float32(), Float64, [0.5, None]),
            (pa.large_string(), String, ["a", None]),
            (pa.dictionary(pa.int8(), pa.string()), String, ["a", None, "a"]),
            (pa.large_binary(), Bytes, [b"\0", None]),
            (pa.binary(2), Bytes, [b"ab", None]),
            (pa.large_list(pa.int32()), Array(Int64), [[1, None], None]),
            (pa.list_(pa.float64(), 2), Array(Float32), [[0.5, 1.5], [0.25, None]]),
            (pa.decimal128(10, 2), Decimal, [Exact("1.10"), None]),
            (pa.int32(), Decimal, [7, None]),
            (pa.null(), Int64, [None, None]),
            (pa.null(), Array(String), [None]),
        ],
        ids=shown,
    )
    def test_narrower_columns_widen(
        self, subject: OfflineEngine, tmp_path: Path, stored: pa.DataType, kind: FeatureType, values: list[Any]
    ) -> None:
        """A column of a type whose values the declared type holds is read without loss."""
        keys = list(range(len(values)))
        source = self.put(tmp_path, a=table(at=[T] * len(keys), k=keys, v=pa.array(values, stored)))
        one = scan(source, columns={"v": kind})
        expected = plain_values(pa.array(values, arrow_type(kind)))
        assert exact_all(row[-1] for row in rows(subject, one)) == exact_all(expected)
        trained = self.trained(subject, spine([T] * len(keys), k=keys), join(one))
        assert exact_all(trained) == exact_all(expected)

    @pytest.mark.parametrize("stored", [pa.uuid(), pa.binary(16), pa.string()], ids=shown)
    def test_uuids_in_any_form(self, subject: OfflineEngine, tmp_path: Path, stored: pa.DataType) -> None:
        """A Uuid is its text, whether the files hold it as text, as 16 bytes or in Parquet's own type."""
        one = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
        values = pa.array([str(one) if stored == pa.string() else one.bytes, None], stored)
        source = self.put(tmp_path, a=table(at=[T] * 2, k=[1, 2], v=values))
        assert [row[-1] for row in rows(subject, scan(source, columns={"v": Uuid}))] == [str(one), None]

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (Float64, pa.array([2**53 + 1])),
            (Decimal, pa.array([Exact(10**25)], pa.decimal128(38, 2))),
            (Decimal, pa.array([Exact("1e-30")], pa.decimal128(38, 30))),
            (Array(Int64), pa.array([[1.5]])),
            (Array(Int32), pa.array([[2**31]])),
            (Struct({"a": Int64}), pa.array([{"a": 1.5}])),
        ],
        ids=shown,
    )
    def test_values_that_would_be_damaged_are_refused(
        self, subject: OfflineEngine, tmp_path: Path, kind: FeatureType, values: pa.Array
    ) -> None:
        """A value that its declared type cannot hold exactly is an error that names file and column, in lists too."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=values))
        one = scan(source, columns={"v": kind})
        refused(lambda: subject.rows(one, ALWAYS), SourceDrift, "a.parquet", "'v'")
        refused(lambda: [self.train(subject, spine([T], k=[1]), join(one))], SourceDrift, "a.parquet", "'v'")

    @pytest.mark.parametrize("stored", [pa.int8(), pa.int32(), pa.uint32(), pa.float64()], ids=shown)
    def test_keys_of_another_width_match(self, subject: OfflineEngine, tmp_path: Path, stored: pa.DataType) -> None:
        """Keys that the files hold in another type than the declared one match by their value."""
        source = self.put(tmp_path, a=table(at=[T] * 2, k=pa.array([1, 2], stored), v=[10, 20]))
        assert self.trained(subject, spine([T] * 3, k=[2, 1, 3]), join(scan(source))) == [20, 10, None]
        assert {key: row[-1] for key, row in latest(subject, scan(source)).items()} == {(1,): 10, (2,): 20}


class TimeTests(OfflineEngineCase):
    """T22: one rule for times, whatever their unit, zone and age."""

    @pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
    @pytest.mark.parametrize(("unit", "size"), [("s", 1_000_000), ("ms", 1000), ("us", 1)])
    def test_times_of_every_unit_and_zone(
        self, subject: OfflineEngine, tmp_path: Path, unit: str, size: int, zone: str | None
    ) -> None:
        """Seconds, milliseconds and microseconds, naive or in a zone, are the instants they say; naive ones are UTC."""
        moments = [-12_345_000_000, 0, 1_711_846_800_000_000, 1_711_850_400_000_000]  # the last two: a clock change
        stored = pa.array([m // size for m in moments], pa.timestamp(unit, zone))
        source = self.put(tmp_path, a=table(at=stored, made=stored, k=[1] * 4, v=stored))
        one = scan(source, columns={"v": UnixTimestamp}, created="made")
        assert rows(subject, one) == [(1, m, m, m) for m in moments]
        asked = spine([m + d for m in moments for d in (-1, 0)], k=[1] * 8)
        assert self.trained(subject, asked, join(one)) == [None, *[m for m in moments for _ in (0, 1)][:-1]]

    def test_nanoseconds_are_cut_off_downwards(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Digits finer than a microsecond are cut off towards the past, before 1970 too, in events and in values."""
        ticks = [T * 1000 + 999, -1, -1000, -1001, 1]
        stored = pa.array(ticks, pa.timestamp("ns"))
        source = self.put(tmp_path, a=table(at=stored, k=list(range(5)), v=stored))
        one = scan(source, columns={"v": UnixTimestamp})
        floors = [T, -1, -1, -2, 0]
        assert rows(subject, one) == [(key, m, None, m) for key, m in enumerate(floors)]
        assert self.trained(subject, spine(floors, k=list(range(5))), join(one)) == floors

    def test_times_inside_of_lists_and_structs(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Times within lists and structs are cut and placed like any other."""
        lists = pa.array([[-1, None, 1999]], pa.list_(pa.timestamp("ns", "Asia/Tokyo")))
        structs = pa.array([{"t": -1}], pa.struct({"t": pa.timestamp("ms")}))
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=lists, w=structs))
        one = scan(source, columns={"v": Array(UnixTimestamp), "w": Struct({"t": UnixTimestamp})})
        assert rows(subject, one) == [(1, T, None, [-1, None, 1], {"t": -1000})]

    def test_rows_alike_after_cutting_are_alike(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Two rows within one microsecond have one event time: the created time, then the place, says which counts."""
        at = pa.array([T * 1000 + 900, T * 1000 + 100, T * 1000 + 500], pa.timestamp("ns"))
        source = self.put(tmp_path, a=table(at=at, made=[T + 1, T + 2, T + 2], k=[1] * 3, v=[1, 2, 3]))
        assert self.trained(subject, spine([T], k=[1]), join(scan(source, created="made"))) == [3]
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [3]

    def test_files_of_different_units_are_one_source(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Files whose times differ in unit and zone are compared as instants."""
        source = self.put(
            tmp_path,
            a=table(at=pa.array([T * 1000 + 5], pa.timestamp("ns", "Asia/Tokyo")), k=[1], v=[1]),
            b=table(at=pa.array([T // 1000 + 1], pa.timestamp("ms")), k=[1], v=[2]),
            c=table(at=pa.array([T // 1_000_000], pa.timestamp("s", "UTC")), k=[1], v=[3]),
        )
        asked = spine([T, T + 999, T + 1000], k=[1] * 3)
        assert self.trained(subject, asked, join(scan(source))) == [3, 3, 2]

    def test_the_first_and_the_last_time(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The years 1, 1677, 2262 and 9999 work on both sides, and a ttl that reaches beyond them is no overflow."""
        moments = [EARLIEST, -9_223_372_036_854_776, 9_223_372_036_854_776, LATEST]
        source = self.put(tmp_path, a=table(at=moments, k=[1, 2, 3, 4], v=[1, 2, 3, 4]))
        asked = spine([*moments, EARLIEST, LATEST], k=[1, 2, 3, 4, 4, 1])
        assert self.trained(subject, asked, join(scan(source))) == [1, 2, 3, 4, None, 1]
        assert self.trained(subject, asked, join(scan(source), ttl=2**62)) == [1, 2, 3, 4, None, 1]
        assert self.trained(subject, asked, join(scan(source), ttl=1)) == [1, 2, 3, 4, None, None]

    def test_dates_are_midnight(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A column of dates stands for the first instant of each day, in UTC."""
        source = self.put(
            tmp_path, a=table(at=pa.array([0, 1], pa.date32()), k=[1, 1], v=pa.array([0, -1], pa.date32()))
        )
        day = 86_400_000_000
        one = scan(source, columns={"v": UnixTimestamp})
        assert rows(subject, one) == [(1, 0, None, 0), (1, day, None, -day)]
        assert self.trained(subject, spine([-1, day - 1, day], k=[1] * 3), join(one)) == [None, 0, -day]

    @pytest.mark.parametrize("column", ["at", "made", "v"])
    @pytest.mark.parametrize(
        ("unit", "tick"), [("ms", 2**62), ("ms", -(2**62)), ("us", LATEST + 1), ("us", EARLIEST - 1)]
    )
    def test_times_out_of_range_are_refused(
        self, subject: OfflineEngine, tmp_path: Path, column: str, unit: str, tick: int
    ) -> None:
        """A time outside the years 1 to 9999 is an error that names file, column and row, never another time."""
        columns = {**{name: pa.array([T] * 3, US) for name in ("at", "made", "v")}, "k": [1] * 3}
        columns[column] = pa.array([0, 0, tick], pa.timestamp(unit))
        one = scan(self.put(tmp_path, a=table(columns)), columns={"v": UnixTimestamp}, created="made")
        refused(lambda: subject.rows(one, ALWAYS), LikewiseError, "a.parquet", f"'{column}'", "row 2")

    @pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
    def test_the_machines_time_zone_changes_nothing(self, process_zone: None, tmp_path: Path, zone: str) -> None:
        """Naive times are UTC wherever the program runs."""
        os.environ["TZ"] = zone
        time.tzset()
        engine = self.engine()
        try:
            self.store(tmp_path / "a.csv", b"at,k,v\n1970-01-01 00:00:01,1,10\n1970-01-01T00:00:02Z,1,20\n")
            assert [row[1] for row in rows(engine, scan(tmp_path / "a.csv"))] == [1_000_000, 2_000_000]
            self.write(tmp_path / "a.parquet", table(at=[1], k=[1], v=[1]))
            assert self.trained(engine, spine([0, 1], k=[1, 1]), join(scan(tmp_path / "a.parquet"))) == [None, 1]
        finally:
            engine.close()

    @pytest.fixture
    def process_zone(self) -> Iterator[None]:
        """Put the process's time zone back after a test."""
        before = os.environ.get("TZ")
        yield
        if before is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = before
        time.tzset()


class FormatTests(OfflineEngineCase):
    """CSV and JSON lines mean what the declared types say; directories and globs are one source."""

    def test_csv_is_read_by_the_declared_types(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A field of a CSV file is what its declared type makes of its text, and an empty one is null."""
        kinds: dict[str, FeatureType] = {
            "i": Int64,
            "j": Int32,
            "f": Float64,
            "b": Bool,
            "s": String,
            "t": UnixTimestamp,
            "d": Decimal,
        }
        lines = {
            "i": ["9223372036854775807", "1.0", ""],
            "j": ["-7", "", "0"],
            "f": ["nan", "-inf", "1e-3"],
            "b": ["true", "False", ""],
            "s": ["007", "NULL", 'a "quoted", \n text'],
            "t": ["1970-01-01", "1970-01-01T00:00:00.000001Z", "1970-01-01 01:00:00+01:00"],
            "d": ["1.10", "-0.000000000000000001", ""],
        }
        times = ["2023-11-14 22:13:20", "2023-11-14T22:13:20.000001+00:00", "2023-11-14T23:13:20.000002+01:00"]
        self.write(tmp_path / "a.csv", pa.table({"at": times, "k": ["1", "2", "3"], **lines}))
        found = rows(subject, scan(tmp_path / "a.csv", columns=kinds))
        expected = [
            (1, T, None, 2**63 - 1, -7, NAN, True, "007", 0, Exact("1.10")),
            (2, T + 1, None, 1, None, -INF, False, "NULL", 1, Exact("-0.000000000000000001")),
            (3, T + 2, None, None, 0, 0.001, None, 'a "quoted", \n text', 0, None),
        ]
        assert [exact_all(row) for row in found] == [exact_all(row) for row in expected]

    def test_json_lines_are_read_by_the_declared_types(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A value of a JSON line is what its declared type makes of it; one that is left out is null."""
        kinds: dict[str, FeatureType] = {
            "i": Int64,
            "f": Float64,
            "b": Bool,
            "s": String,
            "t": UnixTimestamp,
            "l": Array(Int64),
            "r": Struct({"x": Float64, "y": String}),
        }
        self.store(
            tmp_path / "a.jsonl",
            b'{"at": "2023-11-14T22:13:20Z", "k": 1, "i": 9007199254740993, "f": 1, "b": true, "s": "a\\u0000",'
            b' "t": "1970-01-01", "l": [1, null], "r": {"x": 1, "y": "z"}}\n'
            b'{"k": 2, "at": "2023-11-14 22:13:20.000001", "i": -9223372036854775808, "f": 2.5, "s": "007", "l": []}\n',
        )
        found = rows(subject, scan(tmp_path / "a.jsonl", columns=kinds))
        expected = [
            (1, T, None, 2**53 + 1, 1.0, True, "a\0", 0, [1, None], {"x": 1.0, "y": "z"}),
            (2, T + 1, None, -(2**63), 2.5, None, "007", None, [], None),
        ]
        assert [exact_all(row) for row in found] == [exact_all(row) for row in expected]

    @pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
    def test_a_glob_and_a_directory_are_one_source(self, subject: OfflineEngine, tmp_path: Path, ending: str) -> None:
        """The files of a directory or a glob are one source, in path order; other formats and hidden files are none."""
        for name, value in (("c", 3), ("a", 1), ("b", 2)):
            self.write(tmp_path / "d" / f"{name}.{ending}", table(at=[T], k=[1], v=[value]))
        for name in ("_SUCCESS", f".hidden.{ending}", "readme.txt"):
            self.store(tmp_path / "d" / name, b"")
        for path, values in ((tmp_path / "d", [1, 2, 3]), (tmp_path / "d" / f"[bc]*.{ending}", [2, 3])):
            one = scan(Location(str(path), ending))
            assert [row[-1] for row in rows(subject, one)] == values
            assert subject.count(one) == len(values)

    def test_csv_as_spreadsheets_write_it(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A byte order mark, lines that end in CR LF, quotes and, in a .tsv file, tabs are no part of the data."""
        text = '\ufeffat,k,"v, quoted"\r\n2023-11-14T22:13:20,1,"a,b"\r\n'
        self.store(tmp_path / "a.csv", text.encode())
        one = scan(tmp_path / "a.csv", columns={"v, quoted": String})
        assert rows(subject, one) == [(1, T, None, "a,b")]
        self.store(tmp_path / "a.tsv", b"at\tk\tv\n2023-11-14T22:13:20\t1\ta,b\n")
        one = scan(Location(str(tmp_path / "a.tsv"), "csv"), columns={"v": String})
        assert rows(subject, one) == [(1, T, None, "a,b")]

    @pytest.mark.parametrize(
        ("ending", "bad"),
        [
            ("csv", "x"),
            ("csv", "1.5"),
            ("csv", "9223372036854775808"),
            ("jsonl", '"1"'),
            ("jsonl", "true"),
            ("jsonl", "1.5"),
            ("jsonl", "9223372036854775808"),
        ],
    )
    def test_text_that_is_not_of_the_type_is_refused(
        self, subject: OfflineEngine, tmp_path: Path, ending: str, bad: str
    ) -> None:
        """A value in a text file that does not fit its declared type is an error that names file and column."""
        path = tmp_path / f"a.{ending}"
        if ending == "csv":
            text = f"at,k,v\n2023-11-14,1,1\n2023-11-14,1,{bad}\n"
        else:
            text = "".join(f'{{"at": "2023-11-14", "k": 1, "v": {value}}}\n' for value in ("1", bad))
        self.store(path, text.encode())
        refused(lambda: subject.rows(scan(path), ALWAYS), SourceError, f"a.{ending}", "'v'")
