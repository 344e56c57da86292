"""Async server: the exchanges of ``online/remote_server.py`` on an event loop, which ends each at its time itself."""

from __future__ import annotations

import asyncio

import httpcore

from likewise.online.deadline import DeadlineExceeded
from likewise.online.remote_server import (
    Asked,
    Body,
    Login,
    Reply,
    ServerAddress,
    common_headers,
    headers_of,
    lower,
    naming,
)


class AsyncServer:
    """A feature server on another machine, asked from one event loop.

    Args:
        address: where.
        login: how to connect. Nothing is connected before it is used.
    """

    def __init__(self, address: ServerAddress, login: Login) -> None:
        self.address = address
        self._headers = common_headers(address, login)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=login.context() if address.scheme == b"https" else None,
            max_connections=login.connections,
            max_keepalive_connections=login.connections,
            keepalive_expiry=login.idle_seconds,
        )

    async def exchange(self, asked: Asked, end: float) -> Reply:
        """Send a request, and return the answer, whatever its status.

        Args:
            asked: the request.
            end: when it must be over, on the clock of the event loop.

        Raises:
            DeadlineExceeded: it was not.
            Disconnected: there is no server, or the connection broke; what was asked may have been done.
            StoreError: the connection is not safe.
        """
        where = str(self.address)
        try:
            async with asyncio.timeout_at(end):
                return await self._exchange(asked, end - asyncio.get_running_loop().time(), where)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{where} did not answer in time", cure="try again, or give the call more time; see that it is not busy"
            ) from error

    async def _exchange(self, asked: Asked, left: float, where: str) -> Reply:
        url = httpcore.URL(
            scheme=self.address.scheme,
            host=self.address.host,
            port=self.address.port,
            target=self.address.path + asked.target,
        )
        with naming(where):
            async with self._pool.stream(
                asked.method, url, headers=self._headers + headers_of(asked, left), content=asked.body
            ) as response:
                body = Body(where)
                async for part in response.aiter_stream():
                    body.add(part)
                return Reply(response.status, lower(response.headers), body.whole())

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        return f"AsyncServer({str(self.address)!r})"
