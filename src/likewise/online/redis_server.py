"""Redis servers: commands in, replies out, within a deadline; what goes wrong is one of our errors.

A call is one exchange: all commands are sent, then all replies are read, in one round trip. It has a deadline that
counts from its begin and includes connecting, however slowly bytes arrive. After any failure the connection is thrown
away, so that no reply is ever taken for that of another call. Nothing is tried again here: ``guard.py`` does that.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import hiredis
import redis
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError
from redis.sentinel import MasterNotFoundError

from likewise.core.errors import StoreError, StoreFull, StoreUnavailable
from likewise.online.base import Disconnected
from likewise.online.deadline import Deadline
from likewise.online.redis_address import Address
from likewise.online.redis_line import Line, Lines

Command = tuple[bytes | str | int, ...]
"""The name of a command, and its arguments."""
Packed = bytes
"""A command as it goes over the wire."""

_PAGE = 2_000
"""How many keys one step of a walk through all keys looks at; about a millisecond of the server's time."""
_TOGETHER = 65_536
"""About how many bytes are sent at once: the server works on them while more is packed."""
_SLOTS = 16_384
"""How many slots a cluster has."""
_TURNS = 5
"""How often commands of one call may be turned away."""
_SOON = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.ClusterError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ConnectionError,
)
"""Errors that pass: a server is starting, another one is taking over, or the connection broke."""
_REFUSED = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.NoPermissionError,
)


