"""Rows: how catalogs lie in the tables of a registry file, and the check of each row that is read."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

from likewise.registry.base import RegistryCorrupt, no_such_catalog
from likewise.registry.catalog import (
    Catalog,
    CatalogInfo,
    Draft,
    Entry,
    Manifest,
    canonical,
    digest,
    empty_catalog,
    entries_hash,
    manifest_hash,
    noun,
    seal_of,
)

INFOS = "SELECT project, number, parent, created, author, message, size, contents, delta, seal FROM catalogs"
"""Reads rows for :func:`info_of`."""
ENTRIES = "SELECT kind, name, number, hash FROM entries WHERE project = ? ORDER BY number, kind, name"
"""Reads rows for :func:`entry_of`: all entries of a project, in the order of its history."""
SIDES = "SELECT project, space, key, version, value, seal FROM sides"
"""Reads rows for :func:`side_is_whole`."""
_MANIFEST = """
    SELECT kind, name, hash, max(number) FROM entries WHERE project = ? AND number <= ? GROUP BY kind, name
"""  # SQLite takes hash from the row that has the max
_BODIES = f"SELECT definitions.hash, body FROM ({_MANIFEST}) AS newest JOIN definitions USING (hash)"


def info_of(row: Sequence[Any]) -> CatalogInfo:
    """Return what a row of ``catalogs`` says, unchecked."""
    project, number, parent, created, author, message, size, contents, delta, seal = row
    hashes = (contents.hex(), delta.hex(), seal.hex())
    return CatalogInfo(project, number, parent, created, author, message, size, *hashes)


def entry_of(row: Sequence[Any]) -> Entry:
    """Return what a row of ``entries`` says, unchecked."""
    kind, name, number, found = row
    return Entry(kind, name, number, None if found is None else found.hex())


def head_seal(project: str, number: int, seal: str) -> bytes:
    """Return the seal of a row of ``heads``: over the project, and its newest catalog's number and seal."""
    return bytes.fromhex(digest(canonical([project, number, seal], "the head")))


def side_seal(project: str, space: str, key: str, version: int, body: bytes) -> bytes:
    """Return the seal of a row of ``sides``."""
    return bytes.fromhex(digest(canonical([project, space, key, version], "the key"), body))


def side_is_whole(row: Sequence[Any]) -> bool:
    """Say whether a row of ``sides`` carries its seal."""
    project, space, key, version, body, seal = row
    return bool(side_seal(project, space, key, version, body) == seal)


