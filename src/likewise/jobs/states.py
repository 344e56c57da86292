"""States: the records of windowed views are read, changed and swapped, by pushes, back-fills and deletions (S5-S7).

Whoever finds that somebody else changed a record meanwhile reads it again and changes that, so that nothing is lost.

A table counts its back-fills: the *generation*. A push notes the generation it began in, and a back-fill moves on to
the next before it looks which files there are, while no push to the source is under way. So what was pushed in an
earlier generation was there before the source was read, whose rows replace it, and what was pushed in a later one
counts beside them. No clock takes part, but in the first number of a table: of two tables of one name the later one has
the greater numbers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from likewise.core.errors import StoreUnavailable
from likewise.core.types import Int64
from likewise.core.windows import BEFORE_ALL
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.events import Events
from likewise.online.rows import Layout, RowReader, RowWriter, head_of, tombstone
from likewise.online.window_state import META_KEY, Meta, WindowStates

LEDGER_KEY = b"\x00ledger"
"""Where a table of states says how its back-fills went; no entity key begins with this byte."""
MOST_KEYS = 4096
"""How many states are read, changed and swapped at a time."""
_TRIES = 1000
_LEDGER = Layout.of([("generation", Int64), ("end", Int64), ("begun", Int64), ("ahead", Int64)])

Change = Callable[[Sequence[bytes], Sequence[bytes | None]], Sequence[bytes | None]]
"""Returns new records for some keys, given those that are stored; None where nothing changes."""


def change_states(store: OnlineStore, table: str, keys: Sequence[bytes], change: Change) -> int:
    """Change the records of some keys, each in one atomic step, and return how many were written.

    Args:
        store: the store.
        table: the table.
        keys: entity keys, none of them twice.
        change: makes the new records; it is called again for the keys that somebody else changed meanwhile.

    Raises:
        StoreUnavailable: others changed the same keys again and again.
    """
    return sum(
        _change(store, table, keys[start : start + MOST_KEYS], change) for start in range(0, len(keys), MOST_KEYS)
    )


def _change(store: OnlineStore, table: str, keys: Sequence[bytes], change: Change) -> int:
    left, written = keys, 0
    for attempt in range(_TRIES):
        [stored] = store.read([(table, left)])
        made = zip(left, stored, change(left, stored), strict=True)
        todo = [(key, old, new) for key, old, new in made if new is not None]
        if not todo:
            return written
        lost = store.swap(table, [key for key, _, _ in todo], [old for _, old, _ in todo], [new for _, _, new in todo])
        written += len(todo) - len(lost)
        if not lost:
            return written
        left = [todo[position][0] for position in lost]
        time.sleep(random.uniform(0, min(0.05, 0.0005 * 2**attempt)))
    raise StoreUnavailable(
        f"{len(left)} keys of online table {table!r} were changed by others {_TRIES} times in a row",
        cure="push to a hot key from fewer processes, or in larger batches",
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """How the back-fills of a table of states went."""

    generation: int
    """Counts them up."""
    end: int | None
    """The latest event time that one of them ever went to, be it that it was killed; None before the first."""
    begun: int
    """When the table was made: events up to this time may have been pushed before, and are not in it."""
    ahead: int | None = None
    """The latest event time of what was pushed before its time; None when nothing was."""

    def record(self) -> bytes:
        """Return it as a record."""
        columns: list[list[int | None]] = [[self.generation], [self.end], [self.begun], [self.ahead]]
        [record] = RowWriter(_LEDGER).encode([LEDGER_KEY], [0], None, columns)
        return record

    @classmethod
    def of(cls, record: bytes, table: str) -> Self:
        """Read it from its record."""
        reader = RowReader(_LEDGER, table=table, check_each=True)
        [[generation], [end], [begun], [ahead]] = reader.decode([LEDGER_KEY], [record]).columns
        return cls(generation, end, begun, ahead)


def _ledger_if_told(store: OnlineStore, table: str) -> bytes | None:
    try:
        [[record]] = store.read([(table, [LEDGER_KEY])])
    except TableMissing:
        return None
    return record


def open_ledger(store: OnlineStore, table: str, begun: int) -> Ledger:
    """Return a table's ledger, after making it if there is none.

    Args:
        store: the store.
        table: the table.
        begun: what a new one says.
    """
    [[record]] = store.read([(table, [LEDGER_KEY])])
    return Ledger.of(record, table) if record is not None else _turned(store, table, lambda ledger: ledger, begun)


def note_ahead(store: OnlineStore, table: str, newest: int) -> None:
    """Note that an event was pushed before its time: a later definition's table, which lacks it, is to say so.

    Args:
        store: the store.
        table: the table, which has a ledger.
        newest: the event time, in microseconds since the epoch.
    """
    _turned(store, table, lambda ledger: replace(ledger, ahead=max(newest, ledger.ahead or newest)), newest)


def latest_ahead(store: OnlineStore, tables: Iterable[str]) -> int:
    """Return up to which event time some tables, which may not be there, have what a new one lacks: pushed early."""
    told = ((table, _ledger_if_told(store, table)) for table in tables)
    ledgers = [Ledger.of(record, table) for table, record in told if record is not None]
    return max((max(ledger.begun, ledger.ahead or ledger.begun) for ledger in ledgers), default=BEFORE_ALL)


def next_generation(store: OnlineStore, table: str, end: int) -> Ledger:
    """Begin a new generation, and return the ledger of the one that ended: what was pushed up to it was pushed before.

    Args:
        store: the store.
        table: the table, which has a ledger.
        end: the event time that the back-fill goes to; the one returned may be later.
    """

    def turn(ledger: Ledger) -> Ledger:
        return replace(
            ledger, generation=ledger.generation + 1, end=end if ledger.end is None else max(ledger.end, end)
        )

    begun = _turned(store, table, turn, end)
    return replace(begun, generation=begun.generation - 1)


def _turned(store: OnlineStore, table: str, turn: Callable[[Ledger], Ledger], begun: int) -> Ledger:
    made = Ledger(0, None, begun)

    def change(keys: Sequence[bytes], stored: Sequence[bytes | None]) -> list[bytes | None]:
        nonlocal made
        record = stored[0]
        made = turn(Ledger(time.time_ns() // 1000, None, begun) if record is None else Ledger.of(record, table))
        return [made.record()]

    change_states(store, table, [LEDGER_KEY], change)
    return made


def read_meta(store: OnlineStore, table: str) -> Meta | None:
    """Return what is said of a table; None when it is not live."""
    [[record]] = store.read([(table, [META_KEY])])
    return None if record is None else Meta.of(record, table)


def set_meta(store: OnlineStore, table: str, meta: Meta) -> None:
    """Say of a table since when its states are complete, which makes them live.

    What a later back-fill said stays.

    Args:
        store: the store.
        table: the table.
        meta: what to say.
    """

    def change(keys: Sequence[bytes], stored: Sequence[bytes | None]) -> list[bytes | None]:
        later = stored[0] is not None and Meta.of(stored[0], table).read_at > meta.read_at
        return [None if later else meta.record()]

    change_states(store, table, [META_KEY], change)


def found_meta(store: OnlineStore, table: str) -> Meta | None:
    """Return what is said of a table that may not be there; None when it is not live."""
    try:
        return read_meta(store, table)
    except TableMissing:
        return None


def start_states(store: OnlineStore, table: str, has_source: bool, begun: int) -> None:
    """Say of a table, unless something was said of it before, that all that was pushed after a time is in it.

    One that only pushes fill is live from then on.

    Args:
        store: the store.
        table: the table, which is there.
        has_source: whether there is a batch source.
        begun: the event time, in microseconds since the epoch.
    """
    if not has_source:
        meta = Meta(since=begun, cover=None, read_at=0)
        change_states(store, table, [META_KEY], lambda keys, stored: [meta.record() if stored[0] is None else None])
    open_ledger(store, table, begun)


def delete_states(store: OnlineStore, deletions: str, states: WindowStates, keys: Sequence[bytes], at: int) -> int:
    """Delete keys, also for states that a later definition of the view makes, and return how many were deleted.

    Args:
        store: the store.
        deletions: the table of the view's deleted keys.
        states: what changes the records.
        keys: entity keys, none of them twice.
        at: the time of the deletion, in microseconds; a key's events of a later time go as well.
    """
    store.create([deletions])

    def change(some: Sequence[bytes], stored: Sequence[bytes | None]) -> Sequence[bytes | None]:
        made = states.deleted(some, stored, at)
        gone = [states.contents(key, record).gone or at for key, record in zip(some, made, strict=True)]
        store.write(deletions, some, [tombstone(key, time) for key, time in zip(some, gone, strict=True)])
        return made

    return change_states(store, states.table, keys, change)


def with_deletions(
    store: OnlineStore, deletions: str, states: WindowStates, keys: Sequence[bytes], stored: Sequence[bytes | None]
) -> Sequence[bytes | None]:
    """Return some keys' records, where those that are not there say when their key was deleted, if it was.

    Args:
        store: the store.
        deletions: the table of the view's deleted keys; it may not be there.
        states: what makes the records.
        keys: entity keys.
        stored: the record of each; None where there is none.
    """
    new = [key for key, held in zip(keys, stored, strict=True) if held is None]
    try:
        [found] = store.read([(deletions, new)])
    except TableMissing:
        return stored
    gone = {key: head_of(record).event for key, record in zip(new, found, strict=True) if record is not None}
    return [
        states.deleted([key], [None], gone[key])[0] if held is None and key in gone else held
        for key, held in zip(keys, stored, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Push:
    """What is said of all events of one push."""

    token: bytes | None
    """Its idempotency key; None when none was given."""
    in_source: bool
    """Whether the same events were added to the source."""
    now: int
    """The time, in microseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class StatesBatch:
    """Events of one windowed view, ready to be added to the states of their keys."""

    table: str
    """The view's table in the online store."""
    states: WindowStates
    """What adds them."""
    events: Events
    """The events."""
    deletions: str
    """The table of the view's deleted keys."""
    former: bool = False
    """Whether they go to the states of an earlier definition, which may be dropped at any time."""

    def begin(self, store: OnlineStore, now: int) -> int:
        """Return the table's generation; to be asked for before the events are added to the source.

        Of a table that nobody told of before, it is only known that it has what is pushed from now on.
        """
        if not self.former and _ledger_if_told(store, self.table) is None:
            store.create([self.table])
            start_states(store, self.table, self.states.has_source, now)
        ledger = open_ledger(store, self.table, now)
        newest = int(self.events.time.max(initial=now))
        if newest > now and (ledger.ahead is None or newest > ledger.ahead):
            note_ahead(store, self.table, newest)
        return ledger.generation

    def write(self, store: OnlineStore, push: Push, begun: int) -> int:
        """Add the events, and return how many keys changed.

        Args:
            store: the store.
            push: what is said of all of them.
            begun: the generation in which the push began.
        """
        [[meta]] = store.read([(self.table, [META_KEY])])

        def change(keys: Sequence[bytes], stored: Sequence[bytes | None]) -> Sequence[bytes | None]:
            held = with_deletions(store, self.deletions, self.states, keys, stored)
            return self.states.pushed(keys, held, self.events, begun, push.token, push.in_source, push.now, meta)

        return change_states(store, self.table, self.events.keys, change)
