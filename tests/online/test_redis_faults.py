"""The Redis store on a bad network, before a real server: in time, never too often, never another one's answer."""

import concurrent.futures
import contextlib
import os
import random
import sys
import time
from collections.abc import Iterator

import pytest
import redis

from likewise.core.errors import StoreFull, StoreUnavailable
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.deadline import Deadline
from likewise.online.guard import GuardedStore
from likewise.online.redis import RedisStore
from likewise.online.redis_address import parse_address
from likewise.testing.online_suite import CARDS, row
from likewise.testing.proxy import Link, Proxy
from likewise.testing.redis_process import RedisProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no redis-server for Windows")
KEYS = [b"%d" % n for n in range(200)]
SECONDS, MARGIN = 0.15, 0.6
READS = 10_000 if os.environ.get("LIKEWISE_SOAK") else 1_500

NETWORKS = {
    "slow": {"to_client": Link(delay=0.1, jitter=0.2)},
    "slow both ways": {"to_client": Link(delay=0.1), "to_server": Link(delay=0.1)},
    "lossy": {"to_client": Link(loss=0.5), "to_server": Link(loss=0.3)},
    "trickling answers": {"to_client": Link(rate=300)},
    "trickling requests": {"to_server": Link(rate=300)},
    "frozen": {"to_client": Link(stall=True), "to_server": Link(stall=True)},
    "half-open": {"to_client": Link(drop=True)},
    "black hole": {"to_client": Link(drop=True), "to_server": Link(drop=True)},
    "truncated": {"to_client": Link(cut_after=40)},
    "reset": {"to_client": Link(reset_after=40)},
    "reset at once": {"to_server": Link(reset_after=1)},
    "nobody listens": {"to_server": Link(reset_after=0), "refuse": True},
}


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(name="client")
def _client(server: RedisProcess) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis(unix_socket_path=server.address)) as client:
        client.flushall()
        yield client


@pytest.fixture(name="proxy")
def _proxy(server: RedisProcess, client: redis.Redis) -> Iterator[Proxy]:
    with Proxy(server.address) as proxy:
        yield proxy


def open_at(address: str, seconds: float = 20.0) -> RedisStore:
    """Open a store with one deadline for reads and writes."""
    return RedisStore(parse_address(address), seconds=seconds, write_seconds=seconds)


def fill(server: RedisProcess) -> None:
    """Make a table of all keys, over a good network."""
    with open_at(server.address) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])


@pytest.mark.parametrize("network", NETWORKS)
def test_every_call_is_over_in_time(server, client, proxy, network):
    """However bad the network: each call ends within its deadline, and the server sees at most 1.1 times as many (T15).

    A call that fails says that it may pass; what is answered is right; afterwards all is well again.
    """
    fill(server)
    with open_at(proxy.address, SECONDS) as plain, GuardedStore(plain) as store:
        for _ in range(3):
            store.read([(CARDS, KEYS[:1])])
        client.config_resetstat()
        proxy.set(**NETWORKS[network])
        asked = {"read": 0, "write": 0}
        for number in range(30):
            began = time.monotonic()
            with contextlib.suppress(StoreUnavailable):
                if number % 3:
                    asked["read"] += 1
                    assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
                else:
                    asked["write"] += 1
                    assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == len(KEYS)
            assert time.monotonic() - began < SECONDS + MARGIN, number
        assert proxy.connections <= 40
        proxy.set()
        time.sleep(0.1)  # what is still under way arrives
        seen = {name: each["calls"] for name, each in client.info("commandstats").items()}
        writes = seen.get("cmdstat_evalsha", 0)
        assert writes <= 1.1 * asked["write"]
        assert seen.get("cmdstat_mget", 0) - writes <= 1.1 * asked["read"]
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(StoreUnavailable):
                assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
                return
            time.sleep(0.05)
    raise AssertionError("the store did not recover")


def test_retries_stay_within_a_tenth(server, client, proxy):
    """When connections break all the time, the server sees at most 1.1 times as many calls as were made (T15)."""
    fill(server)
    with open_at(proxy.address) as plain, GuardedStore(plain) as store:
        store.read([(CARDS, KEYS[:1])])
        client.config_resetstat()
        good = 0
        for number in range(400):
            if number % 4 == 0:
                proxy.set(to_client=Link(cut_after=random.Random(number).randrange(1, 300)))
            else:
                proxy.set()
            with contextlib.suppress(StoreUnavailable):
                good += store.read([(CARDS, KEYS[:50])]) == [[row(key, 1) for key in KEYS[:50]]]
        assert 300 <= good <= 399
        assert client.info("commandstats")["cmdstat_mget"]["calls"] <= 440


