"""LMDB: the default online store, a folder with one memory-mapped file that any number of processes may open.

The file is one LMDB database. A key in it is four bytes that name the table, then the entity key; the value is the
record::

    0000 0001                                    number of the table, check sum
    0000 0001 + entity key                       record
    8000 0001                                    the same again
    8000 0001 + its first 475 bytes + BLAKE2b    record, entity key, its length    (entity keys over 507 bytes)
    0000 0000 + "changes"                        counts creates and drops, so that readers notice them
    0000 0000 + "dropped" + number               a dropped table whose records are not all removed yet
    0000 0000 + "format"                         format of the file, check sum, the version of Likewise it needs
    0000 0000 + "next"                           number of the next table, check sum; no number is used twice
    0000 0000 + "table" + hash of its name       number, check sum, name

An entry without an entity key begins each range, so that a record whose table number is damaged stands out of order.
Readers never wait, and a read is one transaction. Writers wait for one another, for a bounded time, and a batch is one
transaction: after a kill at any moment it is there or it is not. By default a commit leaves the last few bytes of a
write to the operating system (LMDB's ``metasync=False``): a power cut can undo the last write, but cannot damage or mix
any; ``durable=True`` waits for them too.

Damage is found where it matters: each record has its check sum, small files are checked whole when they are opened,
larger ones by :meth:`LmdbStore.check`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import heapq
import os
import shutil
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, dropwhile, groupby, islice, repeat
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

import lmdb

from likewise.core.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew, StoreUnavailable
from likewise.online.allowance import is_bounded, refuse_large, sized
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.file_store import NO_SPACE, WriterLock, looks_full, megabytes, named_os_error, no_space
from likewise.registry.database import place

FORMAT = 1
"""The format of the file that this version writes, and the newest it reads."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""
DEFAULT_PATH = "data/online.lmdb"
"""Where a repo keeps its store, unless its configuration says otherwise."""

_LONGEST = 507
"""The longest entity key that fits a key of LMDB, which has 511 bytes, behind four bytes for the table."""
_CUT = 475
"""How much of a longer one is kept before its hash, for the order of keys."""
_LONG = 1 << 31
"""Marks the tables' ranges for longer keys."""
_SLICE = 256
"""How many keys are read at a time, which takes a quarter of a millisecond."""
_LEAST = b"\0"
"""The first of all entity keys, which are not empty."""
_META = b"\0\0\0\0"
_FORMAT_KEY = _META + b"format"
_NEXT_KEY = _META + b"next"
_CHANGES_KEY = _META + b"changes"
_TABLE_KEY = _META + b"table"
_DROPPED_KEY = _META + b"dropped"
_NUMBER = struct.Struct(">I")
_READERS = 1022
"""How many threads of all processes may read at the same moment; their slots take 64 KiB."""
_META_AT = 16
"""Where LMDB's description of the file stands in its first two pages."""
_DATA, _LOCK, _WRITER, _NEW = "data.mdb", "lock.mdb", "writer.lock", ".new"

if TYPE_CHECKING:
    Txn = lmdb.Transaction[bytes]
Pair = tuple[bytes, bytes]


class LmdbSettings(Protocol):
    """What a configuration says about this store."""

    @property
    def path(self) -> str:
        """The folder, relative to the repo; empty for the default."""

    @property
    def map_size(self) -> int:
        """The largest size the file may grow to, in bytes."""

    @property
    def durable(self) -> bool:
        """Whether every write waits for the disk."""

    @property
    def check_on_open(self) -> bool:
        """Whether the records of a small store are checked when it is opened."""


