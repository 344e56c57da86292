"""Connection strings of Redis."""

import pytest

from likewise.config import parse_config
from likewise.core.errors import ConfigError
from likewise.online.redis_address import parse_address


@pytest.mark.parametrize(
    ("text", "kind", "hosts", "options"),
    [
        ("localhost:6379", "redis", (("localhost", 6379),), {}),
        ("cache", "redis", (("cache", 6379),), {}),
        ("[::1]:7000,db=3", "redis", (("::1", 7000),), {"db": 3}),
        ("[::1]", "redis", (("::1", 6379),), {}),
        (
            'h:1,ssl=true,password="p=w",username=me',
            "redis",
            (("h", 1),),
            {"ssl": True, "password": "p=w", "username": "me"},
        ),
        (
            "h:1, db=0, ssl=False, socket_timeout=5, decode_responses=true",
            "redis",
            (("h", 1),),
            {"db": 0, "ssl": False},
        ),
        ("a:1,b:2,ssl=true", "redis_cluster", (("a", 1), ("b", 2)), {"ssl": True}),
        ("a,b:2", "redis_sentinel", (("a", 26379), ("b", 2)), {}),
        ("redis://host:6379", "redis", (("host", 6379),), {}),
        (
            "rediss://me:p%40w@host/2",
            "redis",
            (("host", 6379),),
            {"username": "me", "password": "p@w", "db": 2, "ssl": True},
        ),
    ],
)
def test_a_connection_string_says_where_and_how(text, kind, hosts, options):
    """Hosts and options are those of the text, each of its type; options of Feast's client alone are passed over."""
    address = parse_address(text, kind)
    assert (address.hosts, dict(address.options)) == (hosts, options)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("h:1,h:2", "redis", "names 2 servers for redis"),
        ("db=0", "redis", "names 0 servers"),
        ("/x.sock", "redis_cluster", "names 1 servers for redis_cluster"),
        ("h:port", "redis", "'h:port' for a server"),
        ("h:0", "redis", "'h:0' for a server"),
        ("h:1,dbb=0", "redis", "option 'dbb'. did you mean 'db'"),
        ("h:1,db=one", "redis", "db='one'. give a number"),
        ("h:1,ssl=yes", "redis", "ssl='yes'. give true or false"),
        ("h:1", "radis", "redis_type='radis' is not known"),
        ("http://h:1", "redis", "http://"),
    ],
)
def test_a_connection_string_that_cannot_be_is_refused(text, kind, said):
    """The message quotes what is wrong and says what would be right."""
    with pytest.raises(ConfigError) as caught:
        parse_address(text, kind)
    assert said in str(caught.value)


def test_a_password_comes_by_reference(tmp_path, monkeypatch):
    """env: and file: stand for what is there, in the key and in the string; a missing one is named, never shown."""
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("REDIS_PASSWORD_OF_TEST", "from-env")
    assert parse_address("h", password="file:secret", root=str(tmp_path)).options["password"] == "from-file"
    assert parse_address("h,password=env:REDIS_PASSWORD_OF_TEST").options["password"] == "from-env"
    assert parse_address("h,password=plain", password="env:REDIS_PASSWORD_OF_TEST").options["password"] == "from-env"
    for missing in ("env:NO_SUCH_VARIABLE", "file:no-such-file"):
        with pytest.raises(ConfigError, match="the password of the online store is in"):
            parse_address("h", password=missing, root=str(tmp_path))


def test_an_address_shows_no_secret():
    """Neither the text nor the representation of an address has its password (T37)."""
    address = parse_address("h:1,password=hunter2")
    assert "hunter2" not in f"{address} {address!r}"


def test_feasts_keys_are_the_configuration():
    """The block of feature_store.yaml has Feast's keys, each where it belongs."""
    config = parse_config(
        "project: demo\nonline_store: {type: redis, connection_string: 'a:1,b:2', redis_type: redis_cluster,"
        " key_ttl_seconds: 60, full_scan_for_deletion: false, skip_dedup: true}"
    ).online_store
    assert (config.redis_type, config.key_ttl_seconds) == ("redis_cluster", 60)
    with pytest.raises(ConfigError, match="did you mean 'connection_string'"):
        parse_config("project: demo\nonline_store: {type: redis, conection_string: h}")
