"""Lookup: the interpreter of an online read, made once for each set of features and catalog, and used again and again.

This is a hot path: what depends on types and names is decided when the lookup is made, and a request is worked on
column by column. What all rows share (all found, none too old) is found out with one comparison a view.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from copy import copy
from datetime import timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
import numpy as np

from likewise.core.errors import EntityKeyError, RequestDataMissing, RequestError, StoreError
from likewise.core.keys import KeyCodec, coerce
from likewise.core.names import near_misses
from likewise.core.time import from_micros, span_text
from likewise.core.types import FeatureType, Int64
from likewise.jobs.found import Found, nothing_read, without
from likewise.jobs.notices import say_once
from likewise.online.allowance import is_bounded, refuse_large, sized
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing
from likewise.online.guard import LastGood
from likewise.online.response import Answered, FieldStatus, OnlineResponse
from likewise.online.rows import Decoded, Layout, RowReader
from likewise.online.window_state import META_KEY, WindowStates, WindowValues
from likewise.plan.lookup import LookupPlan, Output, ViewRead
from likewise.plan.windows import WindowSet

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
"""The keys of a request: one mapping a row, or columns."""
Columns = Mapping[str, Sequence[Any]]
"""Values by column."""
LayoutReader = Callable[[str, int], Layout | None]
"""Returns the layout with an id that a view had once, by the view's name; None when it never had it."""
_INVALID, _PRESENT, _NOT_FOUND = FieldStatus.INVALID, FieldStatus.PRESENT, FieldStatus.NOT_FOUND
_ALL_KNOWN: Mapping[int, Sequence[int]] = {}
MOST_KEYS = 1_000_000
"""How many rows one request may have."""


@runtime_checkable
class _Tolist(Protocol):
    """What NumPy arrays and pandas columns have: a quick way to plain Python values."""

    def tolist(self) -> list[Any]: ...


