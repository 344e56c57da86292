"""Window histories: what happens to the states of a windowed view, generated, and played against the oracle.

A history is a list of steps: pushes, back-fills, deletions. :func:`play` does them to the records of some keys, and
after each step asks for values at many times. Each must be the oracle's, or NOT_FOUND where it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal as Number
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from likewise.core.aggregates import FUNCTIONS, NEVER, aggregate_for
from likewise.core.errors import AggregateOverflow, BackendMissing
from likewise.core.time import from_micros
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Family,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    Uuid,
    arrow_type,
)
from likewise.core.windows import BEFORE_ALL, Window
from likewise.online.response import FieldStatus
from likewise.online.window_fold import Folding
from likewise.online.window_state import Events, Meta, WindowStates
from likewise.plan.windows import WindowFeature, WindowInput, WindowSet
from likewise.testing.oracle import Row, windowed
from likewise.testing.values import exact

try:
    import hypothesis.strategies as st
except ImportError as missing:
    raise BackendMissing("the suites need hypothesis", cure='pip install "likewise[testing]"') from missing

KEYS = (b"\1a", b"\1b", b"\1c")
SCALES = (1, 12_000_000_000)
"""How many microseconds a tick has: one, so that everything meets; a seventh of a day, so that days pass."""
VALUES: dict[FeatureType, st.SearchStrategy[Any]] = {
    Int64: st.one_of(st.integers(-3, 3), st.sampled_from([2**53 + 1, 2**62, -(2**63), 2**63 - 1])),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Float64: st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e16, -1e16, 1e-300, float("nan"), float("inf"), float("-inf"), 1.7e308]),
        st.floats(-1e6, 1e6),
    ),
    Float32: st.sampled_from([0.5, -1.25, 3.0, -0.0, 1.401298464324817e-45, float("nan")]),
    String: st.sampled_from(["", "a", "b", "\u00e4", "NUL \0"]),
    Bytes: st.sampled_from([b"", b"\0", b"\xff"]),
    Bool: st.booleans(),
    UnixTimestamp: st.integers(-5, 5),
    Decimal: st.sampled_from([Number("1.1"), Number("-2.5"), Number("99999999999999999999"), Number("1E-18")]),
    Uuid: st.sampled_from([str(UUID(int=0)), str(UUID(int=2**128 - 1))]),
    Array(Int64): st.lists(st.one_of(st.none(), st.integers(-2, 2)), max_size=2),
}


@dataclass(frozen=True)
class Event:
    """One event."""

    key: int
    time: int
    created: int | None
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Push:
    """Events are pushed; ``late`` ones began before the last back-fill, and were in the source when it was read."""

    events: tuple[Event, ...]
    again: bool
    """Whether it has a token, and is sent twice."""
    split: bool
    """Whether each event is sent by itself."""


@dataclass(frozen=True)
class Backfill:
    """The source is read up to a cover; a push that had begun before ends after it."""

    ahead: int
    """How far after the newest event of the first rows the cover lies, in ticks."""
    meanwhile: tuple[Event, ...]


@dataclass(frozen=True)
class Delete:
    """A key is deleted."""

    key: int


@dataclass(frozen=True)
class WindowHistory:
    """What happens, and to which windows."""

    windows: WindowSet
    has_source: bool
    folding: Folding
    scale: int
    first: tuple[Event, ...]
    """Rows that the source has from the beginning."""
    since: int | None
    """After which tick the source is read; None from the beginning."""
    steps: tuple[tuple[int, Push | Backfill | Delete], ...]
    """(how many ticks after the one before, what)."""


@st.composite
def window_sets(draw: st.DrawFn, scale: int) -> WindowSet:
    """Return a window set of one to three inputs and up to six features."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3))
    inputs = tuple(WindowInput(f"c{n}", "", kind) for n, kind in enumerate(kinds))
    windows = draw(st.lists(_windows(scale), min_size=1, max_size=3))
    features = []
    for n in range(draw(st.integers(1, 6))):
        number = draw(st.integers(0, len(kinds) - 1))
        function = draw(_functions(kinds[number]))
        output = aggregate_for(function, kinds[number]).output
        features.append(WindowFeature(f"f{n}", number, function, draw(st.sampled_from(windows)), output))
    return WindowSet("cards", inputs, tuple(features))


