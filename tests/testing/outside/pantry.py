"""Pantry: an online store in one SQLite file, as a package of somebody else's may have it. Small, slow, and real."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.rows import STAMP

SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (name TEXT, key BLOB, record BLOB, PRIMARY KEY (name, key)) WITHOUT ROWID;
"""
FIND = "SELECT record FROM records WHERE name = ? AND key = ?"
PUT = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
PAGE = "SELECT key, record FROM records WHERE name = ? AND key > ? ORDER BY key LIMIT ?"


class PantryStore(OnlineStore):
    """Each call has a connection of its own, so threads, forks and other processes need no more care."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.connected() as db:
            db.executescript(SCHEMA)

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        with self.step("IMMEDIATE") as db:
            db.executemany("INSERT OR IGNORE INTO tables VALUES (?)", [(name,) for name in tables])

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold."""
        with self.step("IMMEDIATE") as db:
            for kept in ("tables", "records"):
                db.executemany(f"DELETE FROM {kept} WHERE name = ?", [(name,) for name in tables])

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one atomic step."""
        keys, records = settled(keys, records)
        with self.step("IMMEDIATE", table) as db:
            held = [self.find(db, table, key) for key in keys]
            new = [
                (table, key, record)
                for key, record, old in zip(keys, records, held, strict=True)
                if old is None or record[STAMP] >= old[STAMP]
            ]
            db.executemany(PUT, new)
        return len(new)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one atomic step."""
        lost = []
        ordered = in_key_order(keys, expected, records)
        with self.step("IMMEDIATE", table) as db:
            for key, position, wanted, record in ordered:
                if self.find(db, table, key) == wanted:
                    db.execute(PUT, (table, key, record))
                else:
                    lost.append(position)
        return sorted(lost)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment."""
        with self.step("DEFERRED", *[table for table, _ in requests]) as db:
            return [[self.find(db, table, key) for key in keys] for table, keys in requests]

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""
        with self.step("DEFERRED", table) as db:
            return db.execute(PAGE, (table, after or b"", limit)).fetchall()

    def close(self) -> None:
        """Let nobody use it any more."""
        self.closed = True

    @contextlib.contextmanager
    def step(self, kind: str, *tables: str) -> Iterator[sqlite3.Connection]:
        """Open a transaction in which these tables are there."""
        if self.closed:
            raise StoreClosed(str(self.path))
        with self.connected() as db:
            db.execute(f"BEGIN {kind}")
            for table in tables:
                if db.execute("SELECT 1 FROM tables WHERE name = ?", (table,)).fetchone() is None:
                    raise TableMissing(table, str(self.path))
            yield db
            db.execute("COMMIT")

    def find(self, db: sqlite3.Connection, table: str, key: bytes) -> bytes | None:
        """Return a record."""
        found = db.execute(FIND, (table, key)).fetchone()
        return None if found is None else found[0]

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Open the file; what is not committed when this ends is undone."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")  # a power cut may cost the file: it can be rebuilt
            yield db


class Settings:
    """What the ``online_store`` block says: whatever stands there beside ``type``, as it stands there."""

    options: Mapping[str, object]


def open_store(config: Settings, root: str) -> PantryStore:
    """Return the store that a configuration names: the function behind the entry point."""
    return PantryStore(Path(root, str(config.options.get("file", "data/pantry.db"))))
