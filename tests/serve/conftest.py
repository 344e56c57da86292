"""A small repo, applied and filled, and a server on it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.serve.server_process import NOW, ServerProcess

from likewise import FeatureStore
from likewise.core.time import FixedClock
from likewise.core.types import arrow_type

CONFIG = """
project: fleet
registry: {path: data/registry.db, cache_ttl_seconds: 0.2}
online_store: {type: lmdb, path: data/online, map_size: 1073741824}
"""
FEATURES = '''
from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from likewise import ValueType, on_demand_feature_view
from likewise.types import Array, Bool, Bytes, Decimal, Float32, Float64, Int64, Json, Map, Set, String, Struct
from likewise.types import UnixTimestamp, Uuid

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
token = Entity(name="token", join_keys=["token"], value_type=ValueType.BYTES)
trips = FileSource(name="trips", path="data/trips.parquet", timestamp_field="event_timestamp")
stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=7),
    schema=[Field("trips", Int64), Field("rating", Float64)],
    source=trips,
)
cities = PushSource(
    name="cities", batch_source=FileSource(name="moves", path="data/moves.parquet", timestamp_field="event_timestamp")
)
city = FeatureView(name="driver_city", entities=[driver], schema=[Field("city", String)], source=cities)
everything = FeatureView(
    name="everything",
    entities=[token],
    schema=[
        Field("whole", Int64), Field("double", Float64), Field("single", Float32), Field("flag", Bool),
        Field("text", String), Field("blob", Bytes), Field("at", UnixTimestamp), Field("price", Decimal),
        Field("id", Uuid), Field("numbers", Array(Float64)), Field("labels", Set(String)), Field("pairs", Map),
        Field("place", Struct({"lat": Float64, "name": String})), Field("json", Json),
    ],
    source=PushSource(name="all_pushed", batch_source=FileSource(
        name="all", path="data/all.parquet", timestamp_field="event_timestamp")),
)
asked = RequestSource(name="asked", schema=[Field("fare", Float64)])


@on_demand_feature_view(sources=[stats, asked], schema=[Field("fare_per_star", Float64)], mode="python")
def fares(inputs):
    """Compare the fare with the rating."""
    return {"fare_per_star": [f / r if r and f else None for f, r in zip(inputs["fare"], inputs["rating"])]}


model = FeatureService(name="fleet_v1", features=[stats, city])
pricing = FeatureService(name="pricing_v1", features=[stats[["rating"]], fares])
'''


def make_repo(folder: Path, config: str = CONFIG, more: str = "") -> Path:
    """Write the repo, with more definitions if there are, apply it, and fill its online store."""
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(config)
    (folder / "features.py").write_text(FEATURES + more)
    noon = datetime(2024, 6, 1, 12, tzinfo=UTC)
    days = [noon - timedelta(days=3), noon - timedelta(days=1), noon - timedelta(days=2), noon - timedelta(days=30)]
    table = {
        "driver_id": [1, 1, 2, 3],
        "event_timestamp": pa.array(days, pa.timestamp("us", "UTC")),
        "trips": pa.array([10, 11, None, 7], pa.int64()),
        "rating": [4.5, 4.0, 5.0, 1.0],
    }
    pq.write_table(pa.table(table), folder / "data" / "trips.parquet")
    moves = {"driver_id": [1], "event_timestamp": pa.array(days[:1], pa.timestamp("us", "UTC")), "city": ["Rome"]}
    pq.write_table(pa.table(moves), folder / "data" / "moves.parquet")
    with FeatureStore(folder, clock=FixedClock(NOW)) as store:
        store.apply(skip_source_validation=True)
        fields = [("token", pa.binary()), ("event_timestamp", pa.timestamp("us", "UTC"))]
        fields += [(f.name, arrow_type(f.dtype)) for f in store.get_feature_view("everything").features]
        pq.write_table(pa.schema(fields).empty_table(), folder / "data" / "all.parquet")
        store.materialize("2024-01-01", NOW, ["driver_stats", "driver_city"])
    return folder


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repo, applied and filled."""
    return make_repo(tmp_path_factory.mktemp("fleet") / "repo")


@pytest.fixture(scope="module")
def server(repo: Path) -> Iterator[ServerProcess]:
    """A server on the repo."""
    with ServerProcess(repo) as running:
        yield running
