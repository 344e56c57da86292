"""Lookup: the interpreter of an online read, made once for each set of features and catalog, and used again and again.

This is a hot path: what depends on types and names is decided when the lookup is made, and a request is worked on
column by column. What all rows share (all found, none too old) is found out with one comparison a view.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import numpy as np

from likewise.core.errors import EntityKeyError, RequestDataMissing, RequestError
from likewise.core.keys import KeyCodec, coerce
from likewise.core.names import near_misses
from likewise.core.time import from_micros, span_text
from likewise.core.types import Int64
from likewise.define.definition import caller
from likewise.online.base import OnlineStore
from likewise.online.response import Answered, FieldStatus, OnlineResponse
from likewise.online.rows import Decoded, Layout, RowReader
from likewise.plan.lookup import LookupPlan, LookupStep, Output, ViewRead
from likewise.registry.base import RegistryReader
from likewise.registry.history import past_features

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
"""The keys of a request: one mapping a row, or columns."""
Columns = Mapping[str, Sequence[Any]]
"""Values by column."""
LayoutReader = Callable[[str, int], Layout | None]
"""Returns the layout with an id that a view had once, by the view's name; None when it never had it."""
MOST_KEYS = 1_000_000
"""How many rows one request may have."""
_INTS = {int}
_warned: set[tuple[str, FieldStatus]] = set()


@runtime_checkable
class _Tolist(Protocol):
    """What NumPy arrays and pandas columns have: a quick way to plain Python values."""

    def tolist(self) -> list[Any]: ...


class ListRunner(Protocol):
    """Runs an on-demand view's function on lists of Python values."""

    def run_lists(self, columns: Mapping[str, Sequence[Any]], rows: int) -> dict[str, list[Any]]:
        """Return the function's outputs, one value for each row."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one view for the rows of a request."""

    columns: Sequence[Sequence[Any]]
    """The values, one column for each wanted feature."""
    states: Sequence[FieldStatus] | None
    """What is known of each row's record; None when all are there and count."""
    times: Sequence[int | None]
    """The event time of each row's record; None where there is none."""
    unknown: Mapping[int, Sequence[int]]
    """Number of a wanted feature to the rows whose records do not have it yet."""

    def states_of(self, wanted: int) -> Sequence[FieldStatus] | None:
        """Return what is known of each row's record as far as one wanted feature goes."""
        rows = self.unknown.get(wanted)
        if rows is None:
            return self.states
        states = [FieldStatus.PRESENT] * len(self.times) if self.states is None else list(self.states)
        for row in rows:
            states[row] = FieldStatus.NOT_FOUND
        return states


