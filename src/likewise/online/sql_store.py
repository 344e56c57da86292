"""SQL databases: what the online stores on PostgreSQL and MySQL share; each says the rest in its own words.

::

    likewise_tables (name, mark, format, needs)     the online tables: an entry each
    lw_<mark>       (key, record, rest)             one table for each of them; primary key (key)

The SQL table of an online table is called after its mark, sixteen hex digits drawn at random: no text of a user stands
in a name, and no mark is used twice, whatever was dropped or restored meanwhile. So a store may remember marks: when a
table is not there, its mark is looked up again. Dropping a table drops one of SQL, whatever it holds.

Databases limit what an index holds, so a key of 1,000 bytes or more stands there in a short form (``long_keys.py``),
and ``rest`` has what that lacks.
"""

from __future__ import annotations

import functools
import random
import secrets
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeVar

from likewise.core.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.deadline import Deadline, seconds_left
from likewise.online.long_keys import LONGEST, Row, rest_of, scan_in_order, short_key

FORMAT = 1
"""The format of online tables that this version makes, and the newest it reads."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""
CATALOG = "likewise_tables"
"""The SQL table that lists the online tables."""
PIECE = 1_000
"""How many rows go into one statement at most."""

_TABLES = 200
"""How many tables are made or dropped in one transaction at most: databases limit the locks it may hold."""
_TRIES = 6
"""How often a call starts over because of what others did meanwhile."""
_PAUSE = 0.01
"""For how long it waits before it does so after a conflict, in seconds; at random, and longer each time."""
_EACH_KEY = 1e-5
"""How much longer a read may take for each of its keys, in seconds."""
_EACH_RECORD = 1e-4
"""How much longer a write may take for each of its records, in seconds."""

T = TypeVar("T")


class TablesChanged(Exception):
    """A statement used an SQL table that is not there (any more)."""


class Conflict(Exception):
    """The database undid a statement because of what another one did: a deadlock, or a serialization failure."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the database says of an online table."""

    mark: str
    """What its SQL table is called after."""
    format: int
    """The format it has."""
    needs: str
    """The oldest version of Likewise that reads it."""


class Rows(NamedTuple):
    """Rows to be written by one statement, as columns, in the order of their keys."""

    keys: Sequence[bytes]
    """The entity keys, or their short forms."""
    records: Sequence[bytes]
    """The records."""
    rests: Sequence[bytes | None]
    """What the short forms lack; empty when all keys stand there whole."""
    expected: Sequence[bytes | None] = ()
    """For a swap, what must be stored instead of each record; None where there must be nothing."""


