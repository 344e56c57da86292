"""Remote server: requests to a feature server out, answers in, within a deadline; its problems are our errors.

A request is one exchange, which has the time that :func:`~likewise.online.deadline.seconds_left` says: for connecting,
sending and receiving together, however slowly bytes arrive. The server is told how long that is. After any failure the
connection is thrown away, so that no answer is ever taken for that of another request. Nothing is tried again here.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore
import msgspec

from likewise.core import errors
from likewise.core.errors import (
    AccessRefused,
    ConfigError,
    LeaseHeld,
    LikewiseError,
    NotFound,
    NotSupported,
    RequestError,
    SourceError,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TransformError,
)
from likewise.online.base import Disconnected
from likewise.online.deadline import DeadlineExceeded, seconds_left

MSGPACK = b"application/msgpack"
"""The content type of most bodies."""
MOST_ANSWERED = 512 << 20
"""How many bytes an answer has at most: twice the server's limit of its largest, ``bulk_answer_bytes``."""
_SLICE = 1 << 16
_ROW = re.compile(r"[0-9]{1,9}")
_LONGEST = 60.0
"""The longest time that a server is told of; what may take longer is something it has no deadline for."""
_LATE = (httpcore.TimeoutException,)
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a feature server is."""

    scheme: bytes
    """``http`` or ``https``."""
    host: bytes
    """Its name or number."""
    port: int
    """Its port."""
    path: bytes
    """What stands before the paths of its routes; empty for most."""

    def __str__(self) -> str:
        host = self.host.decode()
        return f"{self.scheme.decode()}://{f'[{host}]' if ':' in host else host}:{self.port}{self.path.decode()}"


def parse_server(url: str, what: str = "online_store.path") -> ServerAddress:
    """Read a server's address.

    Args:
        url: ``http://host:port`` or ``https://…``, maybe with a path.
        what: where it stands, for messages.

    Raises:
        ConfigError: it is something else; the message has no secret that the address holds.

    Example:
        >>> str(parse_server("http://features.internal:6566/"))
        'http://features.internal:6566'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{what} holds a user or a password", cure="give the access key by itself, as env:NAME")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not url.isascii():
        raise ConfigError(f"{what}={url!r} is no server's address", cure="write it like http://127.0.0.1:6566")
    default = 443 if parts.scheme == "https" else 6566
    return ServerAddress(parts.scheme.encode(), host.encode(), port or default, parts.path.rstrip("/").encode())


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    target: bytes
    """The route, with its query string."""
    body: bytes = b""
    """The body."""
    method: bytes = b"POST"
    """GET or POST."""
    media: bytes = MSGPACK
    """The content type of the body."""
    accept: bytes = b"*/*"
    """The content type of the answer that is wanted."""


