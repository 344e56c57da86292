"""A bad network for a test: a proxy on loopback before a real server, whose links stall, trickle, break off and reset.

::

    with Proxy("localhost:6379") as proxy:            # or the path of a socket of this machine
        store = open_store(proxy.address)             # "127.0.0.1:40123"
        proxy.set(to_client=Link(delay=0.05, jitter=0.1))
        ...                                           # the store meets a slow network
        proxy.set()                                   # and a good one again

What is wrong is data: one :class:`Link` for each direction, changed at any time, for all connections that are open and
all that come. What a network may do to TCP, in these words:

=================================================  ================================================================
slow, far away                                     ``to_client=Link(delay=0.2)``, ``jitter=0.3`` more at random
lossy: some pieces come late, for TCP repeats      ``to_client=Link(loss=0.1)``
trickling                                          ``to_client=Link(rate=50)`` bytes a second
frozen for a while, then all arrives               ``to_client=Link(stall=True)``
a black hole                                       ``to_client=Link(drop=True), to_server=Link(drop=True)``
half-open: it accepts, and never answers           ``to_client=Link(drop=True)``: requests still reach the server
half-open: it answers, and never closes            ``to_client=Link(keep_open=True)``
truncated                                          ``to_client=Link(cut_after=100)``: then the connection is closed
reset in the middle                                ``to_client=Link(reset_after=100)``; all, now: ``proxy.reset()``
nobody listens                                     ``proxy.set(refuse=True)``: new connections are reset at once
=================================================  ================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Link", "Proxy"]

_PIECE = 65_536
"""How many bytes are read at a time at most."""
_WAITING = 64
"""How many pieces of a connection wait at most in each direction; beyond that, its sender has to wait."""
_AGAIN = 0.2
"""After how many seconds a piece that was lost comes, for TCP sends it again."""
_TICK = 0.01
"""How often at most bytes go over a link that has a rate, in seconds."""
_LINGER = 5.0
"""For how long after a client's end answers may still come, in seconds; then its connection is reset."""
_SECONDS = 10.0
"""How long starting, switching and closing may take."""


@dataclass(frozen=True, slots=True)
class Link:
    """How one direction of a network behaves; without arguments, as a good one."""

    delay: float = 0.0
    """How long each piece is under way, in seconds; pieces keep their order, and do not wait for each other."""
    jitter: float = 0.0
    """Up to how much longer it may take, at random, in seconds."""
    loss: float = 0.0
    """Which share of the pieces is lost at first, from 0 to 1; they arrive 0.2 s later."""
    rate: float | None = None
    """How many bytes a second get through; None for all that come."""
    stall: bool = False
    """Whether nothing gets through until the link is changed; then all that waited does."""
    drop: bool = False
    """Whether bytes vanish, and with them all that follow on the same connection, which stays open."""
    cut_after: int | None = None
    """After how many bytes, counted from the change on, a connection is closed; None for never."""
    reset_after: int | None = None
    """After how many bytes, counted from the change on, a connection is reset; None for never."""
    keep_open: bool = False
    """Whether the end of what a side has to say is kept from the other one, which waits for more."""


_GOOD = Link()


