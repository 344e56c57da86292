"""When records of the Redis store go: by what their table's ttl says, or so long after they were last written."""

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis

from likewise.online.base import OnlineStore
from likewise.online.redis import RedisStore
from likewise.online.redis_address import parse_address
from likewise.online.rows import tombstone
from likewise.testing.online_suite import CARDS, SHOPS, row
from likewise.testing.redis_process import RedisProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no redis-server for Windows")
HOUR = 3_600_000_000
SLACK = 3_600_000


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(name="client")
def _client(server: RedisProcess) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis(unix_socket_path=server.address)) as client:
        yield client
        client.flushall()


@pytest.fixture(name="now")
def _now() -> int:
    return time.time_ns() // 1000


def open_at(server: RedisProcess, *, by_ttl: bool = True, key_ttl: int | None = None) -> RedisStore:
    """Open a store whose records go by the ttl."""
    return RedisStore(parse_address(server.address), seconds=20, write_seconds=20, by_ttl=by_ttl, key_ttl=key_ttl)


@pytest.fixture(name="store")
def _store(server: RedisProcess, client: redis.Redis) -> Iterator[OnlineStore]:
    with open_at(server) as store:
        store.keep({CARDS: 2 * HOUR, SHOPS: None})
        store.create([CARDS, SHOPS])
        yield store


