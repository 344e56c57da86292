"""What goes wrong in and before a database server: the same for PostgreSQL and MySQL, each against a real one."""

import concurrent.futures
import contextlib
import itertools
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pymysql
import pytest

from likewise.core.errors import StoreCorrupt, StoreFull, StoreTooNew, StoreUnavailable
from likewise.online.base import Disconnected, OnlineStore, StoreClosed, TableMissing
from likewise.online.deadline import Deadline
from likewise.online.mysql import MySQLStore
from likewise.online.mysql_server import Address
from likewise.online.postgres import PostgresStore
from likewise.online.sql_store import SqlStore
from likewise.testing.online_suite import CARDS, SHOPS, row
from likewise.testing.proxy import Link, Proxy
from likewise.testing.server_process import ServerProcess

KEYS = [b"%d" % n for n in range(50)]
NUMBERS = itertools.count()
SLACK = 1.0
"""How much later than its deadline a call may end here, in seconds: the machine of the tests may be busy."""
SOAK = bool(os.environ.get("LIKEWISE_SOAK"))


class Database(ABC):
    """A database of its own on a real server, and what one says to it around the store."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.name = f"own {next(NUMBERS)}"

    @abstractmethod
    def open(self, **settings: object) -> SqlStore:
        """Open a store in it."""

    @abstractmethod
    def open_at(self, port: int, **settings: object) -> SqlStore:
        """Open a store in it, through a loopback port."""

    @property
    @abstractmethod
    def socket(self) -> str:
        """The path of the server's socket."""

    @abstractmethod
    def connect(self) -> contextlib.closing:
        """Return a raw connection that commits by itself."""

    @abstractmethod
    def empty(self) -> None:
        """Remove all that it holds."""

    @abstractmethod
    def fill_up(self, table: str) -> None:
        """Let every write to a table find the disk full."""

    @abstractmethod
    def links(self) -> int:
        """Return how many connections of stores the server has."""

    def ask(self, text: str, parameters: tuple = ()) -> list[tuple]:
        """Ask the server."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(text, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def table(self, table: str) -> str:
        """Return the SQL table of an online table."""
        [(mark,)] = self.ask(f"SELECT mark FROM {self.quoted}.likewise_tables WHERE name = %s", (table.encode(),))
        return f"{self.quoted}.lw_{mark if isinstance(mark, str) else mark.decode()}"

    quoted = ""


class PostgresDatabase(Database):
    """A schema of a PostgreSQL server."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(server)
        self.quoted = f'"{self.name}"'

    def open(self, **settings: object) -> SqlStore:
        """Open a store in it."""
        return PostgresStore(self.server.address, schema=self.name, name=f"postgres at {self.name}", **settings)

    def open_at(self, port: int, **settings: object) -> SqlStore:
        """Open a store in it, through a loopback port."""
        address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        return PostgresStore(address, schema=self.name, **settings)

    @property
    def socket(self) -> str:
        """The path of the server's socket."""
        return f"{self.server.host}/.s.PGSQL.5432"

    def connect(self) -> contextlib.closing:
        """Return a raw connection that commits by itself."""
        return contextlib.closing(psycopg.connect(self.server.address, autocommit=True))

    def empty(self) -> None:
        """Remove all that it holds."""
        self.ask(f"DROP SCHEMA {self.quoted} CASCADE")

    def fill_up(self, table: str) -> None:
        """Let every write to a table find the disk full."""
        said = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'"
        self.ask(f"CREATE FUNCTION {self.quoted}.full() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {said}; END$$")
        full = f"{self.quoted}.full()"
        self.ask(f"CREATE TRIGGER is_full BEFORE INSERT ON {self.table(table)} FOR EACH ROW EXECUTE FUNCTION {full}")

    def links(self) -> int:
        """Return how many connections of stores the server has."""
        [(count,)] = self.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s", (f"%{self.name}%lw\\_%",))
        return count


