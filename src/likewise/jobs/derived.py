"""DerivedEngine: an offline engine that also reads rows that lie in no file: those that views' functions make.

They are made when they are first read, and kept as Parquet in a folder of their own, under a name that says what they
were made of: the state of the source's files, the functions, and their columns. So whoever reads a derived view, be it
for training or for materialization, reads the same rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from likewise.core.columns import Column, conform
from likewise.core.errors import RequestError, SourceDrift, SourceError
from likewise.core.names import near_misses
from likewise.core.time import from_micros
from likewise.core.types import FeatureType, arrow_type, type_from_arrow
from likewise.define.view import FeatureView
from likewise.jobs.files import write_parquet
from likewise.offline.base import OfflineEngine, Part, Removed, Span
from likewise.offline.files import fingerprint
from likewise.plan.scan import Derivation, GivenRows, Location, Scan, ScanColumn, derivation_of, refuse_foreign
from likewise.plan.training import TrainingPlan
from likewise.plan.windows import WindowInput
from likewise.transform.rows import Query, RowsRunner

MakeRunner = Callable[[Derivation, Query], RowsRunner]
"""Returns what runs a view's function."""
FOLDER = Path(".likewise", "derived")
"""Where the rows are kept, below the repo."""
MOST = 64
"""How many sets of rows are kept."""
MOST_ALIKE = 2
"""How many of them are kept of one view, but for those that were read lately: those of the source's last states."""
LATELY = 3600
"""For how many seconds rows that were read may still be read by somebody."""
FORMAT = 1
"""Counts up when the same functions would make other rows."""
SAMPLE = 1000
"""How many of a source's first rows tell which columns a function makes."""
_ALWAYS = Span(None, None)
_ALL = Part()


