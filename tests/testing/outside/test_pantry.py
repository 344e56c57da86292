"""Pantry keeps the contract of online stores: all that its authors write to prove it."""

import functools
import sqlite3
from contextlib import closing
from pathlib import Path

from pantry import FIND, PUT, PantryStore

from likewise.online.base import OnlineStore
from likewise.testing.online_suite import OnlineStoreSuite, Opener


class TestPantryStore(OnlineStoreSuite):
    def opener(self, folder: Path) -> Opener:
        """Open a file of its own."""
        return functools.partial(PantryStore, folder / "pantry.db")

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask SQLite."""
        with closing(sqlite3.connect(store.path)) as db:
            found = db.execute(FIND, (table, key)).fetchone()
        return None if found is None else found[0]

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell SQLite."""
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            db.execute(PUT, (table, key, record))
