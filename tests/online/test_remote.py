"""The remote store against real servers: what each store promises, and what goes wrong on the way."""

import contextlib
import functools
import gc
import itertools
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.serve.server_process import ServerProcess, problem

from likewise import FeatureStore
from likewise.config import parse_config
from likewise.core.errors import AccessRefused, ConfigError, StoreError, StoreUnavailable
from likewise.online.base import Disconnected, OnlineStore, Request, StoreClosed, TableMissing
from likewise.online.deadline import Deadline, DeadlineExceeded
from likewise.online.lmdb import LmdbStore
from likewise.online.remote import RemoteStore, open_store
from likewise.online.remote_server import Login, RemoteServer, parse_server
from likewise.testing.online_suite import CARDS, SHOPS, OnlineStoreSuite, Opener, row

CONFIG = """
project: demo
registry: {path: registry.db, cache_ttl_seconds: 0.5}
online_store: {type: lmdb, path: online, map_size: 1073741824}
"""


class Within(OnlineStore):
    """Puts the tables of a suite, which are of several projects, below one: a server has the tables of its own only.

    Args:
        store: the store.
        prefix: what stands before each table.
    """

    def __init__(self, store: OnlineStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def create(self, tables: Sequence[str]) -> None:
        """Make tables."""
        self._store.create([self._prefix + table for table in tables])

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables."""
        self._store.drop([self._prefix + table for table in tables])

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records."""
        return self._store.write(self._prefix + table, keys, records)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Swap records."""
        return self._store.swap(self._prefix + table, keys, expected, records)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records."""
        return self._store.read([(self._prefix + table, keys) for table, keys in requests])

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table."""
        return self._store.scan(self._prefix + table, after, limit)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def open_remote(port: int, prefix: str = "demo/", **settings: float) -> OnlineStore:
    """Open a store at a server, with time to spare: the machine of the tests may be busy."""
    server = RemoteServer(parse_server(f"http://127.0.0.1:{port}"), Login())
    return Within(RemoteStore(server, **{"seconds": 30.0, "write_seconds": 30.0, **settings}), prefix)


@pytest.fixture(scope="module", name="repo")
def _repo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(CONFIG)
    with FeatureStore(folder) as store:
        store.apply([], partial=False)
    return folder


@pytest.fixture(scope="module", name="server")
def _server(repo) -> Iterator[ServerProcess]:
    with ServerProcess(repo) as running:
        yield running


class TestRemoteStore(OnlineStoreSuite):
    """The remote store keeps the contract of online stores; its server keeps the records in LMDB."""

    backend = "remote"
    runs_on = "`likewise serve` over HTTP, LMDB behind it"

    numbers = itertools.count()

    @pytest.fixture(autouse=True)
    def _served(self, repo: Path, server: ServerProcess) -> Iterator[None]:
        self.port = server.port
        with LmdbStore(repo / "online", map_size=1 << 30) as beside:
            self.beside = beside
            yield

    def opener(self, folder: Path) -> Opener:
        """Open a corner of the server's store that was not used before."""
        self.prefix = f"demo/run{next(self.numbers)}/"
        return functools.partial(open_remote, self.port, self.prefix)

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Look into the server's files."""
        [[record]] = self.beside.read([(self.prefix + table, [key])])
        return record

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Write into the server's files."""
        [held] = self.beside.read([(self.prefix + table, [key])])
        assert self.beside.swap(self.prefix + table, [key], held, [record]) == []


@pytest.fixture(name="store")
def _store(server) -> Iterator[RemoteStore]:
    with plain(server.port) as store:
        store.create([CARDS, SHOPS])
        yield store
        store.drop([CARDS, SHOPS])


def plain(port: int, **settings: float) -> RemoteStore:
    """Open a store at a server."""
    remote = RemoteServer(parse_server(f"http://127.0.0.1:{port}"), Login())
    return RemoteStore(remote, **{"seconds": 30.0, "write_seconds": 30.0, **settings})


def send(server: ServerProcess, route: str, body: object, raw: bytes | None = None):
    """Send a call of a remote store as it is."""
    packed = msgspec.msgpack.encode(body) if raw is None else raw
    return server.ask("POST", f"/online-store/{route}", packed, content_type="application/msgpack")


GOOD = row(b"k", 1)


@pytest.mark.parametrize(
    ("route", "body", "wanted"),
    [
        ("read", [[["other/cards", [b"k"]]]], (403, "forbidden", None)),
        ("read", [[["demo", [b"k"]]]], (403, "forbidden", None)),
        ("read", [[[CARDS, [b"k"]], ["../demo/cards", []]]], (403, "forbidden", None)),
        ("scan", ["other/cards", None, 1], (403, "forbidden", None)),
        ("write", ["other/cards", [b"k"], [GOOD]], (403, "forbidden", None)),
        ("swap", ["other/cards", [b"k"], [None], [GOOD]], (403, "forbidden", None)),
        ("create", [["demo/x", "other/x"]], (403, "forbidden", None)),
        ("drop", [["other/cards"]], (403, "forbidden", None)),
        ("create", [["demo/" + "x" * 5000]], (403, "forbidden", None)),
        ("write", [CARDS, [b"k"], [GOOD[:-1] + b"!"]], (422, "invalid", "")),
        ("write", [CARDS, [b"other"], [GOOD]], (422, "invalid", "")),
        ("write", [CARDS, [b"k"], [b""]], (422, "invalid", "")),
        ("write", [CARDS, [b""], [row(b"", 1)]], (422, "invalid", "")),
        ("write", [CARDS, [b"k"], []], (422, "invalid", "")),
        ("swap", [CARDS, [b"k"], [None], [b"x" * 40]], (422, "invalid", "")),
        ("swap", [CARDS, [b"k", b"k"], [None, None], [GOOD, GOOD]], (422, "invalid", "")),
        ("read", [[[CARDS, [b""]]]], (422, "invalid", "")),
        ("read", [[[CARDS, ["text"]]]], (422, "invalid", "/0/0/1/0")),
        ("read", [], (422, "invalid", "")),
        ("read", {"requests": []}, (422, "invalid", "")),
        ("scan", [CARDS, None, "1"], (422, "invalid", "/2")),
        ("read", [[[CARDS, [b"k"] * 10_001]]], (413, "too_large", "")),
        ("read", [[["demo/none", [b"k"]]]], (404, "table_missing", "/0/0/0")),
        ("write", ["demo/none", [], []], (404, "table_missing", "/0")),
    ],
)
def test_the_server_stores_and_shows_nothing_else(server, store, route, body, wanted):
    """Tables of other projects, damaged records and bodies that are no calls are refused, and nothing is written."""
    assert problem(send(server, route, body)) == wanted
    assert store.scan(CARDS) == []


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"\x91\x91\x92\xa1\xff\x90"])
def test_what_is_no_msgpack_is_refused(server, raw):
    """Truncated, deep and impossible bodies are a 400."""
    assert problem(send(server, "read", None, raw))[:2] in ((400, "not_msgpack"), (422, "invalid"))


