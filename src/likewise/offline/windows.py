"""Windows: the values of windowed features at the entity rows' times (S4-S6).

The events are sorted by key and time, so each window of each entity row is a range of them, found by binary search. The
values of an input, without nulls, stand in the same order; equal ranges, which lie side by side, are computed once
(:mod:`likewise.offline.ranges`).

With *known by* (S4) most entity rows know all events of their windows. The others know those up to the first one that
they do not know, and get a copy of those after it that they do know: their windows are ranges of two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from likewise.core.aggregates import aggregate_for
from likewise.core.columns import Column
from likewise.core.results import declared_results
from likewise.core.types import arrow_type
from likewise.core.windows import BEFORE_ALL, Window
from likewise.define.aggregation import ROWS
from likewise.offline.asof import NEVER, NOBODY, Ints, Slots, first_not_before
from likewise.offline.base import ORDER
from likewise.offline.chunks import merged, take
from likewise.offline.events import Events, Wanted, events_of
from likewise.offline.extremes import Extremes
from likewise.offline.fetch import Fetched, fetch
from likewise.offline.joins import Spine, Tools
from likewise.offline.limbs import prefix
from likewise.offline.match import SpineKeys, flags
from likewise.offline.ranges import Ranges, Values, over_ranges
from likewise.offline.source import Source
from likewise.plan.training import TrainingPlan
from likewise.plan.windows import WindowInput, WindowJoin

_FAR = 1 << 60
"""Longer than from the first time to the last."""
_COPIED_BYTES = 100
"""What a copied event takes."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What some slots see: for each a run of events, in order, of which its windows are ranges."""

    slot: Ints
    """The slots, ascending."""
    runs: Ranges
    """Their runs of events; with known-by perhaps in two pieces, of which the second ones are copies."""
    copies: Ints | None = None
    """The events that were copied, which stand behind all others; None if there are none."""

    def seen(self, event: Ints) -> Ints:
        """Return something of the events, such as their times, with that of the copies behind it."""
        return event if self.copies is None else np.append(event, event[self.copies])


class Answers:
    """The values of the features of one set of windows: for each a value for each distinct range, and who gets which.

    Args:
        join: the windows.
        slots: the entity rows, sorted.
        times: the entity rows' times.
    """

    def __init__(self, join: WindowJoin, slots: Slots, times: Ints) -> None:
        features = join.windows.features
        self._join = join
        self._slots = slots
        self._undated = times == NEVER
        self._kinds = [(feature.window, feature.input) for feature in features]
        self._found: list[list[Column]] = [[] for _ in features]
        self._index = {kind: np.full(len(times), NOBODY) for kind in self._kinds}
        self._many = dict.fromkeys(self._kinds, 0)

    def add(self, window: Window, number: int, values: Values, slot: Ints, ranges: Ranges) -> None:
        """Compute the functions of an input over a window for some slots, each of which has a range of its own."""
        new = ranges.is_new()
        kind = window, number
        self._index[kind][self._slots.entity_row[slot]] = np.cumsum(new) - 1 + self._many[kind]
        distinct = ranges.only(np.flatnonzero(new))
        self._many[kind] += len(distinct)
        for place, feature in enumerate(self._join.windows.features):
            if self._kinds[place] == kind:
                found = over_ranges(feature.function, values, distinct)
                self._found[place].append(declared_results(found, feature.type, feature.name))

    def fetched(self) -> list[Fetched]:
        """Return each feature's values, and for each entity row which of them is its own."""
        empty: dict[tuple[Window, int], pa.Array] = {}
        for kind, index in self._index.items():
            index[index == NOBODY] = self._many[kind]
            empty[kind] = pa.array(index, mask=self._undated)
        return [Fetched((self._whole(place),), empty[kind]) for place, kind in enumerate(self._kinds)]

    def _whole(self, place: int) -> pa.ChunkedArray:
        """Return a feature's values, and after them that of no events."""
        feature = self._join.windows.features[place]
        aggregate = aggregate_for(feature.function, self._join.windows.inputs[feature.input].type)
        nothing = pa.array([aggregate.finish(aggregate.start())], arrow_type(aggregate.output))
        parts = [*self._found[place], declared_results(nothing, feature.type, feature.name)]
        return merged(parts, arrow_type(feature.type))