class ListRunner(Protocol):
    """Runs an on-demand view's function on lists of Python values."""

    def run_lists(
        self, columns: Mapping[str, Sequence[Any]], rows: int, settled: Container[str] = ()
    ) -> dict[str, list[Any]]:
        """Return the function's outputs, one value for each row; inputs that are settled are as declared."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """One request, taken apart."""

    columns: Columns
    """What it gives, by column."""
    keys: Columns
    """Its key columns, as their types have them."""
    count: int
    """How many rows it has."""
    requests: Sequence[Request]
    """What to read of the store."""


class Lookup:
    """One online read, ready to be asked again and again.

    Args:
        plan: what to read.
        store: where from.
        runners: the on-demand views' functions, by view.
        read_layout: finds the layout of records that were written under an earlier definition.
        verify: whether each read checks the check sums of its records.
        last_good: remembers what was read, for a plan that takes old values where the store fails; None: nobody does.
    """

    def __init__(
        self,
        plan: LookupPlan,
        store: OnlineStore,
        runners: Mapping[str, ListRunner],
        read_layout: LayoutReader,
        verify: bool = False,
        last_good: LastGood | None = None,
    ) -> None:
        self.plan = plan
        self._store = store
        self._last_good = last_good if plan.on_failed_read == "stale" else None
        self._is_last = False
        self._runners = runners
        self._keys = [KeyCodec(group.types, group.columns) for group in plan.groups]
        self._readers = [_reader(read, read_layout, verify) for read in plan.reads]
        self._key_types = dict(plan.entities)
        self._int64 = frozenset(name for name, kind in plan.entities if kind == Int64)
        self._entity_of = {c: e for group in plan.groups for c, e in zip(group.columns, group.entities, strict=True)}
        direct = all(output.read >= 0 for output in plan.outputs)
        self._direct = [(o.name, o.type, o.read, o.position) for o in plan.outputs] if direct else None
        self._settled = [
            frozenset(item.name for item in step.inputs if item.read >= 0 and plan.reads[item.read].windows is None)
            for step in plan.steps
        ]
        self._wanted = [*self._key_types, *(name for name, _, _ in plan.request)]
        self.given_types: Mapping[str, FeatureType] = self._key_types | {name: kind for name, kind, _ in plan.request}
        """The columns that a request has to give, with their types: keys first, then what on-demand views need."""

    def read(self, rows: Rows, now: int) -> OnlineResponse:
        """Answer a request.

        Args:
            rows: the keys, and the request's own values.
            now: the time the answer is for, in microseconds since the epoch.

        Raises:
            EntityKeyError: a key is missing, null or of the wrong type.
            RequestDataMissing: a request value that an on-demand view needs is missing.
        """
        asked = self.ask(rows)
        try:
            records = self._store.read(asked.requests) if asked.requests else []
        except StoreError as error:
            return self.without(asked, error, now)
        return self.answer(asked, records, now)

    def ask(self, rows: Rows) -> Asked:
        """Return what a request asks of the store; who reads it himself goes on with :meth:`answer`.

        Args:
            rows: as for :meth:`read`, and with its errors.
        """
        columns, count = self._columns(rows)
        keys = {name: self._coerced(name, columns[name]) for name in self._key_types}
        encoded = [self._encode(index, keys, count) for index in range(len(self._keys))]
        requests = [request for reader in self._readers for request in reader.requests(encoded[reader.group])]
        return Asked(columns, keys, count, requests)

    def answer(self, asked: Asked, records: Sequence[Sequence[bytes | None]], now: int) -> OnlineResponse:
        """Answer a request.

        Args:
            asked: the request.
            records: what the store said to its requests.
            now: the time the answer is for, in microseconds since the epoch.

        Raises:
            AnswerTooLarge: the records have more bytes than the read may bring along.
        """
        if is_bounded():
            refuse_large(sum(map(sized, records)))
        if self._last_good is not None:
            self._last_good.keep(asked.requests, records)
        found, first = [], 0
        for reader in self._readers:
            after = first + reader.tables
            found.append(reader.found(asked.requests[first][1], records[first:after], now))
            first = after
        computed = [self._compute(at, asked.columns, found, asked.count) for at in range(len(self.plan.steps))]
        if self._direct is not None and not any(view.unknown for view in found):
            answered = [
                Answered(name, kind, (view := found[read]).columns[position], view.states, view.times)
                for name, kind, read, position in self._direct
            ]
        else:
            answered = [_answer(output, found, computed, asked.count) for output in self.plan.outputs]
        return OnlineResponse(asked.keys, self._key_types, answered, found)

    # Where the store fails

    def last(self) -> Lookup:
        """Return the same read for the last time: that a table is missing is a failure of the store then."""
        if self.plan.on_failed_read == "error":
            return self
        twin = copy(self)
        twin._is_last = True
        return twin

    def without(self, asked: Asked, error: StoreError, now: int) -> OnlineResponse:
        """Answer a request that the store failed, as its service says; the error, if it says nothing.

        Args:
            asked: the request.
            error: why it failed.
            now: the time the answer is for, in microseconds since the epoch.
        """
        is_answer = isinstance(error, TableMissing) and not self._is_last
        if self.plan.on_failed_read == "error" or is_answer or isinstance(error, StoreClosed):
            raise error
        found = self._remembered(asked, now)
        computed: list[dict[str, list[Any]]] = []
        invalid: list[frozenset[int]] = []
        for at, step in enumerate(self.plan.steps):
            parts = [found[item.read].invalid for item in step.inputs if item.read >= 0]
            invalid.append(frozenset().union(*parts))
            computed.append(self._compute_known(at, asked, found, invalid[-1]))
        answered = [_answer(output, found, computed, asked.count) for output in self.plan.outputs]
        for at, output in enumerate(self.plan.outputs):
            if output.read < 0 and (rows := invalid[output.position]):
                states = [_INVALID if row in rows else _PRESENT for row in range(asked.count)]
                answered[at] = msgspec.structs.replace(answered[at], states=states)
        failed, stale = self._told(found, invalid, asked.count)
        return OnlineResponse(asked.keys, self._key_types, answered, found, failed, stale)

    def _remembered(self, asked: Asked, now: int) -> list[Found]:
        """Return what was last read, as it counts now; nothing of the keys that were never read."""
        if self._last_good is None:
            return [nothing_read(len(read.wanted), asked.count) for read in self.plan.reads]
        records, unknown = self._last_good.find(asked.requests)
        found, first = [], 0
        for reader, read in zip(self._readers, self.plan.reads, strict=True):
            after = first + reader.tables
            rows = reader.rows_of(unknown[first:after], asked.count)
            if len(rows) == asked.count:
                found.append(nothing_read(len(read.wanted), asked.count))
            else:
                keys = asked.requests[first][1]
                found.append(without(reader.found(keys, records[first:after], now), rows))
            first = after
        return found

    def _compute_known(
        self, at: int, asked: Asked, found: Sequence[Found], invalid: frozenset[int]
    ) -> dict[str, list[Any]]:
        """Compute an on-demand view for the rows whose inputs are known; its function never sees a made-up null."""
        if not invalid:
            return self._compute(at, asked.columns, found, asked.count)
        step = self.plan.steps[at]
        rows = [row for row in range(asked.count) if row not in invalid]
        inputs = {
            item.name: [values[row] for row in rows]
            for item in step.inputs
            for values in [found[item.read].columns[item.position] if item.read >= 0 else asked.columns[item.name]]
        }
        outputs = self._runners[step.view].run_lists(inputs, len(rows), self._settled[at])
        whole: dict[str, list[Any]] = {name: [None] * asked.count for name in outputs}
        for name, values in outputs.items():
            for row, value in zip(rows, values, strict=True):
                whole[name][row] = value
        return whole

    def _told(self, found: Sequence[Found], invalid: Sequence[frozenset[int]], count: int) -> tuple[int, int]:
        """Return how many values could not be read, and how many are made of what was read earlier."""
        failed = stale = 0
        for output in self.plan.outputs:
            rows = found[output.read].invalid if output.read >= 0 else invalid[output.position]
            failed += len(rows)
            if output.read >= 0 or any(item.read >= 0 for item in self.plan.steps[output.position].inputs):
                stale += count - len(rows)
        return failed, stale

    def _coerced(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return a key column as its type has it; plain integers need nothing but to fit, which their bytes tell."""
        plain = name in self._int64 and list(map(type, values)).count(int) == len(values)
        return values if plain else coerce(name, values, self._key_types[name])

    def _encode(self, index: int, keys: Columns, count: int) -> list[bytes]:
        group = self.plan.groups[index]
        try:
            return self._keys[index].encode([keys[name] for name in group.columns], count)
        except struct.error:  # an integer beyond 64 bits: say which
            for name in group.columns:
                coerce(name, keys[name], self._key_types[name])
            raise

    def _compute(self, at: int, columns: Columns, found: Sequence[Found], count: int) -> dict[str, list[Any]]:
        step = self.plan.steps[at]
        inputs = {
            item.name: found[item.read].columns[item.position] if item.read >= 0 else columns[item.name]
            for item in step.inputs
        }
        return self._runners[step.view].run_lists(inputs, count, self._settled[at])

    def _columns(self, rows: Rows) -> tuple[dict[str, Sequence[Any]], int]:
        """Return the columns that the plan needs, and the number of rows."""
        if isinstance(rows, list):  # asked first: it is what most give, and the abstract types take longer to ask
            return self._from_rows(rows)
        if isinstance(rows, Mapping):
            return self._from_columns(rows)
        given: object = rows
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise RequestError(
                f"entity_rows is a {type(rows).__name__}",
                cure="give a list of dicts, such as [{'user_id': 1}], or columns, such as {'user_id': [1, 2]}",
            )
        return self._from_rows(rows)

    def _from_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Sequence[Any]], int]:
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
                raise self._missing(name, list(row), f"row {number} of the request", number)
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
        if type(values) is list:  # asked first: it is what most give, and a protocol takes long to ask
            return values
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            values = values.astype("datetime64[us]")  # finer ones would come as bare numbers
        flat = not isinstance(values, np.ndarray) or values.ndim == 1
        if isinstance(values, str | bytes) or not isinstance(values, Iterable) or not flat:
            raise RequestError(
                f"column {name!r} of the request is {values!r}",
                cure=f"give a list: {{{name!r}: [...]}}",
                column=name,
            )
        listed: list[Any] = values.tolist() if isinstance(values, _Tolist) else list(values)
        return listed

    def _missing(self, name: str, given: Sequence[str], where: str, row: int | None = None) -> RequestError:
        for requested, declared, view in self.plan.request:
            if requested == name:
                return RequestDataMissing(
                    f"{where} does not give {name!r}, which on-demand feature view {view!r} needs",
                    cure=f"add {name!r}, of type {declared}",
                    column=name,
                    row=row,
                )
        views = ", ".join(repr(r.view) for r in self.plan.reads if name in self.plan.groups[r.group].columns)
        cure = near_misses(name, given, f"give it: {{{name!r}: …}}")
        return EntityKeyError(f"{where} has no key {name!r}, which finds {views}", cure=cure, column=name, row=row)


