"""Remote: an online store behind a feature server (``likewise serve``), which looks after the real one.

Each call is one request, ``POST /online-store/…`` with msgpack both ways, and so one call of the store over there: a
read of any number of views sees one moment, a write or swap is one atomic step. What goes beyond the limits of a
request, :data:`MOST_KEYS` keys or :data:`MOST_BYTES` bytes, is several requests in the order given, each with those
promises for itself. The server looks at every record before it stores it, and serves the tables of its project only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from likewise.config import RemoteStoreConfig, secret
from likewise.core.errors import StoreError
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.deadline import Deadline
from likewise.online.remote_server import MSGPACK, Asked, Login, RemoteServer, error_of, parse_server, problem_of

MOST_KEYS = 10_000
"""How many keys one request has at most, tables counted in; the server's limit ``keys`` by default."""
MOST_BYTES = 7 << 20
"""How many bytes one request has at most; a little less than the server's limit ``body_bytes`` by default."""
_EACH = 10
"""How many bytes of msgpack stand around a key and its record."""
_EACH_KEY = 2e-5
"""How much longer a call may take for each of its keys, in seconds."""

Positions = range
"""Which of the keys of a batch one request has."""


class RemoteSettings(Protocol):
    """What a configuration says about this store."""

    @property
    def options(self) -> RemoteStoreConfig:
        """The keys of this type of store."""