class MySQLDatabase(Database):
    """A database of a MariaDB or MySQL server."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(server)
        self.quoted = f"`{self.name}`"
        self.ask(f"CREATE DATABASE {self.quoted}")
        self.address = Address(server.host, 0, self.name, server.user, "")

    def open(self, **settings: object) -> SqlStore:
        """Open a store in it."""
        return MySQLStore(self.address, **settings)

    def open_at(self, port: int, **settings: object) -> SqlStore:
        """Open a store in it, through a loopback port."""
        return MySQLStore(replace(self.address, host="127.0.0.1", port=port), **settings)

    @property
    def socket(self) -> str:
        """The path of the server's socket."""
        return self.server.host

    def connect(self) -> contextlib.closing:
        """Return a raw connection that commits by itself."""
        raw = pymysql.connect(unix_socket=self.server.host, user=self.server.user, ssl_disabled=True, autocommit=True)
        return contextlib.closing(raw)

    def empty(self) -> None:
        """Remove all that it holds."""
        self.ask(f"DROP DATABASE {self.quoted}")
        self.ask(f"CREATE DATABASE {self.quoted}")

    def fill_up(self, table: str) -> None:
        """Let every write to a table find the disk full."""
        said = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'"
        self.ask(f"CREATE TRIGGER {self.quoted}.full BEFORE INSERT ON {self.table(table)} FOR EACH ROW {said}")

    def links(self) -> int:
        """Return how many connections of stores the server has."""
        [(count,)] = self.ask("SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s", (self.name,))
        return count


KINDS = {"postgres": PostgresDatabase, "mysql": MySQLDatabase}


@pytest.fixture(name="database", params=list(KINDS))
def _database(request) -> Database:
    return KINDS[request.param](request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture(name="store")
def _store(database) -> Iterator[SqlStore]:
    with database.open(seconds=20.0, write_seconds=20.0) as store:
        store.create([CARDS, SHOPS])
        store.write(CARDS, KEYS, rows(1))
        yield store


def rows(event: int) -> list[bytes]:
    """Return a record of each key, of one event time."""
    return [row(key, event) for key in KEYS]


def took(work: Callable[[], object], error: type[Exception], match: str) -> float:
    """Return how long something takes that must fail."""
    began = time.monotonic()
    with pytest.raises(error, match=match) as caught:
        work()
    assert caught.value.transient
    return time.monotonic() - began


# ---- Servers that do not answer


def test_a_frozen_server_is_an_error_in_time(database, store):
    """A server that answers nothing costs a call its deadline, not more; then all is as before (T13)."""
    with database.open(seconds=0.3, write_seconds=0.4) as hasty, database.open(seconds=0.3) as new:
        assert hasty.read([(CARDS, KEYS)]) == [rows(1)]
        database.server.freeze()
        try:
            silent = r"did not answer within 0\.[345]|cannot be reached|connections are in use"
            assert took(lambda: hasty.read([(CARDS, KEYS)]), StoreUnavailable, silent) < 0.3 + SLACK
            assert took(lambda: hasty.write(CARDS, KEYS, rows(2)), StoreUnavailable, silent) < 0.5 + SLACK
            assert took(lambda: hasty.swap(CARDS, KEYS, rows(1), rows(3)), StoreUnavailable, silent) < 0.5 + SLACK
            assert took(lambda: hasty.scan(CARDS), StoreUnavailable, silent) < 0.5 + SLACK
            assert took(lambda: new.read([(CARDS, KEYS)]), StoreUnavailable, silent) < 0.3 + SLACK
        finally:
            database.server.thaw()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(StoreUnavailable):
                assert hasty.read([(CARDS, KEYS)])[0] in (rows(1), rows(2), rows(3))
                return
    raise AssertionError("the store did not recover")


def test_a_caller_s_deadline_counts(database, store):
    """A call never waits beyond the time its caller has left, whatever the store's own limits are (G5)."""
    with database.connect() as other, other.cursor() as cursor:
        lock(cursor, database, CARDS, [b"7"])
        with Deadline(0.3):
            spent = took(lambda: store.write(CARDS, KEYS, rows(2)), StoreUnavailable, r"did not answer within 0\.3")
        assert spent < 0.3 + SLACK
        cursor.execute("ROLLBACK")
    assert store.write(CARDS, KEYS, rows(3)) == 50


def lock(cursor, database: Database, table: str, keys: list[bytes]) -> None:
    """Begin a transaction, and lock some keys in it."""
    key = "`key`" if isinstance(database, MySQLDatabase) else "key"
    cursor.execute("BEGIN")
    cursor.execute(f"SELECT record FROM {database.table(table)} WHERE {key} = %s FOR UPDATE", (keys[0],))
    assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    ("to_client", "to_server"),
    [
        (Link(drop=True), Link()),
        (Link(drop=True), Link(drop=True)),
        (Link(stall=True), Link()),
        (Link(rate=40), Link()),
        (Link(delay=2.0), Link()),
    ],
    ids=["half-open", "a black hole", "stalled", "trickling", "far away"],
)
def test_a_bad_network_has_a_deadline(database, store, to_client, to_server):
    """However a network fails to deliver, a call ends in time; when it delivers again, all is as before (T15)."""
    with Proxy(database.socket) as proxy:
        with database.open_at(proxy.port, seconds=0.4, write_seconds=0.4) as hasty:
            for _ in range(20):
                with contextlib.suppress(StoreUnavailable):  # the machine of the tests may be busy
                    assert hasty.read([(CARDS, KEYS)]) == [rows(1)]
                    break
            proxy.set(to_client=to_client, to_server=to_server)
            late = "did not answer within|cannot be reached"
            assert took(lambda: hasty.read([(CARDS, KEYS)]), StoreUnavailable, late) < 0.4 + SLACK
            assert took(lambda: hasty.write(CARDS, KEYS, rows(1)), StoreUnavailable, late) < 0.4 + SLACK
            proxy.set()
        with database.open_at(proxy.port, seconds=20) as patient:
            assert patient.read([(CARDS, KEYS)]) == [rows(1)]


