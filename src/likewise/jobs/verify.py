"""Verify: computes logged answers again from the offline source, and says where they differ (G8).

Serving knows what was materialized and pushed by the time of an answer; the source may know more by now. So a served
value is judged by two questions.

*Is it the value of its row?* It was served with the event time of its record. The row of the source with that key and
that event time must have the value, and its age the status.

*Is it the right row?* The row that the source has for the time of the answer is the right one, of those created by then
where the source tells. An older one is *stale*, and right if the later row need not have been there yet; it is a
difference if it must have been: its event time lies in the span that was materialized before the answer, it was created
before the end of that span, and its file did not change since. A row that the source lacks was pushed online only.

A window is compared with the window over all events of the source. Where that differs, it is a difference only if every
event of the key was there when the view was materialized last before the answer. On-demand functions are run again on
what was just compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.errors import CatalogNotFound, LikewiseError, RequestError, TransformError
from likewise.core.frames import to_rows
from likewise.core.keys import KeyCodec
from likewise.core.names import near_misses
from likewise.core.time import from_micros, span_micros
from likewise.core.types import Family, FeatureType, arrow_type
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection
from likewise.jobs.recompute import NONE, Bools, Ints, Recomputed, Recomputer, blanked, replaced
from likewise.jobs.sameness import EXACT, OF_SUMS, SUMS, same
from likewise.jobs.served import AS_OF, LOGGED_AT, REQUEST_ID, ServedFile, record_columns, served_files
from likewise.jobs.training import ArrowRunner
from likewise.jobs.verification import EXAMPLES, Difference, FeatureCheck, Outcome, Verification
from likewise.offline.base import EVENT_TIME, OfflineEngine, Span
from likewise.online.base import OnlineStore
from likewise.online.response import FieldStatus
from likewise.online.rows import TOMBSTONE, head_of
from likewise.online.window_state import Contents, WindowStates
from likewise.plan.lookup import deletions_name, table_name
from likewise.plan.scan import sorted_keys
from likewise.plan.selection import Pick, Selection, select
from likewise.plan.windows import windows_of
from likewise.registry.base import RegistryReader
from likewise.registry.definitions import Definitions, read_definitions

ROWS_AT_ONCE = 500_000
"""About how many rows of a log are compared at a time."""
_EXACT_FUNCTIONS = frozenset({"count", "min", "max", "first", "last", "first_n", "last_n", "last_distinct_n"})
_INVALID, _PRESENT, _NULL = int(FieldStatus.INVALID), int(FieldStatus.PRESENT), int(FieldStatus.NULL_VALUE)
_NOT_FOUND, _TOO_OLD = int(FieldStatus.NOT_FOUND), int(FieldStatus.OUTSIDE_MAX_AGE)
_TIME, _ROW, _VALUE = "__event", "__place", "__value"
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """Which logged answers are compared."""

    folders: tuple[Path, ...]
    """The logs."""
    service: str | None = None
    """Only answers to this service; None for all."""
    since: int | None = None
    """Only answers from this time on, in microseconds since the epoch."""
    until: int | None = None
    """Only answers up to this time."""
    limit: int | None = None
    """At most this many rows, in the order of the files' names; None for all."""
    rows_at_once: int = ROWS_AT_ONCE
    """About how many rows are compared at a time, at least 1."""


@dataclass(frozen=True, slots=True)
class VerifyEvent:
    """How far a verification has come."""

    rows: int
    """How many rows were compared."""
    of: int
    """How many the files have."""


@dataclass(frozen=True, slots=True)
class VerifyKit:
    """What answers are verified with."""

    registry: RegistryReader
    """Has the definitions of the catalogs that answered."""
    project: str
    """The project."""
    root: str
    """The repo's folder."""
    engine: OfflineEngine
    """Reads the sources."""
    store: Callable[[], OnlineStore]
    """Returns the online store, which is asked which keys were deleted."""
    runner: Callable[[Definitions], Callable[[str], ArrowRunner]]
    """Returns what makes the runner of an on-demand view of a catalog."""
    report: Callable[[VerifyEvent], None]
    """Is told how far it has come."""


