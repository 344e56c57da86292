"""FileRegistry: the embedded registry, one SQLite file that threads and processes share.

A catalog is not stored whole: each commit writes one row for itself and one *entry* for each definition that it
touched, and a definition's text is stored once under its hash. Everything is sealed: definitions by their hash, the
manifest by the catalog's ``contents``, the entries by its ``delta``, and the catalogs by a chain of seals. What is read
is checked, so damage is an error and never an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from likewise.registry.base import (
    Registry,
    RegistryCorrupt,
    SideConflict,
    SideTable,
    SideValue,
    conflict,
    no_such_catalog,
)
from likewise.registry.catalog import (
    Catalog,
    CatalogInfo,
    DefinitionVersion,
    Draft,
    Signature,
    canonical,
    draft,
    empty_catalog,
    entries_between,
    successor,
    versions,
)
from likewise.registry.crash import CrashHook, no_crash
from likewise.registry.database import Database, Stamp
from likewise.registry.rows import (
    SIDES,
    CatalogRows,
    side_is_whole,
    side_seal,
    write_definitions,
    write_entries,
    write_head,
    write_info,
    wrong_rows,
)
from likewise.registry.salvage import restorable

CRASH_POINTS = (
    "registry.create.written",
    "registry.create.placed",
    "registry.commit.begin",
    "registry.commit.locked",
    "registry.commit.definitions",
    "registry.commit.entries",
    "registry.commit.catalog",
    "registry.commit.before_commit",
    "registry.commit.after_commit",
)
"""The moments of a first commit, in order."""


class FileRegistry(Registry):
    """A registry in one SQLite file; it is made, with its folders, by the first commit.

    Args:
        path: the file.
        wait: how long to wait for another writer, in seconds.
        crash: called with the name of each crash point of a write.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with FileRegistry(f"{folder.name}/data/registry.db") as registry:
        ...     first = registry.commit("demo", 0, [{"kind": "entity", "name": "card"}], message="hello", now=1)
        ...     print(registry.head("demo"), [info.message for info in registry.history("demo")])
        1 ['hello']
        >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], *, wait: float = 10.0, crash: CrashHook = no_crash) -> None:
        self.path = Path(path)
        self._crash = crash
        self._database = Database(self.path, wait, wrong_rows, crash)
        self._side = FileSideTable(self)
        self._heads: dict[str, tuple[Stamp | None, int]] = {}
        self._newest: dict[str, Catalog] = {}

    def projects(self) -> list[str]:
        """Return the names of the projects whose newest catalog holds anything, sorted."""
        query = "SELECT project FROM heads JOIN catalogs USING (project, number) WHERE size > 0 ORDER BY project"
        with self.reading() as connection:
            return [project for (project,) in connection.execute(query).fetchall()] if connection else []

    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none: one ``stat`` while the file is unchanged."""
        stamp = self._database.stamp()
        known = self._heads.get(project)
        if known is not None and known[0] == stamp and stamp is not None:
            return known[1]
        settled = stamp is not None and _is_settled(stamp[3])
        with self.reading() as connection:
            number = self._rows(connection, project).head()[0] if connection else 0
        if settled:
            self._heads[project] = stamp, number
        return number

    def catalog(self, project: str, number: int | None = None) -> Catalog:
        """Return a catalog, read and verified in one go; the newest when no number is given."""
        with self.reading() as connection:
            if connection is None:
                return _of_no_file(project, number)
            rows = self._rows(connection, project)
            head, seal = rows.head()
            newest = self._newest.get(project)
            if newest is not None and newest.seal == seal and number in (None, head):
                return newest
            found = rows.catalog_at(number)
        if found.number == head:
            self._newest[project] = found
        return found

    def history(self, project: str) -> list[CatalogInfo]:
        """Return what is known of all catalogs from 1 on, oldest first."""
        with self.reading() as connection:
            return self._rows(connection, project).history() if connection else []

    def definition_versions(self, project: str, kind: str, name: str) -> list[DefinitionVersion]:
        """Return every content that a definition ever had, oldest first."""
        with self.reading() as connection:
            if connection is None:
                return []
            rows = self._rows(connection, project)
            entries = [entry for entry in rows.entries() if (entry.kind, entry.name) == (kind, name)]
            bodies = {entry.hash: rows.body(entry, entry.hash) for entry in entries if entry.hash is not None}
        return versions(entries, bodies)

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
        new = draft(definitions)
        self._crash("registry.commit.begin")
        with self.writing() as connection:
            self._crash("registry.commit.locked")
            rows = self._rows(connection, project)
            head = rows.head()[0]
            if head != expected:
                known = rows.catalog_at(expected) if 0 <= expected < head else None
                raise conflict(known, expected, rows.catalog_at(head))
            made = self._make(connection, rows, new, Signature(now, author, message))
            self._crash("registry.commit.before_commit")
        self._crash("registry.commit.after_commit")
        self._newest[project] = made
        return made

    def _make(self, connection: sqlite3.Connection, rows: CatalogRows, new: Draft, signature: Signature) -> Catalog:
        parent = rows.info(rows.head()[0])
        old = rows.manifest(parent)
        write_definitions(connection, new)
        self._crash("registry.commit.definitions")
        if old == new.manifest:
            return Catalog(parent, new.manifest, new.bodies)
        entries = entries_between(old, new.manifest, parent.number + 1)
        made = successor(parent, new, entries, signature)
        write_entries(connection, parent.project, entries)
        self._crash("registry.commit.entries")
        write_info(connection, made.info)
        write_head(connection, made.info)
        self._crash("registry.commit.catalog")
        return made

    def _rows(self, connection: sqlite3.Connection, project: str) -> CatalogRows:
        return CatalogRows(connection, project, str(self.path))

    @property
    def side(self) -> SideTable:
        """What lies beside the catalogs."""
        return self._side

    def close(self) -> None:
        """Close the file; the registry opens it again when it is used again."""
        self._database.close()
        self._heads.clear()
        self._newest.clear()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection on which every query sees the same moment; None when there is no file yet."""
        with self._telling_what_can_be_restored(), self._database.reading() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that holds the write lock; what is done on it is durable when this ends, or undone."""
        with self._telling_what_can_be_restored(), self._database.writing() as connection:
            yield connection

    @contextlib.contextmanager
    def _telling_what_can_be_restored(self) -> Iterator[None]:
        try:
            yield
        except RegistryCorrupt as error:
            whole = restorable(self.path)
            if not whole:
                raise
            raise RegistryCorrupt(error.path, error.what, restorable=whole) from error


def _is_settled(written: int) -> bool:
    """Say whether a file cannot be written again at what would look like the same time, given its last one in ns."""
    coarse = written % 1_000_000_000 == 0  # a file system that keeps whole seconds, or even ones
    return time.time_ns() - written > (3_000_000_000 if coarse else 50_000_000)


def _of_no_file(project: str, number: int | None) -> Catalog:
    if number:
        raise no_such_catalog(project, number, 0)
    return empty_catalog(project)


class FileSideTable(SideTable):
    """The side table of a :class:`FileRegistry`."""

    def __init__(self, registry: FileRegistry) -> None:
        self._registry = registry

    def get(self, project: str, space: str, key: str) -> SideValue | None:
        """Return a value, or None when there is none."""
        query = f"{SIDES} WHERE project = ? AND space = ? AND key = ?"
        with self._registry.reading() as connection:
            row = connection.execute(query, (project, space, key)).fetchone() if connection else None
            return None if row is None else self._value(row)

    def items(self, project: str, space: str) -> dict[str, SideValue]:
        """Return all values of a space by key."""
        query = f"{SIDES} WHERE project = ? AND space = ? ORDER BY key"
        with self._registry.reading() as connection:
            rows = connection.execute(query, (project, space)).fetchall() if connection else []
            return {row[2]: self._value(row) for row in rows}

    def put(self, project: str, space: str, key: str, value: Any, expected: int | None) -> int:
        """Write a value if it is still at the expected version."""
        body = canonical(value, f"{space} {key!r}")
        with self._registry.writing() as connection:
            _compare(connection, project, space, key, expected)
            connection.execute("UPDATE clock SET version = version + 1 WHERE id = 1")
            (version,) = connection.execute("SELECT version FROM clock WHERE id = 1").fetchone()
            row = (project, space, key, version, body, side_seal(project, space, key, version, body))
            connection.execute("INSERT OR REPLACE INTO sides VALUES (?, ?, ?, ?, ?, ?)", row)
        return int(version)

    def remove(self, project: str, space: str, key: str, expected: int | None) -> None:
        """Remove a value if it is still at the expected version."""
        with self._registry.writing() as connection:
            _compare(connection, project, space, key, expected)
            connection.execute("DELETE FROM sides WHERE project = ? AND space = ? AND key = ?", (project, space, key))

    def _value(self, row: tuple[str, str, str, int, bytes, bytes]) -> SideValue:
        project, space, key, version, body, _ = row
        if not side_is_whole(row):
            raise RegistryCorrupt(str(self._registry.path), f"{space} {key!r} of project {project!r} fails its seal")
        return SideValue(json.loads(body), version)


def _compare(connection: sqlite3.Connection, project: str, space: str, key: str, expected: int | None) -> None:
    query = "SELECT version FROM sides WHERE project = ? AND space = ? AND key = ?"
    row = connection.execute(query, (project, space, key)).fetchone()
    found = row[0] if row else 0
    if expected is not None and expected != found:
        raise SideConflict(space, key, expected, found)


class FileSettings(Protocol):
    """What :func:`open_registry` needs of a configuration."""

    @property
    def path(self) -> str:
        """The file, relative to the repo."""
        ...


def open_registry(config: FileSettings, root: str) -> FileRegistry:
    """Return the registry in the file that a configuration names.

    Args:
        config: has the path.
        root: the repo's folder.
    """
    return FileRegistry(Path(root) / config.path)