class RemoteStore(OnlineStore):
    """An online store behind a feature server. Nothing is connected before it is used; forked processes may use it.

    After a ``StoreUnavailable``, a batch may have been written, in part or as a whole: writing it again does no harm,
    swapping it again reads the new state first.

    Args:
        server: where, and how to connect.
        seconds: how long a read may take, connecting included; 20 µs more for each key.
        write_seconds: how long a step of a write or scan may take.

    Example:
        >>> from likewise.online.remote_server import Login, RemoteServer, parse_server
        >>> with RemoteStore(RemoteServer(parse_server("http://127.0.0.1:6566"), Login())) as store:
        ...     store
        RemoteStore('http://127.0.0.1:6566')
    """

    networked = True

    def __init__(self, server: RemoteServer, *, seconds: float = 1.0, write_seconds: float = 10.0) -> None:
        self._server = server
        self._name = str(server.address)
        self._seconds = seconds
        self._write_seconds = write_seconds
        self._closed = False

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; to see that they are there already, a key with the scope read is enough."""
        self._refuse_closed()
        missing = [table for table in dict.fromkeys(tables) if not self._has(table)] if len(tables) <= 2 else tables
        for part in _parts([len(table.encode()) for table in missing], empty=False):
            self._ask("create", [missing[part.start : part.stop]], self._write_seconds)

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold; those that are not there are passed over."""
        self._refuse_closed()
        for part in _parts([len(table.encode()) for table in tables], empty=False):
            self._ask("drop", [tables[part.start : part.stop]], self._write_seconds)

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored; up to the limits of a request in one atomic step."""
        keys, records = settled(keys, records)
        written = 0
        for part in _parts([len(key) + len(record) for key, record in zip(keys, records, strict=True)]):
            some = slice(part.start, part.stop)
            written += self._ask("write", [table, keys[some], records[some]], self._write_seconds, table)
        return written

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Swap records; up to the limits of a request in one atomic step."""
        in_key_order(keys, expected, records)
        lost: list[int] = []
        sizes = [len(k) + len(e or b"") + len(r) for k, e, r in zip(keys, expected, records, strict=True)]
        for part in _parts(sizes):
            some = slice(part.start, part.stop)
            body = [table, keys[some], expected[some], records[some]]
            lost += [part.start + at for at in self._ask("swap", body, self._write_seconds, table)]
        return lost

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records; up to the limits of a request as they were at one moment."""
        self._refuse_closed()
        if not requests:
            return []
        asked = sum([len(keys) for _, keys in requests])
        if asked + len(requests) <= MOST_KEYS and sum([sum(map(len, keys)) for _, keys in requests]) <= MOST_BYTES // 2:
            return self._read(requests)
        found: list[list[bytes | None]] = [[] for _ in requests]
        for at, (table, keys) in enumerate(requests):
            for part in _parts(list(map(len, keys))):
                [some] = self._read([(table, keys[part.start : part.stop])])
                found[at] += some
        return found

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""
        page: list[tuple[bytes, bytes]] = []
        while True:
            body = [table, after, min(limit - len(page), MOST_KEYS)]
            some, more = self._ask("scan", body, self._write_seconds, table)
            page += some
            if not more or not some or len(page) >= limit:
                return page
            after = page[-1][0]

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        self._server.close()

    def _has(self, table: str) -> bool:
        try:
            self._read([(table, [])])
        except TableMissing:
            return False
        return True

    def _read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read with one request; with two, each with half of the keys, if the answer would be too large."""
        more = _EACH_KEY * sum([len(keys) for _, keys in requests])
        try:
            tables = [table for table, _ in requests]
            found: list[list[bytes | None]] = self._ask("read", [requests], self._seconds + more, *tables)
        except _TooLarge as error:
            halves = _halves(requests)
            if halves is None:
                raise error.named() from error
            one, two = map(self._read, halves)
            return [[*some, *others] for some, others in zip(one, two, strict=True)]
        if list(map(len, found)) != [len(keys) for _, keys in requests]:
            raise self._strange("it has not a record for each key")
        return found

    def _ask(self, route: str, body: Any, seconds: float, *tables: str) -> Any:
        """Return what the server answers; hot."""
        self._refuse_closed()
        asked = Asked(b"/online-store/" + route.encode(), _encode(body), accept=MSGPACK)
        with Deadline(seconds):
            reply = self._server.exchange(asked)
        if reply.status == 200:
            try:
                return _DECODE[route](reply.body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._strange(str(error)) from error
        said = problem_of(reply)
        if said.code == "table_missing" and tables:
            step = said.pointer.split("/")[2:3]
            at = int(step[0]) if step and step[0].isdecimal() else 0
            raise TableMissing(tables[at if at < len(tables) else 0], self._name)
        if said.code == "too_large":
            raise _TooLarge(self._name, said.detail)
        raise self._store_error(error_of(reply, self._name))

    def _strange(self, what: str) -> StoreError:
        said = f"{self._name} gave an answer that is none: {what}"
        return StoreError(said, cure="see that it is a feature server of Likewise, of the same version")

    @staticmethod
    def _store_error(error: Exception) -> Exception:
        """Return an error of the kind that stores raise: a request that was wrong is this store's affair."""
        return error if isinstance(error, StoreError | PermissionError) else StoreError(str(error))

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed(self._name)

    def __repr__(self) -> str:
        return f"RemoteStore({self._name!r})"


class _TooLarge(StoreError):
    """The server refuses a request, or its answer, for its size."""

    def __init__(self, where: str, said: str) -> None:
        super().__init__(f"{where}: {said}")

    def named(self) -> StoreError:
        """Return the error that a user sees."""
        return StoreError(self.message, cure="give the server higher limits: likewise serve --limit records_bytes=…")


def open_store(config: RemoteSettings, root: str) -> RemoteStore:
    """Return the store behind the server that a configuration names.

    Args:
        config: has the server and the settings.
        root: the repo's folder.

    Raises:
        ConfigError: the address cannot be, or the key or certificate cannot be read.
    """
    options = config.options
    key = secret(options.key, "the access key of the online store", root)
    cert = os.path.join(root, options.cert) if options.cert else ""  # noqa: PTH118 - absolute ones stay
    login = Login(key, cert, options.connection_pool_size, options.connection_idle_timeout)
    return RemoteStore(
        RemoteServer(parse_server(options.path), login),
        seconds=options.timeout_seconds,
        write_seconds=options.write_timeout_seconds,
    )


_encode = msgspec.msgpack.Encoder().encode
_DECODE: Mapping[str, Callable[[bytes], Any]] = {
    "read": msgspec.msgpack.Decoder(list[list[bytes | None]]).decode,
    "scan": msgspec.msgpack.Decoder(tuple[list[tuple[bytes, bytes]], bool]).decode,
    "write": msgspec.msgpack.Decoder(int).decode,
    "swap": msgspec.msgpack.Decoder(list[int]).decode,
    "create": msgspec.msgpack.Decoder(None).decode,
    "drop": msgspec.msgpack.Decoder(None).decode,
}
"""Reads the answer of each route."""


def _parts(sizes: Sequence[int], *, empty: bool = True) -> Iterator[Positions]:
    """Cut positions into parts that fit into a request each; one part, empty, of none, if that is to be asked too."""
    start, size = 0, 0
    for at, one in enumerate(sizes):
        if at > start and (at - start >= MOST_KEYS - 1 or size + one + _EACH > MOST_BYTES):
            yield range(start, at)
            start, size = at, 0
        size += one + _EACH
    if sizes or empty:
        yield range(start, len(sizes))


def _halves(requests: Sequence[Request]) -> Iterable[list[Request]] | None:
    """Return requests twice, each with half of the keys; None when they have one key or none."""
    if sum([len(keys) for _, keys in requests]) < 2:
        return None
    if max(len(keys) for _, keys in requests) > 1:
        one = [(table, keys[: len(keys) // 2]) for table, keys in requests]
        return one, [(table, keys[len(keys) // 2 :]) for table, keys in requests]
    middle = len(requests) // 2
    one = [(table, keys if at < middle else []) for at, (table, keys) in enumerate(requests)]
    return one, [(table, keys if at >= middle else []) for at, (table, keys) in enumerate(requests)]
