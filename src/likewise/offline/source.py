"""Source: the files behind a scan, opened and checked, and read a row group at a time in declared types.

A source's rows are numbered from 0 in the order that S2 ranks them by: files in path order, rows in file order. Such a
number is a row's *place*.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from likewise.core.columns import Column, conform, first_misfit, shown, without_views
from likewise.core.errors import InvalidTime, LikewiseError, SourceDrift, SourceUnreadable
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, UnixTimestamp, accepts
from likewise.offline.asof import Ints
from likewise.offline.base import Span
from likewise.offline.chunks import take
from likewise.offline.disk import room_for
from likewise.offline.files import file_stamp, files_of
from likewise.offline.text import copy_csv, copy_json_lines, count_csv, count_json_lines, from_csv, from_json
from likewise.plan.scan import Scan, ScanColumn

Converter = Callable[[Column, FeatureType, str], Column]
"""Turns a column of a file into one of a declared type, or raises SourceDrift or InvalidTime."""
_FROM_TEXT = {"csv": (copy_csv, from_csv), "jsonl": (copy_json_lines, from_json)}
_PER_MICRO = {"milliseconds": (1000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1000)}
_DAY = 86_400_000_000


class OpenFiles:
    """Parquet files that stay open between reads, a few at a time: opening one with many columns takes long.

    Args:
        most: how many may be idle.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._idle: list[tuple[str, pq.ParquetFile]] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def borrow(self, wanted: DataFile) -> Iterator[pq.ParquetFile]:
        """Give a file to one thread for as long as it reads."""
        file = self._idle_one(wanted.stored) or self._open(wanted)
        try:
            yield file
        finally:
            self._put(wanted.stored, file)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for _, file in self._idle:
                file.close()
            self._idle = []

    def _open(self, wanted: DataFile) -> pq.ParquetFile:
        """Open a file, unless it is no longer the one whose footer was read."""
        file = pq.ParquetFile(wanted.stored, metadata=wanted.footer)
        if file_stamp(wanted.stored) == wanted.stamp:
            return file
        file.close()
        raise SourceUnreadable(f"{wanted.path} was changed while it was read", cure="try again")

    def _idle_one(self, path: str) -> pq.ParquetFile | None:
        with self._lock:
            for position in range(len(self._idle) - 1, -1, -1):
                if self._idle[position][0] == path:
                    return self._idle.pop(position)[1]
        return None

    def _put(self, path: str, file: pq.ParquetFile) -> None:
        with self._lock:
            self._idle.append((path, file))
            if len(self._idle) > self._most:
                self._idle.pop(0)[1].close()


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
    handles: OpenFiles
    """What keeps it open between reads."""
    stamp: tuple[int, int, int]
    """What :func:`likewise.offline.files.file_stamp` gave for the Parquet file before its footer was read."""

    def read(self, group: int, columns: Sequence[str]) -> list[pa.ChunkedArray]:
        """Read some columns of one row group; one that is named twice is read once.

        Raises:
            SourceUnreadable: the bytes are damaged.
        """
        with naming(self.path), self.handles.borrow(self) as file:
            table = file.read_row_group(group, columns=list(dict.fromkeys(columns)), use_threads=False)
            return [without_views(table.column(column)) for column in columns]


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

    def read(self, wanted: Sequence[ScanColumn]) -> list[Column]:
        """Return columns in their declared types.

        Raises:
            SourceDrift: a value does not fit its type.
            InvalidTime: a time is out of range.
        """
        found = self.file.read(self.number, [one.column for one in wanted])
        return [self._conform(column, one, None) for column, one in zip(found, wanted, strict=True)]

    def take(self, wanted: Sequence[ScanColumn], rows: Ints) -> list[Column]:
        """Return some values of columns in their declared types; only these are looked at.

        Args:
            wanted: the columns.
            rows: which rows, from 0 within the group, in any order.
        """
        index = pa.array(rows)
        found = self.file.read(self.number, [one.column for one in wanted])
        return [self._conform(take(column, index), one, rows) for column, one in zip(found, wanted, strict=True)]

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
            bad = first_misfit(lambda part: self.file.convert(part, wanted.type, ""), column)
            row = self.first_in_file + (bad if rows is None else int(rows[bad]))
            message = f"{what}, row {row}: {shown(column[bad])} does not fit {wanted.type}"
            raise type(error)(message, cure=error.cure) from error


