"""Requests that mean harm: each is closed or refused with a 4xx and a pointer, never an error (T27, T28)."""

import contextlib
import gzip
import json
import socket
import time

import pytest
from tests.serve.server_process import ServerProcess, problem

READ = "/get-online-features"
HEADERS = "host: localhost\r\ncontent-type: application/json\r\n"
GOOD = b'{"features": ["driver_stats:trips"], "entities": {"driver_id": [1]}}'


def send(server, body, **headers):
    """Send a body to the read route as it is."""
    return server.ask("POST", READ, body, **{"content_type": "application/json", **headers})


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"", "not_json", ""),
        (b"{", "not_json", ""),
        (GOOD[:-1], "not_json", ""),
        (GOOD + b"x", "not_json", ""),
        (b"\xef\xbb\xbf" + GOOD, "not_json", ""),
        (b'{"features": ["\xff"]}', "not_json", ""),
        (b'{"features": ["\\ud800"]}', "not_json", ""),
        (b'{"as_of": NaN}', "not_json", ""),
        (b'{"as_of": 1e999}', "not_json", ""),
        (b'{"as_of": ' + b"9" * 5000 + b"}", "not_json", ""),
        (b"[" * 100_000, "too_deep", ""),
        (b'{"a":' * 50_000, "too_deep", ""),
        (b'{"features": ' + b"[" * 40 + b"]" * 40 + b"}", "too_deep", ""),
        (b'{"features": [], "features": []}', "duplicate_key", "/features"),
        (b'{"features" : [], "features": []}', "duplicate_key", "/features"),
        (b'{"features": ["a"], "entities": {"k": [1], "k": [2]}}', "duplicate_key", "/entities/k"),
        (b'{"rows": [{}, {"k": 1, "\\u006b": 2}]}', "duplicate_key", "/rows/1/k"),
        (b'{"entities": {"k": [{"x": 1, "x": 2}]}}', "duplicate_key", "/entities/k/0/x"),
    ],
)
def test_what_is_no_honest_json_is_refused(server, body, code, pointer):
    """Truncated, deep, doubled and out-of-range JSON is a 400 that says where."""
    assert problem(send(server, body)) == (400, code, pointer)


def test_odd_but_honest_json_is_read(server):
    """Spaces before colons, colons in texts, and nested request values are no keys that stand twice."""
    body = b'{"features" : ["driver_stats:trips"] ,"entities":{"driver_id":[1],"note":["a\\":b"],"m":[{"x":1}]}}'
    assert send(server, body).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": ""},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_encoding": "gzip"},
        {"content_encoding": "deflate, gzip"},
    ],
)
def test_other_content_types_and_codings_are_refused_unread(server, headers):
    """A body that is not plain JSON is 415: nothing is unpacked, so no bomb goes off."""
    assert problem(send(server, gzip.compress(bytes(10_000_000)), **headers)) == (415, "wrong_type", None)


def test_a_million_keys_are_refused_by_default(server):
    """More rows or features than the limit are 413, with a pointer (T27)."""
    rows = server.read(["driver_stats:trips"], {"driver_id": list(range(1_000_000))})
    assert problem(rows) == (413, "too_large", "/entities")
    features = server.read(["driver_stats:trips"] * 1001, {"driver_id": [1]})
    assert problem(features) == (413, "too_large", "/features")
    assert server.read(["driver_stats:trips"], {"driver_id": list(range(10_000))}).status == 200


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(server):
    """Announced or not, a body of more than 8 MiB is 413, and the connection ends."""
    told = f"POST {READ} HTTP/1.1\r\n{HEADERS}content-length: 99999999999\r\n\r\n"
    with server.raw() as client:
        client.sendall(told.encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    chunks = f"POST {READ} HTTP/1.1\r\n{HEADERS}transfer-encoding: chunked\r\n\r\n"
    with server.raw() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(chunks.encode())
        for _ in range(200):
            client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert server.get("/livez").status == 200


def test_routes_and_methods_that_are_not_there(server):
    """An unknown path is 404, a known path's other method 405 with what it has; HEAD has no body."""
    assert problem(server.get("/get-online-feature")) == (404, "no_route", None)
    assert problem(server.get("/../../etc/passwd"))[0] == 404
    wrong = server.get(READ)
    assert problem(wrong) == (405, "wrong_method", None)
    assert wrong.headers["allow"] == "POST"
    head = server.ask("HEAD", "/health")
    assert (head.status, head.body) == (200, b"")


def test_broken_http_is_closed_or_refused(server):
    """Bytes that are no HTTP get a 400 or nothing, and the server goes on."""
    for raw in (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"):
        with server.raw(5) as client:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
    assert server.get("/livez").status == 200


def test_slow_senders_are_cut_off(repo):
    """Headers and bodies that trickle are cut off in the time set, and so is who connects and says nothing."""
    limits = ("--limit", "header_seconds=0.5", "--limit", "body_seconds=0.5")
    head = f"POST {READ} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with ServerProcess(repo, *limits) as server:
        for start, drip in (
            ("", b""),
            (head, b"x-a: b\r\n"),
            (head + "content-length: 50\r\n\r\n", b" "),
        ):
            began = time.monotonic()
            with server.raw(10) as client:
                client.sendall(start.encode())
                while time.monotonic() - began < 10:
                    with contextlib.suppress(TimeoutError):
                        client.settimeout(0.1)
                        if client.recv(1000) == b"":
                            break
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        client.sendall(drip)
            assert 0.3 < time.monotonic() - began < 5, start
        assert send(server, GOOD).status == 200


def test_headers_without_end_are_cut_off(server):
    """More headers than the limit get 431, or the connection is closed."""
    with server.raw(5) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(b"GET /health HTTP/1.1\r\n")
        for number in range(2000):
            client.sendall(b"x-%d: %s\r\n" % (number, b"y" * 100))
        assert client.recv(65536)[:12] in (b"", b"HTTP/1.1 431")
    assert server.get("/livez").status == 200


def test_a_failing_function_shows_nothing_of_the_inside(server, repo):
    """An error of the server is told by its kind; what it was stands in the log under the request's id (T37)."""
    body = {"push_source_name": "cities", "df": {"driver_id": [1], "event_timestamp": ["2024-05-01"], "city": [5]}}
    reply = server.post("/push", body)
    assert reply.status == 422
    assert str(repo) not in reply.body.decode()
    assert json.loads(reply.body)["request_id"] == reply.headers["x-request-id"]
