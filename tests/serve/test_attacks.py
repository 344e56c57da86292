"""Attacks that once held a server up, filled its memory, or told a stranger too much, on a real server."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from msgspec.msgpack import Ext
from tests.serve.conftest import make_repo
from tests.serve.server_process import NOW, Reply, ServerProcess, problem

READ = "/get-online-features"
SOON = 5.0
"""How long an answer may take on a busy machine, in seconds; without the cures most took minutes."""


def send(server: ServerProcess, body: bytes, media: str = "application/json", path: str = READ, **more: str) -> Reply:
    """Send a body that is to be answered soon."""
    began = time.monotonic()
    reply = server.ask("POST", path, body, content_type=media, **more)
    assert time.monotonic() - began < SOON
    return reply


def packed(**entities: list[object]) -> bytes:
    """Return a read as msgpack."""
    return msgspec.msgpack.encode({"features": ["driver_stats"], "entities": entities})


def test_an_object_with_many_keys_and_one_twice(server):
    """To find the key that stands there twice takes no longer with many keys than to read them."""
    members = b",".join(b'"k%d":1' % number for number in range(200_000))
    body = b'{"features":["driver_stats"],"entities":{"driver_id":[1],"a":[{' + members + b',"k199999":2}]}}'
    assert problem(send(server, body)) == (400, "duplicate_key", "/entities/a/0/k199999")


def test_nested_keys_that_only_look_like_twins(server):
    """Objects inside values, and text that looks like keys, are read as they are."""
    body = b'{"features":["driver_stats:trips"],"entities":{"driver_id":[1],"a":[{"b":{"c":"\\":"}}]}}'
    assert send(server, body).status == 200


@pytest.mark.parametrize("number", ["1e999999", "-1e999999", "1e20"])
def test_decimals_without_end_are_no_integer_keys(server, number):
    """A decimal that would be a whole number of a million digits is refused before it is written out."""
    body = packed(driver_id=[Ext(1, number.encode())])
    assert problem(send(server, body, "application/msgpack")) == (422, "invalid", "/entities/driver_id/0")


def test_decimals_that_are_whole_are_integer_keys(server):
    """A decimal that is a whole number of 64 bits still finds its row."""
    body = packed(driver_id=[Ext(1, str(Decimal("1E+0")).encode()), Ext(1, b"9223372036854775807")])
    assert send(server, body, "application/msgpack").json["results"][0]["values"] == [1, 2**63 - 1]


def test_sets_in_sets_keep_no_copies(server):
    """A set in a set is refused at once: each level of many once kept a copy of all that is in it."""
    value = msgspec.msgpack.encode(bytes(2_000_000))
    for _ in range(100):
        value = b"\xc9" + (len(value) + 1).to_bytes(4, "big") + b"\x03\x91" + value
    reply = send(server, value, "application/msgpack")
    assert problem(reply) == (400, "not_msgpack", "")
    assert "a set is in a set" in reply.json["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"features": ["x" * 2_000_000], "entities": {"driver_id": [1]}},
        {"features": ["driver_stats:" + "x" * 2_000_000], "entities": {"driver_id": [1]}},
        {"feature_service": "fleet_v" * 300_000, "entities": {"driver_id": [1]}},
        {"x" * 2_000_000: 1},
        {"features": ["driver_stats"], "entities": {"driver_idd" * 200_000: [1]}},
    ],
)
def test_names_without_end_are_told_in_short(server, body):
    """What is wrong with a name of megabytes is said in a few kilobytes, and it is compared with no other."""
    reply = send(server, json.dumps(body).encode())
    assert problem(reply)[0] in (404, 422)
    assert len(reply.body) < 10_000


def test_a_connection_that_sends_line_ends_only_is_closed(repo):
    """Line ends before a request, the first or a later one, keep no connection open (T28)."""
    with ServerProcess(repo, "--limit", "header_seconds=0.5") as server:
        for first in (b"", b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"):
            with server.raw(10) as client:
                client.sendall(first)
                told = b""
                while first and not told.endswith(b"}"):
                    told += client.recv(65536)
                began = time.monotonic()
                client.sendall(b"\r\n")
                assert client.recv(1) == b""
                assert time.monotonic() - began < SOON


def test_answers_that_nobody_takes_are_given_up(repo):
    """Who asks much and reads nothing is cut off, and so holds no place that others wait for (T28)."""
    rows = json.dumps({"features": ["driver_stats", "driver_city"], "entities": {"driver_id": [1] * 10_000}}).encode()
    headers = f"host: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(rows)}"
    head = f"POST {READ} HTTP/1.1\r\n{headers}\r\n\r\n"
    with (
        ServerProcess(repo, "--limit", "body_seconds=0.5", "--limit", "requests=3") as server,
        contextlib.ExitStack() as held,
    ):
        for _ in range(6):
            client = held.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", server.port))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall((head.encode() + rows) * 4)
        end = time.monotonic() + 20
        time.sleep(1)
        while server.read(["driver_stats"], {"driver_id": [1]}).status != 200:
            assert time.monotonic() < end
            time.sleep(0.1)


def table(**columns: list[object]) -> bytes:
    """Return a table as a stream of Arrow's."""
    made = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return bytes(sink.getvalue())


def test_limited_keys_learn_nothing_by_tables(tmp_path: Path):
    """What a key may not read is 403 by each road, be it there or not, so nobody finds out what there is (T35)."""
    repo = make_repo(tmp_path / "repo")
    words = ["keys", "create", "shop", "--scope", "read", "--view", "driver_stats"]
    made = subprocess.run(
        [sys.executable, "-m", "likewise", "--chdir", repo, "--output", "json", *words],
        capture_output=True,
        env=os.environ | {"LIKEWISE_NOW": NOW},
        check=True,
    )
    bearer = f"Bearer {json.loads(made.stdout)['token']}"
    wanted = ["driver_city:city", "driver_city@v1:city", "driver_city:nothing", "nothing", "nothing:x", "fleet_v1"]
    with ServerProcess(repo) as server:
        for name, member in itertools.product(wanted, ("features", "feature_service")):
            asked = {member: [name] if member == "features" else name, "entities": {"driver_id": [1]}}
            replies = [
                send(server, json.dumps(asked).encode(), authorization=bearer),
                send(server, msgspec.msgpack.encode(asked), "application/msgpack", authorization=bearer),
                send(
                    server,
                    table(driver_id=[1]),
                    "application/vnd.apache.arrow.stream",
                    f"{READ}?{member}={name}",
                    authorization=bearer,
                ),
            ]
            assert {problem(reply)[:2] for reply in replies} == {(403, "forbidden")}, (name, member)
            assert len({reply.json["detail"] for reply in replies}) == 1


def test_large_values_asked_for_again_and_again(tmp_path):
    """A read brings along a bounded number of bytes: one large text is served, a thousand of them are not."""
    repo = make_repo(tmp_path / "repo")
    with ServerProcess(repo, "--limit", "answer_bytes=1000000") as server:
        row = {"driver_id": [1], "event_timestamp": ["2024-06-01T10:00:00Z"], "city": ["x" * 400_000]}
        assert server.post("/write-to-online-store", {"feature_view_name": "driver_city", "df": row}).status == 200
        assert len(server.read(["driver_city:city"], {"driver_id": [1]}).body) > 400_000
        for count in (3, 1000):
            reply = server.read(["driver_city:city"], {"driver_id": [1] * count})
            assert problem(reply)[:2] == (413, "too_large")
        assert "1,000,000 bytes" in reply.json["detail"]
        assert server.read(["driver_stats:trips"], {"driver_id": [1] * 1000}).status == 200