class LmdbStore(OnlineStore):
    """An online store in a folder of the local disk, made when it is not there.

    Every store that a process opens on one folder uses the same LMDB environment; the first one's settings count. A
    store may be used in forked processes.

    Args:
        folder: the folder; not on a network file system.
        map_size: the largest size that the file may grow to, in bytes. Disk is used as it fills.
        durable: whether every write waits for the disk in full.
        wait: for how long a write waits for other writers, in seconds.
        check_below: a file up to this many bytes is checked whole when a process opens it (about 25 ms per MB).
        check_records: whether the records are; without it only the file's structure is, so that they can be mended.

    Raises:
        StoreCorrupt: the folder holds something else, or a damaged store.
        StoreTooNew: the store was written by a newer version of Likewise.
        StoreFull: there is no space to make it.

    Example:
        >>> with LmdbStore("online.lmdb") as store:
        ...     store.create(["shop/cards"])
        ...     store.read([("shop/cards", [b"key"])])
        [[None]]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        map_size: int = 64 << 30,
        durable: bool = False,
        wait: float = 30.0,
        check_below: int = 16 << 20,
        check_records: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._wait = wait
        self._environment: _Environment | None = None
        with _GUARD:
            found = _shared(self.folder)
            self._environment = found or _Environment(self.folder.resolve(), map_size, durable, wait)
            if not found:
                self._environment.prepare(check_below)
                _OPEN[str(self._environment.folder)] = self._environment
            self._environment.users += 1
        try:
            self._check_format(self._environment, check_below if check_records and not found else None)
        except BaseException:
            self.close()
            raise

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        with self._reading() as txn:
            known = self._tables(txn)
        if not set(tables) <= known.keys():
            with self._writing(len(tables) * 200) as txn:
                self._finish_drops(txn)
                _add_tables(txn, tables, self.folder)

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold; the names are gone at once, the records step by step."""
        with self._writing(0) as txn:
            _mark_dropped(txn, tables, self.folder)
        more = True
        while more:
            with self._writing(0) as txn:
                more = self._finish_drops(txn)

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one transaction."""
        keys, records = settled(keys, records)
        ordered = sorted(zip(keys, records, strict=True))
        size = sum(map(len, records)) + sum(map(len, keys))
        with self._writing(size) as txn:
            number = self._number(txn, table)
            short = _NUMBER.pack(number)
            if not keys or max(map(len, keys)) <= _LONGEST:
                return _put_newer(txn, ((short + key, record) for key, record in ordered))
            return _put_newer(txn, (_stored(number, key, record) for key, record in ordered))

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one transaction."""
        ordered = in_key_order(keys, expected, records)
        with self._writing(sum(map(len, records)) + sum(map(len, keys))) as txn:
            number = self._number(txn, table)
            return sorted(
                position
                for key, position, wanted, record in ordered
                if not _put_instead(txn, number, key, wanted, record)
            )

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        environment = self._live()
        env = environment.enter()
        try:
            with env.begin() as txn:
                numbers = environment.tables(txn)
                return [_get(txn, self._find(numbers, table), keys) for table, keys in requests]
        except lmdb.Error as error:
            raise environment.named(error, 0) from error
        finally:
            environment.leave()

    def look(self, requests: Sequence[Request]) -> None:
        """Read, from the file that lies in the folder now."""
        self._live().check_there()
        self.read(requests)

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""
        with self._reading() as txn:
            rows = _in_order(txn, self._number(txn, table), after or b"", self.folder)
            return list(islice(dropwhile(lambda row: row[0] <= after, rows) if after else rows, limit))

    def check(self, tables: Sequence[str]) -> None:
        """Check the structure of the file, then every record of some tables."""
        environment = self._live()
        with environment.writer.held(self._wait):
            environment.check_structure()
        with self._reading() as txn:
            _check_ranges(txn, self.folder)
        super().check(tables)

    def close(self) -> None:
        """Let go of the files, unless another store of this process uses them."""
        environment, self._environment = self._environment, None
        if environment is not None:
            with _GUARD:
                environment.users -= 1
                if environment.users == 0:
                    environment.shut()
                    if _OPEN.get(str(environment.folder)) is environment:
                        del _OPEN[str(environment.folder)]

    def _live(self) -> _Environment:
        if self._environment is None:
            raise StoreClosed(str(self.folder))
        return self._environment

    def _tables(self, txn: Txn) -> dict[str, int]:
        return self._live().tables(txn)

    def _number(self, txn: Txn, table: str) -> int:
        return self._find(self._tables(txn), table)

    def _find(self, numbers: dict[str, int], table: str) -> int:
        try:
            return numbers[table]
        except KeyError:
            raise TableMissing(table, str(self.folder)) from None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Txn]:
        environment = self._live()
        env = environment.enter()
        try:
            with env.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise environment.named(error, 0) from error
        finally:
            environment.leave()

    @contextlib.contextmanager
    def _writing(self, size: int) -> Iterator[Txn]:
        environment = self._live()
        with environment.writer.held(self._wait):
            env, panicked = environment.enter(), False
            try:
                environment.check_there()
                env.reader_check()  # a reader that was killed would keep old pages from being used again
                with env.begin(write=True) as txn:
                    yield txn
            except lmdb.Error as error:
                panicked = isinstance(error, lmdb.PanicError)
                raise environment.named(error, size) from error
            finally:
                environment.leave()
                if panicked:
                    environment.renew()

    def _check_format(self, environment: _Environment, check_below: int | None) -> None:
        with self._reading() as txn:
            _check_format(txn, self.folder)
            if check_below is None or environment.size() > check_below:
                return
            _check_ranges(txn, self.folder)
            tables = list(self._tables(txn))
        super().check(tables)

    def _finish_drops(self, txn: Txn) -> bool:
        """Remove some records of dropped tables; whether there may be more."""
        budget = 100_000
        for number in list(_dropped(txn, self.folder)):
            for prefix in (_NUMBER.pack(number), _NUMBER.pack(number | _LONG)):
                budget -= _remove(txn, prefix, budget)
            if budget <= 0:
                return True
            txn.delete(_DROPPED_KEY + _NUMBER.pack(number))
        return False


