"""SQLite: an online store in one SQLite file, for small repos and for who wants to look inside with any SQLite tool.

::

    likewise (format, needs)                      format of the file, the version of Likewise it needs
    tables   (id, name, seal)                     seal: CRC-32 of "id:name"; no id is used twice
    records  (table_id, key, record)              primary key (table_id, key), without a rowid; each table begins with
                                                  an empty key, so that damage to a table_id shows in the order

The file has a write-ahead log: readers do not wait for the writer, and a read is one transaction, so it sees one
moment. A batch is one transaction, and "newer wins" is decided inside it, by the upsert's WHERE. By default a commit
does not wait for the disk (``synchronous=NORMAL``): a power cut can undo the last writes, but cannot damage or mix any;
``durable=True`` waits. SQLite's own tools can read the file; ``PRAGMA user_version`` is its format.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol
from zlib import crc32

from likewise.core.errors import StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.file_store import looks_full, named_os_error, no_space
from likewise.registry.database import place, temporary_name

APPLICATION_ID = 0x4C6B574F
"""What marks a SQLite file as an online store of Likewise, in its header: "LkWO"."""
FORMAT = 1
"""The format of the file that this version writes, and the newest it reads: its ``user_version``."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""
DEFAULT_PATH = "data/online.db"
"""Where a repo keeps its store, unless its configuration says otherwise."""

_SCHEMA = (
    # Every format has this table, so that an older program can say which version reads the file.
    "CREATE TABLE likewise (format INTEGER NOT NULL, needs TEXT NOT NULL, PRIMARY KEY (format)) WITHOUT ROWID",
    "CREATE TABLE tables (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, seal INTEGER NOT NULL)",
    "CREATE TABLE records (table_id INTEGER NOT NULL, key BLOB NOT NULL, record BLOB NOT NULL,"
    " PRIMARY KEY (table_id, key)) WITHOUT ROWID",
)
_FIND = "SELECT id, seal FROM tables WHERE name = ?"
# The casts change nothing, unless damage has made text or a number of the bytes; the check sum then tells.
_GET = "SELECT CAST(record AS BLOB) FROM records WHERE table_id = ? AND key = ?"
# Stamps are bytes 9 to 26 of a record, which SQL counts from 1.
_PUT_NEWER = """
INSERT INTO records VALUES (?, ?, ?) ON CONFLICT (table_id, key) DO UPDATE SET record = excluded.record
WHERE substr(excluded.record, 10, 18) >= substr(record, 10, 18)
"""
_PUT = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
_SCAN = (
    "SELECT CAST(key AS BLOB), CAST(record AS BLOB) FROM records WHERE table_id = ? AND key > ? ORDER BY key LIMIT ?"
)
_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_ERROR,  # a table or column is missing, or the schema cannot be read
        sqlite3.SQLITE_MISMATCH,
    }
)
_inherited: list[sqlite3.Connection] = []
"""Connections that came over a fork: SQLite forbids their use, and closing them might hurt those of the parent."""


class SqliteSettings(Protocol):
    """What a configuration says about this store."""

    @property
    def path(self) -> str:
        """The file, relative to the repo; empty for the default."""

    @property
    def durable(self) -> bool:
        """Whether every write waits for the disk."""


