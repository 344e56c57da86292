"""A small repo with values of every type, applied and filled, a server on it, and the store beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.world import make_world
from tests.serve.server_process import NOW, ServerProcess

from likewise import FeatureStore
from likewise.client import Client
from likewise.core.time import FixedClock


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repo, applied and filled."""
    return make_world(tmp_path_factory.mktemp("client") / "repo")


@pytest.fixture(scope="module")
def server(repo: Path) -> Iterator[ServerProcess]:
    """A server on the repo."""
    with ServerProcess(repo) as running:
        yield running


@pytest.fixture(scope="module")
def store(repo: Path, server: ServerProcess) -> Iterator[FeatureStore]:
    """The store beside the server, on the same files."""
    with FeatureStore(repo, clock=FixedClock(NOW)) as beside:
        yield beside


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of the server, with time to spare."""
    with Client(f"http://127.0.0.1:{server.port}", timeout=30.0) as asking:
        yield asking