def open_store(config: LmdbSettings, root: str) -> LmdbStore:
    """Return the store in the folder that a configuration names.

    Args:
        config: has the folder and the settings.
        root: the repo's folder.
    """
    return LmdbStore(
        Path(root) / (config.path or DEFAULT_PATH),
        map_size=config.map_size,
        durable=config.durable,
        check_records=config.check_on_open,
    )


class _Environment:
    """The LMDB environment of one folder in this process, which all stores on the folder use (LMDB allows one).

    It is closed before a fork and opened again by its next use, on both sides: LMDB's locks do not survive one.
    """

    def __init__(self, folder: Path, map_size: int, durable: bool, wait: float) -> None:
        self.folder = folder
        self.users = 0
        self.identity: tuple[int, int] | None = None
        self.writer = WriterLock(folder / _WRITER)
        self._map_size = map_size
        self._durable = durable
        self._wait = wait
        self._env: lmdb.Environment | None = None
        self._opening = threading.Lock()
        # One item for each thread that is using the environment: appending and popping are atomic, and cheap.
        self._inside: list[None] = []
        self._tables: tuple[bytes | None, dict[str, int]] = (None, {})

    def enter(self) -> lmdb.Environment:
        """Return the open environment; it stays open until :meth:`leave`. Hot."""
        self._inside.append(None)
        env = self._env
        return self._enter_slowly() if env is None else env

    def leave(self) -> None:
        """Say that the environment is not used any more by what had entered."""
        self._inside.pop()

    def tables(self, txn: Txn) -> dict[str, int]:
        """Return the number of each table, as a transaction sees them."""
        changes = txn.get(_CHANGES_KEY)
        known, numbers = self._tables
        if changes != known:
            numbers = dict(_read_tables(txn, self.folder))
            self._tables = (changes, numbers)
        return numbers

    def prepare(self, check_below: int) -> None:
        """Make the store if it is not there, and check a small one before LMDB looks at it."""
        data = self.folder / _DATA
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            there = data.exists()
            if not self.writer.acquire(0 if there else self._wait):
                if there:  # somebody is writing, and has checked it
                    self.identity = _identity(data)
                    return
                raise StoreUnavailable(f"another process is making {self.folder}", cure="try again")
            try:
                if not data.exists():
                    self._make()
                self._reserve_lock_file()
                self._check_file(check_below)
            finally:
                self.writer.release()
            self.identity = _identity(data)
        except OSError as error:
            raise named_os_error(error, self.folder, "opened") from error
        except lmdb.Error as error:
            raise self.named(error, 65_536) from error

    def check_there(self) -> None:
        """Look whether the open file still is the one in the folder: who removed it would never see what is written.

        Raises:
            StoreError: it is not.
        """
        if _identity(self.folder / _DATA) != self.identity:
            raise StoreError(
                f"the online store {self.folder} was removed, or put back, while it was in use",
                cure="start this process again; it then uses what lies there, or makes a new one",
            )

    def check_structure(self) -> None:
        """Look at every page of the file without LMDB, which trusts what it reads. Nobody may be writing.

        Raises:
            StoreCorrupt: something does not fit.
        """
        from lmdb import verify

        try:
            problems: list[str] = verify.verify(str(self.folder / _DATA))  # type: ignore[no-untyped-call]
        except (verify.VerifyError, struct.error, IndexError, ValueError, OverflowError) as error:
            problems = [str(error)]
        if problems:
            raise _corrupt(self.folder, "; ".join(problems[:3]))

    def size(self) -> int:
        """Return how many bytes the file has."""
        return (self.folder / _DATA).stat().st_size

    def shut(self) -> None:
        """Close the files, once nobody is inside."""
        self.writer.pause()
        self.renew()
        self.writer.resume()

    def renew(self) -> None:
        """Close LMDB's environment, once nobody is inside; its next use opens it again."""
        with self._opening:
            self._close_env()

    def hold_for_fork(self) -> None:
        """Close the files and keep everybody out until :meth:`go_on`."""
        self.writer.pause()
        self._opening.acquire()
        self._close_env()

    def go_on(self) -> None:
        """Let everybody in again, after a fork, in either process."""
        self._opening.release()
        self.writer.resume()

    def named(self, error: lmdb.Error, size: int) -> StoreError:
        """Return the error that says what happened, where, and what to do.

        Args:
            error: what LMDB said.
            size: how many bytes were to be written; 0 for a read.
        """
        text = str(error)
        match error:
            case lmdb.MapFullError():
                return StoreFull(
                    f"{self.folder} has reached its map_size, {megabytes(self._map_size)}, with {megabytes(size)} to "
                    "write; nothing was written, and reads go on",
                    cure="raise online_store.map_size in feature_store.yaml, then start again",
                )
            case lmdb.ReadersFullError():
                return StoreUnavailable(
                    f"{_READERS} threads read {self.folder} at this moment",
                    cure="try again, or read from fewer threads",
                )
            case lmdb.MapResizedError():
                return StoreUnavailable(
                    f"another process opened {self.folder} with a larger map_size than {megabytes(self._map_size)}",
                    cure="give all of them the same online_store.map_size",
                )
            case lmdb.MemoryError():
                return StoreError(
                    f"{self.folder} cannot be mapped into memory with map_size {megabytes(self._map_size)}: {text}",
                    cure="lower online_store.map_size, or raise the limit of address space (ulimit -v)",
                )
        if error.code in NO_SPACE or (error.code == errno.EIO and looks_full(self.folder / _DATA, size)):
            return no_space(self.folder, size, os.strerror(errno.ENOSPC))
        if isinstance(error, _DAMAGE):
            return _corrupt(self.folder, text)
        return StoreError(
            f"the online store {self.folder} cannot be used: {text}",
            cure="check that it lies on a local disk, and that this user may write to the folder",
        )

    def _enter_slowly(self) -> lmdb.Environment:
        self._inside.pop()
        with self._opening:
            if self._env is None:
                self._env = self._open()
            self._inside.append(None)
            return self._env

    def _open(self) -> lmdb.Environment:
        data = self.folder / _DATA
        if not data.exists():
            raise StoreError(f"the online store {self.folder} was removed", cure="open it again, which makes a new one")
        env = lmdb.open(
            str(self.folder),
            map_size=self._map_size,
            metasync=self._durable,
            max_readers=_READERS,
            max_spare_txns=1,
            create=False,
        )
        self.identity = _identity(data)
        self._tables = (None, {})
        env.reader_check()
        return env

    def _close_env(self) -> None:
        """Close LMDB's environment; ``_opening`` is held, so that nobody comes in."""
        env, self._env = self._env, None
        while self._inside:
            time.sleep(0.0002)
        if env is not None:
            env.close()

    def _make(self) -> None:
        """Make the file beside its place and move it there whole, so that no half-made one is ever seen."""
        for left in self.folder.glob(_NEW + "*"):
            shutil.rmtree(left, ignore_errors=True)
        new = self.folder / f"{_NEW}-{os.getpid()}"
        try:
            with lmdb.open(str(new), map_size=1 << 20, lock=False) as env, env.begin(write=True) as txn:
                txn.put(_FORMAT_KEY, _sealed(FORMAT, NEEDS.encode()))
            place(new / _DATA, self.folder / _DATA)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _reserve_lock_file(self) -> None:
        """Give the lock file its space now: LMDB maps it, and a full disk would end the process on first use."""
        lock = self.folder / _LOCK
        if not lock.exists():
            lock.write_bytes(bytes(64 * (_READERS + 2)))

    def _check_file(self, check_below: int) -> None:
        size = self.size()
        if size == 0:
            raise _corrupt(self.folder, f"{_DATA} is empty")
        if size <= check_below or size < _expected_size(self.folder / _DATA):
            self.check_structure()


