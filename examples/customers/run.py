"""Windows over raw payments, declared once: for a training set, for the store's online values, and for a stream.

Run it with `python run.py`; it makes its data beside itself.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from likewise import FeatureStore, FixedClock

HERE = Path(__file__).parent
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)  # the example's own time, so that it prints the same every day
SERVICE = "fraud_v1"


def make_payments(count: int = 3_000, customers: int = 20, days: int = 45) -> pd.DataFrame:
    """Make payments up to an hour from now on; those until now are history, the rest will be pushed."""
    rng = np.random.default_rng(21)
    seconds = np.sort(np.r_[rng.integers(0, days * 86_400, count), days * 86_400 + rng.integers(1, 3_600, 60)])
    return pd.DataFrame(
        {
            "customer_id": rng.integers(1, customers + 1, len(seconds)),
            "timestamp": [NOW - timedelta(days=days) + timedelta(seconds=int(second)) for second in seconds],
            "amount": rng.lognormal(3, 1, len(seconds)).round(2),
            "merchant_id": rng.integers(1, 40, len(seconds)),
            "category": rng.choice(["grocery", "fuel", "travel", "online"], len(seconds)),
            "success": rng.random(len(seconds)) > 0.1,
        }
    )


def by_hand(payments: pd.DataFrame, customer: int, at: datetime) -> dict[str, float]:
    """Compute some of the features as one does without a store."""
    own = payments[(payments["customer_id"] == customer) & (payments["timestamp"] <= at)]
    month, hour = (own[own["timestamp"] > at - timedelta(**span)] for span in ({"days": 30}, {"hours": 1}))
    return {
        "total_transactions_30d": month["amount"].sum(),
        "unique_merchants_30d": month["merchant_id"].nunique(),
        "transactions_last_hour": len(hour),
        "failed_transactions_last_hour": int((~hour["success"]).sum()),
        "amount_mean_7": own["amount"].tail(7).mean(),
    }


def check(answer: pd.DataFrame, payments: pd.DataFrame, times: pd.Series) -> int:
    """Compare an answer with what is computed by hand; return how many values there are."""
    found = 0
    for row, at in zip(answer.to_dict("records"), times, strict=True):
        for name, value in by_hand(payments, row["customer_id"], at).items():
            assert np.isclose(row[name], value, rtol=1e-12, atol=1e-9), f"{name} of {row['customer_id']} at {at}"
            found += 1
    return found


def main() -> None:
    payments = make_payments()
    history, stream = payments[payments["timestamp"] <= NOW], payments[payments["timestamp"] > NOW]
    (HERE / "data").mkdir(exist_ok=True)
    history.to_parquet(HERE / "data" / "payments.parquet", index=False)
    clock = FixedClock(NOW)
    with FeatureStore(repo_path=HERE, clock=clock) as store:
        store.apply()
        asked = history.sample(100, random_state=3)[["customer_id", "timestamp"]]
        asked = asked.rename(columns={"timestamp": "event_timestamp"})
        training = store.get_historical_features(asked, SERVICE).to_df()
        same = check(training, history, training["event_timestamp"])
        print(f"training set: {len(training)} moments, {same} values as by hand")

        customers = {"customer_id": list(range(1, 21))}
        status = store.get_online_features(SERVICE, customers).statuses()["transactions_last_hour"][0]
        print(f"before the back-fill: {status.name}")
        store.materialize_incremental(end_date=NOW)
        online = store.get_online_features(SERVICE, customers).to_df()
        print(f"back-filled: {check(online, history, pd.Series([NOW] * 20))} values as by hand")

        clock.set(NOW + timedelta(hours=1))
        for number, rows in enumerate(np.array_split(np.random.default_rng(4).permutation(len(stream)), 6)):
            for _ in range(2):  # what is sent twice counts once, if it has a name
                store.push("paid", stream.iloc[rows], idempotency_key=f"batch {number}")
        online = store.get_online_features(["customer_hour", "customer_buckets"], customers).to_df()
        last_hour, buckets = int(online["transactions_last_hour"].sum()), int(online["transactions_in_buckets"].sum())
        print(f"pushed in any order, twice: {last_hour} of {len(stream)} payments in the last hour")
        print(f"in the last twelve buckets: {buckets}")

        clock.set(NOW + timedelta(hours=2))
        online = store.get_online_features(["customer_hour"], customers).to_df()
        print(f"an hour later: {int(online['transactions_last_hour'].sum())}, and nobody pushed anything")


if __name__ == "__main__":
    main()
