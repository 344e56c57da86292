"""Rows: what a registry's tables hold, as an interface that each database implements, and the check of what is read.

The tables are the same everywhere: the newest catalog of each project (*heads*), the *catalogs*, what each commit did
to each definition (*entries*), the *definitions* by their hash, the *side* table, and the clock of its versions.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from likewise.registry.base import RegistryCorrupt, no_such_catalog
from likewise.registry.catalog import (
    Catalog,
    CatalogInfo,
    Entry,
    Key,
    Manifest,
    canonical,
    digest,
    empty_catalog,
    entries_hash,
    manifest_hash,
    noun,
    seal_of,
)


class HeadRow(NamedTuple):
    """Which catalog of a project is the newest."""

    number: int
    """Its number."""
    seal: bytes
    """The seal of this row: :func:`head_seal`."""
    catalog_seal: bytes | None
    """The seal of that catalog; None where the catalog's row is missing."""
    size: int
    """How many definitions it holds."""


class SideRow(NamedTuple):
    """One value beside the catalogs."""

    project: str
    """The project."""
    space: str
    """What kind of thing it is."""
    key: str
    """Its name in the space."""
    version: int
    """Grows with every write of the registry."""
    body: bytes
    """The value's canonical JSON."""
    seal: bytes
    """The seal of this row: :func:`side_seal`."""


class RowReader(ABC):
    """The rows as they were at one moment; nobody has checked them."""

    @abstractmethod
    def heads(self) -> dict[str, HeadRow]:
        """Return the newest catalog of every project."""

    @abstractmethod
    def head(self, project: str) -> HeadRow | None:
        """Return the newest catalog of a project; None when there is none. One indexed query."""

    @abstractmethod
    def infos(self, project: str, first: int = 1, last: int | None = None) -> list[CatalogInfo]:
        """Return the rows of catalogs by number, from ``first`` to ``last`` (None: the newest), both included."""

    @abstractmethod
    def entries(self, project: str) -> list[Entry]:
        """Return all entries, sorted by number, kind and name."""

    @abstractmethod
    def manifest(self, project: str, number: int) -> Iterable[tuple[Key, str | None]]:
        """Return the last entry of each definition up to a catalog: its hash, or None where it was removed."""

    @abstractmethod
    def bodies(self, hashes: Collection[str]) -> dict[str, bytes]:
        """Return the texts of definitions by hash, as far as they are there."""

    @abstractmethod
    def sides(self, project: str | None = None, space: str | None = None, key: str | None = None) -> list[SideRow]:
        """Return the side values of a project, space and key, sorted by these; None stands for all."""


class RowWriter(RowReader):
    """The rows, in a transaction that ends with all of what is written, or nothing."""

    @abstractmethod
    def write_definitions(self, bodies: Mapping[str, bytes]) -> None:
        """Store texts by hash; one that is stored already is left, or healed if it was damaged."""

    @abstractmethod
    def write_entries(self, project: str, entries: Iterable[Entry]) -> None:
        """Store what commits did to definitions."""

    @abstractmethod
    def write_info(self, info: CatalogInfo) -> None:
        """Store a catalog's own row; its number must be free."""

    @abstractmethod
    def write_head(self, project: str, number: int, seal: bytes) -> None:
        """Make a catalog the newest of its project."""

    @abstractmethod
    def next_version(self, at_least: int = 0) -> int:
        """Return a version that no side value ever had, greater than all before. Other writers of values wait."""

    @abstractmethod
    def write_side(self, row: SideRow) -> None:
        """Store a side value in place of the one with its project, space and key."""

    @abstractmethod
    def remove_side(self, project: str, space: str, key: str) -> None:
        """Remove a side value, if it is there."""


class NoRows(RowReader):
    """The rows of a registry that was not made yet."""

    def heads(self) -> dict[str, HeadRow]:
        """Return nothing."""
        return {}

    def head(self, project: str) -> HeadRow | None:
        """Return None."""
        return None

    def infos(self, project: str, first: int = 1, last: int | None = None) -> list[CatalogInfo]:
        """Return nothing."""
        return []

    def entries(self, project: str) -> list[Entry]:
        """Return nothing."""
        return []

    def manifest(self, project: str, number: int) -> Iterable[tuple[Key, str | None]]:
        """Return nothing."""
        return []

    def bodies(self, hashes: Collection[str]) -> dict[str, bytes]:
        """Return nothing."""
        return {}

    def sides(self, project: str | None = None, space: str | None = None, key: str | None = None) -> list[SideRow]:
        """Return nothing."""
        return []


def batches(values: Iterable[str], most: int) -> Iterator[list[str]]:
    """Yield values in lists of at most ``most``.

    Example:
        >>> list(batches("abc", 2))
        [['a', 'b'], ['c']]
    """
    left = iter(values)
    while part := list(itertools.islice(left, most)):
        yield part


# Seals


def head_seal(project: str, number: int, seal: str) -> bytes:
    """Return the seal of a row of heads: over the project, and its newest catalog's number and seal."""
    return bytes.fromhex(digest(canonical([project, number, seal], "the head")))


def head_is_whole(project: str, row: HeadRow) -> bool:
    """Say whether a row of heads carries its seal, and its catalog is there."""
    found = row.catalog_seal
    return found is not None and head_seal(project, row.number, found.hex()) == row.seal


def side_seal(project: str, space: str, key: str, version: int, body: bytes) -> bytes:
    """Return the seal of a side value."""
    return bytes.fromhex(digest(canonical([project, space, key, version], "the key"), body))


