"""What a model that plans the maintenance of machines reads."""

from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource
from likewise.types import Float64, Int64

machine = Entity(name="machine", join_keys=["machine_id"], description="A machine in the hall")

readings = FeatureView(
    name="readings",
    entities=[machine],
    ttl=timedelta(days=7),  # an older reading does not count any more
    schema=[
        Field(name="hours_run", dtype=Int64),
        Field(name="temperature", dtype=Float64),
        Field(name="vibration", dtype=Float64),
    ],
    source=FileSource(path="data/readings.parquet", timestamp_field="event_timestamp"),
)

maintenance_v1 = FeatureService(name="maintenance_v1", features=[readings])
