"""Explain: reads what one value of a feature was made of, from the source or from the online store; it only reads."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from likewise.core.aggregates import NEVER
from likewise.core.errors import EntityKeyError, NotSupported, RequestError
from likewise.core.frames import to_rows
from likewise.core.keys import KeyCodec, coerce
from likewise.core.names import near_misses
from likewise.core.time import from_micros
from likewise.core.types import Family, FeatureType
from likewise.core.windows import BEFORE_ALL
from likewise.jobs.backfill import events_of, whole_keys
from likewise.jobs.explanation import LatestRow, SeenEvent, SeenTile, ValueExplanation, WindowEvents, moment
from likewise.jobs.training import RetrievalJob
from likewise.offline.base import OfflineEngine, Part, Span
from likewise.offline.match import comparable, part_numbers
from likewise.online.base import OnlineStore
from likewise.online.events import Events
from likewise.online.response import OnlineResponse
from likewise.online.rows import Layout, RowReader, head_of
from likewise.online.window_state import META_KEY, WindowStates
from likewise.plan.lookup import LookupPlan, ViewRead
from likewise.plan.scan import Scan
from likewise.plan.selection import Selection
from likewise.plan.training import AsOfJoin
from likewise.plan.windows import WindowInput, WindowJoin, WindowSet

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 4_000_000
"""About how many rows of a source are held at a time."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which value is to be explained."""

    feature: str
    """The feature as it was asked for: ``view:feature``."""
    key: Mapping[str, Any]
    """The entity key, as it was given."""
    at: int
    """The time, in microseconds since the epoch."""
    definition: str
    """The hash of the view's definition."""
    catalog: int
    """The number of the catalog."""


def refuse_unexplained(selection: Selection, feature: str, key: object) -> None:
    """Refuse a question that is not about one stored feature of one key.

    Raises:
        RequestError: it names more than one feature, or the key is no mapping.
        NotSupported: the feature is computed by an on-demand view.
        EntityKeyError: the key has a part that the view does not know.
    """
    if len(selection.picks) != 1:
        names = ", ".join(f"{pick.part.view}:{pick.feature}" for pick in selection.picks[:3])
        raise RequestError(f"{feature!r} is {len(selection.picks)} features", cure=f"name one of them: {names} …")
    for view in selection.on_demand.values():
        inputs = [f"{source.name}:{field.name}" for source in view.source_views for field in source.features]
        what = (
            f"{feature!r} is computed by on-demand view {view.name!r} when it is asked for, so nothing made it before"
        )
        raise NotSupported(what, cure=f"explain what it is given: {', '.join(inputs) or 'the request'}")
    if not isinstance(key, Mapping):
        raise RequestError(f"the key is {key!r}", cure="give a dict of join keys, such as {'user_id': 1}")
    [stored] = selection.views.values()
    known = {name for entity in stored.entity_objects for name in (entity.join_key, entity.name)}
    for name in key:
        if name not in known:
            cure = near_misses(str(name), known, "it has no entities: give an empty key")
            raise EntityKeyError(f"{name!r} is no key of {stored.title}", cure=cure)


# From the source


def explain_trained(
    question: Question, job: RetrievalJob, engine: OfflineEngine, root: str, part_rows: int = PART_ROWS
) -> ValueExplanation:
    """Explain a value of a training set.

    Args:
        question: which value.
        job: the training set of just this key, time and feature.
        engine: reads the source.
        root: the repo's folder; paths below it are shown from there.
        part_rows: about how many rows of the source are held at a time.
    """
    plan = job.plan
    [(_, name, kind)] = plan.features
    joins: tuple[AsOfJoin | WindowJoin, ...] = (*plan.joins, *plan.windows)
    [join] = joins
    types = dict(plan.spine_types)
    key = {column: coerce(column, [question.key[column]], types[column])[0] for column in join.spine_keys}
    made = _SourceEvents(engine, join.scan, tuple(key.values()), root, part_rows)
    known_by = question.at if plan.known_by else None
    if isinstance(join, WindowJoin):
        reason: LatestRow | WindowEvents = _window_events(question, join, made, known_by)
    else:
        reason = _latest_row(question, join, kind, made, known_by)
    value = to_rows(job.to_arrow())[0][name]
    return _explained(question, key, value, _status(reason, value), reason)


