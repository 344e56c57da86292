"""The PostgreSQL store against a real server: what each store promises, and what goes wrong in a database."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from likewise.config import parse_config
from likewise.core.errors import ConfigError, StoreError, StoreUnavailable
from likewise.online.base import OnlineStore
from likewise.online.postgres import PostgresStore, open_store
from likewise.testing.online_suite import CARDS, SHOPS, OnlineStoreSuite, Opener, row
from likewise.testing.postgres_process import PostgresProcess


def open_at(address: str, schema: str = "public", **settings: object) -> PostgresStore:
    """Open a store in a schema, with time to spare: the machine of the tests may be busy."""
    return PostgresStore(address, schema=schema, **{"seconds": 20.0, "write_seconds": 20.0, **settings})


def ask(address: str, text: str, parameters: tuple = ()) -> list[tuple]:
    """Ask the server, around the store."""
    with psycopg.connect(address, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []


class TestPostgresStore(OnlineStoreSuite):
    """The PostgreSQL store keeps the contract of online stores."""

    backend = "postgres"
    runs_on = "PostgreSQL 16.2 ({pgserver})"

    schemas = itertools.count()

    @pytest.fixture(autouse=True)
    def _use(self, postgres_server: PostgresProcess) -> None:
        self.server = postgres_server

    def opener(self, folder: Path) -> Opener:
        """Open a schema of its own, which is not there yet."""
        self.schema = f"schema {next(self.schemas)}"
        return functools.partial(open_at, self.server.address, self.schema)

    def table(self, table: str) -> str:
        """Return the SQL table of an online table."""
        found = ask(
            self.server.address, f'SELECT mark FROM "{self.schema}".likewise_tables WHERE name = %s', (table.encode(),)
        )
        return f'"{self.schema}".lw_{found[0][0]}'

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask PostgreSQL."""
        found = ask(self.server.address, f"SELECT record FROM {self.table(table)} WHERE key = %s", (key,))
        return found[0][0] if found else None

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell PostgreSQL."""
        name = self.table(table)
        ask(self.server.address, f"DELETE FROM {name} WHERE key = %s", (key,))
        ask(self.server.address, f"INSERT INTO {name} VALUES (%s, %s)", (key, record))


@pytest.fixture(name="guarded")
def _guarded(postgres_server: PostgresProcess) -> Iterator[str]:
    """Make a user who has to give a password; give the address without it."""
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    ask(postgres_server.address, "CREATE USER guarded SUPERUSER PASSWORD 's3cr3t-right'")
    rules.write_text("local all guarded scram-sha-256\n" + before)
    ask(postgres_server.address, "SELECT pg_reload_conf()")
    yield postgres_server.address.replace("user=postgres", "user=guarded")
    rules.write_text(before)
    ask(postgres_server.address, "DROP USER guarded")


def test_a_login_that_is_refused_is_terminal(guarded):
    """A wrong password, none, or a database that is not there, says so, is terminal, and shows no secret (T37)."""
    right = f"{guarded} password=s3cr3t-right"
    for wrong in (f"{guarded} password=s3cr3t-wrong", guarded, right.replace("dbname=postgres", "dbname=nowhere")):
        with open_at(wrong) as store, pytest.raises(StoreError, match="refuses the login") as caught:
            store.create([CARDS])
        assert not caught.value.transient
        assert "s3cr3t" not in f"{caught.value!r} {caught.value} {store!r}"
    with open_at(right) as store:
        store.read([])
    with open_at(f"{right} sslmode=require host=127.0.0.1 port=1") as store, pytest.raises(StoreUnavailable):
        store.read([(CARDS, [b"a"])])


def test_a_configuration_opens_it(postgres_server, tmp_path, monkeypatch):
    """Feast's keys open a store, the password by reference; what it says cannot be is named."""
    monkeypatch.setenv("SECRET_OF_TEST", "x")
    (tmp_path / "root.pem").write_text("")
    text = f"""
project: demo
online_store:
  type: postgres
  host: {postgres_server.host}
  port: 5432
  user: postgres
  password: env:SECRET_OF_TEST
  db_schema: 'it"s; DROP TABLE x; --'
  sslmode: prefer
  sslrootcert_path: root.pem
  min_conn: 1
  max_conn: 3
  conn_type: pool
  keepalives_idle: 30
  timeout_seconds: 20
"""
    with open_store(parse_config(text).online_store, str(tmp_path)) as store:
        store.create([CARDS])
        assert store.write(CARDS, [b"a"], [row(b"a", 1)]) == 1
        assert store.read([(CARDS, [b"a"])]) == [[row(b"a", 1)]]
    for said in ("port: 0", "sslmode: maybe", "hots: x"):
        with pytest.raises(ConfigError, match=said.partition(":")[0]):
            parse_config(f"project: demo\nonline_store: {{type: postgres, {said}}}")


def test_a_read_of_many_tables_is_one_statement(postgres_server):
    """All tables of a request are read by one statement, prepared once; small reads find their rows by the key."""
    schema = "one statement"
    with open_at(postgres_server.address, schema) as store, psycopg.connect(postgres_server.address) as watcher:
        tables = [CARDS, SHOPS, "demo/more"]
        store.create(tables)
        for _ in range(3):
            store.read([(table, [b"a", b"b"]) for table in tables])
        seen = "SELECT query FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()"
        [(query,)] = watcher.execute(seen, (f'%"{schema}"%',)).fetchall()
        assert query.count("UNION ALL") == 2
        assert query.count("lw_") == 3