class Reply(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    """The HTTP status."""
    headers: Mapping[bytes, bytes]
    """Its headers, their names in lower case."""
    body: bytes
    """The body."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a client connects."""

    key: str = field(default="", repr=False)
    """The access key; empty for none."""
    cert: str = ""
    """The file of the authorities to trust, PEM; empty for the system's."""
    connections: int = 50
    """The most connections."""
    idle_seconds: float = 60.0
    """For how long a connection may stay without a request; less than the server's own limit."""

    def context(self) -> ssl.SSLContext:
        """Return what TLS connections are made with.

        Raises:
            ConfigError: the file of the authorities cannot be read.
        """
        try:
            return ssl.create_default_context(cafile=self.cert or None)
        except (OSError, ssl.SSLError) as error:
            what = f"the file {self.cert!r} of trusted authorities cannot be read: {error}"
            raise ConfigError(what, cure="give the path of a PEM file") from error


class RemoteServer:
    """A feature server on another machine. Threads may share it, and it may be used in forked processes.

    Args:
        address: where.
        login: how to connect. Nothing is connected before it is used.
    """

    def __init__(self, address: ServerAddress, login: Login) -> None:
        self.address = address
        self._login = login
        self._context = login.context() if address.scheme == b"https" else None
        self._headers = common_headers(address, login)
        self._process, self._pool = os.getpid(), self._new_pool()

    def exchange(self, asked: Asked) -> Reply:
        """Send a request, and return the answer, whatever its status.

        Raises:
            DeadlineExceeded: the time of the call was over.
            Disconnected: there is no server, or the connection broke; what was asked may have been done.
            StoreError: the connection is not safe.
        """
        if self._process != os.getpid():  # forked: the parent's connections are not ours
            self._process, self._pool = os.getpid(), self._new_pool()
        with naming(str(self.address)):
            left = _left(None)
            timeout = {"pool": left, "connect": left, "read": left, "write": left}
            url = httpcore.URL(
                scheme=self.address.scheme,
                host=self.address.host,
                port=self.address.port,
                target=self.address.path + asked.target,
            )
            with self._pool.stream(
                asked.method,
                url,
                headers=self._headers + headers_of(asked, left),
                content=asked.body,
                extensions={"timeout": timeout},
            ) as response:
                body = Body(str(self.address))
                for part in response.iter_stream():
                    body.add(part)
                return Reply(response.status, lower(response.headers), body.whole())

    def close(self) -> None:
        """Let go of the connections."""
        _close_own(self._pool, self._process)

    def _new_pool(self) -> httpcore.ConnectionPool:
        pool = httpcore.ConnectionPool(
            ssl_context=self._context,
            max_connections=self._login.connections,
            max_keepalive_connections=self._login.connections,
            keepalive_expiry=self._login.idle_seconds,
            network_backend=_Backend(),
        )
        weakref.finalize(self, _close_own, pool, os.getpid())  # for stores and clients that nobody closes
        return pool

    def __repr__(self) -> str:
        return f"RemoteServer({str(self.address)!r})"


def _close_own(pool: httpcore.ConnectionPool, process: int) -> None:
    """Close connections, but not those of the process that this one was forked from."""
    if process == os.getpid():
        pool.close()


class Body:
    """Takes the body of an answer, up to :data:`MOST_ANSWERED` bytes.

    Args:
        where: the server's address, for messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take a part.

        Raises:
            StoreError: it is too much.
        """
        self._size += len(part)
        if self._size > MOST_ANSWERED:
            what = f"{self._where} answers with more than {MOST_ANSWERED:,} bytes"
            raise StoreError(what, cure="ask for less at once; see that it is a feature server of Likewise")
        self._parts.append(part)

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self._parts)


Headers = list[tuple[bytes, bytes]]
"""Headers as they are sent."""


def common_headers(address: ServerAddress, login: Login) -> Headers:
    """Return the headers of every request."""
    host = f"[{address.host.decode()}]" if b":" in address.host else address.host.decode()
    found = [(b"host", f"{host}:{address.port}".encode()), (b"user-agent", b"likewise")]
    return [*found, (b"authorization", b"Bearer " + login.key.encode())] if login.key else found


def headers_of(asked: Asked, left: float | None) -> Headers:
    """Return the headers of one request.

    Args:
        asked: the request.
        left: how many seconds it may take; None: any.
    """
    found = [(b"accept", asked.accept)]
    if asked.method == b"POST":
        found += [(b"content-type", asked.media), (b"content-length", b"%d" % len(asked.body))]
    if left is not None and left <= _LONGEST:
        found.append((b"x-request-deadline-ms", b"%d" % max(1, int(left * 1000))))
    return found


