"""WindowLayout: how the record of a windowed view is laid out, decided once for each window set.

What a window computes is put together from *parts*: the state of one kind over one input (``core.aggregates``), shared
by all functions that can use it. Parts over numbers are rows of numbers, reduced many at a time:

- *sums*: how many values; of integers the high and the low 32 bits of the sum,
- *tops*: the greatest of integers; the least one is the greatest of the complements,
- *peaks*: the greatest of floats; the least one is the greatest of the negatives,
- *floats*: a few floats whose exact sum is the sum.

All others keep the states of their aggregate as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from likewise.core.aggregates import Aggregate, aggregate_for
from likewise.core.types import Family, FeatureType
from likewise.core.windows import Window
from likewise.plan.windows import WindowFeature, WindowSet

LIFE_HOP = 86_400_000_000
"""The hop of the tiles of windows over the whole life; the oldest of them are merged."""
_Row = TypeVar("_Row")
_BITS = 63
"""How many inputs' validity fits one word."""


class Held(enum.Enum):
    """What is kept of an input's value, beside whether it is null."""

    NOTHING = "nothing"
    INT = "int"
    FLOAT = "float"
    ANY = "any"


class InputPlace(msgspec.Struct, frozen=True):
    """Where the values of one input are kept."""

    type: FeatureType
    """The type of the values."""
    held: Held
    """What is kept of a value."""
    row: int
    """Which row of an event table it is, or which list of values that are no numbers; 0 for nothing."""
    valid_row: int
    """Which row tells whether it is null."""
    bit: int
    """The bit of that row's words that is set where it is not."""


class Sum(enum.Enum):
    """What a row of sums adds up."""

    COUNT = "count"
    HIGH = "high"
    LOW = "low"


@dataclass(slots=True)
class SeriesRows:
    """What the tiles of a series keep; the place in each list is the row's number."""

    sums: list[tuple[Sum, int]] = field(default_factory=list)
    """Rows of int64 that are added: (what, input)."""
    tops: list[tuple[bool, int]] = field(default_factory=list)
    """Rows of int64 of which the greatest counts: (whether the least value is meant, input)."""
    peaks: list[tuple[bool, int]] = field(default_factory=list)
    """Rows of float64 of which the greatest counts, likewise."""
    floats: list[int] = field(default_factory=list)
    """Inputs whose floats are summed."""
    states: list[tuple[int, Aggregate]] = field(default_factory=list)
    """(input, aggregate) whose states are kept as they are."""

    @staticmethod
    def place(rows: list[_Row], wanted: _Row) -> int:
        """Return the number of a row, which is added if it is not there."""
        if wanted not in rows:
            rows.append(wanted)
        return rows.index(wanted)


class Part(msgspec.Struct, frozen=True):
    """One state that is computed over a window, and where the tiles of its series have it."""

    kind: str
    """``count``, ``ints``, ``floats``, ``top``, ``peak`` or ``state``."""
    aggregate: Aggregate
    """Whose state it is."""
    input: int
    """Over which input."""
    least: bool
    """For an extreme: whether it is the least."""
    count: int
    """The row of sums that counts its values; 0 for ``state``."""
    at: int
    """Its row among tops or peaks, its place among floats or states; for ``ints`` the row of the high parts."""


@dataclass(frozen=True, slots=True)
class Series:
    """The tiles of all windows with one slide, or of those over the whole life."""

    hop: int
    """The length of a tile, in microseconds."""
    life: bool
    """Whether its windows are without an old end."""
    reach: int
    """How far before a time its windows look, at most; 0 for the whole life."""
    delay: int
    """The longest delay of its windows."""
    rows: SeriesRows
    """What its tiles keep."""


class Reading(msgspec.Struct, frozen=True):
    """All that is computed over one window."""

    window: Window
    """The window."""
    series: int
    """The series whose tiles it is made of; -1 where only events will do."""
    parts: tuple[Part, ...]
    """The states to compute."""
    features: tuple[tuple[int, int, Aggregate], ...]
    """(feature, which part it is finished from, by which aggregate)."""


