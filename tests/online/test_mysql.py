"""The MySQL store against a real MariaDB: what each store promises, and what goes wrong in a database."""

import contextlib
import functools
import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from likewise.core.errors import StoreError, StoreUnavailable
from likewise.online.base import OnlineStore
from likewise.online.mysql import MySQLStore
from likewise.online.mysql_server import Address
from likewise.testing.mysql_process import MySQLProcess
from likewise.testing.online_suite import CARDS, SHOPS, OnlineStoreSuite, Opener, row
from likewise.testing.redis_process import free_port

NUMBERS = itertools.count()


def open_at(address: Address, **settings: object) -> MySQLStore:
    """Open a store in a database, with time to spare: the machine of the tests may be busy."""
    return MySQLStore(address, **{"seconds": 20.0, "write_seconds": 20.0, **settings})


def ask(server: MySQLProcess, text: str, parameters: tuple = ()) -> list[tuple]:
    """Ask the server, around the store."""
    with (
        contextlib.closing(
            pymysql.connect(unix_socket=server.host, user=server.user, ssl_disabled=True, autocommit=True)
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(text, parameters)
        return list(cursor.fetchall())


class TestMySQLStore(OnlineStoreSuite):
    """The MySQL store keeps the contract of online stores."""

    backend = "mysql"
    runs_on = "MariaDB 10.11 (Debian's)"
    written_for = ("MySQL 8",)

    @pytest.fixture(autouse=True)
    def _use(self, mysql_server: MySQLProcess) -> None:
        self.server = mysql_server

    def opener(self, folder: Path) -> Opener:
        """Open a database of its own."""
        self.database = f"database {next(NUMBERS)}"
        ask(self.server, f"CREATE DATABASE `{self.database}`")
        return functools.partial(open_at, Address(self.server.host, 0, self.database, self.server.user, ""))

    def table(self, table: str) -> str:
        """Return the SQL table of an online table."""
        found = ask(
            self.server, f"SELECT mark FROM `{self.database}`.likewise_tables WHERE name = %s", (table.encode(),)
        )
        return f"`{self.database}`.lw_{found[0][0].decode()}"

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask MySQL."""
        found = ask(self.server, f"SELECT record FROM {self.table(table)} WHERE `key` = %s", (key,))
        return found[0][0] if found else None

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell MySQL."""
        ask(self.server, f"REPLACE INTO {self.table(table)} (`key`, record) VALUES (%s, %s)", (key, record))


@pytest.fixture(name="own")
def _own(mysql_server: MySQLProcess) -> Address:
    name = f"single {next(NUMBERS)}"
    ask(mysql_server, f"CREATE DATABASE `{name}`")
    return Address(mysql_server.host, 0, name, mysql_server.user, "")


def test_a_record_that_the_server_does_not_take_is_named(mysql_server, own):
    """A record too large for max_allowed_packet is refused with the setting's name; what fits is written."""
    [(before,)] = ask(mysql_server, "SELECT @@GLOBAL.max_allowed_packet")
    ask(mysql_server, "SET GLOBAL max_allowed_packet = 1048576")
    try:
        with open_at(own) as store:
            store.create([CARDS])
            large = row(b"a", 1) + bytes(600_000)
            with pytest.raises(StoreError, match="no more than 1,048,576 bytes") as caught:
                store.write(CARDS, [b"a", b"b"], [large, row(b"b", 1)])
            assert "max_allowed_packet" in str(caught.value)
            assert store.read([(CARDS, [b"a", b"b"])]) == [[None, None]]
            keys = [b"%d" % n for n in range(300)]
            records = [row(key, 1) + bytes(9_000) for key in keys]
            assert store.write(CARDS, keys, records) == 300
            assert store.read([(CARDS, keys)]) == [records]
    finally:
        ask(mysql_server, f"SET GLOBAL max_allowed_packet = {before}")


def test_a_drop_that_was_cut_short_is_finished_by_the_next(mysql_server, own):
    """A table whose making or dropping was cut short is removed when another one is dropped."""
    with open_at(own) as store:
        store.create([CARDS, SHOPS])
        ask(mysql_server, f"CREATE TABLE `{own.database}`.lw_0123 (n INT)")
        ask(mysql_server, f"INSERT INTO `{own.database}`.likewise_dropped VALUES ('0123'), ('dead')")
        store.drop([SHOPS])
        found = ask(mysql_server, f"SHOW TABLES IN `{own.database}`")
        assert len(found) == 3, "two lists, and the table that is left"
        assert store.read([(CARDS, [b"a"])]) == [[None]]


def test_a_login_that_is_refused_is_terminal(mysql_server, own):
    """A wrong password, or a database that is not there, says so, is not tried again, and shows no secret (T37)."""
    user = f"guarded{next(NUMBERS)}"
    ask(mysql_server, f"CREATE USER {user}@localhost IDENTIFIED BY 's3cr3t-right'")
    ask(mysql_server, f"GRANT ALL ON *.* TO {user}@localhost")
    for changes in ({"password": "s3cr3t-wrong"}, {"password": "s3cr3t-right", "database": "nowhere"}):
        with open_at(replace(own, user=user, **changes)) as store, pytest.raises(StoreError) as caught:
            store.create([CARDS])
        assert "refuses the login" in str(caught.value)
        assert not caught.value.transient
        assert "s3cr3t" not in f"{caught.value!r} {caught.value} {store!r} {own!r}"
    with open_at(replace(own, user=user, password="s3cr3t-right")) as store:
        store.create([CARDS])


@pytest.fixture(name="certificate")
def _certificate() -> Iterator[tuple[Path, Path]]:
    """Make a certificate for localhost, and its key, where the server's user may read them."""
    with tempfile.TemporaryDirectory() as name:
        certificate, key = Path(name, "cert.pem"), Path(name, "key.pem")
        made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        also = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
        subprocess.run([*made.split(), *also], check=True, capture_output=True)
        Path(name).chmod(0o755)
        key.chmod(0o644)
        yield certificate, key


@pytest.mark.usefixtures("mysql_server")
def test_tls_is_checked(certificate):
    """With sslmode verify-full a server is trusted by the authority that is given, and by no other (T37)."""
    certificate, key = certificate
    port = free_port()
    with MySQLProcess(port, [f"--ssl-cert={certificate}", f"--ssl-key={key}"]) as server:
        ask(server, "CREATE DATABASE safe")
        ask(server, "CREATE USER far@localhost IDENTIFIED BY 'x' REQUIRE SSL")
        ask(server, "CREATE USER far@'127.0.0.1' IDENTIFIED BY 'x' REQUIRE SSL")
        ask(server, "GRANT ALL ON safe.* TO far@localhost")
        ask(server, "GRANT ALL ON safe.* TO far@'127.0.0.1'")
        address = Address("localhost", port, "safe", "far", "x")
        for mode in ("prefer", "require", "verify-ca", "verify-full"):
            with open_at(replace(address, sslmode=mode, authorities=str(certificate))) as store:
                store.create([CARDS])
                keys = [b"%d" % n for n in range(5_000)]
                store.write(CARDS, keys, [row(key, 1) for key in keys])
                assert store.read([(CARDS, keys)]) == [[row(key, 1) for key in keys]]
        for wrong, said in (
            ({"sslmode": "verify-full"}, "no safe connection"),
            ({"sslmode": "verify-full", "host": "127.0.0.1", "authorities": str(certificate)}, "no safe connection"),
            ({"sslmode": "verify-ca", "authorities": "nowhere.pem"}, "no safe connection.*nowhere.pem"),
            ({"sslmode": "disable"}, "refuses the login"),
        ):
            with open_at(replace(address, **wrong)) as store, pytest.raises(StoreError, match=said) as caught:
                store.create([CARDS])
            assert not caught.value.transient
        with open_at(replace(address, sslmode="verify-full", authorities=str(certificate)), seconds=0.3) as store:
            store.read([(CARDS, [b"1"])])
            server.freeze()
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.3"):
                store.read([(CARDS, [b"1"])])
