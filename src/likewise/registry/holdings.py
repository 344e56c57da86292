"""Holdings: all that a registry holds, as plain records, to be carried to another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from likewise.registry.catalog import CatalogInfo, Entry


@dataclass(frozen=True, slots=True)
class SideItem:
    """One value beside the catalogs."""

    project: str
    """The project."""
    space: str
    """What kind of thing it is, such as ``watermark``."""
    key: str
    """Its name in the space."""
    version: int
    """The version that it has."""
    body: bytes
    """The value's canonical JSON."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that a registry holds, or some projects of it."""

    histories: Mapping[str, Sequence[CatalogInfo]]
    """Project to its catalogs from 1 on, oldest first; a project without any is absent."""
    entries: Mapping[str, Sequence[Entry]]
    """Project to what each of these catalogs did to each definition, sorted by number, kind and name."""
    bodies: Mapping[str, bytes]
    """The canonical JSON of every definition that an entry names, by its hash."""
    sides: Sequence[SideItem]
    """The values beside the catalogs, sorted by project, space and key."""

    def of(self, projects: Iterable[str]) -> Holdings:
        """Return what belongs to some of the projects."""
        wanted = frozenset(projects)
        histories = {project: infos for project, infos in self.histories.items() if project in wanted}
        entries = {project: self.entries[project] for project in histories}
        hashes = {entry.hash for each in entries.values() for entry in each}
        bodies = {found: body for found, body in self.bodies.items() if found in hashes}
        return Holdings(histories, entries, bodies, [item for item in self.sides if item.project in wanted])