def lower(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Return headers as a mapping, their names in lower case."""
    return {name.lower(): value for name, value in headers}


# ---- Time ----------------------------------------------------------------------------------------------------------


def _left(most: float | None) -> float | None:
    """Return how long the next step may take; raise when the time of the call is over."""
    left = seconds_left()
    if left is None:
        return most
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return left


class _Backend(httpcore.NetworkBackend):
    """Makes connections all of whose steps end with the deadline: the client's own timeouts begin anew with each."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers."""
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for place in _addresses(host, port):
            try:
                return _Stream(self._plain.connect_tcp(place, port, _left(timeout), local_address, socket_options))
            except httpcore.ConnectError as failed:
                error = failed
        raise error

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends with the deadline."""

    def __init__(self, plain: httpcore.NetworkStream) -> None:
        self._plain = plain

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return bytes that arrived."""
        return self._plain.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, a slice at a time."""
        for start in range(0, len(buffer), _SLICE):
            self._plain.write(buffer[start : start + _SLICE], _left(timeout))

    def close(self) -> None:
        """Close it."""
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begin to speak TLS."""
        return _Stream(self._plain.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._plain.get_extra_info(info)


# ---- Errors --------------------------------------------------------------------------------------------------------


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Turn what the client raises into our errors.

    Args:
        where: the server's address.
    """
    try:
        yield
    except _LATE as error:
        raise DeadlineExceeded(
            f"{where} did not answer in time", cure="try again, or give the call more time; see that it is not busy"
        ) from error
    except _BROKEN as error:
        if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
            what = f"{where}: no safe connection: {error}"
            raise StoreError(what, cure="check the address, and the file of trusted authorities (cert)") from error
        raise Disconnected(
            f"{where} cannot be reached: {error}", cure="see that 'likewise serve' runs there, and try again"
        ) from error


class Said(msgspec.Struct, frozen=True):
    """What a problem says."""

    code: str = ""
    """Its kind."""
    detail: str = ""
    """What is wrong, and the cure."""
    error: str = ""
    """The name of the error that the server's own call would have raised; empty where it is not said."""
    pointer: str = ""
    """Where in the request."""
    request_id: str = ""
    """The name under which the server's log has more."""


_said = msgspec.json.Decoder(Said).decode
_BY_CODE: Mapping[str, type[LikewiseError]] = {
    "unauthorized": AccessRefused,
    "forbidden": AccessRefused,
    "no_route": ConfigError,
    "not_found": NotFound,
    "busy": LeaseHeld,
    "not_supported": NotSupported,
    "function_failed": TransformError,
    "source_failed": SourceError,
    "overloaded": StoreUnavailable,
    "not_ready": StoreUnavailable,
    "store_unavailable": StoreUnavailable,
    "deadline_exceeded": DeadlineExceeded,
    "store_full": StoreFull,
}
_BY_NAME: Mapping[str, type[LikewiseError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LikewiseError) and kind is not errors.RepoProblems
}


def problem_of(reply: Reply) -> Said:
    """Return what an answer that is none says; whoever stands between may have said it in another form."""
    try:
        said = _said(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = Said()
    if said.code or said.detail:
        return said
    return Said(detail=f"the answer has the status {reply.status}, and is no problem that Likewise knows")


def error_of(reply: Reply, where: str) -> LikewiseError:
    """Return the error that an answer stands for: of the class that the same call would raise beside the store.

    Args:
        reply: an answer with a status of 400 or more.
        where: the server's address.
    """
    said = problem_of(reply)
    kind = _BY_NAME.get(said.error) or _BY_CODE.get(said.code) or _by_status(reply.status)
    if issubclass(kind, RequestError):
        column, row = _place(said.pointer)
        return kind(said.detail, column=column, row=row)
    if reply.status >= 500 or kind in (AccessRefused, ConfigError):
        shown = f" (request {said.request_id})" if said.request_id else ""
        return kind(f"{where}: {said.detail}{shown}")
    return kind(said.detail)


def _by_status(status: int) -> type[LikewiseError]:
    if status in (502, 503, 504, 429):
        return StoreUnavailable
    if status in (401, 403):
        return AccessRefused
    return RequestError if 400 <= status < 500 else StoreError


def _place(pointer: str) -> tuple[str | None, int | None]:
    """Return the column and the row that a pointer into rows leads to; None where it leads elsewhere."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[2:]]
    if pointer.split("/")[1:2] not in (["entities"], ["rows"], ["df"]) or not 1 <= len(steps) <= 2:
        return None, None
    if pointer.startswith("/rows"):
        steps.reverse()
    row = steps[1] if len(steps) == 2 else ""
    return steps[0], int(row) if _ROW.fullmatch(row) else None
