"""What a registry is: a reader of catalogs, a writer that compares before it sets, and a side table.

Reading and writing are two interfaces, so that what only explains (``plan``, ``--dry-run``, lineage) can be given a
reader and cannot write. Errors that carry more than words are here::

    StoreError
    ├── StoreCorrupt
    │   └── RegistryCorrupt    which path, what is wrong, which catalog is whole and can be restored
    ├── StoreTooNew
    │   └── RegistryTooNew     which format the file has, and which version of Likewise reads it
    ├── RegistryReadOnly       PermissionError: a file or folder that may not be written
    ├── ApplyConflict (transient)
    │   └── CatalogConflict    what others committed meanwhile
    ├── SideConflict (transient)   somebody else changed the value first
    └── HistoriesDiffer        what is to be imported is not how a project goes on (handover.py)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from likewise.core.errors import ApplyConflict, CatalogNotFound, StoreCorrupt, StoreError, StoreTooNew
from likewise.registry.catalog import Catalog, CatalogInfo, DefinitionVersion, PlainDefinition, noun
from likewise.registry.diff import Change, diff
from likewise.registry.holdings import Holdings


class RegistryCorrupt(StoreCorrupt):
    """A registry's stored bytes fail their checks; nothing of it was used."""

    def __init__(self, path: str, what: str, *, restorable: Mapping[str, int] | None = None, cure: str = "") -> None:
        self.path = path
        self.what = what
        self.restorable = dict(restorable or {})
        super().__init__(f"the registry {path!r} is damaged: {what}", cure=cure or self._restore())

    def _restore(self) -> str:
        if not self.restorable:
            return "put a backup in its place, or move it away and apply the repo again"
        whole = ", ".join(f"catalog {number} of {project!r}" for project, number in sorted(self.restorable.items()))
        return (
            f"{whole} can be restored: likewise.registry.salvage.restore({self.path!r}); or put a backup in its place"
        )


class RegistryTooNew(StoreTooNew):
    """A registry was written by a newer version of Likewise, in a format that this one does not know."""

    def __init__(self, path: str, found: int, known: int, needs: str = "") -> None:
        self.path = path
        self.found = found
        self.needs = needs
        super().__init__(
            f"the registry {path!r} has format {found}; this version of Likewise reads up to format {known}",
            cure=f"install Likewise >= {needs}" if needs else "install a newer Likewise, or put a backup in its place",
        )


class RegistryReadOnly(StoreError, PermissionError):
    """A registry's file or folder may not be written."""

    def __str__(self) -> str:
        return StoreError.__str__(self)


class CatalogConflict(ApplyConflict):
    """Another commit was faster; ``changes`` is what it did."""

    def __init__(self, project: str, expected: int, head: int, changes: Sequence[Change]) -> None:
        self.project = project
        self.expected = expected
        self.head = head
        self.changes = tuple(changes)
        did = ", ".join(f"{noun(c.kind)} {c.name!r} {c.action}d" for c in self.changes[:5])
        more = f" and {len(self.changes) - 5} more changes" if len(self.changes) > 5 else ""
        super().__init__(
            f"project {project!r} is at catalog {head}, not at {expected} as expected; meanwhile: "
            f"{did or 'nothing that differs'}{more}",
            cure=f"plan again on catalog {head}, then apply",
        )


class SideConflict(StoreError):
    """A value of the side table is not at the version that was expected; read it and try again."""

    transient = True

    def __init__(self, space: str, key: str, expected: int, found: int) -> None:
        self.expected = expected
        self.found = found
        was = f"at version {found}" if found else "absent"
        super().__init__(
            f"{space} {key!r} is {was}, not at version {expected} as expected", cure="read it and try again"
        )


@dataclass(frozen=True, slots=True)
class SideValue:
    """One value of the side table."""

    value: Any
    """Plain JSON, fresh from the store."""
    version: int
    """Grows with every write; no two writes of a registry give the same one, so a value that was removed and written
    again is not taken for the old one. 0 stands for absent."""


class SideReader(ABC):
    """Reads what lies beside the catalogs: (project, space, key) -> JSON value."""

    @abstractmethod
    def get(self, project: str, space: str, key: str) -> SideValue | None:
        """Return a value, or None when there is none."""

    @abstractmethod
    def items(self, project: str, space: str) -> dict[str, SideValue]:
        """Return all values of a space by key, in the order of the keys, as they were at one moment."""


class SideTable(SideReader):
    """Reads and writes what lies beside the catalogs."""

    @abstractmethod
    def put(self, project: str, space: str, key: str, value: Any, expected: int | None) -> int:
        """Write a value if it is still at the expected version.

        Args:
            project: the project.
            space: what kind of thing it is, such as ``lease``.
            key: its name in the space.
            value: plain JSON.
            expected: the version it must have now; 0 if it must be absent, None if that does not matter.

        Returns:
            The new version.

        Raises:
            SideConflict: it is at another version; nothing was written.
        """

    @abstractmethod
    def remove(self, project: str, space: str, key: str, expected: int | None) -> None:
        """Remove a value if it is still at the expected version; removing what is absent does nothing when None.

        Raises:
            SideConflict: it is at another version; nothing was removed.
        """


