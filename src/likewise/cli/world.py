"""A world of card payments, made up: who pays where, what turns out to be fraud, and the features a pipeline keeps.

Customers live in cities, have an age, a segment, a usual amount and a pace of their own; each has favourite terminals
near home and sometimes travels. Payments follow a rhythm of the week and the day. About one in 150 is fraud, of three
kinds: a terminal is *compromised* for some days, a card is *stolen* and used far from home for large amounts, or a
single payment is plainly too *large* for the card's owner to have made it; however small the world, every 30 days have
one. Nobody knows at once: a fraud is reported up
to 7 days later, and a payment without report counts as honest after 7 days.

:func:`write_world` writes these Parquet files. All times are UTC; amounts are in one currency, exact to the cent.

``customers.parquet``, one row per customer
    ``customer_id`` int64 from 1 · ``event_timestamp`` when the account was opened · ``age`` int64, years · ``segment``
    student, worker, family or retired · ``home_x``, ``home_y`` float32, km on the map
``terminals.parquet``, one row per terminal
    ``terminal_id`` int64 from 1 · ``event_timestamp`` when it was set up · ``category`` what is sold there · ``x``,
    ``y`` float32, km on the map
``transactions.parquet``, one row per payment, in the order of time
    ``transaction_id`` int64 from 1 · ``customer_id`` · ``terminal_id`` · ``event_timestamp`` · ``amount`` float64
``labels.parquet``, one row per payment whose truth was known when the world ends
    ``transaction_id`` · ``event_timestamp`` of the payment · ``created_timestamp`` when the truth was known ·
    ``is_fraud`` int64, 0 or 1 · ``scenario`` none, terminal, stolen or large
``customer_spending.parquet``, one row per customer and midnight, over the whole days before it
    ``customer_id`` · ``event_timestamp`` · ``created_timestamp`` when the nightly job wrote it · ``payments_1d``,
    ``payments_7d``, ``payments_30d`` int64 · ``spent_1d``, ``spent_7d``, ``spent_30d`` float64 · ``mean_amount_30d``,
    ``max_amount_30d`` float64, null without a payment · ``std_amount_30d`` float64, null below two payments
``terminal_risk.parquet``, one row per terminal and midnight
    ``terminal_id`` · ``event_timestamp`` · ``created_timestamp`` · ``terminal_payments_1d``, ``terminal_payments_7d``,
    ``terminal_payments_30d`` int64 over the days before · ``terminal_reports_7d``, ``terminal_reports_30d`` int64, how
    many frauds there were reported on the days before · ``terminal_risk_7d``, ``terminal_risk_30d`` float32, the share
    of fraud over windows that end 7 days earlier, so that all truth in them was known; null without a payment
``settled/history.parquet``, one row per payment, 30 seconds after it
    ``customer_id`` · ``terminal_id`` · ``event_timestamp`` · ``created_timestamp`` · ``last_amount`` float64 ·
    ``last_paid_at`` · ``last_x``, ``last_y`` float32, where · ``visits`` int64, ``spent_here`` float64: this
    customer's payments at this terminal so far

The same size and seed give the same world, whatever the day: all times count back from ``end``. So the week's rhythm is
real, but which of its days is called Sunday depends on ``end``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from likewise.cli.daily import Columns, risk_by_day, spending_by_day
from likewise.cli.payments import (
    CATEGORIES,
    DAY,
    DAYS,
    SCENARIOS,
    SECOND,
    SEGMENTS,
    Customers,
    Ints,
    Payments,
    People,
    Terminals,
    draw_people,
)
from likewise.core.errors import RequestError
from likewise.core.time import from_micros, process_clock, span_micros, to_micros

SETTLED_AFTER = timedelta(seconds=30)
"""How long after a payment its row in ``settled/history.parquet`` is written."""
ROW_GROUP = 122_880
"""Rows gathered before a file is written to: what bounds the memory of the daily features."""

_ID, _WHOLE, _TEXT, _SINGLE, _DOUBLE, _TIME = (
    pa.int64(),
    pa.int64(),
    pa.string(),
    pa.float32(),
    pa.float64(),
    pa.timestamp("us", tz="UTC"),
)
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "customers.parquet": {
        "customer_id": _ID,
        "event_timestamp": _TIME,
        "age": _WHOLE,
        "segment": _TEXT,
        "home_x": _SINGLE,
        "home_y": _SINGLE,
    },
    "terminals.parquet": {
        "terminal_id": _ID,
        "event_timestamp": _TIME,
        "category": _TEXT,
        "x": _SINGLE,
        "y": _SINGLE,
    },
    "transactions.parquet": {
        "transaction_id": _ID,
        "customer_id": _ID,
        "terminal_id": _ID,
        "event_timestamp": _TIME,
        "amount": _DOUBLE,
    },
    "labels.parquet": {
        "transaction_id": _ID,
        "event_timestamp": _TIME,
        "created_timestamp": _TIME,
        "is_fraud": _WHOLE,
        "scenario": _TEXT,
    },
    "settled/history.parquet": {
        "customer_id": _ID,
        "terminal_id": _ID,
        "event_timestamp": _TIME,
        "created_timestamp": _TIME,
        "last_amount": _DOUBLE,
        "last_paid_at": _TIME,
        "last_x": _SINGLE,
        "last_y": _SINGLE,
        "visits": _WHOLE,
        "spent_here": _DOUBLE,
    },
    "customer_spending.parquet": {
        "customer_id": _ID,
        "event_timestamp": _TIME,
        "created_timestamp": _TIME,
        "payments_1d": _WHOLE,
        "payments_7d": _WHOLE,
        "payments_30d": _WHOLE,
        "spent_1d": _DOUBLE,
        "spent_7d": _DOUBLE,
        "spent_30d": _DOUBLE,
        "mean_amount_30d": _DOUBLE,
        "max_amount_30d": _DOUBLE,
        "std_amount_30d": _DOUBLE,
    },
    "terminal_risk.parquet": {
        "terminal_id": _ID,
        "event_timestamp": _TIME,
        "created_timestamp": _TIME,
        "terminal_payments_1d": _WHOLE,
        "terminal_payments_7d": _WHOLE,
        "terminal_payments_30d": _WHOLE,
        "terminal_reports_7d": _WHOLE,
        "terminal_reports_30d": _WHOLE,
        "terminal_risk_7d": _SINGLE,
        "terminal_risk_30d": _SINGLE,
    },
}
"""File name to its columns and their types; the module's docstring says what they hold."""


