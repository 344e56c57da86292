"""Features of customers."""

from datetime import timedelta

import pandas as pd

from likewise import Entity, FeatureView, Field, FileSource, ValueType, on_demand_feature_view
from likewise.types import Float64, Int64, String

customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.INT64,
    description="Someone who has bought at least once",
)

customer_habits = FeatureView(
    name="customer_habits",
    entities=[customer],
    ttl=timedelta(days=3),
    schema=[
        Field(name="orders_90d", dtype=Int64),
        Field(name="mean_order_90d", dtype=Float64, description="In euros; null without an order"),
        Field(name="days_since_order", dtype=Int64),
        Field(name="months_with_us", dtype=Int64),
        Field(name="segment", dtype=String),
    ],
    source=FileSource(
        path="data/customers.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    tags={"team": "retention"},
    owner="retention@example.com",
)


@on_demand_feature_view(
    sources=[customer_habits],
    schema=[
        Field(name="orders_per_month", dtype=Float64),
        Field(name="is_lapsing", dtype=Int64),
    ],
)
def customer_signals(inputs: pd.DataFrame) -> pd.DataFrame:
    """Derive what follows from a customer's habits, the same way for training and for serving."""
    months = inputs["months_with_us"].clip(lower=1, upper=3)
    return pd.DataFrame(
        {
            "orders_per_month": inputs["orders_90d"] / months,
            "is_lapsing": (inputs["days_since_order"] > 60).astype("int64"),
        }
    )
