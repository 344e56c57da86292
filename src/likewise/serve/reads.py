"""Reads: POST /get-online-features, from the request's bytes to the answer's; hot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from likewise.core.errors import InvalidTime, LikewiseError, RequestError
from likewise.core.json_form import decode_column, from_json
from likewise.core.time import to_micros
from likewise.core.types import FeatureType
from likewise.jobs.lookup import Lookup, Rows
from likewise.online.response import OnlineResponse
from likewise.plan.lookup import LookupPlan
from likewise.serve.answer import AnswerWriter
from likewise.serve.call import Answer, Call
from likewise.serve.metrics import Metrics
from likewise.serve.payload import OnlineRequest, read_body
from likewise.serve.problem import Refusal, pointer_of, refusal_of
from likewise.serve.settings import Limits
from likewise.serve.state import State

_QUICK = 1_000
Special = Mapping[str, FeatureType]
"""The columns of a request whose values have a form of their own in JSON, with their types."""


class Reads:
    """Answers online reads: those of an embedded store at once, all others from threads.

    Args:
        state: the store.
        limits: what is bounded.
        metrics: counts and times.
    """

    def __init__(self, state: State, limits: Limits, metrics: Metrics) -> None:
        self._state = state
        self._limits = limits
        self._metrics = metrics
        self._known: WeakKeyDictionary[Lookup, tuple[Special, AnswerWriter]] = WeakKeyDictionary()
        self._threads = ThreadPoolExecutor(limits.read_threads, "likewise-read")

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __call__(self, call: Call) -> Answer | Awaitable[Answer]:
        """Answer a read.

        Raises:
            Refusal: it cannot be answered as it is, or the server is not ready for it.
        """
        began = perf_counter()
        request = read_body(call.body, OnlineRequest, self._limits)
        asked, rows, count = self._asked(request)
        self._metrics.parse.observe(perf_counter() - began)
        if self._state.embedded and count <= _QUICK:
            return self._answer(request, asked, rows, count)
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._answer, request, asked, rows, count)

    def _asked(self, request: OnlineRequest) -> tuple[tuple[str, ...], Rows, int]:
        if not self._state.has_catalog:
            raise Refusal("not_ready", "no catalog could be read yet; see /readyz")
        if (request.features is None) == (request.feature_service is None):
            raise Refusal("invalid", "give either features or feature_service", "")
        if (request.entities is None) == (request.rows is None):
            raise Refusal("invalid", "give either entities, as columns, or rows", "")
        features = (request.feature_service,) if request.features is None else tuple(request.features)
        rows: Rows = request.rows if request.entities is None else request.entities  # type: ignore[assignment]
        count = _row_count(rows)
        if len(features) > self._limits.features:
            most = self._limits.features
            raise Refusal("too_large", f"{len(features):,} features; ask for at most {most:,} at once", "/features")
        if count > self._limits.keys:
            where = "/rows" if request.entities is None else "/entities"
            what = f"{count:,} rows; ask for at most {self._limits.keys:,} at once"
            raise Refusal("too_large", what, where)
        return features, rows, count  # type: ignore[return-value]

    def _answer(self, request: OnlineRequest, asked: tuple[str, ...], rows: Rows, count: int) -> Answer:
        began = perf_counter()
        try:
            answer, writer = self._read(request, asked, rows)
        except LikewiseError as error:
            where = "/as_of" if isinstance(error, InvalidTime) and error.column is None else None
            by_rows = request.entities is None
            found = where or pointer_of(error, "rows" if by_rows else "entities", by_rows)
            raise refusal_of(error, found) from error
        read = perf_counter()
        body, counts = writer.write(answer)
        metrics = self._metrics
        metrics.read.observe(read - began)
        metrics.encode.observe(perf_counter() - read)
        if counts is None:
            metrics.count_present(writer.per_view, count)
        else:
            metrics.count_values(writer.views, counts)
        return Answer(body)

    def _read(self, request: OnlineRequest, asked: tuple[str, ...], rows: Rows) -> tuple[OnlineResponse, AnswerWriter]:
        store = self._state.store
        if request.feature_service is not None:
            store.definitions.service(request.feature_service)  # its name may be a view's as well
        now = store.clock.now() if request.as_of is None else to_micros(request.as_of, "as_of")

        def read(lookup: Lookup) -> tuple[OnlineResponse, AnswerWriter]:
            known = self._known.get(lookup)
            if known is None:
                known = self._known[lookup] = _special(lookup), _writer(lookup.plan)
            special, writer = known
            return lookup.read(_taken(rows, special) if special else rows, now), writer

        return store.with_lookup(asked, request.full_feature_names, read)


def _row_count(rows: Rows) -> int:
    return max(map(len, rows.values()), default=0) if type(rows) is dict else len(rows)


def _special(lookup: Lookup) -> Special:
    return {name: kind for name, kind in lookup.given_types.items() if from_json(kind) is not None}


def _taken(rows: Rows, special: Special) -> Rows:
    """Return rows with Python's values in the place of JSON's, where a type has a form of its own there."""
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