class Server(Protocol):
    """What a store needs of one server, or of a cluster of them."""

    one: ClassVar[bool]
    """Whether all keys are in one place, so that one command can use any of them."""

    def exchange(self, commands: Sequence[Command], *, more: float = 0.0) -> list[Any]:
        """Send commands, and return their replies in order; an error reply stands as the exception it is.

        Args:
            commands: each has its first key where Redis expects it.
            more: how much longer than usual all of it may take, in seconds.

        Raises:
            StoreUnavailable: no answer in time, or no server; what was sent may have been done.
            StoreError: the server refuses the connection.
        """

    def fetch(self, command: Packed, more: float) -> Any:
        """Send one command that is packed already, and return its reply; only where ``one`` holds."""

    def slot(self, key: bytes) -> int:
        """Return a number that is the same for keys that one command may use together."""

    def install(self, text: str) -> None:
        """Give every server a program in Lua, to be called by its hash."""

    def walk(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield all keys that match a pattern, some at a time, in no order; a key may come twice.

        Args:
            pattern: as Redis has them, such as ``a*``.
        """

    def close(self) -> None:
        """Let go of the connections."""


class OneServer:
    """One server, at an address or where sentinels say it is.

    Args:
        address: where.
        seconds: how long an exchange may take.
    """

    one: ClassVar[bool] = True

    def __init__(self, address: Address, seconds: float) -> None:
        self._name = str(address)
        self._seconds = seconds
        self._lines = Lines(address, seconds)

    def exchange(self, commands: Sequence[Command], *, more: float = 0.0) -> list[Any]:
        """Send commands, and return their replies in order."""
        return self._exchange(_packed(commands), len(commands), more)

    def fetch(self, command: Packed, more: float) -> Any:
        """Send one command that is packed already, and return its reply; hot."""
        [reply] = self._exchange((command,), 1, more)
        return reply

    def _exchange(self, pieces: Iterable[Packed], count: int, more: float) -> list[Any]:
        seconds = self._seconds + more
        with Deadline(seconds), _naming(self._name, seconds):
            return self.receive(self.send(pieces), count)

    def send(self, pieces: Iterable[Packed]) -> Line:
        """Send packed commands; return the connection that their replies come from."""
        line = self._lines.take()
        try:
            for piece in pieces:
                line.send(piece)
        except BaseException:
            self._lines.abandon(line)
            raise
        return line

    def receive(self, line: Line, count: int) -> list[Any]:
        """Return the replies to what was sent."""
        try:
            replies = [line.reply() for _ in range(count)]
            for reply in replies:
                if isinstance(reply, _SOON):
                    raise reply
        except BaseException:
            self._lines.abandon(line)
            raise
        self._lines.give_back(line)
        return replies

    def abandon(self, line: Line) -> None:
        """Throw a connection away, so that nobody takes what still comes from it for something else."""
        self._lines.abandon(line)

    def slot(self, key: bytes) -> int:
        """Return 0: any keys may be used together."""
        return 0

    def install(self, text: str) -> None:
        """Give the server a program."""
        self.exchange([("SCRIPT", "LOAD", text)])

    def walk(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield all keys that match a pattern."""
        cursor = b"0"
        while True:
            [found] = self.exchange([("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)])
            if isinstance(found, Exception):
                raise named(found, self._name, self._seconds)
            cursor, keys = found
            yield keys
            if int(cursor) == 0:
                return

    def close(self) -> None:
        """Let go of the connections."""
        self._lines.close()


Place = tuple[str, int]
"""The host and the port of a server in a cluster."""


class Cluster:
    """A cluster, which is looked at when it is first used. Each command uses keys of one slot only.

    The client's own class for clusters sends commands anew when a connection breaks, and has no deadline for a call as
    a whole; so this one asks for the slots itself, and only commands that were turned away are sent again.

    Args:
        address: some of its servers.
        seconds: how long an exchange may take.
    """

    one: ClassVar[bool] = False

    def __init__(self, address: Address, seconds: float) -> None:
        self._name = str(address)
        self._address = address
        self._seconds = seconds
        self._lock = threading.Lock()
        self._servers: dict[Place, OneServer] = {}
        self._slots: Sequence[Place | None] = ()

    def exchange(self, commands: Sequence[Command], *, more: float = 0.0) -> list[Any]:
        """Send commands, each to the server that has its keys, then read their replies."""
        seconds = self._seconds + more
        with Deadline(seconds), _naming(self._name, seconds):
            try:
                return self._exchange(commands)
            except redis.RedisError:
                self._slots = ()  # another server may have taken over
                raise

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        left = [(at, self._place(self.slot(_key(command))), False) for at, command in enumerate(commands)]
        for _ in range(_TURNS):
            for at, reply in self._round(commands, left):
                replies[at] = reply
            asked = [(at, replies[at]) for at, _, _ in left if isinstance(replies[at], AskError)]
            if not asked:
                return replies
            if any(isinstance(reply, MovedError) for _, reply in asked):
                self._slots = ()
            left = [(at, reply.node_addr, not isinstance(reply, MovedError)) for at, reply in asked]
        raise redis.exceptions.ClusterDownError("its slots are being moved")

    def _round(self, commands: Sequence[Command], left: Sequence[tuple[int, Place, bool]]) -> list[tuple[int, Any]]:
        """Send some commands, each to a place and maybe with leave to ask there, and return their replies."""
        groups: dict[Place, list[int]] = {}
        lists: dict[Place, list[Command]] = {}
        for at, place, asking in left:
            positions, some = groups.setdefault(place, []), lists.setdefault(place, [])
            positions += [-1, at] if asking else [at]
            some += [("ASKING",), commands[at]] if asking else [commands[at]]
        waiting: list[tuple[OneServer, Line, list[int]]] = []
        found: list[tuple[int, Any]] = []
        try:
            for place, some in lists.items():
                server = self._server(place)
                waiting.append((server, server.send(_packed(some)), groups[place]))
            while waiting:
                server, line, positions = waiting.pop()
                replies = server.receive(line, len(positions))
                found += [(at, reply) for at, reply in zip(positions, replies, strict=True) if at >= 0]
        finally:
            for server, line, _ in waiting:
                server.abandon(line)
        return found

    def fetch(self, command: Packed, more: float) -> Any:
        """Refuse: which server would have all of its keys?"""
        raise NotImplementedError("a packed command is for one server")

    def slot(self, key: bytes) -> int:
        """Return the slot of a key."""
        return key_slot(key)

    def install(self, text: str) -> None:
        """Give every server a program."""
        for place in self._places():
            self._server(place).install(text)

    def walk(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield all keys that match a pattern, server by server."""
        for place in self._places():
            yield from self._server(place).walk(pattern)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            for server in self._servers.values():
                server.close()

    def _places(self) -> list[Place]:
        with Deadline(self._seconds), _naming(self._name, self._seconds):
            self._place(0)
        return sorted({place for place in self._slots if place is not None})

    def _place(self, slot: int) -> Place:
        slots = self._slots or self._look()
        place = slots[slot]
        if place is None:
            self._slots = ()
            raise redis.exceptions.ClusterDownError(f"nobody serves slot {slot}")
        return place

    def _look(self) -> Sequence[Place | None]:
        """Ask the servers, until one answers, which of them has which slots."""
        known = [*self._servers, *self._address.hosts]
        for number, asked in enumerate(known):
            server = self._server(asked)
            try:
                [found] = server.receive(server.send(_packed([("CLUSTER", "SLOTS")])), 1)
            except (redis.ConnectionError, redis.TimeoutError):
                if number == len(known) - 1:
                    raise
                continue
            if isinstance(found, Exception):
                raise found
            slots: list[Place | None] = [None] * _SLOTS
            for first, last, (host, port, *_), *_ in found:
                slots[first : last + 1] = [((host or b"").decode() or asked[0], port)] * (last + 1 - first)
            self._slots = slots
            return slots
        raise redis.ConnectionError("no server of the cluster answers")

    def _server(self, place: Place) -> OneServer:
        with self._lock:
            if place not in self._servers:
                self._servers[place] = OneServer(replace(self._address, kind="redis", hosts=(place,)), self._seconds)
            return self._servers[place]


def open_server(address: Address, seconds: float) -> Server:
    """Return the server, or the cluster, at an address; nothing is connected yet.

    Args:
        address: where.
        seconds: how long an exchange with one server may take; for how long a server of a cluster may be silent.
    """
    return (Cluster if address.kind == "redis_cluster" else OneServer)(address, seconds)


# ---- Errors --------------------------------------------------------------------------------------------------------


def named(error: Exception, where: str, seconds: float) -> StoreError:
    """Return what an error of the client, or of the server, means to a user.

    Args:
        error: the error.
        where: the server's name.
        seconds: how long the call could take.
    """
    if isinstance(error, _REFUSED) or str(error).startswith(("NOAUTH", "WRONGPASS")):
        return StoreError(
            f"{where} refuses the login: {error}", cure="check online_store.password, or the connection string"
        )
    if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
        return StoreError(
            f"{where}: no safe connection: {error}", cure="check the ssl options of the connection string"
        )
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command not allowed" in str(error):
        return StoreFull(f"{where} has no memory left: {error}", cure="give it more (maxmemory), or drop old tables")
    if isinstance(error, redis.TimeoutError):
        return StoreUnavailable(
            f"{where} did not answer within {seconds:g} s", cure="try again; see that the server runs and is not busy"
        )
    if isinstance(error, MasterNotFoundError):
        return StoreUnavailable(f"{where}: {error}", cure="check online_store.sentinel_master, and that it runs")
    if isinstance(error, _SOON) or "-READONLY" in str(error):
        kind = Disconnected if isinstance(error, redis.ConnectionError) else StoreUnavailable
        return kind(f"{where} cannot be reached: {error}", cure="see that the server runs, and try again")
    return StoreError(f"{where} cannot do that: {error}", cure="it must be a Redis >= 6.2, and this user allowed to")


@contextmanager
def _naming(where: str, seconds: float) -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise named(error, where, seconds) from error


def _key(command: Command) -> bytes:
    """Return the first key of a command, after the number of keys for a program."""
    key = command[3 if command[0] == "EVALSHA" else 1]
    return key if isinstance(key, bytes) else str(key).encode()


def _packed(commands: Sequence[Command]) -> Iterator[Packed]:
    """Yield commands as they go over the wire, large ones by themselves and small ones together."""
    pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its types are narrower
    waiting: list[bytes] = []
    size = 0
    for command in commands:
        waiting.append(pack(command))
        size += len(waiting[-1])
        if size >= _TOGETHER:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
