"""Bulk: reads of tables, answered with tables; off the event loop, slice by slice, so that memory stays bounded.

A slice is one read like any other: permissions, ages and the log see it, and it sees the store as of one moment. All
slices of an answer are of one catalog and of one time.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from likewise.core.errors import InvalidTime, LikewiseError, RequestError
from likewise.core.time import from_micros
from likewise.jobs.lookup import Lookup, Rows
from likewise.online.response import OnlineResponse
from likewise.serve.answer import AnswerWriter
from likewise.serve.call import ARROW, Answer, Call
from likewise.serve.deadlines import in_time
from likewise.serve.failures import told_of
from likewise.serve.forms import TypedColumns, in_slice, table_request
from likewise.serve.metrics import Metrics
from likewise.serve.payload import OnlineRequest
from likewise.serve.problem import RETRY_AFTER, Refusal, pointer_of, refusal_of
from likewise.serve.settings import Limits
from likewise.serve.state import State

if TYPE_CHECKING:
    import pyarrow as pa

_SLICE = 2_000
_THREADS = 2
_TRIES = 3
ReadRows = Callable[[Lookup, Rows, int], OnlineResponse]
"""Answers some rows at a time."""
Read = Callable[[Call, OnlineRequest, tuple[str, ...], Rows, ReadRows], tuple[OnlineResponse, AnswerWriter]]
"""Does one read, with all that belongs to it."""


class _Changed(Exception):
    """A slice would be of another catalog than those before."""


class TableReads:
    """Answers reads of tables.

    Args:
        state: the store.
        limits: what is bounded.
        metrics: counts and times.
        features: returns the features that a request asks for, checked.
        read: does one read.
    """

    def __init__(
        self,
        state: State,
        limits: Limits,
        metrics: Metrics,
        features: Callable[[OnlineRequest], tuple[str, ...]],
        read: Read,
    ) -> None:
        self._state = state
        self._limits = limits
        self._metrics = metrics
        self._features = features
        self._read = read
        self._at_work = 0
        self._threads = ThreadPoolExecutor(_THREADS, "likewise-table")

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, call: Call) -> Answer:
        """Answer a read whose body is a table."""
        if self._at_work >= self._limits.bulk:
            raise Refusal("overloaded", f"{self._at_work} tables wait already; try again", headers=RETRY_AFTER)
        self._at_work += 1
        try:
            return await in_time(self._threads, call.end, lambda: self._answer(call))
        finally:
            self._at_work -= 1

    def _answer(self, call: Call) -> Answer:
        from likewise.serve.tables import read_table

        began = perf_counter()
        request = table_request(call)
        if not self._state.has_catalog:
            raise Refusal("not_ready", "no catalog could be read yet; see /readyz")
        if (request.features is None) == (request.feature_service is None):
            raise Refusal("bad_query", "give either features or feature_service")
        asked = self._features(request)
        if request.as_of is None:
            now = from_micros(self._state.store.clock.now())
            request = msgspec.structs.replace(request, as_of=now.isoformat())
        table = read_table(call.body, self._limits)
        self._metrics.parse.observe(perf_counter() - began)
        for _ in range(_TRIES):
            try:
                failures: Counter[str] = Counter()
                body = self._written(call, request, asked, table, failures)
                told = told_of(failures["failed"], failures["stale"], self._metrics)
                return Answer(body, media_type=ARROW, headers=told)
            except _Changed:
                continue
        raise Refusal("overloaded", "the definitions change all the time; try again", headers=RETRY_AFTER)

    def _written(
        self,
        call: Call,
        request: OnlineRequest,
        asked: tuple[str, ...],
        table: pa.Table,
        failures: Counter[str],
    ) -> bytes:
        """Return the body of the answer; what a slice needs is let go before the next."""
        from likewise.serve.tables import TableWriter, columns_of

        catalogs: set[int] = set()

        def read(lookup: Lookup, rows: Rows, now: int) -> OnlineResponse:
            catalogs.add(lookup.plan.catalog)
            if len(catalogs) > 1:
                raise _Changed
            return lookup.read(rows, now)

        def answered(start: int) -> OnlineResponse:
            rows = TypedColumns(columns_of(table.slice(start, _SLICE)))
            try:
                answer, writer = self._read(call, request, asked, rows, read)
            except LikewiseError as error:
                raise _refused(error, start) from error
            self._metrics.count_values(writer.views, [Counter(each.statuses()) for each in answer.features])
            failures["failed"] += answer.failed_values
            failures["stale"] += answer.stale_values
            return answer

        first = answered(0)
        writer = TableWriter(list(first.key_types.items()), [(each.name, each.type) for each in first.features])
        rest = map(answered, range(_SLICE, table.num_rows, _SLICE))
        return writer.write(itertools.chain([first], rest), self._limits.bulk_answer_bytes)


def _refused(error: LikewiseError, start: int) -> Refusal:
    """Return what a read gets for an error in the slice that begins at a row."""
    if isinstance(error, InvalidTime) and error.column is None:
        return refusal_of(error)
    if isinstance(error, RequestError):
        error = in_slice(error, start)
    return refusal_of(error, pointer_of(error, "entities"))
