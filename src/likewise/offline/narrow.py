"""Narrow: the keys and times of a source's rows, which is all that is read of most of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.columns import Column
from likewise.core.types import UnixTimestamp
from likewise.offline.asof import NEVER, Flags, Ints, Rows
from likewise.offline.base import Span
from likewise.offline.match import (
    SpineKeys,
    comparable,
    comparable_fields,
    dense_codes,
    flags,
    whole_numbers,
)
from likewise.offline.source import Group, Source
from likewise.plan.scan import ScanColumn

T = TypeVar("T")
R = TypeVar("R")
Sink = Callable[[Rows], None]
"""Takes a block of rows whose keys have numbers; blocks come in any order, from several threads."""
_PIECE = 1 << 17
"""How many rows go to the matching of keys at a time."""
_AHEAD = 4
"""How many row groups may wait, read, for their turn."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """The rows of a source within a span of event times."""

    source: Source
    """The source."""
    span: Span
    """The span; rows without an event time are never in it."""

    @property
    def groups(self) -> list[Group]:
        """The row groups that may have such rows."""
        return self.source.within(self.span)

    def coded(self, group: Group, keys: SpineKeys) -> Iterator[Rows]:
        """Yield a group's rows whose keys are numbered by subtraction, or not at all."""
        parts, event, created = self._read(group, keyed=keys.low is not None)
        chosen = in_span(event, self.span)
        code = np.zeros(group.rows, np.int64)
        if keys.low is not None:
            code, known = dense_codes(parts[0], keys.low, keys.count)
            chosen &= known
        yield from Rows(code, event, created, group.places).blocks(chosen)

    def batches(self, pool: Executor) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return the rows that have a key: keys as ``k0`` …, ``event``, ``created`` if there is one, ``place``."""
        scan = self.source.scan
        times = ["event", "created"] if scan.created else ["event"]
        fields = [(name, pa.int64()) for name in (*times, "place")]
        schema = pa.schema([*comparable_fields([key.type for key in scan.keys]), *fields])
        return schema, _pieces(ahead(pool, lambda group: self._table(group, schema), self.groups))

    def key_ends(self, pool: Executor) -> tuple[int, int]:
        """Return the smallest and the largest of whole-number keys; (0, -1) if there is no key."""
        (key,) = self.source.scan.keys
        ends = list(pool.map(lambda group: pc.min_max(comparable(group.read([key])[0], key.type)), self.groups))
        known = [(end["min"].as_py(), end["max"].as_py()) for end in ends if end["min"].is_valid]
        return min((low for low, _ in known), default=0), max((high for _, high in known), default=-1)

    def _table(self, group: Group, schema: pa.Schema) -> pa.Table:
        keys, event, created = self._read(group, keyed=True)
        chosen = in_span(event, self.span)
        for column in keys:
            if column.null_count:
                chosen &= flags(column.is_valid())
        times = [event] if created is None else [event, created]
        table = pa.table([*keys, *times, group.places], schema=schema)
        return table if chosen.all() else table.filter(pa.array(chosen))

    def _read(self, group: Group, keyed: bool) -> tuple[list[Column], Ints, Ints | None]:
        """Return the parts of a group's keys, if they are wanted, its event times, and its created times, if any."""
        scan = self.source.scan
        keys = scan.keys if keyed else ()
        times = [ScanColumn(name, UnixTimestamp) for name in (scan.time, scan.created) if name]
        found = group.read([*keys, *times])
        parts = [comparable(column, key.type) for column, key in zip(found, keys, strict=False)]
        event, *created = map(whole_numbers, found[len(keys) :])
        return parts, event, created[0] if created else None


def in_span(event: Ints, span: Span) -> Flags:
    """Return which event times are in a span; a row without one never is.

    Example:
        >>> in_span(np.array([NEVER, 4, 5, 6]), Span(None, 5)).tolist()
        [False, True, True, False]
    """
    chosen: Flags = event != NEVER if span.start is None else event >= max(span.start, NEVER + 1)
    if span.end is not None:
        chosen &= event <= span.end
    return chosen


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the results of work on items, in their order, with a little of it done ahead in a pool."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _pieces(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches(max_chunksize=_PIECE)
