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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from likewise.core.errors import LikewiseError, StoreUnavailable
from likewise.core.keys import KeyCodec
from likewise.core.time import SystemClock
from likewise.core.types import String
from likewise.offline.base import CREATED_TIME, EVENT_TIME, OfflineEngine, Part, Span
from likewise.online.base import OnlineStore
from likewise.online.rows import Layout, RowReader, RowWriter
from likewise.plan.materialize import MaterializePlan, Progress
from likewise.registry.base import SideReader, SideTable
from likewise.registry.leases import Lease, LeaseTaken, acquire, holder, release, renew
from likewise.registry.watermarks import (
    Run,
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
    with _held(plan, kit) as hold:
        writer = _Writer(plan, kit, hold)
        keys, written = writer.run()
    seconds = time.monotonic() - began
    return Done(plan.view, plan.start, plan.end, keys, written, seconds, plan.why)


@dataclass(slots=True)
class _Writer:
    plan: MaterializePlan
    kit: Kit
    hold: Hold
    keys: int = 0
    written: int = 0

    def run(self) -> tuple[int, int]:
        plan, kit = self.plan, self.kit
        rows = kit.engine.count(plan.scan)
        chunks = max(1, -(-rows // kit.chunk_rows))
        wanted = Run(uuid.uuid4().hex, self.hold.lease.token, plan.definition, plan.start, plan.end, chunks)
        self._drop_other_origin()
        kit.store.create([plan.table])
        run = open_run(kit.side, plan.project, plan.view, wanted)
        kit.crash("materialize.opened")
        for chunk in run.missing():
            self._chunk(chunk, chunks)
            kit.crash("materialize.chunk_written")
            run = chunk_done(kit.side, plan.project, plan.view, run, chunk)
            kit.crash("materialize.chunk_done")
        close_run(kit.side, plan.project, plan.view, run, anew=plan.anew)
        kit.crash("materialize.closed")
        return self.keys, self.written

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
            self.kit.store.drop([self.plan.table])
        side.put(project, ORIGINS, view, self.plan.origin, None)

    def _chunk(self, chunk: int, chunks: int) -> None:
        keys = KeyCodec(self.plan.key_types, self.plan.keys)
        rows = RowWriter(Layout.of(zip(self.plan.names, self.plan.types, strict=True)))
        span = Span(self.plan.start, self.plan.end)
        latest = _in_key_order(self.kit.engine.latest(self.plan.scan, span, Part(chunk, chunks)), keys)
        for batch in latest.to_batches(self.kit.batch_keys) if latest is not None else ():
            self._write(batch, keys, rows)
            self.kit.report(Event(self.plan.view, chunk, chunks, self.keys))
            self.hold.check()

    def _write(self, batch: pa.RecordBatch, keys: KeyCodec, rows: RowWriter) -> None:
        count = len(self.plan.keys)
        columns = batch.columns
        event = columns[batch.schema.get_field_index(EVENT_TIME)]
        created = columns[batch.schema.get_field_index(CREATED_TIME)]
        found = keys.encode_arrow(columns[:count], batch.num_rows)
        records = rows.encode_arrow(found, event, created, columns[count + 2 :])
        self.written += self.kit.store.write(self.plan.table, found, records)
        self.keys += batch.num_rows
        self.kit.crash("materialize.batch_written")


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
def _held(plan: MaterializePlan, kit: Kit) -> Iterator[Hold]:
    name, ttl = f"materialize/{plan.view}", int(kit.lease_seconds * 1_000_000)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    try:
        lease = acquire(kit.side, plan.project, name, owner, ttl=ttl, now=SystemClock().now())
    except LeaseTaken as taken:
        if not _is_dead(taken.owner):
            raise
        left = holder(kit.side, plan.project, name, now=SystemClock().now())
        if left is not None and left.owner == taken.owner:
            release(kit.side, left)
        lease = acquire(kit.side, plan.project, name, owner, ttl=ttl, now=SystemClock().now())
    hold = Hold(kit.side, lease, kit.lease_seconds)
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


def recognize_store(side: SideTable, store: OnlineStore, project: str, now: int) -> None:
    """Forget what was materialized, if the online store is not the one that it was materialized into.

    A store that was emptied, replaced or configured anew holds nothing, whatever the watermarks say. It is known by a
    name of its own, written into it the first time it is seen.

    Args:
        side: where watermarks are kept.
        store: the online store.
        project: the project.
        now: the time, in microseconds since the epoch.
    """
    table, key, named = f"{project}/.store", KeyCodec([]).encode([], 1), Layout.of([("name", String)])
    store.create([table])
    [found] = store.read([(table, key)])
    if found == [None]:
        store.write(table, key, RowWriter(named).encode(key, [now], None, [[uuid.uuid4().hex]]))
        [found] = store.read([(table, key)])
    [[name]] = RowReader(named, table=table).decode(key, found).columns
    known = side.get(project, STORES, "online")
    if known is not None and known.value == name:
        return
    for view in all_watermarks(side, project):
        begin_anew(side, project, view)
    for view in side.items(project, ORIGINS):
        side.remove(project, ORIGINS, view, None)
    side.put(project, STORES, "online", name, None)


def progress_of(side: SideReader, project: str, view: str) -> Progress:
    """Return how far a view is materialized."""
    mark = read_watermark(side, project, view)
    return Progress(mark.end, mark.definition)
