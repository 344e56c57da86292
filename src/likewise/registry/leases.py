"""Leases: one owner at a time for a named piece of work, with a number that fences off late ones.

A lease ends by itself after its ttl, so a killed run blocks nobody for long. Every grant has a greater *token* than all
before; who writes under a lease writes its token, and a writer whose token was overtaken is refused
(see :mod:`~likewise.registry.watermarks`). Clocks of several machines may differ by less than the ttl.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from likewise.core.errors import LeaseHeld, StoreError
from likewise.core.time import from_micros
from likewise.registry.base import SideConflict, SideReader, SideTable

SPACE = "lease"
"""The space of the side table that leases lie in."""


class LeaseTaken(LeaseHeld):
    """Somebody else holds the lease; ``owner`` and ``until`` (microseconds since the epoch) say who and how long."""

    def __init__(self, lease: Lease) -> None:
        self.owner = lease.owner
        self.until = lease.until
        until = from_micros(lease.until).isoformat()
        super().__init__(
            f"{lease.name!r} is in the hands of {lease.owner!r} until {until}",
            cure="wait for it to end; if it was killed, its lease ends then by itself",
        )


class LeaseLost(StoreError):
    """A lease that was held is somebody else's now, or was given back; stop the work it was for."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a named piece of work, for a while."""

    project: str
    """The project."""
    name: str
    """The piece of work, such as ``materialize/user_stats``."""
    owner: str
    """Who holds it; empty when it was given back."""
    token: int
    """Greater than that of every earlier holder of this name; from 1."""
    until: int
    """The time it ends, in microseconds since the epoch; at that time it is over."""


def acquire(side: SideTable, project: str, name: str, owner: str, *, ttl: int, now: int) -> Lease:
    """Take a lease that nobody holds, or that has ended.

    Args:
        side: the side table.
        project: the project.
        name: the piece of work.
        owner: who takes it, for the message others get; not empty.
        ttl: how long it lasts unless renewed, in microseconds, more than 0.
        now: the time, in microseconds since the epoch.

    Raises:
        LeaseTaken: it is held, be it by the same owner.

    Example:
        >>> from likewise.registry.memory import MemoryRegistry
        >>> side = MemoryRegistry().side
        >>> lease = acquire(side, "demo", "materialize/cards", "me", ttl=10, now=0)
        >>> release(side, lease)
        >>> acquire(side, "demo", "materialize/cards", "you", ttl=10, now=1).token
        2
    """
    found = side.get(project, SPACE, name)
    last = Lease(**found.value) if found is not None else Lease(project, name, "", 0, 0)
    if last.owner and now < last.until:
        raise LeaseTaken(last)
    lease = Lease(project, name, owner, last.token + 1, now + ttl)
    try:
        side.put(project, SPACE, name, asdict(lease), found.version if found is not None else 0)
    except SideConflict:
        return acquire(side, project, name, owner, ttl=ttl, now=now)  # somebody was faster: look who
    return lease


def renew(side: SideTable, lease: Lease, *, ttl: int, now: int) -> Lease:
    """Let a lease last for another ttl; one that has ended may be renewed while nobody else took it.

    Raises:
        LeaseLost: somebody else took it, or it was given back.
    """
    return _replace(side, lease, replace(lease, until=now + ttl))


def release(side: SideTable, lease: Lease) -> None:
    """Give a lease back; one that is lost already stays with whoever has it."""
    try:
        _replace(side, lease, replace(lease, owner="", until=0))  # the row stays, for its token
    except LeaseLost:
        return


def holder(side: SideReader, project: str, name: str, *, now: int) -> Lease | None:
    """Return the lease that is held on a piece of work now, None if there is none."""
    found = side.get(project, SPACE, name)
    lease = Lease(**found.value) if found is not None else None
    return lease if lease is not None and lease.owner and now < lease.until else None


def handed_over(arriving: Mapping[str, Any], here: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the lease to keep where the values of one side table go to another: held by nobody, its token kept.

    Args:
        arriving: the lease that arrives.
        here: the lease of the same name that is there already; it stays as it is unless its token is smaller.
    """
    if here is not None and here["token"] >= arriving["token"]:
        return dict(here)
    return {**arriving, "owner": "", "until": 0}


def _replace(side: SideTable, mine: Lease, new: Lease) -> Lease:
    found = side.get(mine.project, SPACE, mine.name)
    if found is None or found.value["token"] != mine.token or not found.value["owner"]:
        raise LeaseLost(f"the lease on {mine.name!r} of {mine.owner!r} is lost", cure="stop this run and start anew")
    try:
        side.put(mine.project, SPACE, mine.name, asdict(new), found.version)
    except SideConflict:
        return _replace(side, mine, new)
    return new