def verify(kit: VerifyKit, request: VerifyRequest) -> Verification:
    """Compare logged answers with what the offline source gives for their times.

    Args:
        kit: what to do it with.
        request: which answers.

    Raises:
        RequestError: a folder has no log.
        SourceUnreadable: a file of a log is damaged.
    """
    files = [file for folder in request.folders for file in _files(folder, kit.project)]
    if request.service is not None:
        known = {file.service for file in files if file.service}
        if request.service not in known:
            cure = near_misses(request.service, known, "the logs have answers to no service")
            raise RequestError(f"no answer of service {request.service!r} is in the logs", cure=cure)
        files = [file for file in files if file.service == request.service]
    found, total = Verification(), sum(file.rows for file in files)
    for kind, batch, count in _batches(files, request):
        found.rows += batch.num_rows
        found.files += count
        _Group(kit, kind, batch, found).check()
        kit.report(VerifyEvent(found.rows, total))
    return found


def _files(folder: Path, project: str) -> list[ServedFile]:
    if not folder.is_dir():
        raise RequestError(f"there is no folder {str(folder)!r}", cure="give the folder of a log of served answers")
    found = [file for file in served_files(folder) if file.project == project]
    if not found:
        raise RequestError(f"{folder} has no answers of project {project!r}", cure="give the folder of another log")
    return found


def _batches(files: Sequence[ServedFile], request: VerifyRequest) -> Iterator[tuple[ServedFile, pa.Table, int]]:
    """Yield rows of one kind, with a file that they are from, and how many files they are of."""
    kinds: dict[tuple[object, ...], list[ServedFile]] = {}
    for file in files:
        kinds.setdefault((file.catalog, file.asked), []).append(file)
    left = request.limit if request.limit is not None else sum(file.rows for file in files)
    for alike in kinds.values():
        parts: list[pa.Table] = []
        for number, file in enumerate(alike):
            if left <= 0:
                break
            part = _wanted(file.read(), request).slice(0, left)
            left -= part.num_rows
            parts.append(part if not parts else part.select(parts[0].column_names).cast(parts[0].schema))
            if number + 1 == len(alike) or sum(each.num_rows for each in parts) >= request.rows_at_once or left <= 0:
                yield file, pa.concat_tables(parts), len(parts)
                parts = []


def _wanted(rows: pa.Table, request: VerifyRequest) -> pa.Table:
    rows = rows.replace_schema_metadata(None)
    at = rows.column(LOGGED_AT)
    for bound, keeps in ((request.since, pc.greater_equal), (request.until, pc.less_equal)):
        if bound is not None:
            kept = keeps(at, pa.scalar(from_micros(bound), at.type))
            rows, at = rows.filter(kept), at.filter(kept)
    return rows


@dataclass(frozen=True, slots=True)
class _Log:
    """The columns of a log that all its views share."""

    rows: pa.Table
    keys: pa.Table
    as_of: Ints
    answered: Ints

    @property
    def count(self) -> int:
        return len(self.as_of)

    @property
    def known(self) -> Bools:
        """Which rows ask for now: for them a row of the source counts only once it was created."""
        return np.asarray(self.as_of == self.answered)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What came of the values of one feature."""

    outcomes: Codes
    """What came of each."""
    values: pa.Array
    """What the source gives."""
    statuses: Codes
    """With which status."""
    times: Ints
    """The event time of the row that each is from; NONE where there is none."""
    why: Mapping[int, str]
    """What is wrong with a row, where there is more to say than that it differs."""


class _View(Protocol):
    """One view of a log, computed again."""

    def judged(self, feature: str, values: pa.Array, statuses: Codes) -> _Judged:
        """Compare the served values of a feature."""
        ...

    def input(self, feature: str) -> pa.Array:
        """Return the values of a feature that on-demand functions are given."""
        ...

    @property
    def sound(self) -> Bools:
        """Which rows' inputs are what was served for sure."""
        ...


