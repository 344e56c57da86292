"""Window strategies: generated windows over generated histories, and the times at which their values may change.

:func:`window_cases` draws a view's rows as :func:`likewise.testing.strategies.histories` does, any functions that take
their types over windows of any kind, and entity rows whose times lie on the edges of those windows, a microsecond off
them, or far later; with the oracle's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from likewise.core.aggregates import FUNCTIONS, aggregate_for, parse_function
from likewise.core.errors import BackendMissing
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import FeatureType, Int64, UnixTimestamp, arrow_type
from likewise.core.windows import Window
from likewise.define.aggregation import ROWS
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import TrainingPlan
from likewise.plan.windows import WindowFeature, WindowInput, WindowJoin, WindowSet
from likewise.testing import oracle
from likewise.testing.kinds import NOON, column
from likewise.testing.strategies import History, ViewShape, histories, view_shapes

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise BackendMissing("generated cases need hypothesis", cure='pip install "likewise[testing]"') from missing

TIME = "event_timestamp"
"""The entity rows' column of times."""
_WIDTHS = (1, 2, 3, 1000, 1_000_000, 86_400_000_000, 2 * 86_400_000_000, 1 << 70, None)
_SLIDES = (None, None, 1, 2, 3, 7, 1000, 3_600_000_000, 1 << 70)
_DELAYS = (0, 0, 0, 1, 2, 1000, 86_400_000_000, 1 << 70)
_TEXTS = (
    "last_n(1)",
    "last_n(2)",
    "first_n(2)",
    "top_k(1)",
    "top_k(2)",
    "last_distinct_n(2)",
    "approx_percentile(0.9)",
)

windows = st.builds(Window, st.sampled_from(_WIDTHS), st.sampled_from(_SLIDES), st.sampled_from(_DELAYS))
"""Windows of any kind; one without a width never has a slide that counts."""


@dataclass(frozen=True, slots=True)
class Input:
    """What windows aggregate, in SQL and in Python."""

    column: int | None
    """The place of a feature of the shape, whose column it is; None counts rows."""
    condition: int | None
    """The place of a feature that must not be null for the value to count; None: always."""

    def written(self, shape: ViewShape) -> WindowInput:
        """Return it as the plan has it."""
        names = sorted({shape.features[place].name for place in (self.column, self.condition) if place is not None})
        kind = Int64 if self.column is None else shape.features[self.column].kind.type
        where = "" if self.condition is None else f'"{shape.features[self.condition].name}" IS NOT NULL'
        expression = ROWS if self.column is None else shape.features[self.column].name
        return WindowInput(expression, where, kind, tuple(names))

    def value(self, values: Sequence[Any]) -> Any:
        """Return its value for an event with these features."""
        if self.condition is not None and values[self.condition] is None:
            return None
        return 1 if self.column is None else values[self.column]