def window_all(plan: TrainingPlan, spine: Spine, sources: Sequence[Source], tools: Tools) -> list[Fetched]:
    """Return what each of a plan's windowed features adds to some entity rows, in the order of the plan's outputs.

    Args:
        plan: the plan.
        spine: the entity rows.
        sources: what each set of windows reads, opened.
        tools: what to do it with.
    """
    found: list[Fetched] = []
    for join, source in zip(plan.windows, sources, strict=True):
        keys, slots = spine.by(join.spine_keys, join.scan)
        found += window_answers(join, source, keys, slots, spine.times, plan.known_by, tools)
    return found


def window_answers(
    join: WindowJoin, source: Source, keys: SpineKeys, slots: Slots, times: Ints, known_by: bool, tools: Tools
) -> list[Fetched]:
    """Return what each feature of a set of windows adds to some entity rows.

    Args:
        join: the windows.
        source: the events, opened.
        keys: the entity rows' keys.
        slots: the entity rows, sorted.
        times: the entity rows' times.
        known_by: whether an event counts only once it was created (S4).
        tools: what to do it with.
    """
    windows = join.windows
    answers = Answers(join, slots, times)
    ranked = any(aggregate_for(each.function, windows.inputs[each.input].type).ranked for each in windows.features)
    for events in events_of(source, Wanted(slots, keys, windows.longest, known_by or ranked), tools):
        read = zip(_read(join, source, events, tools), windows.inputs, strict=True)
        columns = [_Input(column, given) for column, given in read]
        for sight in _sights(join, events, slots, known_by, tools):
            _answer(answers, join, events, sight, slots.times[sight.slot], columns)
    return answers.fetched()


@dataclass(frozen=True, slots=True)
class _Input:
    column: pa.ChunkedArray
    given: WindowInput

    def seen(self, copies: Ints | None) -> tuple[Column, Ints | None]:
        """Return the values that are not null, copies behind them, and how many stand before each event."""
        column = self.column
        if copies is not None:
            more = take(column, pa.array(copies))
            chunks = more.chunks if isinstance(more, pa.ChunkedArray) else [more]
            column = pa.chunked_array([*column.chunks, *chunks], column.type)
        if not column.null_count:
            return column, None
        valid = column.is_valid()
        return column.filter(valid), prefix(flags(valid))


def _read(join: WindowJoin, source: Source, events: Events, tools: Tools) -> list[pa.ChunkedArray]:
    """Return the inputs' values in the order of the events."""
    inputs, many = join.windows.inputs, len(events.place)
    found: dict[WindowInput, pa.ChunkedArray] = {}
    computed = [given for given in inputs if given.expression != ROWS or given.where]
    if computed and many:
        raw = fetch(source, join.scan.columns, events.place, tools.pool)
        names = [name for name, _ in join.windows.columns]
        table = pa.table(raw.columns, names) if names else pa.table([np.sort(events.place)], [ORDER])
        for given, column in zip(computed, tools.evaluate(table, computed), strict=True):
            whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
            ordered = take(whole, raw.index)
            found[given] = ordered if isinstance(ordered, pa.ChunkedArray) else pa.chunked_array([ordered])
    ones = pa.chunked_array([np.ones(many, np.int64)])
    return [found.get(given, ones) for given in inputs]  # without events it does not matter what there is none of


