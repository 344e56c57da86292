"""Source: the files behind a scan, opened and checked, and read a row group at a time in declared types.

A source's rows are numbered from 0 in the order that S2 ranks them by: files in path order, rows in file order. Such a
number is a row's *place*.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from likewise.core.columns import Column, conform
from likewise.core.errors import InvalidTime, LikewiseError, SourceDrift, SourceUnreadable, StoreFull
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, UnixTimestamp, accepts
from likewise.offline.asof import Ints
from likewise.offline.base import Span
from likewise.offline.files import files_of
from likewise.offline.text import copy_csv, copy_json_lines, from_csv, from_json
from likewise.plan.scan import Scan, ScanColumn

Converter = Callable[[Column, FeatureType, str], Column]
"""Turns a column of a file into one of a declared type, or raises SourceDrift or InvalidTime."""
_FROM_TEXT = {"csv": (copy_csv, from_csv), "jsonl": (copy_json_lines, from_json)}
_PER_MICRO = {"milliseconds": (1000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1000)}
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a source."""

    path: str
    """Where it lies."""
    stored: str
    """The Parquet file that is read: itself, or the copy of a text file."""
    footer: pq.FileMetaData
    """The Parquet file's footer."""
    columns: dict[str, pa.DataType | None]
    """Its columns and their types; None where it is the declared type that says what the column's text means."""
    convert: Converter
    """What turns its columns into declared types."""

    def read(self, group: int, column: str) -> pa.ChunkedArray:
        """Read one column of one row group.

        Raises:
            SourceUnreadable: the bytes are damaged.
        """
        with naming(self.path):
            with pq.ParquetFile(self.stored, metadata=self.footer) as file:
                return file.read_row_group(group, columns=[column], use_threads=False).column(column)


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: rows that lie together and are read together."""

    file: DataFile
    """The file it is in."""
    number: int
    """Its number there."""
    first: int
    """The place of its first row in the source."""
    first_in_file: int
    """The number of its first row in the file, for messages."""
    rows: int
    """How many rows it has."""

    @property
    def places(self) -> Ints:
        """The places of its rows."""
        return np.arange(self.first, self.first + self.rows)

    def read(self, wanted: ScanColumn) -> Column:
        """Return a column in its declared type.

        Raises:
            SourceDrift: a value does not fit the type.
            InvalidTime: a time is out of range.
        """
        return self._conform(self.file.read(self.number, wanted.column), wanted, None)

    def take(self, wanted: ScanColumn, rows: Ints) -> Column:
        """Return some values of a column in its declared type; only these are looked at.

        Args:
            wanted: the column.
            rows: which rows, from 0 within the group, in any order.
        """
        return self._conform(self.file.read(self.number, wanted.column).take(pa.array(rows)), wanted, rows)

    def stored_bytes(self, column: str) -> int:
        """Return how many bytes a column, with all that is nested in it, takes before compression."""
        footer = self.file.footer
        leaves = [n for n in range(footer.num_columns) if footer.schema.column(n).path.split(".")[0] == column.split(".")[0]]
        return sum(footer.row_group(self.number).column(leaf).total_uncompressed_size for leaf in leaves)

    def may_have(self, time: str, span: Span) -> bool:
        """Tell whether a row of the group may lie in a span of times, by what the footer says of a column of times."""
        ends = _ends(self.file, self.number, time)
        if ends is None:
            return True
        return (span.start is None or ends[1] >= span.start) and (span.end is None or ends[0] <= span.end)

    def _conform(self, column: Column, wanted: ScanColumn, rows: Ints | None) -> Column:
        what = f"column {wanted.column!r} of {self.file.path}"
        try:
            return self.file.convert(column, wanted.type, what)
        except (SourceDrift, InvalidTime) as error:
            bad = _first_misfit(self.file.convert, column, wanted.type)
            row = self.first_in_file + (bad if rows is None else int(rows[bad]))
            message = f"{what}, row {row}: {_shown(column[bad])} does not fit {wanted.type}"
            raise type(error)(message, cure=error.cure) from error


@dataclass(frozen=True, slots=True)
class Source:
    """The files behind a scan, opened; every column of the scan is there, with a type that can hold the declared one."""

    scan: Scan
    """What is read from it."""
    groups: tuple[Group, ...]
    """Its row groups that have rows, in the order of their places."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def within(self, span: Span) -> list[Group]:
        """Return the groups that may have rows in a span of event times."""
        return [group for group in self.groups if group.may_have(self.scan.time, span)]


