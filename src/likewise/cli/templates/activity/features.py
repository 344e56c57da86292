"""How people use an app, day by day, and what a model that foresees their engagement reads."""

from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from likewise.types import Bool, Float32, Int64

user = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.INT64,
    description="Someone with an account",
)

daily_activity = FileSource(
    name="daily_activity",
    path="data/user_activity.parquet",
    timestamp_field="event_timestamp",
    description="One row per user and day, for the day before",
)

user_activity = FeatureView(
    name="user_activity",
    entities=[user],
    ttl=timedelta(days=7),  # who was silent for a week has no activity
    schema=[
        Field(name="sessions", dtype=Int64, description="Times the app was opened"),
        Field(name="minutes", dtype=Float32, description="Time spent in it"),
        Field(name="pages_viewed", dtype=Int64),
        Field(name="purchases", dtype=Int64),
        Field(name="spent", dtype=Float32, description="On purchases, in euros"),
        Field(name="is_subscriber", dtype=Bool),
    ],
    source=daily_activity,
    tags={"team": "growth"},
)

engagement_v1 = FeatureService(
    name="engagement_v1",
    features=[user_activity[["sessions", "minutes", "purchases", "is_subscriber"]]],
    description="What the engagement model reads",
)