@dataclass(frozen=True, slots=True)
class WindowCase:
    """A view's rows, windows over them, and entity rows that ask about them."""

    history: History
    """The view and its rows."""
    inputs: tuple[Input, ...]
    """What is aggregated."""
    features: tuple[tuple[int, str, Window], ...]
    """(input, function, window) of each feature."""
    asked: tuple[tuple[int | None, tuple[Any, ...]], ...]
    """(time, key) of each entity row."""
    known_by: bool
    """Whether an event counts only once it was created (S4)."""

    def windows(self) -> WindowSet:
        """Return the windows as the plan has them."""
        inputs = tuple(each.written(self.history.shape) for each in self.inputs)
        features = tuple(
            WindowFeature(f"w{number}", place, function, window, aggregate_for(function, inputs[place].type).output)
            for number, (place, function, window) in enumerate(self.features)
        )
        types = {feature.name: feature.kind.type for feature in self.history.shape.features}
        read = sorted({name for each in inputs for name in each.columns})
        return WindowSet(self.history.shape.name, inputs, features, tuple((name, types[name]) for name in read))

    def scan(self, location: Location) -> Scan:
        """Return the scan of the events, with the columns that the inputs read."""
        shape = self.history.shape
        by_name = {feature.name: feature for feature in shape.features}
        columns = tuple(ScanColumn(by_name[name].column, kind) for name, kind in self.windows().columns)
        return replace(shape.scan(location), columns=columns)

    def plan(self, location: Location) -> TrainingPlan:
        """Return the plan of the training set."""
        keys = self.history.shape.keys
        join = WindowJoin(
            self.scan(location),
            self.windows(),
            tuple(f"key {number}" for number in range(len(keys))),
            tuple(f"out {number}" for number in range(len(self.features))),
        )
        types = tuple((f"key {number}", key.pool.type) for number, key in enumerate(keys))
        features = zip(join.outputs, join.windows.features, strict=True)
        asked = tuple((name, name, feature.type) for name, feature in features)
        return TrainingPlan("generated", 1, TIME, types, (), (), asked, self.known_by, (join,))

    def spine(self) -> pa.Table:
        """Return the entity rows."""
        columns = {TIME: column([time for time, _ in self.asked], arrow_type(UnixTimestamp))}
        for number, key in enumerate(self.history.shape.keys):
            columns[f"key {number}"] = column([parts[number] for _, parts in self.asked], arrow_type(key.pool.type))
        return pa.table(columns)

    def events(self) -> list[oracle.Row]:
        """Return the events as the oracle takes them: their values are the inputs'."""
        rows = self.history.rows()
        return [replace(row, values=tuple(each.value(row.values) for each in self.inputs)) for row in rows]

    def expected(self) -> list[list[Any]]:
        """Return what the oracle says, feature by feature.

        Raises:
            AggregateOverflow: a sum is beyond its type.
        """
        events = self.events()
        return [
            [oracle.windowed(events, key, t, window, function, place, self.known_by) for t, key in self.asked]
            for place, function, window in self.features
        ]


@st.composite
def window_cases(draw: st.DrawFn) -> WindowCase:
    """Draw a view's rows, up to six windowed features over them, and entity rows on the windows' edges."""
    history = draw(histories(draw(view_shapes())))
    places = st.integers(0, len(history.shape.features) - 1)
    inputs = draw(st.lists(st.builds(Input, st.none() | places | places, st.none() | places), min_size=1, max_size=3))
    kinds = [each.written(history.shape).type for each in inputs]
    features = draw(
        st.lists(st.integers(0, len(inputs) - 1).flatmap(lambda n: _feature(n, kinds[n])), min_size=1, max_size=6)
    )
    times = _edges(history, [window for _, _, window in features])
    pools = [key.pool.values for key in history.shape.keys]
    key = st.tuples(*(st.sampled_from([pool[0]] * 8 + [*pool, None]) for pool in pools))
    asked = draw(st.lists(st.tuples(st.sampled_from([*times, None]), key), max_size=12))
    return WindowCase(history, tuple(inputs), tuple(features), tuple(asked), draw(st.booleans()))


def functions_of(kind: FeatureType) -> list[str]:
    """Return the functions that take values of a type, some with a number of their own.

    Example:
        >>> from likewise.core.types import Array
        >>> functions_of(Array(Int64))
        ['count', 'first', 'last', 'first_n(10)', 'last_n(10)', 'last_n(1)', 'last_n(2)', 'first_n(2)']
    """
    found = [parse_function(text) for text in (*FUNCTIONS, *_TEXTS)]
    return [str(function) for function in found if kind.family in FUNCTIONS[function.name].takes]


def _feature(number: int, kind: FeatureType) -> st.SearchStrategy[tuple[int, str, Window]]:
    return st.tuples(st.just(number), st.sampled_from(functions_of(kind)), windows)


def _edges(history: History, asked: Sequence[Window]) -> list[int]:
    """Return the times at which a value may change, those just beside them, and some far later."""
    edges = {NOON, EARLIEST, LATEST}
    for row in (row for file in history.files for row in file):
        edges |= {time for time in (row.event, row.created) if time is not None}
        if row.event is not None:
            edges |= {row.event + window.delay for window in asked}
            edges |= {row.event + window.delay + (window.width or 0) for window in asked}
    near = {edge + step for edge in edges for step in (-1, 0, 1)} | {edge + 400 * 86_400_000_000 for edge in edges}
    return sorted(time for time in near if EARLIEST <= time <= LATEST)