def test_what_is_too_much_for_a_request_is_several(server, store):
    """Forty thousand keys, and records of many megabytes, are cut into requests; results are as of one batch."""
    keys = [b"%d" % n for n in range(40_000)]
    assert store.write(CARDS, keys, [row(key, 1) for key in keys]) == 40_000
    assert store.swap(
        CARDS, keys, [None if n % 2 else row(key, 1) for n, key in enumerate(keys)], [row(k, 2) for k in keys]
    ) == list(range(1, 40_000, 2))
    [found, none] = store.read([(CARDS, keys), (SHOPS, keys[:5])])
    assert found == [row(key, 1 if n % 2 else 2) for n, key in enumerate(keys)]
    assert none == [None] * 5
    assert len(store.scan(CARDS, limit=30_000)) == 30_000


def test_an_answer_beyond_the_limit_is_asked_for_in_parts(repo):
    """A read whose records are more than an answer may have is halved until it fits; one such record is an error."""
    with ServerProcess(repo, "--limit", "records_bytes=5000") as small, plain(small.port) as store:
        store.create([CARDS, SHOPS])
        keys = [b"%d" % n for n in range(400)]
        for table in (CARDS, SHOPS):
            store.write(table, keys, [row(key, 1) for key in keys])
        assert store.read([(CARDS, keys), (SHOPS, keys)]) == [[row(key, 1) for key in keys]] * 2
        assert store.scan(CARDS) == sorted((key, row(key, 1)) for key in keys)
        store.drop([CARDS, SHOPS])
    with ServerProcess(repo, "--limit", "records_bytes=20") as tiny, plain(tiny.port) as store:
        store.create([CARDS])
        store.write(CARDS, [b"k"], [GOOD])
        with pytest.raises(StoreError, match="records_bytes"):
            store.read([(CARDS, [b"k"])])
        store.drop([CARDS])


def test_a_missing_table_of_many_is_named(store):
    """Of several tables in a read, the one that is missing stands in the error."""
    for tables in ((CARDS, "demo/gone", SHOPS), ("demo/gone", CARDS), (SHOPS, CARDS, "demo/gone")):
        with pytest.raises(TableMissing) as caught:
            store.read([(table, []) for table in tables])
        assert caught.value.table == "demo/gone"


class Odd:
    """A server that says what a test wants, byte by byte if need be.

    Args:
        answer: is sent to whoever connects, after the request's first bytes came.
        pause: how many seconds before each byte.
    """

    def __init__(self, answer: bytes, pause: float = 0.0) -> None:
        self.answer, self.pause, self.calls = answer, pause, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            self.calls += 1
            for byte in self.answer:
                time.sleep(self.pause)
                client.sendall(bytes([byte]))
            if not self.answer and self.pause:
                time.sleep(self.pause)

    def __enter__(self) -> "Odd":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/msgpack\r\ncontent-length: 1000\r\n\r\n"


