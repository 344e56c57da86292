"""Tiles: what is kept of the events of one key in place of them, for each hop of a series.

A tile has a number, 2 * k for events of the batch source and 2 * k + 1 for pushed ones, where k is the tile of
``core/windows.py``. Its rows are those of the layout's ``SeriesRows``; in front of the tops stand the latest event time
and, where there is a source, the latest arrival, the complement of the earliest one, and that of the earliest event
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from likewise.core.aggregates import NEVER
from likewise.core.aggregates.sums import pressed
from likewise.online.event_table import EventTable, Floats
from likewise.online.events import Ints
from likewise.online.window_layout import Series, SeriesRows, Sum, WindowLayout

TIMES = 1
"""How many rows of times tops begin with."""
TIMES_OF_SOURCE = 4
"""The same where there is a batch source."""
LOW_BITS = 32
LOW = (1 << LOW_BITS) - 1


class Ragged(msgspec.Struct, frozen=True):
    """A few floats for each tile, one after the other."""

    ends: Ints
    """Where each tile's floats end."""
    floats: Floats
    """The floats of all tiles."""

    def part(self, start: int, stop: int) -> Ragged:
        """Return those of some tiles."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return Ragged(self.ends[start:stop] - first, self.floats[first:last])

    def lists(self) -> list[list[float]]:
        """Return the floats of each tile."""
        flat = self.floats.tolist()
        return [flat[start:stop] for start, stop in pairwise([0, *self.ends.tolist()])]

    @classmethod
    def of(cls, lists: Sequence[Sequence[float]]) -> Ragged:
        """Put lists one after the other."""
        ends = np.array(list(accumulate(map(len, lists))), np.int64)
        return cls(ends, np.array(list(chain.from_iterable(lists)), np.float64))


class Tiles(msgspec.Struct, frozen=True):
    """Some tiles of one series, ascending."""

    rows: SeriesRows
    """What they keep."""
    ids: Ints
    """Their numbers."""
    sums: Ints
    """A row for each of the layout's sums."""
    tops: Ints
    """Rows of times, then one for each of the layout's tops."""
    peaks: Floats
    """A row for each of the layout's peaks."""
    floats: Sequence[Ragged]
    """For each of the layout's inputs whose floats are summed."""
    states: Sequence[list[Any]]
    """For each of the layout's states, one for each tile."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def last(self) -> Ints:
        """The latest event time of each."""
        found: Ints = self.tops[0]
        return found

    @property
    def times(self) -> tuple[Ints, Ints]:
        """The earliest and the latest event time of each; only where there is a source."""
        return ~self.tops[3], self.tops[0]

    @property
    def arrived(self) -> tuple[Ints, Ints]:
        """The earliest and the latest arrival of each; only where there is a source."""
        return ~self.tops[2], self.tops[1]

    def part(self, start: int, stop: int) -> Tiles:
        """Return the tiles from one place up to another."""
        return Tiles(
            self.rows,
            self.ids[start:stop],
            self.sums[:, start:stop],
            self.tops[:, start:stop],
            self.peaks[:, start:stop],
            [of.part(start, stop) for of in self.floats],
            [of[start:stop] for of in self.states],
        )

    def having(self, kept: npt.NDArray[np.bool_]) -> Tiles:
        """Return the tiles for which something holds."""
        if kept.all():
            return self
        places = np.flatnonzero(kept)
        return Tiles(
            self.rows,
            self.ids[places],
            self.sums[:, places],
            self.tops[:, places],
            self.peaks[:, places],
            [Ragged.of([lists[place] for place in places.tolist()]) for lists in (of.lists() for of in self.floats)],
            [[of[place] for place in places.tolist()] for of in self.states],
        )

    def merged(self, later: Tiles) -> Tiles:
        """Return the tiles of both; two of one number become one."""
        if not len(self) or not len(later):
            return later if len(later) else self
        cut = int(self.ids.searchsorted(later.ids[0]))
        if cut == len(self):
            return _joined(self, later)
        touched = _joined(self.part(cut, len(self)), later)
        return _joined(self.part(0, cut), touched.regrouped(touched.ids))

    def regrouped(self, ids: Ints) -> Tiles:
        """Return the tiles under new numbers; those of one number become one, in the order in which they stand."""
        order = ids.argsort(kind="stable")
        ids = ids[order]
        starts = _starts(ids)
        groups = [order[start:stop].tolist() for start, stop in pairwise([*starts.tolist(), len(ids)])]
        return Tiles(
            self.rows,
            ids[starts],
            np.add.reduceat(self.sums[:, order], starts, axis=1),
            np.maximum.reduceat(self.tops[:, order], starts, axis=1),
            np.maximum.reduceat(self.peaks[:, order], starts, axis=1),
            [_pressed_groups(of, groups) for of in self.floats],
            [
                [
                    aggregate.merge_all([of[place] for place in group]) if len(group) > 1 else of[group[0]]
                    for group in groups
                ]
                for of, (_, aggregate) in zip(self.states, self.rows.states, strict=True)
            ],
        )

    def with_old_ones_merged(self, kept: int) -> Tiles:
        """Return the tiles of a whole life with all but so many newest merged, for source and pushes by themselves."""
        ids = self.ids.copy()
        for pushed in (0, 1):
            places = np.flatnonzero(ids & 1 == pushed)
            if len(places) > 2 * kept + 1:
                old = places[: len(places) - kept]
                ids[old] = ids[old[-1]]
        return self if (ids == self.ids).all() else self.regrouped(ids)


def no_tiles(layout: WindowLayout, series: Series) -> Tiles:
    """Return no tiles."""
    return tiles_of(layout, series, EventTable.empty(layout))


def tiles_of(layout: WindowLayout, series: Series, events: EventTable) -> Tiles:
    """Return the tiles of some events, which are in the order of their ranks."""
    stream: Any = (events.arrivals() != NEVER).astype(np.int64) if layout.has_source else 1
    ids = (events.time - 1) // series.hop * 2 + stream
    if len(ids) > 1 and (ids[1:] < ids[:-1]).any():
        order = ids.argsort(kind="stable")
        events, ids = events.take(order), ids[order]
    starts = _starts(ids)
    rows = series.rows
    pieces = list(pairwise([*starts.tolist(), len(ids)])) if rows.floats or rows.states else []
    tops = [events.time]
    if layout.has_source:
        tops += [events.arrivals(), ~events.arrivals(), ~events.time]
    return Tiles(
        rows,
        ids[starts],
        _reduced(np.add, [_sum_row(events, what, number) for what, number in rows.sums], starts, np.int64),
        _reduced(np.maximum, [*tops, *(_top_row(events, least, n) for least, n in rows.tops)], starts, np.int64),
        _reduced(np.maximum, [_peak_row(events, least, n) for least, n in rows.peaks], starts, np.float64),
        [_pressed_floats(events, number, pieces) for number in rows.floats],
        [_states(events, number, aggregate, pieces) for number, aggregate in rows.states],
    )


def with_odd_ones_apart(floats: Iterable[float]) -> list[float]:
    """Return the sum of the floats that are not finite, then all others: the parts of a sum, as its state has them."""
    finite: list[float] = []
    odd = 0.0
    for number in floats:
        if number - number == 0.0:
            finite.append(number)
        else:
            odd += number
    return [odd, *finite]


def _joined(first: Tiles, second: Tiles) -> Tiles:
    return Tiles(
        first.rows,
        np.concatenate((first.ids, second.ids)),
        np.concatenate((first.sums, second.sums), axis=1),
        np.concatenate((first.tops, second.tops), axis=1),
        np.concatenate((first.peaks, second.peaks), axis=1),
        [_chained(a, b) for a, b in zip(first.floats, second.floats, strict=True)],
        [[*a, *b] for a, b in zip(first.states, second.states, strict=True)],
    )


def _chained(a: Ragged, b: Ragged) -> Ragged:
    return Ragged(np.concatenate((a.ends, b.ends + len(a.floats))), np.concatenate((a.floats, b.floats)))


def _starts(ids: Ints) -> Ints:
    """Where each new number begins."""
    if not len(ids):
        return np.empty(0, np.int64)
    new = np.empty(len(ids), bool)
    new[0] = True
    np.not_equal(ids[1:], ids[:-1], out=new[1:])
    starts: Ints = new.nonzero()[0]
    return starts


def _reduced(operation: np.ufunc, rows: list[Any], starts: Ints, kind: type[np.generic]) -> Any:
    if not rows or not len(starts):
        return np.empty((len(rows), len(starts)), kind)
    return operation.reduceat(np.array(rows, kind), starts, axis=1)


def _sum_row(events: EventTable, what: Sum, number: int) -> Ints:
    valid = events.valid(number)
    if what is Sum.COUNT:
        return np.ones(len(events), np.int64) if valid is None else valid.astype(np.int64)
    ints = events.ints(number)
    row = ints >> LOW_BITS if what is Sum.HIGH else ints & LOW
    return row if valid is None else np.where(valid, row, 0)


def _top_row(events: EventTable, least: bool, number: int) -> Ints:
    valid, ints = events.valid(number), events.ints(number)
    row = ~ints if least else ints
    return row if valid is None else np.where(valid, row, NEVER)


def _peak_row(events: EventTable, least: bool, number: int) -> Floats:
    valid, floats = events.valid(number), events.floats(number)
    row = -floats if least else floats
    return row if valid is None else np.where(valid, row, -np.inf)


def _pressed_floats(events: EventTable, number: int, pieces: list[tuple[int, int]]) -> Ragged:
    valid, flat = events.valid(number), events.floats(number).tolist()
    if valid is not None:
        flat = [value if known else 0.0 for value, known in zip(flat, valid.tolist(), strict=True)]
    return Ragged.of([_pressed(flat[start:stop]) for start, stop in pieces])


def _pressed_groups(of: Ragged, groups: list[list[int]]) -> Ragged:
    lists = of.lists()
    return Ragged.of(
        [
            _pressed([f for place in group for f in lists[place]]) if len(group) > 1 else lists[group[0]]
            for group in groups
        ]
    )


def _pressed(floats: list[float]) -> list[float]:
    """Few floats with the sum of many; what is not finite is one of them."""
    total = sum(floats)
    if total - total == 0.0:
        return pressed(floats)
    odd, *finite = with_odd_ones_apart(floats)
    return [*([odd] if odd else []), *pressed(finite)]


def _states(events: EventTable, number: int, aggregate: Any, pieces: list[tuple[int, int]]) -> list[Any]:
    values, ranks = events.values(number), events.ranks()
    return [aggregate.add_all(aggregate.start(), values[start:stop], ranks[start:stop]) for start, stop in pieces]
