"""An access key lets in who has its token, until it ends or is revoked; the registry holds no token."""

import json
import re
import threading

import pytest

from likewise.core.errors import InvalidName, StoreTooNew
from likewise.registry.base import SideTable
from likewise.registry.file import FileRegistry
from likewise.registry.keys import SPACE, Grant, KeyNotFound, create, find_key, id_of, read_keys, revoke
from likewise.registry.memory import MemoryRegistry

WEB = Grant(name="web", scopes=("read",), views=("cards",), services=("shop",), expires=100)


@pytest.fixture
def side() -> SideTable:
    """Return a side table without keys."""
    return MemoryRegistry().side


def test_a_key_is_kept_without_its_token(side: SideTable) -> None:
    """The side table holds what the key allows and a hash, and neither it nor any text of the key holds the secret."""
    key, token = create(side, "demo", WEB, now=7)
    assert re.fullmatch(r"lw_[0-9]{12}_[A-Za-z0-9_-]{43}", token)
    assert id_of(token) == key.id
    assert read_keys(side, "demo") == [key]
    kept = side.items("demo", SPACE)[key.id].value
    assert {name: kept[name] for name in ("name", "scopes", "views", "services", "created", "expires", "revoked")} == {
        "name": "web",
        "scopes": ["read"],
        "views": ["cards"],
        "services": ["shop"],
        "created": 7,
        "expires": 100,
        "revoked": None,
    }
    secret = token.split("_", 2)[2]
    assert secret not in json.dumps(kept) + repr(key)
    assert key.hash not in repr(key)


def test_only_the_token_itself_fits(side: SideTable) -> None:
    """A token fits its key; one with any sign changed, or of another key, does not."""
    key, token = create(side, "demo", WEB, now=0)
    _, other = create(side, "demo", Grant(name="b", scopes=("read",), expires=None), now=0)
    assert key.fits(token)
    assert not key.fits(other)
    assert not key.fits("")
    for place, sign in enumerate(token):
        assert not key.fits(token[:place] + ("x" if sign != "x" else "y") + token[place + 1 :])


def test_tokens_never_repeat(side: SideTable) -> None:
    """Each key has an id and a secret of its own."""
    made = [create(side, "demo", Grant(name=f"k{n}", scopes=("read",), expires=None), now=0) for n in range(100)]
    assert len({key.id for key, _ in made}) == len({token for _, token in made}) == 100


@pytest.mark.parametrize(("now", "state"), [(0, "active"), (99, "active"), (100, "expired"), (101, "expired")])
def test_a_key_ends_exactly_at_its_time(side: SideTable, now: int, state: str) -> None:
    """At the time it expires a key is over; a microsecond before it is good."""
    key, _ = create(side, "demo", WEB, now=0)
    assert key.state(now) == state


def test_a_revoked_key_stays_and_is_over(side: SideTable) -> None:
    """Revoking notes the time once; it works by name, by id and by the token itself."""
    key, token = create(side, "demo", WEB, now=0)
    assert revoke(side, "demo", token, now=5).state(5) == "revoked"
    assert revoke(side, "demo", key.id, now=9).revoked == 5
    assert revoke(side, "demo", "web", now=9).revoked == 5
    assert [each.revoked for each in read_keys(side, "demo")] == [5]


def test_a_name_is_of_one_usable_key(side: SideTable) -> None:
    """A second key of a name is refused while the first is active, and a name then means the active one."""
    first, _ = create(side, "demo", WEB, now=0)
    with pytest.raises(InvalidName, match=rf"access key {first.id} of project 'demo' is called 'web' already"):
        create(side, "demo", WEB, now=99)
    second, _ = create(side, "demo", Grant(name="web", scopes=("write",), expires=500), now=100)
    assert find_key(read_keys(side, "demo"), "web", "demo", now=100) == second
    with pytest.raises(InvalidName, match="2 access keys are called 'web'"):
        revoke(side, "demo", "web", now=500)
    assert revoke(side, "demo", first.id, now=500).id == first.id


def test_keys_are_of_one_project(side: SideTable) -> None:
    """Another project's keys are not seen, and an unknown name is told with near misses."""
    create(side, "demo", WEB, now=0)
    assert read_keys(side, "other") == []
    with pytest.raises(KeyNotFound, match=r"there is no access key 'webb' in project 'demo'\. did you mean 'web'"):
        revoke(side, "demo", "webb", now=0)
    with pytest.raises(KeyNotFound, match="likewise keys create"):
        revoke(side, "other", "web", now=0)


def test_a_name_is_never_an_id(side: SideTable) -> None:
    """Names follow the rules of other names, so none looks like an id."""
    for name in ("", "048213377001", "a b", "lw:1"):
        with pytest.raises(InvalidName, match="cannot be the name of an access key"):
            create(side, "demo", Grant(name=name, scopes=("read",), expires=None), now=0)


@pytest.mark.parametrize(
    "change",
    [{"networks": ["10.0.0.0/8"]}, {"scopes": ["read", "all"]}, {"scopes": [1]}, {"expires": "never"}, {"views": None}],
)
def test_what_a_newer_version_says_is_not_passed_over(side: SideTable, change: dict[str, object]) -> None:
    """A key with more or other fields is refused: what limits it there might not be heeded here."""
    key, _ = create(side, "demo", WEB, now=0)
    kept = side.items("demo", SPACE)[key.id].value
    side.put("demo", SPACE, key.id, kept | change, None)
    with pytest.raises(StoreTooNew, match=f"access key {key.id} of project 'demo' says something"):
        read_keys(side, "demo")


def test_no_key_is_lost_when_many_are_made_at_once(tmp_path) -> None:
    """Keys that several writers make and revoke at the same time are all there."""

    def work(number: int) -> None:
        with FileRegistry(tmp_path / "registry.db") as registry:
            for round in range(5):
                name = f"k{number}_{round}"
                create(registry.side, "demo", Grant(name=name, scopes=("read",), expires=None), now=round)
                revoke(registry.side, "demo", name, now=round)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with FileRegistry(tmp_path / "registry.db") as registry:
        keys = read_keys(registry.side, "demo")
    assert len(keys) == 20
    assert all(key.revoked is not None for key in keys)