class Proxy:
    """Stands before a server on a loopback port, and hands on what both sides say over links that may be bad.

    It has a thread of its own. At most ``most`` connections are open at once, others are reset; of each, at most 4 MiB
    wait in each direction.

    Args:
        target: the server behind it: ``host:port``, (host, port), or the path of a socket of this machine.
        to_client: how answers get through.
        to_server: how requests get through.
        tls: what makes the client's side safe; None for plain bytes.
        most: how many connections at once.
        seed: of what is random.

    Raises:
        OSError: no port can be had.

    Example:
        >>> import socket
        >>> with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()) as proxy:
        ...     with socket.create_connection((proxy.host, proxy.port)) as client:
        ...         back, _ = server.accept()
        ...         with back:
        ...             proxy.set(to_client=Link(cut_after=4))
        ...             _ = back.send(b"an answer")
        ...             client.recv(100), client.recv(100)
        (b'an a', b'')
    """

    def __init__(
        self,
        target: str | tuple[str, int],
        *,
        to_client: Link = _GOOD,
        to_server: Link = _GOOD,
        tls: ssl.SSLContext | None = None,
        most: int = 1_000,
        seed: int = 0,
    ) -> None:
        self.host = "127.0.0.1"
        self.accepted = 0
        self._target, self._tls, self._most = target, tls, most
        self._refuse = False
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._network = _Network(to_client, to_server, random.Random(seed))
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="proxy", daemon=True)
        self._thread.start()
        self.port = started.result(_SECONDS)

    @property
    def address(self) -> str:
        """Where clients connect: ``127.0.0.1:port``."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open now; ``accepted`` is how many there were."""
        return len(self._open)

    def set(self, *, to_client: Link = _GOOD, to_server: Link = _GOOD, refuse: bool = False) -> None:
        """Change the network from now on; without arguments it is a good one again. What waited goes on as changed.

        Args:
            to_client: how answers get through.
            to_server: how requests get through.
            refuse: whether new connections are reset at once.
        """

        def change() -> None:
            self._refuse = refuse
            self._network.change(to_client, to_server)

        self._tell(change)

    def reset(self) -> None:
        """Reset all connections that are open; new ones may come."""

        def break_all() -> None:
            for ends in self._open.values():
                _break(ends)

        self._tell(break_all)

    def close(self) -> None:
        """End the proxy with all its connections; more than once is fine."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, change: Callable[[], None]) -> None:
        """Do something in the proxy's thread, and wait until it is done."""
        done: Future[None] = Future()

        def do() -> None:
            change()
            done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result(_SECONDS)

    # In its own thread

    async def _run(self, started: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._accept, self.host, 0, ssl=self._tls)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        self._refuse = True
        await asyncio.sleep(_TICK)  # asyncio forgets what it was taking when it closes: let it be refused before
        server.close()
        left = dict(self._open)
        for task, ends in left.items():
            task.cancel()
            _break(ends)
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # let the sockets close

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refuse or len(self._open) >= self._most:
            _break([writer])
            return
        ends = [writer]
        task = asyncio.ensure_future(self._connection(reader, ends))
        self._open[task] = ends
        task.add_done_callback(self._open.pop)

    async def _connection(self, reader: asyncio.StreamReader, ends: list[asyncio.StreamWriter]) -> None:
        """Hand on both ways until the server has no more to say, or the connection breaks."""
        beside: list[asyncio.Task[None]] = []
        try:
            source, end = await self._dial()
            ends.append(end)
            asking = _Flow(self._network, _TO_SERVER, reader, end)
            beside += [asyncio.ensure_future(each) for each in (_ask(asking, ends), _leave(asking, ends))]
            await _Flow(self._network, _TO_CLIENT, source, ends[0]).run()
        except _Cut:
            pass
        except OSError:
            _break(ends)
        finally:
            for each in beside:
                each.cancel()
            for writer in ends:
                writer.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not isinstance(self._target, str):
            return await asyncio.open_connection(*self._target)
        if "/" in self._target:
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))


_TO_CLIENT, _TO_SERVER = 0, 1


class _Cut(Exception):
    """A connection is to be closed."""