_GUARD = threading.Lock()
_OPEN: dict[str, _Environment] = {}
"""The environments of this process, by resolved folder; LMDB must not open one twice."""
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
    lmdb.IncompatibleError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.BadChecksumError,
)


def _before_fork() -> None:
    _GUARD.acquire()
    for environment in _OPEN.values():
        environment.hold_for_fork()


def _after_fork() -> None:
    for environment in _OPEN.values():
        environment.go_on()
    _GUARD.release()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _shared(folder: Path) -> _Environment | None:
    """Return the environment that this process has open on a folder; not one on files that were since removed."""
    found = _OPEN.get(str(folder.resolve()))
    same = found is not None and found.identity is not None and found.identity == _identity(found.folder / _DATA)
    return found if same else None


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _expected_size(file: Path) -> int:
    """Return how large the file's newer meta page says it is. A whole file may be shorter, but seldom is."""
    size = _META_AT + 136
    with file.open("rb") as opened:
        first = opened.read(size)
        page = struct.unpack_from("@I", first.ljust(size), _META_AT + 24)[0]
        opened.seek(min(page, 1 << 16))
        second = opened.read(size)
    ends = [struct.unpack_from("@QQ", meta, size - 16) for meta in (first, second) if len(meta) == size]
    last, _ = max(ends, key=lambda end: end[1], default=(sys.maxsize, 0))
    return int((last + 1) * page)