def test_a_cut_connection_is_an_error_that_trying_again_cures(database, store):
    """A connection that is reset before, or in the middle of, an answer is Disconnected, and the next call is well."""
    with Proxy(database.socket) as proxy, database.open_at(proxy.port, seconds=20, write_seconds=20) as far:
        assert far.read([(CARDS, KEYS)]) == [rows(1)]
        for cut in (Link(reset_after=100), Link(cut_after=300)):
            proxy.set(to_client=cut)
            proxy.reset()
            with pytest.raises(Disconnected):
                far.read([(CARDS, KEYS)])
            proxy.set()
            assert far.read([(CARDS, KEYS)]) == [rows(1)]
        proxy.reset()
        assert far.write(CARDS, KEYS, rows(2)) == 50, "a connection that broke while it lay idle is not used"
    with database.open_at(proxy.port) as nowhere, pytest.raises(Disconnected, match="cannot be reached"):
        nowhere.read([(CARDS, KEYS)])


def test_no_answer_belongs_to_another_request(database, store):
    """While the server stalls again and again, each read that answers has its own keys' records (T16)."""
    done = threading.Event()

    def stall() -> None:
        for _ in range(200 if SOAK else 8):
            database.server.freeze()
            time.sleep(0.1)
            database.server.thaw()
            time.sleep(0.1)
        done.set()

    with database.open(seconds=0.05) as hasty, concurrent.futures.ThreadPoolExecutor(5) as pool:
        stalling = pool.submit(stall)
        answered = list(pool.map(lambda worker: read_own_keys(hasty, worker, done), range(4)))
        stalling.result()
    assert sum(good for good, _ in answered) > 50
    assert sum(bad for _, bad in answered) > 5


def read_own_keys(store: OnlineStore, worker: int, done: threading.Event) -> tuple[int, int]:
    """Read keys one by one; return how many were answered and how many came too late."""
    good = bad = 0
    while not done.is_set():
        key = KEYS[(worker * 13 + good) % 50]
        try:
            assert store.read([(CARDS, [key])]) == [[row(key, 1)]]
            good += 1
        except StoreUnavailable:
            bad += 1
    return good, bad


# ---- Servers that end


def test_a_restarted_server_is_used_again(database, store):
    """After the server was killed and started anew, reads and writes go on, and nothing that was told is lost (T14)."""
    for event in (2, 3):
        database.server.restart()
        assert store.read([(CARDS, KEYS)]) == [rows(event - 1)]
        assert store.write(CARDS, KEYS, rows(event)) == 50


