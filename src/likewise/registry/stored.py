"""StoredRegistry: the registry over any database that keeps its rows; what a database adds is how to reach them.

A catalog is not stored whole: each commit writes one row for itself and one *entry* for each definition that it
touched, and a definition's text is stored once under its hash. Everything is sealed: definitions by their hash, the
manifest by the catalog's ``contents``, the entries by its ``delta``, and the catalogs by a chain of seals. What is read
is checked, so damage is an error and never an answer.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from likewise.registry.base import (
    Registry,
    RegistryCorrupt,
    SideConflict,
    SideTable,
    SideValue,
    conflict,
)
from likewise.registry.catalog import (
    Catalog,
    CatalogInfo,
    DefinitionVersion,
    Draft,
    Entry,
    Key,
    Signature,
    canonical,
    draft,
    entries_between,
    successor,
    versions,
)
from likewise.registry.crash import CrashHook
from likewise.registry.handover import arriving_sides, still_missing, verify
from likewise.registry.holdings import Holdings, SideItem
from likewise.registry.rows import (
    CatalogRows,
    RowReader,
    RowWriter,
    SideRow,
    head_is_whole,
    head_seal,
    sealed_side,
    side_is_whole,
)

T = TypeVar("T")
_NOTHING: Mapping[str, bytes] = MappingProxyType({})

COMMIT_POINTS = (
    "registry.commit.begin",
    "registry.commit.locked",
    "registry.commit.catalog",
    "registry.commit.definitions",
    "registry.commit.entries",
    "registry.commit.before_commit",
    "registry.commit.after_commit",
)
"""The moments of a commit, in order."""


class StoredRegistry(Registry):
    """A registry whose rows lie in a database.

    Args:
        place: what messages call the registry; without secrets.
        crash: called with the name of each crash point of a write.
    """

    def __init__(self, place: str, crash: CrashHook) -> None:
        self.place = place
        self._crash = crash
        self._side = StoredSideTable(self)
        self._newest: dict[str, Catalog] = {}
        self._entries: dict[str, tuple[str, Mapping[Key, Sequence[Entry]]]] = {}

    @abstractmethod
    def read(self, work: Callable[[RowReader], T]) -> T:
        """Return what ``work`` makes of the rows, all of one moment; it may be called more than once."""

    @abstractmethod
    def write(self, work: Callable[[RowWriter], T]) -> T:
        """Return what ``work`` makes of the rows; what it wrote is durable then, or undone where this raises.

        It may be called more than once: where others were faster, it is undone and called again.
        """

    def projects(self) -> list[str]:
        """Return the names of the projects whose newest catalog holds anything, sorted."""
        heads = self.read(lambda rows: rows.heads())
        wrong = next((project for project, head in heads.items() if not head_is_whole(project, head)), None)
        if wrong is not None:
            raise RegistryCorrupt(self.place, f"the head of project {wrong!r} fails its seal")
        return sorted(project for project, head in heads.items() if head.size > 0)

    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none."""
        return self.read(lambda rows: self._rows(rows, project).head()[0])

    def catalog(self, project: str, number: int | None = None) -> Catalog:
        """Return a catalog, read and verified in one go; the newest when no number is given."""
        found, head = self.read(lambda rows: self._catalog(self._rows(rows, project), project, number))
        if found.number == head:
            self._newest[project] = found
        return found

    def _catalog(self, rows: CatalogRows, project: str, number: int | None) -> tuple[Catalog, int]:
        head, seal = rows.head()
        newest = self._newest.get(project)
        if newest is not None and newest.seal == seal and number in (None, head):
            return newest, head
        return rows.catalog_at(number, newest.bodies if newest is not None else _NOTHING), head

    def history(self, project: str) -> list[CatalogInfo]:
        """Return what is known of all catalogs from 1 on, oldest first."""
        return self.read(lambda rows: self._rows(rows, project).history())

    def definition_versions(self, project: str, kind: str, name: str) -> list[DefinitionVersion]:
        """Return every content that a definition ever had, oldest first."""

        def find(rows: RowReader) -> list[DefinitionVersion]:
            checked = self._rows(rows, project)
            entries = self._entries_of(checked, project).get((kind, name), [])
            return versions(entries, checked.bodies(entries))

        return self.read(find)

    def _entries_of(self, checked: CatalogRows, project: str) -> Mapping[Key, Sequence[Entry]]:
        """Return the entries by definition: as they were read before, while the newest catalog is the same one."""
        seal = checked.head()[1]
        known = self._entries.get(project)
        if known is not None and known[0] == seal:
            return known[1]
        found: dict[Key, list[Entry]] = {}
        for entry in checked.entries():
            found.setdefault((entry.kind, entry.name), []).append(entry)
        self._entries[project] = seal, found
        return found

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

        A definition whose stored text was damaged is stored anew, so applying the repo again heals it.
        """
        new, signature = draft(definitions), Signature(now, author, message)
        self._crash("registry.commit.begin")
        made = self.write(lambda rows: self._commit(rows, project, expected, new, signature))
        self._crash("registry.commit.after_commit")
        self._newest[project] = made
        return made

    def _commit(self, rows: RowWriter, project: str, expected: int, new: Draft, signature: Signature) -> Catalog:
        self._crash("registry.commit.locked")
        checked = self._rows(rows, project)
        head = checked.head()[0]
        if head != expected:
            known = checked.catalog_at(expected) if 0 <= expected < head else None
            raise conflict(known, expected, checked.catalog_at(head))
        made = self._make(rows, checked, checked.info(expected), new, signature)
        self._crash("registry.commit.before_commit")
        return made

    def _make(
        self, rows: RowWriter, checked: CatalogRows, parent: CatalogInfo, new: Draft, signature: Signature
    ) -> Catalog:
        """Store the catalog after ``parent``: the head is not asked for again, for it may be another one by now."""
        old = checked.manifest(parent)
        if old == new.manifest:
            rows.write_definitions(new.bodies)
            return Catalog(parent, new.manifest, new.bodies)
        entries = entries_between(old, new.manifest, parent.number + 1)
        made = successor(parent, new, entries, signature)
        rows.write_info(made.info)  # the number is taken now: who wants it too waits here, and fails
        self._crash("registry.commit.catalog")
        rows.write_definitions(new.bodies)
        self._crash("registry.commit.definitions")
        rows.write_entries(made.project, entries)
        self._crash("registry.commit.entries")
        rows.write_head(made.project, made.number, head_seal(made.project, made.number, made.seal))
        return made

    def _rows(self, rows: RowReader, project: str) -> CatalogRows:
        return CatalogRows(rows, project, self.place)

    @property
    def side(self) -> SideTable:
        """What lies beside the catalogs."""
        return self._side

    def holdings(self) -> Holdings:
        """Return all that the registry holds, as it was at one moment, verified."""
        return self.read(self._holdings)

    def _holdings(self, rows: RowReader) -> Holdings:
        checked = {project: self._rows(rows, project) for project in sorted(rows.heads())}
        histories = {project: each.history() for project, each in checked.items()}
        entries = {project: each.entries() for project, each in checked.items()}
        bodies = {
            found: body for project, each in checked.items() for found, body in each.bodies(entries[project]).items()
        }
        sides = [self._whole(row) for row in rows.sides()]
        return Holdings(histories, entries, bodies, [SideItem(*row[:5]) for row in sides])

    def take(self, holdings: Holdings) -> None:
        """Take over histories and side values: all, or nothing where this raises."""
        verify(holdings, "what is to be imported")
        self.write(lambda rows: self._take(rows, holdings))
        self.forget()

    def _take(self, rows: RowWriter, holdings: Holdings) -> None:
        for project, infos in holdings.histories.items():
            checked = self._rows(rows, project)
            new = still_missing(project, checked.info(checked.head()[0]), infos, self.place)
            for info in new:
                rows.write_info(info)
            if new:
                wanted = [entry for entry in holdings.entries[project] if entry.number >= new[0].number]
                rows.write_entries(project, wanted)
                rows.write_head(project, new[-1].number, head_seal(project, new[-1].number, new[-1].seal))
        rows.write_definitions(holdings.bodies)
        self._take_sides(rows, holdings)

    def _take_sides(self, rows: RowWriter, holdings: Holdings) -> None:
        here = {(row.project, row.space, row.key): row.body for row in rows.sides()}
        for item in arriving_sides(holdings.sides, here):
            version = rows.next_version(item.version)
            rows.write_side(sealed_side(item.project, item.space, item.key, version, item.body))

    def forget(self) -> None:
        """Forget what was read before; it is read, and checked, anew."""
        self._newest.clear()
        self._entries.clear()

    def _whole(self, row: SideRow) -> SideRow:
        if not side_is_whole(row):
            what = f"{row.space} {row.key!r} of project {row.project!r} fails its seal"
            raise RegistryCorrupt(self.place, what)
        return row

    def side_rows(self, project: str, space: str, key: str | None = None) -> list[SideRow]:
        """Return the side values of a space, or the one with a key, checked."""
        return [self._whole(row) for row in self.read(lambda rows: rows.sides(project, space, key))]


class StoredSideTable(SideTable):
    """The side table of a :class:`StoredRegistry`."""

    def __init__(self, registry: StoredRegistry) -> None:
        self._registry = registry

    def get(self, project: str, space: str, key: str) -> SideValue | None:
        """Return a value, or None when there is none."""
        for row in self._registry.side_rows(project, space, key):
            return SideValue(json.loads(row.body), row.version)
        return None

    def items(self, project: str, space: str) -> dict[str, SideValue]:
        """Return all values of a space by key."""
        rows = self._registry.side_rows(project, space)
        return {row.key: SideValue(json.loads(row.body), row.version) for row in rows}

    def put(self, project: str, space: str, key: str, value: Any, expected: int | None) -> int:
        """Write a value if it is still at the expected version."""
        body = canonical(value, f"{space} {key!r}")

        def write(rows: RowWriter) -> int:
            version = rows.next_version()
            _compare(rows, project, space, key, expected)
            rows.write_side(sealed_side(project, space, key, version, body))
            return version

        return self._registry.write(write)

    def remove(self, project: str, space: str, key: str, expected: int | None) -> None:
        """Remove a value if it is still at the expected version."""

        def write(rows: RowWriter) -> None:
            rows.next_version()
            _compare(rows, project, space, key, expected)
            rows.remove_side(project, space, key)

        self._registry.write(write)


def _compare(rows: RowReader, project: str, space: str, key: str, expected: int | None) -> None:
    if expected is None:
        return
    found = next((row.version for row in rows.sides(project, space, key)), 0)
    if expected != found:
        raise SideConflict(space, key, expected, found)
