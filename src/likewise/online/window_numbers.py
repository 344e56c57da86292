"""WindowNumbers: counts, sums, means and extremes of windows, from rows of tiles and from events; hot.

Which rows of the tiles are looked at depends on the features only. All windows' rows of one kind are reduced in one go:
NumPy reduces what stands between each two of a list of places, and the places go from the last to the first, so that
between two windows there is nothing to reduce. (After the first of all it goes on to the end, which nobody looks at.)
What no tile has is 0, or less than everything.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from likewise.core.aggregates import NEVER, State
from likewise.core.types import Family
from likewise.online.event_table import EventTable
from likewise.online.tiles import LOW, LOW_BITS, Tiles, with_odd_ones_apart
from likewise.online.window_base import PEAKS, SUMS, TOPS, BaseReader, OpenBase
from likewise.online.window_layout import Held, Part

_FEW = 256
"""Up to so many numbers are compared one by one, and more by NumPy."""

Cut = tuple[int, int, int]
"""(first tile of a window, the one after its last, after which time events count that are not in tiles)."""
_NONE: list[Any] = []


class Slot(msgspec.Struct, frozen=True):
    """Where the numbers of one part stand among what is reduced; -1 is what no tile has."""

    part: Part
    """The part."""
    kind: str
    """Its kind."""
    at: int
    """Its place among the tops or the peaks; of sums of integers, that of their high parts among the sums."""
    low: int
    """Of sums of integers, the place of their low parts among the sums."""


class InputSlots(msgspec.Struct, frozen=True):
    """All parts of one window over one input that are made of numbers."""

    number: int
    """The input."""
    count: int
    """How many values there are: its place among the sums."""
    parts: tuple[Slot, ...]
    """The parts."""


class Reduced(msgspec.Struct, frozen=True):
    """What rows of tiles are reduced to."""

    sums: list[int]
    """The sums of rows of sums; the last is 0."""
    tops: list[int]
    """The greatest of rows of tops; the last is less than everything."""
    peaks: list[float]
    """The greatest of rows of peaks; the last is less than everything."""


def reduced_tiles(tiles: Tiles, times: int) -> Reduced:
    """Return all rows of some tiles, reduced, in the order of the layout.

    Args:
        tiles: at least one tile.
        times: how many rows of times the tops begin with.
    """
    return Reduced(
        [*tiles.sums.sum(axis=1).tolist(), 0],
        [*tiles.tops[times:].max(axis=1).tolist(), NEVER],
        [*tiles.peaks.max(axis=1).tolist(), -math.inf],
    )


class RowPlan:
    """Which rows of which windows' tiles are to be reduced.

    Args:
        bases: takes bases apart.
        windows: (series or -1, parts) of each window.

    Attributes:
        slots: for each window and input, where its parts that are made of numbers find them.
    """

    def __init__(self, bases: BaseReader, windows: Sequence[tuple[int, Sequence[Part]]]) -> None:
        tiled = [(series, n, part) for n, (series, parts) in enumerate(windows) if series >= 0 for part in parts]
        numeric = [(series, n, part) for series, n, part in tiled if part.kind != "state"]
        ints = [(series, n, part.at) for series, n, part in numeric if part.kind == "ints"]
        sums = {(series, part.count, n) for series, n, part in numeric}
        sums |= {(series, high + low, n) for series, n, high in ints for low in (0, 1)}
        self._sums = sorted(sums, reverse=True)
        self._tops = sorted({(s, bases.times + p.at, n) for s, n, p in numeric if p.kind == "top"}, reverse=True)
        self._peaks = sorted({(s, p.at, n) for s, n, p in numeric if p.kind == "peak"}, reverse=True)
        self._placed = [
            [(bases.first_block(series) + block, bases.first_block(series), row, n) for series, row, n in rows]
            for block, rows in ((SUMS, self._sums), (TOPS, self._tops), (PEAKS, self._peaks))
        ]
        self._nothing = Reduced(
            [0] * (len(self._sums) + 1), [NEVER] * (len(self._tops) + 1), [-math.inf] * (len(self._peaks) + 1)
        )
        self.slots = [
            self._inputs(bases.times, n, series, [part for part in parts if part.kind != "state"])
            for n, (series, parts) in enumerate(windows)
        ]

    def reduced(self, base: OpenBase | None, cuts: Sequence[Cut | None]) -> Reduced:
        """Return the rows, reduced over the tiles of each window.

        Args:
            base: what is folded of a key.
            cuts: of which tiles each window is made; None where it is not wanted.
        """
        nothing = self._nothing
        if base is None:
            return nothing
        sums, tops, peaks = self._placed
        return Reduced(
            _reduced(np.add, base, base.words, sums, cuts, 0) if sums else nothing.sums,
            _reduced(np.maximum, base, base.words, tops, cuts, NEVER) if tops else nothing.tops,
            _reduced(np.maximum, base, base.floats, peaks, cuts, -math.inf) if peaks else nothing.peaks,
        )

    def _inputs(self, times: int, window: int, series: int, parts: Sequence[Part]) -> tuple[InputSlots, ...]:
        slots: dict[tuple[int, int], tuple[Slot, ...]] = {}
        for part in parts:
            count = self._sums.index((series, part.count, window)) if series >= 0 else -1
            slot = Slot(part, part.kind, *(self._places(times, series, part, window) if series >= 0 else (-1, -1)))
            slots[part.input, count] = (*slots.get((part.input, count), ()), slot)
        return tuple(InputSlots(number, count, of) for (number, count), of in slots.items())

    def _places(self, times: int, series: int, part: Part, window: int) -> tuple[int, int]:
        match part.kind:
            case "ints":
                return self._sums.index((series, part.at, window)), self._sums.index((series, part.at + 1, window))
            case "top":
                return self._tops.index((series, times + part.at, window)), -1
            case "peak":
                return self._peaks.index((series, part.at, window)), -1
        return -1, -1


class Run:
    """Events in the order of their times, of which ranges are looked at.

    Args:
        table: the events.
    """

    __slots__ = ("_columns", "_table", "times")

    def __init__(self, table: EventTable) -> None:
        times: Any = table.time
        self.times: Sequence[int] = times.tolist() if len(table) <= _FEW else times.data
        """Their times."""
        self._table = table
        self._columns: dict[int, tuple[Any, Any]] = {}

    def numbers(self, number: int, first: int, last: int) -> Any:
        """Return an input's numbers that are not null, as an array; 1 for each value that is no number."""
        found = self._columns.get(number)
        if found is None:
            found = self._columns[number] = self._column(number)
        column, valid = found
        return column[first:last] if valid is None else column[first:last][valid[first:last]]

    def _column(self, number: int) -> tuple[Any, Any]:
        """An input's numbers, and which of them are not null; None for all."""
        table = self._table
        match table.layout.inputs[number].held:
            case Held.FLOAT:
                return table.floats(number), table.valid(number)
            case Held.INT:
                return table.ints(number), table.valid(number)
        return np.ones(len(table), np.int64), table.valid(number)


