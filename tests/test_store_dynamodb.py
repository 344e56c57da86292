"""A feature store with its values in DynamoDB (as moto emulates it): from its configuration to windows."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from likewise import (
    Aggregation,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    FixedClock,
    PushSource,
    StreamFeatureView,
)
from likewise.config import RepoConfig
from likewise.online.base import TableMissing
from likewise.testing.moto_process import MotoProcess
from likewise.types import Float64, Int64

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
USERS = list(range(1, 12))
ASKED = [*(f"windows:{name}" for name in ("hour", "day", "times")), "plain:amount", "plain:at_all"]


def events(count: int, first: int) -> pd.DataFrame:
    """Make events of many users in the last day and a half, some at one time."""
    rows = [
        (USERS[n * 7 % 10], NOW - timedelta(minutes=n * 13 % 2000), float(n % 50)) for n in range(first, first + count)
    ]
    return pd.DataFrame(rows, columns=["user", "at", "amount"]).assign(at_all=1)


def test_dynamodb_serves_what_training_sees(tmp_path, dynamo_server: MotoProcess):
    """Applied, materialized, pushed to both sides and deleted: values, ttl and windows online are those of training."""
    online = {"type": "dynamodb", "region": "eu-west-1", "endpoint_url": dynamo_server.address, "timeout_seconds": 20}
    online |= {"table_name_template": f"{tmp_path.name}-{{project}}.{{table_name}}", "write_timeout_seconds": 30}
    config = RepoConfig(project="demo", registry="registry.db", online_store=online)
    events(120, 0).to_parquet(tmp_path / "events.parquet")
    source = FileSource(path="events.parquet", timestamp_field="at")
    user = Entity(name="user", value_type=Int64)
    sums = [
        Aggregation("amount", "sum", timedelta(hours=1), name="hour"),
        Aggregation("amount", "mean", timedelta(days=1), name="day"),
        Aggregation("amount", "count", timedelta(days=1), name="times"),
    ]
    fields = [Field("amount", Float64), Field("at_all", Int64)]
    views = [
        StreamFeatureView(
            "windows", source=PushSource("pushes", batch_source=source), entities=[user], aggregations=sums
        ),
        FeatureView("plain", source, fields, [user], timedelta(days=1)),
    ]
    with FeatureStore(tmp_path, config, clock=FixedClock(NOW)) as store:
        store.apply(views)
        store.materialize(NOW - timedelta(days=3), NOW)
        new = events(12, 120)
        store.push("pushes", new)
        pd.concat([events(120, 0), new]).to_parquet(tmp_path / "events.parquet")  # as the stream's log would have it
        store.materialize(NOW - timedelta(days=3), NOW)
        for at in (NOW, NOW + timedelta(minutes=61)):
            spine = pd.DataFrame({"user": USERS, "event_timestamp": at})
            trained = store.get_historical_features(spine, ASKED).to_df()
            served = store.get_online_features(ASKED, {"user": USERS}, as_of=at).to_df()
            assert trained["day"].notna().sum() >= 8
            pd.testing.assert_frame_equal(
                served.set_index("user")[trained.columns[2:]],
                trained.set_index("user")[trained.columns[2:]],
                check_dtype=False,
            )
        store.delete_from_online_store("plain", [{"user": 3}])
        answer = store.get_online_features(["plain:amount"], {"user": [3]})
        assert [status.name for status in answer.statuses()["amount"]] == ["NOT_FOUND"]
        store.apply([], objects_to_delete=[store.get_feature_view("plain")])
        with pytest.raises(TableMissing):
            store.online_store.scan("demo/plain")
        store.apply([views[1]])
        answer = store.get_online_features(["plain:amount"], {"user": USERS})
        assert {status.name for status in answer.statuses()["amount"]} == {"NOT_FOUND"}
