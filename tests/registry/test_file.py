"""FileRegistry passes the suite."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from likewise.registry.base import Registry
from likewise.registry.file import FileRegistry
from likewise.testing.registry_suite import Opener, RegistrySuite


class TestFileRegistry(RegistrySuite):
    backend = "file"
    runs_on = "SQLite in Python"

    def opener(self, folder: Path) -> Opener:
        """Open a registry of its own for each test."""
        return partial(FileRegistry, folder / "data" / "registry.db")

    def raw_get(self, registry: Registry, digest: str) -> bytes | None:
        """Ask SQLite."""
        with closing(sqlite3.connect(registry.path)) as db:
            found = db.execute("SELECT body FROM definitions WHERE hash = ?", (bytes.fromhex(digest),)).fetchone()
        return found[0] if found else None

    def raw_put(self, registry: Registry, digest: str, text: bytes) -> None:
        """Tell SQLite."""
        with closing(sqlite3.connect(registry.path, isolation_level=None)) as db:
            db.execute("UPDATE definitions SET body = ? WHERE hash = ?", (text, bytes.fromhex(digest)))
