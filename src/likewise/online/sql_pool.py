"""Links to a database server that calls borrow: a bounded number of them, none of which is used by two calls or after a
fork, or is lent again when it is in doubt what would come over it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from likewise.core.errors import StoreUnavailable
from likewise.online.base import StoreClosed
from likewise.online.deadline import seconds_left

if sys.platform == "win32":
    from select import select

    def ready(socket: int, read: bool, write: bool, seconds: float | None) -> bool | None:
        """Wait for a socket; whether it can be read, None when the time is over."""
        asked = ([socket] if read else [], [socket] if write else [])
        readable, writable, _ = select(*asked, [], None if seconds is None else max(seconds, 0.0))
        return bool(readable) if readable or writable else None

else:
    from select import POLLIN, POLLOUT, poll

    def ready(socket: int, read: bool, write: bool, seconds: float | None) -> bool | None:
        """Wait for a socket; whether it can be read, None when the time is over. What broke can be read."""
        waiting = poll()
        waiting.register(socket, (POLLIN if read else 0) | (POLLOUT if write else 0))
        events = waiting.poll(None if seconds is None else max(seconds, 0.0) * 1000)
        return None if not events else bool(events[0][1] & ~POLLOUT)


def late(where: str, given: float | None) -> StoreUnavailable:
    """Return the error for a server that did not answer in time.

    Args:
        where: the server's name.
        given: how many seconds the call had, when it began; None for any number.

    Example:
        >>> print(late("postgres at db:5432", 0.2998).message)
        postgres at db:5432 did not answer within 0.3 s
    """
    within = "" if given is None else f" within {given:.1f} s" if given >= 1 else f" within {given:.2g} s"
    return StoreUnavailable(
        f"{where} did not answer{within}", cure="try again; see that the server runs and is not busy"
    )


class Link(Protocol):
    """A connection to a server."""

    def fresh(self) -> bool:
        """Whether the server has ended it, or said anything else, since it was last used; then it is not used again."""
        ...

    def settled(self) -> bool:
        """Whether the last exchange was brought to its end, so that another one may follow."""
        ...

    def close(self) -> None:
        """End it."""
        ...


L = TypeVar("L", bound=Link)


class Pool(Generic[L]):
    """Links that are made when they are needed, and kept for the next call.

    Args:
        connect: makes a link, within the thread's deadline.
        most: how many there are at most.
        name: the server's name, for messages.
    """

    def __init__(self, connect: Callable[[], L], most: int, name: str) -> None:
        self._connect = connect
        self._most = most
        self._name = name
        self._closed = False
        self._begin()

    @contextlib.contextmanager
    def lend(self) -> Iterator[L]:
        """Lend a link to one call.

        Raises:
            StoreUnavailable: all of them are in use until the call's deadline is over.
            StoreClosed: the pool was closed.
        """
        if os.getpid() != self._process:
            self._begin()
        free = self._free
        if not free.acquire(timeout=seconds_left()):
            raise StoreUnavailable(
                f"{self._name}: all {self._most} connections are in use", cure="try again, or allow more connections"
            )
        try:
            link = self._take()
            try:
                yield link
            finally:
                self._give(link)
        finally:
            free.release()

    def close(self) -> None:
        """Close all links: those in use when they are given back."""
        self._closed = True
        self._drop_idle()

    def _take(self) -> L:
        while not self._closed:
            try:
                link = self._idle.pop()
            except IndexError:
                return self._connect()
            if link.fresh():
                return link
            link.close()
            self._drop_idle()  # the server was restarted, most likely
        raise StoreClosed(self._name)

    def _give(self, link: L) -> None:
        if self._closed or not link.settled():
            link.close()
        else:
            self._idle.append(link)

    def _drop_idle(self) -> None:
        _close_all(self._idle, self._process)

    def _begin(self) -> None:
        """Have no links; those that came over a fork are the parent's, and are left as they are."""
        self._process = os.getpid()
        self._idle: collections.deque[L] = collections.deque()
        self._free = threading.BoundedSemaphore(self._most)
        weakref.finalize(self, _close_all, self._idle, self._process)  # for stores that nobody closes


def _close_all(links: collections.deque[L], process: int) -> None:
    """Close links, but not those of the process that this one was forked from."""
    with contextlib.suppress(IndexError):
        while process == os.getpid():
            links.pop().close()