class Lookup:
    """One online read, ready to be asked again and again.

    Args:
        plan: what to read.
        store: where from.
        runners: the on-demand views' functions, by view.
        read_layout: finds the layout of records that were written under an earlier definition.
        verify: whether each read checks the check sums of its records.
    """

    def __init__(
        self,
        plan: LookupPlan,
        store: OnlineStore,
        runners: Mapping[str, ListRunner],
        read_layout: LayoutReader,
        verify: bool = False,
    ) -> None:
        self.plan = plan
        self._store = store
        self._runners = runners
        self._keys = [KeyCodec(group.types, group.columns) for group in plan.groups]
        self._rows = [_reader(read, read_layout, verify) for read in plan.reads]
        self._key_types = dict(plan.entities)
        self._entity_of = {c: e for group in plan.groups for c, e in zip(group.columns, group.entities, strict=True)}
        direct = all(output.read >= 0 for output in plan.outputs)
        self._direct = [(o.name, o.type, o.read, o.position) for o in plan.outputs] if direct else None
        self._wanted = [*self._key_types, *(name for name, _, _ in plan.request)]

    def read(self, rows: Rows, now: int) -> OnlineResponse:
        """Answer a request.

        Args:
            rows: the keys, and the request's own values.
            now: the time the answer is for, in microseconds since the epoch.

        Raises:
            EntityKeyError: a key is missing, null or of the wrong type.
            RequestDataMissing: a request value that an on-demand view needs is missing.
        """
        columns, count = self._columns(rows)
        keys = {name: self._coerced(name, columns[name]) for name in self._key_types}
        found = self._read([self._encode(index, keys, count) for index in range(len(self._keys))], now)
        computed = [self._compute(step, columns, found, count) for step in self.plan.steps]
        if self._direct is not None and not any(view.unknown for view in found):
            answered = [
                Answered(name, kind, (view := found[read]).columns[position], view.states, view.times)
                for name, kind, read, position in self._direct
            ]
        else:
            answered = [_answer(output, found, computed, count) for output in self.plan.outputs]
        return OnlineResponse(keys, self._key_types, answered)

    def _coerced(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return a key column as its type has it; plain integers need nothing but to fit, which their bytes tell."""
        kind = self._key_types[name]
        return values if kind == Int64 and set(map(type, values)) == _INTS else coerce(name, values, kind)

    def _encode(self, index: int, keys: Columns, count: int) -> list[bytes]:
        group = self.plan.groups[index]
        try:
            return self._keys[index].encode([keys[name] for name in group.columns], count)
        except struct.error:  # an integer beyond 64 bits: say which
            for name in group.columns:
                coerce(name, keys[name], self._key_types[name])
            raise

    def _read(self, keys: Sequence[Sequence[bytes]], now: int) -> list[Found]:
        reads = self.plan.reads
        records = self._store.read([(read.table, keys[read.group]) for read in reads]) if reads else []
        return [
            _judged(rows.decode(keys[read.group], batch), read, now)
            for read, rows, batch in zip(reads, self._rows, records, strict=True)
        ]

    def _compute(self, step: LookupStep, columns: Columns, found: Sequence[Found], count: int) -> dict[str, list[Any]]:
        inputs = {
            item.name: found[item.read].columns[item.position] if item.read >= 0 else columns[item.name]
            for item in step.inputs
        }
        return self._runners[step.view].run_lists(inputs, count)

    def _columns(self, rows: Rows) -> tuple[dict[str, Sequence[Any]], int]:
        """Return the columns that the plan needs, and the number of rows."""
        if isinstance(rows, Mapping):
            return self._from_columns(rows)
        given: object = rows
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise RequestError(
                f"entity_rows is a {type(rows).__name__}",
                cure="give a list of dicts, such as [{'user_id': 1}], or columns, such as {'user_id': [1, 2]}",
            )
        _refuse_too_many(len(rows))
        return {name: self._gather(rows, name) for name in self._wanted}, len(rows)

    def _gather(self, rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
        try:
            return [row[name] for row in rows]
        except KeyError:
            pass
        except TypeError as error:
            given: Sequence[object] = rows
            bad = next(i for i, row in enumerate(given) if not isinstance(row, Mapping))
            raise RequestError(
                f"row {bad} of entity_rows is {given[bad]!r}", cure="give a dict of key columns for each row"
            ) from error
        other = self._entity_of.get(name, name)
        for number, row in enumerate(rows):
            if name not in row and other not in row:
                raise self._missing(name, list(row), f"row {number} of the request")
        return [row[name] if name in row else row[other] for row in rows]

    def _from_columns(self, given: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], int]:
        columns: dict[str, Sequence[Any]] = {name: self._as_list(name, values) for name, values in given.items()}
        counts = {len(values) for values in columns.values()}
        if len(counts) > 1:
            lengths = ", ".join(f"{name!r}: {len(values)}" for name, values in columns.items())
            raise RequestError(
                f"the columns of the request differ in length ({lengths})", cure="give each as many values"
            )
        for name in self._wanted:
            if name not in columns:
                other = self._entity_of.get(name, name)
                if other not in columns:
                    raise self._missing(name, list(given), "the request")
                columns[name] = columns[other]
        count = counts.pop() if counts else 0
        _refuse_too_many(count)
        return columns, count

    @staticmethod
    def _as_list(name: str, values: Any) -> list[Any]:
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            values = values.astype("datetime64[us]")  # finer ones would come as bare numbers
        flat = not isinstance(values, np.ndarray) or values.ndim == 1
        if isinstance(values, str | bytes) or not isinstance(values, Iterable) or not flat:
            raise RequestError(
                f"column {name!r} of the request is {values!r}", cure=f"give a list: {{{name!r}: [...]}}"
            )
        listed: list[Any] = values.tolist() if isinstance(values, _Tolist) else list(values)
        return listed

    def _missing(self, name: str, given: Sequence[str], where: str) -> RequestError:
        for requested, declared, view in self.plan.request:
            if requested == name:
                return RequestDataMissing(
                    f"{where} does not give {name!r}, which on-demand feature view {view!r} needs",
                    cure=f"add {name!r}, of type {declared}",
                )
        views = ", ".join(repr(r.view) for r in self.plan.reads if name in self.plan.groups[r.group].columns)
        return EntityKeyError(f"{where} has no key {name!r}, which finds {views}", cure=near_misses(name, given))


def _judged(decoded: Decoded, read: ViewRead, now: int) -> Found:
    """Say of each record whether it is there and still counts at a time (S3, S7)."""
    columns, times = decoded.columns, decoded.events
    if decoded.strange:
        _warn_strange(read)
    oldest = None if read.ttl is None else now - read.ttl
    known: Sequence[Any] = [at for at in times if at is not None] if decoded.absent else times
    if _all_count(known, oldest, now):
        return Found(columns, _there_or_not(times) if decoded.absent else None, times, decoded.unknown)
    states = [_state(at, oldest, now) for at in times]
    if FieldStatus.OUTSIDE_MAX_AGE in states:
        _warn_expired(read, min(known), now)
    if max(known) > now:
        _warn_future(read, max(known))
    hidden = [state is not FieldStatus.PRESENT for state in states]
    blank = [[None if hide else value for value, hide in zip(column, hidden, strict=True)] for column in columns]
    shown = [None if state is FieldStatus.NOT_FOUND else at for at, state in zip(times, states, strict=True)]
    return Found(blank, states, shown, decoded.unknown)


def _there_or_not(times: Sequence[int | None]) -> list[FieldStatus]:
    present, absent = FieldStatus.PRESENT, FieldStatus.NOT_FOUND
    return [absent if at is None else present for at in times]


def _all_count(times: Sequence[Any], oldest: int | None, now: int) -> bool:
    return not times or ((oldest is None or min(times) >= oldest) and max(times) <= now)


def _state(at: int | None, oldest: int | None, now: int) -> FieldStatus:
    if at is None or at > now:
        return FieldStatus.NOT_FOUND
    return FieldStatus.OUTSIDE_MAX_AGE if oldest is not None and at < oldest else FieldStatus.PRESENT


def _answer(
    output: Output, found: Sequence[Found], computed: Sequence[Mapping[str, list[Any]]], count: int
) -> Answered:
    if output.read >= 0:
        view = found[output.read]
        states = view.states if not view.unknown else view.states_of(output.position)
        return Answered(output.name, output.type, view.columns[output.position], states, view.times)
    return Answered(output.name, output.type, computed[output.position][output.feature], None, [None] * count)


def past_layout(registry: RegistryReader, project: str, view: str, identifier: int) -> Layout | None:
    """Return the layout with an id that a view's records had once; None when no version of the view had it."""
    layouts = (Layout.of(features) for features in past_features(registry, project, view))
    return next((layout for layout in layouts if layout.id == identifier), None)


def _reader(read: ViewRead, read_layout: LayoutReader, verify: bool) -> RowReader:
    layout = Layout.of(zip(read.names, read.types, strict=True))

    def resolve(identifier: int) -> Layout | None:
        return read_layout(read.view, identifier)

    return RowReader(layout, read.wanted, table=read.table, resolve=resolve, check_each=verify)


def _refuse_too_many(count: int) -> None:
    if count > MOST_KEYS:
        raise RequestError(f"{count:,} rows in one request are too many", cure=f"ask for at most {MOST_KEYS:,} at once")


def _warn_expired(read: ViewRead, oldest: int, now: int) -> None:
    if (read.table, FieldStatus.OUTSIDE_MAX_AGE) in _warned:
        return
    _warned.add((read.table, FieldStatus.OUTSIDE_MAX_AGE))
    age, ttl = timedelta(seconds=(now - oldest) // 1_000_000), timedelta(microseconds=read.ttl or 0)
    _warn(
        f"view {read.view!r} has values that are {age} old, older than its ttl of {span_text(ttl)}: they are "
        "served as null with status OUTSIDE_MAX_AGE. Materialize it more often "
        "(likewise materialize-incremental), or raise its ttl. "
        "This is said once a process."
    )


def _warn_future(read: ViewRead, newest: int) -> None:
    if (read.table, FieldStatus.NOT_FOUND) in _warned:
        return
    _warned.add((read.table, FieldStatus.NOT_FOUND))
    _warn(
        f"view {read.view!r} has rows with event times after the time asked for "
        f"(up to {from_micros(newest).isoformat()}): they "
        "are not served before their time. Check the clocks of whoever writes them. This is said once a process."
    )


def _warn_strange(read: ViewRead) -> None:
    if (read.table, FieldStatus.NULL_VALUE) in _warned:
        return
    _warned.add((read.table, FieldStatus.NULL_VALUE))
    _warn(
        f"view {read.view!r} has records of a definition that its registry does not know: they are served as null with "
        "status NOT_FOUND. Materialize it anew. This is said once a process."
    )


def _warn(message: str) -> None:
    """Warn where the user's program asked, not in here."""
    place = caller()
    warnings.warn_explicit(message, UserWarning, place.file, place.line)
