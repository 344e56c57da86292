"""The proxy: each fault, seen from a plain client before a plain server that says back what it hears."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from likewise.testing.proxy import Link, Proxy


class Echo(socketserver.BaseRequestHandler):
    """Says back what it hears."""

    def handle(self) -> None:
        """Answer until the client ends."""
        with contextlib.suppress(OSError):
            while data := self.request.recv(65_536):
                self.server.heard += data
                self.request.sendall(data)
                if b"bye" in data:
                    return


class EchoServer(socketserver.ThreadingTCPServer):
    """A server of echoes; ``heard`` is all that it was told."""

    daemon_threads = True
    heard = b""


@pytest.fixture(name="server")
def _server() -> Iterator[EchoServer]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(name="proxy")
def _proxy(server: EchoServer) -> Iterator[Proxy]:
    with Proxy(f"127.0.0.1:{server.server_address[1]}") as proxy:
        yield proxy


@contextlib.contextmanager
def client_of(proxy: Proxy, seconds: float = 10.0) -> Iterator[socket.socket]:
    """Connect to a proxy."""
    with socket.create_connection((proxy.host, proxy.port), seconds) as client:
        yield client


def ask(client: socket.socket, said: bytes) -> bytes:
    """Say something, and return the echo, or as much as there is before the end."""
    client.sendall(said)
    return hear(client, len(said))


def hear(client: socket.socket, size: int) -> bytes:
    """Return so many bytes, or fewer at the end."""
    heard = b""
    while len(heard) < size and (more := client.recv(size - len(heard))):
        heard += more
    return heard


def soon(fact: Callable[[], bool]) -> bool:
    """Wait for a fact, for 10 s at most."""
    end = time.monotonic() + 10
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)
    return fact()


def test_a_good_network_hands_on_every_byte(proxy):
    """Without faults both ways are as without a proxy, also for many megabytes, and connections are counted."""
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"
        sent = bytes(range(256)) * 20_000
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert hear(client, len(sent)) == sent
        writer.join()
        assert (proxy.accepted, proxy.connections) == (1, 1)
        client.sendall(b"bye")
        assert hear(client, 9) == b"bye"


def test_a_delay_holds_pieces_but_keeps_their_order(proxy):
    """Each piece comes as much later as asked for; several are under way at once; none overtakes another."""
    proxy.set(to_client=Link(delay=0.2, jitter=0.05, loss=0.3))
    with client_of(proxy) as client:
        began = time.monotonic()
        sent = b"".join(b"%06d" % n for n in range(30))
        for at in range(0, len(sent), 6):
            client.sendall(sent[at : at + 6])
            time.sleep(0.002)
        assert hear(client, len(sent)) == sent
        assert 0.2 <= time.monotonic() - began < 3


def test_a_rate_lets_so_many_bytes_through(proxy):
    """A link with a rate trickles; both ends of the time are bounded."""
    proxy.set(to_client=Link(rate=200))
    with client_of(proxy) as client:
        began = time.monotonic()
        assert ask(client, b"x" * 100) == b"x" * 100
        assert 0.3 < time.monotonic() - began < 5


def test_what_stalls_arrives_once_the_network_is_good_again(proxy):
    """Nothing gets through a link that stalls; then all of it does, in order."""
    with client_of(proxy) as client:
        proxy.set(to_client=Link(stall=True))
        client.sendall(b"one")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(9)
        client.settimeout(10)
        client.sendall(b"two")
        proxy.set()
        assert hear(client, 6) == b"onetwo"


def test_a_half_open_connection_takes_requests_and_never_answers(server, proxy):
    """Where answers are dropped the server hears all, the client nothing, also later; a new connection is fine."""
    with client_of(proxy, 0.2) as client:
        proxy.set(to_client=Link(drop=True))
        client.sendall(b"lost")
        with pytest.raises(TimeoutError):
            client.recv(9)
        assert soon(lambda: server.heard == b"lost")
        proxy.set()
        client.sendall(b"late")
        with pytest.raises(TimeoutError):
            client.recv(9)
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"


def test_a_black_hole_lets_the_server_hear_nothing(server, proxy):
    """Where requests are dropped the server hears nothing of them."""
    proxy.set(to_client=Link(drop=True), to_server=Link(drop=True))
    with client_of(proxy, 0.2) as client:
        client.sendall(b"lost")
        with pytest.raises(TimeoutError):
            client.recv(9)
        assert server.heard == b""


def test_an_end_can_be_kept_from_the_client(proxy):
    """Where a link keeps connections open, the client has the whole answer, but never sees the end."""
    proxy.set(to_client=Link(keep_open=True))
    with client_of(proxy, 0.2) as client:
        assert ask(client, b"bye") == b"bye"
        with pytest.raises(TimeoutError):
            client.recv(9)
        proxy.set()
        assert client.recv(9) == b""


def test_an_answer_is_truncated(proxy):
    """After as many bytes as asked for the connection is closed; they count from the change on."""
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"
        proxy.set(to_client=Link(cut_after=4))
        assert ask(client, b"hello") == b"hell"
    proxy.set()
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"


def test_a_request_is_truncated(server, proxy):
    """Of a request that is cut, the server hears the beginning, and the client sees the end."""
    proxy.set(to_server=Link(cut_after=3))
    with client_of(proxy) as client:
        client.sendall(b"hello")
        with contextlib.suppress(ConnectionResetError):
            assert hear(client, 9) in (b"", b"hel")
    assert soon(lambda: server.heard == b"hel")


def test_an_answer_is_reset(proxy):
    """A reset reaches the client as one, in the middle of an answer or whenever it is told."""
    with client_of(proxy) as client:
        proxy.set(to_client=Link(reset_after=2))
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            hear(client, 9)
    proxy.set()
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(9)


def test_new_connections_are_refused(proxy):
    """A proxy that refuses resets new connections and leaves those that are open."""
    with client_of(proxy) as client:
        assert ask(client, b"hello") == b"hello"
        proxy.set(refuse=True)
        with contextlib.suppress(ConnectionResetError), client_of(proxy) as other:
            assert other.recv(9) == b""
        assert ask(client, b"hello") == b"hello"


def test_connections_are_bounded(server):
    """More connections than the proxy may have are reset; it takes new ones when others have ended."""
    with Proxy(server.server_address, most=2) as proxy:
        with client_of(proxy) as first, client_of(proxy) as second:
            assert [ask(client, b"x") for client in (first, second)] == [b"x", b"x"]
            with pytest.raises(ConnectionResetError), client_of(proxy) as third:
                ask(third, b"x")
        assert soon(lambda: proxy.connections == 0)
        with client_of(proxy) as client:
            assert ask(client, b"x") == b"x"


def test_a_server_that_is_down_resets_its_clients(server):
    """When nobody listens behind it the proxy resets, rather than wait."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        # The reset may come while the client connects.
        with Proxy(unused.getsockname()) as proxy, pytest.raises(ConnectionResetError), client_of(proxy) as client:
            client.recv(9)


def test_a_closed_proxy_leaves_no_thread(server):
    """Closing ends all connections, the stalled ones too, and the thread; a second time is fine."""
    before = threading.active_count()
    proxy = Proxy(server.server_address, to_client=Link(stall=True))
    with client_of(proxy) as client:
        client.sendall(b"hello")
        proxy.close()
        proxy.close()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(9) == b""
    assert soon(lambda: threading.active_count() <= before)