class SqlStore(OnlineStore):
    """An online store on a database server. Nothing is connected before it is used; it may be used in forked processes.

    A batch is one transaction. After a ``StoreUnavailable``, it may have been written, as a whole.

    Args:
        name: the server's name, for messages.
        seconds: how long a read may take, connecting included; 10 µs more for each key.
        write_seconds: how long a write or a page of a scan may take; 100 µs more for each record that is written.
    """

    networked = True
    piece_bytes: ClassVar[int] = 4 << 20
    """How many bytes go into one statement at most, unless one record is larger."""

    def __init__(self, name: str, seconds: float, write_seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._write_seconds = write_seconds
        self._closed = False
        self._marks: Mapping[str, str] = {}
        self._lock = threading.Lock()

    # What a kind of server says in its own words. Each call is one transaction, within the thread's deadline.

    @abstractmethod
    def _entries(self, names: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those tables that are there."""

    @abstractmethod
    def _make(self, entries: Mapping[bytes, Entry]) -> None:
        """Make tables that are not there yet, and their entries."""

    @abstractmethod
    def _remove(self, names: Sequence[bytes]) -> None:
        """Remove tables and their entries."""

    @abstractmethod
    def _upsert(self, mark: str, pieces: Sequence[Rows]) -> int:
        """Write rows where none newer is stored; return how many were written."""

    @abstractmethod
    def _exchange(self, mark: str, pieces: Sequence[Rows]) -> set[bytes]:
        """Write rows where the expected records are stored; return the keys of those."""

    @abstractmethod
    def _find(self, groups: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Mapping[bytes, bytes]]:
        """Return the records that some tables have of some keys, all as they are at one moment."""

    @abstractmethod
    def _range(self, mark: str, first: bytes, last: bytes, limit: int | None) -> list[Row]:
        """Return rows from a key to another one, both included, in the order of keys."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the links."""

    # The store

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        new = {_entry_name(table): Entry(secrets.token_hex(8), FORMAT, NEEDS) for table in tables}

        def make() -> None:
            there = self._entries(list(new))
            missing = [(name, entry) for name, entry in new.items() if name not in there]
            for at in range(0, len(missing), _TABLES):
                self._make(dict(missing[at : at + _TABLES]))

        with self._deadline(self._write_seconds + 0.1 * len(new)):
            if new:
                self._repeat(make)

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold."""
        names = [_entry_name(table) for table in tables]
        with self._deadline(self._write_seconds + 0.1 * len(names)):
            for at in range(0, len(names), _TABLES):
                self._repeat(functools.partial(self._remove, names[at : at + _TABLES]))

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one transaction."""
        keys, records = settled(keys, records)
        pieces = self._pieces(sorted(zip(map(short_key, keys), records, keys, strict=True)))
        with self._deadline(self._write_seconds + len(keys) * _EACH_RECORD):
            return self._repeat(lambda: self._upsert(self._known([table])[0], pieces), [table])

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one transaction."""
        ordered = in_key_order(keys, expected, records)
        places = {short_key(key): position for key, position, _, _ in ordered}
        asked = sorted((short_key(key), record, key, wanted) for key, _, wanted, record in ordered)
        pieces = self._pieces(asked)
        with self._deadline(self._write_seconds + len(asked) * _EACH_RECORD):
            won = self._repeat(lambda: self._exchange(self._known([table])[0], pieces), [table])
        return sorted(position for key, position in places.items() if key not in won)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        tables = [table for table, _ in requests]
        asked = [list(map(short_key, keys)) for _, keys in requests]
        with self._deadline(self._seconds + sum(map(len, asked)) * _EACH_KEY):
            if not requests:
                return []
            found = self._repeat(lambda: self._find(list(zip(self._known(tables), asked, strict=True))), tables)
        return [list(map(records.get, keys)) for records, keys in zip(found, asked, strict=True)]

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""

        def page(first: bytes, last: bytes, most: int | None) -> list[Row]:
            with self._deadline(self._write_seconds + limit * _EACH_KEY):
                return self._repeat(lambda: self._range(self._known([table])[0], first, last, most), [table])

        return scan_in_order(page, after or b"", limit)

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        self._disconnect()

    def _pieces(self, rows: Sequence[tuple[Any, ...]]) -> list[Rows]:
        """Cut a batch into pieces, none of which has too many rows or bytes; the first one may be empty.

        Args:
            rows: (short key, record, key) or (short key, record, key, expected record) each, in order.
        """
        pieces: list[Rows] = []
        left = [rows[at : at + PIECE] for at in range(0, len(rows), PIECE)][::-1]
        while left:
            piece = left.pop()
            columns = list(zip(*piece, strict=True))
            if len(piece) > 1 and sum(map(len, columns[1])) + sum(map(len, columns[2])) > self.piece_bytes:
                left += [piece[len(piece) // 2 :], piece[: len(piece) // 2]]
                continue
            keys, records, whole, *expected = columns
            long = max(map(len, whole)) >= LONGEST
            rests = list(map(rest_of, whole)) if long else []
            pieces.append(Rows(keys, records, rests, *expected))
        return pieces or [Rows((), (), ())]

    # How calls start over

    def _repeat(self, work: Callable[[], T], tables: Sequence[str] = ()) -> T:
        """Do something in one transaction; start over when its tables are others by now, or when it met another's."""
        conflict: Exception | None = None
        for turn in range(_TRIES):
            try:
                return work()
            except TablesChanged as error:
                conflict = error
                with self._lock:
                    self._marks = {table: mark for table, mark in self._marks.items() if table not in tables}
            except Conflict as error:
                conflict = error
                left = seconds_left()
                time.sleep(max(0.0, min(random.uniform(0, _PAUSE * 2**turn), 1.0 if left is None else left)))
        raise StoreUnavailable(f"{self._name}: others are in the way all the time: {conflict}", cure="try again")

    def _known(self, tables: Sequence[str]) -> list[str]:
        """Return the marks of tables, as far as is known; those that are not are looked up."""
        marks = self._marks
        try:
            return [marks[table] for table in tables]
        except KeyError:
            found = self._learn([table for table in dict.fromkeys(tables) if table not in marks])
            return [marks[table] if table in marks else found[table] for table in tables]

    def _learn(self, tables: Sequence[str]) -> dict[str, str]:
        entries = self._entries([_entry_name(table) for table in tables])
        found: dict[str, str] = {}
        for table in tables:
            entry = entries.get(_entry_name(table))
            if entry is None:
                raise TableMissing(table, self._name)
            if entry.format > FORMAT:
                self._too_new(table, entry)
            found[table] = entry.mark
        with self._lock:
            self._marks = {**self._marks, **found}
        return found

    def _too_new(self, table: str, entry: Entry) -> NoReturn:
        raise StoreTooNew(
            f"online table {table!r} in {self._name} has format {entry.format}, and this version reads {FORMAT}",
            cure=f"install Likewise >= {entry.needs}",
        )

    def _deadline(self, seconds: float) -> AbstractContextManager[None]:
        if self._closed:
            raise StoreClosed(self._name)
        return Deadline(seconds)


def table_of(mark: str) -> str:
    """Return the name of the SQL table with a mark, in which no name of a user stands.

    Raises:
        StoreCorrupt: it is no mark, so somebody else has written it.
    """
    if not (mark.isalnum() and mark.isascii()):
        raise StoreCorrupt(f"{CATALOG} has the mark {mark[:40]!r}", cure="restore the database, or drop its tables")
    return f"lw_{mark}"


def path_in(root: str, path: str) -> str:
    """Return the path of a file that a configuration names, relative to the repo's folder; empty for none."""
    return str(Path(root) / path) if path else ""


def _entry_name(table: str) -> bytes:
    return short_key(table.encode())
