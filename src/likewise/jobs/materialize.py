"""Materialization: the latest rows of a view into the online store, in resumable chunks of bounded memory (G4).

A chunk is one part of the keys. A run holds a lease, notes each chunk once it is stored, and moves the watermark
last; a run that was killed is taken up where it stood. Writing a row twice, or an older one later, changes nothing:
the store keeps the newer one.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from likewise.core.errors import LikewiseError, StoreUnavailable
from likewise.core.keys import KeyCodec
from likewise.core.time import SystemClock
from likewise.core.types import String
from likewise.jobs.backfill import Backfill
from likewise.jobs.notices import say_if_ahead
from likewise.offline.base import CREATED_TIME, EVENT_TIME, OfflineEngine, Part, Span
from likewise.online.base import OnlineStore
from likewise.online.rows import Layout, RowReader, RowWriter
from likewise.plan.materialize import MaterializePlan, Progress
from likewise.registry.base import SideReader, SideTable
from likewise.registry.leases import Lease, LeaseTaken, acquire, holder, release, renew
from likewise.registry.watermarks import (
    Run,
    RunSuperseded,
    all_watermarks,
    begin_anew,
    chunk_done,
    close_run,
    open_run,
    read_watermark,
)

if TYPE_CHECKING:
    import pyarrow as pa

ORIGINS = "origin"
"""The space of the side table that remembers where the values of each online table come from."""
STORES = "store"
"""The space of the side table that remembers into which online store the project was materialized."""
Crash = Callable[[str], None]
"""Called with the name of each point at which a test may end the process."""


@dataclass(frozen=True, slots=True)
class Event:
    """How far a materialization has come, for a progress bar."""

    view: str
    """The view."""
    chunk: int
    """The chunk that is being written, from 0."""
    chunks: int
    """How many chunks there are."""
    keys: int
    """How many keys this run has read so far."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one materialization did."""

    view: str
    """The view."""
    start: int
    """The first event time, in microseconds since the epoch."""
    end: int
    """The last event time."""
    keys: int
    """How many keys had a row in the span."""
    written: int
    """How many of them were newer than what was stored, or equal to it."""
    seconds: float
    """How long it took."""
    why: str
    """Why the span began where it did."""

    def __str__(self) -> str:
        return f"{self.view}: {self.keys:,} keys read, {self.written:,} written in {self.seconds:.1f} s ({self.why})"


@dataclass(frozen=True, slots=True)
class Kit:
    """What a materialization works with."""

    side: SideTable
    """Where watermarks and leases are kept."""
    engine: OfflineEngine
    """Reads the source."""
    store: OnlineStore
    """Is written to."""
    chunk_rows: int
    """About how many rows of the source one chunk covers."""
    batch_keys: int
    """How many keys are written to the store in one step, at least 1."""
    lease_seconds: float
    """For how long a run that died keeps others from the view."""
    report: Callable[[Event], None]
    """Is told how far the run has come."""
    crash: Crash
    """Is called at each named point."""
    now: int
    """The time, in microseconds since the epoch: rows that are ahead of it are warned of."""
    is_current: Callable[[MaterializePlan], bool] = lambda plan: True
    """Tells whether a plan is still of the applied definition."""


def materialize(plan: MaterializePlan, kit: Kit) -> Done:
    """Run a materialization.

    Args:
        plan: what to write.
        kit: what to do it with.

    Raises:
        LeaseHeld: another run is at this view.
        SourceError: the source cannot be read as defined; nothing of the chunk at hand was written.
    """
    began = time.monotonic()
    with held(kit.side, plan.project, plan.view, kit.lease_seconds) as hold:
        writer = _Writer(plan, kit, hold)
        left = writer.run()
    seconds = time.monotonic() - began
    why = f"{plan.why}; {left}" if left else plan.why
    if left:
        warnings.warn(f"view {plan.view!r} is {left}", UserWarning, stacklevel=4)
    return Done(plan.view, plan.start, plan.end, writer.keys, writer.written, seconds, why)


