"""PostgreSQL servers: statements in, results out, within a deadline; what goes wrong is one of our errors.

A call is one exchange: all statements are sent, then all results are read, in one round trip and in one transaction,
which the server begins and ends itself. It has a deadline that includes connecting, however slowly bytes arrive.
Statements are prepared when a link first uses them, in the same round trip. This uses libpq as psycopg wraps it
(``psycopg.pq``): a cursor would add a third to the time of a small read, and its waits have no end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from struct import pack
from typing import NamedTuple

from psycopg import OperationalError
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format, PGconn, PollingStatus, abc

from likewise.core.errors import StoreCorrupt, StoreError, StoreFull
from likewise.online.base import Disconnected
from likewise.online.deadline import seconds_left
from likewise.online.sql_pool import late, ready
from likewise.online.sql_store import Conflict, TablesChanged


class Statement(NamedTuple):
    """What is asked of a server."""

    text: str
    """SQL, with $1, $2 … for the parameters."""
    parameters: Sequence[bytes | None] = ()
    """Their values in PostgreSQL's binary formats; None for null."""
    prepared: bool = True
    """Whether it comes often, so that a link keeps it prepared."""


_MOST_PREPARED = 500
"""How many statements a link prepares before it is replaced by a new one."""
BYTEA = 17
TEXT = 25
_GONE = frozenset({"42P01", "3F000"})
_CONFLICT = frozenset({"40001", "40P01", "23505"})  # the last: two made the same table at the same time
_FULL = frozenset({"53000", "53100", "53200", "54000"})
_LATE = frozenset({"57014", "55P03", "25P03", "25P04"})
_BROKEN = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25006", "26000"})
_DAMAGED = frozenset({"XX001", "XX002"})
_LENGTHS = [pack(">I", length) for length in range(1_024)]
_STARTING = ("starting up", "shutting down", "too many", "recovery", "not yet accepting", "reserved")


