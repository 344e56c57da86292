"""DuckDBEngine: the embedded offline engine: local files, joined exactly, in bounded memory.

The joins are those of :mod:`likewise.offline.asof`: the entity rows are sorted, the source streams by. DuckDB does what
a database does best: it matches keys of any type, and runs the SQL of a caller who selects entity rows with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from likewise.config import OfflineStoreConfig
from likewise.core.columns import Column
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type
from likewise.offline.asof import Ints
from likewise.offline.base import CREATED_TIME, EVENT_TIME, OfflineEngine, Part, Removed, Span
from likewise.offline.duckdb_expression import expression_type
from likewise.offline.duckdb_inputs import Evaluator
from likewise.offline.duckdb_sql import Session, SqlMatcher, run_query
from likewise.offline.event_rows import event_schema, in_order, with_inputs
from likewise.offline.fetch import Fetched, fetch_in_order
from likewise.offline.files import add_file, files_of, fingerprint, remove_rows
from likewise.offline.joins import Spine, Tools, join_all, latest_places
from likewise.offline.match import comparable, flags, part_numbers, whole_numbers
from likewise.offline.memory import answer_bytes, parse_size, result_bytes, slices, usual_limit
from likewise.offline.narrow import ahead, in_span
from likewise.offline.schema import common_schema
from likewise.offline.source import Group, count_rows, opened
from likewise.offline.source_lock import guarded
from likewise.offline.spool import Spool, Spools
from likewise.offline.windows import window_all
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import TrainingPlan
from likewise.plan.windows import WindowInput

_ALL = Part()
_BATCH = 1 << 16
"""About how many rows a batch of an answer has."""
_BATCH_BYTES = 1 << 26
"""About how many bytes it takes at most."""


class DuckDBEngine(OfflineEngine):
    """Answers from local files, in memory that is bounded by a limit. Several threads may use one engine.

    Args:
        memory_limit: how much memory one computation may use, such as ``4GB``; empty: 60 % of the machine's.
        threads: how many threads it may use; 0: one for each core.
        temp_directory: where to spill; empty: the system's folder.

    Raises:
        ConfigError: the memory limit is no size.

    Example:
        >>> DuckDBEngine().query("SELECT 7 AS user").read_all().to_pylist()
        [{'user': 7}]
    """

    def __init__(self, memory_limit: str = "", threads: int = 0, temp_directory: str = "", search: str = "") -> None:
        self._memory = parse_size(memory_limit) if memory_limit else usual_limit()
        self._threads = threads or os.cpu_count() or 1
        self._folder = temp_directory
        self._spools = Spools()
        self._session = Session(self._memory // 2, self._threads, temp_directory, search)
        self._evaluator = Evaluator(self._session)

    @classmethod
    def open(cls, config: OfflineStoreConfig, root: str) -> DuckDBEngine:
        """Return the engine that a configuration asks for.

        Args:
            config: the configuration.
            root: the repo's folder, where relative paths start.
        """
        folder = str(Path(root) / config.temp_directory) if config.temp_directory else ""
        return cls(config.memory_limit, config.threads, folder, search=root)

    def schema(self, location: Location) -> pa.Schema:
        """Return the columns of a source and their types, alike in all of its files, in file order."""
        return common_schema(location)

    def training(self, plan: TrainingPlan, spine: pa.Table | pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the entity rows, in their order and with all their columns, and the joins' outputs after them."""
        rows = spine if isinstance(spine, pa.Table) else spine.read_all()
        pairs = [(name, c.type) for join in plan.joins for name, c in zip(join.outputs, join.scan.columns, strict=True)]
        for computed in plan.windows:
            pairs += [(name, f.type) for name, f in zip(computed.outputs, computed.windows.features, strict=True)]
        outputs = [pa.field(name, arrow_type(kind)) for name, kind in pairs]
        schema = pa.schema([*rows.schema, *outputs])
        return pa.RecordBatchReader.from_batches(schema, self._training(plan, rows, schema))

    def latest(self, scan: Scan, span: Span, part: Part = _ALL) -> Iterator[pa.RecordBatch]:
        """Return the latest row (S2) of each key among the rows of a span of event times."""
        if part.of == 1:
            return self._latest(scan, span)
        stamp = scan, span, part.of, fingerprint(scan.location)
        return self._spools.part(stamp, part.number, lambda: self._spool(scan, span, part.of))

    def rows(self, scan: Scan, span: Span) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times, in file order."""
        columns, schema = _columns(scan)
        with self._working() as (pool, stack):
            source = stack.enter_context(opened(scan, self._folder, pool))
            found = ahead(pool, lambda group: _take(group, scan, span, columns), source.within(span))
            yield from _batches(scan, schema, found)

    def compute(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        """Return the values that windows aggregate, for rows in memory; a column for each input."""
        return self._evaluator.values(rows, inputs)

    def events(
        self, scan: Scan, inputs: Sequence[WindowInput], span: Span, part: Part = _ALL
    ) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times that have a key, those of one key together and in S2's order."""
        if part.of == 1:
            return in_order(scan, self._events(scan, inputs, span), event_schema(scan, inputs))
        stamp = "events", scan, tuple(inputs), span, part.of, fingerprint(scan.location)
        spooled = self._spools.part(stamp, part.number, lambda: self._spool_events(scan, inputs, span, part.of))
        return in_order(scan, spooled, event_schema(scan, inputs))

    def state_of(self, scan: Scan) -> str:
        """Return a text that is another one once a file of the source was added, removed or written anew."""
        return hashlib.sha256(repr(fingerprint(scan.location)).encode()).hexdigest()

    def count(self, scan: Scan) -> int:
        """Return the number of rows of a source; text files are read for it."""
        with self._working() as (pool, _):
            return count_rows(scan, pool)

    def pinned(self, location: Location) -> Location:
        """Return a location that stands for the files that a source has now."""
        return replace(location, files=tuple(files_of(location)))

    def guarded(self, location: Location, alone: bool) -> AbstractContextManager[None]:
        """Keep others from adding files to a source while one looks which there are, and the other way round."""
        return guarded(location, alone)

    def append(self, location: Location, rows: pa.Table, token: bytes | None = None) -> str:
        """Add rows to a source as one new Parquet file, and return its path (:mod:`likewise.offline.files`)."""
        return add_file(location, rows, token)

    def remove(self, location: Location, keys: Mapping[str, pa.Scalar]) -> Removed:
        """Remove the rows of a key from the files that were added to a source."""
        return remove_rows(location, keys)

    def query(self, sql: str, tables: Mapping[str, pa.RecordBatchReader] | None = None) -> pa.RecordBatchReader:
        """Run one SQL query, and return its rows in order; paths in it start from the working folder or the repo.

        Raises:
            RequestError: it is not one query, or it cannot run.
        """
        return run_query(self._session, sql, tables)

    def expression_type(self, sql: str, columns: Sequence[tuple[str, FeatureType]]) -> pa.DataType:
        """Return the type of the values of an SQL expression over columns of the types given."""
        return expression_type(self._session, sql, columns)

    def close(self) -> None:
        """Forget what is kept between the parts of :meth:`latest` and :meth:`events`; close what computes inputs."""
        self._spools.close()
        self._evaluator.close()

    def _training(self, plan: TrainingPlan, rows: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._working() as (pool, stack):
            scans = [*(join.scan for join in plan.joins), *(join.scan for join in plan.windows)]
            sources = [stack.enter_context(opened(scan, self._folder, pool)) for scan in scans]
            each = sum(map(answer_bytes, sources[: len(plan.joins)])) + sum(map(result_bytes, plan.windows))
            step = max(1024, min(_BATCH, _BATCH_BYTES // max(1, each)))
            for start, count in slices(rows.num_rows, each, self._memory):
                part = rows.slice(start, count)
                spine, tools = Spine(plan, part), self._tools(pool)
                found = join_all(plan, spine, sources[: len(plan.joins)], tools)
                found += window_all(plan, spine, sources[len(plan.joins) :], tools)
                answer = partial(_answer, part, found, schema, step)
                for table in ahead(pool, answer, range(0, count, step)):
                    yield from table.to_batches()
                del answer, found  # before the next slice takes its room

    def _latest(self, scan: Scan, span: Span) -> Iterator[pa.RecordBatch]:
        columns, schema = _columns(scan)
        with self._working() as (pool, stack):
            source = stack.enter_context(opened(scan, self._folder, pool))
            places = latest_places(source, span, self._tools(pool))
            yield from _batches(scan, schema, fetch_in_order(source, columns, places, pool))

    def _events(self, scan: Scan, inputs: Sequence[WindowInput], span: Span) -> Iterator[pa.RecordBatch]:
        """Yield events in file order."""
        columns, schema = _columns(scan)[0], event_schema(scan, inputs)
        with self._working() as (pool, stack):
            source = stack.enter_context(opened(scan, self._folder, pool))

            def read(group: Group) -> list[Column]:
                found = _take(group, scan, span, columns, placed=True)
                return with_inputs(scan, found, inputs, self._evaluator.values)

            yield from _batches(scan, schema, ahead(pool, read, source.within(span)))

    def _spool(self, scan: Scan, span: Span, parts: int) -> Spool:
        rows = ((batch, _parts(scan, batch, parts)) for batch in self._latest(scan, span))
        return Spool(self._folder, _columns(scan)[1], parts, rows)

    def _spool_events(self, scan: Scan, inputs: Sequence[WindowInput], span: Span, parts: int) -> Spool:
        rows = ((batch, _parts(scan, batch, parts)) for batch in self._events(scan, inputs, span))
        return Spool(self._folder, event_schema(scan, inputs), parts, rows)

    @contextlib.contextmanager
    def _working(self) -> Iterator[tuple[ThreadPoolExecutor, contextlib.ExitStack]]:
        """Give a computation its threads, and a stack for what it opens."""
        if self._folder:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self._threads, "likewise-offline") as pool, contextlib.ExitStack() as stack:
            yield pool, stack

    def _tools(self, pool: ThreadPoolExecutor) -> Tools:
        return Tools(pool, SqlMatcher(self._session), self._memory, self._evaluator.values)


def _answer(spine: pa.Table, found: Sequence[Fetched], schema: pa.Schema, count: int, start: int) -> pa.Table:
    """Return some entity rows with the joins' outputs after their columns."""
    outputs = [column for part in found for column in part.slice(start, count)]
    return pa.table([*spine.slice(start, count).columns, *outputs], schema=schema)


def _columns(scan: Scan) -> tuple[list[ScanColumn], pa.Schema]:
    """Return what latest() and rows() read, and what they return: a column of created times in any case."""
    time = arrow_type(UnixTimestamp)
    times = [ScanColumn(name, UnixTimestamp) for name in (scan.time, scan.created) if name]
    fields = [(key.column, arrow_type(key.type)) for key in scan.keys] + [(EVENT_TIME, time), (CREATED_TIME, time)]
    fields += [(f"f{number}", arrow_type(column.type)) for number, column in enumerate(scan.columns)]
    return [*scan.keys, *times, *scan.columns], pa.schema(fields)


def _take(group: Group, scan: Scan, span: Span, columns: list[ScanColumn], placed: bool = False) -> list[Column]:
    """Return the columns of a group's rows that are in a span and have a key; if asked, with places after the times."""
    found = group.read(columns)
    if placed:
        found.insert(len(scan.keys) + (2 if scan.created else 1), pa.array(group.places))
    chosen = in_span(whole_numbers(found[len(scan.keys)]), span)
    for column in found[: len(scan.keys)]:
        if column.null_count:
            chosen &= flags(column.is_valid())
    return found if chosen.all() else [column.filter(pa.array(chosen)) for column in found]


def _batches(scan: Scan, schema: pa.Schema, found: Iterable[list[Column]]) -> Iterator[pa.RecordBatch]:
    """Yield columns as batches, small ones together."""
    waiting: list[pa.Table] = []
    for columns in found:
        if not scan.created:
            columns.insert(len(scan.keys) + 1, pa.nulls(len(columns[0]), arrow_type(UnixTimestamp)))
        waiting.append(pa.table(columns, schema=schema))
        if sum(table.num_rows for table in waiting) >= _BATCH:
            yield from _joined(waiting)
            waiting = []
    yield from _joined(waiting)


def _parts(scan: Scan, batch: pa.RecordBatch, parts: int) -> Ints:
    """Return which part each row's key is in."""
    keys = [comparable(column, key.type) for column, key in zip(batch.columns, scan.keys, strict=False)]
    return part_numbers(keys, parts, batch.num_rows)


def _joined(tables: list[pa.Table]) -> list[pa.RecordBatch]:
    return pa.concat_tables(tables).combine_chunks().to_batches(max_chunksize=_BATCH) if tables else []
