"""The people of the made-up world: customers, terminals, and what is paid where, by whom, honestly or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAYS = 180
"""How many days the world lasts."""
SECOND = 1_000_000
DAY = 86_400 * SECOND
LABEL_DELAY = timedelta(days=7)
"""How long after a payment its truth is known at the latest."""

PAYMENTS_PER_CUSTOMER = 100
PAYMENTS_PER_TERMINAL = 200
CUSTOMERS_PER_CITY = 250
FAVOURITES = 12
"""How many terminals a customer usually goes to."""

SEGMENTS = ("student", "worker", "family", "retired")
SEGMENT_SHARE = np.array([0.18, 0.37, 0.28, 0.17])
SEGMENT_AGE = np.array([18, 23, 30, 62])
SEGMENT_AGE_SPAN = np.array([9, 38, 25, 26])
SEGMENT_SPEND = np.array([0.65, 1.0, 1.25, 0.9])
SEGMENT_PACE = np.array([1.2, 1.0, 1.3, 0.7])
SEGMENT_EVENING = np.array([0.7, 0.55, 0.5, 0.2])

CATEGORIES = ("grocery", "restaurant", "fuel", "fashion", "pharmacy", "electronics", "travel", "online")
CATEGORY_SHARE = np.array([0.30, 0.22, 0.12, 0.10, 0.08, 0.06, 0.04, 0.08])
CATEGORY_SPEND = np.array([1.0, 0.9, 1.6, 1.8, 0.6, 4.5, 6.0, 1.4])
CATEGORY_SPREAD = np.array([0.55, 0.50, 0.25, 0.60, 0.60, 0.80, 0.80, 0.75])

WEEK = np.array([1.0, 0.95, 0.95, 1.0, 1.2, 1.35, 0.85])
"""How busy each day of the week is; the world's last day is a 0.85."""

SCENARIOS = ("none", "terminal", "stolen", "large")
COMPROMISED_DAYS = 28
"""How long a terminal stays compromised."""
STOLEN_DAYS = 10
"""How long a stolen card goes unnoticed."""
EPISODE_SHARE = 0.65
"""How many of the payments in such a time are fraud."""
SPAN_DAYS = 30
"""In every span of so many days, counted back from the last one whose truth is known, there is a fraud."""
SHARE_TERMINAL = 0.003
SHARE_STOLEN = 0.0025
SHARE_LARGE = 0.0012


@dataclass(frozen=True, slots=True)
class Customers:
    """The customers, one array element each."""

    city: Ints
    """Where they live."""
    x: Floats
    """Home, km."""
    y: Floats
    """Home, km."""
    segment: Ints
    """Index into SEGMENTS."""
    age: Ints
    """Years."""
    opened: Ints
    """Day the account was opened, from the world's start; negative when before it."""
    spend: Floats
    """Usual amount of a payment in a shop of average prices."""
    pace: Floats
    """Payments per day, relative to others."""
    favourites: Ints
    """Terminals by customer and rank, the best liked first."""


@dataclass(frozen=True, slots=True)
class Terminals:
    """The terminals, one array element each, sorted by city."""

    city: Ints
    """Where they stand."""
    x: Floats
    """Place, km."""
    y: Floats
    """Place, km."""
    category: Ints
    """Index into CATEGORIES."""
    crowd: Floats
    """Running total of their popularity: drawing from it picks a terminal."""


@dataclass(frozen=True, slots=True)
class Payments:
    """The payments, one array element each, in the order of time."""

    customer: Ints
    """Index of the customer."""
    terminal: Ints
    """Index of the terminal."""
    time: Ints
    """Microseconds since the world's start."""
    cents: Ints
    """Amount in cents, so that sums are exact."""
    scenario: Ints
    """Index into SCENARIOS."""
    known: Ints
    """Microseconds since the world's start at which the truth is known; may lie past the end."""


@dataclass(frozen=True, slots=True)
class People:
    """Everyone in the world, and every payment."""

    customers: Customers
    """Who pays."""
    terminals: Terminals
    """Where."""
    payments: Payments
    """What, when, and whether it was fraud."""