class _Group:
    """Answers of one kind: the same features, asked of the same catalog."""

    def __init__(self, kit: VerifyKit, kind: ServedFile, rows: pa.Table, found: Verification) -> None:
        self._kit = kit
        self._kind = kind
        self._rows = rows.combine_chunks()
        self._found = found

    def check(self) -> None:
        """Compare them, and note what came of it."""
        try:
            catalog = self._kit.registry.catalog(self._kind.project, self._kind.catalog)
            definitions = read_definitions(catalog)
            selection = select(definitions, self._kind.asked, True)
        except (CatalogNotFound, LikewiseError) as error:
            self._skip_all(Outcome.NO_CATALOG, str(error))
            return
        log = self._log(selection)
        views = {part: self._view(definitions, part, view, selection, log) for part, view in selection.views.items()}
        judged: dict[Projection, list[_Judged]] = {}
        for pick in selection.picks:
            if pick.part.view not in selection.on_demand:
                seen = views[pick.part].judged(pick.feature, self._column(pick.name), self._statuses(pick.name))
                judged.setdefault(pick.part, []).append(seen)
                self._note(pick, seen)
        for name, view in selection.on_demand.items():
            self._check_on_demand(view, [p for p in selection.picks if p.part.view == name], definitions, views, judged)

    def _log(self, selection: Selection) -> _Log:
        names: dict[str, None] = {}
        for part, view in selection.views.items():
            renamed = dict(part.join_key_map)
            names |= {renamed.get(key.join_key, key.join_key): None for key in sorted_keys(view)}
        places = pa.array(np.arange(self._rows.num_rows))
        keys = self._rows.select(list(names)).append_column("__row", places)
        return _Log(self._rows, keys, _micros(self._rows.column(AS_OF)), _micros(self._rows.column(LOGGED_AT)))

    def _view(
        self, definitions: Definitions, part: Projection, view: FeatureView, selection: Selection, log: _Log
    ) -> _View:
        number = list(selection.views).index(part)
        times, start, end = (_micros(self._rows.column(name)) for name in record_columns(number))
        needed = selection.needed(part)
        if view.batch_source is None:
            return _Nothing(Outcome.NO_SOURCE, "", view, log)
        try:
            source = Recomputer(self._kit.engine, self._kit.root, definitions, part, view, needed, log.keys)
            served = _Served(self._kit, view, part, log, times, start, end)
            if windows_of(view) is None:
                return _Rows(source, served, needed)
            return _Windows(source, served, needed)
        except TransformError as error:
            self._say(view.name, str(error))
            return _Nothing(Outcome.NO_FUNCTION, str(error), view, log)
        except (LikewiseError, OSError) as error:
            self._say(view.name, str(error))
            return _Nothing(Outcome.UNREADABLE, str(error), view, log)

    def _check_on_demand(
        self,
        view: OnDemandFeatureView,
        picks: Sequence[Pick],
        definitions: Definitions,
        views: Mapping[Projection, _View],
        judged: Mapping[Projection, Sequence[_Judged]],
    ) -> None:
        parts = {source.name: replace(source.projection, features=None) for source in view.source_views}
        given: dict[str, Any] = {}
        for source in view.source_views:
            for field in source.features:
                given[field.name] = views[parts[source.name]].input(field.name)
        for requested in view.request_sources:
            given |= {field.name: self._column(field.name) for field in requested.schema}
        log = self._log_of_inputs(parts.values(), views, judged)
        try:
            outputs = self._kit.runner(definitions)(view.name).run_arrow(given, self._rows.num_rows)
        except LikewiseError as error:
            self._say(view.name, str(error))
            for pick in picks:
                self._count(pick, np.full(self._rows.num_rows, Outcome.NO_FUNCTION, np.int8))
            return
        near = OF_SUMS if any(_is_inexact(definitions.view(name)) for name in parts) else EXACT
        for pick in picks:
            self._judge_on_demand(pick, outputs[pick.feature], log, near)

    def _log_of_inputs(
        self,
        parts: Iterable[Projection],
        views: Mapping[Projection, _View],
        judged: Mapping[Projection, Sequence[_Judged]],
    ) -> Bools:
        """Return the rows whose inputs are known: those of each view were compared and found right, or surely are."""
        known = np.ones(self._rows.num_rows, bool)
        for part in parts:
            seen = judged.get(part, ())
            right = views[part].sound
            if seen:
                right = right | (np.array([each.outcomes for each in seen]) <= Outcome.STALE).any(axis=0)
                right &= (np.array([each.outcomes for each in seen]) <= Outcome.STALE).all(axis=0)
            known &= right
        return known

    def _judge_on_demand(self, pick: Pick, output: pa.Array, known: Bools, near: float) -> None:
        values, statuses = self._column(pick.name), self._statuses(pick.name)
        output = output.cast(arrow_type(pick.type))
        expected = np.where(np.asarray(output.is_null()), _NULL, _PRESENT).astype(np.int8)
        right = same(values, output, pick.type, near) & (statuses == expected)
        outcomes = np.where(right, Outcome.EQUAL, np.where(known, Outcome.DIFFERENT, Outcome.INPUTS)).astype(np.int8)
        outcomes[statuses == _INVALID] = Outcome.NOT_READ
        none = np.full(len(values), NONE)
        self._note(pick, _Judged(outcomes, output, expected, none, {}))

    # ---- what is noted

    def _check_of(self, pick: Pick) -> FeatureCheck:
        name = f"{pick.part.name}:{pick.feature}"
        return self._found.features.setdefault(name, FeatureCheck(name))

    def _count(self, pick: Pick, outcomes: Codes) -> FeatureCheck:
        check = self._check_of(pick)
        for code, count in zip(*(each.tolist() for each in np.unique(outcomes, return_counts=True)), strict=True):
            check.counts[Outcome(code)] = check.counts.get(Outcome(code), 0) + count
        return check

    def _note(self, pick: Pick, judged: _Judged) -> None:
        check = self._count(pick, judged.outcomes)
        rows = np.flatnonzero(judged.outcomes == Outcome.DIFFERENT)[: EXAMPLES - len(check.examples)]
        check.examples += [self._difference(pick, judged, int(row)) for row in rows]

    def _difference(self, pick: Pick, judged: _Judged, row: int) -> Difference:
        said = to_rows(self._rows.slice(row, 1))[0]
        plain = {n: v for n, v in said.items() if not n.startswith("__") and f"{n}__status" not in said}
        key = {n: v for n, v in plain.items() if not n.endswith(("__status", "__timestamp"))}
        [recomputed] = to_rows(pa.table({"value": judged.values.slice(row, 1)}))
        status, time = FieldStatus(int(judged.statuses[row])).name, int(judged.times[row])
        return Difference(
            key,
            said[AS_OF],
            said[pick.name],
            FieldStatus(said[f"{pick.name}__status"]).name,
            said[f"{pick.name}__timestamp"],
            recomputed["value"],
            status,
            None if time == NONE else from_micros(time),
            said[REQUEST_ID],
            judged.why.get(row, "the value or its status is not that of the source"),
        )

    def _skip_all(self, outcome: Outcome, said: str) -> None:
        names = [name.removesuffix("__status") for name in self._rows.column_names if name.endswith("__status")]
        for name in names:
            view, _, feature = name.partition("__")
            check = self._found.features.setdefault(f"{view}:{feature}", FeatureCheck(f"{view}:{feature}"))
            check.counts[outcome] = check.counts.get(outcome, 0) + self._rows.num_rows
            check.notes = list(dict.fromkeys([*check.notes, said]))

    def _say(self, view: str, said: str) -> None:
        for name in self._rows.column_names:
            if name.endswith("__status"):
                seen, _, feature = name.removesuffix("__status").partition("__")
                if seen == view:
                    check = self._found.features.setdefault(f"{seen}:{feature}", FeatureCheck(f"{seen}:{feature}"))
                    check.notes = list(dict.fromkeys([*check.notes, said]))

    def _column(self, name: str) -> pa.Array:
        column = self._rows.column(name)
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)

    def _statuses(self, name: str) -> Codes:
        return np.asarray(self._column(f"{name}__status").cast(pa.int8()))


