import functools
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from likewise.config import OnlineStoreConfig
from likewise.online import sqlite
from likewise.online.base import OnlineStore
from likewise.online.sqlite import SqliteStore, open_store
from likewise.testing.online_suite import OnlineStoreSuite, Opener


class TestSqliteStore(OnlineStoreSuite):
    """The SQLite store keeps the contract of online stores."""

    backend = "sqlite"
    runs_on = "SQLite in Python"

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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_process_has_connections_of_its_own(tmp_path):
    """A child leaves the connections it inherited alone: SQLite forbids their use, and their closing."""
    with SqliteStore(tmp_path / "online.db") as store:
        store.create(["demo/cards"])
        child = os.fork()
        if child == 0:
            try:
                store.read([("demo/cards", [b"a"])])
            finally:
                os._exit(0 if len(sqlite._inherited) == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert sqlite._inherited == []


def test_the_log_is_emptied_when_the_last_one_closes(tmp_path):
    """A store that was closed is one file, which can be copied."""
    with SqliteStore(tmp_path / "online.db") as store:
        store.create(["demo/cards"])
        assert (tmp_path / "online.db-wal").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["online.db"]


def test_a_configuration_opens_it(tmp_path):
    """The configuration's path is relative to the repo; an empty one means the default."""
    for path, expected in (("", "data/online.db"), ("x.db", "x.db")):
        with open_store(OnlineStoreConfig(type="sqlite", path=path, durable=True), str(tmp_path)) as store:
            assert store.file == tmp_path / expected
            with store._connection() as connection:
                assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