@dataclass(slots=True)
class _Writer:
    plan: MaterializePlan
    kit: Kit
    hold: Hold
    keys: int = 0
    written: int = 0

    def run(self) -> str:
        """Write all chunks; return why what was written is not served, if it is not."""
        plan, kit = self.plan, self.kit
        rows = kit.engine.count(plan.scan)
        chunks = max(1, -(-rows // kit.chunk_rows))
        source, token = kit.engine.state_of(plan.scan), self.hold.lease.token
        wanted = Run(uuid.uuid4().hex, token, plan.definition, plan.start, plan.end, chunks, source=source)
        self._warn_if_ahead()
        self._drop_other_origin()
        kit.store.create([plan.table])
        run = open_run(kit.side, plan.project, plan.view, wanted)
        kit.crash("materialize.opened")
        work = self._work()
        for chunk in range(chunks) if work.anew else run.missing():
            self._chunk(work, chunk, chunks)
            kit.crash("materialize.chunk_written")
            run = chunk_done(kit.side, plan.project, plan.view, run, chunk)
            kit.crash("materialize.chunk_done")
        left = self._finish(work)
        kit.crash("materialize.finished")
        close_run(kit.side, plan.project, plan.view, run, anew=plan.anew)
        kit.crash("materialize.closed")
        return left

    def _finish(self, work: LatestRows | Backfill) -> str:
        self.hold.check()
        if not self.kit.is_current(self.plan):
            raise RunSuperseded(
                f"the definition of view {self.plan.view!r} was changed while it was materialized",
                cure="materialize it again",
            )
        return work.finish()

    def _warn_if_ahead(self) -> None:
        """Say that the source has rows from the future, which are left out, or not served before their time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        plan, kit = self.plan, self.kit
        ahead = kit.engine.rows(replace(plan.scan, columns=()), Span(kit.now + 1, None))
        newest = [pc.max(batch.column(EVENT_TIME).cast(pa.int64())).as_py() for batch in ahead if batch.num_rows]
        say_if_ahead(plan.table, plan.view, max(newest, default=None), kit.now)

    def _drop_other_origin(self) -> None:
        """Drop what another source left: its rows may look newer than all of this one's.

        The watermark goes first: it must not say of an empty table that it is filled, whenever this run is killed.
        """
        side, project, view = self.kit.side, self.plan.project, self.plan.view
        found = side.get(project, ORIGINS, view)
        if found is not None and found.value == self.plan.origin:
            return
        if found is not None:
            begin_anew(side, project, view)
        if found is not None and self.plan.windows is None:  # states of other rows lie in another table anyway
            self.kit.store.drop([self.plan.table])
        side.put(project, ORIGINS, view, self.plan.origin, None)

    def _work(self) -> LatestRows | Backfill:
        plan, kit = self.plan, self.kit
        if plan.windows is None:
            return LatestRows(plan, kit)
        work = Backfill(plan, plan.windows, kit.engine, kit.store, kit.now)
        work.begin()
        return work

    def _chunk(self, work: LatestRows | Backfill, chunk: int, chunks: int) -> None:
        for keys, written in work.chunk(Part(chunk, chunks)):
            self.keys += keys
            self.written += written
            self.kit.crash("materialize.batch_written")
            self.kit.report(Event(self.plan.view, chunk, chunks, self.keys))
            self.hold.check()


class LatestRows:
    """Writes the latest row of each key of a view without windows.

    Args:
        plan: what to write.
        kit: what to do it with.
    """

    anew = False
    """Whether a run that was killed is begun again: no, its finished chunks stay."""

    def __init__(self, plan: MaterializePlan, kit: Kit) -> None:
        self._plan = plan
        self._kit = kit
        self._rows = RecordsOfRows(plan)

    def chunk(self, part: Part) -> Iterator[tuple[int, int]]:
        """Write the rows of a part of the keys; yield how many keys were read and written, from time to time."""
        for batch in self.batches(part):
            yield batch.num_rows, self._kit.store.write(self._plan.table, *self._rows.of(batch))

    def batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Yield the latest rows of a part of the keys, in the order of the keys."""
        span = Span(self._plan.start, self._plan.end)
        latest = _in_key_order(self._kit.engine.latest(self._plan.scan, span, part), self._rows.keys)
        return iter(latest.to_batches(self._kit.batch_keys) if latest is not None else ())

    def finish(self) -> str:
        """Do nothing: each row is whole by itself, and served."""
        return ""


class RecordsOfRows:
    """Makes the online records of a view without windows from rows of its source.

    Args:
        plan: says which columns are what.
    """

    def __init__(self, plan: MaterializePlan) -> None:
        self.keys = KeyCodec(plan.key_types, plan.keys)
        """Encodes the keys."""
        self.layout = Layout.of(zip(plan.names, plan.types, strict=True))
        """What the records hold."""
        self._writer = RowWriter(self.layout)

    def of(self, batch: pa.RecordBatch) -> tuple[list[bytes], list[bytes]]:
        """Return the keys and the records of rows: key columns, the two times, then the values."""
        count, columns = len(self.keys.types), batch.columns
        event = columns[batch.schema.get_field_index(EVENT_TIME)]
        created = columns[batch.schema.get_field_index(CREATED_TIME)]
        found = self.keys.encode_arrow(columns[:count], batch.num_rows)
        return found, self._writer.encode_arrow(found, event, created, columns[count + 2 :])


def _in_key_order(batches: Iterator[pa.RecordBatch], keys: KeyCodec) -> pa.Table | None:
    """Return a chunk's rows in the order of their keys, in which a store is written several times as fast."""
    import pyarrow as pa

    found = list(batches)
    if not found:
        return None
    table = pa.Table.from_batches(found)
    return table.take(keys.order(table.columns[: len(keys.types)])).combine_chunks() if keys.types else table


class Hold:
    """A lease that is renewed in the background while its work goes on, however long a scan takes.

    Args:
        side: where leases are kept.
        lease: the lease.
        seconds: how long it lasts without being renewed.
    """

    def __init__(self, side: SideTable, lease: Lease, seconds: float) -> None:
        self.lease = lease
        self._side = side
        self._seconds = seconds
        self._lost: LikewiseError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {lease.name}", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            try:
                ttl = int(self._seconds * 1_000_000)
                self.lease = renew(self._side, self.lease, ttl=ttl, now=SystemClock().now())
            except StoreUnavailable:
                continue  # busy: the lease lasts for three more tries
            except LikewiseError as error:
                self._lost = error
                return

    def check(self) -> None:
        """Raise if the lease is lost."""
        if self._lost is not None:
            raise self._lost

    def end(self) -> None:
        """Stop renewing, and give the lease back."""
        self._stop.set()
        self._thread.join()
        release(self._side, self.lease)


@contextmanager
def held(side: SideTable, project: str, view: str, seconds: float) -> Iterator[Hold]:
    """Keep others from materializing a view.

    Args:
        side: where leases are kept.
        project: the project.
        view: the view.
        seconds: for how long others are kept from it when this process dies.

    Raises:
        LeaseTaken: another run is at this view.
    """
    name, ttl = f"materialize/{view}", int(seconds * 1_000_000)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    try:
        lease = acquire(side, project, name, owner, ttl=ttl, now=SystemClock().now())
    except LeaseTaken as taken:
        if not _is_dead(taken.owner):
            raise
        left = holder(side, project, name, now=SystemClock().now())
        if left is not None and left.owner == taken.owner:
            release(side, left)
        lease = acquire(side, project, name, owner, ttl=ttl, now=SystemClock().now())
    hold = Hold(side, lease, seconds)
    try:
        yield hold
    finally:
        hold.end()


def _is_dead(owner: str) -> bool:
    """Tell whether a lease's owner was a process of this machine that is gone."""
    host, _, process = owner.rpartition(":")
    if host != socket.gethostname() or not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def name_table(project: str) -> str:
    """Return the table in which an online store's own name is."""
    return f"{project}/.store"


def recognize_store(side: SideTable, store: OnlineStore, project: str, now: int, states: Iterable[str] = ()) -> None:
    """Forget what was materialized, if the online store is not the one that it was materialized into.

    A store that was emptied, replaced or configured anew holds nothing, whatever the watermarks say. It is known by a
    name of its own, written into it the first time it is seen.

    Args:
        side: where watermarks are kept.
        store: the online store.
        project: the project.
        now: the time, in microseconds since the epoch.
        states: the tables of windows' states, which are emptied if the store was used before, and another one since:
            they lack what was pushed to that.
    """
    table, key, named = name_table(project), KeyCodec([]).encode([], 1), Layout.of([("name", String)])
    store.create([table])
    [found] = store.read([(table, key)])
    is_new = found == [None]
    if is_new:
        store.write(table, key, RowWriter(named).encode(key, [now], None, [[uuid.uuid4().hex]]))
        [found] = store.read([(table, key)])
    [[name]] = RowReader(named, table=table).decode(key, found).columns
    known = side.get(project, STORES, "online")
    if known is not None and known.value == name:
        return
    if known is not None and not is_new:
        listed = list(states)
        store.drop(listed)
        store.create(listed)
    for view in all_watermarks(side, project):
        begin_anew(side, project, view)
    for view in side.items(project, ORIGINS):
        side.remove(project, ORIGINS, view, None)
    side.put(project, STORES, "online", name, None)


def progress_of(side: SideReader, project: str, view: str) -> Progress:
    """Return how far a view is materialized."""
    mark = read_watermark(side, project, view)
    return Progress(mark.end, mark.definition)