def test_a_database_that_comes_back_empty_is_noticed(database, store):
    """Without its data, tables are missing by name, never empty; made anew, they work (T14)."""
    database.empty()
    for use in (lambda: store.read([(CARDS, KEYS)]), lambda: store.write(CARDS, KEYS, rows(1))):
        with pytest.raises(TableMissing, match=CARDS):
            use()
    store.drop([CARDS])
    store.create([CARDS])
    assert store.read([(CARDS, KEYS)]) == [[None] * 50]
    assert store.write(CARDS, KEYS, rows(1)) == 50


# ---- Others in the way


def test_a_deadlock_is_done_again(database, store):
    """A write that the server undoes for the sake of another one is done again, and all of its rows are there (T17)."""
    store.write(CARDS, [b"a", b"z"], [row(b"a", 1), row(b"z", 1)])
    keys, table = sorted([b"a", *KEYS, b"z"]), database.table(CARDS)
    for event in range(2, 5):
        with concurrent.futures.ThreadPoolExecutor(1) as pool, database.connect() as other, other.cursor() as cursor:
            lock(cursor, database, CARDS, [b"z"])
            writing = pool.submit(store.write, CARDS, keys, [row(key, event) for key in keys])
            time.sleep(0.2)
            key = "`key`" if isinstance(database, MySQLDatabase) else "key"
            with contextlib.suppress(psycopg.Error, pymysql.MySQLError):  # one of the two is undone
                cursor.execute(f"SELECT record FROM {table} WHERE {key} = %s FOR UPDATE", (b"a",))
            cursor.execute("ROLLBACK")
            assert writing.result(30) == 52
        assert store.read([(CARDS, keys)]) == [[row(key, event) for key in keys]]


def test_writers_and_swappers_of_the_same_keys_all_get_through(database, store):
    """Writes and swaps of the same keys at once, some of which are new, all end, and leave the newest (T9, T17)."""

    def swap(worker: int) -> int:
        won = 0
        for turn in range(15):
            keys = [b"%d" % n for n in range(worker, 100, 3)]
            [held] = store.read([(CARDS, keys)])
            new = [row(key, 1_000 + turn) for key in keys]
            won += len(keys) - len(store.swap(CARDS, keys, held, new))
        return won

    def write(worker: int) -> None:
        for turn in range(15):
            keys = [b"%d" % n for n in range(0, 100, worker + 1)]
            store.write(CARDS, keys, [row(key, 2_000 + turn) for key in keys])

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        work = [pool.submit(swap, worker) for worker in range(3)] + [pool.submit(write, worker) for worker in range(3)]
        for each in work:
            each.result(60)
    store.write(CARDS, [b"%d" % n for n in range(100)], [row(b"%d" % n, 3_000) for n in range(100)])
    assert [record for _, record in store.scan(CARDS)] == [row(key, 3_000) for key, _ in store.scan(CARDS)]
    assert len(store.scan(CARDS)) == 100


def test_tables_are_made_and_dropped_by_many_at_once(database):
    """Ten threads that make and drop the same tables leave each made once, and nothing half-made."""
    tables = [f"demo/view_{n}" for n in range(8)]
    with database.open(seconds=30, write_seconds=30) as store, concurrent.futures.ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(store.create, tables[n % 3 :]) for n in range(6)]:
            each.result(60)
        for table in tables:
            assert store.write(table, [b"a"], [row(b"a", 1)]) == 1
        for each in [pool.submit(store.drop, tables[n % 2 :]) for n in range(6)]:
            each.result(60)
        store.create([CARDS])
        count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s AND table_name LIKE %s"
        assert database.ask(count, (database.name, "lw!_%".replace("!", "\\"))) == [(1,)]


def test_connections_are_bounded(database, store):
    """Forty threads share as many connections as the store may have, and each is served."""
    with database.open(seconds=30, connections=4) as small, concurrent.futures.ThreadPoolExecutor(40) as pool:
        before = database.links()
        found = list(pool.map(lambda _: small.read([(CARDS, KEYS)]), range(200)))
        assert found == [[rows(1)]] * 200
        assert database.links() - before <= 4


