"""What is read of a source's files: what was asked for, of the files as they were when they were opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.core.errors import InvalidTime, SourceDrift, SourceUnreadable
from likewise.core.types import Float64, Int32, Int64, String, UnixTimestamp
from likewise.offline.base import Span
from likewise.offline.duckdb import DuckDBEngine
from likewise.offline.source import opened
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.testing.offline_case import join, plan_of, scan, spine

KEY, VALUE = ScanColumn("k", Int64), ScanColumn("v", Int64)


def written(path: Path, unit: str = "us", rows: int = 1000, **columns: object) -> Scan:
    """Write rows with the times 0, 1, 2 … in a unit, in groups of 100, and return a scan of them."""
    at = pa.array(range(rows), pa.timestamp(unit) if unit != "date" else pa.date32())
    table = pa.table({"at": at, "k": range(rows), "v": range(rows), **columns})
    pq.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    return scan(path)


@pytest.mark.parametrize(("unit", "size"), [("us", 1), ("ms", 1000), ("s", 1_000_000), ("date", 86_400_000_000)])
def test_only_groups_of_the_span_are_read(tmp_path: Path, unit: str, size: int) -> None:
    """Row groups whose times all lie outside of the span are left alone, whatever the unit of the times."""
    with ThreadPoolExecutor() as pool, opened(written(tmp_path / "a.parquet", unit), "", pool) as source:
        for start, end, expected in [
            (250, 300, [2, 3]),
            (None, 99, [0]),
            (900, None, [9]),
            (1000, None, []),
            (5, 4, [0]),
        ]:
            span = Span(None if start is None else start * size, None if end is None else end * size)
            assert [group.number for group in source.within(span)] == expected
        assert len(source.within(Span(None, None))) == 10


def test_nanoseconds_at_the_edge_of_a_group_are_not_missed(tmp_path: Path) -> None:
    """A group counts by its times cut off to microseconds, as its rows do."""
    one = written(tmp_path / "a.parquet", "ns")
    with ThreadPoolExecutor() as pool, opened(one, "", pool) as source:
        assert len(source.within(Span(0, 0))) == 10
        assert source.within(Span(1, None)) == []


def test_a_group_without_statistics_is_read(tmp_path: Path) -> None:
    """Where a footer says nothing of the times, or calls nothing by that name, every group may have them."""
    table = pa.table({"at": pa.array([5], pa.timestamp("us")), "k": [1], "v": [1]})
    pq.write_table(table, tmp_path / "a.parquet", write_statistics=False)
    nested = table.append_column("s", pa.array([{"at": 1}]))
    pq.write_table(nested.select(["s", "at", "k", "v"]), tmp_path / "b.parquet")
    with ThreadPoolExecutor() as pool, opened(scan(Location(str(tmp_path), "parquet")), "", pool) as source:
        assert len(source.within(Span(100, None))) == 2


def test_a_training_set_reads_what_it_needs(tmp_path: Path) -> None:
    """Damaged pages of times, groups and columns that a training set does not need disturb nobody."""
    one = written(tmp_path / "a.parquet", other=pa.array(range(1000)))
    footer = pq.read_metadata(tmp_path / "a.parquet")
    raw = bytearray((tmp_path / "a.parquet").read_bytes())
    for group in range(10):
        for column in range(4):
            needed = (group in (2, 3) and column < 2) or (group == 3 and column == 2)
            if not needed:
                place = footer.row_group(group).column(column)
                raw[place.data_page_offset : place.data_page_offset + place.total_compressed_size] = bytes(
                    place.total_compressed_size
                )
    (tmp_path / "a.parquet").write_bytes(raw)
    asked = spine([305, 399, 310], k=[305, 398, 9999])
    answer = DuckDBEngine().training(plan_of(join(one, ttl=50)), asked).read_all()
    assert answer["out_v"].to_pylist() == [305, 398, None]


def test_a_value_that_does_not_fit_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    """The row of a value that does not fit is counted from the start of its file, in every format and type."""
    values = [*range(700), 2**31, *range(299)]
    written(tmp_path / "a.parquet")
    one = written(tmp_path / "b.parquet", v2=values)
    asked = spine([999] * 3, k=[1, 700, 2])
    both = scan(Location(str(tmp_path / "b.parquet"), "parquet"), columns={"v2": Int32})
    with pytest.raises(SourceDrift, match=r"column 'v2' of .*b\.parquet, row 700: 2147483648 does not fit Int32"):
        DuckDBEngine().training(plan_of(join(both)), asked).read_all()
    (tmp_path / "c.csv").write_text(
        "at,k,v\n" + "".join(f"1970-01-01,{n},{'x' if n == 700 else n}\n" for n in range(1000))
    )
    with pytest.raises(SourceDrift, match=r"column 'v' of .*c\.csv, row 700: 'x' does not fit Int64"):
        DuckDBEngine().training(plan_of(join(scan(tmp_path / "c.csv"))), asked).read_all()
    assert one.view == "the_view"


def test_a_time_out_of_range_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    """The row of a time that has no date is counted from the start of its file."""
    late = pa.array([0] * 850 + [2**60] * 150, pa.timestamp("us"))
    written(tmp_path / "a.parquet", t=late)
    one = scan(tmp_path / "a.parquet", columns={"t": UnixTimestamp})
    with pytest.raises(InvalidTime, match=rf"column 't' of .*a\.parquet, row 850: {2**60} does not fit UnixTimestamp"):
        list(DuckDBEngine().rows(one, Span(None, None)))


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    """A file that was written anew after it was opened is an error, and never read by the old footer."""
    one = written(tmp_path / "a.parquet")
    with ThreadPoolExecutor() as pool, opened(one, "", pool) as source:
        written(tmp_path / "new.parquet")
        (tmp_path / "new.parquet").replace(tmp_path / "a.parquet")
        with pytest.raises(SourceUnreadable, match=r"a\.parquet was changed while it was read. try again"):
            source.groups[0].read([VALUE])


def test_an_open_file_is_read_as_it_was(tmp_path: Path) -> None:
    """A file that is replaced after the first read goes on as it was."""
    one = written(tmp_path / "a.parquet")
    with ThreadPoolExecutor() as pool, opened(one, "", pool) as source:
        source.groups[0].read([KEY])
        written(tmp_path / "new.parquet", v=[-1] * 1000)
        (tmp_path / "new.parquet").replace(tmp_path / "a.parquet")
        assert source.groups[9].take([VALUE], np.array([3, 1]))[0].to_pylist() == [903, 901]


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A file with two columns of the name that is asked for is an error that names it; of another name it is read."""
    table = pa.table([pa.array([0], pa.timestamp("us")), [1], [2], [3]], names=["at", "k", "v", "v"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceUnreadable, match=r"a\.parquet.*v"):
        list(DuckDBEngine().rows(scan(tmp_path / "a.parquet"), Span(None, None)))
    (batch,) = DuckDBEngine().rows(scan(tmp_path / "a.parquet", columns={}), Span(None, None))
    assert batch.column("k").to_pylist() == [1]


def test_copies_of_text_are_thrown_away(tmp_path: Path) -> None:
    """After an answer, or an error, no copy of a text file is left."""
    (tmp_path / "a.csv").write_text("at,k,v\n1970-01-01,1,1.5\n")
    folder = tmp_path / "spill"
    engine = DuckDBEngine(temp_directory=str(folder))
    list(engine.rows(scan(tmp_path / "a.csv", columns={"v": Float64}), Span(None, None)))
    with pytest.raises(SourceDrift):
        list(engine.rows(scan(tmp_path / "a.csv"), Span(None, None)))
    with pytest.raises(SourceDrift):
        list(engine.rows(scan(tmp_path / "a.csv", columns={"w": String}), Span(None, None)))
    assert list(folder.iterdir()) == []
