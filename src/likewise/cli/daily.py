"""Daily features of the made-up world: what a nightly job computes from all payments up to midnight."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.cli.payments import DAY, DAYS, LABEL_DELAY, Customers, Floats, Ints, Payments

Columns = Mapping[str, npt.NDArray[Any]]

LONGEST = 30
"""The longest window, in days."""
JOB = 1_200_000_000
"""How long after midnight the job has written its rows, in microseconds."""


class DailySums:
    """Sums over the last days for every key at once, of whole numbers, so that they are exact.

    Args:
        spans: the windows' lengths in days.
        delay: how many days before now the windows end.

    Example:
        >>> sums = DailySums((1, 2), delay=1)
        >>> for day in ([1, 0], [2, 5], [9, 9]):
        ...     sums.add(np.array(day))
        >>> sums.over(1).tolist(), sums.over(2).tolist()
        ([2, 5], [3, 5])
    """

    def __init__(self, spans: tuple[int, ...], delay: int = 0) -> None:
        self._delay = delay
        self._days: deque[Ints] = deque(maxlen=max(spans) + delay + 1)
        self._sums: dict[int, Ints | int] = dict.fromkeys(spans, 0)

    def add(self, day: Ints) -> None:
        """Add the next day's numbers, one for each key."""
        self._days.append(day)
        for span, total in self._sums.items():
            self._sums[span] = total + self._at(self._delay, day) - self._at(self._delay + span, day)

    def over(self, span: int) -> Ints:
        """Return the sums over the last ``span`` days."""
        return np.asarray(self._sums[span])

    def _at(self, back: int, like: Ints) -> Ints:
        return self._days[-1 - back] if back < len(self._days) else np.zeros_like(like)


def spending_by_day(payments: Payments, customers: Customers) -> Iterator[Columns]:
    """Yield the rows of ``customer_spending.parquet`` for one midnight after another, times from the world's start."""
    keys = len(customers.city)
    count, cents, squares = DailySums((1, 7, LONGEST)), DailySums((1, 7, LONGEST)), DailySums((LONGEST,))
    largest: deque[Ints] = deque(maxlen=LONGEST)
    for day, today in enumerate(_by_day(payments.time)):
        who, paid = payments.customer[today], payments.cents[today]
        count.add(_sum_by(who, np.ones_like(paid), keys))
        cents.add(_sum_by(who, paid, keys))
        squares.add(_sum_by(who, paid * paid, keys))
        largest.append(_max_by(who, paid, keys))
        numbers = _spending(count, cents, squares, np.max(np.stack(largest), axis=0))
        yield _rows("customer_id", np.flatnonzero(customers.opened <= day), day, numbers)


def risk_by_day(payments: Payments, terminals: int) -> Iterator[Columns]:
    """Yield the rows of ``terminal_risk.parquet`` for one midnight after another, times from the world's start."""
    count, reports = DailySums((1, 7, LONGEST)), DailySums((7, LONGEST))
    known, frauds = (DailySums((7, LONGEST), LABEL_DELAY.days) for _ in range(2))
    reported = _reported(payments)
    for day, today in enumerate(_by_day(payments.time)):
        where = payments.terminal[today]
        number = _sum_by(where, np.ones_like(where), terminals)
        count.add(number)
        known.add(number)
        frauds.add(_sum_by(where, (payments.scenario[today] > 0).astype(np.int64), terminals))
        reports.add(_sum_by(reported[day], np.ones_like(reported[day]), terminals))
        yield _rows("terminal_id", np.arange(terminals), day, _risk(count, reports, known, frauds))


def _reported(payments: Payments) -> list[Ints]:
    """Return the terminals of the frauds that are reported on each day."""
    fraud = np.flatnonzero(payments.scenario)
    fraud = fraud[np.argsort(payments.known[fraud], kind="stable")]
    return [payments.terminal[fraud[day]] for day in _by_day(payments.known[fraud])]


def _spending(count: DailySums, cents: DailySums, squares: DailySums, largest: Ints) -> Columns:
    number, total = count.over(LONGEST), cents.over(LONGEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(number > 0, total / number, np.nan)
        variance = (number * squares.over(LONGEST) - total * total) / (number * (number - 1))
    return {
        "payments_1d": count.over(1),
        "payments_7d": count.over(7),
        "payments_30d": number,
        "spent_1d": cents.over(1) / 100.0,
        "spent_7d": cents.over(7) / 100.0,
        "spent_30d": total / 100.0,
        "mean_amount_30d": mean / 100.0,
        "max_amount_30d": np.where(number > 0, largest / 100.0, np.nan),
        "std_amount_30d": np.where(number > 1, np.sqrt(variance) / 100.0, np.nan),
    }


def _risk(count: DailySums, reports: DailySums, known: DailySums, frauds: DailySums) -> Columns:
    return {
        "terminal_payments_1d": count.over(1),
        "terminal_payments_7d": count.over(7),
        "terminal_payments_30d": count.over(LONGEST),
        "terminal_reports_7d": reports.over(7),
        "terminal_reports_30d": reports.over(LONGEST),
        "terminal_risk_7d": _share(frauds.over(7), known.over(7)),
        "terminal_risk_30d": _share(frauds.over(LONGEST), known.over(LONGEST)),
    }


def _share(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _rows(key: str, seen: Ints, day: int, numbers: Columns) -> Columns:
    """Return a day's rows: keys, the times, and the numbers of the keys that exist by then."""
    midnight = np.full(len(seen), (day + 1) * DAY)
    chosen = {name: values[seen] for name, values in numbers.items()}
    return {key: seen + 1, "event_timestamp": midnight, "created_timestamp": midnight + JOB, **chosen}


def _by_day(times: Ints) -> list[slice]:
    bounds = np.searchsorted(times, np.arange(DAYS + 1) * DAY)
    return [slice(int(first), int(last)) for first, last in itertools.pairwise(bounds)]


def _sum_by(key: Ints, values: Ints, keys: int) -> Ints:
    total = np.zeros(keys, dtype=np.int64)
    np.add.at(total, key, values)
    return total


def _max_by(key: Ints, values: Ints, keys: int) -> Ints:
    largest = np.zeros(keys, dtype=np.int64)
    np.maximum.at(largest, key, values)
    return largest
