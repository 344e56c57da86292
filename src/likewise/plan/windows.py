"""WindowSet: what a view's windows compute, as data: the inputs, the features and their windows (S5, S6).

Training, back-fill and push read the same records, so that all of them compute the same values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import timedelta

from likewise.core.aggregates import parse_function
from likewise.core.errors import InvalidDefinition, NotSupported
from likewise.core.time import span_micros
from likewise.core.types import FeatureType, Int64, Invalid
from likewise.core.windows import Window
from likewise.define.aggregation import ROWS, Aggregation
from likewise.define.view import FeatureView, WindowedView
from likewise.plan.expression import parse_expression, quoted
from likewise.plan.scan import Scan, lineage


@dataclass(frozen=True, slots=True)
class WindowInput:
    """One column of values that windows aggregate, made of the columns of each event."""

    expression: str
    """The name of one of :attr:`columns`; else an SQL expression in DuckDB's words over them, every name in double
    quotes; ``*`` is the constant 1."""
    where: str
    """An SQL condition, written like an expression; where it is not true the value is null. Empty: always true."""
    type: FeatureType
    """The type of the values."""
    columns: tuple[str, ...] = ()
    """The event's columns that the expression and the condition read, sorted."""

    @property
    def plain(self) -> bool:
        """Whether it is one column as it is, which no SQL need compute."""
        return not self.where and self.expression in self.columns


@dataclass(frozen=True, slots=True)
class WindowFeature:
    """One function of an input over a window."""

    name: str
    """The feature's name in the view."""
    input: int
    """Which of the inputs it aggregates."""
    function: str
    """The function as ``core.aggregates`` writes it: ``sum``, ``last_n(5)``."""
    window: Window
    """The window."""
    type: FeatureType
    """The feature's declared type; the function's own where none was declared."""


