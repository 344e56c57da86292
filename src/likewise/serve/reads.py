"""Reads: POST /get-online-features, from the request's bytes to the answer's; hot.

Those of an embedded store are answered at once. Those of a store over the network are put together (``flights.py``).
Large ones have threads of their own, so that no other request waits for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from likewise.core.errors import InvalidTime, LikewiseError, RequestError, StoreError
from likewise.core.json_form import decode_column, from_json
from likewise.core.time import to_micros
from likewise.core.types import FeatureType
from likewise.jobs.lookup import Asked, Lookup, Rows
from likewise.online.allowance import Allowance
from likewise.online.response import OnlineResponse
from likewise.plan.lookup import LookupPlan
from likewise.registry.definitions import Definitions, read_definitions
from likewise.serve.access import Caller
from likewise.serve.answer import AnswerWriter
from likewise.serve.bulk import TableReads
from likewise.serve.call import ARROW, JSON, Answer, Call
from likewise.serve.deadlines import in_time, late
from likewise.serve.failures import told_of
from likewise.serve.flights import Flights
from likewise.serve.forms import TypedColumns, TypedRows, media_of_answer, read_request, written_as
from likewise.serve.metrics import Metrics
from likewise.serve.payload import OnlineRequest
from likewise.serve.problem import Refusal, pointer_of, refusal_of
from likewise.serve.reach import ReadLimits
from likewise.serve.served_log import Logged, ServedLog
from likewise.serve.settings import Limits
from likewise.serve.state import State

_QUICK = 1_000
_EACH_ROW = 1e-4
"""How much longer a read may take for each of its rows, in seconds, unless it says how long."""
Special = Mapping[str, FeatureType]
"""The columns of a request whose values have a form of their own in JSON, with their types."""
ReadRows = Callable[[Lookup, Rows, int], OnlineResponse]
"""Answers rows at a time by a read that is ready."""


class _Moved(Exception):
    """There is another catalog now than when the store was asked."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What the store said to a request."""

    lookup: Lookup
    """The read that asked."""
    question: Asked
    """The request."""
    records: Sequence[Sequence[bytes | None]]
    """What the store said."""
    error: StoreError | None
    """Why it said nothing."""

    def read(self, lookup: Lookup, rows: Rows, now: int) -> OnlineResponse:
        """Answer the request.

        Raises:
            _Moved: another read has to answer it now.
        """
        if lookup is not self.lookup:
            raise _Moved
        if self.error is not None:
            return lookup.without(self.question, self.error, now)
        return lookup.answer(self.question, self.records, now)