class _Network:
    """The two links of a proxy as they are now; used in the proxy's thread only.

    Args:
        to_client: how answers get through.
        to_server: how requests get through.
        draw: where chance comes from.
    """

    def __init__(self, to_client: Link, to_server: Link, draw: random.Random) -> None:
        self.links = (to_client, to_server)
        self.draw = draw
        self._changed = asyncio.Event()

    def change(self, to_client: Link, to_server: Link) -> None:
        """Take other links, and wake up whoever waits."""
        self.links = (to_client, to_server)
        self._changed.set()
        self._changed = asyncio.Event()

    def due(self, way: int) -> float:
        """Return when a piece that comes now arrives, on the loop's clock."""
        link, draw = self.links[way], self.draw.random
        late = link.delay + link.jitter * draw() + (_AGAIN if draw() < link.loss else 0.0)
        return asyncio.get_running_loop().time() + late

    async def arrival(self, way: int, due: float) -> Link:
        """Wait until a piece is due, or the network is changed, and while it stalls; return the link as it is then."""
        clock = asyncio.get_running_loop().time
        while self.links[way].stall or clock() < due:
            if await self.changed(None if self.links[way].stall else due - clock()):
                due = 0.0
        return self.links[way]

    async def changed(self, seconds: float | None) -> bool:
        """Wait for a change, for some seconds at most, and tell whether there was one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
            return True
        return False


class _Flow:
    """What one side of a connection says, on its way to the other.

    Args:
        network: what it goes over.
        way: in which direction.
        source: where it comes from.
        target: where it goes.
    """

    def __init__(self, network: _Network, way: int, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        self._network, self._way, self._source, self._target = network, way, source, target
        self._waiting: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(_WAITING)
        self._link, self._passed, self._lost = network.links[way], 0, False
        self.over = asyncio.Event()
        """Set when the source has said all."""

    async def run(self) -> None:
        """Hand on all there is, and then that it is over.

        Raises:
            OSError: the connection is to be reset.
            _Cut: it is to be closed.
        """
        taking = asyncio.ensure_future(self._take())
        try:
            while True:
                due, piece = await self._waiting.get()
                self._turn(await self._network.arrival(self._way, due))
                if isinstance(piece, OSError):
                    raise piece
                if not piece:
                    break
                await self._hand_on(piece)
            while self._lost or self._link.keep_open:
                await self._network.changed(None)
                self._turn(self._network.links[self._way])
            if self._target.can_write_eof():
                self._target.write_eof()
        finally:
            taking.cancel()

    async def _take(self) -> None:
        """Note what comes, and when it arrives at the other end."""
        piece: bytes | OSError = b"-"
        while isinstance(piece, bytes) and piece:
            try:
                piece = await self._source.read(_PIECE)
            except OSError as error:
                piece = error
            await self._waiting.put((self._network.due(self._way), piece))
        self.over.set()

    async def _hand_on(self, piece: bytes) -> None:
        """Write a piece, or as much of it as the link lets through."""
        while piece and not self._lost:
            size = self._room(len(piece))
            self._target.write(piece[:size])
            await self._target.drain()
            piece, self._passed = piece[size:], self._passed + size
            self._break_off()
            if self._link.rate is not None and await self._network.changed(size / self._link.rate):
                self._turn(await self._network.arrival(self._way, 0.0))

    def _room(self, size: int) -> int:
        """Return how many bytes go through at once now."""
        link = self._link
        limits = [limit - self._passed for limit in (link.cut_after, link.reset_after) if limit is not None]
        if link.rate is not None:
            limits.append(max(1, int(link.rate * _TICK)))
        return min(size, *limits) if limits else size

    def _break_off(self) -> None:
        """Close or reset the connection if enough bytes have passed."""
        if self._link.reset_after is not None and self._passed >= self._link.reset_after:
            raise ConnectionResetError
        if self._link.cut_after is not None and self._passed >= self._link.cut_after:
            raise _Cut

    def _turn(self, link: Link) -> None:
        """Go on over a link, which may be a new one."""
        if link is not self._link:
            self._link, self._passed = link, 0
        self._lost = self._lost or link.drop


async def _ask(flow: _Flow, ends: list[asyncio.StreamWriter]) -> None:
    """Hand on what a client says; when that breaks, the whole connection does."""
    try:
        await flow.run()
    except _Cut:
        for end in ends:
            end.close()
    except OSError:
        _break(ends)


async def _leave(flow: _Flow, ends: list[asyncio.StreamWriter]) -> None:
    """End a connection some time after its client has gone, so that those that nobody waits for do not pile up."""
    await flow.over.wait()
    await asyncio.sleep(_LINGER)
    _break(ends)


def _break(ends: list[asyncio.StreamWriter]) -> None:
    """Reset connections: what was not sent yet is lost, and the other side is told so."""
    for end in ends:
        connected = end.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):  # it is closed
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.transport.abort()