def _corrupt(folder: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the online store {folder} is damaged: {what}",
        cure="remove the folder and materialize again: all it holds is in the offline sources",
    )


# ---- Tables --------------------------------------------------------------------------------------------------------


def _check_format(txn: Txn, folder: Path) -> None:
    entry = txn.get(_FORMAT_KEY)
    if entry is None:
        raise _corrupt(folder, f"{_DATA} is not an online store of Likewise, or its first page is lost")
    number, needs = _unsealed(entry, folder)
    if number > FORMAT:
        raise StoreTooNew(
            f"the online store {folder} has format {number}, and this version of Likewise reads {FORMAT}",
            cure=f"install Likewise >= {needs.decode()}, or remove the folder and materialize again",
        )


def _check_ranges(txn: Txn, folder: Path) -> None:
    """Check that every entry and every record belongs to something: a wrong bit in a key shows in that."""
    known = set(dict(_read_tables(txn, folder)).values()) | set(_dropped(txn, folder))
    for tail, _ in _walk(txn, _META):
        key = _META + tail
        known_kind = key.startswith((_CHANGES_KEY, _DROPPED_KEY, _FORMAT_KEY, _NEXT_KEY, _TABLE_KEY))
        if not known_kind or txn.get(key) is None:
            raise _corrupt(folder, f"it has an entry {tail[:40]!r}")
    wanted = {number | long for number in known for long in (0, _LONG)}
    with txn.cursor() as cursor:
        found = cursor.set_range(_NUMBER.pack(1))
        while found:
            number, _ = _unsealed(cursor.value(), folder)
            if cursor.key() != _NUMBER.pack(number) or number not in wanted:
                raise _corrupt(folder, f"it has records of a table {number & ~_LONG}, which is not there")
            wanted.remove(number)
            found = cursor.set_range(_NUMBER.pack(number + 1))
    if missing := wanted - {number | long for number in _dropped(txn, folder) for long in (0, _LONG)}:
        raise _corrupt(folder, f"it has lost the records of table {min(missing) & ~_LONG}")


