"""What goes wrong between a program and the database of its registry, on PostgreSQL."""

import concurrent.futures
import logging
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from likewise.core.errors import ConfigError, InvalidDefinition, StoreError, StoreUnavailable
from likewise.registry.base import RegistryCorrupt, RegistryReadOnly, RegistryTooNew
from likewise.registry.sql import CommitInDoubt, SqlRegistry, schema_of
from likewise.registry.sql_address import parse_address
from likewise.testing.postgres_process import PostgresProcess
from likewise.testing.proxy import Link, Proxy
from likewise.testing.redis_process import free_port

CARD = {"kind": "entity", "name": "card"}
SHOP = {"kind": "entity", "name": "shop"}
PASSWORD = "canary-p4ss%2Fw%40rd"
SECRETS = ("canary-p4ss%2Fw%40rd", "canary-p4ss/w@rd")


def ask(server: PostgresProcess, url: str, text: str, *values: object) -> list[tuple]:
    """Ask the server, around the registry, in the schema that a URL names."""
    schema = url.rpartition("search_path%3D")[2]
    with psycopg.connect(server.address, autocommit=True, options=f"-csearch_path={schema}") as connection:
        cursor = connection.execute(text, values)
        return cursor.fetchall() if cursor.description else []


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what takes a server a moment."""
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


# Time limits and lost connections


def test_a_server_that_is_not_there_is_named_without_the_password(caplog) -> None:
    """Where nobody listens, the error says which server, and neither it nor a log or repr holds the password (T37)."""
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/feast?sslpassword={PASSWORD}"
    with SqlRegistry(url) as registry:
        for use in (lambda: registry.head("demo"), lambda: registry.commit("demo", 0, [CARD], now=1)):
            with pytest.raises(
                StoreUnavailable, match=r"'postgresql\+psycopg://me:\*\*\*@127.0.0.1:.*cannot be reach"
            ) as caught:
                use()
            told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            assert not any(secret in told for secret in SECRETS)
        assert not any(secret in repr(vars(registry)) + caplog.text for secret in SECRETS)


def test_a_frozen_server_costs_no_more_than_the_time_that_was_given(new_url) -> None:
    """A server that is stopped in the middle, and one that never answers a login, end in an error in time (G5)."""
    with PostgresProcess() as server:
        url = f"postgresql://postgres@/postgres?host={server.host}"
        with SqlRegistry(url, seconds=2.0) as registry, SqlRegistry(url, seconds=2.0) as fresh:
            registry.commit("demo", 0, [CARD], now=1)
            server.freeze()
            for use in (
                lambda: registry.head("demo"),
                lambda: registry.side.put("demo", "s", "a", 1, None),
                lambda: fresh.catalog("demo"),
            ):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable, match=r"did not answer within 2 s"):
                    use()
                assert time.monotonic() - began < 4.5
            server.thaw()
            assert registry.head("demo") == fresh.head("demo") == 1


def test_a_restart_of_the_server_is_not_noticed(new_url) -> None:
    """Connections that a restart broke are replaced; no call fails once the server is back."""
    with (
        PostgresProcess() as server,
        SqlRegistry(f"postgresql://postgres@/postgres?host={server.host}") as registry,
    ):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(registry.head, ["demo"] * 8)) == [0] * 8
        registry.commit("demo", 0, [CARD], now=1)
        server.restart()
        assert registry.head("demo") == 1
        assert registry.commit("demo", 1, [SHOP], now=2).number == 2


def test_a_commit_whose_answer_is_lost_is_looked_up(postgres: PostgresProcess, new_url) -> None:
    """Where the server committed and its answer never came, the commit is found by its seal and returned."""
    schema = new_url().rpartition("search_path%3D")[2]
    with Proxy(f"{postgres.host}/.s.PGSQL.5432") as proxy:
        hold = threading.Event()

        def lose_the_answer(point: str) -> None:
            if point == "registry.commit.before_commit" and hold.is_set():
                proxy.set(to_client=Link(drop=True))
                threading.Timer(0.5, proxy.set).start()

        url = f"postgresql://postgres@{proxy.host}:{proxy.port}/postgres?options=-csearch_path%3D{schema}"
        with SqlRegistry(url, seconds=2.0, crash=lose_the_answer) as registry:
            first = registry.commit("demo", 0, [CARD], now=1)
            hold.set()
            second = registry.commit("demo", 1, [SHOP], now=2)
            assert registry.history("demo") == [first.info, second.info]


def test_a_commit_that_was_lost_is_not_taken_for_stored(postgres: PostgresProcess, new_url) -> None:
    """Where the connection ends at the commit and nothing was stored, the error says that nobody knows; nothing is."""
    url = new_url()

    def end_it(point: str) -> None:
        if point == "registry.commit.before_commit":
            ask(
                postgres,
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'",
            )

    with SqlRegistry(url, crash=end_it) as registry:
        with pytest.raises(CommitInDoubt, match="it may be stored or not"):
            registry.commit("demo", 0, [CARD], now=1)
        assert registry.head("demo") == 0


def test_a_program_that_hangs_in_a_transaction_blocks_nobody_for_long(new_url) -> None:
    """A writer that waits for another longer than its time says so, and goes on when the other has ended."""
    url, begun, over = new_url(), threading.Event(), threading.Event()

    def hang(point: str) -> None:
        if point == "registry.commit.before_commit":
            begun.set()
            over.wait(30)

    with (
        SqlRegistry(url, crash=hang, seconds=60) as slow,
        SqlRegistry(url, seconds=2.0) as registry,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        registry.side.put("demo", "s", "a", 1, None)
        first = pool.submit(slow.commit, "demo", 0, [CARD], now=1)
        assert begun.wait(30)
        assert registry.head("demo") == 0, "readers wait for nobody"
        assert registry.commit("other", 0, [SHOP], now=1).number == 1, "nor does another project"
        with pytest.raises(StoreUnavailable, match="did not answer within 2 s"):
            registry.commit("demo", 0, [SHOP], now=1)
        over.set()
        assert first.result(30).number == registry.head("demo") == 1


def commit_in_child(registry: SqlRegistry, number: int) -> None:
    """Commit with a registry that a fork brought here."""
    registry.commit(f"child {number}", 0, [CARD], now=1)
    os._exit(0 if registry.head(f"child {number}") == 1 else 1)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_connections_to_the_parent(new_url) -> None:
    """After a fork both processes go on with the same registry object; their exchanges do not mix."""
    context = multiprocessing.get_context("fork")
    with SqlRegistry(new_url()) as registry:
        registry.commit("demo", 0, [CARD], now=1)
        children = [context.Process(target=commit_in_child, args=(registry, n)) for n in range(3)]
        for child in children:
            child.start()
        for number in range(1, 20):
            assert registry.commit("demo", number, [{**CARD, "n": number}], now=1).number == number + 1
        for child in children:
            child.join(30)
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert registry.projects() == ["child 0", "child 1", "child 2", "demo"]


def test_few_connections_are_kept(postgres: PostgresProcess, new_url) -> None:
    """However many threads ask, no more than eight connections are open, and two stay."""
    with SqlRegistry(f"{new_url()}&application_name=counted") as registry:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(registry.head, ["demo"] * 200))
            assert 0 < ask(postgres, "", count)[0][0] <= 8
        wait_until(lambda: ask(postgres, "", count)[0][0] <= 2)


# Formats, tables, rights


def test_tables_of_a_newer_format_are_refused(postgres: PostgresProcess, new_url) -> None:
    """Tables that a newer version wrote are neither read nor written; the error says which version does (T6)."""
    url = new_url()
    with SqlRegistry(url) as registry:
        registry.commit("demo", 0, [CARD], now=1)
    ask(postgres, url, "UPDATE likewise_registry SET format = 2, needs = '7.1'")
    with SqlRegistry(url) as registry:
        for use in (lambda: registry.head("demo"), lambda: registry.commit("demo", 1, [], now=2)):
            with pytest.raises(RegistryTooNew, match=r"has format 2; .* up to format 1. install Likewise >= 7.1"):
                use()
    assert ask(postgres, url, "SELECT count(*) FROM likewise_catalogs") == [(1,)]


def test_reading_makes_no_tables(postgres: PostgresProcess, new_url) -> None:
    """A registry that is only read stays without tables; the first write makes them, in one step."""
    url = new_url()
    with SqlRegistry(url) as registry:
        assert registry.projects() == registry.history("demo") == []
        assert registry.side.get("demo", "s", "a") is None
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        assert ask(postgres, url, tables) == [(0,)]
        registry.side.put("demo", "s", "a", 1, 0)
        assert ask(postgres, url, tables) == [(7,)]


def test_the_printed_schema_is_that_of_the_registry(postgres: PostgresProcess, new_url) -> None:
    """Tables made by hand from the printed statements serve as those that the first write makes."""
    url = new_url()
    for statement in schema_of("postgresql://somewhere/else"):
        ask(postgres, url, statement)
    with SqlRegistry(url) as registry:
        assert registry.commit("demo", 0, [CARD], now=1).number == 1
        assert registry.side.put("demo", "s", "a", 1, 0) == 1


def test_tables_that_were_removed_are_an_error(postgres: PostgresProcess, new_url) -> None:
    """A registry whose tables vanish while it is used says so, instead of beginning anew."""
    url = new_url()
    with SqlRegistry(url) as registry:
        registry.commit("demo", 0, [CARD], now=1)
        ask(postgres, url, "DROP TABLE likewise_heads")
        with pytest.raises(StoreError, match=r"tables of the registry .* were removed while it was in use"):
            registry.head("demo")


def test_a_user_who_may_only_read_reads(postgres: PostgresProcess, new_url) -> None:
    """Without the right to write, everything can be read, and a commit says what is missing."""
    url = new_url()
    schema = url.rpartition("search_path%3D")[2]
    with SqlRegistry(url) as registry:
        registry.commit("demo", 0, [CARD], now=1)
    ask(postgres, url, f"CREATE USER reader_of_{schema}")
    ask(postgres, url, f"GRANT USAGE ON SCHEMA {schema} TO reader_of_{schema}")
    ask(postgres, url, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_of_{schema}")
    with SqlRegistry(url.replace("postgres@", f"reader_of_{schema}@", 1)) as reader:
        assert reader.catalog("demo").definitions() == [CARD]
        with pytest.raises(RegistryReadOnly, match="may not be written: permission denied"):
            reader.commit("demo", 1, [], now=2)


# What is read is checked (T5), and names are only text (T32)

DAMAGE = {
    "UPDATE likewise_definitions SET body = '{}'": "the text of entity 'card' in catalog 1 of project 'demo' fails its",
    "DELETE FROM likewise_definitions": "the text of entity 'card' in catalog 1 of project 'demo' is missing",
    "UPDATE likewise_catalogs SET author = 'eve'": "catalog 1 of project 'demo' fails its seal",
    "UPDATE likewise_catalogs SET author = '\\xff'": "catalog 1 of project 'demo' fails its seal",
    "UPDATE likewise_entries SET hash = NULL": "the manifest of catalog 1 of project 'demo' fails its hash",
    "DELETE FROM likewise_entries": "the manifest of catalog 1 of project 'demo' fails its hash",
    "UPDATE likewise_heads SET number = 2": "the head of project 'demo' fails its seal",
    "DELETE FROM likewise_heads": "the head of project 'demo' is missing",
    "DELETE FROM likewise_catalogs": "the head of project 'demo' fails its seal",
}


@pytest.mark.parametrize("change", DAMAGE)
def test_rows_that_were_changed_are_never_an_answer(postgres: PostgresProcess, new_url, change: str) -> None:
    """A row that was changed or lost is an error that names what is wrong; the password is not in it (T5)."""
    url = new_url()
    with SqlRegistry(url) as registry:
        registry.commit("demo", 0, [CARD], now=1)
    ask(postgres, url, change)
    with SqlRegistry(url) as registry, pytest.raises(RegistryCorrupt, match=DAMAGE[change]):
        registry.catalog("demo")


def test_a_damaged_text_is_healed_by_applying_again(postgres: PostgresProcess, new_url) -> None:
    """Committing the same definitions again stores anew the text that was damaged."""
    url = new_url()
    with SqlRegistry(url) as registry:
        registry.commit("demo", 0, [CARD], now=1)
        ask(postgres, url, "UPDATE likewise_definitions SET body = '{}'")
        assert registry.commit("demo", 1, [CARD], now=2).number == 1
    with SqlRegistry(url) as registry:
        assert registry.catalog("demo").definitions() == [CARD]


def test_a_side_value_that_was_changed_is_an_error(postgres: PostgresProcess, new_url) -> None:
    """A value beside the catalogs is read only with its seal."""
    url = new_url()
    with SqlRegistry(url) as registry:
        registry.side.put("demo", "s", "a", 1, 0)
        ask(postgres, url, "UPDATE likewise_sides SET value = '2'")
        with pytest.raises(RegistryCorrupt, match="s 'a' of project 'demo' fails its seal"):
            registry.side.items("demo", "s")


def test_hostile_names_leave_other_tables_alone(postgres: PostgresProcess, new_url) -> None:
    """SQL in a project, a space, a key, an author or a message changes nothing but the registry's rows (T32)."""
    url = new_url()
    ask(postgres, url, "CREATE TABLE canary AS SELECT 1 AS sings")
    hostile = "x'); DROP TABLE canary; DELETE FROM likewise_heads; --"
    with SqlRegistry(url) as registry:
        registry.commit(hostile, 0, [{"kind": hostile, "name": hostile}], message=hostile, author=hostile, now=1)
        registry.side.put(hostile, hostile, hostile, hostile, 0)
        assert registry.projects() == [hostile]
        assert registry.side.items(hostile, hostile)[hostile].value == hostile
        registry.side.remove(hostile, hostile, hostile, None)
    assert ask(postgres, url, "SELECT sings FROM canary") == [(1,)]


