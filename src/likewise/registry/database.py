"""Database: the SQLite file under :class:`~likewise.registry.file.FileRegistry`: made, opened, checked, locked.

One file, with a rollback journal (not a write-ahead log): after a commit everything is in that one file, so a copy of
it is a whole copy, it opens from a read-only folder, and damage to a log cannot silently bring back yesterday.
``synchronous=EXTRA`` makes a commit durable, the removal of its journal included.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from likewise.core.errors import LikewiseError, StoreError, StoreFull, StoreUnavailable
from likewise.registry.base import RegistryCorrupt, RegistryReadOnly, RegistryTooNew
from likewise.registry.crash import CrashHook

APPLICATION_ID = 0x4C6B5731
"""What marks a SQLite file as a registry of Likewise, in its header: "LkW1"."""
FORMAT = 1
"""The newest format this version reads, and the one it writes; the file has it as ``user_version`` and in a table."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The system's errors that say that a disk, or somebody's share of it, is full."""

_TABLES = {
    # Every format has this table, so that an older program can say which version reads the file.
    "likewise": ("format integer, needs text", "format"),
    # The newest catalog of each project; sealed, because it is what says that a project exists.
    "heads": ("project text, number integer, seal blob", "project"),
    "catalogs": (
        "project text, number integer, parent integer, created integer, author text, message text, size integer,"
        " contents blob, delta blob, seal blob",
        "project, number",
    ),
    # What each commit did to each definition; hash is null where it removed it.
    "entries": ("project text, kind text, name text, number integer, hash blob?", "project, kind, name, number"),
    "definitions": ("hash blob, body blob", "hash"),
    "sides": ("project text, space text, key text, version integer, value blob, seal blob", "project, space, key"),
    # The version that the side table gave out last.
    "clock": ("id integer, version integer", "id"),
}


def _create_table(name: str, columns: str, key: str) -> str:
    """Return the SQL of a table whose values have the types it says, so that a check of the file checks them too."""
    parts = []
    for column, kind in (each.split() for each in columns.split(",")):
        sort = kind.rstrip("?")
        allowed = f"IN ('{sort}', 'null')" if kind.endswith("?") else f"= '{sort}'"
        parts.append(f"{column} {sort} CHECK (typeof({column}) {allowed})")
    return f"CREATE TABLE {name} ({', '.join(parts)}, PRIMARY KEY ({key})) WITHOUT ROWID"


SCHEMA = tuple(_create_table(name, columns, key) for name, (columns, key) in _TABLES.items())
"""The tables of :data:`FORMAT`."""

DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file makes sqlite3 raise: its own errors, or the failure to decode their message."""
Stamp = tuple[int, int, int, int]
"""(device, inode, size, time of the last write in ns): while it stays the same, so does the file."""


class Database:
    """A registry's SQLite file; threads and processes may share it.

    The file is made by the first write. Connections are kept for reuse, but not across a fork.

    Args:
        path: the file.
        wait: how long to wait for another writer, in seconds.
        check_rows: called once for each file that is opened, after its structure was checked; returns what is wrong
            with its rows, empty when nothing is.
        crash: called with the name of each crash point.
    """

    def __init__(
        self, path: Path, wait: float, check_rows: Callable[[sqlite3.Connection], str], crash: CrashHook
    ) -> None:
        self.path = path
        self._check_rows = check_rows
        self._crash = crash
        self._text = str(path)
        self._wait = wait
        self._idle: collections.deque[sqlite3.Connection] = collections.deque()
        self._checked: tuple[int, int] | None = None
        weakref.finalize(self, _close_all, self._idle)
        _OPEN.add(self)

    def stamp(self) -> Stamp | None:
        """Return what tells whether the file has changed; None when there is no file."""
        try:
            found = os.stat(self._text)  # noqa: PTH116 - asked before every online read
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._named_os(error, "read") from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _stamp_or_made_meanwhile(self) -> Stamp | None:
        """Look twice where another thread may have made the file between a look and the question who knows of it."""
        stamp = self.stamp()
        return self.stamp() if stamp is None and self._checked is not None else stamp

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection on which every query sees the same moment; None when there is no file."""
        stamp = self._stamp_or_made_meanwhile()
        if stamp is None:
            self._expect_no_file()
            yield None
            return
        with self._connection(stamp) as connection, _transaction(connection, "BEGIN", "COMMIT"):
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that holds the write lock; what is done on it is durable when this ends, or undone."""
        stamp = self._stamp_or_made_meanwhile()
        if stamp is None:
            self._expect_no_file()
            self._create()
            stamp = self.stamp()
        if stamp is None:
            raise StoreUnavailable(f"the registry {self._text!r} was removed while it was made", cure="try again")
        with self._connection(stamp) as connection, _transaction(connection, "BEGIN IMMEDIATE", "COMMIT"):
            yield connection

    def close(self) -> None:
        """Close the connections that are not in use, and forget the file."""
        self.let_go()
        self._checked = None

    def let_go(self) -> None:
        """Close the connections that are not in use; the next use opens another."""
        _close_all(self._idle)

    def _expect_no_file(self) -> None:
        if self._checked is not None:
            raise StoreError(
                f"the registry {self._text!r} was removed while it was in use",
                cure="put it back, or open the store anew to begin with an empty registry",
            )

    @contextlib.contextmanager
    def _connection(self, stamp: Stamp) -> Iterator[sqlite3.Connection]:
        """Lend a connection to the file as it is now, checked once per file; name whatever SQLite says."""
        self._forget_others(stamp)
        try:
            connection = self._take()
            try:
                if self._checked != stamp[:2]:
                    self._check(connection)
                    self._checked = stamp[:2]
                yield connection
            except DAMAGE:
                connection.close()
                raise
            except BaseException:
                self._give_back(connection, stamp)
                raise
            self._give_back(connection, stamp)
        except DAMAGE as error:
            raise self._named(error) from error

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection, stamp: Stamp) -> None:
        """Keep a connection for reuse, unless it is stuck, or the file was replaced or closed meanwhile."""
        if connection.in_transaction or self._checked != stamp[:2]:
            connection.close()
        else:
            self._idle.append(connection)

    def _forget_others(self, stamp: Stamp) -> None:
        """Close the connections to a file that was replaced."""
        if self._checked is not None and self._checked != stamp[:2]:
            self.close()

    def _connect(self) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise RegistryCorrupt(self._text, "it is empty (0 bytes)")
        return connect(self.path, "rw", self._wait)

    def _check(self, connection: sqlite3.Connection) -> None:
        """Check that the file is a registry, in a known format, and whole in its structure."""
        with _transaction(connection, "BEGIN", "COMMIT"):
            wrong = _what_is_wrong(connection, self._text) or self._check_rows(connection)
        if wrong:
            raise RegistryCorrupt(self._text, wrong)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("delete",):
            connection.execute("PRAGMA journal_mode=DELETE")

    def _create(self) -> None:
        """Make the file, with its folders, in one step: it is not there, or it is whole."""
        new = temporary_name(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                make_file(new)
                self._crash("registry.create.written")
                place(new, self.path)
                self._crash("registry.create.placed")
            finally:
                new.unlink(missing_ok=True)
        except OSError as error:
            raise self._named_os(error, "make") from error
        except sqlite3.Error as error:
            raise self._named(error) from error

    def _named(self, error: Exception) -> LikewiseError:
        return name_error(error, self.path, self._wait)

    def _named_os(self, error: OSError, verb: str) -> LikewiseError:
        return name_os_error(error, self.path, verb)


def connect(path: Path, mode: Literal["ro", "rw"], wait: float) -> sqlite3.Connection:
    """Open a registry file that exists; nothing is checked yet.

    Args:
        path: the file.
        mode: whether it may be written.
        wait: how long to wait for another writer, in seconds.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = _text
        for pragma in ("synchronous=EXTRA", "trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    except DAMAGE:
        connection.close()
        raise
    return connection


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path``, for a file that will take its place."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")


