"""A small repo, and a way to run the command line on it."""

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from likewise.cli.root import cli
from likewise.cli.session import Session

NOW = "2024-06-01T12:00:00Z"
FEATURES = '''
from datetime import timedelta

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from likewise import ValueType, on_demand_feature_view
from likewise.types import Float64, Int64, String

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="Who drives")
trips = FileSource(name="trips", path="data/trips.parquet", timestamp_field="event_timestamp")
stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=7),
    schema=[Field("trips", Int64), Field("rating", Float64)],
    source=trips,
    tags={"team": "fleet", "stage": "prod"},
    description="What drivers did",
)
cities = PushSource(
    name="cities", batch_source=FileSource(name="moves", path="data/moves.parquet", timestamp_field="event_timestamp")
)
city = FeatureView(name="driver_city", entities=[driver], schema=[Field("city", String)], source=cities)
asked = RequestSource(name="asked", schema=[Field("fare", Float64)])


@on_demand_feature_view(sources=[stats, asked], schema=[Field("fare_per_star", Float64)], mode="python")
def fares(inputs):
    """Compare the fare with the rating."""
    return {"fare_per_star": [f / r if r else None for f, r in zip(inputs["fare"], inputs["rating"])]}


model = FeatureService(name="fleet_v1", features=[stats, city])
pricing = FeatureService(name="pricing_v1", features=[stats[["rating"]], fares])
'''


@pytest.fixture
def repo(tmp_path):
    """A feature repo with two views, an on-demand view and two services; nothing of it is applied."""
    folder = tmp_path / "fleet"
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text("project: fleet\nprovider: local\n")
    (folder / "features.py").write_text(FEATURES)
    at = datetime(2024, 6, 1)
    days = [at - timedelta(days=3), at - timedelta(days=1), at - timedelta(days=2), at - timedelta(days=30)]
    trips = {
        "driver_id": [1, 1, 2, 3],
        "event_timestamp": pa.array(days, pa.timestamp("us", "UTC")),
        "trips": pa.array([10, 11, 20, None], pa.int64()),
        "rating": [4.5, 4.0, 5.0, 1.0],
    }
    moves = {"driver_id": [1], "event_timestamp": pa.array(days[:1], pa.timestamp("us", "UTC")), "city": ["Rome"]}
    pq.write_table(pa.table(trips), folder / "data" / "trips.parquet")
    pq.write_table(pa.table(moves), folder / "data" / "moves.parquet")
    return folder


@pytest.fixture
def run(repo):
    """Runs a command on the repo at noon of 2024-06-01, and returns what click's test runner says of it."""

    def run_command(*args, interactive=None, folder=repo, now=NOW, **more):
        session = Session(interactive=interactive)
        given = ["-c", str(folder), *map(str, args)]
        return CliRunner(env={"LIKEWISE_NOW": now}).invoke(cli, given, obj=session, **more)

    return run_command


@pytest.fixture
def applied(run):
    """The same, on the repo as it is applied."""
    done = run("apply")
    assert done.exit_code == 0, done.output
    return run