def draw_people(size: int, seed: int) -> People:
    """Draw customers and terminals for a number of payments, and the payments.

    Example:
        >>> people = draw_people(size=2_000, seed=1)
        >>> len(people.customers.age), len(people.terminals.category), len(people.payments.cents)
        (20, 10, 2000)
    """
    rng = np.random.default_rng(seed)
    cities = max(2, size // PAYMENTS_PER_CUSTOMER // CUSTOMERS_PER_CITY)
    terminals = _draw_terminals(rng, max(8, size // PAYMENTS_PER_TERMINAL), cities)
    customers = _draw_customers(rng, max(8, size // PAYMENTS_PER_CUSTOMER), cities, terminals)
    return People(customers, terminals, _draw_payments(rng, size, customers, terminals))


# Who and where


def _city_centres(cities: int) -> tuple[Floats, Floats]:
    """Return where the cities lie, spread evenly over a square map; a city takes about 30 km by 30 km."""
    side = 30.0 * np.sqrt(cities) + 60.0
    number = np.arange(cities)
    # The golden ratio's multiples fill a line evenly, without a grid to be seen.
    return side * (number + 0.5) / cities, side * (number * 0.618033988749895 % 1.0)


def _draw_terminals(rng: np.random.Generator, count: int, cities: int) -> Terminals:
    everywhere = np.arange(cities)  # so that each city has a terminal
    city = np.sort(np.concatenate([everywhere, rng.integers(0, cities, count - cities)]))
    centre_x, centre_y = _city_centres(cities)
    return Terminals(
        city=city,
        x=centre_x[city] + rng.normal(0.0, 5.0, count),
        y=centre_y[city] + rng.normal(0.0, 5.0, count),
        category=rng.choice(len(CATEGORIES), count, p=CATEGORY_SHARE),
        crowd=np.cumsum(rng.gamma(1.5, 1.0, count) + 0.05),
    )


def _draw_customers(rng: np.random.Generator, count: int, cities: int, terminals: Terminals) -> Customers:
    city = rng.integers(0, cities, count)
    segment = rng.choice(len(SEGMENTS), count, p=SEGMENT_SHARE)
    centre_x, centre_y = _city_centres(cities)
    before = -(30 + np.minimum(rng.exponential(900.0, count), 3_000)).astype(np.int64)
    during = rng.integers(0, DAYS - 10, count)
    return Customers(
        city=city,
        x=centre_x[city] + rng.normal(0.0, 6.0, count),
        y=centre_y[city] + rng.normal(0.0, 6.0, count),
        segment=segment,
        age=SEGMENT_AGE[segment] + (rng.random(count) * SEGMENT_AGE_SPAN[segment]).astype(np.int64),
        opened=np.where(rng.random(count) < 0.12, during, before),
        spend=SEGMENT_SPEND[segment] * rng.lognormal(np.log(22.0), 0.4, count),
        pace=SEGMENT_PACE[segment] * rng.gamma(2.0, 0.5, count) + 0.02,
        favourites=_draw_favourites(rng, city, terminals),
    )


def _draw_favourites(rng: np.random.Generator, home: Ints, terminals: Terminals) -> Ints:
    """Draw terminals of the home city, popular ones more often; one may stand twice, then it is liked twice as much."""
    first = np.searchsorted(terminals.city, home, side="left")
    last = np.searchsorted(terminals.city, home, side="right") - 1
    low = np.where(first > 0, terminals.crowd[first - 1], 0.0)
    high = terminals.crowd[last]
    drawn = low[:, None] + rng.random((len(home), FAVOURITES)) * (high - low)[:, None]
    return np.clip(np.searchsorted(terminals.crowd, drawn), first[:, None], last[:, None])


# Payments


def _draw_payments(rng: np.random.Generator, size: int, customers: Customers, terminals: Terminals) -> Payments:
    customer = _pick(rng, np.cumsum(customers.pace), size)
    day = _draw_days(rng, customers.opened[customer])
    stolen = _in_episode(rng, customer, day, len(customers.city), size * SHARE_STOLEN, STOLEN_DAYS)
    terminal = _draw_places(rng, customer, customers, terminals, stolen)
    time = day * DAY + _draw_day_times(rng, SEGMENT_EVENING[customers.segment[customer]], stolen)
    order = np.argsort(time, kind="stable")
    customer, terminal, time, day, stolen = customer[order], terminal[order], time[order], day[order], stolen[order]
    compromised = (
        _in_episode(rng, terminal, day, len(terminals.city), size * SHARE_TERMINAL, COMPROMISED_DAYS) & ~stolen
    )
    cents = _draw_cents(rng, customers.spend[customer], terminals.category[terminal], stolen)
    large = (rng.random(size) < SHARE_LARGE) & ~stolen & ~compromised
    large |= _where_fraud_lacks(day, stolen | compromised | large, cents)
    cents[large] = (cents[large] + 30_000) * rng.integers(2, 6, int(large.sum()))
    scenario = compromised * 1 + stolen * 2 + large * 3
    return Payments(customer, terminal, time, cents, scenario, time + _draw_delay(rng, scenario > 0))


def _pick(rng: np.random.Generator, running: Floats, size: int) -> Ints:
    """Draw indices with the weights of a running total."""
    picked: Ints = np.searchsorted(running, rng.random(size) * running[-1], side="right")
    return picked


def _draw_days(rng: np.random.Generator, opened: Ints) -> Ints:
    """Draw a day of the world for each payment, busy days more often, none before the account was opened."""
    back = np.arange(DAYS)[::-1]  # 0 is the last day
    busy = np.concatenate([[0.0], np.cumsum(WEEK[6 - back % 7])])
    low = busy[np.maximum(opened, 0)]
    drawn = low + rng.random(len(opened)) * (busy[-1] - low)
    days: Ints = np.clip(np.searchsorted(busy, drawn, side="right") - 1, 0, DAYS - 1)
    return days


def _draw_day_times(rng: np.random.Generator, evening: Floats, stolen: Bools) -> Ints:
    """Draw the time of the day, in microseconds: around noon or in the evening; thieves keep no hours."""
    size = len(evening)
    late = rng.random(size) < evening
    hour = rng.normal(np.where(late, 18.5, 12.0), np.where(late, 2.2, 2.6))
    any_time = stolen | (rng.random(size) < 0.04)
    hour = np.where(any_time, rng.random(size) * 24.0, hour % 24.0)
    second = (hour * 3600.0).astype(np.int64)
    moment: Ints = np.minimum(second * SECOND + rng.integers(0, SECOND, size), DAY - 1)
    return moment


def _draw_places(
    rng: np.random.Generator, customer: Ints, customers: Customers, terminals: Terminals, stolen: Bools
) -> Ints:
    """Draw a terminal for each payment: a favourite, the best liked most often; anywhere on travel or when stolen."""
    size = len(customer)
    rank = np.minimum(rng.geometric(0.25, size) - 1, FAVOURITES - 1)
    away = stolen | (rng.random(size) < 0.06)
    return np.where(away, _pick(rng, terminals.crowd, size), customers.favourites[customer, rank])


def _draw_cents(rng: np.random.Generator, spend: Floats, category: Ints, stolen: Bools) -> Ints:
    amount = spend * CATEGORY_SPEND[category] * rng.lognormal(0.0, CATEGORY_SPREAD[category])
    amount *= np.where(stolen, rng.uniform(2.0, 6.0, len(spend)), 1.0)
    cents: Ints = np.maximum(50, np.rint(amount * 100.0)).astype(np.int64)
    return cents


def _in_episode(rng: np.random.Generator, key: Ints, day: Ints, keys: int, wanted: float, days: int) -> Bools:
    """Mark about ``wanted`` payments: most of those of randomly chosen keys, during episodes of so many days."""
    per_episode = len(key) / keys / DAYS * days * EPISODE_SHARE
    episodes = max(1, round(wanted / per_episode))
    bad = np.zeros((keys, DAYS), dtype=np.bool_)
    who, since = rng.integers(0, keys, episodes), rng.integers(-days, DAYS, episodes)
    for later in range(days):
        bad[who, np.clip(since + later, 0, DAYS - 1)] = True
    marked: Bools = bad[key, day] & (rng.random(len(key)) < EPISODE_SHARE)
    return marked


def _where_fraud_lacks(day: Ints, fraud: Bools, cents: Ints) -> Bools:
    """Mark the largest payment of each span of days that has no fraud, as a small world's may by chance."""
    marked = np.zeros(len(day), dtype=np.bool_)
    for end in range(DAYS - LABEL_DELAY.days, 0, -SPAN_DAYS):
        rows = np.flatnonzero((day >= end - SPAN_DAYS) & (day < end))
        if len(rows) and not fraud[rows].any():
            marked[rows[np.argmax(cents[rows])]] = True
    return marked


def _draw_delay(rng: np.random.Generator, fraud: Bools) -> Ints:
    longest = int(LABEL_DELAY / timedelta(microseconds=1))
    reported = (rng.gamma(2.0, 1.1, len(fraud)) * DAY).astype(np.int64)
    return np.where(fraud, np.minimum(reported, longest), longest)
