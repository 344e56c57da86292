"""Features of cards: slow ones that a nightly job computes, and fast ones that a program pushes."""

from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from likewise.types import Float64, Int64

card = Entity(
    name="card",
    join_keys=["card_id"],
    value_type=ValueType.INT64,
    description="A payment card",
)

card_history = FeatureView(
    name="card_history",
    entities=[card],
    ttl=timedelta(days=90),
    schema=[
        Field(name="payments_30d", dtype=Int64),
        Field(name="mean_amount_30d", dtype=Float64),
        Field(name="max_amount_30d", dtype=Float64),
        Field(name="merchants_30d", dtype=Int64),
        Field(name="payments_7d", dtype=Int64),
    ],
    source=FileSource(
        name="card_history_nightly",
        path="data/card_history.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description="Written by pipelines/batch_features.py",
    ),
    tags={"team": "risk"},
)

card_events = PushSource(
    name="card_events",
    batch_source=FileSource(
        name="card_last_hour_history",
        path="data/card_last_hour/",
        timestamp_field="event_timestamp",
        description="What was pushed, one file after another",
    ),
)

card_last_hour = FeatureView(
    name="card_last_hour",
    entities=[card],
    ttl=timedelta(hours=1),  # without news for an hour there is nothing to tell
    schema=[
        Field(name="payments_1h", dtype=Int64),
        Field(name="spent_1h", dtype=Float64),
        Field(name="declined_1h", dtype=Int64),
    ],
    source=card_events,
    offline=True,  # pushed rows may go to the files as well, for training
    tags={"team": "risk"},
)

card_fraud_v1 = FeatureService(name="card_fraud_v1", features=[card_history, card_last_hour])
