"""Access: what a route needs its caller to be allowed, declared with the route and checked before its body is read.

Scopes are checked here, by the header alone. What views and services a caller is limited to is checked as soon as their
names are known, by the routes that say so (``Route.checks_limits``); the others refuse callers who are limited.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from likewise.core.time import Clock
from likewise.registry.base import SideReader
from likewise.registry.keys import Key, id_of, read_keys, spend_a_comparison
from likewise.serve.problem import Refusal
from likewise.serve.settings import Settings, is_loopback

_MOST_HEADERS = 1_024
_MOST_HOSTS = 64


class Scope(enum.Enum):
    """What a caller may do; none of them includes another."""

    PUBLIC = "public"
    """Nothing is needed: probes, and the description of the routes."""
    READ = "read"
    """Read features, and the server's figures."""
    WRITE = "write"
    """Write features."""
    ADMIN = "admin"
    """Run materializations."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may do."""

    name: str
    """The name of their key."""
    scopes: frozenset[Scope]
    """What they may do."""
    views: frozenset[str] = frozenset()
    """The views they are limited to; with no views and no services they are not limited."""
    services: frozenset[str] = frozenset()
    """The feature services they are limited to: they may read them, whatever views those read."""
    id: str = ""
    """The id of their key; empty for who needs none."""

    @property
    def is_limited(self) -> bool:
        """Whether they may touch some views and services only."""
        return bool(self.views or self.services)

    def reaches(self, view: str) -> bool:
        """Tell whether they may touch a view."""
        return view in self.views or not self.is_limited

    def reaches_service(self, service: str) -> bool:
        """Tell whether they may read a service by its name, whatever views it reads."""
        return service in self.services or not self.is_limited

    def may(self, scope: Scope, *, view: str | None = None, service: str | None = None) -> None:
        """Let a call go on.

        Args:
            scope: what they want to do.
            view: the view it touches, if it is known already.
            service: the service it reads by name.

        Raises:
            Refusal: they may not; it says the same whether the view or service exists or not.

        Example:
            >>> Caller("web", frozenset({Scope.READ}), views=frozenset({"cards"})).may(Scope.READ, view="cards")
        """
        if scope not in self.scopes:
            has = ", ".join(sorted(each.value for each in self.scopes))
            raise Refusal("forbidden", f"the access key {self.name!r} has the scopes {has}; this needs {scope.value}")
        if view is not None and not self.reaches(view):
            raise self.refusal(f"view {view!r}")
        if service is not None and not self.reaches_service(service):
            raise self.refusal(f"feature service {service!r}")

    def refusal(self, what: str, pointer: str | None = None) -> Refusal:
        """Return what they get for something beyond their limits."""
        said = f"the access key {self.name!r} is limited, and {what} is not within its limits"
        return Refusal("forbidden", f"{said}; ask for what is, or use another key", pointer)


ANYBODY = Caller("anybody", frozenset(Scope))
"""Whoever calls a public route, or a server that asks nobody."""


class Access(Protocol):
    """Decides who may call a route."""

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Let a call pass, and return whose it is.

        Raises:
            Refusal: the caller lacks the scope, or did not say who it is.
        """
        ...


class Open:
    """Lets everybody do everything: for a server that only this machine reaches.

    A page from elsewhere, open in a browser on this machine, reaches it as well. Browsers say where a page is from, and
    a page whose own name was made to point here (DNS rebinding) has that name in its Host.

    Args:
        only_local: whether requests that browsers make for pages from elsewhere are refused.
    """

    def __init__(self, only_local: bool = False) -> None:
        self._only_local = only_local
        self._hosts: set[bytes | None] = {None}

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Let every call pass that is not made for a page from elsewhere."""
        if self._only_local and scope is not Scope.PUBLIC:
            host, origin = headers.get(b"host"), headers.get(b"origin")
            if host not in self._hosts:
                self._check("Host", f"//{host.decode('latin-1')}" if host is not None else "")
                if len(self._hosts) < _MOST_HOSTS:
                    self._hosts.add(host)
            if origin is not None:
                self._check("Origin", origin.decode("latin-1"))
        return ANYBODY

    @staticmethod
    def _check(header: str, address: str) -> None:
        if not _is_here(address):
            what = f"{header} {address.removeprefix('//')[:100]!r} is not this machine"
            cure = (
                "a server that asks for no keys answers to 127.0.0.1 and localhost only; make a key, or start it with"
            )
            raise Refusal("forbidden", f"{what}; {cure} --auth none --allow-remote")