def test_a_name_that_no_key_can_hold_is_refused(new_url) -> None:
    """A name of more bytes than a key of the tables has is refused before anything is written."""
    with SqlRegistry(new_url()) as registry:
        longest = "ü" * 510
        registry.commit(longest, 0, [{"kind": "entity", "name": longest}], now=1)
        assert registry.catalog(longest).names("entity") == [longest]
        with pytest.raises(InvalidDefinition, match="has 1,021 bytes, and a registry in a database keeps up to 1,020"):
            registry.commit("demo", 0, [{"kind": "entity", "name": longest + "x"}], now=1)
        assert registry.projects() == [longest]


# Addresses and settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@db/x", "postgresql+psycopg://me:***@db/x"),
        ("postgres://me@db:6543/x?sslmode=require", "postgresql+psycopg://me@db:6543/x?sslmode=require"),
        ("postgresql+psycopg2://me:pw@db/x", "postgresql+psycopg://me:***@db/x"),
        ("postgresql+psycopg://me:p%2Fw@db/x", "postgresql+psycopg://me:***@db/x"),
        ("mysql+pymysql://me:pw@db/x", "mysql+pymysql://me:***@db/x"),
        ("mysql+mysqlconnector://me:pw@db/x", "mysql+pymysql://me:***@db/x"),
        ("mariadb://me:pw@db/x", "mariadb+pymysql://me:***@db/x"),
    ],
)
def test_feasts_forms_of_urls_are_taken(url: str, shown: str) -> None:
    """Whatever driver a URL names, the one that is here is used; the password is not shown."""
    assert parse_address(url).shown == shown
    assert parse_address(url, password="other").url.password == "other"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://me:canary@db:port/x", "is not the URL of a database"),
        ("postgresql://me:canary@db", "names no database"),
        ("oracle://me:canary@db/x", "the database 'oracle' is not known"),
        ("sqlite://", "names no file"),
        ("nonsense", "'nonsense' is not the URL of a database"),
    ],
)
def test_a_url_that_cannot_be_is_refused_without_its_password(url: str, what: str) -> None:
    """What is no URL of a known database is refused with the forms that are, and without the password."""
    with pytest.raises(ConfigError, match=what) as caught:
        parse_address(url)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """A setting of SQLAlchemy that nobody has, or that would change what the registry relies on, is refused by name."""
    url = f"sqlite:///{tmp_path}/registry.db"
    with pytest.raises(ConfigError, match=r"has 'pool_sise', which cannot be given. did you mean 'pool_size'"):
        SqlRegistry(url, settings={"pool_sise": 3})
    with pytest.raises(ConfigError, match="has 'isolation_level', which cannot be given"):
        SqlRegistry(url, settings={"isolation_level": "READ UNCOMMITTED"})
    SqlRegistry(url, settings={"pool_size": 3, "echo": False}).close()