class DerivedEngine(OfflineEngine):
    """Reads files with another engine, and makes the rows of derived views before that one reads them.

    Args:
        engine: the other engine.
        make_runner: returns what runs a view's function.
        folder: where rows are kept; it is made when the first ones are.
    """

    def __init__(self, engine: OfflineEngine, make_runner: MakeRunner, folder: Path) -> None:
        self._engine = engine
        self._make_runner = make_runner
        self._folder = folder
        self._lock = threading.RLock()

    def schema(self, location: Location) -> pa.Schema:
        """Return the columns of a source and their types."""
        return self._engine.schema(self._made(location))

    def training(self, plan: TrainingPlan, spine: pa.Table | pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the entity rows, in their order and with all their columns, and the joins' outputs after them."""
        joins = tuple(replace(join, scan=self._readable(join.scan)) for join in plan.joins)
        windows = tuple(replace(join, scan=self._readable(join.scan)) for join in plan.windows)
        return self._engine.training(replace(plan, joins=joins, windows=windows), spine)

    def latest(self, scan: Scan, span: Span, part: Part = _ALL) -> Iterator[pa.RecordBatch]:
        """Return the latest row (S2) of each key among the rows of a span of event times."""
        return self._engine.latest(self._readable(scan), span, part)

    def rows(self, scan: Scan, span: Span) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times, in their order."""
        return self._engine.rows(self._readable(scan), span)

    def compute(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        """Return the values that windows aggregate, for rows in memory."""
        return self._engine.compute(rows, inputs)

    def events(
        self, scan: Scan, inputs: Sequence[WindowInput], span: Span, part: Part = _ALL
    ) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times that have a key, those of one key together and in S2's order."""
        return self._engine.events(self._readable(scan), inputs, span, part)

    def pinned(self, location: Location) -> Location:
        """Return a location that stands for the rows that a source has now, whatever is added to it later."""
        derivation = location.derivation
        if derivation is None:
            return self._engine.pinned(location)
        given = tuple(replace(rows, scan=self._pinned_scan(rows.scan)) for rows in derivation.given)
        return replace(location, derivation=replace(derivation, given=given))

    @contextlib.contextmanager
    def guarded(self, location: Location, alone: bool) -> Iterator[None]:
        """Keep others from adding files to the sources of rows while one looks which there are, and the reverse."""
        own = [location] if location.derivation is None else _sources(location.derivation)
        with contextlib.ExitStack() as stack:
            for source in sorted(dict.fromkeys(own), key=lambda source: source.path):
                stack.enter_context(self._engine.guarded(source, alone))
            yield

    def count(self, scan: Scan) -> int:
        """Return the number of rows."""
        return self._engine.count(self._readable(scan))

    def state_of(self, scan: Scan) -> str:
        """Return a text that is another one once the source, or what is made of it, has changed."""
        return self._engine.state_of(self._readable(scan))

    def append(self, location: Location, rows: pa.Table, token: bytes | None = None) -> str:
        """Add rows to a source as one new file, and return its path."""
        return self._engine.append(location, rows, token)

    def remove(self, location: Location, keys: Mapping[str, pa.Scalar]) -> Removed:
        """Remove the rows of a key from the files that were added to a source."""
        return self._engine.remove(location, keys)

    def query(self, sql: str, tables: Mapping[str, pa.RecordBatchReader] | None = None) -> pa.RecordBatchReader:
        """Run one SQL query, and return its rows in order."""
        return self._engine.query(sql, tables)

    def expression_type(self, sql: str, columns: Sequence[tuple[str, FeatureType]]) -> pa.DataType:
        """Return the type of the values of an SQL expression over columns of the types given."""
        return self._engine.expression_type(sql, columns)

    def close(self) -> None:
        """Release what the other engine holds; the rows that were made stay."""
        self._engine.close()

    def forget(self) -> None:
        """Remove all rows that were made; what is read again is made again."""
        with self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)

    def columns_of(self, view: FeatureView, root: str) -> pa.Schema | None:
        """Return the columns that a derived view's function makes of its source's first rows.

        Args:
            view: the view, whose sources are resolved.
            root: the repo's folder.

        Returns:
            None where there is no history, and what is pushed says nothing of its columns.

        Raises:
            TransformError: the function fails.
        """
        derivation = derivation_of(view, root)
        if any(not given.columns for given in derivation.given):
            return None
        found = self._runner_of(view, derivation).infer([table.to_reader() for table in self._samples(view, root)])
        return found

    def pushed(self, view: FeatureView, rows: pa.Table, root: str, now: int) -> pa.Table:
        """Return what a view's function makes of rows that are pushed: the same that it makes of a source's.

        Args:
            view: a view of a catalog, fed by a push source.
            rows: the rows, as they come from the push source; for a view without a function they stay as they are.
            root: the repo's folder.
            now: the created time of rows that have none, in microseconds since the epoch.

        Raises:
            RequestError: a column that the function is given is missing, or does not fit.
            TransformError: the function failed, or this process has another one than the applied one.
        """
        if not view.is_derived:
            return rows
        refuse_foreign(view)
        derivation = derivation_of(view, root)
        if view.source_views:
            [part] = view.source_views
            rows = self.pushed(part, rows, root, now)
            above = part
        else:
            above = view
        [given] = derivation.given
        if not given.columns:  # without history, and without a schema of what is pushed
            found = tuple(ScanColumn(column.name, type_from_arrow(column.type)) for column in rows.schema)
            given = replace(given, columns=found)
        runner = self._make_runner(replace(derivation, given=(given,)), self._engine.query)
        return runner.run([_given_of(above, given, rows, now).to_reader()]).read_all()

    def _pinned_scan(self, scan: Scan | None) -> Scan | None:
        return scan if scan is None else replace(scan, location=self.pinned(scan.location))

    def _readable(self, scan: Scan) -> Scan:
        return scan if scan.location.derivation is None else replace(scan, location=self._made(scan.location))

    def _made(self, location: Location) -> Location:
        """Return where the rows of a location lie in files, after making them if need be."""
        derivation = location.derivation
        if derivation is None:
            return location
        with self._lock:
            path = self._folder / _file_name(derivation)
            if path.exists():
                os.utime(path)
            else:
                self._make(derivation, path)
            return Location(str(path), "parquet", location.shown)

    def _make(self, derivation: Derivation, path: Path) -> None:
        runner = self._make_runner(derivation, self._engine.query)
        sources = [self._reader(given) for given in derivation.given]
        self._open_folder()
        write_parquet(runner.run(sources), path, allow_overwrite=True)
        _prune(self._folder, path)

    def _open_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / ".gitignore").write_text("*\n", encoding="utf-8")
        except OSError as error:
            what = f"the rows that functions make cannot be kept in {self._folder}: {error.strerror}"
            raise SourceError(what, cure="make it writable, or set temp_directory of the offline_store") from error

    def _reader(self, given: GivenRows) -> pa.RecordBatchReader:
        """Return the rows that a function is given, from files."""
        assert given.scan is not None
        scan = self._readable(given.scan)
        schema = _schema(given)
        batches = (_renamed(batch, schema) for batch in self._engine.rows(scan, _ALWAYS))
        return pa.RecordBatchReader.from_batches(schema, batches)

    def _samples(self, view: FeatureView, root: str) -> list[pa.Table]:
        """Return the first rows that a function is given, from each of its sources."""
        derivation = derivation_of(view, root)
        if not view.source_views:
            return [self._first(given) for given in derivation.given]
        return [
            self._sample(part, given, root) for part, given in zip(view.source_views, derivation.given, strict=True)
        ]

    def _sample(self, part: FeatureView, given: GivenRows, root: str) -> pa.Table:
        if not part.is_derived:
            return self._first(given)
        sources = [table.to_reader() for table in self._samples(part, root)]
        rows = self._runner_of(part, derivation_of(part, root)).run(sources).read_all()
        return rows.select([column.column for column in given.columns])

    def _first(self, given: GivenRows) -> pa.Table:
        schema = _schema(given)
        if given.scan is None:
            return schema.empty_table()
        batches = self._reader(given)
        found = next(iter(batches), None)
        return schema.empty_table() if found is None else pa.Table.from_batches([found]).slice(0, SAMPLE)

    def _runner_of(self, view: FeatureView, derivation: Derivation) -> RowsRunner:
        """Return what runs a view's own function, which may not be applied yet."""
        if view.function is None or view.function.call is None:
            return self._make_runner(derivation, self._engine.query)
        return RowsRunner(derivation, view.function.call, self._engine.query)


