"""WindowBase: what a record keeps folded: events, tiles in place of events, and how far back each of them goes.

Its bytes are words of eight: how far back the events go; for each series its floor and its horizon; the number of words
of each block; the blocks. The blocks are the events' rows, their validity (nothing when there are no nulls), and for
each series: numbers, sums, tops, peaks of its tiles, then for each sum of floats where each tile's floats end, and the
floats. What is no number stands in the record's extras, in the order of the blocks.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np

from likewise.core.aggregates import NEVER
from likewise.core.windows import BEFORE_ALL
from likewise.online.event_table import EventTable, Floats
from likewise.online.events import Ints
from likewise.online.tiles import TIMES, TIMES_OF_SOURCE, Ragged, Tiles, no_tiles
from likewise.online.window_layout import WindowLayout
from likewise.online.window_record import packed

SUMS, TOPS, PEAKS = 1, 2, 3
"""Which of the blocks of a series have the sums, the tops and the peaks of its tiles; the first has their numbers."""
_RAGGED = 4

_items = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_plain = msgspec.msgpack.Decoder(list[Any]).decode


class SeriesState(msgspec.Struct, frozen=True):
    """The tiles of one series. Times are microseconds."""

    tiles: Tiles
    """The tiles."""
    floor: int = BEFORE_ALL
    """Events up to this time are not in them any more, or never were."""
    horizon: int = NEVER
    """Of the base's events, those up to this time are in them, and no later ones."""


class WindowBase(msgspec.Struct, frozen=True):
    """All that is folded of one key."""

    events: EventTable
    """Events that are kept, in the order of their ranks."""
    floor: int
    """Events up to this time are not among them any more, or never were."""
    series: Sequence[SeriesState]
    """One for each series of the layout."""

    @classmethod
    def empty(cls, layout: WindowLayout) -> WindowBase:
        """Return the base of a key without events."""
        series = [SeriesState(no_tiles(layout, of)) for of in layout.series]
        return cls(EventTable.empty(layout), BEFORE_ALL, series)

    def encoded(self, layout: WindowLayout) -> tuple[bytes, bytes]:
        """Return (base, extras) of a record."""
        events = self.events.without_spare_validity()
        blocks: list[Any] = [events.rows[: layout.plain_rows], events.rows[layout.plain_rows :]]
        extras = [list(of) for of in events.lists]
        scalars = [self.floor]
        for state in self.series:
            scalars += [state.floor, state.horizon]
            tiles = state.tiles
            blocks += [tiles.ids, tiles.sums, tiles.tops, tiles.peaks]
            for ragged in tiles.floats:
                blocks += [ragged.ends, ragged.floats]
            extras += tiles.states
        lengths = [block.size for block in blocks]
        head = struct.pack(f"<{len(scalars) + len(lengths)}q", *scalars, *lengths)
        return head + b"".join([block.tobytes() for block in blocks]), packed(extras) if extras else b""