class ValuesReader:
    """Reads the records of one view that holds values; hot.

    Args:
        read: what is read.
        rows: takes its records apart.
    """

    tables: ClassVar[int] = 1
    """How many requests it makes of the store."""

    def __init__(self, read: ViewRead, rows: RowReader) -> None:
        self.group = read.group
        self._read = read
        self._rows = rows

    def requests(self, keys: Sequence[bytes]) -> list[Request]:
        """Return what to read of the store."""
        return [(self._read.table, keys)]

    def found(self, keys: Sequence[bytes], records: Sequence[Sequence[bytes | None]], now: int) -> Found:
        """Return what the records say at a time."""
        return _judged(self._rows.decode(keys, records[0]), self._read, now)

    def rows_of(self, unknown: Sequence[Sequence[int]], count: int) -> Collection[int]:
        """Return the rows that cannot be answered without some of the keys that were asked for."""
        return unknown[0]


class WindowsReader:
    """Reads the states of one view with windows, and what their table says of all of them; hot.

    Where they say nothing of a feature, those of the view's earlier definitions that have the same feature do. All of
    them are read in one go.

    Args:
        read: what is read.
        windows: the view's windows.
    """

    def __init__(self, read: ViewRead, windows: WindowSet) -> None:
        self.group = read.group
        self._tables = [read.table, *(former.table for former in read.formers)]
        self.tables = len(self._tables)
        self._states = WindowStates(windows, read.table, windows.has_source)
        place = {feature.name: number for number, feature in enumerate(windows.features)}
        self._wanted = tuple(place[name] for name in read.wanted)
        self._formers = [
            (WindowStates(former.windows, former.table, former.windows.has_source), former.places)
            for former in read.formers
        ]

    def requests(self, keys: Sequence[bytes]) -> list[Request]:
        """Return what to read of the store."""
        asked = [META_KEY, *keys]
        return [(table, asked) for table in self._tables]

    def found(self, keys: Sequence[bytes], records: Sequence[Sequence[bytes | None]], now: int) -> Found:
        """Return what the states say at a time."""
        own = records[0]
        values = self._states.values(keys[1:], own[1:], own[0], now, self._wanted)
        for (states, places), held in zip(self._formers, records[1:], strict=True):
            open_places = [] if values.complete else [each for each in places if _NOT_FOUND in values.states[each[0]]]
            if open_places:
                before = states.values(keys[1:], held[1:], held[0], now, [place for _, place in open_places])
                values = _completed(values, before, [number for number, _ in open_places])
        if values.complete:
            return Found(values.columns, None, values.times, _ALL_KNOWN)
        unknown = {
            number: [row for row, state in enumerate(states) if state is _NOT_FOUND]
            for number, states in enumerate(values.states)
            if _NOT_FOUND in states
        }
        return Found(values.columns, None, values.times, unknown)

    def rows_of(self, unknown: Sequence[Sequence[int]], count: int) -> Collection[int]:
        """Return the rows that cannot be answered without some of the keys; the first one says something of all."""
        places = {place for each in unknown for place in each}
        return range(count) if 0 in places else {place - 1 for place in places}


