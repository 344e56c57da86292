"""A store whose online store is behind a server: the same calls, the same answers as the store over there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.test_client import seen
from tests.client.world import AT, TOKENS, all_values, make_world, spent
from tests.serve.server_process import NOW, ServerProcess

from likewise import FeatureStore, RepoConfig
from likewise.client import Client
from likewise.core.errors import ConfigError, EntityKeyError, FeatureViewNotFound, NotSupported, StoreUnavailable
from likewise.core.time import FixedClock
from likewise.testing.redis_process import free_port

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*older than its ttl:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*after the time asked for:UserWarning"),
]
CONFIG = """
project: fleet
registry: {{path: {registry}, cache_ttl_seconds: 0.2}}
online_store: {{type: remote, path: "http://127.0.0.1:{port}", timeout_seconds: 30, write_timeout_seconds: 30}}
"""
ASKED = (
    (["everything", "derived"], {"token": [*TOKENS, b"nobody"]}),
    (["driver_stats", "driver_city:city", "spending"], {"driver_id": [1, 2, 3, 9, 501]}),
    (["driver_stats:rating", "fares"], {"driver_id": [1, 9], "fare": [6.0, 1.0]}),
)


@pytest.fixture(scope="module", name="there")
def _there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ServerProcess]]:
    repo = make_world(tmp_path_factory.mktemp("there") / "repo")
    with ServerProcess(repo) as server:
        yield repo, server


@pytest.fixture(name="beside")
def _beside(there: tuple[Path, ServerProcess]) -> Iterator[FeatureStore]:
    with FeatureStore(there[0], clock=FixedClock(NOW)) as store:
        yield store


@pytest.fixture(name="remote")
def _remote(there: tuple[Path, ServerProcess], tmp_path: Path) -> Iterator[FeatureStore]:
    repo, server = there
    here = tmp_path / "here"
    shutil.copytree(repo, here, ignore=shutil.ignore_patterns("online", "registry*", "*.log"))
    registry = repo / "data" / "registry.db"
    (here / "feature_store.yaml").write_text(CONFIG.format(registry=registry, port=server.port))
    with FeatureStore(here, clock=FixedClock(NOW)) as store:
        yield store


def agree(remote: FeatureStore, beside: FeatureStore) -> None:
    """Both answer the same, to the bit, whatever is asked."""
    for features, rows in ASKED:
        assert seen(remote.get_online_features(features, rows)) == seen(beside.get_online_features(features, rows))


def test_reads_are_those_of_the_store_over_there(remote, beside):
    """Values, windows, on-demand features, statuses and times agree, at other times too, and so do errors."""
    agree(remote, beside)
    for at in (AT, AT + timedelta(days=1), AT - timedelta(days=40)):
        asked = ["driver_stats", "spending"], {"driver_id": [1, 2]}
        assert seen(remote.get_online_features(*asked, as_of=at)) == seen(beside.get_online_features(*asked, as_of=at))
    with pytest.raises(FeatureViewNotFound):
        remote.get_online_features(["nobody:x"], {"driver_id": [1]})
    with pytest.raises(EntityKeyError):
        remote.get_online_features(["driver_stats"], {"driver_id": [None]})


def test_writes_arrive_over_there(remote, beside):
    """Pushes into values and windows, writes, deletions and materializations through the server are seen beside it."""
    assert remote.push("spends", spent([501, 501, 1], [1.0, 2.0, 0.25])) == 2
    assert remote.write_to_online_store("everything", all_values(remote)) == 3
    agree(remote, beside)
    assert beside.get_online_features(["spending:sum_amount_172800s"], {"driver_id": [501]}).to_dict()[
        "sum_amount_172800s"
    ] == [3.0]
    assert remote.delete_from_online_store("driver_stats", [{"driver_id": 1}]) == 1
    assert remote.delete_from_online_store("spending", [{"driver_id": 501}]) == 1
    agree(remote, beside)
    assert beside.get_online_features(["driver_stats:trips"], {"driver_id": [1]}).to_dict()["trips"] == [None]
    done = remote.materialize("2024-01-01", NOW, ["driver_stats", "spending"])
    assert [step.view for step in done] == ["driver_stats", "spending"]
    assert remote.materialize_incremental(NOW, ["driver_stats"])[0].written <= 3
    agree(remote, beside)


def test_definitions_are_applied_through_the_server(remote, beside):
    """An apply makes and drops tables over there, and all tables pass the checks that go through the server."""
    view = remote.get_feature_view("driver_city").whole()
    view.name = "second_city"
    remote.apply([view], skip_source_validation=True)
    row = {"driver_id": [4], "event_timestamp": [AT], "city": ["Pisa"]}
    assert remote.write_to_online_store("second_city", row) == 1
    assert beside.get_online_features(["second_city:city"], {"driver_id": [4]}).to_dict()["city"] == ["Pisa"]
    remote.delete_feature_view("second_city")
    agree(remote, beside)


def test_a_store_runs_its_server_as_feasts_does(there):
    """FeatureStore.serve answers until it is told to end; the store's endpoint is that of its remote store."""
    port = free_port()
    code = f"from likewise import FeatureStore; FeatureStore({str(there[0])!r}).serve(port={port})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            end = time.monotonic() + 60
            with Client(f"http://127.0.0.1:{port}") as client:
                while not answers(client):
                    assert time.monotonic() < end
                    time.sleep(0.1)
                assert client.ready().is_ready
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)


def answers(client: Client) -> bool:
    """Tell whether a server is there."""
    try:
        return client.health()
    except StoreUnavailable:
        return False


def test_a_store_says_where_its_server_is(remote, beside, tmp_path):
    """get_feature_server_endpoint is the remote store's address; what a server cannot read is refused by name."""
    assert remote.get_feature_server_endpoint() == remote.config.online_store.options.path
    assert beside.get_feature_server_endpoint() is None
    with pytest.raises(NotSupported, match="grpc"):
        beside.serve(type_="grpc")
    with pytest.raises(ConfigError, match="likewise serve"):
        FeatureStore(tmp_path, config=RepoConfig(project="p")).serve()