class Reads:
    """Answers online reads.

    Args:
        state: the store.
        limits: what is bounded.
        metrics: counts and times.
        log: keeps some of the answers.
    """

    def __init__(self, state: State, limits: Limits, metrics: Metrics, log: ServedLog) -> None:
        self._state = state
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._known: WeakKeyDictionary[Lookup, tuple[Special, AnswerWriter, Logged | None]] = WeakKeyDictionary()
        self._threads = ThreadPoolExecutor(limits.read_threads, "likewise-read")
        self._flights = Flights(lambda requests: state.store.online_store.read(requests))
        self._reach = ReadLimits()
        self._tables = TableReads(state, limits, metrics, self._features, self._read)

    def close(self) -> None:
        """Let go of the threads."""
        self._flights.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._tables.close()

    def __call__(self, call: Call) -> Answer | Awaitable[Answer]:
        """Answer a read.

        Raises:
            Refusal: it cannot be answered as it is, or the server is not ready for it.
        """
        began = perf_counter()
        if call.media == ARROW:
            return self._tables(call)
        request = read_request(call, self._limits)
        asked, rows, count = self._asked(request)
        if call.caller.is_limited:
            self._check_limits(call.caller, request, asked, self._state.store.definitions)
        self._metrics.parse.observe(perf_counter() - began)
        end = call.end
        if self._state.embedded:
            if end is not None and end <= monotonic():
                raise refusal_of(late())
            if count <= _QUICK:
                return self._answer(call, request, asked, rows, count)
        elif end is None:
            end = monotonic() + self._limits.deadline_seconds + count * _EACH_ROW
        return self._waited(call, request, asked, rows, count, end)

    async def _waited(
        self, call: Call, request: OnlineRequest, asked: tuple[str, ...], rows: Rows, count: int, end: float | None
    ) -> Answer:
        """Answer a read of a store over the network, or one that takes long."""
        if not self._state.embedded and end is not None and count <= _QUICK:
            fetched = await self._fetched(request, asked, rows, end)
            if fetched is not None:
                with contextlib.suppress(_Moved):
                    return self._answer(call, request, asked, rows, count, fetched.read)
        return await in_time(self._threads, end, lambda: self._answer(call, request, asked, rows, count))

    async def _fetched(self, request: OnlineRequest, asked: tuple[str, ...], rows: Rows, end: float) -> _Fetched | None:
        """Return what the store says to a read that is ready; None where a thread has to look closer.

        A thread may wait for the registry, and it says what is wrong with a request.
        """
        lookup = self._state.store.ready_lookup(asked, request.full_feature_names)
        known = None if lookup is None else self._known.get(lookup)
        if lookup is None or known is None:
            return None
        try:
            question = lookup.ask(_taken(rows, known[0]) if known[0] else rows)
        except LikewiseError:
            return None
        try:
            return _Fetched(lookup, question, await self._flights.read(question.requests, end), None)
        except StoreError as error:
            return _Fetched(lookup, question, [], error) if error.transient else None

    def _asked(self, request: OnlineRequest) -> tuple[tuple[str, ...], Rows, int]:
        if not self._state.has_catalog:
            raise Refusal("not_ready", "no catalog could be read yet; see /readyz")
        if (request.features is None) == (request.feature_service is None):
            raise Refusal("invalid", "give either features or feature_service", "")
        if (request.entities is None) == (request.rows is None):
            raise Refusal("invalid", "give either entities, as columns, or rows", "")
        features = self._features(request)
        rows: Rows = request.rows if request.entities is None else request.entities  # type: ignore[assignment]
        count = _row_count(rows)
        if count > self._limits.keys:
            where = "/rows" if request.entities is None else "/entities"
            what = f"{count:,} rows; ask for at most {self._limits.keys:,} at once"
            raise Refusal("too_large", what, where)
        return features, rows, count

    def _features(self, request: OnlineRequest) -> tuple[str, ...]:
        found: Any = (request.feature_service,) if request.features is None else tuple(request.features)
        if len(found) > self._limits.features:
            most = self._limits.features
            raise Refusal("too_large", f"{len(found):,} features; ask for at most {most:,} at once", "/features")
        return tuple(found)

    def _answer(
        self,
        call: Call,
        request: OnlineRequest,
        asked: tuple[str, ...],
        rows: Rows,
        count: int,
        read_rows: ReadRows = Lookup.read,
    ) -> Answer:
        began = perf_counter()
        try:
            answer, writer = self._read(call, request, asked, rows, read_rows)
        except LikewiseError as error:
            where = "/as_of" if isinstance(error, InvalidTime) and error.column is None else None
            by_rows = request.entities is None
            found = where or pointer_of(error, "rows" if by_rows else "entities", by_rows)
            raise refusal_of(error, found) from error
        read = perf_counter()
        media = media_of_answer(call)
        body, counts = writer.write(answer) if media == JSON else written_as(media, answer, self._limits)
        metrics = self._metrics
        metrics.read.observe(read - began)
        metrics.encode.observe(perf_counter() - read)
        if counts is None:
            metrics.count_present(writer.per_view, count)
        else:
            metrics.count_values(writer.views, counts)
        told = told_of(answer.failed_values, answer.stale_values, metrics)
        return Answer(body, 200, media, told)

    def _read(
        self, call: Call, request: OnlineRequest, asked: tuple[str, ...], rows: Rows, read_rows: ReadRows
    ) -> tuple[OnlineResponse, AnswerWriter]:
        store, caller = self._state.store, call.caller
        if caller.is_limited:  # before anything is said of what there is
            self._check_limits(caller, request, asked, store.definitions)
        if request.feature_service is not None:
            store.definitions.service(request.feature_service)  # its name may be a view's as well
        now = store.clock.now() if request.as_of is None else to_micros(request.as_of, "as_of")

        def read(lookup: Lookup) -> tuple[OnlineResponse, AnswerWriter]:
            if caller.is_limited:  # the catalog may be another one by now
                self._check_limits(caller, request, asked, self._definitions(lookup.plan.catalog))
            known = self._known.get(lookup)
            if known is None:
                logged = self._log.logged(lookup.plan, asked, self._definitions(lookup.plan.catalog))
                known = self._known[lookup] = _special(lookup), _writer(lookup.plan), logged
            special, writer, logged = known
            is_logged = logged is not None and logged.takes()
            taken = _taken(rows, special) if special else rows
            answer = read_rows(lookup, taken, now)
            if logged is not None and is_logged:
                answered = now if request.as_of is None else store.clock.now()
                self._log.offer(logged, call, (now, answered), answer, taken)
            self._metrics.count_ages(lookup.plan.reads, answer, now)
            return answer, writer

        with Allowance(self._limits.answer_bytes):
            return store.with_lookup(asked, request.full_feature_names, read)

    def _check_limits(
        self, caller: Caller, request: OnlineRequest, asked: tuple[str, ...], definitions: Definitions
    ) -> None:
        pointer = "/features" if request.feature_service is None else "/feature_service"
        self._reach.check(caller, asked, pointer, definitions)

    def _definitions(self, number: int) -> Definitions:
        """Return the definitions of a catalog, which is nearly always the one that is answered from."""
        store = self._state.store
        found = store.definitions
        return found if found.number == number else read_definitions(store.registry.catalog(store.project, number))


def _row_count(rows: Rows) -> int:
    return max(map(len, rows.values()), default=0) if type(rows) is dict else len(rows)


def _special(lookup: Lookup) -> Special:
    return {name: kind for name, kind in lookup.given_types.items() if from_json(kind) is not None}


def _taken(rows: Rows, special: Special) -> Rows:
    """Return rows with Python's values in the place of JSON's, where a type has a form of its own there."""
    if isinstance(rows, TypedColumns | TypedRows):
        return rows
    if isinstance(rows, Mapping):
        return {
            name: decode_column(name, values, special[name]) if name in special else values
            for name, values in rows.items()
        }
    return [_taken_row(number, row, special) for number, row in enumerate(rows)]


def _taken_row(number: int, row: Mapping[str, Any], special: Special) -> Mapping[str, Any]:
    done = dict(row)
    for name in special.keys() & row.keys():
        try:
            [done[name]] = decode_column(name, [row[name]], special[name])
        except RequestError as error:
            what = error.message.replace("in row 0", f"in row {number}")
            raise RequestError(what, cure=error.cure, column=name, row=number) from error
    return done


def _writer(plan: LookupPlan) -> AnswerWriter:
    views = [plan.reads[o.read].view if o.read >= 0 else plan.steps[o.position].view for o in plan.outputs]
    columns = [*plan.entities, *((output.name, output.type) for output in plan.outputs)]
    return AnswerWriter([name for name, _ in columns], [kind for _, kind in columns], views)
