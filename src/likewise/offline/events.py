"""Events: the rows of a source that windows look at, in the order of key and time (S2, S5).

The entity rows are sorted as slots, and each event goes to the first slot of its key that is not before it. So an event
that no window of any entity row covers is dropped while the source streams by, events before a slot are those of the
slots up to it, and only what is left is sorted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from likewise.core.time import EARLIEST
from likewise.offline.asof import LONGEST, Ints, Rows, Slots, order_of
from likewise.offline.base import Span
from likewise.offline.joins import Tools, feed
from likewise.offline.limbs import prefix
from likewise.offline.match import SpineKeys
from likewise.offline.memory import answer_bytes
from likewise.offline.narrow import Narrow
from likewise.offline.source import Source

_EVENT_BYTES = 150
"""What an event takes while it is sorted and summed up, without its values."""
_COPIES = 3
"""How often its values are there at once: as read, as computed, and in the order of the events."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are read."""

    slots: Slots
    """The entity rows, sorted."""
    keys: SpineKeys
    """Their keys."""
    longest: int | None
    """How long before an entity row's time an event counts, in microseconds; None is without limit."""
    dated: bool
    """Whether their created times are needed: for the order of events of one time, or for what was known (S4)."""

    @property
    def ttl(self) -> int | None:
        """The same, as the age up to which an event counts."""
        return None if self.longest is None else min(self.longest, LONGEST) - 1


@dataclass(frozen=True, slots=True)
class Events:
    """Events of the keys of a run of slots, sorted by key and then by S2."""

    first: int
    """The first slot."""
    after: int
    """The slot after the last."""
    event: Ints
    """Event times."""
    created: Ints | None
    """Created times, NEVER where there is none; None if they are not needed."""
    place: Ints
    """Places in the source."""
    start: Ints
    """For each slot the first event of its key."""
    stop: Ints
    """For each slot the event after the last one that is not after its time."""


def events_of(source: Source, wanted: Wanted, tools: Tools) -> Iterator[Events]:
    """Yield all events that windows cover, a run of keys at a time, so that they fit in half of the memory.

    A key is never cut: at least its own events are held at once.
    """
    slots = wanted.slots
    if not len(slots):
        return
    source = replace(source, scan=source.scan if wanted.dated else replace(source.scan, created=""))
    first, last = slots.span
    ttl = wanted.ttl
    narrow = Narrow(source, Span(None if ttl is None else max(first - ttl, EARLIEST), last))
    most = max(1, tools.memory // 2 // (_EVENT_BYTES + _COPIES * answer_bytes(source)))
    cuts = [0, len(slots)] if source.rows <= most else _cuts(narrow, wanted, tools, most)
    for start, stop in pairwise(cuts):
        yield _sorted(_collected(narrow, wanted, tools, start, stop), slots, start, stop)


def _collected(narrow: Narrow, wanted: Wanted, tools: Tools, first: int, after: int) -> list[Rows]:
    """Return the rows that belong to a run of slots, with the slots as their codes."""
    found: list[Rows] = []
    everything = (first, after) == (0, len(wanted.slots))

    def sink(rows: Rows) -> None:
        placed = wanted.slots.place(rows, wanted.ttl, known_by=False)
        found.append(placed if everything else placed.only((placed.code >= first) & (placed.code < after)))

    feed(narrow, wanted.keys, sink, tools)
    return found


def _cuts(narrow: Narrow, wanted: Wanted, tools: Tools, most: int) -> list[int]:
    """Return where to cut the slots, between keys, so that no run has many more events than fit."""
    counts = np.zeros(len(wanted.slots), np.int64)
    lock = threading.Lock()

    def sink(rows: Rows) -> None:
        placed = wanted.slots.place(rows, wanted.ttl, known_by=False)
        with lock:
            np.add.at(counts, placed.code, 1)

    feed(narrow, wanted.keys, sink, tools)
    ends = np.unique(np.append(wanted.slots.first_of_key(), len(wanted.slots)))
    before = prefix(counts)[ends]
    cuts = [0]
    while cuts[-1] < len(wanted.slots):
        here = int(np.searchsorted(ends, cuts[-1]))
        reached = int(np.searchsorted(before, before[here] + most, "right")) - 1
        cuts.append(int(ends[max(reached, here + 1)]))
    return cuts


def _sorted(parts: list[Rows], slots: Slots, first: int, after: int) -> Events:
    code = _joined([part.code for part in parts]) - first
    event, place = _joined([part.event for part in parts]), _joined([part.place for part in parts])
    given = [part.created for part in parts if part.created is not None]
    created = _joined(given) if given else None
    order = np.argsort(event)
    order = order[order_of(code[order])]
    _settle_ties(order, code, event, created, place)
    before = prefix(np.bincount(code, minlength=after - first))
    return Events(
        first,
        after,
        event[order],
        None if created is None else created[order],
        place[order],
        before[slots.first_of_key()[first:after] - first],
        before[1:],
    )


def _settle_ties(order: Ints, code: Ints, event: Ints, created: Ints | None, place: Ints) -> None:
    """Put events of one key and time, which stand side by side, in the order of their created times and places."""
    same = (np.diff(code[order]) == 0) & (np.diff(event[order]) == 0)
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        group = np.cumsum(~np.append(False, same))[tied]
        rows = order[tied]
        ranks = [place[rows], *([] if created is None else [created[rows]])]
        order[tied] = rows[np.lexsort([*ranks, group])]


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])