class WindowLayout:
    """How the records of a window set are laid out.

    Args:
        windows: the window set.
        has_source: whether events come from a batch source as well, so that each needs its time of arrival.
    """

    def __init__(self, windows: WindowSet, has_source: bool) -> None:
        self.windows = windows
        self.has_source = has_source
        self.aggregates = [aggregate_for(f.function, windows.inputs[f.input].type) for f in windows.features]
        self.ranked = any(aggregate.ranked for aggregate in self.aggregates)
        self._place_inputs()
        hops = {_hop(f.window): None for f in windows.features}
        self.hops = [hop for hop in hops if hop is not None]
        rows = [SeriesRows() for _ in self.hops]
        self.readings = tuple(self._readings(rows))
        self.series = tuple(self._series(hop, of) for hop, of in zip(self.hops, rows, strict=True))
        bare = [f.window for f in windows.features if _hop(f.window) is None]
        self.raw_reach = max((window.reach or 0 for window in bare), default=None)
        """How far before a time the windows look that are made of events only; None where there is none."""

    def _place_inputs(self) -> None:
        """Give each input its rows: event time, arrival, created and order come first, validity last."""
        self.arrival = 1 if self.has_source else 0
        self.created = self.arrival + 1 if self.ranked else 0
        fixed = 1 + self.has_source + 2 * self.ranked
        held = [self._held(number) for number in range(len(self.windows.inputs))]
        numbers = [number for number, of in enumerate(held) if of in (Held.INT, Held.FLOAT)]
        others = [number for number, of in enumerate(held) if of is Held.ANY]
        self.plain_rows = fixed + len(numbers)
        """How many rows an event table has without validity."""
        self.valid_rows = -(-len(held) // _BITS)
        self.full = [(1 << min(_BITS, len(held) - _BITS * word)) - 1 for word in range(self.valid_rows)]
        """The words of validity of an event without nulls."""
        self.lists = len(others)
        """How many inputs have values that are no numbers."""
        rows = {n: fixed + at for at, n in enumerate(numbers)} | {n: at for at, n in enumerate(others)}
        self.inputs = tuple(
            InputPlace(given.type, of, rows.get(number, 0), self.plain_rows + number // _BITS, number % _BITS)
            for number, (given, of) in enumerate(zip(self.windows.inputs, held, strict=True))
        )

    def _held(self, number: int) -> Held:
        kinds = {a.kind for f, a in zip(self.windows.features, self.aggregates, strict=True) if f.input == number}
        if kinds <= {"count"}:
            return Held.NOTHING
        match self.windows.inputs[number].type.family:
            case Family.INT | Family.TIME | Family.BOOL:
                return Held.INT
            case Family.FLOAT:
                return Held.FLOAT
        return Held.ANY

    def _series(self, hop: int, rows: SeriesRows) -> Series:
        of = [f.window for f in self.windows.features if _hop(f.window) == hop]
        life = hop == 0
        reach = 0 if life else max(window.reach or 0 for window in of)
        return Series(LIFE_HOP if life else hop, life, reach, max(window.delay for window in of), rows)

    def _readings(self, rows: list[SeriesRows]) -> Iterable[Reading]:
        for window in {f.window: None for f in self.windows.features}:
            hop = _hop(window)
            series = -1 if hop is None else self.hops.index(hop)
            of = SeriesRows() if hop is None else rows[series]
            parts: dict[tuple[int, str], Part] = {}
            features: list[tuple[int, int, Aggregate]] = []
            for number, (feature, aggregate) in enumerate(zip(self.windows.features, self.aggregates, strict=True)):
                if feature.window == window:
                    same = (feature.input, aggregate.kind)
                    if same not in parts:
                        parts[same] = self._part(feature, aggregate, of)
                    features.append((number, list(parts).index(same), aggregate))
            yield Reading(window, series, tuple(parts.values()), tuple(features))

    def _part(self, feature: WindowFeature, aggregate: Aggregate, rows: SeriesRows) -> Part:
        number, held = feature.input, self.inputs[feature.input].held
        least = aggregate.kind == "min"
        match aggregate.kind, held:
            case "count", _:
                return Part("count", aggregate, number, least, rows.place(rows.sums, (Sum.COUNT, number)), 0)
            case "total", Held.INT:
                count = rows.place(rows.sums, (Sum.COUNT, number))
                high = rows.place(rows.sums, (Sum.HIGH, number))
                rows.place(rows.sums, (Sum.LOW, number))
                return Part("ints", aggregate, number, least, count, high)
            case "total", Held.FLOAT:
                count = rows.place(rows.sums, (Sum.COUNT, number))
                return Part("floats", aggregate, number, least, count, rows.place(rows.floats, number))
            case "min" | "max", Held.INT:
                count = rows.place(rows.sums, (Sum.COUNT, number))
                return Part("top", aggregate, number, least, count, rows.place(rows.tops, (least, number)))
            case "min" | "max", Held.FLOAT:
                count = rows.place(rows.sums, (Sum.COUNT, number))
                return Part("peak", aggregate, number, least, count, rows.place(rows.peaks, (least, number)))
        kinds = [(of, kept.kind) for of, kept in rows.states]
        if (number, aggregate.kind) not in kinds:
            rows.states.append((number, aggregate))
            kinds.append((number, aggregate.kind))
        return Part("state", aggregate, number, least, 0, kinds.index((number, aggregate.kind)))


def _hop(window: Window) -> int | None:
    """The hop of the tiles that a window is made of: 0 for the whole life; None where only events will do."""
    return 0 if window.width is None else window.slide
