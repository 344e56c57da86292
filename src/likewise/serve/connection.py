"""Connection: one client's connection, whose bytes have deadlines: uvicorn has none for headers and bodies (T28)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from likewise.serve.settings import Limits

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # no route yet
)


class Connection(HttpToolsProtocol):
    """A connection that is closed when a request's headers or body take too long, or its headers too much.

    It is cut off, too, when what it is answered is not taken: ``body_seconds`` for each piece that is on its way.

    The timers are set only while a request is on its way; one that comes in a single piece sets none.

    Args:
        limits: what is bounded.
        more: as uvicorn gives it.
    """

    def __init__(self, *, limits: Limits, **more: Any) -> None:
        super().__init__(**more)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._head = True
        self._open = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._set(self._limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._unset()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether the request is whole."""
        was_head = self._head
        super().data_received(data)
        if not self._open:
            cycle: Any = self.cycle  # None before the first request
            if cycle is not None and not cycle.response_complete:
                self._unset()
            elif self._timer is None:  # nothing but line ends, which end uvicorn's own wait for a request
                self._set(self._limits.header_seconds)
        elif self._head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.header_bytes:
                self.transport.write(_TOO_LONG)
                self.transport.close()
                self._wait_until_taken()
            elif self._timer is None:
                self._set(self._limits.header_seconds)
        elif was_head or self._timer is None:
            self._unset()
            self._set(self._limits.body_seconds)

    def on_response_complete(self) -> None:
        """Begin to wait for the last answer to be taken."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait_until_taken()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that stayed without a request."""
        self._close()

    def pause_writing(self) -> None:
        """Begin to wait for whoever asked to take what is on its way."""
        super().pause_writing()
        self._wait_until_taken()

    def resume_writing(self) -> None:
        """Note that it was taken."""
        self._taken()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Note that a request began."""
        self._open, self._head, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that its headers are there."""
        self._head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that all of it is there."""
        self._open, self._head = False, True
        super().on_message_complete()

    def _set(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._late)

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_until_taken(self) -> None:
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.body_seconds, self.transport.abort)

    def _taken(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _late(self) -> None:
        self._timer = None
        self._close()

    def _close(self) -> None:
        """Close the connection; one whose answers are not taken would wait for that without end."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


def connections(limits: Limits) -> Callable[..., Connection]:
    """Return what makes connections with these limits."""
    return lambda **more: Connection(limits=limits, **more)
