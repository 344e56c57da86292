"""Joins: the as-of joins of a training plan over some entity rows, and the latest row of each key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from likewise.core.columns import Column
from likewise.core.types import Family
from likewise.offline.asof import LONGEST, NOBODY, Ints, Latest, Rows, Slots
from likewise.offline.base import Span
from likewise.offline.fetch import Fetched, fetch
from likewise.offline.match import SpineKeys, number_keys, whole_numbers
from likewise.offline.narrow import Narrow, Sink
from likewise.offline.source import Group, Source
from likewise.plan.scan import Scan
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.plan.windows import WindowInput

Evaluate = Callable[[pa.Table, Sequence[WindowInput]], list[Column]]
"""Computes the inputs of windows from the columns of events."""

_GROUP_BYTES = 32
"""What a possible key takes while the latest row of each is looked for."""


class KeyMatcher(Protocol):
    """Matches keys that cannot be numbered by subtraction: a hash join, and a hash table of distinct rows."""

    def number(
        self, keys: Sequence[pa.Array], schema: pa.Schema, rows: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows that have one of some keys, in any order, with the key's number as their column ``code``.

        Args:
            keys: the parts of the keys, in the order of their numbers.
            schema: the rows' columns: ``k0``, ``k1`` … for the parts, then others.
            rows: the rows.
        """
        ...

    def latest(
        self, keys: Sequence[str], schema: pa.Schema, rows: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Yield, without its key, the greatest row of each key, compared column by column.

        Args:
            keys: the columns of the keys.
            schema: the rows' columns.
            rows: the rows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What joins are made with."""

    pool: Executor
    """Reads row groups and works on them."""
    matcher: KeyMatcher
    """Matches keys of other kinds than whole numbers that lie close together."""
    memory: int
    """How many bytes may be used."""
    evaluate: Evaluate
    """Computes the inputs of windows."""


class Spine:
    """The keys and times of some entity rows; joins on the same columns share the sorted rows.

    Args:
        plan: the plan.
        rows: the entity rows.
    """

    def __init__(self, plan: TrainingPlan, rows: pa.Table) -> None:
        self.times = whole_numbers(rows.column(plan.time))
        self._rows = rows
        self._sorted: dict[tuple[str, ...], tuple[SpineKeys, Slots]] = {}

    def by(self, columns: tuple[str, ...], scan: Scan) -> tuple[SpineKeys, Slots]:
        """Return the rows' keys, and the rows sorted by key and time.

        Args:
            columns: the entity rows' column for each of the scan's keys.
            scan: whose keys they are.
        """
        if columns not in self._sorted:
            parts = [self._rows.column(name) for name in columns]
            keys = number_keys(parts, [key.type for key in scan.keys], self._rows.num_rows)
            self._sorted[columns] = keys, Slots(keys.codes, self.times, keys.count)
        return self._sorted[columns]


def join_all(plan: TrainingPlan, spine: Spine, sources: Sequence[Source], tools: Tools) -> list[Fetched]:
    """Return what each of a plan's joins adds to some entity rows.

    Args:
        plan: the plan.
        spine: the entity rows.
        sources: what each join reads, opened.
        tools: what to do it with.
    """
    found = []
    for join, source in zip(plan.joins, sources, strict=True):
        places = _places(join, source, *spine.by(join.spine_keys, join.scan), plan.known_by, tools)
        found.append(fetch(source, join.scan.columns, places, tools.pool))
    return found


def _places(join: AsOfJoin, source: Source, keys: SpineKeys, slots: Slots, known_by: bool, tools: Tools) -> Ints:
    """Return the place of the source row that counts for each entity row."""
    ttl = min(join.ttl, LONGEST) if join.ttl else None
    latest = Latest(len(slots), bool(join.scan.created))

    def sink(rows: Rows) -> None:
        latest.add(slots.place(rows, ttl, known_by))

    if len(slots):
        first, last = slots.span
        feed(Narrow(source, Span(None if ttl is None else first - ttl, last)), keys, sink, tools)
    return slots.answers(latest, ttl, known_by)


def latest_places(source: Source, span: Span, tools: Tools) -> Ints:
    """Return the places of the latest row (S2) of each key among the rows of a span, in ascending order."""
    narrow = Narrow(source, span)
    keys = _close_keys(narrow, tools)
    places = _latest_by_match(narrow, tools) if keys is None else _latest_by_code(narrow, keys, tools)
    places.sort()
    return places


def _close_keys(narrow: Narrow, tools: Tools) -> SpineKeys | None:
    """Return a source's keys if they are whole numbers that lie close together, or if it has none; else None."""
    nobody = np.zeros(0, np.int64)
    kinds = [key.type.family for key in narrow.source.scan.keys]
    if not kinds:
        return SpineKeys(nobody, 1, None, ())
    if kinds != [Family.INT]:
        return None
    low, high = narrow.key_ends(tools.pool)
    count = high - low + 1
    if count > max(8 * narrow.source.rows, 1 << 20) or count * _GROUP_BYTES > tools.memory // 4:
        return None
    return SpineKeys(nobody, count, low, ())


def _latest_by_code(narrow: Narrow, keys: SpineKeys, tools: Tools) -> Ints:
    latest = Latest(keys.count, bool(narrow.source.scan.created))
    feed(narrow, keys, latest.add, tools)
    places: Ints = latest.place[latest.place != NOBODY]
    return places


def _latest_by_match(narrow: Narrow, tools: Tools) -> Ints:
    schema, rows = narrow.batches(tools.pool)
    keys = schema.names[: len(narrow.source.scan.keys)]
    found = [whole_numbers(batch.column("place")) for batch in tools.matcher.latest(keys, schema, rows)]
    return np.concatenate([np.zeros(0, np.int64), *found])


def feed(narrow: Narrow, keys: SpineKeys, sink: Sink, tools: Tools) -> None:
    """Give a sink the rows that have one of some keys."""
    if not keys.distinct:

        def read(group: Group) -> None:
            for rows in narrow.coded(group, keys):
                sink(rows)

        list(tools.pool.map(read, narrow.groups))
        return
    for batch in tools.matcher.number(keys.distinct, *narrow.batches(tools.pool)):
        columns = {name: whole_numbers(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        sink(Rows(columns["code"], columns["event"], columns.get("created"), columns["place"]))
