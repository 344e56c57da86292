import functools
import sqlite3
from contextlib import closing
from pathlib import Path

from likewise.online.base import OnlineStore
from likewise.online.sqlite import SqliteStore
from likewise.testing.online_suite import OnlineStoreSuite, Opener


class TestSqliteStore(OnlineStoreSuite):
    """The SQLite store keeps the contract of online stores."""

    def opener(self, folder: Path) -> Opener:
        """Open a file in the folder."""
        return functools.partial(SqliteStore, folder / "online.db")

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask SQLite."""
        sql = "SELECT record FROM records JOIN tables ON id = table_id WHERE name = ? AND key = ?"
        assert isinstance(store, SqliteStore)
        with closing(sqlite3.connect(store.file)) as connection:
            found = connection.execute(sql, (table, key)).fetchone()
        return None if found is None else bytes(found[0])

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell SQLite."""
        sql = "INSERT OR REPLACE INTO records SELECT id, ?, ? FROM tables WHERE name = ?"
        assert isinstance(store, SqliteStore)
        with closing(sqlite3.connect(store.file)) as connection, connection:
            connection.execute(sql, (key, record, table))