@dataclass(frozen=True, slots=True)
class Source:
    """The files behind a scan, opened; every column of the scan is there, of a type that can hold the declared one."""

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
    paths, forms = zip(*files_of(scan.location), strict=True)
    with (
        tempfile.TemporaryDirectory(prefix="likewise-", dir=folder or None) as copies,
        contextlib.closing(OpenFiles()) as handles,
    ):
        opener = _Opener([column.column for column in wanted], copies, handles)
        files = list(pool.map(opener.open, paths, forms))
        for file in files:
            _check(file.path, file.columns, wanted, scan)
        yield Source(scan, tuple(_groups(files)))


def read_footer(path: str) -> tuple[pq.FileMetaData, pa.Schema]:
    """Read a Parquet file's footer, and the columns it tells of.

    Raises:
        SourceUnreadable: it is not Parquet.
    """
    with naming(path):
        footer = pq.read_metadata(path)
        return footer, footer.schema.to_arrow_schema()


@dataclass(frozen=True, slots=True)
class _Opener:
    columns: Sequence[str]
    copies: str
    handles: OpenFiles

    def open(self, path: str, form: str) -> DataFile:
        if form == "parquet":
            with naming(path):
                stamp = file_stamp(path)
            footer, schema = read_footer(path)
            types = dict(zip(schema.names, schema.types, strict=True))
            return DataFile(path, path, footer, types, conform, self.handles, stamp)
        copy, convert = _FROM_TEXT[form]
        handle, stored = tempfile.mkstemp(dir=self.copies)
        os.close(handle)
        with naming(path, form), room_for(f"a copy of {path}"):
            names = copy(path, self.columns, stored)
            stamp, footer = file_stamp(stored), pq.read_metadata(stored)
            return DataFile(path, stored, footer, dict.fromkeys(names), convert, self.handles, stamp)


def count_rows(scan: Scan, pool: Executor) -> int:
    """Return how many rows the files of a source have.

    Raises:
        SourceMissing: there are no files.
        SourceUnreadable: a file is not of its format.
        SourceDrift: a column is missing from a Parquet file, or its type cannot hold the declared one.
    """
    return sum(pool.map(partial(_count, scan), *zip(*files_of(scan.location), strict=True)))


def _count(scan: Scan, path: str, form: str) -> int:
    if form == "parquet":
        footer, schema = read_footer(path)
        _check(path, dict(zip(schema.names, schema.types, strict=True)), _columns(scan), scan)
        return int(footer.num_rows)
    with naming(path, form):
        return count_csv(path) if form == "csv" else count_json_lines(path)


@contextlib.contextmanager
def naming(path: str, form: str = "parquet") -> Iterator[None]:
    """Turn what a library says of a damaged file into an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, LikewiseError):
            raise
        raise SourceUnreadable(
            f"{path} cannot be read as {form}: {error}", cure="restore the file, or take it away"
        ) from error


def _columns(scan: Scan) -> list[ScanColumn]:
    times = [ScanColumn(name, UnixTimestamp) for name in (scan.time, scan.created) if name]
    return [*scan.keys, *times, *scan.columns]


def _check(path: str, columns: Mapping[str, pa.DataType | None], wanted: Sequence[ScanColumn], scan: Scan) -> None:
    for column in wanted:
        if column.column not in columns:
            raise SourceDrift(
                f"{path} has no column {column.column!r}, which view {scan.view!r} reads",
                cure=f"Write the column again, or remove it from the view; {near_misses(column.column, list(columns))}",
            )
        held = columns[column.column]
        if held is not None and not accepts(column.type, held):
            raise SourceDrift(
                f"column {column.column!r} of {path} holds {held}, and view {scan.view!r} reads {column.type}",
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
    """Return the first and last time of a column in a row group in microseconds; None if the footer does not say."""
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