def _completed(values: WindowValues, before: WindowValues, numbers: Sequence[int]) -> WindowValues:
    """Return values with those of earlier states in the place of what is not known.

    Args:
        values: the values.
        before: the earlier states' values.
        numbers: which of the values each of their columns is of.
    """
    columns, states, times = [*values.columns], [*values.states], [*values.times]
    for column, known, number in zip(before.columns, before.states, numbers, strict=True):
        left = [mine is _NOT_FOUND for mine in states[number]]
        columns[number] = [a if use else b for a, b, use in zip(column, columns[number], left, strict=True)]
        states[number] = [a if use else b for a, b, use in zip(known, states[number], left, strict=True)]
    times = [a if b is None else b for a, b in zip(before.times, times, strict=True)]
    return WindowValues(columns, states, times, not any(_NOT_FOUND in each for each in states))


def _judged(decoded: Decoded, read: ViewRead, now: int) -> Found:
    """Say of each record whether it is there and still counts at a time (S3, S7)."""
    columns, times = decoded.columns, decoded.events
    if decoded.strange:
        _warn_strange(read)
    oldest = None if read.ttl is None else now - read.ttl
    first, last = decoded.span or (now, now)
    if (oldest is None or first >= oldest) and last <= now:
        return Found(
            columns, _there_or_not(times) if decoded.absent else None, times, decoded.unknown, span=decoded.span
        )
    states = [_state(at, oldest, now) for at in times]
    if FieldStatus.OUTSIDE_MAX_AGE in states:
        _warn_expired(read, first, now)
    if last > now:
        _warn_future(read, last)
    hidden = [state is not FieldStatus.PRESENT for state in states]
    blank = [[None if hide else value for value, hide in zip(column, hidden, strict=True)] for column in columns]
    shown = [None if state is FieldStatus.NOT_FOUND else at for at, state in zip(times, states, strict=True)]
    return Found(blank, states, shown, decoded.unknown, span=decoded.span)


