"""ReferenceEngine: the offline engine that is slow but obvious: it reads files into plain values and asks the oracle.

It is real: whatever a quick engine answers, this one answers, in loops over Python values. Use it to check another
engine, or where a few thousand rows must be joined and nothing else is at hand. It holds a whole source in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cmp_to_key
from typing import Any

import pyarrow as pa

from likewise.core.aggregates import aggregate_for
from likewise.core.columns import Column
from likewise.core.errors import NotSupported
from likewise.core.results import declared_results
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type
from likewise.offline.base import CREATED_TIME, EVENT_TIME, ORDER, OfflineEngine, Part, Removed, Span
from likewise.offline.duckdb_expression import expression_type
from likewise.offline.duckdb_inputs import Evaluator
from likewise.offline.duckdb_sql import Session
from likewise.offline.files import add_file, files_of, remove_rows
from likewise.offline.source_lock import guarded
from likewise.plan.scan import Location, Scan
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.plan.windows import WindowInput, WindowJoin
from likewise.testing import oracle
from likewise.testing.reference_files import common_schema, read_files, scan_rows
from likewise.testing.reference_values import plain_values

__all__ = ["ReferenceEngine"]

_ALL = Part()
_BATCH = 10_000
_SQL_MEMORY = 1 << 28


class ReferenceEngine(OfflineEngine):
    """Answers from local files by looping over their rows.

    Example:
        >>> import pyarrow.parquet as pq
        >>> from likewise.core.types import Int64, String
        >>> from likewise.plan.scan import ScanColumn
        >>> at = pa.array([1, 2], pa.timestamp("us"))
        >>> pq.write_table(pa.table({"user": [7, 7], "at": at, "colour": ["a", "b"]}), "c.parquet")
        >>> user, colour = ScanColumn("user", Int64), ScanColumn("colour", String)
        >>> scan = Scan("colours", Location("c.parquet", "parquet"), "at", "", (user,), (colour,))
        >>> [batch.column("f0").to_pylist() for batch in ReferenceEngine().latest(scan, Span(None, None))]
        [['b']]
    """

    def schema(self, location: Location) -> pa.Schema:
        """Return the columns of a source and their types."""
        return common_schema(location)

    def training(self, plan: TrainingPlan, spine: pa.Table | pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the entity rows with the joins' outputs after their columns."""
        table = spine if isinstance(spine, pa.Table) else spine.read_all()
        times = plain_values(table.column(plan.time))
        for join in plan.joins:
            answers = _joined(join, table, times, plan.known_by)
            for number, (output, column) in enumerate(zip(join.outputs, join.scan.columns, strict=True)):
                values = pa.array([found.value(number) for found in answers], arrow_type(column.type))
                table = table.append_column(output, values)
        for windows in plan.windows:
            for output, column in zip(
                windows.outputs, self._windowed(windows, table, times, plan.known_by), strict=True
            ):
                table = table.append_column(output, column)
        return table.to_reader(_BATCH)

    def latest(self, scan: Scan, span: Span, part: Part = _ALL) -> Iterator[pa.RecordBatch]:
        """Return the latest row of each key among the rows of a span of event times."""
        kept: list[oracle.Row] = []
        for key, rows in _by_key(scan_rows(scan)).items():
            if _part_of(key, part.of) == part.number:
                kept.extend(oracle.latest(rows, span.start, span.end))
        return _batches(scan, kept)

    def rows(self, scan: Scan, span: Span) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times, in file order."""
        found = [row for rows in _by_key(scan_rows(scan)).values() for row in rows if _is_in(row, span)]
        return _batches(scan, sorted(found, key=lambda row: row.order))

    def compute(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        """Return the inputs' values; SQL is computed by DuckDB, as everywhere."""
        evaluator = Evaluator(Session(_SQL_MEMORY, 1, ""))
        try:
            return evaluator.values(rows, inputs)
        finally:
            evaluator.close()

    def events(
        self, scan: Scan, inputs: Sequence[WindowInput], span: Span, part: Part = _ALL
    ) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times that have a key, by key and S2."""
        found: list[oracle.Row] = []
        for key, rows in _by_key(self._inputs(scan, inputs)).items():
            if oracle.same_key(key, key) and _part_of(key, part.of) == part.number:
                later = cmp_to_key(_compared)
                found.extend(sorted((row for row in rows if _is_in(row, span)), key=later))
        return _event_batches(scan, inputs, found)

    def _inputs(self, scan: Scan, inputs: Sequence[WindowInput]) -> list[oracle.Row]:
        """Return a source's events with the windows' inputs as their values."""
        rows = scan_rows(scan)
        names = sorted({name for given in inputs for name in given.columns})
        table = pa.table({ORDER: [row.order for row in rows]})
        for number, (name, column) in enumerate(zip(names, scan.columns, strict=True)):
            table = table.append_column(name, pa.array([row.values[number] for row in rows], arrow_type(column.type)))
        columns = [plain_values(column) for column in self.compute(table, inputs)]
        return [replace(row, values=tuple(column[row.order] for column in columns)) for row in rows]

    def _windowed(self, join: WindowJoin, table: pa.Table, times: Sequence[Any], known_by: bool) -> list[Column]:
        """Return each feature of a set of windows at the entity rows' times."""
        rows = _by_key(self._inputs(join.scan, join.windows.inputs))
        keys = _keys(table, join.spine_keys)
        columns = []
        for feature in join.windows.features:
            values = [
                oracle.windowed(rows.get(key, ()), key, t, feature.window, feature.function, feature.input, known_by)
                for key, t in zip(keys, times, strict=True)
            ]
            own = aggregate_for(feature.function, join.windows.inputs[feature.input].type).output
            columns.append(declared_results(pa.array(values, arrow_type(own)), feature.type, feature.name))
        return columns

    def count(self, scan: Scan) -> int:
        """Return the number of rows of a source."""
        return sum(file.rows for file in read_files(scan.location))

    def pinned(self, location: Location) -> Location:
        """Return a location that stands for the files that a source has now."""
        return replace(location, files=tuple(files_of(location)))

    def guarded(self, location: Location, alone: bool) -> AbstractContextManager[None]:
        """Keep others from adding files to a source while one looks which there are, and the other way round."""
        return guarded(location, alone)

    def append(self, location: Location, rows: pa.Table, token: bytes | None = None) -> str:
        """Add rows to a source as one new file, and return its path."""
        return add_file(location, rows, token)

    def remove(self, location: Location, keys: Mapping[str, pa.Scalar]) -> Removed:
        """Remove the rows of a key from the files that were added to a source."""
        return remove_rows(location, keys)

    def query(self, sql: str, tables: Mapping[str, pa.RecordBatchReader] | None = None) -> pa.RecordBatchReader:
        """Refuse: this engine speaks no SQL."""
        raise NotSupported(
            "the reference engine runs no SQL", cure="give the rows as a table, or use the duckdb engine"
        )

    def expression_type(self, sql: str, columns: Sequence[tuple[str, FeatureType]]) -> pa.DataType:
        """Return the type of the values of an SQL expression, as DuckDB tells it, which computes them everywhere."""
        return expression_type(Session(_SQL_MEMORY, 1, ""), sql, columns)

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _joined(join: AsOfJoin, table: pa.Table, times: Sequence[Any], known_by: bool) -> list[oracle.Found]:
    rows = _by_key(scan_rows(join.scan))
    keys = _keys(table, join.spine_keys)
    return [oracle.as_of(rows.get(key, ()), key, t, join.ttl, known_by) for key, t in zip(keys, times, strict=True)]


