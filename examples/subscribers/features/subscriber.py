"""What is known of the subscribers of a video service."""

from datetime import timedelta

import pandas as pd

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, ValueType, on_demand_feature_view
from likewise.types import Float64, Int64, String

subscriber = Entity(
    name="subscriber",
    join_keys=["subscriber_id"],
    value_type=ValueType.INT64,
    description="Someone who pays by the month",
)

viewing = FeatureView(
    name="viewing",
    entities=[subscriber],
    ttl=timedelta(days=2),
    schema=[
        Field(name="hours_30d", dtype=Float64, description="Hours watched in the last 30 days"),
        Field(name="titles_30d", dtype=Int64),
        Field(name="idle_days", dtype=Int64, description="Days since the last play"),
        Field(name="plan", dtype=String),
    ],
    source=FileSource(
        path="data/viewing.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    tags={"team": "retention"},
)

support = FeatureView(
    name="support",
    entities=[subscriber],
    ttl=timedelta(days=60),
    schema=[Field(name="tickets", dtype=Int64)],
    source=FileSource(path="data/support.parquet", timestamp_field="closed_at"),
)


@on_demand_feature_view(sources=[viewing], schema=[Field(name="hours_per_title", dtype=Float64)])
def viewing_ratios(inputs: pd.DataFrame) -> pd.DataFrame:
    """Say how long a subscriber stays with a title; the same function for training and for serving."""
    return pd.DataFrame({"hours_per_title": inputs["hours_30d"] / inputs["titles_30d"].clip(lower=1)})


churn_v1 = FeatureService(name="churn_v1", features=[viewing[["hours_30d", "idle_days"]], support, viewing_ratios])
