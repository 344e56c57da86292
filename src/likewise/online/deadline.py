"""Deadline: when the call that a thread is at must be over (G5); stores that ask over a network look at it.

Whoever has a request's time budget opens one around what it asks of a store; a store opens its own around each
exchange. They nest, and the earliest end counts. A store that never waits for a network need not look.
"""

from __future__ import annotations

import math
import threading
import time

from likewise.core.errors import RequestError, StoreUnavailable


class DeadlineExceeded(StoreUnavailable, TimeoutError):
    """What was asked was not done in the time that its caller gave it."""

    def __str__(self) -> str:
        return StoreUnavailable.__str__(self)


class _Clock(threading.local):
    """When the call that a thread is at must end."""

    end: float | None = None


_CLOCK = _Clock()


class Deadline:
    """What a thread does inside it is over in time, or ends in an error.

    Args:
        seconds: from now on; the end of a deadline around this one counts where it is earlier.

    Example:
        >>> with Deadline(2.0), Deadline(60.0):
        ...     left = seconds_left()
        >>> left is not None and left <= 2.0
        True
        >>> seconds_left() is None
        True
    """

    __slots__ = ("_before", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._before: float | None = None

    def __enter__(self) -> None:
        before, end = _CLOCK.end, time.monotonic() + self._seconds
        self._before, _CLOCK.end = before, end if before is None else min(before, end)

    def __exit__(self, *_: object) -> None:
        _CLOCK.end = self._before


def checked_seconds(given: float, what: str) -> float:
    """Return a number of seconds that somebody may wait.

    Args:
        given: the number.
        what: what it is, for messages.

    Raises:
        RequestError: it is not above 0, or has no end.

    Example:
        >>> checked_seconds(0.5, "timeout")
        0.5
    """
    number: object = given
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        raise RequestError(f"{what}={given!r} cannot be", cure=f"give seconds above 0, such as {what}=0.5")
    return float(number)


def seconds_left() -> float | None:
    """Return how many seconds the call that this thread is at may still take, 0 or less when it is over; None: any."""
    return None if _CLOCK.end is None else _CLOCK.end - time.monotonic()