@st.composite
def window_histories(draw: st.DrawFn) -> WindowHistory:
    """Return a history of a few keys."""
    scale = draw(st.sampled_from(SCALES))
    windows = draw(window_sets(scale))
    has_source = draw(st.booleans())
    events = st.lists(_events(windows, scale, -20, 120), max_size=6).map(tuple)
    folding = Folding(
        tail=draw(st.sampled_from([0, 1, 3, 64])),
        grace=draw(st.sampled_from([0, 4])) * scale,
        most=draw(st.sampled_from([0, 2, 512])),
        days=draw(st.sampled_from([0, 2, 32])),
    )
    pushes = st.builds(Push, events, st.booleans(), st.booleans())
    kinds: list[st.SearchStrategy[Push | Backfill | Delete]] = [pushes, pushes, pushes]
    kinds.append(st.builds(Delete, st.integers(0, 1)))
    if has_source:
        kinds.append(st.builds(Backfill, st.integers(0, 60), events))
    steps = st.lists(st.tuples(st.integers(0, 30), st.one_of(kinds)), min_size=1, max_size=8)
    first = st.lists(_events(windows, scale, -20, 20), max_size=8).map(tuple)
    return WindowHistory(
        windows,
        has_source,
        folding,
        scale,
        draw(first) if has_source else (),
        draw(st.sampled_from([None, None, -30, 5])) if has_source else None,
        tuple(draw(steps)),
    )


def _windows(scale: int) -> st.SearchStrategy[Window]:
    spans = st.sampled_from([1, 2, 7, 10, 40, None])
    slides = st.sampled_from([None, 1, 5, 7])
    return st.builds(
        lambda width, slide, delay: Window(
            None if width is None else width * scale, None if slide is None else slide * scale, delay * scale
        ),
        spans,
        slides,
        st.sampled_from([0, 0, 3]),
    )


def _functions(kind: FeatureType) -> st.SearchStrategy[str]:
    names = [name for name, function in FUNCTIONS.items() if kind.family in function.takes]
    numbered = {
        "first_n": "(2)",
        "last_n": "(2)",
        "last_distinct_n": "(2)",
        "top_k": "(2)",
        "approx_percentile": "(0.9)",
    }
    return st.sampled_from([name + numbered.get(name, "") for name in names])


def _events(windows: WindowSet, scale: int, first: int, last: int) -> st.SearchStrategy[Event]:
    values = st.tuples(*(st.one_of(VALUES[of.type], st.none()) for of in windows.inputs))
    jitter = st.sampled_from([0, 0, 0, 1, -1])
    times = st.builds(lambda tick, odd: tick * scale + odd, st.integers(first, last), jitter)
    return st.builds(Event, st.integers(0, 1), times, st.one_of(st.none(), st.integers(0, 1)), values)


