"""A feature store whose registry is in a database: from definitions to served values, by two machines at once."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, FixedClock, RepoConfig, ValueType
from likewise.config import parse_config
from likewise.core.errors import ConfigError, StoreUnavailable
from likewise.core.time import to_micros
from likewise.registry.watermarks import read_watermark
from likewise.testing.postgres_process import PostgresProcess
from likewise.types import Float64

NOW = "2024-06-01T12:00:00Z"
ROWS = pd.DataFrame(
    {
        "user_id": [1, 2, 1],
        "event_timestamp": pd.to_datetime(["2024-05-30", "2024-05-31", "2024-06-01"], utc=True),
        "spent": [1.5, 2.5, 3.5],
    }
)


def definitions() -> list[Entity | FeatureView]:
    """Return an entity and a view of it."""
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="event_timestamp")
    view = FeatureView(
        name="spending", entities=[user], ttl=timedelta(days=7), schema=[Field("spent", Float64)], source=source
    )
    return [user, view]


def test_two_machines_share_a_registry(tmp_path: Path) -> None:
    """What one machine applies and materializes, another serves; its watermark, history and versions are there too."""
    ROWS.to_parquet(tmp_path / "rows.parquet")
    with PostgresProcess() as server:
        url = f"postgresql+psycopg2://postgres@/postgres?host={server.host}"
        registry = {"registry_type": "sql", "path": url, "cache_ttl_seconds": 0, "cache_mode": "sync"}
        registry["sqlalchemy_config_kwargs"] = {"echo": False, "pool_pre_ping": True}
        config = RepoConfig(project="shop", registry=registry, online_store={"type": "sqlite", "path": "o.db"})
        with (
            FeatureStore(tmp_path, config=config, clock=FixedClock(NOW)) as one,
            FeatureStore(tmp_path, config=config, clock=FixedClock(NOW)) as other,
        ):
            assert other.list_feature_views() == []
            one.apply(definitions())
            one.materialize_incremental(NOW)
            answer = other.get_online_features(["spending:spent"], [{"user_id": 1}, {"user_id": 2}]).to_dict()
            assert answer["spent"] == [3.5, 2.5]
            assert read_watermark(other.registry.side, "shop", "spending").end == to_micros(NOW, "now")
            spine = pd.DataFrame({"user_id": [1], "event_timestamp": [pd.Timestamp("2024-05-31T12:00Z")]})
            assert list(other.get_historical_features(spine, ["spending:spent"]).to_df()["spent"]) == [1.5]
            other.apply([], objects_to_delete=[other.get_feature_view("spending")])
            assert [info.number for info in one.history()] == [1, 2]
            assert one.list_feature_views() == []
            one.rollback(1)
            assert [view.name for view in other.list_feature_views()] == ["spending"]
        server.kill()
        unreachable = pytest.raises(StoreUnavailable, match=r"postgresql\+psycopg://postgres@.*cannot be reached")
        with FeatureStore(tmp_path, config=config) as late, unreachable:
            assert repr(late) == "FeatureStore(project='shop', catalog=unknown)"
            late.list_entities()
        server.restart()


def test_a_registrys_password_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password by reference is taken from the environment or a file, and neither repr nor error shows it (T37)."""
    text = "project: shop\nregistry: {path: 'postgresql://me@127.0.0.1:1/x', password: 'env:REGISTRY_PW'}"
    config = parse_config(text)
    assert config.registry.registry_type == "sql"
    with (
        FeatureStore(tmp_path, config=config) as store,
        pytest.raises(ConfigError, match="'REGISTRY_PW', which is not"),
    ):
        store.list_entities()
    monkeypatch.setenv("REGISTRY_PW", "canary")
    with FeatureStore(tmp_path, config=config) as store:
        with pytest.raises(StoreUnavailable, match=r"me:\*\*\*@127\.0\.0\.1:1/x' cannot be reached") as caught:
            store.list_entities()
        assert "canary" not in f"{caught.value!r} {store.config!r} {vars(store.registry)!r}"
    inside = parse_config("project: shop\nregistry: postgresql://me:${REGISTRY_PW}@127.0.0.1:1/x")
    assert inside.registry.path == "postgresql://me:canary@127.0.0.1:1/x"
    assert "canary" not in repr(inside)