def sealed_side(project: str, space: str, key: str, version: int, body: bytes) -> SideRow:
    """Return the row of a side value."""
    return SideRow(project, space, key, version, body, side_seal(project, space, key, version, body))


def side_is_whole(row: SideRow) -> bool:
    """Say whether a side value carries its seal."""
    return side_seal(*row[:5]) == row.seal


class CatalogRows:
    """Reads the catalogs of one project at one moment, and checks what it reads.

    Args:
        rows: the rows of that moment.
        project: the project.
        place: where the registry is, for messages.
    """

    def __init__(self, rows: RowReader, project: str, place: str) -> None:
        self._rows = rows
        self._project = project
        self._place = place

    def head(self) -> tuple[int, str]:
        """Return the number and the seal of the newest catalog; 0 and that of the empty one if there is none."""
        row = self._rows.head(self._project)
        if row is None:
            if not self._rows.infos(self._project, last=1):
                return 0, empty_catalog(self._project).seal
            row = self._rows.head(self._project)  # outside of a transaction it may have come between the two questions
        if row is None:
            raise self._corrupt(f"the head of project {self._project!r} is missing")
        if row.catalog_seal is None or not head_is_whole(self._project, row):
            raise self._corrupt(f"the head of project {self._project!r} fails its seal")
        return row.number, row.catalog_seal.hex()

    def info(self, number: int) -> CatalogInfo:
        """Return what is known of one catalog, checked against its seal and its parent's."""
        if number == 0:
            return empty_catalog(self._project).info
        found = self._rows.infos(self._project, number - 1, number)
        infos = [empty_catalog(self._project).info] * (number == 1) + found
        if [info.number for info in infos] != [number - 1, number]:
            raise self._corrupt(f"catalog {number} of project {self._project!r}, or the one before it, is missing")
        return self._sealed(infos[1], infos[0])

    def history(self) -> list[CatalogInfo]:
        """Return all catalogs from 1 on, each checked against its seal and its parent's."""
        infos = [empty_catalog(self._project).info, *self._rows.infos(self._project)]
        if [info.number for info in infos] != list(range(self.head()[0] + 1)):
            raise self._corrupt(f"the history of project {self._project!r} has a gap")
        return [self._sealed(info, parent) for parent, info in itertools.pairwise(infos)]

    def manifest(self, info: CatalogInfo) -> Manifest:
        """Return what a catalog holds, checked against its contents' hash."""
        rows = self._rows.manifest(self._project, info.number)
        manifest = {key: found for key, found in rows if found is not None}
        if manifest_hash(manifest) != info.contents:
            raise self._corrupt(f"the manifest of catalog {info.number} of project {self._project!r} fails its hash")
        return MappingProxyType(dict(sorted(manifest.items())))

    def catalog(self, info: CatalogInfo, known: Mapping[str, bytes] = MappingProxyType({})) -> Catalog:
        """Return a catalog with its definitions, each checked against its hash.

        Args:
            info: the catalog.
            known: texts by hash that were checked before and need not be read.
        """
        manifest = self.manifest(info)
        hashes = dict.fromkeys(manifest.values())
        bodies = {found: known[found] for found in hashes if found in known}
        bodies |= self._rows.bodies([found for found in hashes if found not in bodies])
        for (kind, name), found in manifest.items():
            if found not in known:
                self._vouched(bodies.get(found), found, f"{noun(kind)} {name!r} in catalog {info.number}")
        return Catalog(info, manifest, MappingProxyType(bodies))

    def catalog_at(self, number: int | None, known: Mapping[str, bytes] = MappingProxyType({})) -> Catalog:
        """Return a catalog by its number, the newest for None."""
        head = self.head()[0]
        wanted = head if number is None else number
        if not 0 <= wanted <= head:
            raise no_such_catalog(self._project, wanted, head)
        return self.catalog(self.info(wanted), known)

    def entries(self) -> list[Entry]:
        """Return what each commit did to each definition, checked against the catalogs' delta hashes."""
        entries = self._rows.entries(self._project)
        grouped = {number: list(group) for number, group in itertools.groupby(entries, lambda entry: entry.number)}
        for info in self.history():
            if entries_hash(grouped.pop(info.number, [])) != info.delta:
                what = f"the entries of catalog {info.number} of project {self._project!r}"
                raise self._corrupt(f"{what} fail their hash")
        if grouped:
            raise self._corrupt(f"project {self._project!r} has entries of catalogs that it does not have")
        return entries

    def bodies(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """Return the texts of the definitions in entries, each checked against its hash."""
        stored = {entry.hash: entry for entry in entries if entry.hash is not None}
        found = self._rows.bodies(list(stored))
        return {
            each: self._vouched(found.get(each), each, f"{noun(entry.kind)} {entry.name!r} of catalog {entry.number}")
            for each, entry in stored.items()
        }

    def _vouched(self, body: bytes | None, found: str, what: str) -> bytes:
        if body is None:
            raise self._corrupt(f"the text of {what} of project {self._project!r} is missing")
        if digest(body) != found:
            raise self._corrupt(f"the text of {what} of project {self._project!r} fails its hash")
        return body

    def _sealed(self, info: CatalogInfo, parent: CatalogInfo) -> CatalogInfo:
        if info.parent != parent.number or seal_of(info, parent.seal) != info.seal:
            raise self._corrupt(f"catalog {info.number} of project {self._project!r} fails its seal")
        return info

    def _corrupt(self, what: str) -> RegistryCorrupt:
        return RegistryCorrupt(self._place, what)
