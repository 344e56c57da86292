"""Hand-written windows of the texts against definitions of our own: the same numbers, from examples/customers.

The texts' classes and functions run as printed, on made data: a nightly pandas job, two processors that keep counts in
Redis, rolling and lag features. The definitions that replace them are those of the example. Redis is a real server;
what comes from Kafka the test hands over itself, an event at a time. Redis has the real time, not the test's, so none
of its keys expires; by the test's time none would before its last use: no bucket is asked for then, and no customer
rests an hour.
"""

import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis
from tests.test_seeds import SEEDS, Reader

from likewise import FeatureStore, FixedClock
from likewise.testing.redis_process import RedisProcess, free_port

pytestmark = [pytest.mark.skipif(not SEEDS.is_dir(), reason=f"the texts are not at {SEEDS}; CI has them")]

EXAMPLE = Path(__file__).parents[1] / "examples" / "customers"
NOW = datetime(2024, 6, 1, 12)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def made_payments(size: int, span: timedelta, customers: int) -> pd.DataFrame:
    """Make payments that end now, in quarters, so that their sums are exact in any order; some at one moment."""
    rng = np.random.default_rng(size)
    back = rng.integers(1, int(span / timedelta(seconds=1)), size)
    back[: size // 20] = back[size // 20 : 2 * (size // 20)]
    return pd.DataFrame(
        {
            "customer_id": rng.integers(1, customers + 1, size),
            "timestamp": [NOW - timedelta(seconds=int(second)) for second in back],
            "amount": rng.integers(1, 4_000, size) / 4,
            "merchant_id": rng.integers(1, 30, size),
            "category": rng.choice(["food", "fuel"], size),
            "success": rng.random(size) > 0.2,
        }
    )


class Example:
    """The example's repo with payments of its own.

    Args:
        folder: where it is copied to.
        payments: the history in its files.
    """

    def __init__(self, folder: Path, payments: pd.DataFrame) -> None:
        repo = folder / "customers"
        shutil.copytree(EXAMPLE, repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
        (repo / "data").mkdir()
        payments.to_parquet(repo / "data" / "payments.parquet", index=False)
        self.clock = FixedClock(NOW)
        self.store = FeatureStore(repo_path=repo, clock=self.clock)
        self.store.apply()

    def trained(self, spine: pd.DataFrame, features: list[str]) -> pd.DataFrame:
        """Return a training set without the spine's times."""
        return self.store.get_historical_features(spine, features).to_df().drop(columns="event_timestamp")

    def online(self, customers: list[int], features: list[str], at: datetime) -> pd.DataFrame:
        """Return what is served when it is a time."""
        self.clock.set(at)
        return self.store.get_online_features(features, {"customer_id": customers}).to_df()


# The nightly job

NIGHTLY = [
    f"{name}_{days}d"
    for days in (30, 7)
    for name in (
        "total_transactions",
        "avg_transaction_amount",
        "max_transaction_amount",
        "transaction_count",
        "unique_merchants",
    )
]


def nightly(frame: pd.DataFrame) -> dict[int, list[float | None]]:
    """Return values by customer; a count of none is 0, other missing values are None."""
    counts = [name for name in NIGHTLY if "count" in name]
    frame = frame.set_index("customer_id")[NIGHTLY].astype("Float64")
    frame[counts] = frame[counts].fillna(0)
    return {
        int(key): [None if pd.isna(value) else float(value) for value in row]
        for key, row in zip(frame.index, frame.to_numpy(dtype=object, na_value=None), strict=True)
    }


def test_the_nightly_job_is_two_windows(tmp_path):
    """At eight as-of dates, in training and online, every total, mean, maximum, count and number of merchants is equal.

    The job leaves out who paid nothing for 30 days; a training set has a row for everyone who is asked for.
    """
    payments = made_payments(900, 80 * DAY, customers=12)
    payments.loc[payments["customer_id"] == 12, "timestamp"] = NOW - 20 * DAY
    # A whole number of days before two of the dates: on both ends of their windows.
    payments.loc[:3, "timestamp"] = [NOW - 30 * DAY, NOW - 7 * DAY, NOW, NOW - 37 * DAY]
    reader = Reader(3, tmp_path)
    reader.cell(2)
    job = reader.names["CustomerFeatureBuilder"](payments.copy())
    example = Example(tmp_path, payments)
    references = [f"customer_payments:{name}" for name in NIGHTLY]
    dates = [
        NOW,
        NOW - 7 * DAY,
        NOW - 9 * HOUR,
        *(NOW - timedelta(days=days, seconds=11) for days in (1, 13, 33, 60, 79)),
    ]
    compared = 0
    for at in dates:
        built = nightly(job.build_features(at))
        spine = pd.DataFrame({"customer_id": range(1, 13), "event_timestamp": at})
        ours = nightly(example.trained(spine, references))
        assert built == {key: ours[key] for key in built}, f"at {at}"
        idle = [ours[key] for key in ours if key not in built]
        assert all(row == [None, None, None, 0, None] * 2 for row in idle), f"at {at}"
        compared += len(built) * len(NIGHTLY)
    assert compared > 700
    example.store.materialize_incremental(end_date=NOW)
    assert nightly(example.online(list(range(1, 13)), references, NOW)) == nightly(job.build_features(NOW))


# The stream processors


@pytest.fixture(name="port")
def _port(tmp_path_factory) -> Iterator[int]:
    port = free_port()
    with RedisProcess(tmp_path_factory.mktemp("redis"), port=port):
        yield port


@pytest.fixture
def processors(tmp_path) -> tuple[dict[str, Any], SimpleNamespace]:
    """Return the names of the text's stream processors, and the time it is for them; no message comes from Kafka."""
    clock = SimpleNamespace(now=NOW)
    kafka = ModuleType("kafka")
    kafka.KafkaConsumer = lambda *topics, **options: []  # type: ignore[attr-defined]
    before = sys.modules.get("kafka")
    sys.modules["kafka"] = kafka
    reader = Reader(3, tmp_path)
    try:
        reader.cell(3)
    finally:
        del sys.modules["kafka"]
        if before is not None:
            sys.modules["kafka"] = before

    class Now(datetime):
        """The text's `datetime`, with the test's time as now."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return clock.now

    reader.names["datetime"] = Now
    return reader.names, clock


def in_order(payments: pd.DataFrame) -> list[dict[str, Any]]:
    """Return payments as events in the order of time, each a second to itself and none on the second of a bucket."""
    ordered = payments.sort_values("timestamp").drop_duplicates("timestamp")
    return ordered.assign(timestamp=ordered["timestamp"] + timedelta(milliseconds=1)).to_dict("records")


def test_the_sliding_buckets_are_a_slide_interval(tmp_path, processors, port):
    """Twelve buckets of five minutes, summed at any moment, are the window of 55 minutes with a slide of five."""
    names, clock = processors
    payments = made_payments(700, 6 * HOUR, customers=3)
    example = Example(tmp_path, payments.head(0))
    example.store.materialize(NOW - DAY, NOW - 7 * HOUR)
    client = redis.Redis(port=port)
    buckets = names["SlidingWindowAggregator"](client, window_minutes=60)
    references = [f"customer_buckets:{name}" for name in ("transactions_in_buckets", "amount_in_buckets")]
    rng = np.random.default_rng(8)
    compared = 0
    for event in in_order(payments):
        clock.now = event["timestamp"].to_pydatetime()
        buckets.add_transaction(str(event["customer_id"]), event["amount"])
        example.clock.set(clock.now)
        example.store.push("paid", [event])
        if rng.random() < 0.3:
            clock.now += timedelta(seconds=int(rng.integers(0, 20)))
            ours = example.online([1, 2, 3], references, clock.now)
            for row in ours.fillna(0.0).itertuples(index=False):
                theirs = buckets.get_window_aggregates(str(row.customer_id))
                assert (row.transactions_in_buckets, row.amount_in_buckets) == tuple(theirs.values()), f"{clock.now}"
                compared += 1
    client.close()
    assert compared > 300


def test_the_hourly_counter_agrees_until_it_goes_wrong(tmp_path, processors, port):
    """The simple processor counts since the last idle hour; so far as that is within the hour, its numbers are ours."""
    names, clock = processors
    payments = made_payments(300, 4 * HOUR, customers=4)
    example = Example(tmp_path, payments.head(0))
    example.store.materialize(NOW - DAY, NOW - 5 * HOUR)
    simple = names["StreamingFeatureProcessor"]("kafka:9092", "localhost", port)
    fields = ["transactions_last_hour", "amount_last_hour", "failed_transactions_last_hour"]
    references = [f"customer_hour:{name}" for name in fields]
    first: dict[int, datetime] = {}
    events = in_order(payments)
    equal, above = 0, 0
    for event in events:
        clock.now = event["timestamp"].to_pydatetime()
        customer = int(event["customer_id"])
        first.setdefault(customer, clock.now)
        example.clock.set(clock.now)
        example.store.push("paid", [event])
        simple.process_event({**event, "timestamp": clock.now.isoformat()})
        kept = simple.redis.hgetall(f"customer:{customer}:realtime")
        theirs = [float(kept.get(name.encode(), 0)) for name in fields]
        ours = example.online([customer], references, clock.now)[fields].iloc[0].fillna(0).tolist()
        own = [one for one in events if one["customer_id"] == customer and one["timestamp"] <= event["timestamp"]]
        last = [one for one in own if one["timestamp"] > event["timestamp"] - HOUR]
        assert ours == [len(last), sum(one["amount"] for one in last), sum(not one["success"] for one in last)]
        if first[customer] > clock.now - HOUR:
            assert theirs == ours
            equal += 1
        else:
            above += theirs[0] > ours[0]
    simple.redis.close()
    rests = payments.sort_values("timestamp").groupby("customer_id")["timestamp"].diff().max()
    assert rests < HOUR, "no counter would have expired"
    assert equal > 50
    assert above > 50, "afterwards it goes on counting what is long past"


# Rolling and lag features


def test_rolling_and_lag_features_are_windows_of_rows(tmp_path):
    """pandas' rolling(7) and shift(1) over a customer's rows are last_n(7) and a function of it, at each row's time."""
    payments = made_payments(200, 50 * DAY, customers=5)
    payments = payments.drop_duplicates("timestamp").sort_values("timestamp").reset_index(drop=True)
    reader = Reader(4, tmp_path)
    for index in (1, 8, 9, 10):
        reader.cell(index)
    names = reader.names
    frame = payments.rename(columns={"customer_id": "user_id"})
    for name in ("total_spend", "hour", "num_purchases", "days_active"):
        frame[name] = 1.0
    expected = names["create_user_features"](frame)[["avg_purchase_7d"]]
    rolled = names["create_rolling_features"](frame.copy(), "amount", [7])
    expected["amount_std_7d"] = rolled["amount_std_7d"]
    expected["amount_lag_1d"] = names["create_lag_features"](frame.copy(), "amount", [1])["amount_lag_1d"]

    example = Example(tmp_path, payments.sample(frac=1, random_state=1))
    spine = pd.DataFrame({"customer_id": payments["customer_id"], "event_timestamp": payments["timestamp"]})
    ours = example.trained(spine, ["rolling:amount_mean_7", "rolling:amount_std_7", "rolling:amount_lag_1"])
    for mine, theirs in (
        ("amount_mean_7", "avg_purchase_7d"),
        ("amount_std_7", "amount_std_7d"),
        ("amount_lag_1", "amount_lag_1d"),
    ):
        got = ours[mine].to_numpy(dtype=float, na_value=np.nan)
        np.testing.assert_allclose(got, expected[theirs].to_numpy(), rtol=1e-9, err_msg=mine)
    assert expected["amount_std_7d"].notna().sum() > 150


def test_the_last_week_against_the_last_month_is_a_function_of_two_windows(tmp_path):
    """The text divides columns that a job left; here both are windows at the moment asked for."""
    payments = made_payments(300, 60 * DAY, customers=4)
    reader = Reader(4, tmp_path)
    reader.cell(10)
    example = Example(tmp_path, payments)
    spine = pd.DataFrame(
        {"customer_id": [1, 2, 3, 4], "event_timestamp": [NOW - timedelta(days=days) for days in range(4)]}
    )
    means = [f"customer_payments:avg_transaction_amount_{days}d" for days in (7, 30)]
    ours = example.trained(spine, [*means, "ratios:recent_vs_historical"])
    columns = {"avg_transaction_amount_7d": "avg_7d", "avg_transaction_amount_30d": "avg_90d"}
    theirs = reader.names["create_ratio_features"](ours.rename(columns=columns).assign(purchase_amount=1.0))
    assert ours["recent_vs_historical"].notna().all()
    assert ours["recent_vs_historical"].tolist() == theirs["recent_vs_historical"].tolist()