@dataclass
class Played:
    """The records of a history, and what should be in them."""

    history: WindowHistory
    states: WindowStates
    records: dict[bytes, bytes | None] = field(default_factory=lambda: dict.fromkeys(KEYS))
    meta: bytes | None = None
    source: list[Event] = field(default_factory=list)
    truth: list[tuple[int, Event]] = field(default_factory=list)
    """(place, event) of all events that count."""
    known: int = 0
    """How many of the source's rows are in records, by push or by back-fill."""
    gone: dict[int, int] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    generation: int = 0
    now: int = 0
    since: int = BEFORE_ALL
    probes: int = 0
    exact: int = 0

    def do(self, step: Push | Backfill | Delete) -> None:
        """Do one step."""
        match step:
            case Push(events, again, split):
                for n, part in enumerate([(event,) for event in events] if split else [events]):
                    token = b"push %d %d" % (len(self.source), n) if again else None
                    for _ in range(1 + again):
                        self.push(part, self.generation, token)
                    self.note(part)
            case Backfill(ahead, meanwhile):
                self.backfill(ahead, meanwhile)
            case Delete(key):
                self.delete(key)

    def note(self, events: Sequence[Event]) -> None:
        """Remember events that were pushed."""
        for event in events:
            self.source.append(event)
            if event.time > self.gone.get(event.key, NEVER):
                self.truth.append((len(self.source), event))
                self.newest[event.key] = max(self.newest.get(event.key, NEVER), event.time)

    def push(self, events: Sequence[Event], arrival: int, token: bytes | None) -> None:
        """Push events."""
        keys = sorted({KEYS[event.key] for event in events})
        given = [(event, 0) for event in events]
        made = self.states.pushed(
            keys,
            [self.records[key] for key in keys],
            self.events(keys, given),
            arrival,
            token,
            in_source=self.history.has_source,
            now=self.now,
            meta=self.meta,
        )
        self.keep(keys, made)

    def backfill(self, ahead: int, meanwhile: Sequence[Event]) -> None:
        """Read the source, and say that the view is live."""
        scale = self.history.scale
        cover = 20 * scale + 1 + ahead * scale
        read_at, self.generation = self.generation, self.generation + 1
        since = BEFORE_ALL if self.history.since is None else self.history.since * scale
        self.since = max(self.since, since)
        before = len(self.source)
        rows = [(event, place) for place, event in enumerate([*self.source, *meanwhile])]
        rows = [(event, place) for event, place in rows if since < event.time <= cover]
        keys = sorted({KEYS[event.key] for event, _ in rows})
        self.fill(keys, rows, cover, since, read_at)
        seen = [key for key in KEYS if (record := self.records[key]) and self.states.read_at(key, record) != read_at]
        self.fill(seen, [], cover, since, read_at)
        for event, place in rows:
            if place < len(self.history.first) and event.time > self.gone.get(event.key, NEVER):
                self.newest[event.key] = max(self.newest.get(event.key, NEVER), event.time)
        assert len(self.source) == before
        self.meta = self.states.meta(Meta(since, cover, read_at))
        self.push(meanwhile, read_at, None)
        self.note(meanwhile)

    def fill(self, keys: Sequence[bytes], rows: Sequence[tuple[Event, int]], cover: int, since: int, at: int) -> None:
        """Write what the source has of some keys."""
        stored = [self.records[key] for key in keys]
        self.keep(keys, self.states.backfilled(keys, stored, self.events(keys, rows), cover, since, at, self.now))

    def delete(self, number: int) -> None:
        """Delete a key."""
        key = KEYS[number]
        self.keep([key], self.states.deleted([key], [self.records[key]], self.now))
        self.gone[number] = max(self.now, self.newest.get(number, NEVER), self.gone.get(number, NEVER))
        self.truth = [(n, e) for n, e in self.truth if e.key != number or e.time > self.gone[number]]

    def keep(self, keys: Sequence[bytes], made: Sequence[bytes | None]) -> None:
        """Store what was made, as a swap does."""
        self.records.update({key: record for key, record in zip(keys, made, strict=True) if record is not None})

    def events(self, keys: Sequence[bytes], rows: Sequence[tuple[Event, int]]) -> Events:
        """Return events as the states take them."""
        types = [of.type for of in self.history.windows.inputs]
        return Events(
            keys,
            np.array([keys.index(KEYS[event.key]) for event, _ in rows], np.int64),
            np.array([event.time for event, _ in rows], np.int64),
            np.array([NEVER if event.created is None else event.created for event, _ in rows], np.int64),
            np.array([place or n for n, (_, place) in enumerate(rows)], np.int64),
            [_column([event.values[n] for event, _ in rows], kind) for n, kind in enumerate(types)],
        )

    def check(self, t: int) -> None:
        """Compare every feature of every key at a time with the oracle."""
        features = self.history.windows.features
        for number, key in enumerate(KEYS):
            rows = [Row((number,), e.time, e.created, n, e.values) for n, e in self.truth if e.key == number]
            wanted = [self.expected(rows, number, t, feature) for feature in features]
            asked = [n for n, value in enumerate(wanted) if value is not AggregateOverflow]
            found = self.states.values([key], [self.records[key]], self.meta, t, asked)
            for place, feature in enumerate(asked):
                self.compare(features[feature], t, found.columns[place][0], found.states[place][0], wanted[feature])
            for feature in set(range(len(features))) - set(asked):
                self.refused(key, t, feature)

    def expected(self, rows: Sequence[Row], key: int, t: int, feature: WindowFeature) -> Any:
        """Return the oracle's value; the error instead if it raises that."""
        try:
            value = windowed(rows, (key,), t, feature.window, feature.function, feature.input)
        except AggregateOverflow:
            return AggregateOverflow
        return as_answered(value, feature.type)

    def compare(self, feature: WindowFeature, t: int, value: Any, state: FieldStatus, wanted: Any) -> None:
        """Compare one value."""
        self.probes += 1
        if state is FieldStatus.NOT_FOUND:
            assert value is None
            assert not self.must_know(feature, t), (feature, t, self.now, wanted)
            return
        self.exact += 1
        assert self.meta is not None
        assert feature.window.bounds(t)[0] >= self.since, (feature, t)
        assert exact(value) == exact(wanted), (feature, t, value, wanted)

    def refused(self, key: bytes, t: int, feature: int) -> None:
        """See that a sum that is too great is refused, where it would be answered."""
        try:
            found = self.states.values([key], [self.records[key]], self.meta, t, [feature])
        except AggregateOverflow:
            return
        assert found.states[0][0] is FieldStatus.NOT_FOUND
        assert not self.must_know(self.history.windows.features[feature], t)

    def must_know(self, feature: WindowFeature, t: int) -> bool:
        """Whether a value has to be answered."""
        return self.meta is not None and t >= self.now and feature.window.bounds(t)[0] >= self.since


