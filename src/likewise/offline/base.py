"""OfflineEngine: what an engine over offline data must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from likewise.core.columns import Column
    from likewise.core.types import FeatureType
    from likewise.plan.scan import Location, Scan
    from likewise.plan.training import TrainingPlan
    from likewise.plan.windows import WindowInput

EVENT_TIME = "__event_time"
"""The column of event times in what :meth:`OfflineEngine.latest` and :meth:`OfflineEngine.rows` return."""
CREATED_TIME = "__created_time"
"""The column of created times there; all null when the scan has none."""
ORDER = "__order"
"""The column of :meth:`OfflineEngine.events` that ranks events of one event and created time (S2)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of event times, both ends included."""

    start: int | None
    """Microseconds since the epoch; None is without limit."""
    end: int | None
    """Microseconds since the epoch; None is without limit."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of several equal parts of all keys, by a hash of the key that never changes."""

    number: int = 0
    """Which one, from 0."""
    of: int = 1
    """How many there are, at least 1."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from the files of a source."""

    rows: int
    """How many rows."""
    files: tuple[str, ...]
    """The files that were written anew."""
    left: Mapping[str, int]
    """Files that were not added by a push or a write, and so stay as they are, with how many such rows each has."""


class OfflineEngine(ABC):
    """Reads sources and joins them as of times; one semantics for all engines (S1-S4, S8).

    Every method checks the files it reads against the scan: a column that is missing or whose type cannot hold the
    declared one is a ``SourceDrift`` that names file and column, raised before any row is returned; columns that nobody
    asks for may be anything. Rows are counted from 0 within their file. A row without a created time ranks lowest among
    equal event times, and counts as known from its event time on (S4). A directory means all files of its format below
    it, but for names that begin with ``.`` or ``_``. Times come and go as
    ``timestamp[us, tz=UTC]``.
    """

    @abstractmethod
    def schema(self, location: Location) -> pa.Schema:
        """Return the columns of a source and their types, alike in all of its files, in file order.

        Raises:
            SourceMissing: the path matches no file.
            SourceUnreadable: a file is not of the format.
            SourceDrift: two files disagree on a column's type beyond lossless widening.
        """

    @abstractmethod
    def training(self, plan: TrainingPlan, spine: pa.Table | pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the entity rows, in their order and with all their columns, and the joins' outputs after them.

        Then come the outputs of ``plan.windows`` (S5, S6). The columns of ``plan.spine_types`` and ``plan.time``
        (``timestamp[us, tz=UTC]``) already have their types. A null key or a null time matches nothing: the window of a
        key without events is empty, so its count is 0; at a null time there is no window, and all is null. Memory is
        bounded by the engine's settings; it spills, or reads the source several times, when it must.

        Raises:
            AggregateOverflow: the result of a window is beyond its type.
            SourceError: an expression of a window fails on a value.
        """

    @abstractmethod
    def latest(self, scan: Scan, span: Span, part: Part = Part()) -> Iterator[pa.RecordBatch]:
        """Return the latest row (S2) of each key among the rows of a span of event times.

        Columns: the scan's keys under their column names, :data:`EVENT_TIME`, :data:`CREATED_TIME`, then
        ``f0``, ``f1`` … for the scan's columns, in declared types. Rows with a null key or time are left out.
        """

    @abstractmethod
    def rows(self, scan: Scan, span: Span) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times, in file order; columns as :meth:`latest`."""

    @abstractmethod
    def compute(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        """Return the values that windows aggregate, for rows in memory, such as pushed events; a column for each input.

        Args:
            rows: the events' columns, by their names in the view, in their declared types; one column at least.
            inputs: what to compute.

        Raises:
            SourceError: an expression fails on a value.
        """

    @abstractmethod
    def events(
        self, scan: Scan, inputs: Sequence[WindowInput], span: Span, part: Part = Part()
    ) -> Iterator[pa.RecordBatch]:
        """Return all rows of a span of event times that have a key, those of one key together and in S2's order.

        Columns: the scan's keys under their column names, :data:`EVENT_TIME`, :data:`CREATED_TIME`, :data:`ORDER`
        (int64), then ``i0``, ``i1`` … for the inputs. A part is held in memory as a whole.

        Args:
            scan: the source; its columns are those that the inputs read, in the order of their names in the view.
            inputs: what windows aggregate.
            span: the span.
            part: which part of the keys.

        Raises:
            SourceError: an expression fails on a value.
        """

    @abstractmethod
    def count(self, scan: Scan) -> int:
        """Return the number of rows of a source, without reading them where the format allows."""

    def state_of(self, scan: Scan) -> str:
        """Return a text that is another one once the source has changed; empty where that cannot be told."""
        return ""

    @abstractmethod
    def pinned(self, location: Location) -> Location:
        """Return a location that stands for the files that a source has now, whatever is added to it later."""

    @abstractmethod
    def guarded(self, location: Location, alone: bool) -> AbstractContextManager[None]:
        """Keep others from adding files to a source while one looks which there are, and the other way round.

        Args:
            location: where the source lies.
            alone: True to look; False to add, which several may do at a time.

        Raises:
            StoreUnavailable: others held the source for too long.
        """

    @abstractmethod
    def append(self, location: Location, rows: pa.Table, token: bytes | None = None) -> str:
        """Add rows to a source as one new file, never rewriting one, and return its path.

        The file appears whole or not at all (temp, fsync, rename, fsync of the directory). Rows of a token that were
        added before are not added again; the path is that of their file.
        """

    @abstractmethod
    def remove(self, location: Location, keys: Mapping[str, pa.Scalar]) -> Removed:
        """Remove the rows of a key from the files that :meth:`append` added; no other file is touched.

        Args:
            location: where the source lies; it is :meth:`guarded` alone meanwhile.
            keys: column of the files to the value that it must have; all of them.
        """

    @abstractmethod
    def query(self, sql: str, tables: Mapping[str, pa.RecordBatchReader] | None = None) -> pa.RecordBatchReader:
        """Run one SQL query, such as one that selects entity rows, and return its rows in order.

        Args:
            sql: the query.
            tables: the tables it reads, by name, and nothing else; None: it reads files.
        """

    @abstractmethod
    def expression_type(self, sql: str, columns: Sequence[tuple[str, FeatureType]]) -> pa.DataType:
        """Return the type of the values of an SQL expression over columns of the types given.

        Raises:
            InvalidDefinition: it cannot be computed on values of these types.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds."""