def _compared(one: oracle.Row, other: oracle.Row) -> int:
    return oracle.is_later(one, other) - oracle.is_later(other, one)


def _keys(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the key of each entity row."""
    parts = [plain_values(table.column(name)) for name in columns]
    return list(zip(*parts, strict=True)) if parts else [()] * table.num_rows


def _by_key(rows: Iterable[oracle.Row]) -> dict[tuple[Any, ...], list[oracle.Row]]:
    """Put rows with a whole key and a time together by key; this only spares the oracle rows that cannot count."""
    found: dict[tuple[Any, ...], list[oracle.Row]] = {}
    for row in rows:
        if None not in row.key and row.event is not None:
            found.setdefault(row.key, []).append(row)
    return found


def _is_in(row: oracle.Row, span: Span) -> bool:
    if row.event is None:
        return False
    return (span.start is None or span.start <= row.event) and (span.end is None or row.event <= span.end)


def _part_of(key: tuple[Any, ...], parts: int) -> int:
    same = tuple(part + 0.0 if isinstance(part, float) else part for part in key)  # -0.0 is the key 0.0
    return zlib.crc32(repr(same).encode("utf-8", "surrogatepass")) % parts


def _batches(scan: Scan, rows: Sequence[oracle.Row]) -> Iterator[pa.RecordBatch]:
    time = arrow_type(UnixTimestamp)
    names = [*(key.column for key in scan.keys), EVENT_TIME, CREATED_TIME]
    arrays = [pa.array([row.key[number] for row in rows], arrow_type(key.type)) for number, key in enumerate(scan.keys)]
    arrays += [pa.array([row.event for row in rows], time), pa.array([row.created for row in rows], time)]
    for number, column in enumerate(scan.columns):
        names.append(f"f{number}")
        arrays.append(pa.array([row.values[number] for row in rows], arrow_type(column.type)))
    return iter(pa.table(arrays, names).to_batches(_BATCH))


def _event_batches(scan: Scan, inputs: Sequence[WindowInput], rows: Sequence[oracle.Row]) -> Iterator[pa.RecordBatch]:
    time = arrow_type(UnixTimestamp)
    columns = {
        key.column: pa.array([row.key[n] for row in rows], arrow_type(key.type)) for n, key in enumerate(scan.keys)
    }
    columns[EVENT_TIME] = pa.array([row.event for row in rows], time)
    columns[CREATED_TIME] = pa.array([row.created for row in rows], time)
    columns[ORDER] = pa.array([row.order for row in rows], pa.int64())
    for number, given in enumerate(inputs):
        columns[f"i{number}"] = pa.array([row.values[number] for row in rows], arrow_type(given.type))
    return iter(pa.table(columns).to_batches(_BATCH))
