"""Guard: stands before a store over a network, so that one that is slow, frozen or gone harms nobody else (G5).

It counts failures that may pass. After :data:`OPENS` of them in a row nobody waits for the store any more: calls are
refused at once, but for one each :data:`LOOKS_EVERY` seconds, which is let through to look. The first that succeeds
ends that. A call whose connection broke is made once more if that does no harm, within a budget of one in ten calls.

What a store answers, be it that a table is missing, is no failure of it. Nor is a call that its caller gave less time
than :data:`FAIR_SECONDS`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from likewise.core.errors import StoreError, StoreUnavailable
from likewise.online.base import Disconnected, OnlineStore, Request
from likewise.online.deadline import DeadlineExceeded, seconds_left

OPENS = 5
"""After how many failures in a row nobody waits any more."""
LOOKS_EVERY = 1.0
"""For how many seconds calls are refused, before one is let through."""
FAIR_SECONDS = 0.025
"""A call that its caller gave less time than this, and that took too long, says nothing about the store."""
_SHARE = 10
"""How many calls earn one more try."""
_MOST_TRIES = 10
"""How many more tries are saved up at most."""
MOST_BYTES = 64 << 20
"""How much memory the last good records may take, their keys and the bookkeeping included."""
_EACH = 250
"""About how many bytes a record takes beside its own and its key's."""
T = TypeVar("T")


class StoreShunned(StoreUnavailable):
    """A store failed again and again, and is not asked for a moment."""


class RetryBudget:
    """Allows one more try for every ten calls, so that retries never double the load on a store in trouble.

    Example:
        >>> budget = RetryBudget()
        >>> [budget.add() for _ in range(10)] and budget.take(), budget.take()
        (True, False)
    """

    __slots__ = ("_earned",)

    def __init__(self) -> None:
        self._earned = 0

    def add(self) -> None:
        """Count a call."""
        if self._earned < _SHARE * _MOST_TRIES:
            self._earned += 1

    def take(self) -> bool:
        """Whether there may be one more try; if so, it is taken."""
        if self._earned < _SHARE:
            return False
        self._earned -= _SHARE
        return True