def _sights(join: WindowJoin, events: Events, slots: Slots, known_by: bool, tools: Tools) -> Iterator[Sight]:
    slot = np.arange(events.first, events.after)
    if not known_by or events.created is None:
        yield Sight(slot, Ranges(events.start, events.stop))
        return
    times = slots.times[events.first : events.after]
    oldest = np.minimum.reduce([_ends(feature.window, times)[0] for feature in join.windows.features])
    start = first_not_before(events.event, events.start, events.stop - events.start, oldest + 1)
    known = _known_from_start(events.created, Ranges(start, events.stop), times)
    sees_all = known == events.stop
    yield Sight(slot[sees_all], Ranges(start[sees_all], known[sees_all]))
    blind = np.flatnonzero(~sees_all)
    unsure = Ranges(known[blind], events.stop[blind])
    for part in _together(unsure, max(1, tools.memory // 8 // _COPIED_BYTES)):
        head = Ranges(start[blind[part]], known[blind[part]])
        yield _with_copies(events, slot[blind[part]], times[blind[part]], head, unsure.only(part))


def _known_from_start(created: Ints, runs: Ranges, times: Ints) -> Ints:
    """Return the first event of each run that was created after a time, or the run's end; by binary search."""
    found, after = runs.start.copy(), runs.stop.copy()
    latest = Extremes(created, np.maximum)
    left = np.flatnonzero(after > found)
    while len(left):
        middle = (found[left] + after[left]) // 2 + 1
        later = latest.over(runs.start[left], middle) > times[left]
        after[left[later]] = middle[later] - 1
        found[left[~later]] = middle[~later]
        left = left[after[left] > found[left]]
    return found


def _together(runs: Ranges, most: int) -> Iterator[Ints]:
    """Cut runs into parts that have no more than so many events, or one run only."""
    before = prefix(runs.many)
    start = 0
    while start < len(runs):
        stop = max(start + 1, int(np.searchsorted(before, before[start] + most, "right")) - 1)
        yield np.arange(start, stop)
        start = stop


def _with_copies(events: Events, slot: Ints, times: Ints, head: Ranges, unsure: Ranges) -> Sight:
    """Copy those of some runs' events that were created by the slots' times."""
    assert events.created is not None
    places = unsure.places()
    row = np.repeat(np.arange(len(unsure)), unsure.many)
    known = np.flatnonzero(events.created[places] <= times[row])
    before = prefix(np.bincount(row[known], minlength=len(unsure))) + len(events.event)
    return Sight(slot, Ranges(head.start, head.stop, Ranges(before[:-1], before[1:])), places[known])


def _answer(
    answers: Answers, join: WindowJoin, events: Events, sight: Sight, times: Ints, inputs: Sequence[_Input]
) -> None:
    event = sight.seen(events.event)
    found = {
        window: _covered(window, event, sight.runs, times)
        for window in dict.fromkeys(feature.window for feature in join.windows.features)
    }
    for number, given in enumerate(inputs):
        column, before = given.seen(sight.copies)
        asked = dict.fromkeys(feature.window for feature in join.windows.features if feature.input == number)
        ranges = {window: _of_values(found[window], before) for window in asked}
        longest = max((int(each.many.max(initial=0)) for each in ranges.values()), default=0)
        if not longest:
            continue
        values = Values(column, given.given.type, longest)
        for window, each in ranges.items():
            filled = np.flatnonzero(each.many)
            if len(filled):
                answers.add(window, number, values, sight.slot[filled], each.only(filled))


def _covered(window: Window, event: Ints, runs: Ranges, times: Ints) -> Ranges:
    """Return the events of some runs that a window covers at each of some times."""
    old, new = _ends(window, times)
    start = first_not_before(event, runs.start, runs.stop - runs.start, old + 1)
    stop = first_not_before(event, start, runs.stop - start, new + 1) if window.delay else runs.stop
    return Ranges(start, stop, None if runs.tail is None else _covered(window, event, runs.tail, times))


def _of_values(ranges: Ranges, before: Ints | None) -> Ranges:
    """Return ranges of events as ranges of the values that are not null."""
    if before is None:
        return ranges
    tail = None if ranges.tail is None else _of_values(ranges.tail, before)
    return Ranges(before[ranges.start], before[ranges.stop], tail)


def _ends(window: Window, times: Ints) -> tuple[Ints, Ints]:
    """Return the ends of a window at each of some times, as :meth:`Window.bounds` does for one."""
    new = times - min(window.delay, _FAR)
    if window.width is None:
        return np.full(len(times), BEFORE_ALL), new
    old = new - min(window.width, _FAR)
    if window.slide is not None:
        old -= old % min(window.slide, _FAR)
    return np.maximum(old, BEFORE_ALL), new