def test_the_callers_deadline_goes_before_the_stores(server, proxy):
    """A call inside a shorter deadline is over with it, also where it has to connect and log in first (G5)."""
    fill(server)
    with open_at(proxy.address) as store:
        proxy.set(to_client=Link(stall=True))
        for _ in range(2):
            began = time.monotonic()
            with Deadline(0.1), pytest.raises(StoreUnavailable):
                store.read([(CARDS, KEYS)])
            assert time.monotonic() - began < 0.1 + MARGIN


@pytest.mark.parametrize("link", [Link(stall=True), Link(rate=4_000_000)], ids=["nothing", "a little"])
def test_a_server_that_takes_little_does_not_stretch_a_write(server, proxy, link):
    """A write of many megabytes to a network that takes few ends within one deadline, not one for each program."""
    fill(server)
    with open_at(proxy.address, 0.5) as store:
        store.read([(CARDS, KEYS[:1])])
        proxy.set(to_server=link)
        keys = [b"%d" % n for n in range(60)]
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer within"):
            store.write(CARDS, keys, [row(key, 2) + bytes(500_000) for key in keys])
        assert time.monotonic() - began < 0.5 + MARGIN


def test_no_answer_belongs_to_another_request(server, client):
    """Of thousands of reads around their timeouts, each that is answered has the records of its own keys (T16)."""
    fill(server)
    with (
        Proxy(server.address, to_client=Link(delay=0.002, jitter=0.02, loss=0.15), seed=16) as proxy,
        open_at(proxy.address, 0.04) as store,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        answered = list(pool.map(lambda worker: read_own_keys(store, worker, READS // 8), range(8)))
    good, late = (sum(each) for each in zip(*answered, strict=True))
    print(f"T16: {good} answers, all of their own request; {late} came too late")
    assert good + late == READS // 8 * 8
    assert good > READS // 10
    assert late > READS // 10


def read_own_keys(store: OnlineStore, worker: int, count: int) -> tuple[int, int]:
    """Read some keys, others each time; return how many reads were answered and how many came too late."""
    good, draw = 0, random.Random(worker)
    for _ in range(count):
        keys = draw.sample(KEYS, draw.randrange(1, 6))
        with contextlib.suppress(StoreUnavailable):
            assert store.read([(CARDS, keys)]) == [[row(key, 1) for key in keys]]
            good += 1
    return good, count - good


def test_a_write_that_was_cut_off_can_be_made_again(server, client, proxy):
    """A write whose answer is lost may have been done, in part: made again it leaves every row, newest first (T17)."""
    fill(server)
    keys = [b"%d" % n for n in range(30_000)]
    with open_at(proxy.address) as store:
        store.read([(CARDS, KEYS[:1])])
        proxy.set(to_server=Link(reset_after=1_500_000))
        with pytest.raises(StoreUnavailable):
            store.write(CARDS, keys, [row(key, 5) for key in keys])
        proxy.set()
        [found] = store.read([(CARDS, keys)])
        assert 0 < found.count(None) < 30_000, "the cut fell into the middle"
        assert store.write(CARDS, keys, [row(key, 5) for key in keys]) == 30_000
        assert store.read([(CARDS, keys)]) == [[row(key, 5) for key in keys]]


def test_a_server_without_memory_takes_the_rest_later(server, client):
    """When memory ends in a batch: StoreFull, each part whole or not there, reads go on, and all of it later (T17)."""
    fill(server)
    keys = [b"%06d" % n for n in range(40_000)]
    with open_at(server.address) as store:
        try:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_500_000)
            with pytest.raises(StoreFull, match="no memory left"):
                store.write(CARDS, keys, [row(key, 5) for key in keys])
            [found] = store.read([(CARDS, keys)])
            there = [record is not None for record in found]
            assert 0 < sum(there) < 40_000, "memory ended in the middle"
            assert all(len(set(there[at : at + 1_000])) == 1 for at in range(0, 40_000, 1_000))
            assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
        finally:
            client.config_set("maxmemory", 0)
        assert store.write(CARDS, keys, [row(key, 5) for key in keys]) == 40_000
        assert store.read([(CARDS, keys)]) == [[row(key, 5) for key in keys]]


def test_killed_under_load_and_back_empty(tmp_path):
    """While its server is killed and comes back empty, reads are right, or errors that name it; never empty (T14)."""
    with (
        RedisProcess(tmp_path) as own,
        open_at(own.address, 2.0) as store,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        fill(own)
        stop = time.monotonic() + 2

        def read_on(worker: int) -> set[str]:
            said = set()
            while time.monotonic() < stop:
                try:
                    assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
                    said.add("right")
                except (StoreUnavailable, TableMissing) as error:
                    said.add("missing" if isinstance(error, TableMissing) else "gone")
            return said

        reading = [pool.submit(read_on, worker) for worker in range(4)]
        time.sleep(0.3)
        own.restart()
        said = set().union(*(each.result() for each in reading))
        assert {"right", "missing"} <= said <= {"right", "missing", "gone"}
        fill(own)
        assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
