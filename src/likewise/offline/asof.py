"""As-of: which source row is the latest as of each entity row, in arrays (S2-S4).

The entity rows are the small side: they are sorted once by key and time, and each becomes a *slot*. The source is the
large side: its rows stream by once, in any order. A source row belongs to the first slot of its key whose time is not
before it, and a slot keeps only the latest of its rows. At the end each slot without rows takes over the row of the
slot before it. So the large side is never sorted and never held, and nothing depends on the order in which it comes.

With *known by* (S4) a row is placed by the later of its event and created times, and a slot takes the latest of its own
row and all rows before it, by S2.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""Codes of keys, times in microseconds, or places of rows."""
Flags = npt.NDArray[np.bool_]
Starts = npt.NDArray[np.int32]
Placed = TypeVar("Placed", bound=npt.NDArray[np.signedinteger])

NEVER = int(np.iinfo(np.int64).min)
"""The time of a row that has none; earlier than any other."""
NOBODY = -1
"""The code of a key that no entity row has, and the place of a row that is not there."""
LONGEST = 1 << 62
"""The longest ttl that cannot overflow a subtraction from any time; no two times are further apart."""
_BLOCK = 1 << 17
"""How many rows are worked on at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a source; hot code takes them column by column."""

    code: Ints
    """The code of each row's key, from 0; never :data:`NOBODY`."""
    event: Ints
    """Event times; never :data:`NEVER`."""
    created: Ints | None
    """Created times, :data:`NEVER` where there is none; None if the source has no such column."""
    place: Ints
    """Each row's place in the source: files in path order, rows in file order."""

    def only(self, chosen: Flags | Ints | slice) -> Rows:
        """Return some of the rows."""
        created = None if self.created is None else self.created[chosen]
        return Rows(self.code[chosen], self.event[chosen], created, self.place[chosen])

    def blocks(self, chosen: Flags | None = None) -> Iterator[Rows]:
        """Yield the rows, or those that are chosen, in blocks that fit the processor's cache."""
        for start in range(0, len(self.code), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = self.only(block)
            yield rows if chosen is None or chosen[block].all() else rows.only(np.flatnonzero(chosen[block]))


class Latest:
    """The latest row (S2) of each of some groups of rows that come in any order, from several threads.

    Args:
        groups: how many groups there are.
        created: whether rows have a created time.

    Example:
        >>> found = Latest(2, created=False)
        >>> event, place = np.array([5, 9, 9]), np.array([0, 1, 2])
        >>> found.add(Rows(np.array([1, 1, 1]), event, None, place))
        >>> found.place.tolist()
        [-1, 2]
    """

    def __init__(self, groups: int, created: bool) -> None:
        self.event: Ints = np.full(groups, NEVER)
        self.created: Ints | None = np.full(groups, NEVER) if created else None
        self.place: Ints = np.full(groups, NOBODY)
        self._lock = threading.Lock()

    def add(self, rows: Rows) -> None:
        """Add rows whose codes are the numbers of their groups."""
        with self._lock:
            rows = rows.only(rows.event >= self.event[rows.code])
            rows = self._keep_greatest(rows, rows.event, self.event)
            if self.created is not None and rows.created is not None:
                rows = self._keep_greatest(rows, rows.created, self.created)
            np.maximum.at(self.place, rows.code, rows.place)

    def _keep_greatest(self, rows: Rows, values: Ints, best: Ints) -> Rows:
        """Raise each group's best value, forget what ranked below the old one, and return the rows with the new."""
        before = best[rows.code]
        np.maximum.at(best, rows.code, values)
        after = best[rows.code]
        raised = rows.code[after > before]
        self.place[raised] = NOBODY
        if self.created is not None and best is self.event:
            self.created[raised] = NEVER
        return rows.only(values == after)


class Slots:
    """Entity rows, sorted by key and time.

    Args:
        codes: the code of each entity row's key, from 0; :data:`NOBODY` for one that has no key.
        times: the time of each; :data:`NEVER` for one that has none.
        keys: how many keys there are.
    """

    def __init__(self, codes: Ints, times: Ints, keys: int) -> None:
        self._total = len(codes)
        asking = np.flatnonzero((codes != NOBODY) & (times != NEVER))
        order = _order(codes[asking], times[asking])
        self._entity_row: Ints = asking[order]
        self._times: Ints = times[self._entity_row]
        self._start: Starts = np.zeros(keys + 1, np.int32)
        np.cumsum(np.bincount(codes[asking], minlength=keys), out=self._start[1:])

    def __len__(self) -> int:
        return len(self._times)

    @property
    def times(self) -> Ints:
        """The time of each slot."""
        return self._times

    @property
    def entity_row(self) -> Ints:
        """The entity row of each slot."""
        return self._entity_row

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last time; there must be a slot."""
        return int(self._times.min()), int(self._times.max())

    def place(self, rows: Rows, ttl: int | None, known_by: bool) -> Rows:
        """Return the rows that have a slot, with the slots as their codes.

        Args:
            rows: source rows.
            ttl: how long a row counts, in microseconds; None is without limit.
            known_by: whether a row counts only once it was created (S4).
        """
        when = np.maximum(rows.event, rows.created) if known_by and rows.created is not None else rows.event
        first = self._start[rows.code]
        many = self._start[rows.code + 1] - first
        slot = first_not_before(self._times, first, many, when)
        found = slot < first + many
        if ttl is not None:
            found[found] = rows.event[found] >= self._times[slot[found]] - ttl
        chosen = np.flatnonzero(found)
        created = None if rows.created is None else rows.created[chosen]
        return Rows(slot[chosen].astype(np.int64), rows.event[chosen], created, rows.place[chosen])

    def answers(self, latest: Latest, ttl: int | None, known_by: bool) -> Ints:
        """Return the place of the source row that counts for each entity row; NOBODY where there is none.

        Args:
            latest: the latest of the rows placed in each slot.
            ttl: how long a row counts, in microseconds; None is without limit.
            known_by: as in :meth:`place`.
        """
        source = self._greatest_so_far(latest) if known_by else self._last_filled(latest)
        places = np.where(source >= 0, latest.place[source], NOBODY)
        if ttl is not None:
            places[latest.event[source] < self._times - ttl] = NOBODY
        answers = np.full(self._total, NOBODY)
        answers[self._entity_row] = places
        return answers

    def _last_filled(self, latest: Latest) -> Ints:
        """Return, for each slot, the last slot of its key up to it that has a row; NOBODY if there is none."""
        slots = np.arange(len(self))
        source = np.maximum.accumulate(np.where(latest.place >= 0, slots, NOBODY))
        source[source < self.first_of_key()] = NOBODY
        return source

    def _greatest_so_far(self, latest: Latest) -> Ints:
        """Return, for each slot, the slot of its key up to it that has the latest row of all (S2)."""
        slots = np.arange(len(self))
        created = [] if latest.created is None else [latest.created]
        by_rank = np.lexsort([latest.place, *created, latest.event])
        rank = np.empty(len(self), np.int64)
        rank[by_rank] = slots
        key = self.first_of_key() * (len(self) + 1)  # grows from key to key, so a new key outranks the one before
        so_far = np.maximum.accumulate(key + np.where(latest.place >= 0, rank + 1, 0)) - key - 1
        return np.where(so_far >= 0, by_rank[so_far], NOBODY)

    def first_of_key(self) -> Ints:
        """Return, for each slot, the first slot of its key."""
        return np.repeat(self._start[:-1].astype(np.int64), np.diff(self._start))


def first_not_before(times: Ints, first: Placed, many: Placed, when: Ints) -> Placed:
    """Find, for each of some runs of ascending times, where in it the first time is that is not before another.

    A binary search with steps that are powers of two; runs that are shorter than a step sit it out.

    Args:
        times: the times of all runs.
        first: where each run begins.
        many: how long it is.
        when: what its times are compared with; where all are before it, the answer is the run's end.

    Example:
        >>> first_not_before(np.array([1, 5, 9]), np.array([0, 1]), np.array([3, 2]), np.array([5, 10])).tolist()
        [1, 3]
    """
    found = first.copy()
    end = first + many
    for bit in range(int(many.max(initial=0)).bit_length() - 1, -1, -1):
        step = 1 << bit
        if step == 1:
            candidate = np.minimum(found, len(times) - 1)
            found += (found < end) & (times[candidate] < when)
            continue
        active = np.flatnonzero(many >= step)
        ahead = found[active] + step
        inside = ahead <= end[active]
        active, ahead = active[inside], ahead[inside]
        before = times[ahead - 1] < when[active]
        found[active[before]] = ahead[before]
    return found


def _order(codes: Ints, times: Ints) -> Ints:
    """Return the order by code, then time."""
    by_time = np.argsort(times)
    order: Ints = by_time[order_of(codes[by_time])]
    return order


def order_of(values: Ints) -> Ints:
    """Return the order of small whole numbers, those that are alike in the order they have.

    Sorting numbers with their positions in their lower bits is several times quicker than sorting positions. The values
    and how many they are must not take more than 63 bits together: a trillion values up to eight million.

    Example:
        >>> order_of(np.array([7, 5, 7, 5])).tolist()
        [1, 3, 0, 2]
    """
    bits = len(values).bit_length()
    packed = (values << bits) | np.arange(len(values))
    packed.sort()
    order: Ints = packed & ((1 << bits) - 1)
    return order
