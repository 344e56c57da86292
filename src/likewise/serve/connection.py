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

    The timers are set only while a request is on its way; one that comes in a single piece sets none.

    Args:
        limits: what is bounded.
        more: as uvicorn gives it.
    """

    def __init__(self, *, limits: Limits, **more: Any) -> None:
        super().__init__(**more)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether the request is whole."""
        was_head = self._head
        super().data_received(data)
        if not self._open:
            self._unset()
        elif self._head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.header_bytes:
                self.transport.write(_TOO_LONG)
                self.transport.close()
            elif self._timer is None:
                self._set(self._limits.header_seconds)
        elif was_head or self._timer is None:
            self._unset()
            self._set(self._limits.body_seconds)

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

    def _late(self) -> None:
        self._timer = None
        self.transport.close()


def connections(limits: Limits) -> Callable[..., Connection]:
    """Return what makes connections with these limits."""
    return lambda **more: Connection(limits=limits, **more)
