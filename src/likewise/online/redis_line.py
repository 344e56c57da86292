"""Redis connections: bytes out, replies in, within the deadline of the thread; kept for the next call if all went well.

The client library connects and logs in; from then on its socket is used directly, for it would start its time limit
anew with every few bytes, and take a third of the time of a small call for itself. What failed in any way is closed,
and with it all connections that nobody uses: no reply is ever taken for that of another call.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import weakref
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, DefaultParser, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from likewise.online.deadline import seconds_left
from likewise.online.redis_address import Address

_MOST = 1_000
"""How many connections to one server may be open at once."""
_PIECE = 65_536
"""How many bytes are read at a time at most."""


class Line:
    """One connection to a server, logged in.

    Args:
        connection: what connects, of the client library; not connected yet.
        seconds: how long anything may take when the thread has no deadline.

    Raises:
        redis.RedisError: it cannot be had.
    """

    __slots__ = ("_buffer", "_connection", "_poll", "_reader", "_seconds", "_socket")

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        connection.socket_connect_timeout = connection.socket_timeout = self._left()
        connection.driver_info = connection.lib_name = connection.lib_version = (
            None  # two round trips to say who we are
        )
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self._socket: socket.socket = connection._sock
        self._reader: Any = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=_named_reply)
        self._buffer = bytearray(_PIECE)
        self._poll = _watched(self._socket)

    def send(self, data: bytes) -> None:
        """Send bytes; hot."""
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(data)
        except TimeoutError as error:
            raise redis.TimeoutError("it took too long to send") from error
        except OSError as error:
            raise redis.ConnectionError(f"the connection broke: {error}") from error

    def reply(self) -> Any:
        """Return the next reply; an error reply as the exception it is; hot."""
        gets, buffer = self._reader.gets, self._buffer
        reply = gets()
        try:
            while reply is False:
                self._socket.settimeout(self._left())
                size = self._socket.recv_into(buffer)
                if not size:
                    raise redis.ConnectionError("the server closed the connection")
                self._reader.feed(buffer, 0, size)
                reply = gets()
        except TimeoutError as error:
            raise redis.TimeoutError("it took too long to answer") from error
        except OSError as error:
            raise redis.ConnectionError(f"the connection broke: {error}") from error
        return reply

    def is_quiet(self) -> bool:
        """Tell whether the connection is as a call leaves it: open, and nothing to be read."""
        if self._poll is not None:
            return not self._poll.poll(0)
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()

    def _left(self) -> float:
        left = seconds_left()
        if left is None:
            return self._seconds
        if left <= 0:
            raise redis.TimeoutError("the deadline is over")
        return left


def _watched(connected: socket.socket) -> Any:
    """Return what tells whether a socket can be read; None on Windows, which has only a slower way."""
    if sys.platform == "win32":
        return None
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return poll


def _named_reply(text: str) -> Exception:
    """Return an error reply as the client library's exception for it."""
    error: Exception = DefaultParser.parse_error(text)
    return error


class Lines:
    """The connections to one server. Threads share it, and forked processes begin with none.

    Args:
        address: where the server is, or the sentinels that know it.
        seconds: how long connecting may take when the thread has no deadline.
    """

    def __init__(self, address: Address, seconds: float) -> None:
        self._seconds = seconds
        self._pool, self._sentinel = _pool(address, seconds)
        self._idle: list[Line] = []
        self._used = 0
        self._process = os.getpid()
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)  # for stores that nobody closes

    def take(self) -> Line:
        """Return a connection that nobody else has; hot.

        Raises:
            redis.RedisError: none can be had.
        """
        if self._process != os.getpid():
            self._begin_anew()
        with self._lock:
            if self._used >= _MOST:
                raise redis.ConnectionError(f"{_MOST} connections are in use")
            self._used += 1
            line = self._idle.pop() if self._idle else None
        try:
            if line is not None:
                if line.is_quiet():
                    return line
                line.close()
                self._forget_idle()
            return Line(self._pool.connection_class(**self._pool.connection_kwargs), self._seconds)
        except BaseException:
            with self._lock:
                self._used -= 1
            raise

    def give_back(self, line: Line) -> None:
        """Keep a connection whose replies were all read; hot."""
        with self._lock:
            self._used -= 1
            self._idle.append(line)

    def abandon(self, line: Line) -> None:
        """Close a connection, so that nobody takes what still comes from it for something else."""
        with self._lock:
            self._used -= 1
        line.close()
        self._forget_idle()

    def close(self) -> None:
        """Close what nobody uses."""
        self._forget_idle()
        for each in self._sentinel.sentinels if self._sentinel is not None else ():
            each.close()

    def _forget_idle(self) -> None:
        with self._lock:
            idle = self._idle.copy()
            self._idle.clear()
        _close_all(idle)

    def _begin_anew(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        self._lock = threading.Lock()
        self._process, self._idle, self._used = os.getpid(), [], 0
        weakref.finalize(self, _close_all, self._idle)


def _close_all(lines: list[Line]) -> None:
    for line in lines:
        line.close()


class _Parser(DefaultParser):  # type: ignore[valid-type, misc]
    """Waits for bytes while the client library logs in, as long as the deadline lets it and not anew with each byte."""

    def read_from_socket(self, timeout: object = None, raise_on_timeout: bool = True) -> bool:
        """Read what has arrived."""
        left = seconds_left()
        if left is None or isinstance(timeout, int | float):
            more = {"timeout": timeout} if isinstance(timeout, int | float) else {}
            return bool(super().read_from_socket(raise_on_timeout=raise_on_timeout, **more))
        if left <= 0:
            raise redis.TimeoutError("the deadline is over")
        return bool(super().read_from_socket(timeout=left))


def _pool(address: Address, seconds: float) -> tuple[ConnectionPool, Sentinel | None]:
    """Return what makes connections, and the sentinels that it asks, if there are some."""
    plain, tls = _plain(address), bool(address.options.get("ssl", False))
    plain.pop("ssl", None)
    settings: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        "parser_class": _Parser,
        "protocol": 2,
    }
    if address.kind == "redis_sentinel":
        own: dict[str, Any] = {
            name.removeprefix("sentinel_"): v for name, v in address.options.items() if name.startswith("sentinel_")
        }
        share = seconds / len(address.hosts)  # they are asked one after the other
        own |= {"socket_timeout": share, "socket_connect_timeout": share, "retry": settings["retry"], "protocol": 2}
        guard = Sentinel(address.hosts, sentinel_kwargs={**own, "ssl": tls})
        for each in guard.sentinels:
            each.connection_pool.connection_kwargs["parser_class"] = _Parser
        master = guard.master_for(address.master, ssl=tls, **settings, **plain)
        return master.connection_pool, guard
    if address.path:
        settings |= {"path": address.path, "connection_class": UnixDomainSocketConnection}
    else:
        [(host, port)] = address.hosts
        settings |= {"host": host, "port": port, "connection_class": SSLConnection if tls else Connection}
    return ConnectionPool(**settings, **plain), None


def _plain(address: Address) -> dict[str, Any]:
    return {name: value for name, value in address.options.items() if not name.startswith("sentinel_")}
