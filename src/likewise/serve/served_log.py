"""ServedLog: keeps some of the answers in files, from a thread beside the requests, and never makes one of them wait.

A request that is to be logged leaves its answer in a queue. The thread makes rows of what is there, and files of the
rows. When it cannot follow, or cannot write, rows are dropped and counted: serving goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from typing import Any

import pyarrow as pa

from likewise.core.errors import LikewiseError
from likewise.define.service import FeatureService
from likewise.jobs.lookup import Rows
from likewise.jobs.served import (
    Marks,
    ServedAnswer,
    ServedKind,
    checked_partition,
    local_folder,
    served_rows,
    write_served,
)
from likewise.online.response import OnlineResponse
from likewise.plan.lookup import LookupPlan
from likewise.plan.materialize import plan_materialize
from likewise.registry.definitions import Definitions
from likewise.registry.watermarks import Watermark, all_watermarks
from likewise.serve.call import Call
from likewise.serve.metrics import Metrics
from likewise.serve.settings import Limits, Settings
from likewise.store import FeatureStore

_EVERY = 0.2
"""Seconds between two looks at the queue."""
_MARKS_EVERY = 1.0
"""Seconds between two looks at how far the views are materialized."""
_KEPT_MARKS = 32
_MOST_SAID = 32
_NO_MARKS: Mapping[str, Watermark] = {}
_AT_ONCE = 4_000
"""About how many values are made rows of before other threads may go on."""
_RESTS, _LONGEST_REST = 3.0, 0.1
"""For how much longer than it works the thread rests, and for how many seconds at most."""
_MOST_BYTES = 64 << 20
"""How much memory rows may take before they are written."""
_ENDS_WITHIN = 10.0
_LONG_AGO = float("-inf")
_log = logging.getLogger("likewise.serve")


@dataclass(frozen=True, slots=True)
class Logged:
    """How the answers of one set of features are logged."""

    kind: ServedKind
    """What its rows are."""
    rate: float
    """The share of requests that is logged."""
    folder: Path
    """Where to."""
    by: tuple[str, ...]
    """The columns that divide the folder."""
    definitions: Mapping[str, str]
    """View to what its watermark says while it is of the definition that answers."""
    values: int
    """How many values a row has."""

    def takes(self) -> bool:
        """Tell whether to log a request; asked before anything is done for it."""
        return self.rate >= 1 or random() < self.rate


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An answer in the queue."""

    logged: Logged
    answer: ServedAnswer
    began: float
    """When its request began to be answered, on the clock of ``time.perf_counter``."""
    values: int
    """About how many values it has."""


@dataclass(slots=True)
class _Pending:
    """Rows of one kind that no file has yet."""

    since: float
    """When the first of them came."""
    parts: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def add(self, part: pa.Table) -> None:
        self.parts.append(part)
        self.rows += part.num_rows
        self.bytes += part.nbytes


_Target = tuple[ServedKind, Path, tuple[str, ...]]