@dataclass(frozen=True, slots=True)
class WindowSet:
    """The windows of one view. All times are microseconds."""

    view: str
    """The view's name, for messages."""
    inputs: tuple[WindowInput, ...]
    """What is aggregated; each input once."""
    features: tuple[WindowFeature, ...]
    """The features, in the order of the view's."""
    columns: tuple[tuple[str, FeatureType], ...] = ()
    """(name in the view, type) of the event's columns that the inputs read, sorted by name."""
    origin: str = ""
    """A hash of where the columns come from, if not from columns of the source of the same names; part of the hash."""
    has_source: bool = True
    """Whether there is a batch source that holds the history; else all that counts is what was pushed."""

    @property
    def hash(self) -> str:
        """What is computed, as 64 hexadecimal digits: states of another hash say nothing of these windows."""
        said = [
            [[i.expression, i.where, i.type.name, i.columns] for i in self.inputs],
            [[f.name, f.input, f.function, *astuple(f.window), f.type.name] for f in self.features],
            [[name, kind.name] for name, kind in self.columns],
            self.origin,
            *([] if self.has_source else ["pushed only"]),
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def longest(self) -> int | None:
        """How far before a time the oldest event may lie that counts at it; None if there is no limit."""
        reaches = [feature.window.reach for feature in self.features]
        limited = [reach for reach in reaches if reach is not None]
        return max(limited, default=0) if len(limited) == len(reaches) else None


@dataclass(frozen=True, slots=True)
class WindowJoin:
    """The windows of one view at the entity rows' times."""

    scan: Scan
    """The events to read; its columns are those of :attr:`WindowSet.columns`, one for one, as the files call them."""
    windows: WindowSet
    """What to compute: just the features asked for."""
    spine_keys: tuple[str, ...]
    """The column of the entity rows for each of the scan's keys, in the same order."""
    outputs: tuple[str, ...]
    """The name of each of the windows' features in the joined table, in the same order; unique within the plan."""
    reference: str = ""
    """The view as it was asked for: ``users``, or ``users@v1``; empty: the scan's."""


def window_set(view: WindowedView) -> WindowSet:
    """Return the windows of a view.

    Args:
        view: a view of a catalog, whose inputs and features have types.

    Raises:
        NotSupported: it was applied by a version that did not compute windows, so its inputs have no types.

    Example:
        >>> from likewise.core.types import Float64
        >>> from likewise.define.field import Field
        >>> from likewise.define.windowed import BatchFeatureView
        >>> week = Aggregation("amount", "sum", timedelta(days=7), name="spent")
        >>> view = BatchFeatureView(
        ...     "cards", schema=[Field("spent", Float64)], inputs=[Field("amount", Float64)], aggregations=[week]
        ... )
        >>> windows = window_set(view)
        >>> windows.inputs, windows.columns
        ((WindowInput(expression='amount', where='', type=Float64, columns=('amount',)),), (('amount', Float64),))
        >>> windows.longest == span_micros(timedelta(days=7))
        True
    """
    types = {field.name: field.dtype for field in view.inputs}
    declared = {field.name: field.dtype for field in view.fields}
    made = {aggregation.feature: aggregation for aggregation in view.windows()}
    if not made.keys() <= declared.keys():
        raise _untyped(view)
    places: dict[WindowInput, int] = {}
    features = []
    for name in (name for name in declared if name in made):
        place = places.setdefault(_typed_input(made[name], types, view), len(places))
        function = str(parse_function(made[name].function))
        features.append(WindowFeature(name, place, function, window_of(made[name]), declared[name]))
    read = sorted({column for each in places for column in each.columns})
    columns = tuple((name, types[name]) for name in read)
    has_source = view.batch_source is not None
    return WindowSet(view.name, tuple(places), tuple(features), columns, _origin(view, read), has_source)


def windows_of(view: FeatureView) -> WindowSet | None:
    """Return the windows of a view; None when it has none.

    Raises:
        NotSupported: as :func:`window_set`.
    """
    return window_set(view) if isinstance(view, WindowedView) and view.aggregations else None


def windows_if_known(view: FeatureView) -> WindowSet | None:
    """Return the windows of a view; None also when it was applied by a version that computed none."""
    try:
        return windows_of(view)
    except NotSupported:
        return None


def window_input(aggregation: Aggregation, columns: Collection[str]) -> WindowInput:
    """Return what an aggregation reads, whose type is still to be told.

    Args:
        aggregation: the aggregation.
        columns: the names of the event's columns that are known; it may read others, too.

    Raises:
        InvalidDefinition: its column or its condition is no expression over an event's columns.
    """
    text, condition = aggregation.column.strip(), aggregation.where.strip()
    expression, read = text, {text}
    if text == ROWS:
        read = set()
    elif text not in columns:
        parsed = parse_expression(text)
        read = set(parsed.columns)
        lone = next(iter(read), "")
        expression = lone if parsed.sql == quoted(lone) else parsed.sql
    where = parse_expression(condition) if condition else None
    names = read if where is None else read.union(where.columns)
    return WindowInput(expression, "" if where is None else where.sql, Invalid, tuple(sorted(names)))


def window_of(aggregation: Aggregation) -> Window:
    """Return an aggregation's window in microseconds; a whole life has no old end to align."""
    width, slide, delay = aggregation.time_window, aggregation.slide_interval, aggregation.delay or timedelta(0)
    aligned = None if width is None or slide is None else span_micros(slide)
    return Window(None if width is None else span_micros(width), aligned, span_micros(delay))


def narrowed(windows: WindowSet, names: Iterable[str]) -> WindowSet:
    """Return the windows with only some of their features, in the order given, and only the inputs that these need.

    Args:
        windows: the windows of a view.
        names: names of its features.
    """
    by_name = {feature.name: feature for feature in windows.features}
    kept = [by_name[name] for name in names]
    places = {place: number for number, place in enumerate(sorted({feature.input for feature in kept}))}
    inputs = tuple(windows.inputs[place] for place in places)
    read = {column for each in inputs for column in each.columns}
    return replace(
        windows,
        inputs=inputs,
        features=tuple(replace(feature, input=places[feature.input]) for feature in kept),
        columns=tuple((name, kind) for name, kind in windows.columns if name in read),
    )


def _typed_input(aggregation: Aggregation, types: Mapping[str, FeatureType], view: WindowedView) -> WindowInput:
    try:
        found = window_input(aggregation, types)
    except InvalidDefinition as error:
        raise _untyped(view) from error
    known = {**view.derived, **types, ROWS: Int64}.get(aggregation.column.strip())
    known = types.get(found.expression, known)
    if known is None or not types.keys() >= set(found.columns):
        raise _untyped(view)
    return replace(found, type=known)


def _untyped(view: WindowedView) -> NotSupported:
    what = f"{view.title} was applied by a version that did not compute its windows"
    return NotSupported(what, cure="run 'likewise apply' again")


def _origin(view: WindowedView, columns: Iterable[str]) -> str:
    """Return what says where columns come from; empty when they are columns of the source, under their own names."""
    said = [*(stored for name in columns if (stored := view.stored_name(name)) != name), lineage(view)]
    return hashlib.sha256(repr(said).encode()).hexdigest() if any(said) else ""
