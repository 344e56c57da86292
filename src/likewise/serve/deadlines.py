"""Deadlines: how long a request may take, as its header says (G5)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from likewise.online.deadline import Deadline, DeadlineExceeded
from likewise.serve.problem import Refusal
from likewise.serve.settings import Limits

HEADER = b"x-request-deadline-ms"
"""The header that says for how many milliseconds from now on an answer is of use."""
T = TypeVar("T")
_GRACE = 0.02
"""How long work that stops at its deadline may take to say so, in seconds."""
_DIGITS = re.compile(rb"[0-9]{1,9}")


def end_of(headers: Mapping[bytes, bytes], limits: Limits) -> float | None:
    """Return when a request that came just now must be answered, on the clock of ``time.monotonic``; None: any time.

    Args:
        headers: its headers, their names in lower case.
        limits: have the most that it may ask for.

    Raises:
        Refusal: the header says something that cannot be.

    Example:
        >>> end_of({}, Limits()) is None
        True
        >>> end_of({b"x-request-deadline-ms": b"250"}, Limits()) > monotonic()
        True
    """
    given = headers.get(HEADER)
    if given is None:
        return None
    most = round(limits.longest_deadline_seconds * 1000)
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= most:
        what = f"the header x-request-deadline-ms is {given.decode('latin-1')[:100]!r}"
        raise Refusal("bad_header", f"{what}; give whole milliseconds from 1 to {most:,}, such as 250")
    return monotonic() + int(given) / 1000


async def in_time(threads: ThreadPoolExecutor, end: float | None, work: Callable[[], T]) -> T:
    """Return what some work gives, which is done in a thread; a thread that is free too late does not begin it.

    Args:
        threads: where it is done.
        end: when it must be done, on the clock of ``time.monotonic``; None: any time. Stores over a network look at it.
        work: the work.

    Raises:
        DeadlineExceeded: it was not. The work may still go on, until the store's own time for it is over.
    """
    loop = asyncio.get_running_loop()
    if end is None:
        return await loop.run_in_executor(threads, work)

    def within() -> T:
        left = end - monotonic()
        if left <= 0:
            raise late()
        with Deadline(left):
            return work()

    done = loop.run_in_executor(threads, within)
    finished, _ = await asyncio.wait([done], timeout=max(end - monotonic(), 0.0) + _GRACE)
    if not finished:
        done.cancel()
        raise late()
    return done.result()


def late() -> DeadlineExceeded:
    """Return what is raised where a request was not answered in time."""
    return DeadlineExceeded("the request was not answered by its deadline", cure="give it more time, or ask for less")
