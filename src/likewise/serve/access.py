"""Access: what a route needs its caller to be allowed, declared with the route and checked before its body is read."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol


class Scope(enum.Enum):
    """What a caller may do."""

    PUBLIC = "public"
    """Nothing is needed: probes, and the description of the routes."""
    READ = "read"
    """Read features, and the server's figures."""
    WRITE = "write"
    """Write features."""
    ADMIN = "admin"
    """Run materializations."""


class Access(Protocol):
    """Decides who may call a route."""

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Let a call pass.

        Raises:
            Refusal: the caller lacks the scope, or did not say who it is.
        """
        ...


class Open:
    """Lets everybody do everything: for a server that only this machine reaches."""

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Let every call pass."""