class _Nothing:
    """A view that cannot be computed again."""

    def __init__(self, outcome: Outcome, said: str, view: FeatureView, log: _Log) -> None:
        self._outcome = outcome
        self._said = said
        self._types = {field.name: field.dtype for field in view.features}
        self._count = log.count

    def judged(self, feature: str, values: pa.Array, statuses: Codes) -> _Judged:
        """Say of all values that they cannot be compared."""
        outcomes = np.full(self._count, self._outcome, np.int8)
        return _Judged(outcomes, self.input(feature), statuses, np.full(self._count, NONE), {})

    def input(self, feature: str) -> pa.Array:
        """Return nulls."""
        return pa.nulls(self._count, arrow_type(self._types[feature]))

    @property
    def sound(self) -> Bools:
        """No row's inputs are known."""
        return np.zeros(self._count, bool)


@dataclass(frozen=True, slots=True)
class _Served:
    """What a log says of one view."""

    kit: VerifyKit
    view: FeatureView
    part: Projection
    log: _Log
    times: Ints
    """The event time of each row's record; NONE where there was none."""
    start: Ints
    """From which event time on the view was materialized before the answer; NONE where nothing is known."""
    end: Ints
    """Up to which event time."""

    @property
    def key_names(self) -> list[str]:
        renamed = dict(self.part.join_key_map)
        return [renamed.get(key.join_key, key.join_key) for key in sorted_keys(self.view)]

    def codes(self, rows: Ints) -> list[bytes]:
        """Return some rows' keys as the online store has them."""
        names, taken = self.key_names, self.log.keys.take(pa.array(rows))
        codec = KeyCodec([key.type for key in sorted_keys(self.view)], names)
        return codec.encode_arrow([taken.column(name) for name in names], len(rows))

    def records(self, rows: Ints, deletions: bool = False) -> list[bytes | None]:
        """Return the records that the online store has now for some rows' keys."""
        named = deletions_name if deletions else table_name
        try:
            [found] = self.kit.store().read([(named(self.kit.project, self.view), self.codes(rows))])
        except LikewiseError:  # the table is gone, or the store: nothing is known
            return [None] * len(rows)
        return found


