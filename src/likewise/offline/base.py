"""OfflineEngine: what an engine over offline data must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from likewise.plan.scan import Location, Scan
    from likewise.plan.training import TrainingPlan

EVENT_TIME = "__event_time"
"""The column of event times in what :meth:`OfflineEngine.latest` and :meth:`OfflineEngine.rows` return."""
CREATED_TIME = "__created_time"
"""The column of created times there; all null when the scan has none."""


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

        The columns of ``plan.spine_types`` and ``plan.time`` (``timestamp[us, tz=UTC]``) already have their types.
        A null key or a null time matches nothing. Memory is bounded by the engine's settings; it spills when it must.
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
    def count(self, scan: Scan) -> int:
        """Return the number of rows of a source, without reading them where the format allows."""

    @abstractmethod
    def append(self, location: Location, rows: pa.Table) -> str:
        """Add rows to a source as one new file, never rewriting one, and return its path.

        The file appears whole or not at all (temp, fsync, rename, fsync of the directory).
        """

    @abstractmethod
    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one SQL query, such as one that selects entity rows, and return its rows in order."""

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds."""