class RegistryReader(ABC):
    """Reads the catalogs of any number of projects."""

    @abstractmethod
    def projects(self) -> list[str]:
        """Return the names of the projects whose newest catalog holds anything, sorted."""

    @abstractmethod
    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none; cheap enough to ask before every request."""

    @abstractmethod
    def catalog(self, project: str, number: int | None = None) -> Catalog:
        """Return a catalog, read and verified in one go.

        Args:
            project: the project; one that nobody committed to has catalog 0 only.
            number: the catalog's number; None for the newest.

        Raises:
            CatalogNotFound: the history has no such number.
            RegistryCorrupt: the stored bytes fail their checks.
        """

    @abstractmethod
    def history(self, project: str) -> list[CatalogInfo]:
        """Return what is known of all catalogs from 1 on, oldest first."""

    @abstractmethod
    def definition_versions(self, project: str, kind: str, name: str) -> list[DefinitionVersion]:
        """Return every content that a definition ever had, oldest first; the versions count from 1."""

    @abstractmethod
    def holdings(self) -> Holdings:
        """Return all that the registry holds, of all projects, as it was at one moment; every hash is checked.

        Raises:
            RegistryCorrupt: the stored bytes fail their checks.
        """

    @property
    @abstractmethod
    def side(self) -> SideReader:
        """What lies beside the catalogs: watermarks, leases, saved datasets, statistics."""


class Registry(RegistryReader):
    """Reads and writes the catalogs of any number of projects.

    Example:
        >>> from likewise.registry.memory import MemoryRegistry
        >>> registry = MemoryRegistry()
        >>> registry.commit("demo", 0, [{"kind": "entity", "name": "card"}], now=1).number
        1
        >>> registry.catalog("demo").names("entity")
        ['card']
    """

    @abstractmethod
    def commit(
        self,
        project: str,
        expected: int,
        definitions: Iterable[Mapping[str, Any]],
        *,
        message: str = "",
        author: str = "",
        now: int,
    ) -> Catalog:
        """Make the next catalog of a project, if the newest one is still the expected one.

        Args:
            project: the project.
            expected: the number of the catalog that the new one was planned on.
            definitions: the complete new set, as plain JSON objects with ``kind`` and ``name``.
            message: why.
            author: who.
            now: the time, in microseconds since the epoch.

        Returns:
            The new catalog, durable; or the newest one as it is, if it holds the same definitions already.

        Raises:
            CatalogConflict: somebody else committed meanwhile; nothing was written.
            InvalidDefinition: a definition is not plain JSON, or stands twice; nothing was written.
        """

    @abstractmethod
    def take(self, holdings: Holdings) -> None:
        """Take over what another registry held, in one step: all of it, or nothing where this raises.

        A project that is here already must have the beginning of the same history. A side value takes the place of the
        one that is here; a lease arrives without its holder, and with its token.

        Args:
            holdings: what to take over; every hash is checked.

        Raises:
            HistoriesDiffer: a project that is here has another history, or a longer one; nothing was written.
            RegistryCorrupt: a hash fails; nothing was written.
        """

    @property
    @abstractmethod
    def side(self) -> SideTable:
        """What lies beside the catalogs: watermarks, leases, saved datasets, statistics."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; closing twice is fine."""

    def rollback(self, project: str, number: int, *, message: str = "", author: str = "", now: int) -> Catalog:
        """Commit the definitions of an older catalog again, as the next number; history stays as it is.

        Raises:
            CatalogNotFound: the history has no such number.
            CatalogConflict: somebody else committed meanwhile.
        """
        expected = self.head(project)
        older = self.catalog(project, number)
        why = message or f"rollback to catalog {number}"
        return self.commit(project, expected, older.definitions(), message=why, author=author, now=now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def conflict(expected: Catalog | None, wanted: int, head: Catalog) -> CatalogConflict:
    """Return the error for a commit that expected catalog ``wanted`` but met ``head``.

    Args:
        expected: the catalog with the number that was expected; None when there never was one.
        wanted: the number that was expected.
        head: the newest catalog.
    """
    changes: list[Change] = []
    if expected is not None:
        changes = diff(differing(expected, head), differing(head, expected))
    return CatalogConflict(head.project, wanted, head.number, changes)


def differing(one: Catalog, other: Catalog) -> list[PlainDefinition]:
    """Return the definitions of ``one`` that ``other`` does not hold in the same form."""
    mine = (key for key, found in one.manifest.items() if other.manifest.get(key) != found)
    return [found for key in mine if (found := one.find(*key)) is not None]


def no_such_catalog(project: str, number: int, head: int) -> CatalogNotFound:
    """Return the error for a catalog number outside of a project's history."""
    has = f"its history goes from 1 to {head}" if head else "nothing was applied to it yet"
    return CatalogNotFound(f"project {project!r} has no catalog {number}; {has}", cure="see: likewise history")