@pytest.mark.parametrize("answer", [b"", HEAD, HEAD + b"x" * 999])
def test_a_call_ends_in_time_however_bytes_trickle(answer):
    """A server that is silent, or sends a byte now and then, is given up when the time of the call is over."""
    with Odd(answer, pause=0.05 if answer else 30.0) as odd, plain(odd.port, seconds=0.4) as store:
        for seconds in (0.4, 0.15):
            began = time.monotonic()
            with Deadline(seconds), pytest.raises(DeadlineExceeded):
                store.read([(CARDS, [b"k"])])
            assert time.monotonic() - began < seconds + 0.3


def test_a_server_that_takes_nothing_is_given_up(tmp_path):
    """A body that nobody reads does not hold a writer beyond his time."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=5) as deaf,
        plain(deaf.getsockname()[1], write_seconds=0.5) as store,
    ):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            store.write(CARDS, [b"k"], [row(b"k", 1) + b"x" * 6_000_000])
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops", StoreUnavailable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxx", Disconnected),
        (b"SSH-2.0-OpenSSH\r\n", Disconnected),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", StoreError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", StoreError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\x91\x90", StoreError),
    ],
)
def test_what_is_no_answer_of_ours_is_an_error(answer, kind):
    """Gateways, other protocols, cut answers and other bodies are errors of a store, never a value."""
    with Odd(answer) as odd, plain(odd.port) as store, pytest.raises(kind):
        store.read([(CARDS, [b"k"])])


def test_a_store_that_nobody_closes_leaves_no_connection(server):
    """What a program forgets ends its connections, without a warning; warnings are errors here."""
    store = plain(server.port)
    store.create([CARDS])
    del store
    gc.collect()


def test_nobody_there_is_a_broken_connection():
    """A port where nobody listens, and a name that nobody has, are Disconnected."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with plain(port) as store, pytest.raises(Disconnected, match="likewise serve"):
        store.scan(CARDS)


def test_a_restarted_server_is_found_again(repo):
    """Connections that a server closed are not used again: the next call makes another one."""
    with ServerProcess(repo) as first, plain(first.port) as store:
        store.create([CARDS])
        first.close()
        with pytest.raises(StoreUnavailable):
            store.read([(CARDS, [])])
        with ServerProcess(repo, "--port", str(first.port)):
            assert store.read([(CARDS, [])]) == [[]]
            store.drop([CARDS])


def test_the_configuration_says_where_and_how(tmp_path, monkeypatch):
    """Feast's keys are taken; the access key comes by reference and is shown nowhere; bad addresses are refused."""
    monkeypatch.setenv("ITS_KEY", "lw_1_hunter2")
    text = "project: demo\nonline_store: {type: remote, path: 'http://127.0.0.1:1', key: 'env:ITS_KEY', "
    more = "connection_pool_size: 5, connection_idle_timeout: 300, connection_retries: 3}"
    config = parse_config(text + more).online_store
    with open_store(config, str(tmp_path)) as store:
        assert "hunter2" not in repr(store) + repr(config) + repr(vars(store)["_server"]) + repr(store._server._login)
        with pytest.raises(Disconnected) as caught:
            store.read([(CARDS, [])])
        assert "hunter2" not in str(caught.value)
    for path in ("redis://h:1", "http://", "127.0.0.1:6566", "http://h:99999", "http://h/?a=b"):
        with pytest.raises(ConfigError, match="server's address"):
            open_store(parse_config(f"project: demo\nonline_store: {{type: remote, path: '{path}'}}").online_store, "")
    with pytest.raises(ConfigError, match="cert"):
        parse_config("project: demo\nonline_store: {type: remote, certificate: x}")


def test_tls_is_checked_against_the_given_authorities(repo, tmp_path):
    """With the server's certificate as authority a store reads over TLS; without it, it says nothing and is refused."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", pem, "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    with ServerProcess(repo, "--cert", str(pem), "--key", str(key)) as server:
        address = parse_server(f"https://localhost:{server.port}")
        with RemoteStore(RemoteServer(address, Login(cert=str(pem))), seconds=30, write_seconds=30) as store:
            store.create([CARDS])
            assert store.read([(CARDS, [b"k"])]) == [[None]]
            store.drop([CARDS])
        with RemoteStore(RemoteServer(address, Login()), seconds=30) as store, pytest.raises(StoreError) as caught:
            store.read([(CARDS, [])])
        assert not isinstance(caught.value, StoreUnavailable)
        assert isinstance(caught.value.__cause__.__context__, ssl.SSLError)


def test_keys_are_asked_for_their_scopes(repo, tmp_path):
    """Without a key a server that asks for one refuses; that error is of its own class, and is not tried again."""
    with ServerProcess(repo, "--auth", "keys") as server, plain(server.port) as store:
        with pytest.raises(AccessRefused):
            store.read([(CARDS, [])])
        with pytest.raises(AccessRefused):
            store.write(CARDS, [b"k"], [GOOD])
    store.close()
    with pytest.raises(StoreClosed):
        store.read([])
