"""Audit: an append-only log of every change, in which each entry holds the hash of the one before.

Who changes an entry, leaves one out or puts one in breaks the chain, and ``likewise audit --check`` says where. Who can
write the registry can make the whole chain anew, too: note its newest hash elsewhere, and give it to the check.

Catalogs are entered from their own history: a process that is killed between a commit and its entry loses nothing, as
the next entry of anybody enters the catalogs that are missing first.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from likewise.core.errors import StoreCorrupt
from likewise.registry.base import Registry, RegistryReader, SideConflict, SideReader, SideTable, differing
from likewise.registry.catalog import noun
from likewise.registry.diff import diff

SPACE = "audit"
"""The space of the side table that the entries lie in, by number."""
NEWEST = "audit_head"
"""The space in which the newest entry's number and hash are noted."""
_MOST_OBJECTS = 100
_ACTOR: ContextVar[str] = ContextVar("likewise_actor", default="")
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done, or, for what removes data, that is about to be done."""

    what: str
    """The kind, such as ``apply``, ``materialize`` or ``forget``."""
    objects: tuple[str, ...] = ()
    """What it was done to, such as ``feature view 'cards'``."""
    detail: str = ""
    """More of it, for people: never a value, a key or a secret."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    number: int
    """From 1 on, without a gap."""
    at: int
    """When it was done, in microseconds since the epoch."""
    who: str
    """Who did it; empty when the system did not say."""
    what: str
    """The kind."""
    objects: tuple[str, ...]
    """What it was done to."""
    detail: str
    """More of it."""
    before: int
    """The number of the newest catalog that the entry before knew."""
    catalog: int
    """The number of the newest catalog that was entered, this entry's included."""
    previous: str
    """The hash of the entry before; empty for the first."""
    hash: str = ""
    """SHA-256 of all the rest, as JSON with sorted keys."""

    def sealed(self) -> Entry:
        """Return it with its hash."""
        return replace(self, hash=hashlib.sha256(_encode(asdict(replace(self, hash="")))).hexdigest())


_START = Entry(0, 0, "", "", (), "", 0, 0, "")


class AuditBroken(StoreCorrupt):
    """The log of changes is not as it was written."""


@contextmanager
def acting_as(who: str) -> Iterator[None]:
    """Enter what this thread or task does inside under a name.

    Args:
        who: such as ``key 'ci'``.
    """
    token = _ACTOR.set(who)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def actor() -> str:
    """Return who works here: what :func:`acting_as` or ``LIKEWISE_ACTOR`` says, else user and machine."""
    return _ACTOR.get() or os.environ.get("LIKEWISE_ACTOR", "") or f"{user()}@{socket.gethostname()}"


