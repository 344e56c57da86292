"""SqlRegistry passes the suite, on each database that it is for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from likewise.registry.base import Registry
from likewise.registry.sql import SqlRegistry
from likewise.testing.registry_suite import Opener, RegistrySuite

GET = text("SELECT body FROM likewise_definitions WHERE hash = :digest")
PUT = text("UPDATE likewise_definitions SET body = :text WHERE hash = :digest")


class SqlSuite(RegistrySuite):
    """What the three share: raw state is read and written by SQL text, on a connection of its own."""

    share = 0.06

    def raw_get(self, registry: Registry, digest: str) -> bytes | None:
        """Ask the database."""
        with self.connected() as connection:
            found = connection.execute(GET, {"digest": bytes.fromhex(digest)}).fetchone()
        return bytes(found[0]) if found else None

    def raw_put(self, registry: Registry, digest: str, text: bytes) -> None:
        """Tell the database."""
        with self.connected() as connection:
            connection.execute(PUT, {"digest": bytes.fromhex(digest), "text": text})

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Connect to the database of the last opener."""
        engine = create_engine(
            self.url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
        )
        with engine.begin() as connection:
            yield connection
        engine.dispose()


class TestPostgresRegistry(SqlSuite):
    backend = "sql, postgresql://"
    runs_on = "PostgreSQL 16.2 ({pgserver})"

    @pytest.fixture(autouse=True)
    def _use(self, new_url) -> None:
        self.new_url = new_url

    def opener(self, folder: Path) -> Opener:
        """Open a registry in a schema of its own."""
        self.url = self.new_url()
        return partial(SqlRegistry, self.url, seconds=30.0)


class TestMySQLRegistry(SqlSuite):
    backend = "sql, mysql://"
    runs_on = "MariaDB 10.11 (Debian's)"
    written_for = ("MySQL 8",)
    processes = False
    share = 0.03

    @pytest.fixture(autouse=True)
    def _use(self, new_mysql_url) -> None:
        self.new_url = new_mysql_url

    def opener(self, folder: Path) -> Opener:
        """Open a registry in a database of its own."""
        self.url = self.new_url()
        return partial(SqlRegistry, self.url, seconds=30.0)


class TestSqliteRegistry(SqlSuite):
    backend = "sql, sqlite://"
    runs_on = "SQLite in Python"
    processes = False
    share = 0.03

    def opener(self, folder: Path) -> Opener:
        """Open a registry in a file of its own."""
        self.url = f"sqlite:///{folder}/registry.db"
        return partial(SqlRegistry, self.url, seconds=30.0)