class Numbers:
    """One input's numbers that are not null, of those events of a window that are in no tile.

    Args:
        arrays: the numbers.
    """

    __slots__ = ("_arrays", "_ends", "known")

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self._ends: tuple[Any, Any] | None = None
        self.known: list[Any] = []
        """All of them."""
        for array in arrays:
            self.known += array.tolist()

    def ends(self) -> tuple[Any, Any]:
        """Return the least and the greatest, if there are any; both are NaN if one is."""
        if self._ends is None:
            self._ends = _ends(self.known) if len(self.known) <= _FEW else self._ends_of_many()
        return self._ends

    def _ends_of_many(self) -> tuple[Any, Any]:
        arrays = [array for array in self._arrays if len(array)]
        least, _ = _ends([np.minimum.reduce(array).item() for array in arrays])
        _, greatest = _ends([np.maximum.reduce(array).item() for array in arrays])
        return least, greatest


class WindowEvents:
    """Those events of a window that are in no tile.

    Args:
        runs: (events, first, last) of ranges that are not empty.
    """

    __slots__ = ("_numbers", "_runs")

    def __init__(self, runs: Sequence[tuple[Run, int, int]]) -> None:
        self._runs = runs
        self._numbers: dict[int, Numbers] = {}

    def numbers(self, number: int) -> Numbers:
        """Return the numbers of an input, taken out once for all windows of the same events."""
        found = self._numbers.get(number)
        if found is None:
            found = Numbers([run.numbers(number, first, last) for run, first, last in self._runs])
            self._numbers[number] = found
        return found


