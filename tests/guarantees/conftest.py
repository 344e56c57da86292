"""Worlds in every kind of online store and registry that these tests can open on this machine."""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql
import pytest
from tests.guarantees.processes import Forks
from tests.guarantees.world import World
from tests.serve.server_process import ServerProcess

from likewise import FeatureStore
from likewise.testing.moto_process import CREDENTIALS
from likewise.testing.redis_process import RedisProcess
from likewise.testing.strategies import soaking

NUMBERS = itertools.count()
PATIENT = {"timeout_seconds": 30.0, "write_timeout_seconds": 60.0}
"""For stores over a network: the machine of the tests may be busy."""
SHARED = ("lmdb", "sqlite", "redis", "postgres", "mysql", "dynamodb", "remote")
"""The online stores that several processes can open; DynamoDB is an emulator, which is slow: it gets fewer keys."""
EMBEDDED = ("lmdb", "sqlite")
NewWorld = Callable[..., World]

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # Windows can neither fork nor mount


@pytest.fixture(scope="session", name="forks")
def _forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="session", name="redis_server")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="session", name="feature_server")
def _feature_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ServerProcess]]:
    folder = tmp_path_factory.mktemp("remote")
    text = "project: proof\nregistry: {path: registry.db, cache_ttl_seconds: 0}\nonline_store: {type: lmdb, path: o}"
    (folder / "feature_store.yaml").write_text(text)
    with FeatureStore(folder) as store:
        store.apply([], partial=False)
    with ServerProcess(folder) as server:
        yield folder, server


def online_of(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what a configuration says under ``online_store`` for a store of its own."""
    number = next(NUMBERS)
    if kind == "lmdb":
        return {"type": "lmdb", "path": f"online_{number}", "map_size": 1 << 30}
    if kind == "sqlite":
        return {"type": "sqlite", "path": f"online_{number}.db"}
    if kind == "redis":
        server = request.getfixturevalue("redis_server")
        return {"type": "redis", "connection_string": f"{server.address},db={number % 16}", **PATIENT}
    if kind == "postgres":
        server = request.getfixturevalue("postgres_server")
        return {"type": "postgres", "host": server.host, "user": "postgres", "db_schema": f"s{number}", **PATIENT}
    if kind == "mysql":
        server = request.getfixturevalue("mysql_server")
        with contextlib.closing(pymysql.connect(unix_socket=server.host, user=server.user)) as connection:
            connection.cursor().execute(f"CREATE DATABASE proof_{number}")
        return {"type": "mysql", "host": server.host, "user": server.user, "database": f"proof_{number}", **PATIENT}
    if kind == "dynamodb":
        os.environ.update(CREDENTIALS)
        server = request.getfixturevalue("dynamo_server")
        template = f"s{number}.{{project}}.{{table_name}}"
        where = {"region": "eu-west-1", "endpoint_url": server.address, "table_name_template": template}
        return {"type": "dynamodb", **where, **PATIENT}
    if kind == "remote":
        _, server = request.getfixturevalue("feature_server")
        return {"type": "remote", "path": f"http://127.0.0.1:{server.port}", **PATIENT}
    return {"type": kind}


def registry_of(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what a configuration says under ``registry`` for a registry of its own."""
    number = next(NUMBERS)
    if kind == "postgres":
        server = request.getfixturevalue("postgres_server")
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA r{number}")
        url = f"postgresql://postgres@/postgres?host={quote(server.host)}&options=-csearch_path%3Dr{number}"
        return {"path": url, "cache_ttl_seconds": 0, "timeout_seconds": 30.0}
    if kind == "mysql":
        server = request.getfixturevalue("mysql_server")
        with contextlib.closing(pymysql.connect(unix_socket=server.host, user=server.user)) as connection:
            connection.cursor().execute(f"CREATE DATABASE registry_{number}")
        url = f"mysql://{server.user}@localhost/registry_{number}?unix_socket={quote(server.host)}"
        return {"path": url, "cache_ttl_seconds": 0, "timeout_seconds": 30.0}
    return {"path": "registry.db", "cache_ttl_seconds": 0}


def keys_for(kind: str, count: int) -> int:
    """Return how many keys a test takes of a store."""
    return count // (10 if soaking() else 40) if kind == "dynamodb" else count


@pytest.fixture(name="new_world")
def _new_world(request: pytest.FixtureRequest, tmp_path: Path) -> NewWorld:
    """Give a function that makes a world which nobody has used, by the kinds of its online store and registry."""

    def new(online: str, registry: str = "file", **more: Any) -> World:
        folder = tmp_path / f"world_{next(NUMBERS)}"
        folder.mkdir()
        said = registry_of(registry, request)
        if online == "remote":  # a server has the tables of its own registry's views only
            said = {**said, "path": str(request.getfixturevalue("feature_server")[0] / "registry.db")}
        return World(str(folder), said, online_of(online, request), view=f"v{next(NUMBERS)}", **more)

    return new
