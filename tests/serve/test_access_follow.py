"""A server's access follows the keys of its project, and errs on the closed side."""

import pytest

from likewise.core.errors import StoreTooNew
from likewise.core.time import FixedClock
from likewise.registry.keys import SPACE, Grant, create, read_keys, revoke
from likewise.registry.memory import MemoryRegistry
from likewise.serve.access import ANYBODY, Caller, FollowedAccess, KeyAccess, Scope
from likewise.serve.problem import Refusal
from likewise.serve.settings import Settings

HERE = {b"host": b"127.0.0.1:6566"}


@pytest.fixture
def side():
    """A side table without keys."""
    return MemoryRegistry().side


def followed(tmp_path, **more):
    """Return the access of a server with these settings."""
    return FollowedAccess(Settings(repo=tmp_path, **more), FixedClock("2024-01-01"))


def made(side, **more):
    """Make a key that may read, and return the headers that hold its token."""
    grant = Grant(**{"name": "web", "scopes": ("read",), "expires": None, **more})
    _, token = create(side, "demo", grant, 0)
    return {**HERE, b"authorization": f"Bearer {token}".encode()}


def code(access, scope, headers):
    """Return what a call gets: the name of its caller, or the code of its refusal."""
    try:
        return access.check(scope, headers).name
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({}, ["not_ready", "anybody"]),
        ({"auth": "keys"}, ["not_ready", "unauthorized"]),
        ({"host": "0.0.0.0"}, ["not_ready", "unauthorized"]),
        ({"host": "0.0.0.0", "allow_remote": True}, ["not_ready", "unauthorized"]),
        ({"auth": "none"}, ["anybody", "anybody"]),
        ({"host": "0.0.0.0", "auth": "none", "allow_remote": True}, ["anybody", "anybody"]),
    ],
)
def test_nobody_is_let_in_before_it_is_known_who_may(tmp_path, side, settings, codes):
    """Until the keys were read once, only public routes answer, unless nobody is ever asked."""
    access = followed(tmp_path, **settings)
    found = [code(access, Scope.READ, HERE)]
    access.look(side, "demo")
    assert [*found, code(access, Scope.READ, HERE)] == codes
    assert access.check(Scope.PUBLIC, {}) == ANYBODY


def test_a_server_that_asked_once_goes_on_asking(tmp_path, side):
    """Neither revoked nor removed keys open a server that was closed."""
    access, headers = followed(tmp_path), made(side)
    access.look(side, "demo")
    assert code(access, Scope.READ, headers) == "web"
    key = revoke(side, "demo", "web", 1)
    access.look(side, "demo")
    assert [code(access, Scope.READ, each) for each in (headers, HERE)] == ["unauthorized"] * 2
    side.remove("demo", SPACE, key.id, None)
    access.look(side, "demo")
    assert (code(access, Scope.READ, HERE), access.asks, access.usable) == ("unauthorized", True, 0)


def test_keys_that_cannot_be_read_leave_those_that_could(tmp_path, side):
    """While the registry says what this version does not know, the keys known last are good, and no others."""
    access, headers = followed(tmp_path), made(side)
    access.look(side, "demo")
    later = made(side, name="later")
    side.put("demo", SPACE, "000000000000", {"name": "from the future"}, 0)
    with pytest.raises(StoreTooNew, match="access key 000000000000"):
        access.look(side, "demo")
    assert [code(access, Scope.READ, each) for each in (headers, later, HERE)] == ["web", *["unauthorized"] * 2]


def test_a_header_that_was_good_ends_with_its_key(side):
    """What is remembered of a header is looked at against the clock with every request."""
    headers, clock = made(side, expires=100), FixedClock(99)
    access = KeyAccess(read_keys(side, "demo"), clock)
    for now, expected in ((99, "web"), (100, "unauthorized"), (99, "web")):
        clock.set(now)
        assert code(access, Scope.READ, headers) == expected


def test_a_caller_may_what_all_of_its_limits_allow():
    """Scope, view and service are each looked at; without limits all views and services are within."""
    limited = Caller("web", frozenset({Scope.READ}), frozenset({"a"}), frozenset({"s"}))
    limited.may(Scope.READ, view="a", service="s")
    for scope, more in ((Scope.WRITE, {}), (Scope.READ, {"view": "b"}), (Scope.READ, {"service": "a"})):
        with pytest.raises(Refusal):
            limited.may(scope, **more)
    Caller("all", frozenset({Scope.READ})).may(Scope.READ, view="b", service="a")
