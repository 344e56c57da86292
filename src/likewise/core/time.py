"""Time: int64 microseconds since the epoch, in UTC (S1).

A naive time is UTC. Finer digits than a microsecond are cut off, downwards. The process clock is the system's, unless
the environment variable ``LIKEWISE_NOW`` sets it, for tests, audits and documents that print fixed dates.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from likewise.core.errors import InvalidTime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z in microseconds: the first time that has a date."""
LATEST = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds: the last time that has a date."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> int:
        """Return the time as microseconds since the epoch."""
        ...


class SystemClock:
    """The system's clock."""

    def now(self) -> int:
        """Return the system's time as microseconds since the epoch."""
        return time.time_ns() // 1000


class FixedClock:
    """A clock that stands still until it is set.

    Example:
        >>> clock = FixedClock("2024-04-01")
        >>> from_micros(clock.now()).isoformat()
        '2024-04-01T00:00:00+00:00'
        >>> clock.set("2024-04-02T12:00")
        >>> from_micros(clock.now()).day
        2
    """

    def __init__(self, at: object) -> None:
        self._now = to_micros(at)

    def now(self) -> int:
        """Return the time that was set."""
        return self._now

    def set(self, at: object) -> None:
        """Set the time."""
        self._now = to_micros(at)


def process_clock() -> Clock:
    """Return the clock of this process: the system's, or the one that ``LIKEWISE_NOW`` sets."""
    fixed = os.environ.get("LIKEWISE_NOW")
    return FixedClock(fixed) if fixed else SystemClock()


def to_micros(value: object, what: str = "time") -> int:
    """Turn a time into microseconds since the epoch.

    Args:
        value: a datetime (naive is UTC), date, pandas or numpy timestamp, or ISO 8601 text such as ``2024-01-31`` or
            ``2024-01-31T10:00:00+02:00``. A whole number is taken as microseconds.
        what: what the time is for, for the message.

    Raises:
        InvalidTime: it is not a time, or lies outside the years 1 to 9999.

    Example:
        >>> to_micros("1970-01-01T00:00:01Z")
        1000000
    """
    if isinstance(value, bool):
        raise _not_a_time(value, what)
    if isinstance(value, int):
        return _in_range(value, value, what)
    try:
        moment = _as_datetime(value)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(value, what) from error
    if moment is None:
        raise _not_a_time(value, what)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return _in_range((aware - EPOCH) // timedelta(microseconds=1), value, what)


def from_micros(micros: int) -> datetime:
    """Turn microseconds since the epoch into a datetime in UTC.

    Example:
        >>> from_micros(0).isoformat()
        '1970-01-01T00:00:00+00:00'
    """
    return EPOCH + timedelta(microseconds=micros)


def span_micros(span: timedelta) -> int:
    """Turn a span of time into microseconds.

    Example:
        >>> span_micros(timedelta(seconds=2))
        2000000
    """
    return span // timedelta(microseconds=1)


def span_text(span: timedelta | None) -> str:
    """Write a span of time for people.

    Example:
        >>> span_text(timedelta(days=1)), span_text(timedelta(minutes=90)), span_text(None)
        ('1 day', '90 minutes', 'unlimited')
    """
    if span is None or span == timedelta(0):
        return "unlimited"
    micros = span_micros(span)
    for size, unit in ((86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second")):
        if micros % size == 0:
            count = micros // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{micros} microseconds"


def _as_datetime(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value == value else None  # pandas' NaT is a datetime that equals nothing
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        return datetime.fromisoformat(value.strip())
    if type(value).__module__ == "numpy":
        import numpy as np

        if isinstance(value, np.datetime64) and not np.isnat(value):
            micros = int(value.astype("datetime64[us]").astype("int64"))
            return EPOCH + timedelta(microseconds=micros)
    return None


def _in_range(micros: int, value: object, what: str) -> int:
    if EARLIEST <= micros <= LATEST:
        return micros
    raise InvalidTime(f"the {what} {value!r} lies outside the years 1 to 9999", cure="check its unit and its origin")


def _not_a_time(value: object, what: str) -> InvalidTime:
    given = repr(value) if what == "time" else f"{what} {value!r}"
    return InvalidTime(
        f"{given} is not a time", cure="give a datetime, or ISO text such as '2024-01-31' or '2024-01-31T10:00:00Z'"
    )
