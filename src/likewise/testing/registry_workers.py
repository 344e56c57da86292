"""What the registry suite's workers do, in threads or processes; it loads little, so that they start soon."""

from __future__ import annotations

import time
from collections.abc import Callable

from likewise.core.errors import ApplyConflict
from likewise.registry import leases, watermarks
from likewise.registry.base import CatalogConflict, Registry
from likewise.registry.catalog import PlainDefinition

Opener = Callable[[], Registry]
"""Opens the same registry each time it is called."""

CARD: PlainDefinition = {"kind": "entity", "name": "card", "join_key": "card_id"}
WORKERS = 4


def meet(registry: Registry, place: str, worker: int) -> None:
    """Wait until all workers are here, so that they begin at once, however long each took to start."""
    registry.side.put("demo", f"meet {place}", str(worker), True, 0)
    while len(registry.side.items("demo", f"meet {place}")) < WORKERS:
        time.sleep(0.005)


def commit_own(open_again: Opener, worker: int, count: int) -> str:
    """Add ``count`` definitions of this worker to project ``demo``, one a commit, trying again after each conflict."""
    with open_again() as registry:
        meet(registry, "own", worker)
        for n in range(count):
            mine: PlainDefinition = {"kind": "entity", "name": f"w{worker}_{n:02}"}
            while True:
                catalog = registry.catalog("demo")
                try:
                    registry.commit("demo", catalog.number, [*catalog.definitions(), mine], author=f"w{worker}", now=n)
                except ApplyConflict:
                    continue
                break
    return "done"


def commit_once(open_again: Opener, worker: int) -> str:
    """Change the card of project ``demo`` on catalog 1, once."""
    with open_again() as registry:
        meet(registry, "once", worker)
        try:
            registry.commit("demo", 1, [{**CARD, "owner": f"worker {worker}"}], now=2)
        except CatalogConflict as conflict:
            (change,) = conflict.changes
            return f"lost to {change.fields[0].after}"
    return "won"


def take_lease(open_again: Opener, worker: int) -> str:
    """Take the lease ``job`` of project ``demo``."""
    with open_again() as registry:
        meet(registry, "lease", worker)
        try:
            return leases.acquire(registry.side, "demo", "job", f"worker {worker}", ttl=1000, now=0).owner
        except leases.LeaseTaken as held:
            return f"held by {held.owner}"


def note_chunks(open_again: Opener, run: watermarks.Run, worker: int) -> str:
    """Note every fourth chunk of a run of the view ``cards`` of project ``demo``."""
    with open_again() as registry:
        meet(registry, "chunks", worker)
        for chunk in range(worker, run.chunks, WORKERS):
            watermarks.chunk_done(registry.side, "demo", "cards", run, chunk)
    return "done"
