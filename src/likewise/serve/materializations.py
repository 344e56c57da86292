"""Materializations: POST /materialize and /materialize-incremental; one run at a time, waited for or not."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal
from urllib.parse import parse_qs

from msgspec import Struct

from likewise.core.errors import InvalidTime, LikewiseError
from likewise.core.time import EARLIEST, from_micros, to_micros
from likewise.jobs.materialize import Done, Event
from likewise.registry.audit import acting_as
from likewise.serve.access import Caller
from likewise.serve.call import Answer, Call, encode
from likewise.serve.payload import IncrementalBody, MaterializeBody, read_body
from likewise.serve.problem import RETRY_AFTER, Refusal, is_logged, pointer_of, refusal_of
from likewise.serve.reach import check_there, check_views
from likewise.serve.settings import Limits
from likewise.serve.state import State

PATH = "/materializations/"
"""Where a run's status is."""
MOST = 100
"""How many runs are remembered."""
_log = logging.getLogger("likewise.serve")


class Step(Struct, frozen=True):
    """What was done for one view."""

    view: str
    """The view."""
    start: str
    """The first event time."""
    end: str
    """The last event time, included."""
    keys: int
    """How many keys had rows."""
    written: int
    """How many records were written: those that were newer."""
    seconds: float
    """How long it took."""


class Run(Struct, frozen=True, kw_only=True):
    """One materialization."""

    id: str
    """Its name: its status is at /materializations/ and this."""
    status: Literal["running", "done", "failed"]
    """How far it is."""
    views: list[Step] = []
    """What was done, when it is done."""
    detail: str = ""
    """What went wrong, when it failed."""


class RunEnded(LikewiseError):
    """A materialization was stopped between two of its steps, because the server ends."""


class Materializations:
    """Runs materializations, one at a time.

    Args:
        state: the store.
        limits: what is bounded.
    """

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._runs: dict[str, Run] = {}
        self._callers: dict[str, str] = {}
        self._running: asyncio.Task[Run] | None = None
        self._ending = threading.Event()
        self._thread = ThreadPoolExecutor(1, "likewise-materialize")

    def stop(self) -> None:
        """Have a run that is at work end after its next step; it can be taken up where it was."""
        self._ending.set()

    def _go_on(self, event: Event) -> None:
        if self._ending.is_set():
            what = f"the server ends, and the materialization of view {event.view!r} with it"
            raise RunEnded(what, cure="run it again: it goes on where it was")

    def close(self) -> None:
        """Let go of the thread."""
        self.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def materialize(self, call: Call) -> Answer:
        """Write a span of event times to the online store."""
        body = read_body(call.body, MaterializeBody, self._limits)
        if not body.disable_event_timestamp and (body.start_ts is None or body.end_ts is None):
            missing = "/start_ts" if body.start_ts is None else "/end_ts"
            raise Refusal("invalid", f"{missing[1:]} is missing; give it, or disable_event_timestamp", missing)
        start, end = _time(body.start_ts, "start_ts"), _time(body.end_ts, "end_ts")
        await self._check_limits(call.caller, body.feature_views)

        def work() -> list[Done]:
            whole = body.disable_event_timestamp
            store, views = self._state.store, body.feature_views
            return store.materialize(start, end, views, whole, version=body.version, report=self._go_on)

        return await self._run(work, call)

    async def incremental(self, call: Call) -> Answer:
        """Write what came since the last time to the online store."""
        body = read_body(call.body, IncrementalBody, self._limits)
        end = self._state.store.clock.now() if body.end_ts is None else _time(body.end_ts, "end_ts")
        await self._check_limits(call.caller, body.feature_views)

        def work() -> list[Done]:
            store = self._state.store
            return store.materialize_incremental(end, body.feature_views, version=body.version, report=self._go_on)

        return await self._run(work, call)

    def status(self, call: Call) -> Answer:
        """Tell how far a run is."""
        run = self._runs.get(call.rest)
        if run is None or (call.caller.is_limited and self._callers[run.id] != call.caller.id):
            what = f"there is no materialization {call.rest!r}; this process remembers its last {MOST}"
            raise Refusal("not_found", what)
        return Answer(encode(run))

    async def _check_limits(self, caller: Caller, views: list[str] | None) -> None:
        """Have a caller who is limited name the views, and theirs only: without names it would be all there are."""
        if not caller.is_limited:
            return
        if views is None:
            raise caller.refusal("to fill all views (no feature_views are named)", "/feature_views")
        check_views(caller, views, "/feature_views")
        store = self._state.store
        if not all(view in store.definitions.views for view in views):  # it may be new
            await asyncio.get_running_loop().run_in_executor(None, store.refresh_registry)
        check_there(caller, views, "/feature_views", store.definitions)

    async def _run(self, work: Callable[[], list[Done]], call: Call) -> Answer:
        background = _flag(call.query, "async")
        if self._running is not None and not self._running.done():
            what = f"materialization {next(reversed(self._runs))!r} is at work; ask {PATH} about it, and try again"
            raise Refusal("busy", what, headers=RETRY_AFTER)
        run = Run(id=secrets.token_hex(8), status="running")
        while len(self._runs) >= MOST:
            oldest = next(iter(self._runs))
            del self._runs[oldest], self._callers[oldest]
        self._runs[run.id], self._callers[run.id] = run, call.caller.id
        task = self._running = asyncio.create_task(self._done(run, _entered(work, call.caller)))
        if not background:
            return Answer(encode(await asyncio.shield(task)))
        task.add_done_callback(lambda done: done.exception())  # it is in the status, and in the log
        place = f"{PATH}{run.id}".encode()
        return Answer(encode(run), 202, headers=((b"location", place),))

    async def _done(self, run: Run, work: Callable[[], list[Done]]) -> Run:
        try:
            steps = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RunEnded as error:
            self._runs[run.id] = Run(id=run.id, status="failed", detail=str(error))
            _log.warning("materialization %s: %s", run.id, error)
            raise Refusal("ending", str(error), headers=RETRY_AFTER) from error
        except Exception as error:
            pointer = "/end_ts" if isinstance(error, InvalidTime) else None
            refusal = refusal_of(error, pointer or pointer_of(error, "", names="feature_views"))
            self._runs[run.id] = Run(id=run.id, status="failed", detail=refusal.detail)
            if isinstance(error, LikewiseError) and not is_logged(refusal):
                raise refusal from error
            _log.exception("materialization %s failed", run.id)
            raise
        done = self._runs[run.id] = Run(id=run.id, status="done", views=[_step(step) for step in steps])
        return done


def _entered(work: Callable[[], list[Done]], caller: Caller) -> Callable[[], list[Done]]:
    """Return work that is entered in the audit log under the caller's key; without one under the server's name."""

    def entered() -> list[Done]:
        with acting_as(f"key {caller.name!r} ({caller.id})"):
            return work()

    return entered if caller.id else work


def _time(given: str | None, name: str) -> int:
    """Return a time in microseconds; the first there is when none is given."""
    try:
        return EARLIEST if given is None else to_micros(given, name)
    except InvalidTime as error:
        raise refusal_of(error, f"/{name}") from error


def _step(done: Done) -> Step:
    return Step(done.view, _iso(done.start), _iso(done.end), done.keys, done.written, round(done.seconds, 3))


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def _flag(query: bytes, name: str) -> bool:
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    values = found.get(name, ["false"])
    if values not in (["true"], ["false"]):
        raise Refusal("bad_query", f"{name}={values[-1]!r}; give {name}=true or {name}=false")
    return values == ["true"]
