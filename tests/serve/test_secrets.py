"""Canary secrets are nowhere to be seen: not in logs, answers, figures, descriptions or what is printed (T37)."""

import json

import pytest
from click.testing import CliRunner
from tests.serve.server_process import NOW, ServerProcess

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from likewise.cli.root import cli
from likewise.cli.session import Session
from likewise.config import RepoConfig
from likewise.core.secrets import without_secrets
from likewise.core.time import FixedClock
from likewise.registry.keys import Grant, create
from likewise.registry.memory import MemoryRegistry
from likewise.types import Int64

BY_REFERENCE, IN_TEXT, IN_FILE = "canary-by-reference", "canary-in-text", "canary-in-file"
UNUSED = "canary-of-the-environment"
CONFIG = """
project: fleet
registry: {path: data/registry.db, cache_ttl_seconds: 0.2}
online_store:
  type: redis
  connection_string: "127.0.0.1:1,username=me,password=${CANARY_IN_TEXT}"
  password: %s
  timeout_seconds: 0.2
"""
READ = {"features": ["v:a"], "entities": {"k": ["1"]}}
WRITE = {"feature_view_name": "v", "df": {"k": ["1"], "t": ["2024-01-01"], "a": [1]}}
SECRETS = {"CANARY_BY_REFERENCE": BY_REFERENCE, "CANARY_IN_TEXT": IN_TEXT, "CANARY_UNUSED": UNUSED}


@pytest.fixture(params=["env:CANARY_BY_REFERENCE", "file:secret.txt"], ids=["env", "file"])
def repo(tmp_path, request, monkeypatch):
    """A repo over a Redis that is not there, with secrets by reference, from the environment, and in a file."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text(IN_FILE)
    (tmp_path / "feature_store.yaml").write_text(CONFIG % request.param)
    (tmp_path / "data").mkdir()
    return tmp_path


def applied(repo):
    """Apply one view, and return the store; its tables cannot be made, for Redis is not there."""
    store = FeatureStore(repo, clock=FixedClock(NOW))
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.STRING)
    view = FeatureView("v", FileSource(path="x.parquet", timestamp_field="t"), [Field("a", Int64)], [key])
    with pytest.raises(Exception, match="redis at") as caught:
        store.apply([view], skip_source_validation=True)
    return store, repr(caught.value) + str(caught.value)


def test_no_secret_is_ever_told(repo):
    """Not by a server whose store fails in every way it can, nor by what prints the configuration."""
    store, said = applied(repo)
    with store:
        _, good = create(store.registry.side, "fleet", Grant(name="web", scopes=("read", "write"), expires=None), 0)
        said += repr(store) + repr(store.config) + repr(store.config.online_store) + store._repr_html_()
    bad = f"lw_000000000000_{'canary' * 7}x"
    with ServerProcess(repo, "--access-log") as server:
        tokens = {"good": {"authorization": f"Bearer {good}"}, "bad": {"authorization": f"Bearer {bad}"}, "none": {}}
        for headers in tokens.values():
            for path in (
                "/openapi.json",
                "/docs",
                "/metrics",
                "/readyz",
                "/health",
                f"/nowhere?key={good}",
                f"/{good}",
            ):
                said += told(server.ask("GET", path, **headers), path)
            for path, body in (("/get-online-features", READ), ("/write-to-online-store", WRITE), ("/push", {})):
                given = json.dumps(body).encode()
                said += told(server.ask("POST", path, given, content_type="application/json", **headers), path)
            said += told(server.ask("POST", "/push", b"{", content_type="application/json", **headers), path)
        said += json.dumps(server.told)
    log = server.log.read_text()
    assert "GET /metrics" in log, "requests are logged"
    assert "online store is not there" in log, "the store's failure is logged"
    for command in (["configuration"], ["doctor"], ["doctor", "--debug"], ["keys", "list"], ["registry-dump"]):
        said += printed(repo, *command) + printed(repo, *command, "--output", "json")
    said += printed(repo, "get-online-features", "-f", "v:a", "-e", "k=1", "--debug")
    secrets = {good.split("_", 2)[2], bad.split("_", 2)[2], BY_REFERENCE, IN_TEXT, IN_FILE, UNUSED}
    assert {secret for secret in secrets if secret in said + log} == set()


def told(reply, path):
    """Return all that a reply says, without the path that its caller said."""
    return (repr(reply.headers) + reply.body.decode()).replace(path.partition("?")[0], "")


def printed(repo, *command):
    """Return all that a command prints."""
    return CliRunner().invoke(cli, ["-c", str(repo), *command], obj=Session()).output


@pytest.mark.parametrize(
    "config",
    [
        {"registry": {"path": "postgresql://me:canary@db/x"}},
        {"online_store": {"type": "redis", "connection_string": "h:1,password=canary", "password": "canary"}},
        {"online_store": {"type": "redis", "connection_string": "h:1,sentinel_password=canary"}},
        {"online_store": {"type": "remote", "path": "https://me:canary@features.example", "key": "canary"}},
        {"online_store": {"type": "postgres", "password": "canary"}},
        {"online_store": {"type": "mysql", "password": "canary"}},
        {"online_store": {"type": "my.store", "options": {"api_key": "canary", "nested": {"token": "canary"}}}},
        {"offline_store": {"type": "duckdb"}, "auth": {"type": "oidc", "client_secret": "canary"}},
    ],
)
def test_no_record_of_the_configuration_shows_a_secret(config):
    """What a configuration prints as has *** for each password, key and token, at any depth."""
    made = RepoConfig(project="p", **config)
    shown = repr(made) + str(made.online_store) + repr(made.registry.__rich_repr__())
    assert "canary" not in shown
    assert "***" in shown or "auth" not in config


def test_access_keys_are_hidden_wherever_they_stand():
    """The secret part of an access key is hidden in any text; its id stays, to find out whose it is."""
    _, token = create(MemoryRegistry().side, "p", Grant(name="a", scopes=("read",), expires=None), 0)
    assert without_secrets({"path": f"http://x/?a={token}&b=1"}) == {"path": f"http://x/?a={token[:16]}***&b=1"}
