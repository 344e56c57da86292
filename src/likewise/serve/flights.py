"""Flights: reads of a store over the network, put together; hot.

A few reads are on their way at once, each from a thread of its own. What is asked for meanwhile waits, and goes along
in the next: the busier the server, the more requests share one round trip. A store that is silent so holds a few
threads, and whoever waits is told when his deadline is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from likewise.online.base import Request
from likewise.online.deadline import Deadline
from likewise.serve.deadlines import late

AT_ONCE = 2
"""How many reads are on their way at once."""
_MOST_KEYS = 2_000
"""How many keys go along in one read, unless one request has more."""
Records = list[list[bytes | None]]
"""For each request, one record for each of its keys."""


@dataclass(slots=True)
class _Passenger:
    """One request that waits, or is on its way."""

    requests: Sequence[Request]
    """What it asks of the store."""
    end: float
    """When it must be answered, on the clock of ``time.monotonic``."""
    answer: asyncio.Future[Records]
    """Gets what the store says."""


class Flights:
    """Puts reads together.

    Args:
        read: reads from the store; it is called from threads.
    """

    def __init__(self, read: Callable[[Sequence[Request]], Records]) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(AT_ONCE, "likewise-flight")
        self._waiting: list[_Passenger] = []
        self._away = 0

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, requests: Sequence[Request], end: float) -> Records:
        """Return what the store says; called from the event loop.

        Args:
            requests: what is asked for.
            end: when it must be there, on the clock of ``time.monotonic``.

        Raises:
            DeadlineExceeded: it was not.
            StoreError: as the store has it.
        """
        loop = asyncio.get_running_loop()
        passenger = _Passenger(requests, end, loop.create_future())
        self._waiting.append(passenger)
        timer = loop.call_later(max(end - monotonic(), 0.0), _give_up, passenger.answer)
        try:
            if self._away < AT_ONCE:
                self._start(loop)
            return await passenger.answer
        finally:
            timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._away < AT_ONCE and (group := self._next_group()):
            self._away += 1
            future = loop.run_in_executor(self._threads, self._fly, group)
            future.add_done_callback(lambda done, group=group: self._landed(loop, group, done))  # type: ignore[misc]

    def _next_group(self) -> list[_Passenger]:
        """Take from those that wait, in the order they came; who gave up is left out."""
        group: list[_Passenger] = []
        keys = taken = 0
        for passenger in self._waiting:
            more = sum(len(asked) for _, asked in passenger.requests)
            if group and keys + more > _MOST_KEYS:
                break
            taken += 1
            if not passenger.answer.done():
                group.append(passenger)
                keys += more
        del self._waiting[:taken]
        return group

    def _fly(self, group: Sequence[_Passenger]) -> list[Records]:
        """Read what a group asks for; in a thread."""
        with Deadline(max(passenger.end for passenger in group) - monotonic()):
            if len(group) == 1:
                return [self._read(group[0].requests)]
            keys: dict[str, list[bytes]] = {}
            places = [
                [(table, len(keys.setdefault(table, [])), _add(keys[table], asked)) for table, asked in each.requests]
                for each in group
            ]
            found = dict(zip(keys, self._read(list(keys.items())), strict=True))
        return [[found[table][first:after] for table, first, after in each] for each in places]

    def _landed(
        self, loop: asyncio.AbstractEventLoop, group: Sequence[_Passenger], done: asyncio.Future[list[Records]]
    ) -> None:
        self._away -= 1
        error = late() if done.cancelled() else done.exception()
        for number, passenger in enumerate(group):
            if not passenger.answer.done():
                if error is None:
                    passenger.answer.set_result(done.result()[number])
                else:
                    passenger.answer.set_exception(error)
        self._start(loop)


def _add(keys: list[bytes], more: Sequence[bytes]) -> int:
    keys += more
    return len(keys)


def _give_up(answer: asyncio.Future[Records]) -> None:
    if not answer.done():
        answer.set_exception(late())