class _Rows:
    """A view whose values are those of rows: each is compared with the row that it is from.

    Args:
        source: computes it again.
        served: what the log says.
        needed: its features that are computed.
    """

    def __init__(self, source: Recomputer, served: _Served, needed: Sequence[str]) -> None:
        self._source = source
        self._served = served
        self._place = {name: number for number, name in enumerate(needed)}
        self._types = {field.name: field.dtype for field in served.view.features}
        self._ttl = 0 if served.view.ttl is None else span_micros(served.view.ttl)
        log = served.log
        every = np.arange(log.count)
        right = source.values(every, log.as_of, log.known)
        self._latest = self._with_expired(right.times)
        """The event time of the row that is right for the time of the answer, be it expired."""
        at = served.times
        self._newer = (at != NONE) & ((self._latest == NONE) | (at > self._latest))
        self._older = (at != self._latest) & ~self._newer
        self._lost = self._newer.copy()
        self._truth = right
        self._columns = self._as_served(right)
        self._owed, self._why = self._must_have_been_there()

    def _with_expired(self, times: Ints) -> Ints:
        found = times.copy()
        missing = np.flatnonzero(times == NONE) if self._ttl else np.zeros(0, np.int64)
        if len(missing):
            log = self._served.log
            found[missing] = self._source.values(missing, log.as_of[missing], log.known[missing], ttl=False).times
        return found

    def _as_served(self, right: Recomputed) -> list[pa.Array]:
        """Return what the source says of the rows that were served: of stale ones, for their own event time."""
        at = self._served.times
        stale = np.flatnonzero(self._older & (at != NONE))
        columns = list(right.columns)
        if len(stale):
            own = self._source.values(stale, at[stale], ttl=False)
            self._lost[stale] = own.times != at[stale]
            columns = [replaced(old, stale, new) for old, new in zip(columns, own.columns, strict=True)]
        gone = (self._older & (at == NONE)) | self._expired
        return [blanked(column, gone) for column in columns] if gone.any() else columns

    @property
    def _expired(self) -> Bools:
        at = self._served.times
        if not self._ttl:
            return np.zeros(len(at), bool)
        return np.asarray((at != NONE) & (at < self._served.log.as_of - self._ttl))

    def _must_have_been_there(self) -> tuple[Bools, dict[int, str]]:
        """Return which rows lack a later row, or a feature, that was materialized by then."""
        served, log = self._served, self._served.log
        owed = np.zeros(log.count, bool)
        marked = self._older & (served.end != NONE)
        rows = np.flatnonzero(marked & (log.as_of >= log.answered))
        if not len(rows):
            return owed, {}
        floor = self._source.settled(rows, np.minimum(served.end[rows], log.as_of[rows])).times
        due = (floor != NONE) & (floor >= served.start[rows]) & (floor > served.times[rows])
        if self._ttl:  # a store may let go of rows that do not count any more
            due &= floor >= log.as_of[rows] - self._ttl
        owed[rows[due]] = ~self._deleted(rows[due], floor[due])
        ends = served.end
        return owed, {
            int(row): f"the row of {_iso(int(at))} was materialized before (up to {_iso(int(ends[row]))})"
            for row, at in zip(rows[due], floor[due], strict=True)
        }

    def _deleted(self, rows: Ints, floor: Ints) -> Bools:
        """Return which keys were deleted since, or have a row that may have been there too early to be served."""
        if not len(rows):
            return np.zeros(0, bool)
        pushed, as_of = self._served.view.stream_source is not None, self._served.log.as_of[rows]
        found = zip(self._served.records(rows), floor.tolist(), as_of.tolist(), strict=True)
        return np.array([_explains(record, at, now, pushed) for record, at, now in found], bool)

    def judged(self, feature: str, values: pa.Array, statuses: Codes) -> _Judged:
        """Compare the served values of a feature."""
        served, kind = self._served, self._types[feature]
        own = self._columns[self._place[feature]]
        at = served.times
        expected = np.where(np.asarray(own.is_null()), _NULL, _PRESENT)
        expected[self._expired] = _TOO_OLD
        expected[at == NONE] = _NOT_FOUND
        wrong = ~(same(values, own, kind) & (statuses == expected))
        outcomes = np.where(wrong, Outcome.DIFFERENT, np.where(self._older, Outcome.STALE, Outcome.EQUAL))
        outcomes[(statuses == _NOT_FOUND) & (at != NONE)] = Outcome.INCOMPLETE
        outcomes[self._lost] = Outcome.ONLY_ONLINE
        outcomes[self._restated(feature, values, kind, outcomes == Outcome.DIFFERENT)] = Outcome.RESTATED
        outcomes[self._older & (served.log.as_of < served.log.answered)] = Outcome.OTHER_TIME
        outcomes[self._owed] = Outcome.DIFFERENT
        if self._why:
            kept = np.zeros(len(at), bool)
            kept[list(self._why)] = True
            outcomes[kept & ~self._owed] = Outcome.DELETED
        outcomes[statuses == _INVALID] = Outcome.NOT_READ
        return self._told(feature, own, expected.astype(np.int8), outcomes.astype(np.int8))

    def _told(self, feature: str, own: pa.Array, expected: Codes, outcomes: Codes) -> _Judged:
        """Say what the source gives: for a row that is owed, the value that is right for the time of the answer."""
        owed, times = np.flatnonzero(self._owed), self._served.times.copy()
        if len(owed):
            right = self._truth.columns[self._place[feature]].take(pa.array(owed))
            own = replaced(own, owed, right)
            late = self._truth.times[owed] == NONE
            expected = expected.copy()
            expected[owed] = np.where(late, _TOO_OLD, np.where(np.asarray(right.is_null()), _NULL, _PRESENT))
            times[owed] = self._latest[owed]
        return _Judged(outcomes, own, expected, times, self._why)

    def _restated(self, feature: str, values: pa.Array, kind: FeatureType, wrong: Bools) -> Bools:
        """Return which wrong values are those of another row of the same key and event time."""
        rows = np.flatnonzero(wrong & (self._served.times != NONE))
        found = np.zeros(len(wrong), bool)
        if not len(rows):
            return found
        names = [*self._served.key_names, _TIME]
        keys = [self._served.log.keys.column(name) for name in names[:-1]]
        places = pa.array(np.arange(len(wrong)))
        asked = pa.table([*keys, pa.array(self._served.times), places], names=[*names, _ROW]).take(pa.array(rows))
        for held in self._rows_at(feature, asked, names):
            match = _matched(asked, held, names)
            served = values.take(match.column(_ROW).combine_chunks())
            alike = same(served, match.column(_VALUE).combine_chunks().cast(served.type), kind)
            found[match.column(_ROW).to_numpy()[alike]] = True
        return found

    def _rows_at(self, feature: str, asked: pa.Table, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the source's rows of some event times, with the value of a feature."""
        scan, times = self._source.join.scan, asked.column(_TIME)
        span = pc.min_max(times).as_py()
        one = replace(scan, columns=(scan.columns[self._place[feature]],))
        for batch in self._source.engine.rows(one, Span(span["min"], span["max"])):
            at = batch.column(EVENT_TIME).cast(pa.int64())
            columns = [*batch.columns[: len(scan.keys)], at, batch.column("f0")]
            yield pa.table(columns, names=[*names, _VALUE]).filter(pc.is_in(at, times.combine_chunks()))

    def input(self, feature: str) -> pa.Array:
        """Return the values of a feature that on-demand functions were given."""
        return self._columns[self._place[feature]]

    @property
    def sound(self) -> Bools:
        """Rows that are right, and were there when the view was materialized last before the answer."""
        served = self._served
        settled = (served.end != NONE) & (served.times <= served.end) & self._source.unchanged_since(served.end)
        return np.asarray(settled & ~self._lost & ~self._owed)


def _matched(asked: pa.Table, held: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the asked rows with the value of each held row of the same key and time."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(zip(*(asked.column(name).to_pylist() for name in names), strict=True)):
        places.setdefault(key, []).append(row)
    pairs = [
        (place, row)
        for row, key in enumerate(zip(*(held.column(name).to_pylist() for name in names), strict=True))
        for place in places.get(key, ())
    ]
    left, right = (pa.array([pair[side] for pair in pairs], pa.int64()) for side in (0, 1))
    return pa.table({_ROW: asked.column(_ROW).take(left), _VALUE: held.column(_VALUE).take(right)})


class _Windows:
    """A view with windows: each value is compared with the window over all events of the source.

    Args:
        source: computes it again.
        served: what the log says.
        needed: its features that are computed.
    """

    def __init__(self, source: Recomputer, served: _Served, needed: Sequence[str]) -> None:
        self._source = source
        self._served = served
        self._place = {name: number for number, name in enumerate(needed)}
        self._types = {field.name: field.dtype for field in served.view.features}
        windows = windows_of(served.view)
        assert windows is not None
        table = table_name(served.kit.project, served.view)
        self._states = WindowStates(windows, table, windows.has_source)
        self._near = {f.name: _nearness(f.function, self._types[f.name]) for f in windows.features}
        log = served.log
        self._columns = source.values(np.arange(log.count), log.as_of, log.known).columns
        self._whole: Bools | None = None

    def judged(self, feature: str, values: pa.Array, statuses: Codes) -> _Judged:
        """Compare the served values of a feature."""
        own = self._columns[self._place[feature]]
        expected = np.where(np.asarray(own.is_null()), _NULL, _PRESENT)
        wrong = ~(same(values, own, self._types[feature], self._near[feature]) & (statuses == expected))
        outcomes = np.where(wrong, Outcome.DIFFERENT, Outcome.EQUAL)
        if wrong.any():
            outcomes[wrong & ~self.sound] = Outcome.LATE
            self._set_apart(outcomes, np.flatnonzero(outcomes == Outcome.DIFFERENT))
        outcomes[statuses == _NOT_FOUND] = Outcome.INCOMPLETE
        outcomes[statuses == _INVALID] = Outcome.NOT_READ
        none = np.full(len(outcomes), NONE)
        return _Judged(outcomes.astype(np.int8), own, expected.astype(np.int8), none, {})

    def _set_apart(self, outcomes: npt.NDArray[np.int_], rows: Ints) -> None:
        """Set apart keys that were deleted, and such as have, or may have had, events that the source lacks."""
        if not len(rows):
            return
        served, deleted = self._served, [record is not None for record in self._served.records(rows, deletions=True)]
        outcomes[rows[np.array(deleted, bool)]] = Outcome.DELETED
        if served.view.stream_source is None:
            return
        keys, records = served.codes(rows), served.records(rows)
        for row, key, record in zip(rows.tolist(), keys, records, strict=True):
            if record is not None and outcomes[row] == Outcome.DIFFERENT:
                held = self._states.contents(key, record)
                outcomes[row] = _of_pushes(held, int(served.end[row]), int(served.log.as_of[row]))

    def input(self, feature: str) -> pa.Array:
        """Return the values of a feature that on-demand functions were given."""
        return self._columns[self._place[feature]]

    @property
    def sound(self) -> Bools:
        """Rows of whose keys all events were there when the view was materialized last before the answer."""
        if self._whole is None:
            served, log = self._served, self._served.log
            newest, created = self._source.latest_events(np.arange(log.count), log.as_of, log.known)
            end = served.end
            unchanged = self._source.unchanged_since(end)
            self._whole = (end != NONE) & (newest <= end) & (created <= end) & unchanged & (log.as_of >= log.answered)
        return self._whole


def _explains(record: bytes | None, row: int, now: int, pushed: bool) -> bool:
    """Tell whether what a key has now says why it was served without a row that was there: see :class:`_Rows`."""
    if record is None:
        return False
    head = head_of(record)
    return head.event >= row if head.layout == TOMBSTONE else pushed and head.event > now


def _of_pushes(held: Contents, end: int, as_of: int) -> Outcome:
    """Say of a window that differs from that of the source what its state says: it counted what was pushed, or not."""
    if held.cover is not None and held.cover > end:
        return Outcome.PUSHED
    pushed = [event[0] for event in held.events if event[2] is not None]
    pushed += [tile.last for tile in held.tiles if not tile.from_source]
    return Outcome.ONLY_ONLINE if any(at <= as_of for at in pushed) else Outcome.DIFFERENT


def _nearness(function: str, kind: FeatureType) -> float:
    exact = function.partition("(")[0] in _EXACT_FUNCTIONS
    return SUMS if kind.family is Family.FLOAT and not exact else EXACT


def _is_inexact(view: FeatureView) -> bool:
    windows = windows_of(view)
    return windows is not None and any(_nearness(f.function, f.type) for f in windows.features)


def _micros(column: pa.ChunkedArray) -> Ints:
    found: Ints = column.cast(pa.int64()).fill_null(NONE).to_numpy()
    return found


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat().replace("+00:00", "Z")
