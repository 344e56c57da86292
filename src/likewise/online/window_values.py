"""WindowValues: the values of windows at a time, finished from what records hold; hot.

What does not depend on the key is decided once for each set of features, and the windows' bounds once for each read.
A window is put together from a range of tiles, and from the events after the tiles' horizon and those of the tail.
What is made of numbers, ``window_numbers.py`` reduces; all other states are merged here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from likewise.core.aggregates import NEVER, Aggregate, State
from likewise.core.results import declared_results
from likewise.core.types import Family, FeatureType, Float32, Float64, Int32, arrow_type
from likewise.core.windows import tile_of
from likewise.online.event_table import EventTable
from likewise.online.events import Ints
from likewise.online.response import FieldStatus
from likewise.online.tiles import Tiles
from likewise.online.values import from_wire, to_wire
from likewise.online.window_base import BaseReader, OpenBase
from likewise.online.window_fold import still_pushed
from likewise.online.window_layout import Part, Reading, WindowLayout
from likewise.online.window_meta import Meta
from likewise.online.window_numbers import (
    Cut,
    InputSlots,
    Reduced,
    RowPlan,
    Run,
    Slot,
    WindowEvents,
    number_states,
    places_between,
    reduced_tiles,
)
from likewise.online.window_record import WindowRecord, opened, unpacked
from likewise.plan.windows import WindowFeature

Convert = Callable[[Any], Any]
_SINGLE = struct.Struct("<f")
_PRESENT, _NOT_FOUND = FieldStatus.PRESENT, FieldStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class WindowValues:
    """What windows are at a time, for some keys."""

    columns: Sequence[Sequence[Any]]
    """The values, one column for each wanted feature; None for null, and where the value is not known."""
    states: Sequence[Sequence[FieldStatus]]
    """For each wanted feature and key, PRESENT or NOT_FOUND; null values are PRESENT as well, as in ``Found``."""
    times: Sequence[int | None]
    """For each key, the time that was asked for, at which its values count; None where no value is known."""
    complete: bool
    """Whether all values are known: all states are PRESENT."""


Output = tuple[int, int, Convert | None, Convert | None]
"""(place among what is wanted, which state, what finishes that, what turns the result); None leaves it as it is."""


class _Span(msgspec.Struct, frozen=True):
    """One window, and what is wanted of it."""

    reading: Reading
    """The window."""
    inputs: tuple[InputSlots, ...]
    """The parts that are made of numbers, whose states come first."""
    others: tuple[Part, ...]
    """All other parts."""
    outputs: tuple[Output, ...]
    """What is finished from the states."""


class _Wanted(msgspec.Struct, frozen=True):
    """What a set of features needs, whatever the key and the time."""

    spans: Sequence[_Span]
    """The windows."""
    rows: RowPlan
    """Which rows of tiles they need."""


class _Key:
    """The record of one key while it is read."""

    __slots__ = ("_events", "_held", "_ranges", "_tail", "base", "held_run", "since", "tail_run")

    def __init__(self, base: OpenBase | None, held: EventTable, tail: EventTable, since: int) -> None:
        self.base = base
        self.since = since
        self._held = held
        self._tail = tail
        self.held_run = Run(held) if len(held) else None
        self.tail_run = Run(tail) if len(tail) else None
        self._events: dict[int, EventTable] = {}
        self._ranges: dict[tuple[int, int, int, int], WindowEvents] = {}

    def events_between(self, after: int, lo: int, hi: int) -> EventTable:
        """Return a window's events of the base after a time, and of the tail, in the order of their ranks."""
        found = self._events.get(after)
        if found is None:
            start = self._held.after(after)
            held = self._held.part(start, len(self._held)) if start else self._held
            found = self._events[after] = held.with_events(self._tail)
        first, last = found.after(lo), found.after(hi)
        return found.part(first, max(first, last))

    def numbers_between(self, after: int, lo: int, hi: int) -> WindowEvents | None:
        """Return the same events for their numbers; None if there are none."""
        held, tail = self.held_run, self.tail_run
        if held is None and tail is None:
            return None
        places = places_between(held, tail, after, lo, hi)
        found = self._ranges.get(places)
        if found is None:
            a, b, c, d = places
            runs = [(run, first, last) for run, first, last in ((held, a, b), (tail, c, d)) if run and first < last]
            if not runs:
                return None
            found = self._ranges[places] = WindowEvents(runs)
        return found


