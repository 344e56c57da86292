"""A feature store with its values in PostgreSQL or MySQL, from its configuration to windows."""

import contextlib
from datetime import timedelta

import pandas as pd
import psycopg
import pymysql
import pytest
from tests.test_store_redis import ASKED, NOW, USERS, open_store

from likewise import FeatureStore, RepoConfig
from likewise.core.errors import StoreUnavailable


@pytest.fixture(name="config", params=["postgres", "mysql"])
def _config(request) -> dict[str, object]:
    server = request.getfixturevalue(f"{request.param}_server")
    login = {"type": request.param, "host": server.host, "user": server.user, "database": "likewise_e2e"}
    if request.param == "postgres":
        raw = psycopg.connect(server.address, autocommit=True)
    else:
        raw = pymysql.connect(unix_socket=server.host, user=server.user, ssl_disabled=True)
    with contextlib.closing(raw), raw.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS likewise_e2e")
        cursor.execute("CREATE DATABASE likewise_e2e")
    return {**login, "timeout_seconds": 20, "write_timeout_seconds": 20}


def answers(store: FeatureStore, minutes: int) -> pd.DataFrame:
    """Return what is served for all users, some minutes after the rest."""
    return store.get_online_features(ASKED, {"user": USERS}, as_of=NOW + timedelta(minutes=minutes)).to_df(True)


@pytest.mark.filterwarnings("ignore:view 'plain' has values that are:UserWarning")
def test_a_database_says_what_memory_says(tmp_path, config):
    """Plain values, ttl and windows, back-filled, pushed and deleted, are the same as from memory (G8)."""
    with open_store(tmp_path / "a", config) as ours, open_store(tmp_path / "b", "memory") as plain:
        for store in (ours, plain):
            store.delete_from_online_store("plain", [{"user": 3}])
        for minutes in (0, 17, 61, 1500):
            found = [answers(store, minutes) for store in (ours, plain)]
            pd.testing.assert_frame_equal(*found)
            assert found[0]["times"].sum() > 0 or minutes == 1500
        for store in (ours, plain):
            store.materialize(NOW - timedelta(days=3), NOW)
        pd.testing.assert_frame_equal(answers(ours, 0), answers(plain, 0))


@pytest.mark.filterwarnings("ignore:view 'plain' has values that are:UserWarning")
def test_what_is_served_is_what_is_trained_on(tmp_path, config):
    """Values that were materialized are those of a training set of the same users and time (G8)."""
    with open_store(tmp_path / "a", config, push=False) as store:
        wanted = pd.DataFrame({"user": USERS, "event_timestamp": [NOW] * len(USERS)})
        trained = store.get_historical_features(wanted, ASKED).to_df()
        served = answers(store, 0)
        names = [name.partition(":")[2] for name in ASKED]
        pd.testing.assert_frame_equal(trained[names], served[names], check_dtype=False, check_exact=True)
        assert served["times"].sum() > 0


def test_an_open_store_sees_that_the_server_is_frozen(tmp_path, config, request):
    """While the server answers nothing a read is an error that may pass, never an empty answer (G9)."""
    open_store(tmp_path / "a", config, push=False).close()
    with FeatureStore(tmp_path / "a", hasty(config)) as store:
        server = request.getfixturevalue(f"{config['type']}_server")
        server.freeze()
        try:
            with pytest.raises(StoreUnavailable):
                store.get_online_features(ASKED, {"user": USERS}, as_of=NOW)
        finally:
            server.thaw()


def hasty(config: dict[str, object]) -> RepoConfig:
    """Return the configuration of a repo whose reads may take a moment only."""
    return RepoConfig(project="demo", registry="registry.db", online_store={**config, "timeout_seconds": 0.3})
