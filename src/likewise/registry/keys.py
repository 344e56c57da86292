"""Keys: access keys of a project: who may do what in it, with which views and services, until when.

A token is ``lw_<id>_<secret>`` with 256 random bits in its secret. It is shown once, to whoever creates the key; its
SHA-256 is kept, in the side table, so that who reads the registry cannot use it. A key that was revoked stays in the
table: it says who could do what until when, and that the project asks for keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace

import msgspec

from likewise.core.errors import InvalidName, NotFound, StoreTooNew
from likewise.core.names import check_name, near_misses
from likewise.core.time import from_micros
from likewise.registry.base import SideConflict, SideReader, SideTable

SPACE = "key"
"""The space of the side table that keys lie in."""
SCOPES = ("read", "write", "admin")
"""What a key may allow. Each stands for itself: none includes another."""
_TOKEN = re.compile(r"lw_([0-9]{12})_[A-Za-z0-9_-]{43}")
_NO_HASH = hashlib.sha256(b"").hexdigest()


class KeyNotFound(NotFound):
    """No such access key in the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key allows."""

    name: str
    """What people call the key: a name like that of a view, which no other usable key of the project has."""
    scopes: tuple[str, ...]
    """Of :data:`SCOPES`, at least one."""
    views: tuple[str, ...] = ()
    """The views it is limited to; with no views and no services it is not limited."""
    services: tuple[str, ...] = ()
    """The feature services it is limited to: it may read them, whatever views they read."""
    expires: int | None
    """The time it ends, in microseconds since the epoch: at that time it is over. None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Grant):
    """One access key, without its secret."""

    id: str
    """Twelve digits, which the token holds as well."""
    hash: str = field(repr=False)
    """The token's SHA-256, in hexadecimal."""
    created: int
    """When it was made, in microseconds since the epoch."""
    revoked: int | None = None
    """When it was revoked, in microseconds since the epoch; None: it was not."""

    def state(self, now: int) -> str:
        """Return ``active``, ``expired`` or ``revoked``; only an active key lets anybody in.

        Args:
            now: the time, in microseconds since the epoch.
        """
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def fits(self, token: str) -> bool:
        """Tell whether a token is this key's, in a time that says nothing of how near it was."""
        return hmac.compare_digest(_hash(token), self.hash)


_STORED = frozenset(each.name for each in fields(Key)) - {"id"}


def create(side: SideTable, project: str, grant: Grant, now: int) -> tuple[Key, str]:
    """Make a key, and return it with its token, which is kept nowhere.

    Args:
        side: the side table.
        project: the project.
        grant: what the key allows; that its views and services exist is the caller's affair.
        now: the time, in microseconds since the epoch.

    Raises:
        InvalidName: it cannot be a name, or another usable key has it.

    Example:
        >>> from likewise.registry.memory import MemoryRegistry
        >>> side = MemoryRegistry().side
        >>> key, token = create(side, "demo", Grant(name="web", scopes=("read",), expires=None), now=0)
        >>> key.fits(token), token.startswith(f"lw_{key.id}_"), token in repr(side.items("demo", "key"))
        (True, True, False)
    """
    check_name(grant.name, "access key")
    for other in read_keys(side, project):
        if other.name == grant.name and other.state(now) == "active":
            what = f"access key {other.id} of project {project!r} is called {grant.name!r} already"
            raise InvalidName(what, cure="give another name, or revoke that key first")
    number = f"{secrets.randbelow(10**12):012d}"
    token = f"lw_{number}_{secrets.token_urlsafe(32)}"
    key = Key(id=number, hash=_hash(token), created=now, **asdict(grant))
    try:
        side.put(project, SPACE, number, _plain(key), 0)
    except SideConflict:  # one in 10^12 for each key there is
        return create(side, project, grant, now)
    return key, token


def revoke(side: SideTable, project: str, name: str, now: int) -> Key:
    """End a key, and return it as it is then; one that was revoked before stays as it was.

    Args:
        side: the side table.
        project: the project.
        name: the key's id, its name, or its token.
        now: the time, in microseconds since the epoch.

    Raises:
        KeyNotFound: no key has that id or name.
        InvalidName: several keys have that name.
    """
    key = find_key(read_keys(side, project), id_of(name) or name, project, now)
    if key.revoked is not None:
        return key
    found = side.get(project, SPACE, key.id)
    ended = replace(key, revoked=now)
    try:
        side.put(project, SPACE, key.id, _plain(ended), found.version if found is not None else 0)
    except SideConflict:  # somebody was faster: look again
        return revoke(side, project, key.id, now)
    return ended


def read_keys(side: SideReader, project: str) -> list[Key]:
    """Return all keys that were ever made for a project, in the order they were made in.

    Raises:
        StoreTooNew: one says something that this version does not know, so it cannot be held to it.
    """
    found = [_key(number, value.value, project) for number, value in side.items(project, SPACE).items()]
    return sorted(found, key=lambda key: (key.created, key.id))


def find_key(keys: Iterable[Key], name: str, project: str, now: int) -> Key:
    """Return the key with an id or a name; of several with that name the one that is active.

    Raises:
        KeyNotFound: no key has that id or name.
        InvalidName: several keys have that name, and which is meant cannot be told.
    """
    keys = list(keys)
    found = [key for key in keys if name in (key.id, key.name)]
    usable = [key for key in found if key.state(now) == "active"] or found
    if not usable:
        cure = near_misses(name, [key.name for key in keys], "make one with 'likewise keys create'")
        raise KeyNotFound(f"there is no access key {name!r} in project {project!r}", cure=cure)
    if len(usable) > 1:
        ids = ", ".join(f"{key.id} of {from_micros(key.created):%Y-%m-%d %H:%M:%S}" for key in usable)
        raise InvalidName(f"{len(usable)} access keys are called {name!r}: {ids}", cure="give the id of one")
    return usable[0]


def id_of(token: str) -> str | None:
    """Return the id of the key that a token claims to be of; None when it is no token.

    Example:
        >>> id_of("lw_000000000017_" + "x" * 43), id_of("Basic abc")
        ('000000000017', None)
    """
    match = _TOKEN.fullmatch(token)
    return None if match is None else match[1]


def spend_a_comparison(token: str) -> None:
    """Take as long as :meth:`Key.fits`, for a token whose key there is not."""
    hmac.compare_digest(_hash(token), _NO_HASH)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _plain(key: Key) -> dict[str, object]:
    told = {name: value for name, value in asdict(key).items() if name in _STORED}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def _key(number: str, value: object, project: str) -> Key:
    try:
        if not isinstance(value, dict) or value.keys() != _STORED or not set(value["scopes"]) <= set(SCOPES):
            raise msgspec.ValidationError("other fields or scopes")
        return msgspec.convert({**value, "id": number}, Key)
    except (msgspec.ValidationError, TypeError) as error:
        raise StoreTooNew(
            f"access key {number} of project {project!r} says something that this version of Likewise does not know",
            cure="install the version that made it, or a newer one",
        ) from error
