"""EventTable: the events of one key as columns, in the order of their ranks (S2).

Numbers are rows of one matrix of int64 (floats bit by bit), so that picking, joining and sorting events is one
operation for all columns. Values that are no numbers are lists beside it. Which row is what, the
:class:`~likewise.online.window_layout.WindowLayout` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.core.aggregates import NEVER, Rank
from likewise.core.aggregates.packed import packer, unpacker
from likewise.core.types import Family, FeatureType
from likewise.online.events import Events, Ints
from likewise.online.window_layout import Held, WindowLayout

STREAM = 1 << 62
"""What the places of pushed events begin with: of events with the same times, pushed ones are the later."""
_FEW = 256
"""Of up to so many events it is found out whether they are in order already."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class EventTable:
    """Some events of one key.

    Args:
        layout: says which row is what.
        rows: the matrix, a column for each event; the rows of validity may be left out when there are no nulls.
        lists: the values of each input that is no number, packed for msgpack, None for null.
    """

    __slots__ = ("_valid", "full", "layout", "lists", "rows", "time")

    def __init__(self, layout: WindowLayout, rows: Ints, lists: Sequence[list[Any]]) -> None:
        self.layout = layout
        self.rows = rows
        self.lists = lists
        self.time: Ints = rows[0]
        """Event times."""
        self._valid: dict[int, Bools] = {}
        self.full = len(rows) == layout.plain_rows
        """Whether no value is null."""

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def empty(cls, layout: WindowLayout) -> EventTable:
        """Return a table of no events."""
        return cls(layout, np.empty((layout.plain_rows, 0), np.int64), [[] for _ in range(layout.lists)])

    def part(self, start: int, stop: int) -> EventTable:
        """Return the events from one place up to another."""
        return EventTable(self.layout, self.rows[:, start:stop], [of[start:stop] for of in self.lists])

    def take(self, places: Ints) -> EventTable:
        """Return the events in some places."""
        lists = [[of[place] for place in places.tolist()] for of in self.lists] if self.lists else []
        return EventTable(self.layout, self.rows[:, places], lists)

    def having(self, kept: Bools) -> EventTable:
        """Return the events for which something holds."""
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def with_events(self, later: EventTable) -> EventTable:
        """Return the events of both in the order of their ranks; of equal ranks, the other table's are the later."""
        if not len(self) or not len(later):
            return later if len(later) else self
        tables = (self, later) if self.full == later.full else (self._with_validity(), later._with_validity())
        rows = np.concatenate([table.rows for table in tables], axis=1)
        lists = [[*mine, *others] for mine, others in zip(self.lists, later.lists, strict=True)]
        return EventTable(self.layout, rows, lists).ranked()

    def ranked(self) -> EventTable:
        """Return the events in the order of their ranks."""
        if len(self) < 2:
            return self
        if not self.layout.ranked:
            if len(self) <= _FEW and (times := self.time.tolist()) == sorted(times):
                return self
            order = self.time.argsort(kind="stable")
        else:
            first = self.layout.created
            order = np.lexsort((self.rows[first + 1], self.rows[first], self.time))
        return self.take(order)

    def after(self, time: int) -> int:
        """Return the place of the first event after a time."""
        return int(self.time.searchsorted(time, "right"))

    def arrivals(self) -> Ints:
        """Return when each was pushed; NEVER for one that came from the source."""
        if not self.layout.has_source:
            raise ValueError("a view without a source keeps no arrivals")
        found: Ints = self.rows[self.layout.arrival]
        return found

    def ints(self, number: int) -> Ints:
        """Return an input's values; anything where it is null."""
        found: Ints = self.rows[self.layout.inputs[number].row]
        return found

    def floats(self, number: int) -> Floats:
        """Return an input's values; anything where it is null."""
        found: Floats = self.rows[self.layout.inputs[number].row].view(np.float64)
        return found

    def valid(self, number: int) -> Bools | None:
        """Tell where an input is not null; None when it never is."""
        if self.full:
            return None
        found = self._valid.get(number)
        if found is None:
            place = self.layout.inputs[number]
            found = self._valid[number] = (self.rows[place.valid_row] >> place.bit & 1).astype(bool)
        return found

    def values(self, number: int) -> list[Any]:
        """Return an input's values as aggregates take them."""
        place = self.layout.inputs[number]
        if place.held is Held.ANY:
            unpack = unpacker(place.type)
            return [None if value is None else unpack(value) for value in self.lists[place.row]]
        column = self.floats(number) if place.held is Held.FLOAT else self.ints(number)
        given: list[Any] = [1] * len(self) if place.held is Held.NOTHING else column.tolist()
        if place.type.family is Family.BOOL and place.held is Held.INT:
            given = list(map(bool, given))
        valid = self.valid(number)
        if valid is None:
            return given
        return [value if known else None for value, known in zip(given, valid.tolist(), strict=True)]

    def ranks(self) -> list[Rank]:
        """Return the rank of each event; none where no function asks for it."""
        if not self.layout.ranked:
            return []
        first = self.layout.created
        return list(zip(self.time.tolist(), self.rows[first].tolist(), self.rows[first + 1].tolist(), strict=True))

    def without_spare_validity(self) -> EventTable:
        """Return the table without its rows of validity, if no value is null."""
        if self.full:
            return self
        plain = self.layout.plain_rows
        spare = not len(self) or np.bitwise_and.reduce(self.rows[plain:], axis=1).tolist() == self.layout.full
        return EventTable(self.layout, self.rows[:plain], self.lists) if spare else self

    def _with_validity(self) -> EventTable:
        if not self.full:
            return self
        words = np.repeat(np.array(self.layout.full, np.int64).reshape(-1, 1), len(self), axis=1)
        return EventTable(self.layout, np.concatenate((self.rows, words)), self.lists)


def tabled(layout: WindowLayout, events: Events, arrival: int, pushed: bool) -> EventTable:
    """Return events of many keys as one table, with validity, in the order in which they are given.

    Args:
        layout: says which row is what.
        events: the events.
        arrival: when they came, in microseconds; NEVER for those of the source.
        pushed: whether they were pushed; their places are then counted from :data:`STREAM`.
    """
    rows = np.zeros((layout.plain_rows + layout.valid_rows, len(events.time)), np.int64)
    rows[0] = events.time
    if layout.has_source:
        rows[layout.arrival] = arrival
    if layout.ranked:
        rows[layout.created] = NEVER if events.created is None else events.created
        rows[layout.created + 1] = events.order + (STREAM if pushed else 0)
    lists: list[list[Any]] = [[] for _ in range(layout.lists)]
    for place, given in zip(layout.inputs, events.inputs, strict=True):
        column = given.combine_chunks() if hasattr(given, "combine_chunks") else given
        valid = np.asarray(column.is_valid())
        rows[place.valid_row] |= valid.astype(np.int64) << place.bit
        if place.held is Held.ANY:
            lists[place.row] = _packed(column, place.type)
        elif place.held is not Held.NOTHING:
            rows[place.row] = _numbers(column, place.held)
    return EventTable(layout, rows, lists)


def _numbers(column: Any, held: Held) -> Ints:
    """An Arrow column of numbers as int64, floats bit by bit; null is 0."""
    import pyarrow as pa

    if held is Held.FLOAT:
        floats: Floats = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        return floats.view(np.int64)
    whole = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    numbers: Ints = whole.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return numbers


def _packed(column: Any, kind: FeatureType) -> list[Any]:
    pack = packer(kind)
    return [None if value is None else pack(value) for value in column.to_pylist()]