@dataclass(frozen=True, slots=True)
class World:
    """What :func:`write_world` made."""

    folder: Path
    """The folder of the files."""
    size: int
    """Number of payments."""
    seed: int
    """The seed it was made from."""
    start: datetime
    """The first midnight, in UTC."""
    end: datetime
    """The last midnight, in UTC: nothing happens at it or later."""
    customers: int
    """Number of customers."""
    terminals: int
    """Number of terminals."""
    frauds: int
    """Number of fraudulent payments, known at the end or not."""
    rows: Mapping[str, int]
    """File name to number of rows."""


def write_world(
    folder: Path,
    size: int = 200_000,
    seed: int = 7,
    end: datetime | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> World:
    """Make a world of card payments and write it as Parquet files.

    Args:
        folder: where to write; made when missing. Files of the same names are replaced.
        size: number of payments, at least 1,000. Memory grows by about 150 bytes per payment.
        seed: any whole number from 0; the same size and seed give the same world.
        end: the world's last midnight; a time within a day counts as the midnight before it. By default today's.
        progress: called with the finished share, up to 1.

    Raises:
        RequestError: the size or the seed is out of range.

    Example:
        >>> from datetime import UTC, datetime
        >>> world = write_world(Path("data"), size=2_000, seed=1, end=datetime(2024, 6, 30, tzinfo=UTC))
        >>> world.customers, world.terminals, world.rows["transactions.parquet"]
        (20, 10, 2000)
    """
    _check(size, seed)
    people = draw_people(size, seed)
    moment = process_clock().now() if end is None else to_micros(end)
    origin = moment - moment % DAY - DAYS * DAY
    return World(
        folder=folder,
        size=size,
        seed=seed,
        start=from_micros(origin),
        end=from_micros(origin + DAYS * DAY),
        customers=len(people.customers.city),
        terminals=len(people.terminals.city),
        frauds=int(np.count_nonzero(people.payments.scenario)),
        rows=_write_files(folder, origin, people, progress),
    )


def _check(size: int, seed: int) -> None:
    if size < 1_000:
        raise RequestError(f"a world of {size} payments is too small to learn from", cure="ask for at least 1,000")
    if seed < 0:
        raise RequestError(f"the seed {seed} is negative", cure="give a whole number from 0")


def _write_files(folder: Path, origin: int, people: People, progress: Callable[[float], None]) -> dict[str, int]:
    rows = dict.fromkeys(SCHEMAS, 0)
    batches = len(SCHEMAS) - 2 + 2 * DAYS
    done = 0
    for name, contents in _contents(people):
        with _Parquet(folder, name, origin) as file:
            for columns in contents:
                rows[name] += file.add(columns)
                done += 1
                progress(done / batches)
    return rows


def _contents(people: People) -> Iterator[tuple[str, Iterable[Columns]]]:
    """Yield each file's name and its batches of columns; times are microseconds since the world's start."""
    customers, terminals, payments = people.customers, people.terminals, people.payments
    yield "customers.parquet", [_customers(customers)]
    yield "terminals.parquet", [_terminals(terminals)]
    yield "transactions.parquet", [_transactions(payments)]
    yield "labels.parquet", [_labels(payments)]
    yield "settled/history.parquet", [_settled(payments, terminals)]
    yield "customer_spending.parquet", spending_by_day(payments, customers)
    yield "terminal_risk.parquet", risk_by_day(payments, len(terminals.city))


def _customers(customers: Customers) -> Columns:
    return {
        "customer_id": _ids(len(customers.city)),
        "event_timestamp": customers.opened * DAY,
        "age": customers.age,
        "segment": np.array(SEGMENTS)[customers.segment],
        "home_x": customers.x,
        "home_y": customers.y,
    }


def _terminals(terminals: Terminals) -> Columns:
    return {
        "terminal_id": _ids(len(terminals.city)),
        "event_timestamp": np.full(len(terminals.city), -365 * DAY),
        "category": np.array(CATEGORIES)[terminals.category],
        "x": terminals.x,
        "y": terminals.y,
    }


def _transactions(payments: Payments) -> Columns:
    return {
        "transaction_id": _ids(len(payments.time)),
        "customer_id": payments.customer + 1,
        "terminal_id": payments.terminal + 1,
        "event_timestamp": payments.time,
        "amount": payments.cents / 100.0,
    }


def _labels(payments: Payments) -> Columns:
    known = payments.known < DAYS * DAY
    return {
        "transaction_id": _ids(len(payments.time))[known],
        "event_timestamp": payments.time[known],
        "created_timestamp": payments.known[known],
        "is_fraud": (payments.scenario[known] > 0).astype(np.int64),
        "scenario": np.array(SCENARIOS)[payments.scenario[known]],
    }


def _settled(payments: Payments, terminals: Terminals) -> Columns:
    visits, cents = _so_far(payments)
    settled = payments.time + span_micros(SETTLED_AFTER)
    return {
        "customer_id": payments.customer + 1,
        "terminal_id": payments.terminal + 1,
        "event_timestamp": settled,
        "created_timestamp": settled + 2 * SECOND,
        "last_amount": payments.cents / 100.0,
        "last_paid_at": payments.time,
        "last_x": terminals.x[payments.terminal],
        "last_y": terminals.y[payments.terminal],
        "visits": visits,
        "spent_here": cents / 100.0,
    }


def _so_far(payments: Payments) -> tuple[Ints, Ints]:
    """Return, for each payment, the number and the cents of its customer's payments at its terminal up to it."""
    order = np.lexsort((payments.time, payments.terminal, payments.customer))
    customer, terminal, cents = payments.customer[order], payments.terminal[order], payments.cents[order]
    other = (np.diff(customer) != 0) | (np.diff(terminal) != 0)
    first = np.flatnonzero(np.concatenate([[True], other]))
    length = np.diff(np.append(first, len(order)))
    running = np.cumsum(cents)
    visits, spent = np.empty_like(order), np.empty_like(running)
    visits[order] = np.arange(len(order)) - np.repeat(first, length) + 1
    spent[order] = running - np.repeat(running[first] - cents[first], length)
    return visits, spent


def _ids(count: int) -> Ints:
    return np.arange(1, count + 1)


class _Parquet:
    """A Parquet file of the world that grows by batches of columns, gathered into row groups of ROW_GROUP rows."""

    def __init__(self, folder: Path, name: str, origin: int) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = pa.schema(list(SCHEMAS[name].items()))
        self._origin = origin
        self._writer = pq.ParquetWriter(path, self._schema)
        self._waiting: list[Any] = []

    def add(self, columns: Columns) -> int:
        """Add rows and return how many; a NaN is a null, a time counts from the world's start."""
        table = pa.table([self._array(columns[field.name], field.type) for field in self._schema], schema=self._schema)
        self._waiting.append(table)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            self._flush()
        return int(table.num_rows)

    def _array(self, values: npt.NDArray[Any], kind: Any) -> Any:
        moved = values + self._origin if pa.types.is_timestamp(kind) else values
        return pa.array(moved, from_pandas=True).cast(kind)

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP)
        self._waiting.clear()

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting and error is None:
            self._flush()
        self._writer.close()
