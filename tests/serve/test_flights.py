"""Reads that are put together: who waits goes along in the next one, and each gets what is its own."""

import asyncio
import threading
import time

import pytest

from likewise.core.errors import StoreUnavailable
from likewise.online.deadline import DeadlineExceeded, seconds_left
from likewise.serve.flights import AT_ONCE, Flights


class Store:
    """Answers each key with itself and its table, when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.reads = []
        self.left = []
        self.error = None

    def read(self, requests):
        """Answer."""
        self.reads.append([(table, list(keys)) for table, keys in requests])
        self.left.append(seconds_left())
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return [[table.encode() + key for key in keys] for table, keys in requests]


def run(store, work):
    """Run some work with flights of a store."""

    async def main():
        flights = Flights(store.read)
        try:
            return await work(flights)
        finally:
            store.go.set()
            flights.close()

    return asyncio.run(main())


def test_what_waits_goes_along_in_one_read_and_each_gets_its_own():
    """Two reads are on their way; the eight that come meanwhile are one, table by table, and nothing is mixed up."""
    store = Store()
    end = time.monotonic() + 10

    async def work(flights):
        asked = [[("a", [b"%d" % n, b"x"]), ("b" if n % 2 else "a", [b"-%d" % n])] for n in range(10)]
        tasks = [asyncio.create_task(flights.read(requests, end)) for requests in asked]
        await asyncio.sleep(0.1)
        assert len(store.reads) == AT_ONCE
        store.go.set()
        return await asyncio.gather(*tasks)

    answers = run(store, work)
    assert answers == [[[b"a%d" % n, b"ax"], [(b"b" if n % 2 else b"a") + b"-%d" % n]] for n in range(10)]
    assert len(store.reads) == AT_ONCE + 1
    assert sorted(table for table, _ in store.reads[-1]) == ["a", "b"]


def test_large_ones_go_apart():
    """Together at most two thousand keys go along, so that no small read waits for a very large one."""
    store = Store()

    async def work(flights):
        end = time.monotonic() + 10
        counts = [1, 1, 1_500, 400, 200, 5_000, 1]
        tasks = [asyncio.create_task(flights.read([("t", [b"k"] * count)], end)) for count in counts]
        await asyncio.sleep(0.1)
        store.go.set()
        return [len(records) for [records] in await asyncio.gather(*tasks)] == counts

    assert run(store, work)
    assert sorted(sum(len(keys) for _, keys in read) for read in store.reads) == [1, 1, 1, 200, 1_900, 5_000]


def test_each_is_told_when_its_own_time_is_over():
    """A silent store holds two threads; whoever waits is told in time, and asks nothing afterwards."""
    store = Store()

    async def work(flights):
        async def ask(seconds):
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await flights.read([("t", [b"k"])], began + seconds)
            return time.monotonic() - began - seconds

        late = await asyncio.gather(*map(ask, [0.05, 0.1, 0.15] * 20))
        assert len(store.reads) == AT_ONCE
        store.go.set()
        await asyncio.sleep(0.05)
        assert await flights.read([("t", [b"k"])], time.monotonic() + 5) == [[b"tk"]]
        return max(late)

    assert run(store, work) < 1
    assert len(store.reads) == AT_ONCE + 1
    assert all(left is not None and left < 6 for left in store.left)


def test_an_error_is_everybodys():
    """What the store raises, all who went along get."""
    store = Store()
    store.error = StoreUnavailable("frozen")
    store.go.set()

    async def work(flights):
        end = time.monotonic() + 10
        return await asyncio.gather(*(flights.read([("t", [b"k"])], end) for _ in range(6)), return_exceptions=True)

    assert [str(error) for error in run(store, work)] == ["frozen"] * 6
