"""What an online store is: it keeps the newest record of each entity key, table by table.

A table holds one view; its name is ``project/view``. Keys are those of ``core/keys.py`` and records those of
``rows.py``, but to a store both are bytes: all it looks at is a record's stamp (event time, created time), which
decides in the store's own atomic step whether the record is written (G2). A key is deleted by writing a tombstone.

Errors that only online stores have::

    StoreError
    ├── TableMissing     LookupError: a table that was not created, or was dropped
    ├── StoreClosed      the store was closed
    └── StoreUnavailable
        ├── Disconnected            the connection broke, or could not be made
        ├── StoreShunned            a store that failed again and again is not asked (guard.py)
        └── DeadlineExceeded        TimeoutError: the call's own time is over (deadline.py)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Self

from likewise.core.errors import RecordCorrupt, StoreError, StoreUnavailable
from likewise.online import rows
from likewise.online.rows import STAMP

Request = tuple[str, Sequence[bytes]]
"""What to read: a table, and keys of it."""


class TableMissing(StoreError, LookupError):
    """An online table was not created, or was dropped."""

    def __init__(self, table: str, store: str) -> None:
        super().__init__(
            f"the online store {store} has no table {table!r}", cure="run 'likewise apply', which creates it"
        )
        self.table = table


class StoreClosed(StoreError):
    """An online store was used after it had been closed."""

    def __init__(self, store: str) -> None:
        super().__init__(f"the online store {store} is closed", cure="open it again")


class Disconnected(StoreUnavailable):
    """The connection to a store broke, or could not be made; what was asked may have been done."""


class OnlineStore(ABC):
    """Keeps the newest record of every key. Threads may share one; several processes may open the same files.

    Example:
        >>> from likewise.online.memory import MemoryStore
        >>> from likewise.online.rows import tombstone
        >>> with MemoryStore() as store:
        ...     store.create(["shop/cards"])
        ...     store.write("shop/cards", [b"k"], [tombstone(b"k", 7)])
        ...     store.read([("shop/cards", [b"k", b"other"])]) == [[tombstone(b"k", 7), None]]
        1
        True
    """

    networked: ClassVar[bool] = False
    """Whether it asks over a network, and so may be slow, silent or gone: ``guard.py`` stands before it then.

    Such a store never waits beyond ``deadline.seconds_left()``, and says :class:`Disconnected` where one try more may
    help.
    """

    @abstractmethod
    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are.

        Args:
            tables: their names.
        """

    def keep(self, spans: Mapping[str, int | None]) -> None:  # noqa: B027  # most stores keep everything
        """Say for how long records count, so that a store which lets go of old ones knows which; others pass over it.

        Args:
            spans: for tables, the microseconds after its event time for which a record counts; None for ever.
        """

    @abstractmethod
    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold; those that are not there are passed over.

        Args:
            tables: their names.
        """

    @abstractmethod
    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one atomic step.

        Args:
            table: the table.
            keys: entity keys, not empty. One may stand there twice: its newest record counts, of equal ones the later.
            records: one for each key.

        Returns:
            How many keys got their record.

        Raises:
            TableMissing: there is no such table.
            StoreFull: there is no space for the batch; what was not written can be written again, and reads go on.
            StoreUnavailable: the store could not be had, or did not answer in time. On files of this machine nothing
                was written; over a network the batch may have been, in part or as a whole: write it again.
        """

    @abstractmethod
    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one atomic step.

        So that what is computed from a record and stored in its place loses nothing that others did meanwhile: who
        lost reads again, computes again, and swaps again. Stamps are not looked at.

        Args:
            table: the table.
            keys: entity keys, not empty, none of them twice.
            expected: for each key, the record that must be stored, to the byte; None where there must be none.
            records: what to store instead.

        Returns:
            The positions of the keys that hold something else than expected, ascending; all others were written.

        Raises:
            ValueError: a key stands twice, or keys, expected and records are not as many.
            TableMissing: there is no such table.
            StoreFull: there is no space for the batch; what was not written can be swapped again, and reads go on.
            StoreUnavailable: as for :meth:`write`. Whoever swaps again reads again before: what he expects may be there
                no more, for he has replaced it himself.
        """

    @abstractmethod
    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment.

        Args:
            requests: (table, keys) for each view that is wanted.

        Returns:
            For each request, one record for each of its keys; None where there is none.

        Raises:
            TableMissing: there is no such table.
            StoreCorrupt: what is stored fails the store's checks.
        """

    def look(self, requests: Sequence[Request]) -> None:
        """See whether reads are answered from what others write to; by reading, unless a store has more to look at.

        Raises:
            StoreError: they are not.
        """
        self.read(requests)

    @abstractmethod
    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table from one end to the other, in the order of its keys, tombstones included.

        Args:
            table: the table.
            after: the last key of the call before; None to begin.
            limit: at most how many to return.

        Returns:
            (key, record) pairs; fewer than ``limit`` only at the end of the table.
        """

    def pages(self, table: str, after: bytes | None = None) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Yield the keys and records of a table, some at a time, in the order of its keys.

        Args:
            table: the table.
            after: begin behind this key; None: with the first.
        """
        while page := self.scan(table, after):
            after = page[-1][0]
            yield [key for key, _ in page], [record for _, record in page]

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; more than once is fine."""

    def check(self, tables: Sequence[str]) -> None:
        """Look at every record of some tables, and at whatever else the store can check.

        Args:
            tables: their names.

        Raises:
            StoreCorrupt: something is damaged; the message says what and where.
        """
        for table in tables:
            for keys, records in self.pages(table):
                rows.check(keys, records, table)
                for key, seen, again in zip(keys, records, self.read([(table, keys)])[0], strict=True):
                    if again is None or again[STAMP] < seen[STAMP]:
                        raise RecordCorrupt(
                            f"online table {table!r} has the key {key[:60].hex()}, but does not find it",
                            cure="rebuild the online store: all it holds is in the offline sources",
                        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def in_key_order(
    keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
) -> list[tuple[bytes, int, bytes | None, bytes]]:
    """Return what a swap is to do as (key, position, expected, record), in the order of the keys.

    Raises:
        ValueError: a key stands twice, or keys, expected and records are not as many.

    Example:
        >>> in_key_order([b"b", b"a"], [None, b"old"], [b"new", b"newer"])
        [(b'a', 1, b'old', b'newer'), (b'b', 0, None, b'new')]
    """
    if not len(keys) == len(expected) == len(records):
        raise ValueError(f"{len(keys)} keys, {len(expected)} expected and {len(records)} records: each key needs both")
    if len(set(keys)) < len(keys):
        raise ValueError(f"{len(keys)} keys of which only {len(set(keys))} differ: swap each key once")
    return sorted(zip(keys, range(len(keys)), expected, records, strict=True))


def settled(keys: Sequence[bytes], records: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return a batch in which no key stands twice: the newest record of each, of equal ones the later.

    Args:
        keys: entity keys.
        records: one for each key.

    Raises:
        ValueError: there are not as many records as keys.

    Example:
        >>> from likewise.online.rows import tombstone
        >>> old, new = tombstone(b"k", 1), tombstone(b"k", 2)
        >>> settled([b"k", b"k"], [new, old]) == ([b"k"], [new])
        True
    """
    if len(keys) != len(records):
        raise ValueError(f"{len(keys)} keys and {len(records)} records: each key needs one")
    if len(set(keys)) == len(keys):
        return keys, records
    newest: dict[bytes, bytes] = {}
    for key, record in zip(keys, records, strict=True):
        held = newest.get(key)
        if held is None or record[STAMP] >= held[STAMP]:
            newest[key] = record
    return list(newest), list(newest.values())