def _there_or_not(times: Sequence[int | None]) -> list[FieldStatus]:
    present, absent = FieldStatus.PRESENT, FieldStatus.NOT_FOUND
    return [absent if at is None else present for at in times]


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
    return Answered(output.name, output.type, computed[output.position][output.feature], None, _no_times(count))


@functools.lru_cache(64)
def _no_times(count: int) -> Sequence[None]:
    """Return event times for what has none; the same each time, so whoever writes them does it once for all columns."""
    return (None,) * count


def _reader(read: ViewRead, read_layout: LayoutReader, verify: bool) -> ValuesReader | WindowsReader:
    if read.windows is not None:
        return WindowsReader(read, read.windows)
    layout = Layout.of(zip(read.names, read.types, strict=True))

    def resolve(identifier: int) -> Layout | None:
        return read_layout(read.view, identifier)

    rows = RowReader(layout, read.stored, table=read.table, resolve=resolve, check_each=verify)
    return ValuesReader(read, rows)


def _refuse_too_many(count: int) -> None:
    if count > MOST_KEYS:
        raise RequestError(f"{count:,} rows in one request are too many", cure=f"ask for at most {MOST_KEYS:,} at once")


def _warn_expired(read: ViewRead, oldest: int, now: int) -> None:
    age, ttl = timedelta(seconds=(now - oldest) // 1_000_000), timedelta(microseconds=read.ttl or 0)
    say_once(
        read.table,
        "expired values",
        f"view {read.view!r} has values that are {age} old, older than its ttl of {span_text(ttl)}: they are "
        "served as null with status OUTSIDE_MAX_AGE. Materialize it more often "
        "(likewise materialize-incremental), or raise its ttl.",
    )


def _warn_future(read: ViewRead, newest: int) -> None:
    say_once(
        read.table,
        "rows after the time asked for",
        f"view {read.view!r} has rows with event times after the time asked for "
        f"(up to {from_micros(newest).isoformat()}): they "
        "are not served before their time. Check the clocks of whoever writes them.",
    )


def _warn_strange(read: ViewRead) -> None:
    say_once(
        read.table,
        "records of another definition",
        f"view {read.view!r} has records of another definition, which hold nothing that is asked for: they are served "
        "as null with status NOT_FOUND. Materialize it anew.",
    )
