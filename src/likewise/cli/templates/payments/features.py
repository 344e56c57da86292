"""Features of customers and of the terminals they pay at: who they are, and what they did up to a moment."""

from datetime import timedelta

from likewise import Aggregation, Entity, FeatureView, Field, FileSource, PushSource, StreamFeatureView, ValueType
from likewise.types import Float32, Float64, Int64, String, UnixTimestamp

customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.INT64,
    description="The owner of a card",
)
terminal = Entity(
    name="terminal",
    join_keys=["terminal_id"],
    value_type=ValueType.INT64,
    description="Where a card is held against",
)

# Who they are: hardly ever changes, so it counts for ever.

customer_profile = FeatureView(
    name="customer_profile",
    entities=[customer],
    schema=[
        Field(name="age", dtype=Int64),
        Field(name="segment", dtype=String),
        Field(name="home_x", dtype=Float32, description="km on the map"),
        Field(name="home_y", dtype=Float32, description="km on the map"),
    ],
    source=FileSource(path="data/customers.parquet", timestamp_field="event_timestamp"),
)
terminal_profile = FeatureView(
    name="terminal_profile",
    entities=[terminal],
    schema=[
        Field(name="category", dtype=String, description="What is sold there"),
        Field(name="x", dtype=Float32, description="km on the map"),
        Field(name="y", dtype=Float32, description="km on the map"),
    ],
    source=FileSource(path="data/terminals.parquet", timestamp_field="event_timestamp"),
)

# What a job computes every midnight: three days later it says nothing any more.

customer_spending = FeatureView(
    name="customer_spending",
    entities=[customer],
    ttl=timedelta(days=3),
    schema=[
        Field(name="payments_1d", dtype=Int64),
        Field(name="payments_7d", dtype=Int64),
        Field(name="payments_30d", dtype=Int64),
        Field(name="spent_1d", dtype=Float64),
        Field(name="spent_7d", dtype=Float64),
        Field(name="spent_30d", dtype=Float64),
        Field(name="mean_amount_30d", dtype=Float64, description="Null without a payment"),
        Field(name="max_amount_30d", dtype=Float64, description="Null without a payment"),
        Field(name="std_amount_30d", dtype=Float64, description="Null below two payments"),
    ],
    source=FileSource(
        path="data/customer_spending.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    tags={"freshness": "daily"},
)
terminal_risk = FeatureView(
    name="terminal_risk",
    entities=[terminal],
    ttl=timedelta(days=3),
    schema=[
        Field(name="terminal_payments_1d", dtype=Int64),
        Field(name="terminal_payments_7d", dtype=Int64),
        Field(name="terminal_payments_30d", dtype=Int64),
        Field(name="terminal_reports_7d", dtype=Int64, description="Frauds reported on the days before"),
        Field(name="terminal_reports_30d", dtype=Int64),
        Field(name="terminal_risk_7d", dtype=Float32, description="Share of fraud in the 7 days up to a week ago"),
        Field(name="terminal_risk_30d", dtype=Float32, description="Share of fraud in the 30 days up to a week ago"),
    ],
    source=FileSource(
        path="data/terminal_risk.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    tags={"freshness": "daily"},
)

# What is pushed half a minute after each payment, for serving at once and into a folder for training. One source feeds
# three views, on different keys.

settled = PushSource(
    name="settled",
    batch_source=FileSource(
        path="data/settled/",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    description="Payments that went through",
)
last_payment = FeatureView(
    name="last_payment",
    entities=[customer],
    schema=[
        Field(name="last_amount", dtype=Float64),
        Field(name="last_paid_at", dtype=UnixTimestamp),
        Field(name="last_x", dtype=Float32, description="km on the map"),
        Field(name="last_y", dtype=Float32, description="km on the map"),
    ],
    source=settled,
    offline=True,
    tags={"freshness": "seconds"},
)
customer_pace = StreamFeatureView(
    name="customer_pace",
    entities=[customer],
    source=settled,
    aggregations=[
        Aggregation("*", "count", timedelta(hours=1), name="payments_1h"),
        Aggregation("last_amount", "sum", timedelta(hours=1), name="spent_1h"),
        Aggregation("*", "count", timedelta(hours=24), name="payments_24h"),
        Aggregation("last_amount", "sum", timedelta(hours=24), name="spent_24h"),
        Aggregation("last_amount", "max", timedelta(days=7), name="max_amount_7d"),
    ],
    description="How fast a card is used, up to the moment of the request",
    tags={"freshness": "seconds"},
)
customer_at_terminal = FeatureView(
    name="customer_at_terminal",
    entities=[customer, terminal],
    schema=[
        Field(name="visits", dtype=Int64, description="Payments of this customer at this terminal so far"),
        Field(name="spent_here", dtype=Float64),
    ],
    source=settled,
    offline=True,
    tags={"freshness": "seconds"},
)