class LastGood:
    """The last records that were read of some keys, for services that would rather have old values than none.

    It is bounded by bytes: what was not read for longest goes first. A key that this process writes is forgotten; what
    others write meanwhile is not known.

    Args:
        most_bytes: how much memory it may take.

    Example:
        >>> last = LastGood()
        >>> last.keep([("shop/cards", [b"k", b"gone"])], [[b"record", None]])
        >>> last.find([("shop/cards", [b"k", b"gone", b"other"])])
        ([[b'record', None, None]], [[2]])
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._records: OrderedDict[tuple[str, bytes], bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, requests: Sequence[Request], records: Sequence[Sequence[bytes | None]]) -> None:
        """Remember what was read; None is that there was nothing.

        Args:
            requests: what was asked for.
            records: what the store said.
        """
        with self._lock:
            for (table, keys), found in zip(requests, records, strict=True):
                for key, record in zip(keys, found, strict=True):
                    self._put(table, key, record)
            while self._bytes > self._most:
                (_, key), record = self._records.popitem(last=False)
                self._bytes -= _size(key, record)

    def find(self, requests: Sequence[Request]) -> tuple[list[list[bytes | None]], list[list[int]]]:
        """Return what was last read, and for each request the positions of the keys of which nothing is known.

        Args:
            requests: what is asked for.
        """
        records: list[list[bytes | None]] = []
        unknown: list[list[int]] = []
        with self._lock:
            for table, keys in requests:
                held = [self._records.get((table, key), _UNKNOWN) for key in keys]
                records.append([None if record is _UNKNOWN else record for record in held])
                unknown.append([at for at, record in enumerate(held) if record is _UNKNOWN])
        return records, unknown

    def forget(self, table: str, keys: Iterable[bytes]) -> None:
        """Forget keys that are written."""
        if self._records:
            with self._lock:
                for key in keys:
                    self._drop(table, key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._records.clear()
            self._bytes = 0

    def _put(self, table: str, key: bytes, record: bytes | None) -> None:
        self._drop(table, key)
        self._records[table, key] = record
        self._bytes += _size(key, record)

    def _drop(self, table: str, key: bytes) -> None:
        held = self._records.pop((table, key), _UNKNOWN)
        if held is not _UNKNOWN:
            self._bytes -= _size(key, held)


_UNKNOWN = bytes(1)
"""Stands for what was never read; no record is it, for it is compared by identity."""


def _size(key: bytes, record: bytes | None) -> int:
    return _EACH + len(key) + (0 if record is None else len(record))


class GuardedStore(OnlineStore):
    """A store over a network, whose failures are counted.

    Args:
        store: the store.
        clock: tells the seconds; another one is for tests.

    Example:
        >>> from likewise.online.memory import MemoryStore
        >>> store = GuardedStore(MemoryStore())
        >>> store.create(["shop/cards"])
        >>> store.read([("shop/cards", [b"k"])]), store.is_open
        ([[None]], False)
    """

    networked: ClassVar[bool] = True

    def __init__(self, store: OnlineStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        """The store itself."""
        self.last_good = LastGood()
        """The last records that were read for services that take old values."""
        self.on_change: Callable[[bool], None] = lambda is_open: None
        """Is told when calls begin to be refused (True), and when they are no longer."""
        self._clock = clock
        self._budget = RetryBudget()
        self._lock = threading.Lock()
        self._failures = 0
        self._next_look: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, because the store failed again and again."""
        return self._next_look is not None

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        self._call(lambda: self.store.create(tables))

    def keep(self, spans: Mapping[str, int | None]) -> None:
        """Say for how long records of some tables count."""
        self._call(lambda: self.store.keep(spans))

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold."""
        self._call(lambda: self.store.drop(tables))
        self.last_good.clear()

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored; written twice they are the same."""
        try:
            return self._call(lambda: self.store.write(table, keys, records))
        finally:
            self.last_good.forget(table, keys)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from.

        It is not tried again when a connection breaks: that it lost would then not mean that another one won.
        """
        try:
            return self._call(lambda: self.store.swap(table, keys, expected, records), again=False)
        finally:
            self.last_good.forget(table, keys)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        return self._call(lambda: self.store.read(requests))

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table from one end to the other, in the order of its keys."""
        return self._call(lambda: self.store.scan(table, after, limit))

    def look(self, requests: Sequence[Request]) -> None:
        """See whether reads are answered from what others write to."""
        self._call(lambda: self.store.look(requests))

    def check(self, tables: Sequence[str]) -> None:
        """Look at every record of some tables."""
        self._call(lambda: self.store.check(tables))

    def close(self) -> None:
        """Let go of the connections, and of what was remembered."""
        self.last_good.clear()
        self.store.close()

    def _call(self, work: Callable[[], T], *, again: bool = True) -> T:
        """Do some work of the store, unless it is refused; hot."""
        left = seconds_left()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the online store was not asked: the call's deadline was over", cure=_MORE_TIME)
        if self._next_look is not None:
            self._refuse_or_look()
        self._budget.add()
        while True:
            began = self._clock()
            try:
                done = work()
            except StoreError as error:
                if not error.transient:
                    self._answered()
                    raise
                self._failed(began)
                if not again or not isinstance(error, Disconnected) or self.is_open or not self._budget.take():
                    raise self._named(error) from error
                again = False
            else:
                if self._failures:
                    self._answered()
                return done

    def _named(self, error: StoreError) -> StoreError:
        """Return the error, or that the caller's own time is over."""
        left = seconds_left()
        if left is None or left > 0 or isinstance(error, DeadlineExceeded | StoreShunned):
            return error
        return DeadlineExceeded(f"the call's deadline is over: {error.message}", cure=_MORE_TIME)

    def _refuse_or_look(self) -> None:
        with self._lock:
            now, at = self._clock(), self._next_look
            if at is None:
                return
            if now < at:
                raise StoreShunned(
                    f"the online store failed {self._failures} times in a row, and is not asked for {at - now:.1f} s",
                    cure="try again then; see that the store runs and is not busy",
                )
            self._next_look = now + LOOKS_EVERY

    def _failed(self, began: float) -> None:
        now, left = self._clock(), seconds_left()
        if left is not None and left <= 0 and now - began < FAIR_SECONDS:
            return
        with self._lock:
            self._failures += 1
            opens = self._failures >= OPENS and self._next_look is None
            if opens:
                self._next_look = now + LOOKS_EVERY
        if opens:
            self.on_change(True)

    def _answered(self) -> None:
        with self._lock:
            was_open = self._next_look is not None
            self._failures, self._next_look = 0, None
        if was_open:
            self.on_change(False)


_MORE_TIME = "give the call more time, or ask for less at once"


def guarded(store: OnlineStore) -> OnlineStore:
    """Return a store as it should be used: behind a guard, if it asks over a network.

    Args:
        store: the store.
    """
    return GuardedStore(store) if store.networked else store