def _read_tables(txn: Txn, folder: Path) -> Iterator[tuple[str, int]]:
    for tail, entry in _walk(txn, _TABLE_KEY):
        number, name = _unsealed(entry, folder)
        if tail != _table_tail(name):
            raise _corrupt(folder, f"the entry of table {name!r} stands under another name")
        yield name.decode(), number


def _dropped(txn: Txn, folder: Path) -> Iterator[int]:
    for tail, entry in _walk(txn, _DROPPED_KEY):
        number, _ = _unsealed(entry, folder)
        if tail != _NUMBER.pack(number):
            raise _corrupt(folder, f"the entry of dropped table {number} stands under another number")
        yield number


def _add_tables(txn: Txn, tables: Iterable[str], folder: Path) -> None:
    number, _ = _unsealed(txn.get(_NEXT_KEY, _sealed(1)), folder)
    for table in tables:
        name = table.encode()
        if txn.put(_TABLE_KEY + _table_tail(name), _sealed(number, name), overwrite=False):
            for begin in (number, number | _LONG):
                txn.put(_NUMBER.pack(begin), _sealed(begin))
            number += 1
    if number >= _LONG - 1:
        raise StoreError(f"{folder} has had {number} tables, which is all it can name", cure="remove the folder")
    txn.put(_NEXT_KEY, _sealed(number))
    _count_change(txn)


def _mark_dropped(txn: Txn, tables: Iterable[str], folder: Path) -> None:
    for table in tables:
        entry = txn.pop(_TABLE_KEY + _table_tail(table.encode()))
        if entry is not None:
            number, _ = _unsealed(entry, folder)
            txn.put(_DROPPED_KEY + _NUMBER.pack(number), _sealed(number))
    _count_change(txn)


def _count_change(txn: Txn) -> None:
    count = int.from_bytes(txn.get(_CHANGES_KEY, b""), "big")
    txn.put(_CHANGES_KEY, (count + 1).to_bytes(8, "big"))


def _table_tail(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=16).digest()


def _sealed(number: int, text: bytes = b"") -> bytes:
    packed = _NUMBER.pack(number)
    return packed + _NUMBER.pack(crc32(text, crc32(packed))) + text


def _unsealed(entry: bytes, folder: Path) -> tuple[int, bytes]:
    packed, text = entry[:4], entry[8:]
    if entry != _sealed(int.from_bytes(packed, "big"), text):
        raise _corrupt(folder, f"the entry {entry[:40].hex()} fails its check sum")
    return _NUMBER.unpack(packed)[0], text


# ---- Records -------------------------------------------------------------------------------------------------------