def places_between(held: Run | None, tail: Run | None, after: int, lo: int, hi: int) -> tuple[int, int, int, int]:
    """Return (first, last) among the events of the base, and among those of the tail: those with lo < time <= hi.

    Args:
        held: the events of the base, of which only those after a time count.
        tail: the events of the tail.
        after: that time, in microseconds.
        lo: the window's old end.
        hi: the window's new end.
    """
    a = b = c = d = 0
    if held is not None:
        a, b = bisect_right(held.times, max(lo, after)), bisect_right(held.times, hi)
    if tail is not None:
        c, d = bisect_right(tail.times, lo), bisect_right(tail.times, hi)
    return a, b, c, d


def number_states(
    slots: InputSlots, reduced: Reduced, floats: Callable[[int], list[float]] | None, events: WindowEvents | None
) -> list[State]:
    """Return the state of each part of an input that is made of numbers, in the form of its aggregate.

    Args:
        slots: the parts, and where their numbers are.
        reduced: the numbers of the tiles.
        floats: returns those of the tiles that are summed, by their place in the layout; None where there is no tile.
        events: the events that are in no tile; None for none.
    """
    count, known, own = reduced.sums[slots.count], _NONE, None
    if events is not None:
        own = events.numbers(slots.number)
        known = own.known
        count += len(known)
    states: list[State] = []
    for slot in slots.parts:
        match slot.kind:
            case "count":
                states.append(count)
            case "floats":
                summed = known if floats is None else [*floats(slot.part.at), *known]
                states.append(float_state(count, summed))
            case "peak":
                states.append(_peak(slot, reduced, own.ends() if own and known else None) if count else None)
            case "top":
                states.append(_top(slot, reduced, own.ends() if own and known else None) if count else None)
            case _:
                whole = sum(known) + (reduced.sums[slot.at] << LOW_BITS) + reduced.sums[slot.low]
                states.append([count, whole >> LOW_BITS, whole & LOW])
    return states


def _reduced(
    operation: np.ufunc, base: OpenBase, words: Any, rows: Sequence[tuple[int, int, int, int]], cuts: Any, nothing: Any
) -> Any:
    """Rows of tiles, given as (block, the series' first block, row, window), reduced; what nothing is stands last."""
    ends = base.ends
    places: list[int] = []
    wanted: list[bool] = []
    for block, first, row, window in rows:
        cut = cuts[window]
        if cut is not None and cut[0] < cut[1]:
            at = ends[block] + row * (ends[first + 1] - ends[first])
            places += (at + cut[0], at + cut[1])
            wanted.append(True)
        else:
            wanted.append(False)
    found = operation.reduceat(words, places).tolist()[::2] if places else []
    if len(found) < len(rows):
        left = iter(found)
        found = [next(left) if is_wanted else nothing for is_wanted in wanted]
    found.append(nothing)
    return found


def float_state(count: int, floats: list[float]) -> State:
    """Return the state of a sum of floats: the rounded sum, with which all functions of it begin, if it is finite."""
    try:
        total = math.fsum(floats)
    except (OverflowError, ValueError):  # on the way, or both infinities
        total = math.inf
    return [count, 0.0, total] if math.isfinite(total) else [count, *with_odd_ones_apart(floats)]


def _ends(known: list[Any]) -> tuple[Any, Any]:
    """The least and the greatest of some numbers; both are NaN if any is."""
    whole = sum(known)
    if whole != whole and any(map(math.isnan, known)):
        return math.nan, math.nan
    return min(known), max(known)


def _top(slot: Slot, reduced: Reduced, own: tuple[int, int] | None) -> Any:
    part, best = slot.part, reduced.tops[slot.at]
    if own is not None:
        best = max(best, ~own[0] if part.least else own[1])
    best = ~best if part.least else best
    return bool(best) if part.aggregate.input.family is Family.BOOL else best


def _peak(slot: Slot, reduced: Reduced, own: tuple[float, float] | None) -> float:
    least, best = slot.part.least, reduced.peaks[slot.at]
    if own is not None:
        mine = -own[0] if least else own[1]
        if mine != mine or mine > best:
            best = mine
    return (-best if least else best) + 0.0