def goes_at(client: redis.Redis, table: str, key: bytes) -> int | None:
    """Return when a record goes, in milliseconds since the epoch, to a second; None for never, 0 if it is not there."""
    mark = client.get("{lw}t:" + table)[:9]
    left = client.pttl(b"lw%b{%b}" % (mark, key))
    seconds, micros = client.time()
    return {-1: None, -2: 0}.get(left, round((left + seconds * 1000 + micros // 1000) / 1000) * 1000)


def test_a_record_goes_by_its_event_time(store, client, now):
    """A record goes its table's ttl and an hour after its event time; one of a table without a ttl never does."""
    for table in (CARDS, SHOPS):
        store.write(table, [b"a", b"b"], [row(b"a", now), row(b"b", now - HOUR)])
    assert abs(goes_at(client, CARDS, b"a") - (now + 2 * HOUR) // 1000 - SLACK) <= 1000
    assert abs(goes_at(client, CARDS, b"b") - (now + HOUR) // 1000 - SLACK) <= 1000
    assert goes_at(client, SHOPS, b"a") is None


def test_no_record_goes_before_its_ttl_is_over(store, client):
    """Event times from year 1 to 9999 give a time to go that is not before the end of the ttl, to the millisecond."""
    for at in (datetime(2199, 1, 1, 0, 0, 0, 999, UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)):
        event = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        store.write(CARDS, [b"k"], [row(b"k", event)])
        mark = client.get("{lw}t:" + CARDS)[:9]
        goes = client.eval("return redis.call('TIME')[1] * 1000 + redis.call('PTTL', KEYS[1])", 1, b"lw%b{k}" % mark)
        assert goes * 1000 > event + 3 * HOUR - 2_000_000
    store.write(CARDS, [b"old"], [row(b"old", -62_135_596_800_000_000)])
    assert store.read([(CARDS, [b"old"])]) == [[None]]


def test_an_older_row_does_not_come_back_after_a_newer_one_has_gone(store, now):
    """What would replace a record that has gone is too old itself: it is not there either."""
    store.write(CARDS, [b"k"], [row(b"k", now - 4 * HOUR)])
    assert store.read([(CARDS, [b"k"])]) == [[None]]
    store.write(CARDS, [b"k"], [row(b"k", now - 5 * HOUR)])
    assert store.read([(CARDS, [b"k"])]) == [[None]]
    store.write(CARDS, [b"k"], [row(b"k", now)])
    assert store.read([(CARDS, [b"k"])]) == [[row(b"k", now)]]


def test_a_tombstone_stays_as_long_as_what_it_hides_could_count(store, client, now):
    """A deletion goes by the same rule: rows that it hides are too old once it has gone."""
    store.write(CARDS, [b"k"], [tombstone(b"k", now)])
    assert abs(goes_at(client, CARDS, b"k") - (now + 2 * HOUR) // 1000 - SLACK) <= 1000
    assert store.write(CARDS, [b"k"], [row(b"k", now - 1)]) == 0


def test_a_row_that_loses_sets_the_time_of_the_one_that_stays(store, client, now):
    """A write that loses to a newer record refreshes when that record goes, which is by its own event time."""
    store.write(CARDS, [b"k"], [row(b"k", now)])
    (name,) = client.keys("lw*")
    client.pexpire(name, 60_000)
    assert store.write(CARDS, [b"k"], [row(b"k", now - HOUR)]) == 0
    assert abs(goes_at(client, CARDS, b"k") - (now + 2 * HOUR) // 1000 - SLACK) <= 1000


@pytest.mark.parametrize(("span", "left"), [(50 * HOUR, 51), (HOUR // 2, 1.5), (None, None)])
def test_another_ttl_counts_for_records_that_are_there(store, server, client, now, span, left):
    """Raised, lowered or taken away, a ttl holds for all records of the table at once, and for every process."""
    keys = [b"%d" % n for n in range(3_000)]
    with open_at(server) as other:
        other.write(CARDS, keys, [row(key, now) for key in keys])
        store.keep({CARDS: span})
        other.write(CARDS, [b"0", b"new"], [row(b"0", now + 1), row(b"new", now)])
        assert other.read([(CARDS, [b"1", b"new"])]) == [[row(b"1", now), row(b"new", now)]]
    for key in (b"0", b"1", b"2999", b"new"):
        wanted = None if left is None else now // 1000 + left * SLACK
        goes = goes_at(client, CARDS, key)
        assert goes is None if wanted is None else abs(goes - wanted) <= 1001


def test_a_change_that_was_cut_short_is_finished_by_the_next_apply(store, client, now):
    """Records that still have their old time, because somebody died while changing them, get the new one."""
    store.write(CARDS, [b"k"], [row(b"k", now)])
    mark = client.get("{lw}t:" + CARDS)[:9]
    client.set("{lw}t:" + CARDS, b"%b:%d~" % (mark, 50 * SLACK))
    assert store.read([(CARDS, [b"k"])]) == [[row(b"k", now)]]
    store.keep({CARDS: 49 * HOUR})
    assert abs(goes_at(client, CARDS, b"k") - now // 1000 - 50 * SLACK) <= 1001
    assert client.get("{lw}t:" + CARDS) == b"%b:%d" % (mark, 50 * SLACK)


def test_without_the_setting_nothing_goes(server, client, now):
    """A store that is not to let go of anything passes over what it is told, and takes back what another one said."""
    with open_at(server) as store, open_at(server, by_ttl=False) as plain:
        store.keep({CARDS: 2 * HOUR})
        store.create([CARDS])
        store.write(CARDS, [b"k"], [row(b"k", now)])
        plain.keep({CARDS: 2 * HOUR})
        assert goes_at(client, CARDS, b"k") is None
        store.write(CARDS, [b"k", b"l"], [row(b"k", now + 1), row(b"l", now)])
        assert goes_at(client, CARDS, b"k") is None


def test_the_ttl_goes_before_key_ttl_seconds(server, client, now):
    """With both settings, records of views with a ttl go by it, and others so long after they were last written."""
    with open_at(server, key_ttl=90) as store:
        store.keep({CARDS: 2 * HOUR})
        store.create([CARDS, SHOPS])
        for table in (CARDS, SHOPS):
            store.write(table, [b"k"], [row(b"k", now)])
        assert abs(goes_at(client, CARDS, b"k") - (now + 2 * HOUR) // 1000 - SLACK) <= 1000
        assert goes_at(client, SHOPS, b"k") <= now // 1000 + 92_000


def test_what_is_swapped_stays(store, client, now):
    """Records that are made from what stood there, such as those of windows, never go."""
    store.swap(CARDS, [b"k"], [None], [row(b"k", now)])
    assert goes_at(client, CARDS, b"k") is None


def test_dropping_a_table_with_a_ttl_leaves_nothing(store, client, now):
    """The records of a dropped table are removed, whatever was said of it."""
    store.write(CARDS, [b"k"], [row(b"k", now)])
    store.drop([CARDS, SHOPS])
    assert client.keys("*") == []
