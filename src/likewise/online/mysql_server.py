"""MySQL and MariaDB servers: statements in, results out, within a deadline; what goes wrong is one of our errors.

The client, PyMySQL, has a time limit for each piece that arrives; its socket here has one for all of a call,
connecting included. Several statements go in one packet, so in one round trip. Values are written as hex numbers: no
text of a user stands in a statement.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pymysql
from pymysql.constants import CLIENT, SERVER_STATUS

from likewise.core.errors import StoreCorrupt, StoreError, StoreFull
from likewise.online.base import Disconnected
from likewise.online.deadline import seconds_left
from likewise.online.sql_pool import late, ready
from likewise.online.sql_store import Conflict, TablesChanged

_GONE = frozenset({1051, 1146, 1412})
_CONFLICT = frozenset({1020, 1050, 1062, 1213})
_FULL = frozenset({1021, 1037, 1038, 1041, 1114})
_LATE = frozenset({1205, 1317, 1969, 3024})
_REFUSED = frozenset({1044, 1045, 1049, 1130, 1251, 1698, 2059})
_UNSAFE = frozenset({2026, 3159})
_BROKEN = frozenset({1040, 1053, 1077, 1203, 1226, 1290, 1836, 1927, 2002, 2003, 2006, 2013})
_DAMAGED = frozenset({1034, 1194, 1195, 1712, 1877})
_DEMANDING = ("require", "verify-ca", "verify-full")
_NUMBERS = re.compile(rb"\d+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how to log in."""

    host: str
    """The server's name, or the path of its socket."""
    port: int
    """Its port."""
    database: str
    """The database."""
    user: str
    """Who connects; empty for who runs this."""
    password: str = field(repr=False)
    """The password; empty for none."""
    sslmode: str = "prefer"
    """How safe a connection must be, in libpq's words."""
    authorities: str = ""
    """The file of the authorities to trust; empty for the system's."""
    certificate: str = ""
    """The file of the client's certificate; empty for none."""
    key: str = ""
    """The file of its key; empty if the certificate's has it."""

    def __str__(self) -> str:
        return f"mysql at {self.host}" if self.host.startswith("/") else f"mysql at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says to a statement."""

    rows: Sequence[tuple[Any, ...]]
    """The rows that were asked for."""
    changed: int
    """How many rows were added, and twice how many were changed."""
    updated: int
    """How many were changed, of those that an INSERT of several rows met."""