@contextlib.contextmanager
def opened(scan: Scan, folder: str, pool: Executor) -> Iterator[Source]:
    """Open the files behind a scan; copies of text files are thrown away at the end.

    Args:
        scan: what is to be read.
        folder: where copies of text files go; empty: the system's folder.
        pool: reads footers and text files.

    Raises:
        SourceMissing: there are no files.
        SourceUnreadable: a file is not of its format.
        SourceDrift: a column is missing, or its type cannot hold the declared one.
        StoreFull: no space is left for a copy.
    """
    wanted = _columns(scan)
    with tempfile.TemporaryDirectory(prefix="likewise-", dir=folder or None) as copies:
        names = [column.column for column in wanted]
        files = list(pool.map(partial(_open, columns=names, copies=copies), *zip(*files_of(scan.location), strict=True)))
        for file in files:
            _check(file, wanted, scan)
        yield Source(scan, tuple(_groups(files)))


def open_parquet(path: str) -> DataFile:
    """Read a Parquet file's footer.

    Raises:
        SourceUnreadable: it is not Parquet.
    """
    with naming(path):
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema()
        return DataFile(path, path, footer, dict(zip(schema.names, schema.types, strict=True)), conform)


@contextlib.contextmanager
def naming(path: str, form: str = "parquet") -> Iterator[None]:
    """Turn what a library says of a damaged file into an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, LikewiseError):
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise StoreFull(f"no space is left for a copy of {path}", cure="free some, or set temp_directory") from error
        raise SourceUnreadable(
            f"{path} cannot be read as {form}: {error}", cure="restore the file, or take it away"
        ) from error


def _open(path: str, form: str, columns: Sequence[str], copies: str) -> DataFile:
    if form == "parquet":
        return open_parquet(path)
    copy, convert = _FROM_TEXT[form]
    handle, stored = tempfile.mkstemp(dir=copies)
    os.close(handle)
    with naming(path, form):
        names = copy(path, columns, stored)
        return DataFile(path, stored, pq.read_metadata(stored), dict.fromkeys(names), convert)


def _columns(scan: Scan) -> list[ScanColumn]:
    times = [ScanColumn(name, UnixTimestamp) for name in (scan.time, scan.created) if name]
    return [*scan.keys, *times, *scan.columns]


def _check(file: DataFile, wanted: Sequence[ScanColumn], scan: Scan) -> None:
    for column in wanted:
        if column.column not in file.columns:
            raise SourceDrift(
                f"{file.path} has no column {column.column!r}, which view {scan.view!r} reads",
                cure=near_misses(column.column, list(file.columns)),
            )
        held = file.columns[column.column]
        if held is not None and not accepts(column.type, held):
            raise SourceDrift(
                f"column {column.column!r} of {file.path} holds {held}, and view {scan.view!r} reads {column.type}",
                cure="retype the column, or the field",
            )


def _groups(files: Sequence[DataFile]) -> Iterator[Group]:
    first = 0
    for file in files:
        in_file = 0
        for number in range(file.footer.num_row_groups):
            rows = file.footer.row_group(number).num_rows
            if rows:
                yield Group(file, number, first + in_file, in_file, rows)
            in_file += rows
        first += in_file


def _ends(file: DataFile, group: int, column: str) -> tuple[int, int] | None:
    """Return the first and last time of a column in a row group, in microseconds; None where the footer does not say."""
    schema = file.footer.schema
    if file.columns[column] is None or column not in schema.names:
        return None
    leaf = schema.names.index(column)
    statistics = file.footer.row_group(group).column(leaf).statistics
    if schema.column(leaf).path != column or statistics is None or not statistics.has_min_max:
        return None
    kind = json.loads(schema.column(leaf).logical_type.to_json())
    if kind["Type"] == "Date":
        factor, divisor = _DAY, 1
    elif kind["Type"] == "Timestamp":
        factor, divisor = _PER_MICRO[kind["timeUnit"]]
    else:
        return None
    return statistics.min_raw * factor // divisor, statistics.max_raw * factor // divisor


def _first_misfit(convert: Converter, column: Column, declared: FeatureType) -> int:
    """Find the first value that does not fit, by halves."""
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            convert(column.slice(start, middle - start), declared, "")
            start = middle
        except (SourceDrift, InvalidTime):
            stop = middle
    return start


def _shown(value: pa.Scalar) -> str:
    """Show a value; a time as the whole number that it is, which may have no date."""
    return repr(value.value if pa.types.is_timestamp(value.type) else value.as_py())