class WindowReader:
    """Finishes values from records.

    Args:
        layout: the layout.
        bases: takes bases apart.
        id: 32 bits of the window set's hash.
        table: the online table, for messages.
    """

    def __init__(self, layout: WindowLayout, bases: BaseReader, id: int, table: str) -> None:
        self.layout = layout
        self._bases = bases
        self._id = id
        self._table = table
        self._words = layout.plain_rows + layout.valid_rows
        self._nothing = EventTable.empty(layout)
        self._wanted: dict[tuple[int, ...], _Wanted] = {}
        self._meta: tuple[bytes, Meta] | None = None

    def values(
        self, keys: Sequence[bytes], stored: Sequence[bytes | None], meta: bytes | None, t: int, wanted: Sequence[int]
    ) -> WindowValues:
        """Return the values of some features at a time; see :meth:`WindowStates.values`."""
        count, features = len(keys), len(wanted)
        columns: list[list[Any]] = [[None] * count for _ in range(features)]
        missing: list[tuple[int, _Span]] = []
        times: list[int | None] = [None] * count
        if meta is None:
            return WindowValues(columns, [[_NOT_FOUND] * count] * features, times, not count)
        told, what = self._told(meta), self._what(tuple(wanted))
        bounds = [span.reading.window.bounds(t) for span in what.spans]
        for row, (key, record) in enumerate(zip(keys, stored, strict=True)):
            lost = self._read(self._open(key, record, told), what, bounds, row, columns)
            if len(lost) < len(bounds):
                times[row] = t
            if lost:
                missing += [(row, span) for span in lost]
        return WindowValues(columns, _statuses(count, features, missing), times, not missing)

    def _read(
        self, key: _Key, what: _Wanted, bounds: Sequence[tuple[int, int]], row: int, columns: list[list[Any]]
    ) -> list[_Span]:
        """Write the values of one key into its row of the columns, and return the windows that cannot be told."""
        spans, lost, base = what.spans, [], key.base
        cuts = [self._cut(key, span.reading, lo, hi) for span, (lo, hi) in zip(spans, bounds, strict=True)]
        reduced = what.rows.reduced(base, cuts)
        for span, cut, (lo, hi) in zip(spans, cuts, bounds, strict=True):
            if cut is None:
                lost.append(span)
                continue
            states = self._states(key, span, cut, reduced, lo, hi)
            for place, number, finish, convert in span.outputs:
                value = states[number]
                if finish is not None:
                    value = finish(value)
                columns[place][row] = value if convert is None or value is None else convert(value)
        return lost

    def _states(self, key: _Key, span: _Span, cut: Cut, reduced: Reduced, lo: int, hi: int) -> list[State]:
        """The states of a window's parts."""
        base, number, states = key.base, span.reading.series, []
        start, stop, after = cut
        tiled = base is not None and start < stop
        if span.inputs:
            events = key.numbers_between(after, lo, hi)
            floats = partial(base.floats_between, number, start, stop) if base is not None and tiled else None
            for slots in span.inputs:
                states += number_states(slots, reduced, floats, events)
        for part in span.others:
            of_tiles = base.states(number, part.at)[start:stop] if base is not None and tiled else []
            states.append(_merged(part, of_tiles, key.events_between(after, lo, hi)))
        return states

    def tail(self, record: WindowRecord) -> EventTable:
        """Return the events of a record's tail, in the order in which they were pushed."""
        if not record.tail:
            return self._nothing
        rows: Ints = np.frombuffer(record.tail, "<i8").reshape(-1, self._words).T
        lists: list[list[Any]] = []
        if many := self.layout.lists:
            flat = unpacked(record.values, many * rows.shape[1])
            lists = [flat[start::many] for start in range(many)]
        return EventTable(self.layout, rows, lists).without_spare_validity()

    def states_of(self, series: int, tiles: Tiles) -> dict[tuple[int, str], State]:
        """Return all states of some tiles of a series, by input and kind."""
        reduced = reduced_tiles(tiles, self._bases.times)
        parts = [part for reading in self.layout.readings if reading.series == series for part in reading.parts]
        return {(part.input, part.aggregate.kind): self._state_of(part, tiles, reduced) for part in parts}

    def _state_of(self, part: Part, tiles: Tiles, reduced: Reduced) -> State:
        if part.kind == "state":
            return _merged(part, tiles.states[part.at], self._nothing)
        slot = Slot(part, part.kind, part.at, part.at + 1)
        slots = InputSlots(part.input, part.count, (slot,))
        [state] = number_states(slots, reduced, lambda at: tiles.floats[at].floats.tolist(), None)
        return state

    def _told(self, meta: bytes) -> Meta:
        if self._meta is None or self._meta[0] != meta:
            self._meta = (meta, Meta.of(meta, self._table))
        return self._meta[1]

    def _what(self, wanted: tuple[int, ...]) -> _Wanted:
        found = self._wanted.get(wanted)
        if found is None:
            readings = [of for of in self.layout.readings if any(feature in wanted for feature, _, _ in of.features)]
            parts = [self._parts(of, wanted) for of in readings]
            rows = RowPlan(self._bases, [(of.series, made) for of, made in zip(readings, parts, strict=True)])
            spans = [
                self._span(of, made, slots, wanted) for of, made, slots in zip(readings, parts, rows.slots, strict=True)
            ]
            found = self._wanted[wanted] = _Wanted(spans, rows)
        return found

    def _parts(self, reading: Reading, wanted: tuple[int, ...]) -> list[Part]:
        needed = {part for feature, part, _ in reading.features if feature in wanted}
        return [part for number, part in enumerate(reading.parts) if number in needed]

    def _span(
        self, reading: Reading, parts: Sequence[Part], slots: tuple[InputSlots, ...], wanted: tuple[int, ...]
    ) -> _Span:
        others = tuple(part for part in parts if part.kind == "state")
        order = [*(slot.part for of in slots for slot in of.parts), *others]
        outputs = tuple(
            (
                place,
                order.index(reading.parts[part]),
                _finisher(reading.parts[part], aggregate),
                _conversion(aggregate.output, self.layout.windows.features[name]),
            )
            for place, name in enumerate(wanted)
            for feature, part, aggregate in reading.features
            if feature == name
        )
        return _Span(reading, slots, others, outputs)

    def _open(self, key: bytes, stored: bytes | None, meta: Meta) -> _Key:
        if stored is None:
            return _Key(None, self._nothing, self._nothing, meta.since)
        record = opened(key, stored, self._id, self._table)
        base = self._bases.open(record.base, record.extras) if record.base else None
        held = self._nothing if base is None or not base.has_events else base.events()
        tail = self.tail(record).ranked()
        if record.info.cover != NEVER:
            return _Key(base, held, tail, NEVER)
        if self.layout.has_source and meta.cover is not None:  # the key came after the back-fill, or during it
            held, tail = (still_pushed(events, meta.cover, meta.read_at) for events in (held, tail))
        return _Key(base, held, tail, meta.since)

    def pieces(
        self, key: bytes, stored: bytes | None, meta: bytes | None, t: int, feature: int
    ) -> tuple[int, Tiles | None, EventTable] | None:
        """Return what a feature's value is made of at a time; None where it is not known.

        Returns:
            The series that the tiles belong to (-1 for none), the tiles, and the events beside them.
        """
        if meta is None:
            return None
        [reading] = [of for of in self.layout.readings if any(feature == of_it for of_it, _, _ in of.features)]
        opened_key, (lo, hi) = self._open(key, stored, self._told(meta)), reading.window.bounds(t)
        cut = self._cut(opened_key, reading, lo, hi)
        if cut is None:
            return None
        start, stop, after = cut
        tiles = None
        if opened_key.base is not None and start < stop:
            tiles = opened_key.base.tiles(reading.series).part(start, stop)
        return reading.series, tiles, opened_key.events_between(after, lo, hi)

    def _cut(self, key: _Key, reading: Reading, lo: int, hi: int) -> Cut | None:
        """Which tiles and events a window is made of; None where it cannot be told exactly."""
        base, number = key.base, reading.series
        if lo < key.since:
            return None
        if base is None:
            return 0, 0, NEVER
        if number < 0:
            return None if lo < base.floor else (0, 0, NEVER)
        floor, horizon = base.bounds(number)
        if lo < floor:
            return None
        series = self.layout.series[number]
        start, stop = base.tiles_from(number, lo // series.hop * 2)
        if hi < horizon and stop:
            tiles = base.tiles(number)
            horizon, stop = _cut_short(tiles, hi, series.hop, horizon, base.floor)
            if stop < 0 or (series.life and _hides_older(tiles.ids, stop)):
                return None
        return start, stop, horizon


def _cut_short(tiles: Tiles, hi: int, hop: int, horizon: int, floor: int) -> tuple[int, int]:
    """(after which time to take events, up to which tile) for an end among the tiles; tile -1 if it cannot be."""
    number = tile_of(hi, hop) * 2
    stop, end = int(tiles.ids.searchsorted(number)), int(tiles.ids.searchsorted(number + 2))
    if stop == end or int(tiles.last[stop:end].max()) <= hi:
        return horizon, end
    start = tile_of(hi, hop) * hop
    return (start, stop) if floor <= start else (horizon, -1)


def _hides_older(ids: Ints, stop: int) -> bool:
    """Whether a tile that is left out is the oldest of its kind: of a whole life, it may have taken in older ones."""
    return any(len(of := np.flatnonzero(ids & 1 == kind)) and int(of[0]) >= stop for kind in (0, 1))


def _merged(part: Part, states: Sequence[State], events: EventTable) -> State:
    """The state of a part that is not made of numbers, over those of tiles and over events."""
    aggregate = part.aggregate
    state = aggregate.start()
    if len(events):
        state = aggregate.add_all(state, events.values(part.input), events.ranks())
    return aggregate.merge_all([*states, state]) if states else state


def _statuses(count: int, features: int, missing: Sequence[tuple[int, _Span]]) -> list[list[FieldStatus]]:
    """The state of each wanted feature and key, given the rows and windows that are not known."""
    if not missing:
        return [[_PRESENT] * count] * features
    states = [[_PRESENT] * count for _ in range(features)]
    for row, span in missing:
        for output in span.outputs:
            states[output[0]][row] = _NOT_FOUND
    return states


def _finisher(part: Part, aggregate: Aggregate) -> Convert | None:
    """What finishes states; of sums of floats, which are mostly one float, quickly. None where a state is a result."""
    if part.kind in ("count", "top", "peak"):
        return None
    if part.kind != "floats":
        return aggregate.finish
    mean = aggregate.name == "mean"

    def finish(state: State) -> Any:
        count, odd, *floats = state
        if odd or not count or len(floats) != 1:
            return aggregate.finish(state)
        return (floats[0] + 0.0) / count if mean else floats[0] + 0.0

    return finish


def _conversion(output: FeatureType, feature: WindowFeature) -> Convert | None:
    """What turns a result into a value of an online answer; None where it is one."""
    declared = feature.type
    if declared == output:
        wire, back = to_wire(output), from_wire(output)
        return None if back is None else lambda value: back(value if wire is None else wire(value))
    if declared == Float64 and output.family is Family.INT:
        return float

    def convert(value: Any) -> Any:
        import pyarrow as pa

        return declared_results(pa.array([value], arrow_type(output)), declared, feature.name)[0].as_py()

    if declared == Float32 and output.family in (Family.INT, Family.FLOAT):
        return lambda value: _float32(float(value), convert)
    if declared == Int32:
        return lambda value: value if -(2**31) <= value < 2**31 else convert(value)
    return convert


def _float32(value: float, otherwise: Convert) -> Any:
    try:
        return _SINGLE.unpack(_SINGLE.pack(value))[0]
    except OverflowError:
        return otherwise(value)