class SqliteStore(OnlineStore):
    """An online store in one file of the local disk, made when it is not there. It may be used in forked processes.

    Args:
        file: the file; not on a network file system.
        durable: whether every write waits for the disk.
        wait: for how long a write waits for other writers, in seconds.
        check_below: a file up to this many bytes is checked whole when it is opened.

    Raises:
        StoreCorrupt: the file is something else, or a damaged store.
        StoreTooNew: the store was written by a newer version of Likewise.
        StoreFull: there is no space to make it.

    Example:
        >>> with SqliteStore("online.db") as store:
        ...     store.create(["shop/cards"])
        ...     store.read([("shop/cards", [b"key"])])
        [[None]]
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        durable: bool = False,
        wait: float = 30.0,
        check_below: int = 16 << 20,
    ) -> None:
        self.file = Path(file)
        self._durable = durable
        self._wait = wait
        self._closed = False
        self._pool = _Pool()
        weakref.finalize(self, self._pool.close)  # for stores that nobody closes: sqlite3 warns of open connections
        with self._named("opened", 65_536):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not self.file.exists():
                _make(self.file)
            self._check_file(self.file.stat().st_size <= check_below)

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        with self._reading() as connection:
            missing = [table for table in tables if connection.execute(_FIND, (table,)).fetchone() is None]
        if missing:
            with self._writing(65_536) as connection:
                for name in missing:
                    added = connection.execute("INSERT OR IGNORE INTO tables (name, seal) VALUES (?, 0)", (name,))
                    if added.rowcount and added.lastrowid is not None:
                        seal = _seal(added.lastrowid, name)
                        connection.execute("UPDATE tables SET seal = ? WHERE id = ?", (seal, added.lastrowid))
                        connection.execute("INSERT INTO records VALUES (?, x'', x'')", (added.lastrowid,))

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold."""
        with self._writing(65_536) as connection:
            for table in tables:
                found = connection.execute(_FIND, (table,)).fetchone()
                if found is not None:
                    connection.execute("DELETE FROM records WHERE table_id = ?", found[:1])
                    connection.execute("DELETE FROM tables WHERE id = ?", found[:1])

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one transaction."""
        keys, records = settled(keys, records)
        ordered = sorted(zip(keys, records, strict=True))
        with self._writing(sum(map(len, keys)) + sum(map(len, records))) as connection:
            number, before = self._number(connection, table), connection.total_changes
            connection.executemany(_PUT_NEWER, ((number, key, record) for key, record in ordered))
            return connection.total_changes - before

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one transaction."""
        ordered = in_key_order(keys, expected, records)
        with self._writing(sum(map(len, keys)) + sum(map(len, records))) as connection:
            number, lost = self._number(connection, table), []
            for key, position, wanted, record in ordered:
                row = connection.execute(_GET, (number, key)).fetchone()
                if (None if row is None else row[0]) == wanted:
                    connection.execute(_PUT, (number, key, record))
                else:
                    lost.append(position)
            return sorted(lost)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        with self._reading() as connection:
            return [self._get(connection, table, keys) for table, keys in requests]

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""
        with self._reading() as connection:
            return connection.execute(_SCAN, (self._number(connection, table), after or b"", limit)).fetchall()

    def check(self, tables: Sequence[str]) -> None:
        """Check the structure of the file, then every record of some tables."""
        with self._reading() as connection:
            self._check_structure(connection)
        super().check(tables)

    def close(self) -> None:
        """Let go of the file; the last one to do so empties the log into it."""
        self._closed = True
        self._pool.close()

    def _get(self, connection: sqlite3.Connection, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        number, execute = self._number(connection, table), connection.execute
        found = [execute(_GET, (number, key)).fetchone() for key in keys]
        return [None if row is None else row[0] for row in found]

    def _number(self, connection: sqlite3.Connection, table: str) -> int:
        found = connection.execute(_FIND, (table,)).fetchone()
        if found is None:
            raise TableMissing(table, str(self.file))
        number, seal = found
        if seal != _seal(number, table):
            raise self._corrupt(f"the entry of table {table!r} fails its check sum")
        return int(number)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._named("read", 0), self._connection() as connection, _transaction(connection):
            yield connection

    @contextlib.contextmanager
    def _writing(self, size: int) -> Iterator[sqlite3.Connection]:
        with (
            self._named("written", size),
            self._connection() as connection,
            self._turn(),
            _transaction(connection, "BEGIN IMMEDIATE"),
        ):
            yield connection

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this process's other threads here: SQLite would let them sleep and try, in no order."""
        turn = self._pool.writing
        if not turn.acquire(timeout=self._wait):
            raise StoreUnavailable(
                f"another thread writes {self.file} for more than {self._wait:g} s", cure="try again"
            )
        try:
            yield
        finally:
            turn.release()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise StoreClosed(str(self.file))
        connection = self._pool.take()
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._pool.give(connection)

    def _connect(self) -> sqlite3.Connection:
        if not self.file.exists():
            raise StoreError(f"the online store {self.file} was removed", cure="open it again, which makes a new one")
        uri = f"{self.file.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=self._wait, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        try:
            for setting in (
                f"synchronous = {'FULL' if self._durable else 'NORMAL'}",
                "cache_size = -16384",
                "cell_size_check = ON",
                "trusted_schema = OFF",
            ):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_file(self, whole: bool) -> None:
        if self.file.stat().st_size == 0:
            raise self._corrupt("the file is empty")
        with self._reading() as connection:
            self._check_format(connection)
            tables = self._check_structure(connection) if whole else []
        super().check(tables)

    def _check_format(self, connection: sqlite3.Connection) -> None:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if mark != APPLICATION_ID:
            raise self._corrupt("the file is not an online store of Likewise")
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        stated = connection.execute("SELECT format, needs FROM likewise").fetchall()
        known = [each for each, _ in stated] == [number]
        if number > FORMAT:
            version = f"Likewise >= {stated[0][1]}" if known else "a newer Likewise"
            raise StoreTooNew(
                f"the online store {self.file} has format {number}, and this version of Likewise reads {FORMAT}",
                cure=f"install {version}, or remove the file and materialize again",
            )
        if not known:
            raise self._corrupt(f"its header says format {number}, its table says {stated}")

    def _check_structure(self, connection: sqlite3.Connection) -> list[str]:
        """Check the file as a whole, and return the names of its tables."""
        schema = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")}
        if schema != set(_SCHEMA):
            raise self._corrupt("its tables are not those of an online store")
        problems = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise self._corrupt("; ".join(problems))
        tables = connection.execute("SELECT id, name, seal FROM tables").fetchall()
        begun = {number for (number,) in connection.execute("SELECT table_id FROM records WHERE key = x''")}
        used = {number for (number,) in connection.execute("SELECT DISTINCT table_id FROM records")}
        known = {number for number, name, seal in tables if seal == _seal(number, name)}
        if not len(tables) == len(known) or not known == used == begun:
            raise self._corrupt("its list of tables fails its check sums, or does not have all of them")
        return [name for _, name, _ in tables]

    @contextlib.contextmanager
    def _named(self, doing: str, size: int) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._name(error, doing, size) from error
        except UnicodeDecodeError as error:  # SQLite quotes the schema in what it says, in whatever state that is
            raise self._corrupt(str(error)) from error
        except OSError as error:
            raise named_os_error(error, self.file, doing) from error

    def _name(self, error: sqlite3.Error, doing: str, size: int) -> StoreError:
        # Errors of the module itself, such as the use of a closed connection, have no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreUnavailable(
                f"another writer holds {self.file} for more than {self._wait:g} s", cure="try again when it is done"
            )
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and looks_full(self.file, size)):
            return no_space(self.file, size, str(error))
        if code in _DAMAGE:
            return self._corrupt(str(error))
        return StoreError(
            f"the online store {self.file} cannot be {doing}: {error}",
            cure="check that it lies on a local disk, and that this user may write to the file and its folder",
        )

    def _corrupt(self, what: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"the online store {self.file} is damaged: {what}",
            cure="remove the file and materialize again: all it holds is in the offline sources",
        )


