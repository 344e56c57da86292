"""What is known of a customer from raw payments: the windows that a nightly job and a stream would keep."""

from datetime import timedelta
from statistics import fmean, stdev
from typing import Any

from likewise import (
    Aggregation,
    BatchFeatureView,
    Entity,
    FeatureService,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    ValueType,
    on_demand_feature_view,
)
from likewise.types import Array, Float64, Int64, String

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
payments = FileSource(name="payments", path="data/payments.parquet", timestamp_field="timestamp")
paid = PushSource(name="paid", batch_source=payments)


def of_days(days: int) -> list[Aggregation]:
    """Return the windows of so many days that a nightly job would compute with pandas."""
    window = days * DAY
    return [
        Aggregation("amount", "sum", window, name=f"total_transactions_{days}d"),
        Aggregation("amount", "mean", window, name=f"avg_transaction_amount_{days}d"),
        Aggregation("amount", "max", window, name=f"max_transaction_amount_{days}d"),
        Aggregation("amount", "count", window, name=f"transaction_count_{days}d"),
        Aggregation("merchant_id", "count_distinct", window, name=f"unique_merchants_{days}d"),
    ]


# The nightly job: exact windows, at any time, not only at midnight.
customer_payments = BatchFeatureView(
    name="customer_payments",
    entities=[customer],
    source=payments,
    online=True,
    aggregations=[*of_days(30), *of_days(7)],
)

# The stream processor that counts the last hour, to the microsecond.
customer_hour = StreamFeatureView(
    name="customer_hour",
    entities=[customer],
    source=paid,
    aggregations=[
        Aggregation("*", "count", HOUR, name="transactions_last_hour"),
        Aggregation("amount", "sum", HOUR, name="amount_last_hour"),
        Aggregation("*", "count", HOUR, name="failed_transactions_last_hour", where="NOT success"),
    ],
)

# The same by twelve buckets of five minutes, the one that is open now among them: a key takes a few hundred bytes,
# however many events it has.
customer_buckets = StreamFeatureView(
    name="customer_buckets",
    entities=[customer],
    source=paid,
    aggregations=[
        Aggregation("*", "count", 55 * MINUTE, 5 * MINUTE, name="transactions_in_buckets"),
        Aggregation("amount", "sum", 55 * MINUTE, 5 * MINUTE, name="amount_in_buckets"),
    ],
)

# Windows of so many rows instead of so much time: the last rows, and what a function makes of them.
customer_rows = StreamFeatureView(
    name="customer_rows",
    entities=[customer],
    source=paid,
    schema=[Field("last_amounts", Array(Float64)), Field("favourites", Array(String))],
    aggregations=[
        Aggregation("amount", "last_n(7)", name="last_amounts"),
        Aggregation("category", "top_k(3)", name="favourites"),
    ],
)


@on_demand_feature_view(
    sources=[customer_rows[["last_amounts"]]],
    schema=[
        Field("amount_lag_1", Float64),
        Field("amount_mean_7", Float64),
        Field("amount_std_7", Float64),
        Field("rows_7", Int64),
    ],
    mode="python",
    singleton=True,
)
def rolling(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what pandas' shift(1) and rolling(7, min_periods=1) give at the customer's latest row."""
    rows = inputs["last_amounts"] or []
    return {
        "amount_lag_1": rows[-2] if len(rows) > 1 else None,
        "amount_mean_7": fmean(rows) if rows else None,
        "amount_std_7": stdev(rows) if len(rows) > 1 else None,
        "rows_7": len(rows),
    }


@on_demand_feature_view(
    sources=[customer_payments[["avg_transaction_amount_7d", "avg_transaction_amount_30d"]]],
    schema=[Field("recent_vs_historical", Float64)],
    mode="python",
    singleton=True,
)
def ratios(inputs: dict[str, Any]) -> dict[str, Any]:
    """Compare the last week with the last month."""
    recent, historical = inputs["avg_transaction_amount_7d"], inputs["avg_transaction_amount_30d"]
    return {"recent_vs_historical": recent / historical if recent is not None and historical else None}


fraud_v1 = FeatureService(
    name="fraud_v1", features=[customer_payments, customer_hour, customer_buckets, customer_rows, rolling, ratios]
)
