"""Features of the accounts of a software service, and what a model that foresees upgrades reads."""

from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from likewise.types import Bool, Float64, Int64, String

account = Entity(
    name="account",
    join_keys=["account_id"],
    value_type=ValueType.STRING,
    description="A customer's account, such as 'acc_0042'",
    owner="platform@example.com",
)

# Where the rows come from: a file, a folder that grows by a file a month, and a glob.

base_data = FileSource(
    name="base_data",
    path="data/base_data/accounts.parquet",
    timestamp_field="opened_at",
    description="What hardly ever changes, one row per account",
)
temporal_data = FileSource(
    name="temporal_data",
    path="data/temporal_data/",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
    description="Daily usage, one file per month",
)
entity_snapshots = FileSource(
    name="entity_snapshots",
    path="data/entity_snapshots/*.parquet",
    timestamp_field="snapshot_at",
    description="What billing knew on the first of each month",
)

# The features, grouped by how fast they age.

account_profile = FeatureView(
    name="account_profile",
    entities=[account],
    ttl=None,  # counts for ever
    schema=[
        Field(name="country", dtype=String),
        Field(name="plan", dtype=String, description="The plan it began with"),
        Field(name="seats", dtype=Int64),
    ],
    source=base_data,
)
account_usage = FeatureView(
    name="account_usage",
    entities=[account],
    ttl=timedelta(days=7),
    schema=[
        Field(name="active_users_7d", dtype=Int64),
        Field(name="calls_7d", dtype=Int64),
        Field(name="error_share_7d", dtype=Float64),
    ],
    source=temporal_data,
    tags={"freshness": "daily"},
)
account_billing = FeatureView(
    name="account_billing",
    entities=[account],
    ttl=timedelta(days=62),
    schema=[
        Field(name="paid_last_month", dtype=Float64),
        Field(name="pays_late", dtype=Bool),
    ],
    source=entity_snapshots,
    tags={"freshness": "monthly"},
)

upgrade_v1 = FeatureService(
    name="upgrade_v1",
    features=[account_profile[["plan", "seats"]], account_usage, account_billing],
    description="What the upgrade model reads",
    owner="growth@example.com",
)