def _latest_row(
    question: Question, join: AsOfJoin, kind: FeatureType, made: _SourceEvents, known_by: int | None
) -> LatestRow:
    [column] = join.scan.columns
    whole = WindowInput(column.column, "", kind, (column.column,))
    rows = made.read((whole,), 0, Span(None, question.at), known_by)
    return _latest(rows[-1] if rows else None, join.ttl, question.at)


def _latest(row: SeenEvent | None, ttl: int | None, at: int) -> LatestRow:
    if not ttl:
        return LatestRow(row, None, None)
    return LatestRow(row, moment(at - ttl), timedelta(microseconds=ttl))


def _window_events(question: Question, join: WindowJoin, made: _SourceEvents, known_by: int | None) -> WindowEvents:
    [feature] = join.windows.features
    lo, hi = feature.window.bounds(question.at)
    span = Span(None if lo == BEFORE_ALL else lo + 1, hi)
    events = made.read(join.windows.inputs, feature.input, span, known_by) if hi > BEFORE_ALL else []
    return WindowEvents(feature, join.windows.inputs[feature.input], moment(lo), from_micros(hi), tuple(events))


@dataclass(frozen=True, slots=True)
class _SourceEvents:
    """Reads the events of one key from a source."""

    engine: OfflineEngine
    scan: Scan
    key: tuple[Any, ...]
    root: str
    part_rows: int

    def read(self, inputs: Sequence[WindowInput], wanted: int, span: Span, known_by: int | None) -> list[SeenEvent]:
        """Return the events of a span in the order of S2, with the values of one input.

        Args:
            inputs: what the scan's columns are read for.
            wanted: which of the inputs.
            span: the span of event times.
            known_by: leave out what was created later than this; None for nothing.
        """
        scan = replace(self.scan, location=self.engine.pinned(self.scan.location))
        codec = KeyCodec([key.type for key in scan.keys], [key.column for key in scan.keys])
        [key] = codec.encode([[part] for part in self.key], 1)
        batches = self.engine.events(scan, inputs, span, self._part(scan))
        for block in whole_keys(batches, len(scan.keys)):
            found = events_of(block, codec)
            if key in found.keys:
                return self._seen(found.only([key]), wanted, scan, known_by)
        return []

    def _part(self, scan: Scan) -> Part:
        """Return a part of the keys that has this one, so that a large source is never held as a whole."""
        import pyarrow as pa

        from likewise.core.types import arrow_type

        parts = -(-self.engine.count(scan) // self.part_rows)
        if parts <= 1 or not scan.keys:
            return Part()
        typed = zip(self.key, scan.keys, strict=True)
        columns = [comparable(pa.array([part], arrow_type(key.type)), key.type) for part, key in typed]
        return Part(int(part_numbers(columns, parts, 1)[0]), parts)

    def _seen(self, events: Events, wanted: int, scan: Scan, known_by: int | None) -> list[SeenEvent]:
        import numpy as np

        created = np.full(len(events.time), NEVER) if events.created is None else events.created
        values = _values(events.inputs[wanted])
        place = self._placer(scan)
        return [
            SeenEvent(from_micros(time), _time(made), value, *place(order), order)
            for time, made, value, order in zip(
                events.time.tolist(), created.tolist(), values, events.order.tolist(), strict=True
            )
            if known_by is None or made <= known_by
        ]

    def _placer(self, scan: Scan) -> Callable[[int], tuple[str, int]]:
        """Return what finds the file, and the row in it, of a place in the source."""
        if self.scan.location.derivation is not None:
            return lambda place: (self.scan.location.shown, place)
        files = scan.location.files or ()
        alone = (replace(scan, location=replace(scan.location, files=(file,))) for file in files)
        starts = list(itertools.accumulate(map(self.engine.count, alone), initial=0))

        def find(place: int) -> tuple[str, int]:
            number = bisect.bisect_right(starts, place) - 1
            return self._short(files[number][0]), place - starts[number]

        return find

    def _short(self, path: str) -> str:
        below = f"{self.root}{os.sep}"
        return path.removeprefix(below)


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    return [row["value"] for row in to_rows(pa.table({"value": column}))]


# From the online store


def explain_served(
    question: Question, plan: LookupPlan, answer: OnlineResponse, store: OnlineStore, layouts: Callable[..., Any]
) -> ValueExplanation:
    """Explain an online value.

    Args:
        question: which value.
        plan: the online read of just this feature.
        answer: what it answered for the key.
        store: the store that it was read from.
        layouts: finds the layout of records that were written under an earlier definition.
    """
    [group] = plan.groups
    [read] = plan.reads
    [output] = plan.outputs
    answered = answer.to_dict()
    key = {name: answered[name][0] for name in group.columns}
    value, status = answered[output.name][0], answer.statuses()[output.name][0].name
    [code] = KeyCodec(group.types, group.columns).encode([[part] for part in key.values()], 1)
    if read.windows is None:
        reason: LatestRow | WindowEvents = _stored_row(question, read, code, store, layouts)
    else:
        reason = _stored_events(question, read, read.windows, code, store)
    return _explained(question, key, value, status, reason)


def _stored_row(
    question: Question, read: ViewRead, key: bytes, store: OnlineStore, layouts: Callable[..., Any]
) -> LatestRow:
    [[record]] = store.read([(read.table, [key])])
    layout = Layout.of(zip(read.names, read.types, strict=True))
    reader = RowReader(layout, read.stored, table=read.table, resolve=lambda i: layouts(read.view, i), check_each=True)
    decoded = reader.decode([key], [record])
    time = decoded.events[0]
    if record is None or time is None or time > question.at or decoded.unknown:
        return _latest(None, read.ttl, question.at)
    row = SeenEvent(from_micros(time), _time(head_of(record).created), decoded.columns[0][0], _place(read.table), None)
    return _latest(row, read.ttl, question.at)


def _stored_events(
    question: Question, read: ViewRead, windows: WindowSet, key: bytes, store: OnlineStore
) -> WindowEvents:
    number = next(n for n, feature in enumerate(windows.features) if feature.name == read.wanted[0])
    feature = windows.features[number]
    states = WindowStates(windows, read.table, windows.has_source)
    [[meta, record]] = store.read([(read.table, [META_KEY, key])])
    found = states.made_of(key, record, meta, question.at, number)
    held, tiles = ([], []) if found is None else found
    given = windows.inputs[feature.input]
    events = [
        SeenEvent(from_micros(time), _time(made), _shown(values[feature.input], given), _place(read.table), None, order)
        for (time, made, _, values), order in held
    ]
    state = feature.input, states.kind_of(number)
    seen = [
        SeenTile(from_micros(tile.end), from_micros(tile.last), tile.from_source, tile.states[state]) for tile in tiles
    ]
    lo, hi = feature.window.bounds(question.at)
    return WindowEvents(feature, given, moment(lo), from_micros(hi), tuple(events), tuple(seen), found is not None)


def _shown(value: Any, given: WindowInput) -> Any:
    return from_micros(value) if value is not None and given.type.family is Family.TIME else value


def _place(table: str) -> str:
    return f"online table {table}"


def _time(micros: int | None) -> Any:
    return None if micros is None or micros == NEVER else from_micros(micros)


def _status(reason: LatestRow | WindowEvents, value: Any) -> str:
    if isinstance(reason, LatestRow) and reason.row is None:
        return "NOT_FOUND"
    if isinstance(reason, LatestRow) and reason.expired:
        return "OUTSIDE_MAX_AGE"
    return "NULL_VALUE" if value is None else "PRESENT"


def _explained(
    question: Question, key: Mapping[str, Any], value: Any, status: str, reason: LatestRow | WindowEvents
) -> ValueExplanation:
    return ValueExplanation(
        question.feature,
        key,
        from_micros(question.at),
        value,
        status,
        question.definition,
        question.catalog,
        reason,
    )