class ServedLog:
    """Logs answers: those of services with a ``logging_config`` as that says, all others as the settings say.

    Args:
        store: the store that is served.
        settings: whether, where and how many of the reads that no service speaks for are logged.
        limits: how much may wait, and when a file is written.
        metrics: counts rows, and what is dropped.
    """

    def __init__(self, store: FeatureStore, settings: Settings, limits: Limits, metrics: Metrics) -> None:
        self._store = store
        self._folder = None if settings.log_features is None else settings.log_features.absolute()
        self._rate = settings.log_sample
        self._limits = limits
        self._metrics = metrics
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._values = 0
        self._pending: dict[_Target, _Pending] = {}
        self._marks: deque[tuple[float, Mapping[str, Watermark]]] = deque(maxlen=_KEPT_MARKS)
        self._failing: set[Path] = set()
        self._said: set[str] = set()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look how far the views are materialized, if anything is to be logged."""
        if self._folder is not None or any(s.logging_config for s in self._store.definitions.services.values()):
            self._start()

    def close(self) -> None:
        """Write what is left, and end."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN)

    # ---- what the requests do

    def logged(self, plan: LookupPlan, asked: tuple[str, ...], definitions: Definitions) -> Logged | None:
        """Return how the answers of a read are logged; None: not at all. Asked once for each read.

        Args:
            plan: the read.
            asked: what was asked for.
            definitions: the definitions of its catalog.
        """
        service = definitions.services.get(asked[0]) if len(asked) == 1 else None
        config = None if service is None else service.logging_config
        if config is None and self._folder is None:
            return None
        try:
            made = self._logged(plan, asked, service, definitions)
        except Exception as error:  # noqa: BLE001 - a log that cannot be is no reason to answer nothing
            self._say(f"reads of {', '.join(asked)[:200]} are not logged: {error}")
            return None
        self._start()
        return made

    def _logged(
        self, plan: LookupPlan, asked: tuple[str, ...], service: FeatureService | None, definitions: Definitions
    ) -> Logged:
        config = None if service is None else service.logging_config
        kind = ServedKind.of(plan, definitions.project, asked, "" if service is None else service.name)
        applied = {name: self._definition(definitions, name) for name in set(kind.reads)}
        values = len(kind.keys) + len(kind.request) + 3 * len(kind.features) + len(kind.reads) + 4
        if config is None:
            assert self._folder is not None
            return Logged(kind, self._rate, self._folder, (), applied, values)
        to = config.destination
        folder = local_folder(to.path, self._store.repo_path)
        by = checked_partition(kind, to.partition_by or ())
        return Logged(kind, config.sample_rate, folder, by, applied, values)

    def _definition(self, definitions: Definitions, view: str) -> str:
        """Return what the watermark of a view says when it is of this definition; empty for one that has no source."""
        try:
            plan = plan_materialize(definitions.project, definitions.view(view), str(self._store.repo_path), 0, 0)
        except LikewiseError:
            return ""
        return plan.definition

    def offer(self, logged: Logged, call: Call, at: tuple[int, int], response: OnlineResponse, rows: Rows) -> None:
        """Leave an answer to be logged; never waits.

        Args:
            logged: how.
            call: the request.
            at: the time that the answer is for, and when it was answered, in microseconds since the epoch.
            response: the answer.
            rows: what was asked for: keys and request values.
        """
        try:
            request = [_column(rows, name) for name, _ in logged.kind.request]
            answer = ServedAnswer(call.request_id, *at, response, request)
            began = _LONG_AGO if response.stale_values else call.arrived  # of an old value nothing is said
            waiting = _Waiting(logged, answer, began, answer.rows * logged.values)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer itself is fine
            self._drop("value", 0, f"an answer cannot be logged: {error!r}")
            return
        with self._lock:
            if self._values + waiting.values <= self._limits.log_values:
                self._values += waiting.values
                self._queue.append(waiting)
                return
        self._metrics.log_dropped.labels("queue_full").inc(answer.rows)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._end.is_set():
                self._look_at_marks()
                self._thread = threading.Thread(target=self._run, name="likewise-log", daemon=True)
                self._thread.start()

    # ---- what the thread does

    def _run(self) -> None:
        looked = time.perf_counter()
        while True:
            ended = self._end.wait(_EVERY)
            try:
                if time.perf_counter() - looked >= _MARKS_EVERY:
                    looked = time.perf_counter()
                    self._look_at_marks()
                self._take()
                self._write(ended)
            except Exception:  # noqa: BLE001 - the surface of this thread: whatever it is, the log goes on
                _log.exception("logging what was served failed")
            if ended:
                return

    def _look_at_marks(self) -> None:
        """Note how far the views are materialized: requests that begin from now on find at least that."""
        try:
            found = all_watermarks(self._store.registry.side, self._store.project)
        except LikewiseError:  # the server's log says so already; what is not known is not claimed
            found = {}
        self._marks.append((time.perf_counter(), found))

    def _take(self) -> None:
        """Make rows of what is in the queue, some of one kind at a time."""
        while self._queue:
            some = [self._queue.popleft()]
            values = some[0].values
            while self._queue and values < _AT_ONCE and self._goes_with(some[0], self._queue[0]):
                some.append(self._queue.popleft())
                values += some[-1].values
            began = time.perf_counter()
            self._make_rows(some)
            with self._lock:
                self._values -= values
            if not self._end.is_set():  # most of the time is for requests: rather drop rows than keep them waiting
                time.sleep(min(_LONGEST_REST, _RESTS * (time.perf_counter() - began)))

    def _goes_with(self, first: _Waiting, other: _Waiting) -> bool:
        return other.logged is first.logged and self._marks_before(other.began) is self._marks_before(first.began)

    def _marks_before(self, began: float) -> Mapping[str, Watermark]:
        return next((found for at, found in reversed(self._marks) if at <= began), _NO_MARKS)

    def _make_rows(self, some: Sequence[_Waiting]) -> None:
        logged = some[0].logged
        marks = _spans(self._marks_before(some[0].began), logged.definitions)
        try:
            rows = served_rows(logged.kind, [each.answer for each in some], marks)
        except (LikewiseError, pa.ArrowException, ValueError, TypeError) as error:
            if len(some) > 1:
                for each in some:
                    self._make_rows([each])
                return
            self._drop("value", some[0].answer.rows, f"an answer cannot be logged: {error}")
            return
        target = logged.kind, logged.folder, logged.by
        self._pending.setdefault(target, _Pending(time.perf_counter())).add(rows)

    def _write(self, all_: bool) -> None:
        limits, now = self._limits, time.perf_counter()
        too_much = sum(pending.bytes for pending in self._pending.values()) > _MOST_BYTES
        for target, pending in list(self._pending.items()):
            if all_ or too_much or pending.rows >= limits.log_rows or now - pending.since >= limits.log_seconds:
                del self._pending[target]
                self._write_file(target, pa.concat_tables(pending.parts))

    def _write_file(self, target: _Target, rows: pa.Table) -> None:
        kind, folder, by = target
        try:
            write_served(rows, kind, folder, by)
        except (LikewiseError, OSError, pa.ArrowException) as error:
            self._metrics.log_dropped.labels("write_failed").inc(rows.num_rows)
            if folder not in self._failing:
                self._failing.add(folder)
                _log.error("what is served cannot be logged, and is dropped until it can be: %s", error)
            return
        self._failing.discard(folder)
        self._metrics.log_rows.inc(rows.num_rows)

    def _drop(self, reason: str, rows: int, said: str) -> None:
        self._metrics.log_dropped.labels(reason).inc(rows)
        self._say(said)

    def _say(self, said: str) -> None:
        if said not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(said)
            _log.error("%s", said)


def _spans(marks: Mapping[str, Watermark], definitions: Mapping[str, str]) -> Marks:
    """Return what was materialized of the views as they are defined where the answers come from."""
    return {
        view: marks[view].intervals[-1]
        for view, definition in definitions.items()
        if definition and view in marks and marks[view].intervals and marks[view].definition == definition
    }


def _column(rows: Rows, name: str) -> Sequence[Any]:
    return rows[name] if isinstance(rows, Mapping) else [row[name] for row in rows]