def as_answered(value: Any, kind: FeatureType) -> Any:
    """Return an oracle's value as an online answer has it: times and UUIDs as Python has them."""
    if value is None:
        return None
    if kind.family is Family.TIME:
        return from_micros(value)
    if kind.family is Family.UUID:
        return UUID(value)
    if kind.inner is not None:
        return [as_answered(each, kind.inner) for each in value]
    return value


def _column(values: list[Any], kind: FeatureType) -> pa.Array:
    if kind.family is Family.TIME:
        moments: list[datetime | None] = [None if value is None else from_micros(value) for value in values]
        return pa.array(moments, arrow_type(kind))
    return pa.array(values, arrow_type(kind))


def play(history: WindowHistory) -> Played:
    """Do all steps of a history, and check values after each, at the edges of windows and tiles and far from them.

    Returns:
        What came of it; it counts the values that were compared.
    """
    states = WindowStates(history.windows, "shop/cards", history.has_source, history.folding)
    played = Played(history, states, source=list(history.first))
    played.truth = [(place + 1, event) for place, event in enumerate(history.first)]
    if not history.has_source:
        played.meta = states.meta(Meta(BEFORE_ALL, None, 0))
    scale = history.scale
    for passed, step in history.steps:
        played.now += passed * scale
        played.do(step)
        spans = {f.window.width or 7 * scale for f in history.windows.features}
        newest = max((event.time for _, event in played.truth), default=0)
        edges = {played.now, newest, played.now + 1, played.now - 3 * scale, played.now // 5 * 5 + 5 * scale}
        times = edges | {event.time + span for span in spans for _, event in played.truth[-2:]}
        for t in sorted(times | {event.time for _, event in played.truth[-2:]} | {played.now + 1000 * scale}):
            played.check(t)
    return played