class BaseReader:
    """Takes the bytes of a base apart, as far as somebody asks.

    Args:
        layout: the layout.
    """

    def __init__(self, layout: WindowLayout) -> None:
        self.layout = layout
        self.times = TIMES_OF_SOURCE if layout.has_source else TIMES
        self.scalars = 1 + 2 * len(layout.series)
        self._first: list[int] = []
        """Which block is the first of each series."""
        self._extra: list[int] = []
        """Which of the extras is the first of each series."""
        block, extra = 2, layout.lists
        for series in layout.series:
            self._first.append(block)
            self._extra.append(extra)
            block += 4 + 2 * len(series.rows.floats)
            extra += len(series.rows.states)
        self._head = struct.Struct(f"<{self.scalars + block}q")
        bare = any(not series.rows.floats for series in layout.series)
        self._spare = bytes(8) if bare else b""
        """Stands behind a base whose last row of tiles may be its end, for NumPy to reduce up to there."""

    def open(self, base: bytes, extras: bytes) -> OpenBase:
        """Look at the head of a base, which is not empty."""
        numbers = self._head.unpack_from(base)
        ends = list(accumulate(numbers[self.scalars :], initial=self._head.size // 8))
        if 8 * ends[-1] != len(base):
            raise ValueError(f"the blocks have {8 * ends[-1]} bytes, and there are {len(base)}")
        return OpenBase(self, base + self._spare, numbers, ends, extras)

    def whole(self, base: bytes, extras: bytes) -> WindowBase:
        """Return a base as a whole."""
        if not base:
            return WindowBase.empty(self.layout)
        opened = self.open(base, extras)
        series = [
            SeriesState(opened.tiles(number), *opened.bounds(number)) for number in range(len(self.layout.series))
        ]
        return WindowBase(opened.events(), opened.floor, series)

    def first_block(self, series: int) -> int:
        """Return which block is the first of a series."""
        return self._first[series]

    def first_extra(self, series: int) -> int:
        """Return which of the extras is the first of a series."""
        return self._extra[series]


class OpenBase:
    """A base whose parts are taken out of its bytes when somebody asks for them; hot."""

    __slots__ = ("_each", "_each_float", "_extras", "_items", "_numbers", "_reader", "ends", "floats", "floor", "words")

    def __init__(self, reader: BaseReader, base: bytes, numbers: Sequence[int], ends: list[int], extras: bytes) -> None:
        self._reader = reader
        self._extras = extras
        self._numbers = numbers
        self._each: Sequence[int] = (each := memoryview(base)).cast("q")
        self._each_float: Any = each.cast("d")
        self._items: list[msgspec.Raw] | None = None
        self.words: Ints = np.frombuffer(base, "<i8")
        """All of it, as int64."""
        self.floats: Floats = np.frombuffer(base, "<f8")
        """All of it, as float64."""
        self.ends = ends
        """Where each block begins, which is where the one before it ends."""
        self.floor: int = numbers[0]
        """Events up to this time are not among the events."""

    def bounds(self, series: int) -> tuple[int, int]:
        """Return (floor, horizon) of a series."""
        return self._numbers[1 + 2 * series], self._numbers[2 + 2 * series]

    def tiles_from(self, series: int, number: int) -> tuple[int, int]:
        """Return (which tile of a series is the first with this number or a greater one, how many there are)."""
        at = self._reader.first_block(series)
        first, end = self.ends[at], self.ends[at + 1]
        return bisect_left(self._each, number, first, end) - first, end - first

    def floats_between(self, series: int, start: int, stop: int, at: int) -> list[float]:
        """Return the floats of the tiles from one to another, of one of the layout's inputs whose floats are summed."""
        block = self._reader.first_block(series) + _RAGGED + 2 * at
        ends, first = self.ends[block], self.ends[block + 1]
        before = self._each[ends + start - 1] if start else 0
        found: list[float] = self._each_float[first + before : first + self._each[ends + stop - 1]].tolist()
        return found

    def events(self) -> EventTable:
        """Return the events."""
        layout, ends = self._reader.layout, self.ends
        start, stop, end = ends[0], ends[1], ends[2]
        count = (stop - start) // layout.plain_rows
        lists = list(self._lists(0, layout.lists)) if layout.lists else []
        if stop == end:
            return EventTable(layout, self.words[start:stop].reshape(layout.plain_rows, count), lists)
        rows = layout.plain_rows + layout.valid_rows
        return EventTable(layout, self.words[start:end].reshape(rows, count), lists)

    def states(self, series: int, number: int) -> list[Any]:
        """Return the states of one kind in a series."""
        [found] = self._lists(self._reader.first_extra(series) + number, 1)
        return found

    @property
    def has_events(self) -> bool:
        """Whether there are events."""
        return self.ends[1] > self.ends[0]

    def tiles(self, series: int) -> Tiles:
        """Return the tiles of a series."""
        rows = self._reader.layout.series[series].rows
        block = self._reader.first_block(series)
        words, floats = self.words, self.floats
        at, ids, sums, tops, peaks, *ragged = self.ends[block : block + 5 + 2 * len(rows.floats)]
        count = ids - at
        starts = [peaks, *ragged]
        return Tiles(
            rows,
            words[at:ids],
            words[ids:sums].reshape(len(rows.sums), count),
            words[sums:tops].reshape(self._reader.times + len(rows.tops), count),
            floats[tops:peaks].reshape(len(rows.peaks), count),
            [
                Ragged(words[starts[n] : starts[n + 1]], floats[starts[n + 1] : starts[n + 2]])
                for n in range(0, len(ragged), 2)
            ],
            list(self._lists(self._reader.first_extra(series), len(rows.states))) if rows.states else (),
        )

    def _lists(self, first: int, count: int) -> Iterator[list[Any]]:
        if self._items is None:
            self._items = _items(self._extras)
        for item in self._items[first : first + count]:
            yield _plain(item)