def wrong_rows(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the rows that nothing else vouches for: heads and sides; empty when nothing is."""
    heads = connection.execute(
        "SELECT h.project, h.number, h.seal, c.seal FROM heads AS h LEFT JOIN catalogs AS c USING (project, number)"
    )
    for project, number, seal, catalog_seal in heads.fetchall():
        if catalog_seal is None or head_seal(project, number, catalog_seal.hex()) != seal:
            return f"the head of project {project!r} fails its seal"
    newest = 0
    for row in connection.execute(SIDES).fetchall():
        newest = max(newest, row[3])
        if not side_is_whole(row):
            return f"{row[1]} {row[2]!r} of project {row[0]!r} fails its seal"
    clock = connection.execute("SELECT version FROM clock WHERE id = 1").fetchone()
    return "" if clock is not None and clock[0] >= newest else "its side table's clock is behind its values"


class CatalogRows:
    """Reads the catalogs of one project at one moment, and checks what it reads.

    Args:
        connection: inside a transaction.
        project: the project.
        path: the file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, project: str, path: str) -> None:
        self._connection = connection
        self._project = project
        self._path = path

    def head(self) -> tuple[int, str]:
        """Return the number and the seal of the newest catalog; 0 and that of the empty one if there is none."""
        row = self._connection.execute(
            "SELECT h.number, h.seal, c.seal FROM heads AS h LEFT JOIN catalogs AS c USING (project, number)"
            " WHERE h.project = ?",
            (self._project,),
        ).fetchone()
        if row is None:
            return 0, empty_catalog(self._project).seal
        number, seal, catalog_seal = row
        if catalog_seal is None or head_seal(self._project, number, catalog_seal.hex()) != seal:
            raise self._corrupt(f"the head of project {self._project!r} fails its seal")
        return int(number), str(catalog_seal.hex())

    def info(self, number: int) -> CatalogInfo:
        """Return what is known of one catalog, checked against its seal and its parent's."""
        query = f"{INFOS} WHERE project = ? AND number IN (?, ?) ORDER BY number"
        rows = self._connection.execute(query, (self._project, number - 1, number)).fetchall()
        infos = [empty_catalog(self._project).info] * (number <= 1) + [info_of(row) for row in rows]
        if number == 0:
            return infos[0]
        if [info.number for info in infos] != [number - 1, number]:
            raise self._corrupt(f"catalog {number} of project {self._project!r}, or the one before it, is missing")
        return self._sealed(infos[1], infos[0])

    def history(self) -> list[CatalogInfo]:
        """Return all catalogs from 1 on, each checked against its seal and its parent's."""
        rows = self._connection.execute(f"{INFOS} WHERE project = ? ORDER BY number", (self._project,)).fetchall()
        infos = [empty_catalog(self._project).info, *map(info_of, rows)]
        if [info.number for info in infos] != list(range(self.head()[0] + 1)):
            raise self._corrupt(f"the history of project {self._project!r} has a gap")
        return [self._sealed(info, parent) for parent, info in itertools.pairwise(infos)]

    def manifest(self, info: CatalogInfo) -> Manifest:
        """Return what a catalog holds, checked against its contents' hash."""
        rows = self._connection.execute(_MANIFEST, (self._project, info.number)).fetchall()
        manifest = {(kind, name): found.hex() for kind, name, found, _ in rows if found is not None}
        if manifest_hash(manifest) != info.contents:
            raise self._corrupt(f"the manifest of catalog {info.number} of project {self._project!r} fails its hash")
        return MappingProxyType(dict(sorted(manifest.items())))

    def catalog(self, info: CatalogInfo) -> Catalog:
        """Return a catalog with its definitions, each checked against its hash."""
        manifest = self.manifest(info)
        rows = self._connection.execute(_BODIES, (self._project, info.number)).fetchall()
        bodies = {found.hex(): body for found, body in rows}
        for (kind, name), found in manifest.items():
            self._vouched(bodies.get(found), found, f"{noun(kind)} {name!r} in catalog {info.number}")
        return Catalog(info, manifest, MappingProxyType(bodies))

    def catalog_at(self, number: int | None) -> Catalog:
        """Return a catalog by its number, the newest for None."""
        head = self.head()[0]
        wanted = head if number is None else number
        if not 0 <= wanted <= head:
            raise no_such_catalog(self._project, wanted, head)
        return self.catalog(self.info(wanted))

    def entries(self) -> list[Entry]:
        """Return what each commit did to each definition, checked against the catalogs' delta hashes."""
        entries = [entry_of(row) for row in self._connection.execute(ENTRIES, (self._project,)).fetchall()]
        grouped = {number: list(group) for number, group in itertools.groupby(entries, lambda entry: entry.number)}
        for info in self.history():
            if entries_hash(grouped.pop(info.number, [])) != info.delta:
                what = f"the entries of catalog {info.number} of project {self._project!r}"
                raise self._corrupt(f"{what} fail their hash")
        if grouped:
            raise self._corrupt(f"project {self._project!r} has entries of catalogs that it does not have")
        return entries

    def body(self, entry: Entry, found: str) -> bytes:
        """Return the text of a definition, checked against its hash."""
        query = "SELECT body FROM definitions WHERE hash = ?"
        row = self._connection.execute(query, (bytes.fromhex(found),)).fetchone()
        body = row[0] if row else None
        return self._vouched(body, found, f"{noun(entry.kind)} {entry.name!r} of catalog {entry.number}")

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
        return RegistryCorrupt(self._path, what)


def write_definitions(connection: sqlite3.Connection, new: Draft) -> None:
    """Store the texts of definitions; one that is stored already is left, or healed if it was damaged."""
    connection.executemany(
        "INSERT INTO definitions VALUES (?, ?)"
        " ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE body IS NOT excluded.body",
        ((bytes.fromhex(found), body) for found, body in new.bodies.items()),
    )


def write_entries(connection: sqlite3.Connection, project: str, entries: Iterable[Entry]) -> None:
    """Store what a commit did to each definition."""
    connection.executemany(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
        ((project, e.kind, e.name, e.number, None if e.hash is None else bytes.fromhex(e.hash)) for e in entries),
    )


def write_info(connection: sqlite3.Connection, info: CatalogInfo) -> None:
    """Store a catalog's own row."""
    hashes = (bytes.fromhex(info.contents), bytes.fromhex(info.delta), bytes.fromhex(info.seal))
    facts = (info.project, info.number, info.parent, info.created, info.author, info.message, info.size)
    connection.execute("INSERT INTO catalogs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*facts, *hashes))


def write_head(connection: sqlite3.Connection, info: CatalogInfo) -> None:
    """Make a catalog the newest of its project."""
    seal = head_seal(info.project, info.number, info.seal)
    connection.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (info.project, info.number, seal))