class MySQLLink:
    """A connection to a MySQL or MariaDB server, which commits each statement unless a transaction was begun.

    Args:
        address: where.
        seconds: how long the server works on a statement at most.
    """

    def __init__(self, address: Address, seconds: float) -> None:
        self._where = str(address)
        self._finished = True
        self._given = seconds_left()
        self._socket = -1
        self._connection = self._connect(address)
        waits = max(1, round(seconds))
        limit = f"max_execution_time = {round(seconds * 1000)}"
        if "MariaDB" in self._connection.get_server_info():
            limit = f"max_statement_time = {seconds:g}, in_predicate_conversion_threshold = 0"
        self._largest = 1 << 20
        *_, found = self.run(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            f"SET autocommit = 1, sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = {waits}, {limit}",
            "SELECT @@max_allowed_packet",
        )
        self._largest = int(found.rows[0][0])

    def fresh(self) -> bool:
        """Whether the server has said nothing since the last exchange."""
        return ready(self._socket, True, False, 0.0) is None

    def settled(self) -> bool:
        """Whether the last exchange was brought to its end, and no transaction is open."""
        in_transaction = self._connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        return self._finished and self._connection.open and not in_transaction

    def close(self) -> None:
        """End it."""
        if self._connection.open:
            self._connection._force_close()

    def run(self, *statements: str) -> list[Answer]:
        """Send statements, and return their answers.

        Raises:
            TablesChanged: a table is not there.
            Conflict: the server undid them because of others.
            StoreUnavailable: no answer in time, or the connection broke; they may have been done.
            StoreFull: there is no space.
            StoreError: the server refuses them.
        """
        text = ";".join(statements)
        if len(text) >= self._largest:
            raise StoreError(
                f"{self._where} takes no more than {self._largest:,} bytes at once, and a record needs {len(text):,}",
                cure="raise max_allowed_packet in the server's settings",
            )
        self._given, self._finished = seconds_left(), False
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(text)
                answers = [self._answer(cursor)]
                while cursor.nextset():
                    answers.append(self._answer(cursor))
        except (pymysql.MySQLError, OSError) as error:
            self._finished = isinstance(error, pymysql.MySQLError) and self._connection.open
            raise self._named(error) from error
        self._finished = True
        return answers

    def _answer(self, cursor: Any) -> Answer:
        # "Records: 3  Duplicates: 1  Warnings: 0", in the server's language; the client hands it on nowhere else.
        numbers = _NUMBERS.findall(self._connection._result.message or b"")
        updated = int(numbers[1]) if len(numbers) == 3 else int(cursor.rowcount == 2)
        return Answer(cursor.fetchall() if cursor.description else (), cursor.rowcount, updated)

    def _connect(self, address: Address) -> Any:
        safety = self._safety(address)
        try:
            connection = pymysql.Connection(
                host=address.host,
                port=address.port,
                user=address.user or None,
                password=address.password.encode(),
                database=address.database,
                charset="utf8mb4",
                client_flag=CLIENT.MULTI_STATEMENTS,
                conv={},
                autocommit=None,
                defer_connect=True,
                program_name="likewise",
                **({"ssl": safety} if address.sslmode in _DEMANDING and safety else {"ssl_disabled": True}),
            )
            if safety and not connection.ssl:  # as the client itself does where it may, but with one context for all
                connection.ssl, connection.ctx = True, safety
            plain = _open_socket(address)
            self._socket = plain.fileno()
            connection.connect(plain)
        except (pymysql.MySQLError, OSError) as error:
            raise self._named(error) from error
        return connection

    def _safety(self, address: Address) -> ssl.SSLContext | None:
        if address.sslmode == "disable" or address.host.startswith("/"):
            return None
        try:
            return _context(address.sslmode, address.authorities, address.certificate, address.key)
        except OSError as error:  # those of ssl among them
            files = ", ".join(filter(None, (address.authorities, address.certificate, address.key)))
            raise StoreError(
                f"{self._where}: no safe connection: {error}", cure=f"check the ssl keys of online_store: {files}"
            ) from error

    def _named(self, error: Exception) -> Exception:
        """Return what an error of the client, or of the server, means."""
        code, said = (error.args[0], str(error.args[-1])) if len(error.args) > 1 else (0, str(error))
        first = error.__context__ if error.__context__ is not None else error
        if code in _GONE:
            return TablesChanged(said)
        if code in _CONFLICT:
            return Conflict(said)
        if code in _LATE or isinstance(first, TimeoutError):
            return late(self._where, self._given)
        if code in _UNSAFE or isinstance(first, ssl.SSLError):
            return StoreError(f"{self._where}: no safe connection: {said}", cure="check the ssl keys of online_store")
        if code in _REFUSED:
            return StoreError(
                f"{self._where} refuses the login: {said}", cure="check online_store.user, password and database"
            )
        if code in _FULL or (code == 1030 and re.search(r"error (28|122|35|48)\b", said)):
            return StoreFull(
                f"{self._where} has no space left: {said}; nothing was written, and reads go on",
                cure="free some space there, and write again",
            )
        if code in _BROKEN or isinstance(error, OSError | pymysql.InterfaceError):
            return Disconnected(
                f"{self._where} cannot be reached: {said}", cure="see that the server runs, and try again"
            )
        if code in _DAMAGED:
            return StoreCorrupt(
                f"{self._where} has damaged data: {said}",
                cure="restore the database, or drop its tables and materialize again",
            )
        return StoreError(
            f"{self._where} cannot do that: {said} ({code})",
            cure="it must be MySQL >= 8 or MariaDB >= 10.5, and this user allowed to",
        )


class _TimedSocket(socket.socket):
    """A socket on which every wait ends with the thread's deadline."""

    def settimeout(self, value: float | None) -> None:
        """Set for how long to wait: as long as the deadline lets it."""
        super().settimeout(_left())

    def recv_into(self, *arguments: Any) -> int:
        """Read what has arrived."""
        super().settimeout(_left())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """Send all of some bytes."""
        super().settimeout(_left())
        super().sendall(*arguments)


class _SafeSocket(ssl.SSLSocket):
    """The same with TLS."""

    def settimeout(self, value: float | None) -> None:
        """Set for how long to wait: as long as the deadline lets it."""
        super().settimeout(_left())

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        """Read what has arrived."""
        super().settimeout(_left())
        return super().recv_into(*arguments, **more)

    def send(self, *arguments: Any, **more: Any) -> int:
        """Send some bytes."""
        super().settimeout(_left())
        return super().send(*arguments, **more)


def _left() -> float | None:
    left = seconds_left()
    if left is not None and left <= 0:
        raise TimeoutError("the deadline is over")
    return left


def _open_socket(address: Address) -> _TimedSocket:
    if address.host.startswith("/"):
        local = _TimedSocket(socket.AF_UNIX)
        local.settimeout(None)
        local.connect(address.host)
        return local
    with socket.create_connection((address.host, address.port), _left()) as made:
        family = made.family
        remote = _TimedSocket(family, made.type, made.proto, made.detach())
    remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    remote.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return remote


@lru_cache(maxsize=8)
def _context(mode: str, authorities: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return how a connection is made safe; made once, for the system's authorities are many."""
    trusting = mode.startswith("verify")
    if trusting:
        context = ssl.create_default_context(cafile=authorities or None)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that the servers make themselves are not strict
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if trusting else ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key or None)
    context.sslsocket_class = _SafeSocket
    return context


def literals(values: Iterable[bytes]) -> str:
    """Return bytes as SQL has them, with commas between.

    Example:
        >>> literals([b"ab", b"'; --", b""])
        "0x6162,0x273b202d2d,''"
    """
    return ",".join(["0x" + value.hex() if value else "''" for value in values])