def test_waiting_for_a_connection_has_a_deadline(database, store):
    """When all connections are in use, a call ends in time, with an error that says so."""
    with database.open(seconds=0.3, write_seconds=20, connections=1) as small:
        small.read([(CARDS, KEYS)])
        with (
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            database.connect() as other,
            other.cursor() as cursor,
        ):
            lock(cursor, database, CARDS, [b"7"])
            writing = pool.submit(small.write, CARDS, KEYS, rows(2))
            time.sleep(0.1)
            spent = took(lambda: small.read([(CARDS, KEYS)]), StoreUnavailable, "all 1 connections are in use")
            assert spent < 0.3 + SLACK
            cursor.execute("ROLLBACK")
            assert writing.result(20) == 50


# ---- What lies in the database


def test_a_full_disk_is_named_and_changes_nothing(database, store):
    """A write that finds no space is StoreFull, nothing of it is written, and reads go on (T3)."""
    database.fill_up(CARDS)
    with pytest.raises(StoreFull, match="no space left"):
        store.write(CARDS, KEYS, rows(2))
    assert store.read([(CARDS, KEYS)]) == [rows(1)]
    assert store.write(SHOPS, KEYS, rows(2)) == 50


def test_a_newer_format_is_named(database, store):
    """A table that a newer version has made is refused by name, not read."""
    database.ask(f"UPDATE {database.quoted}.likewise_tables SET format = 2, needs = '9.1'")
    with database.open(seconds=20) as new, pytest.raises(StoreTooNew, match=f"{CARDS}.*format 2.*9\\.1"):
        new.read([(CARDS, KEYS)])


def test_large_batches_are_cut_but_one_transaction(database, store):
    """A batch of many statements is written as a whole, and undone as a whole when one of them fails (G1)."""
    keys = [b"%06d" % n for n in range(3_500)]
    records = [row(key, 5) for key in keys]
    assert store.write(SHOPS, keys, records) == 3_500
    with database.connect() as other, other.cursor() as cursor:
        lock(cursor, database, SHOPS, [keys[-1]])
        with Deadline(1.0), pytest.raises(StoreUnavailable):
            store.write(SHOPS, keys, [row(key, 6) for key in keys])
        cursor.execute("ROLLBACK")
    end = time.monotonic() + 30
    while time.monotonic() < end:  # the server finds out when it looks at the connection again
        found = store.read([(SHOPS, keys)])[0]
        assert found in (records, [row(key, 6) for key in keys])
        if store.write(SHOPS, keys[-1:], [row(keys[-1], 7)]) == 1:
            return
    raise AssertionError("the lock of a call that was given up is still held")


def test_names_of_users_are_inert(database):
    """Names that are SQL reach no statement as such: a canary table stays as it is (T32)."""
    with database.open(seconds=20, write_seconds=20) as store:
        store.create([CARDS])
        database.ask(f"CREATE TABLE {database.quoted}.canary (n int)")
        evil = [
            f"x/{quote}; DROP TABLE {database.quoted}.canary; --"
            for quote in ("'", '"', "`", "\\'", "$1", "{table}", "%s")
        ]
        store.create(evil)
        for name in evil:
            key = name.encode()
            assert store.write(name, [key], [row(key, 1)]) == 1
            assert store.swap(name, [key], [row(key, 1)], [row(key, 2)]) == []
            assert store.scan(name, name[:1].encode()) == [(key, row(key, 2))]
        store.drop(evil)
        assert database.ask(f"SELECT * FROM {database.quoted}.canary") == []


@pytest.mark.parametrize("mark", ["x; DROP TABLE canary", "", "x y"])
def test_a_mark_that_is_none_is_refused(database, store, mark):
    """What somebody else has written into the list of tables reaches no statement (T32)."""
    database.ask(f"UPDATE {database.quoted}.likewise_tables SET mark = %s", (mark,))
    with database.open(seconds=20) as new, pytest.raises(StoreCorrupt, match="likewise_tables has the mark"):
        new.read([(CARDS, KEYS)])


def test_a_closed_store_opens_nothing(database, store):
    """A store that is closed while others use it is closed for them too, with an error that says so."""
    store.close()
    with pytest.raises(StoreClosed):
        store.read([(CARDS, KEYS)])