def _given_of(view: FeatureView, given: GivenRows, rows: pa.Table, now: int) -> pa.Table:
    """Return pushed rows with the columns, in the types, that a source's rows have."""
    arrays = [_pushed_column(view, column, rows, now) for column in given.columns]
    return pa.table(arrays, schema=_schema(given))


def _pushed_column(view: FeatureView, column: ScanColumn, rows: pa.Table, now: int) -> pa.ChunkedArray:
    source = view.source if view.source is not None else view.row_source
    stored = source.column_of(column.column) if source is not None else column.column
    found = next((name for name in (column.column, stored) if name in rows.column_names), None)
    what = f"column {column.column!r} of the rows for {view.title}"
    if found is not None:
        try:
            return conform(rows.column(found), column.type, what)
        except SourceDrift as error:
            raise RequestError(error.message, cure=error.cure) from error
    if source is not None and column.column == source.created_timestamp_column:
        return pa.chunked_array([pa.array([from_micros(now)] * rows.num_rows, arrow_type(column.type))])
    what = f"the rows for {view.title} have no column {column.column!r}, which its function is given"
    cure = f"{near_misses(column.column, rows.column_names)}; where it is not known, give nulls"
    raise RequestError(what, cure=cure)


def _schema(given: GivenRows) -> pa.Schema:
    return pa.schema([(column.column, arrow_type(column.type)) for column in given.columns])


def _renamed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of an engine's rows with just the columns, under their names."""
    return pa.record_batch([batch.column(f"f{number}") for number in range(len(schema))], schema=schema)


def _file_name(derivation: Derivation) -> str:
    """Return the name of the file of a view's rows: what makes them, then what they are made of."""
    made = hashlib.sha256(repr((FORMAT, _unpinned(derivation))).encode()).hexdigest()
    stamps = [fingerprint(location) for location in _sources(derivation)]
    return f"{made[:24]}-{hashlib.sha256(repr(stamps).encode()).hexdigest()[:24]}.parquet"


def _unpinned(derivation: Derivation) -> Derivation:
    """Return a derivation that says of none of its sources which files it has."""

    def plain(given: GivenRows) -> GivenRows:
        assert given.scan is not None
        location = given.scan.location
        above = None if location.derivation is None else _unpinned(location.derivation)
        return replace(given, scan=replace(given.scan, location=replace(location, derivation=above, files=None)))

    return replace(derivation, given=tuple(map(plain, derivation.given)))


def _sources(derivation: Derivation) -> list[Location]:
    """Return the files that rows are made of in the end."""
    found: list[Location] = []
    for given in derivation.given:
        assert given.scan is not None
        location = given.scan.location
        found.extend([location] if location.derivation is None else _sources(location.derivation))
    return found


def _prune(folder: Path, newest: Path) -> None:
    """Remove the rows that were not read for the longest time, of one view and of all."""
    kept = sorted(folder.glob("*.parquet"), key=_last_read, reverse=True)
    alike = [path for path in kept if path.name.partition("-")[0] == newest.name.partition("-")[0]]
    old = [path for path in alike[MOST_ALIKE:] if _last_read(path) < time.time() - LATELY]
    for path in {*kept[MOST:], *old} - {newest}:
        with contextlib.suppress(OSError):
            path.unlink()


def _last_read(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0