def _get(txn: Txn, number: int, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return the record of each key; hot, so without a line of Python for each, and other threads go on in between."""
    found: list[bytes | None] = []
    prefix = repeat(_NUMBER.pack(number))
    bounded, size = is_bounded(), 0
    for start in range(0, len(keys), _SLICE):
        found += map(txn.get, map(add, prefix, keys[start : start + _SLICE]))
        if bounded:
            size += sized(found[start:])
            refuse_large(size)
    if not all(found):  # no record is empty; "None in found" would compare each of them
        for row, key in enumerate(keys):
            if len(key) > _LONGEST:
                found[row] = _get_long(txn, number, key)
    return found


def _get_long(txn: Txn, number: int, key: bytes) -> bytes | None:
    value = txn.get(_NUMBER.pack(number | _LONG) + _tail(key))
    if value is None:
        return None
    held, record = _split(value)
    return record if held == key else None


def _put_newer(txn: Txn, pairs: Iterable[Pair]) -> int:
    """Write each pair unless a newer record is there; hot. Stamps are bytes 9 to 26 of a record."""
    applied = 0
    with txn.cursor() as cursor:
        put, held = cursor.put, cursor.value
        for key, value in pairs:
            if put(key, value, True, False):
                applied += 1
            elif value[9:27] >= held()[9:27]:
                put(key, value)
                applied += 1
    return applied


def _put_instead(txn: Txn, number: int, key: bytes, wanted: bytes | None, record: bytes) -> bool:
    """Write a record if the stored one is the one wanted; whether it was."""
    name, value = _stored(number, key, record)
    if txn.get(name) != (None if wanted is None else _stored(number, key, wanted)[1]):
        return False
    txn.put(name, value)
    return True


def _stored(number: int, key: bytes, record: bytes) -> Pair:
    if len(key) <= _LONGEST:
        return _NUMBER.pack(number) + key, record
    return _NUMBER.pack(number | _LONG) + _tail(key), record + key + _NUMBER.pack(len(key))


def _tail(key: bytes) -> bytes:
    """Return what stands behind the four bytes of the table."""
    return key if len(key) <= _LONGEST else key[:_CUT] + hashlib.blake2b(key, digest_size=32).digest()


def _split(value: bytes) -> Pair:
    """Return (entity key, record) from the value of a longer key."""
    size = int.from_bytes(value[-4:], "big")
    return value[-4 - size : -4], value[: -4 - size]


def _in_order(txn: Txn, number: int, start: bytes, folder: Path) -> Iterator[Pair]:
    """Yield (entity key, record) in the order of the keys, from ``start`` or a little before."""
    short, long = _NUMBER.pack(number), _NUMBER.pack(number | _LONG)
    if next(_walk(txn, long, _LEAST), None) is None:
        return _walk(txn, short, start or _LEAST)
    # Both ranges are in the order of the first 475 bytes; what shares those is put in order here.
    begin = start[:_CUT] or _LEAST
    whole = (_joined(tail, value, folder) for tail, value in _walk(txn, long, begin))
    both = heapq.merge(_walk(txn, short, begin), whole, key=_first_part)
    return chain.from_iterable(sorted(alike) for _, alike in groupby(both, key=_first_part))


def _first_part(row: Pair) -> bytes:
    return row[0][:_CUT]


def _joined(tail: bytes, value: bytes, folder: Path) -> Pair:
    key, record = _split(value)
    if _tail(key) != tail:
        raise _corrupt(folder, f"the key that begins with {tail[:40].hex()} is not the one beside its record")
    return key, record


def _walk(txn: Txn, prefix: bytes, start: bytes = b"") -> Iterator[Pair]:
    """Yield (rest of key, value) of all keys that begin with a prefix, in order, from ``start`` on."""
    size = len(prefix)
    with txn.cursor() as cursor:
        if cursor.set_range(prefix + start):
            for key, value in cursor:
                if key[:size] != prefix:
                    return
                yield key[size:], value


def _remove(txn: Txn, prefix: bytes, most: int) -> int:
    """Remove at most so many keys that begin with a prefix; return how many."""
    removed = 0
    with txn.cursor() as cursor:
        while removed < most and cursor.set_range(prefix) and cursor.key()[: len(prefix)] == prefix:
            cursor.delete()
            removed += 1
    return removed