class PostgresLink:
    """A connection to a PostgreSQL server, in pipeline mode.

    Args:
        address: libpq's connection string.
        where: the server's name, for messages.
        settings: (name, value) of settings of its session.
    """

    def __init__(self, address: str, where: str, settings: Sequence[tuple[str, str]] = ()) -> None:
        self._where = where
        self._names: dict[str, bytes] = {}
        self._count = 0
        self._settled = False
        self._given = seconds_left()
        self._connection = self._connect(address)
        self._connection.nonblocking = 1
        self._connection.enter_pipeline_mode()
        if settings:
            calls = ",".join(f"set_config('{name}', '{value}', false)" for name, value in settings)
            self.run([Statement(f"SELECT {calls}", prepared=False)])

    def fresh(self) -> bool:
        """Whether the server has said nothing since the last exchange."""
        return ready(self._connection.socket, True, False, 0.0) is None

    def settled(self) -> bool:
        """Whether the last exchange was brought to its end."""
        return self._settled and len(self._names) < _MOST_PREPARED

    def close(self) -> None:
        """End it."""
        self._connection.finish()

    def run(self, statements: Iterable[Statement]) -> list[abc.PGresult]:
        """Send statements as one transaction, and return their results.

        Raises:
            TablesChanged: a table is not there.
            Conflict: the server undid them because of others.
            StoreUnavailable: no answer in time, or the connection broke; the transaction may have been done.
            StoreFull: there is no space.
            StoreError: the server refuses them.
        """
        self._given, self._settled = seconds_left(), False
        new: dict[str, bytes] = {}
        try:
            sent = [self._send(statement, new) for statement in statements]
            self._connection.pipeline_sync()
            self._flush()
            results = self._results()
        except OperationalError as error:
            raise self._broken(str(error)) from error
        self._settled = True
        failed = next((result for result in results if result.status == ExecStatus.FATAL_ERROR), None)
        if failed is not None:
            raise self._named(failed)
        self._names |= new
        return [result for result, asked in zip(results, chain.from_iterable(sent), strict=True) if asked]

    def _send(self, statement: Statement, new: dict[str, bytes]) -> tuple[bool, ...]:
        """Send a statement; return, for each result that comes of it, whether somebody asked for that."""
        text, parameters, prepared = statement
        formats = [Format.BINARY] * len(parameters)
        if not prepared:
            self._connection.send_query_params(text.encode(), parameters, None, formats, Format.BINARY)
            return (True,)
        asked: tuple[bool, ...] = (True,)
        name = self._names.get(text) or new.get(text)
        if name is None:
            self._count += 1
            name = new[text] = b"s%d" % self._count
            self._connection.send_prepare(name, text.encode())
            asked = (False, True)
        self._connection.send_query_prepared(name, parameters, formats, Format.BINARY)
        return asked

    def _flush(self) -> None:
        connection = self._connection
        while connection.flush():
            if self._wait(write=True):
                connection.consume_input()

    def _results(self) -> list[abc.PGresult]:
        """Return all results up to the end of the transaction."""
        connection, results = self._connection, list[abc.PGresult]()
        while True:
            while connection.is_busy():
                self._wait(write=False)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)

    def _connect(self, address: str) -> abc.PGconn:
        connection: abc.PGconn = PGconn.connect_start(address.encode())
        self._connection = connection
        while connection.status != ConnStatus.BAD:
            state = connection.connect_poll()
            if state == PollingStatus.OK:
                return connection
            if state == PollingStatus.FAILED:
                break
            self._wait(write=state == PollingStatus.WRITING, read=state != PollingStatus.WRITING)
        raise self._refused(connection.get_error_message().strip())

    def _wait(self, *, write: bool, read: bool = True) -> bool:
        """Wait until the server has said something, or takes more; whether it has said something.

        Raises:
            StoreUnavailable: the deadline is over.
        """
        said = ready(self._connection.socket, read, write, seconds_left())
        if said is None:
            raise late(self._where, self._given)
        return said

    # Errors

    def _broken(self, said: str) -> Disconnected:
        return Disconnected(f"{self._where} cannot be reached: {said}", cure="see that the server runs, and try again")

    def _refused(self, said: str) -> StoreError:
        """Return what it means that no connection was made; there is no code for that, only words."""
        words = said.lower()
        if any(text in words for text in _STARTING):
            return self._broken(said)
        if "ssl" in words or "certificate" in words:
            return StoreError(f"{self._where}: no safe connection: {said}", cure="check the ssl keys of online_store")
        if "fatal:" in words or "no password supplied" in words:
            return StoreError(
                f"{self._where} refuses the login: {said}", cure="check online_store.user, password and database"
            )
        return self._broken(said)

    def _named(self, failed: abc.PGresult) -> Exception:
        """Return what an error of the server means."""
        code = (failed.error_field(DiagnosticField.SQLSTATE) or b"").decode()
        said = (failed.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
        if code in _GONE:
            return TablesChanged(said)
        if code in _CONFLICT:
            return Conflict(said)
        if code in _FULL:
            return StoreFull(
                f"{self._where} has no space left: {said}; nothing was written, and reads go on",
                cure="free some space there, and write again",
            )
        if code in _LATE:
            return late(self._where, self._given)
        if code in _BROKEN or code.startswith("08"):
            self._settled = False
            return self._broken(said)
        if code in _DAMAGED:
            return StoreCorrupt(
                f"{self._where} has damaged data: {said}",
                cure="restore the database, or drop its tables and materialize again",
            )
        return StoreError(
            f"{self._where} cannot do that: {said} ({code})",
            cure="it must be PostgreSQL >= 12, and this user allowed to",
        )


def array(items: Sequence[bytes], kind: int = BYTEA) -> bytes:
    """Return an array in PostgreSQL's binary format; hot.

    Args:
        items: in the binary format of their type.
        kind: the number of their type.

    Example:
        >>> array([b"ab", b"c"]).hex(" ", -4)
        '00000001 00000000 00000011 00000002 00000001 00000002 61620000 000163'
    """
    lengths = list(map(len, items))
    if not lengths:
        return pack(">IIi", 0, 0, kind)
    head = pack(">IIIII", 1, 0, kind, len(lengths), 1)
    if lengths.count(lengths[0]) == len(lengths):  # as for most keys: what stands between two of them is the same
        between = pack(">I", lengths[0])
        return b"".join((head, between, between.join(items)))
    known = _LENGTHS.__getitem__ if max(lengths) < len(_LENGTHS) else _packed_length
    return head + b"".join(chain.from_iterable(zip(map(known, lengths), items, strict=True)))


def array_with_nulls(items: Sequence[bytes | None]) -> bytes:
    """Return a bytea[] in PostgreSQL's binary format, in which None stands for null.

    Example:
        >>> array_with_nulls([b"ab", None]).hex(" ", -4)
        '00000001 00000001 00000011 00000002 00000001 00000002 6162ffff ffff'
    """
    parts = (b"\xff\xff\xff\xff" if item is None else _packed_length(len(item)) + item for item in items)
    return pack(">IIIII", 1, 1, BYTEA, len(items), 1) + b"".join(parts) if items else array([])


def _packed_length(length: int) -> bytes:
    return pack(">I", length)