class _Pool:
    """Connections that nobody is using; each is used by one thread at a time, and none after a fork."""

    def __init__(self) -> None:
        self._begin()
        self._closed = False

    def take(self) -> sqlite3.Connection | None:
        """Return a connection; None when there is none to spare."""
        if os.getpid() != self._process:
            _inherited.extend(self._idle)
            self._begin()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give(self, connection: sqlite3.Connection) -> None:
        """Take a connection back."""
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all connections: those in use when they are given back."""
        self._closed = True
        while (connection := self.take()) is not None:
            connection.close()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: collections.deque[sqlite3.Connection] = collections.deque()
        self.writing = threading.Lock()


def _make(file: Path) -> None:
    """Make an empty store: it is not there, or it is whole."""
    for left in ("-wal", "-shm"):  # of a file that was removed; SQLite would take them for this one's
        file.with_name(file.name + left).unlink(missing_ok=True)
    new = temporary_name(file)
    try:
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO likewise VALUES (?, ?)", (FORMAT, NEEDS))
        place(new, file)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")  # damaged text fails its seal, with a better message than this would have


def _seal(number: int, name: str) -> int:
    return crc32(f"{number}:{name}".encode())


def open_store(config: SqliteSettings, root: str) -> SqliteStore:
    """Return the store in the file that a configuration names.

    Args:
        config: has the file and the settings.
        root: the repo's folder.
    """
    return SqliteStore(Path(root) / (config.path or DEFAULT_PATH), durable=config.durable)