def user() -> str:
    """Return the system's name of who works here; empty when it does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def enter(registry: Registry, project: str, deed: Deed, now: int) -> Entry:
    """Append an entry, after those of catalogs that have none yet.

    Args:
        registry: the registry.
        project: the project.
        deed: what is done.
        now: the time, in microseconds since the epoch.

    Example:
        >>> from likewise.registry.memory import MemoryRegistry
        >>> registry = MemoryRegistry()
        >>> enter(registry, "demo", Deed("forget", ("feature view 'cards'",)), now=7).number
        1
        >>> faults(registry, "demo", entries(registry.side, "demo"))
        []
    """
    while True:
        newest = enter_catalogs(registry, project)
        last = newest.catalog
        entry = Entry(newest.number + 1, now, actor(), deed.what, deed.objects, deed.detail, last, last, newest.hash)
        if _put(registry.side, project, done := entry.sealed()):
            return done


def enter_catalogs(registry: Registry, project: str) -> Entry:
    """Enter all catalogs that are in no entry yet, and return the newest entry; its number is 0 when there is none."""
    newest = _newest(registry.side, project)
    while newest.catalog < registry.head(project):
        entry = _catalog_entry(registry, project, newest)
        newest = entry if _put(registry.side, project, entry) else _newest(registry.side, project)
    return newest


def entries(side: SideReader, project: str) -> list[Entry]:
    """Return all entries, oldest first, as they are stored."""
    return [_entry(found.value) for _, found in sorted(side.items(project, SPACE).items())]


def checked(registry: RegistryReader, project: str, newest: str = "") -> list[Entry]:
    """Return all entries, oldest first, after checking that none was changed and none is missing.

    Args:
        registry: the registry.
        project: the project.
        newest: the hash of an entry as it was noted elsewhere; empty: none was.

    Raises:
        AuditBroken: something is wrong; the message says all of it.
    """
    log = entries(registry.side, project)
    found = faults(registry, project, log, newest)
    if found:
        said = "; ".join(found)
        raise AuditBroken(
            f"the audit log of project {project!r} is broken: {said}",
            cure="compare it with a backup, and find out who can write the registry",
        )
    return log


def faults(registry: RegistryReader, project: str, log: Sequence[Entry], newest: str = "") -> list[str]:
    """Return what is wrong with a log; empty when every entry is as it was written, and none is missing.

    Args:
        registry: the registry.
        project: the project.
        log: its entries.
        newest: the hash of an entry as it was noted elsewhere; empty: none was.
    """
    found = []
    before = _START
    for entry in log:
        if entry.number != before.number + 1:
            found.append(f"after entry {before.number} comes {entry.number}: entries between them are missing")
        elif entry.previous != before.hash:
            found.append(f"entry {entry.number} does not follow from entry {before.number}: one of them was replaced")
        if entry.sealed().hash != entry.hash:
            found.append(f"entry {entry.number} was changed: its hash is not that of what it says")
        before = entry
    known = registry.side.get(project, NEWEST, "")
    if known is not None and known.value["number"] > before.number:
        found.append(f"the log ends with entry {before.number}, but there were {known.value['number']}")
    if before.catalog > (head := registry.head(project)):
        found.append(f"the log knows catalog {before.catalog}, but the newest is {head}: the registry was set back")
    if newest and newest not in {entry.hash for entry in log}:
        found.append(f"no entry has the hash {newest!r} that was noted: the log was made anew, or that entry is gone")
    return found


def _catalog_entry(registry: Registry, project: str, newest: Entry) -> Entry:
    number = newest.catalog + 1
    catalog, before = registry.catalog(project, number), registry.catalog(project, newest.catalog)
    changes = diff(differing(before, catalog), differing(catalog, before))
    objects = [f"{change.action} {noun(change.kind)} {change.name!r}" for change in changes[:_MOST_OBJECTS]]
    more = len(changes) - len(objects)
    return Entry(
        newest.number + 1,
        catalog.info.created,
        catalog.info.author,
        catalog.info.message or "commit",
        tuple(objects),
        f"and {more} more" if more else "",
        newest.catalog,
        number,
        newest.hash,
    ).sealed()


def _newest(side: SideReader, project: str) -> Entry:
    """Return the newest entry, or what was noted of it, should it be gone: the next one then shows the gap.

    The note may be behind, when whoever wrote an entry was killed before noting it.
    """
    noted = side.get(project, NEWEST, "")
    newest = _START if noted is None else replace(_START, **noted.value)
    while (found := side.get(project, SPACE, _key(newest.number + 1))) is not None:
        newest = _entry(found.value)
    return newest


def _put(side: SideTable, project: str, entry: Entry) -> bool:
    """Write an entry if nobody wrote that number; tell whether it was written."""
    try:
        side.put(project, SPACE, _key(entry.number), asdict(entry), 0)
    except SideConflict:
        return False
    noted = {"number": entry.number, "hash": entry.hash, "catalog": entry.catalog}
    side.put(project, NEWEST, "", noted, None)
    return True


def _entry(value: dict[str, Any]) -> Entry:
    try:
        return msgspec.convert(value, Entry)
    except msgspec.ValidationError as error:
        raise AuditBroken(f"an entry of the audit log is none: {error}", cure="restore the registry") from error


def _key(number: int) -> str:
    return f"{number:012d}"