def _is_here(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return "@" not in parts.netloc and parts.scheme in ("", "http", "https") and is_loopback(parts.hostname or "")
    except ValueError:
        return False


class Closed:
    """Lets nobody in but to public routes: until it is known who may."""

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Let calls of public routes pass."""
        if scope is not Scope.PUBLIC:
            raise Refusal("not_ready", "which access keys there are could not be read yet; see /readyz")
        return ANYBODY


class KeyAccess:
    """Asks for an access key; hot.

    A header that was good once is known by its bytes from then on, until its key ends.

    Args:
        keys: the keys there are.
        clock: tells when they end.
    """

    def __init__(self, keys: Iterable[Key], clock: Clock) -> None:
        self._keys = {key.id: key for key in keys if key.revoked is None}
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Let a call pass whose key is good and has the scope."""
        if scope is Scope.PUBLIC:
            return ANYBODY
        header = headers.get(b"authorization", b"")
        caller, end = self._known.get(header) or self._recognized(header)
        if self._clock.now() >= end:
            raise _stranger()
        if scope not in caller.scopes:
            caller.may(scope)
        return caller

    def _recognized(self, header: bytes) -> tuple[Caller, float]:
        kind, _, rest = header.partition(b" ")
        token = rest.strip().decode("latin-1")
        number = id_of(token) if kind.lower() == b"bearer" else None
        key = None if number is None else self._keys.get(number)
        if key is None or not key.fits(token):
            if key is None:
                spend_a_comparison(token)
            raise _stranger()
        if len(self._known) >= _MOST_HEADERS:
            self._known.clear()
        known = self._known[header] = _caller(key), math.inf if key.expires is None else key.expires
        return known


def _caller(key: Key) -> Caller:
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    return Caller(key.name, scopes, frozenset(key.views), frozenset(key.services), key.id)


def _stranger() -> Refusal:
    """Return what everybody gets whose key is not good: why it is not is not said."""
    what = "this needs an access key that is good now: send the header 'Authorization: Bearer lw_…'"
    cure = "'likewise keys create' makes one, and 'likewise keys list' says which are good"
    return Refusal("unauthorized", f"{what}; {cure}", headers=((b"www-authenticate", b'Bearer realm="likewise"'),))


class FollowedAccess:
    """Lets callers in by the keys that a project has now: it asks for keys from the first one on, or always, or never.

    Args:
        settings: whether keys are asked for, and who reaches the server.
        clock: tells when keys end.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._always = settings.auth == "keys" or (settings.auth is None and not is_loopback(settings.host))
        self._open = Open(only_local=is_loopback(settings.host) and not settings.allow_remote)
        self._never = settings.auth == "none"
        self._keys: list[Key] | None = None
        self._now: Access = self._open if self._never else Closed()

    @property
    def asks(self) -> bool:
        """Whether keys are asked for now."""
        return self._now is not self._open

    @property
    def usable(self) -> int:
        """How many keys let somebody in now."""
        now = self._clock.now()
        return sum(key.state(now) == "active" for key in self._keys or ())

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Let a call pass, and return whose it is."""
        return self._now.check(scope, headers)

    def look(self, side: SideReader, project: str) -> None:
        """Take the keys that there are now; those that cannot be read leave everything as it was."""
        if self._never:
            return
        keys = read_keys(side, project)
        self._always = self._always or bool(keys)
        if keys != self._keys:
            self._now = KeyAccess(keys, self._clock) if self._always else self._open
            self._keys = keys
