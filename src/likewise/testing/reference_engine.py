"""ReferenceEngine: the offline engine that is slow but obvious: it reads files into plain values and asks the oracle.

It is real: whatever a quick engine answers, this one answers, in loops over Python values. Use it to check another
engine, or where a few thousand rows must be joined and nothing else is at hand. It holds a whole source in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from likewise.core.errors import NotSupported
from likewise.core.types import UnixTimestamp, arrow_type
from likewise.offline.base import CREATED_TIME, EVENT_TIME, OfflineEngine, Part, Span
from likewise.offline.files import add_file
from likewise.plan.scan import Location, Scan
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.testing import oracle
from likewise.testing.reference_files import common_schema, read_files, scan_rows
from likewise.testing.reference_values import plain_values

_ALL = Part()
_BATCH = 10_000


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

    def count(self, scan: Scan) -> int:
        """Return the number of rows of a source."""
        return sum(file.rows for file in read_files(scan.location))

    def append(self, location: Location, rows: pa.Table) -> str:
        """Add rows to a source as one new file, and return its path."""
        return add_file(location, rows)

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Refuse: this engine speaks no SQL."""
        raise NotSupported(
            "the reference engine runs no SQL", cure="give the rows as a table, or use the duckdb engine"
        )

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _joined(join: AsOfJoin, table: pa.Table, times: Sequence[Any], known_by: bool) -> list[oracle.Found]:
    rows = _by_key(scan_rows(join.scan))
    columns = [plain_values(table.column(name)) for name in join.spine_keys]
    keys = zip(*columns, strict=True) if columns else [()] * len(times)
    return [oracle.as_of(rows.get(key, ()), key, t, join.ttl, known_by) for key, t in zip(keys, times, strict=True)]


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
