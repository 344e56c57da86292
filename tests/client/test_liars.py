"""Clients of a server that lies: errors that have a class, no value of another row, no memory without end."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from likewise.client import AsyncClient, Client
from likewise.core.errors import AccessRefused, LikewiseError, RequestError, StoreError
from likewise.core.packed import pack
from likewise.online import remote_server

GOOD: dict[str, Any] = {
    "keys": [["user", "Int64", [1]]],
    "features": [["age", "Int64", [5], None, 0]],
    "times": [[None]],
    "failed": 0,
    "stale": 0,
}


@contextmanager
def liar(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer each connection's first bytes with what somebody made up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        client.settimeout(10)
                        client.recv(65536)
                        answer(client)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65536):
                            pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def said(body: bytes, status: str = "200 OK") -> Callable[[socket.socket], None]:
    """Return what answers with a body."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nlocation: http://127.0.0.1:1/\r\n\r\n".encode()
    return lambda client: client.sendall(head + body)


def errors(url: str) -> Iterator[LikewiseError]:
    """Return the error that each client raises for a read."""
    asked = (["users:age"], [{"user": 1}])

    async def read() -> None:
        async with AsyncClient(url, timeout=10) as client:
            await client.get_online_features(*asked)

    with Client(url, timeout=10) as client, pytest.raises(LikewiseError) as caught:
        client.get_online_features(*asked)
    yield caught.value
    with pytest.raises(LikewiseError) as caught:
        asyncio.run(read())
    yield caught.value


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": [["age", "Int64", [], None, 0]]},
        {"features": [["age", "Int64", [5, 6], None, 0]]},
        {"features": [["age", "Int64", 5, None, 0]]},
        {"features": [["age", "Int64", [5], [], 0]]},
        {"times": [[]]},
    ],
)
def test_columns_that_differ_in_length_are_no_answer(wrong):
    """An answer with more or fewer values than rows is refused, for they would be taken for those of other rows."""
    with liar(said(pack(GOOD | wrong))) as url:
        for error in errors(url):
            assert type(error) is StoreError
            assert "differ in length" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b"{}", AccessRefused),
        ("403 Forbidden", b"<html>", AccessRefused),
        ("302 Found", b"", StoreError),
        ("422 X", json.dumps({"detail": "x", "pointer": f"/entities/a/{'9' * 5000}"}).encode(), RequestError),
        ("500 X", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", StoreError),
    ],
)
def test_problems_of_others_have_a_class_and_a_text(status, body, kind):
    """What a proxy, or a server that is none of ours, says in the place of a problem becomes an error of its kind."""
    with liar(said(body, status)) as url:
        for error in errors(url):
            assert type(error) is kind
            assert str(error)


def test_answers_without_end_are_given_up():
    """An answer larger than any that a server of Likewise gives is given up before it fills the memory."""
    piece = bytes(1 << 20)

    def flood(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
        for _ in range(2 * remote_server.MOST_ANSWERED // len(piece)):
            client.sendall(piece)

    with liar(flood) as url, Client(url, timeout=60) as client, pytest.raises(StoreError) as caught:
        client.get_online_features(["users:age"], [{"user": 1}])
    assert "answers with more than" in str(caught.value)