def make_file(new: Path, fill: Callable[[sqlite3.Connection], None] = lambda connection: None) -> None:
    """Write a registry without any project to a new file, let ``fill`` add to it, and make its bytes durable."""
    new.touch(exist_ok=False)
    with contextlib.closing(connect(new, "rw", 0)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("BEGIN")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO likewise VALUES (?, ?)", (FORMAT, NEEDS))
        connection.execute("INSERT INTO clock VALUES (1, 0)")
        fill(connection)
        connection.execute("COMMIT")
    with new.open("rb+") as file:
        os.fsync(file.fileno())


def place(new: Path, path: Path) -> None:
    """Give a whole new file its name, unless another process was faster; then make the name durable."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":
        return  # Windows cannot open a folder; its file systems journal names
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str, end: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute(end)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _what_is_wrong(connection: sqlite3.Connection, path: str) -> str:
    """Return what is wrong with a file as a whole; empty when nothing is."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    schema = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if application != APPLICATION_ID and "likewise" not in {name for name, _ in schema}:
        return "it is a SQLite file of another program"
    if application != APPLICATION_ID:
        return f"its application id is {application:#x}, not {APPLICATION_ID:#x}"
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    stated, needs = connection.execute("SELECT format, needs FROM likewise").fetchone() or (0, "")
    if version > FORMAT:
        raise RegistryTooNew(path, version, FORMAT, needs if version == stated else "")
    if version != stated:
        return f"its header says format {version}, its table says {stated}"
    if len(schema) != len(SCHEMA) or {sql for _, sql in schema} != set(SCHEMA):
        return "its tables are not those of a registry"
    found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    return "" if found == ["ok"] else "; ".join(found)


def _close_all(idle: collections.deque[sqlite3.Connection]) -> None:
    while idle:
        idle.pop().close()


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()


def _let_go_before_fork() -> None:
    for database in list(_OPEN):
        database.let_go()


if sys.platform != "win32":
    os.register_at_fork(before=_let_go_before_fork)  # SQLite's locks do not survive one connection in two processes


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")  # damaged text fails its seal later, with a better message


# Errors

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR)
_LITTLE = 1 << 20
"""Fewer free bytes than this make a full disk the likeliest cause of a failed write."""


def name_error(error: Exception, path: Path, wait: float) -> LikewiseError:
    """Return our error for one of SQLite's, with the path and the cure."""
    code: int = vars(error).get("sqlite_errorcode", sqlite3.SQLITE_ERROR)  # Python sets it only for SQLite's own errors
    family = code & 0xFF
    if family in _BUSY:
        return StoreUnavailable(
            f"the registry {str(path)!r} was locked by another process for {wait:g} s",
            cure="try again when that process has ended",
        )
    if family == sqlite3.SQLITE_FULL or (family == sqlite3.SQLITE_IOERR and _free(path) < _LITTLE):
        return _full(path)
    if family in _READ_ONLY:
        return read_only(path)
    if family == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    if family in _DAMAGED:
        return RegistryCorrupt(str(path), _damage(error, path), cure=_foreign_cure(path))
    return StoreError(f"the registry {str(path)!r} failed: {error}", cure="check the disk, then try again")


def name_os_error(error: OSError, path: Path, verb: str) -> LikewiseError:
    """Return our error for one of the system's, with the path and the cure."""
    if error.errno in NO_SPACE:
        return _full(path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return read_only(path)
    return StoreError(f"cannot {verb} the registry {str(path)!r}: {error.strerror}", cure="check the path")


def read_only(path: Path) -> RegistryReadOnly:
    """Return the error for a file or folder that may not be written."""
    return RegistryReadOnly(
        f"the registry {str(path)!r} may not be written",
        cure=f"give this user write access to {str(path.parent)!r}, or name another path as registry: "
        "in feature_store.yaml",
    )


def _full(path: Path) -> StoreFull:
    return StoreFull(
        f"no space is left for the registry {str(path)!r}: {_free(path):,} bytes are free in {str(path.parent)!r}, "
        f"and a write needs about twice the file's size at worst, {2 * _size(path):,} bytes",
        cure="free some space and try again; nothing was changed",
    )


def _cannot_open(path: Path) -> LikewiseError:
    if path.is_dir():
        return StoreError(
            f"the registry {str(path)!r} is a folder", cure="name a file as registry: in feature_store.yaml"
        )
    if not os.access(path, os.R_OK):
        return StoreError(f"the registry {str(path)!r} may not be read", cure="give this user read access to it")
    return read_only(path)


def _damage(error: Exception, path: Path) -> str:
    return "it is not a SQLite file" if _is_foreign(path) else str(error)


def _foreign_cure(path: Path) -> str:
    if not _is_foreign(path):
        return ""
    return "if it is Feast's registry, move it away and apply the repo: Likewise makes its own; else put a backup back"


def _is_foreign(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) != b"SQLite format 3\0"
    except OSError:
        return False


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 1 << 16
