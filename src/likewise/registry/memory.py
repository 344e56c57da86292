"""MemoryRegistry: a whole registry in this process, for tests, notebooks and trying things out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from likewise.registry.base import Registry, SideConflict, SideTable, SideValue, conflict, no_such_catalog
from likewise.registry.catalog import (
    Catalog,
    CatalogInfo,
    DefinitionVersion,
    Entry,
    Signature,
    canonical,
    draft,
    empty_catalog,
    entries_between,
    successor,
    versions,
)
from likewise.registry.crash import no_crash
from likewise.registry.handover import arriving_sides, step, still_missing, verify
from likewise.registry.holdings import Holdings, SideItem


class MemorySideTable(SideTable):
    """A side table in a dict, behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, str], tuple[bytes, int]] = {}
        self._version = 0

    def get(self, project: str, space: str, key: str) -> SideValue | None:
        """Return a value, or None when there is none."""
        row = self._rows.get((project, space, key))
        return None if row is None else SideValue(json.loads(row[0]), row[1])

    def items(self, project: str, space: str) -> dict[str, SideValue]:
        """Return all values of a space by key."""
        with self._lock:
            rows = sorted(self._rows.items())
        return {
            key: SideValue(json.loads(body), version)
            for (a_project, a_space, key), (body, version) in rows
            if (a_project, a_space) == (project, space)
        }

    def put(self, project: str, space: str, key: str, value: Any, expected: int | None) -> int:
        """Write a value if it is still at the expected version."""
        body = canonical(value, f"{space} {key!r}")
        with self._lock:
            self._compare(project, space, key, expected)
            return self._store(project, space, key, body)

    def remove(self, project: str, space: str, key: str, expected: int | None) -> None:
        """Remove a value if it is still at the expected version."""
        with self._lock:
            self._compare(project, space, key, expected)
            self._rows.pop((project, space, key), None)

    def everything(self) -> list[SideItem]:
        """Return all values, sorted by project, space and key."""
        with self._lock:
            return [SideItem(*key, version, body) for key, (body, version) in sorted(self._rows.items())]

    def take(self, arriving: Iterable[SideItem]) -> None:
        """Take over the values of another side table."""
        with self._lock:
            here = {key: body for key, (body, _) in self._rows.items()}
            for item in arriving_sides(arriving, here):
                self._store(item.project, item.space, item.key, item.body, item.version)

    def _store(self, project: str, space: str, key: str, body: bytes, at_least: int = 0) -> int:
        self._version = max(self._version + 1, at_least)
        self._rows[project, space, key] = body, self._version
        return self._version

    def _compare(self, project: str, space: str, key: str, expected: int | None) -> None:
        found = self._rows.get((project, space, key), (b"", 0))[1]
        if expected is not None and expected != found:
            raise SideConflict(space, key, expected, found)


class MemoryRegistry(Registry):
    """A registry that lives as long as the object; threads may share it.

    Args:
        crash: called with the name of each crash point of a commit.
    """

    def __init__(self, *, crash: Callable[[str], None] = no_crash) -> None:
        self._lock = threading.Lock()
        self._catalogs: dict[str, list[Catalog]] = {}
        self._entries: dict[str, list[Entry]] = {}
        self._bodies: dict[str, bytes] = {}
        self._side = MemorySideTable()
        self._crash = crash

    def projects(self) -> list[str]:
        """Return the names of the projects whose newest catalog holds anything, sorted."""
        with self._lock:
            return sorted(project for project, catalogs in self._catalogs.items() if catalogs[-1].manifest)

    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none."""
        return len(self._catalogs.get(project, ()))

    def catalog(self, project: str, number: int | None = None) -> Catalog:
        """Return a catalog; the newest when no number is given."""
        catalogs = self._catalogs.get(project, [])
        head = len(catalogs)
        wanted = head if number is None else number
        if not 0 <= wanted <= head:
            raise no_such_catalog(project, wanted, head)
        return catalogs[wanted - 1] if wanted else empty_catalog(project)

    def history(self, project: str) -> list[CatalogInfo]:
        """Return what is known of all catalogs from 1 on, oldest first."""
        return [catalog.info for catalog in self._catalogs.get(project, [])]

    def definition_versions(self, project: str, kind: str, name: str) -> list[DefinitionVersion]:
        """Return every content that a definition ever had, oldest first."""
        with self._lock:
            entries = [e for e in self._entries.get(project, []) if (e.kind, e.name) == (kind, name)]
            return versions(entries, self._bodies)

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
        """Make the next catalog of a project, if the newest one is still the expected one."""
        new = draft(definitions)
        self._crash("registry.commit.begin")
        with self._lock:
            head = self.catalog(project)
            if head.number != expected:
                known = self.catalog(project, expected) if 0 <= expected < head.number else None
                raise conflict(known, expected, head)
            if head.manifest == new.manifest:
                return head
            entries = entries_between(head.manifest, new.manifest, head.number + 1)
            made = successor(head.info, new, entries, Signature(now, author, message))
            self._crash("registry.commit.before_commit")
            self._bodies.update(new.bodies)
            self._entries.setdefault(project, []).extend(entries)
            self._catalogs.setdefault(project, []).append(made)
        self._crash("registry.commit.after_commit")
        return made

    @property
    def side(self) -> SideTable:
        """What lies beside the catalogs."""
        return self._side

    def holdings(self) -> Holdings:
        """Return all that the registry holds."""
        with self._lock:
            histories = {project: [each.info for each in found] for project, found in sorted(self._catalogs.items())}
            entries = {project: list(self._entries[project]) for project in histories}
            return Holdings(histories, entries, dict(self._bodies), self._side.everything())

    def take(self, holdings: Holdings) -> None:
        """Take over histories and side values: all, or nothing where this raises."""
        verify(holdings, "what is to be imported")
        with self._lock:
            new = {
                project: still_missing(project, self.catalog(project).info, infos, "memory")
                for project, infos in holdings.histories.items()
            }
            self._side.take(holdings.sides)  # first, as it may refuse
            self._bodies.update(holdings.bodies)
            for project, infos in new.items():
                self._append(project, infos, holdings.entries[project])

    def _append(self, project: str, infos: Sequence[CatalogInfo], entries: Sequence[Entry]) -> None:
        manifest = dict(self.catalog(project).manifest)
        for info in infos:
            mine = [entry for entry in entries if entry.number == info.number]
            step(manifest, mine)
            held = MappingProxyType(dict(sorted(manifest.items())))
            bodies = MappingProxyType({found: self._bodies[found] for found in manifest.values()})
            self._entries.setdefault(project, []).extend(mine)
            self._catalogs.setdefault(project, []).append(Catalog(info, held, bodies))

    def close(self) -> None:
        """Do nothing: the registry ends with the object."""


def open_registry(config: object, root: str) -> MemoryRegistry:
    """Return a registry of its own for each call; neither configuration nor repo folder matters."""
    return MemoryRegistry()
