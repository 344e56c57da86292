"""FileRows: the rows of a registry in its SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from likewise.registry.catalog import CatalogInfo, Entry, Key
from likewise.registry.rows import HeadRow, RowWriter, SideRow, batches, head_is_whole, side_is_whole

INFOS = "SELECT project, number, parent, created, author, message, size, contents, delta, seal FROM catalogs"
"""Reads rows for :func:`info_of`."""
ENTRIES = "SELECT project, kind, name, number, hash FROM entries"
"""Reads rows for :func:`entry_of`, after the project."""
SIDES = "SELECT project, space, key, version, value, seal FROM sides"
"""Reads rows for :class:`~likewise.registry.rows.SideRow`."""
_HEADS = """
    SELECT h.project, h.number, h.seal, c.seal, coalesce(c.size, 0)
    FROM heads AS h LEFT JOIN catalogs AS c USING (project, number)
"""
_MANIFEST = """
    SELECT kind, name, hash, max(number) FROM entries WHERE project = ? AND number <= ? GROUP BY kind, name
"""  # SQLite takes hash from the row that has the max
_MOST = 500
"""How many values stand in one list; SQLite may refuse more than 999."""


def info_of(row: Sequence[Any]) -> CatalogInfo:
    """Return what a row of ``catalogs`` says, unchecked."""
    project, number, parent, created, author, message, size, contents, delta, seal = row
    hashes = (contents.hex(), delta.hex(), seal.hex())
    return CatalogInfo(project, number, parent, created, author, message, size, *hashes)


def entry_of(row: Sequence[Any]) -> Entry:
    """Return what a row of ``entries`` says, unchecked."""
    kind, name, number, found = row
    return Entry(kind, name, number, None if found is None else found.hex())


def wrong_rows(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the rows that nothing else vouches for: heads and sides; empty when nothing is."""
    rows = FileRows(connection)
    for project, head in rows.heads().items():
        if not head_is_whole(project, head):
            return f"the head of project {project!r} fails its seal"
    newest = 0
    for row in rows.sides():
        newest = max(newest, row.version)
        if not side_is_whole(row):
            return f"{row.space} {row.key!r} of project {row.project!r} fails its seal"
    clock = connection.execute("SELECT version FROM clock WHERE id = 1").fetchone()
    return "" if clock is not None and clock[0] >= newest else "its side table's clock is behind its values"


class FileRows(RowWriter):
    """The rows of a registry in its SQLite file.

    Args:
        connection: inside a transaction; to write, one that holds the write lock.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def heads(self) -> dict[str, HeadRow]:
        """Return the newest catalog of every project."""
        rows = self._connection.execute(_HEADS).fetchall()
        return {project: HeadRow(*row) for project, *row in rows}

    def head(self, project: str) -> HeadRow | None:
        """Return the newest catalog of a project; None when there is none."""
        row = self._connection.execute(f"{_HEADS} WHERE h.project = ?", (project,)).fetchone()
        return None if row is None else HeadRow(*row[1:])

    def infos(self, project: str, first: int = 1, last: int | None = None) -> list[CatalogInfo]:
        """Return the rows of catalogs by number."""
        query = f"{INFOS} WHERE project = ? AND number BETWEEN ? AND ? ORDER BY number"
        highest = (1 << 63) - 1
        rows = self._connection.execute(query, (project, max(first, 1), highest if last is None else last)).fetchall()
        return [info_of(row) for row in rows]

    def entries(self, project: str) -> list[Entry]:
        """Return all entries, sorted by number, kind and name."""
        rows = self._connection.execute(f"{ENTRIES} WHERE project = ? ORDER BY number, kind, name", (project,))
        return [entry_of(row[1:]) for row in rows.fetchall()]

    def manifest(self, project: str, number: int) -> Iterable[tuple[Key, str | None]]:
        """Return the last entry of each definition up to a catalog."""
        for kind, name, found, _ in self._connection.execute(_MANIFEST, (project, number)).fetchall():
            yield (kind, name), None if found is None else found.hex()

    def bodies(self, hashes: Collection[str]) -> dict[str, bytes]:
        """Return the texts of definitions by hash, as far as they are there."""
        found: dict[str, bytes] = {}
        for part in batches(hashes, _MOST):
            marks = ", ".join("?" * len(part))
            query = f"SELECT hash, body FROM definitions WHERE hash IN ({marks})"
            rows = self._connection.execute(query, [bytes.fromhex(each) for each in part]).fetchall()
            found |= {each.hex(): body for each, body in rows}
        return found

    def sides(self, project: str | None = None, space: str | None = None, key: str | None = None) -> list[SideRow]:
        """Return the side values of a project, space and key."""
        wanted = {"project": project, "space": space, "key": key}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given)
        query = f"{SIDES}{f' WHERE {where}' if where else ''} ORDER BY project, space, key"
        return [SideRow(*row) for row in self._connection.execute(query, list(given.values())).fetchall()]

    def write_definitions(self, bodies: Mapping[str, bytes]) -> None:
        """Store texts by hash; one that is stored already is left, or healed if it was damaged."""
        self._connection.executemany(
            "INSERT INTO definitions VALUES (?, ?)"
            " ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE body IS NOT excluded.body",
            ((bytes.fromhex(found), body) for found, body in bodies.items()),
        )

    def write_entries(self, project: str, entries: Iterable[Entry]) -> None:
        """Store what commits did to definitions."""
        self._connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            ((project, e.kind, e.name, e.number, None if e.hash is None else bytes.fromhex(e.hash)) for e in entries),
        )

    def write_info(self, info: CatalogInfo) -> None:
        """Store a catalog's own row."""
        hashes = (bytes.fromhex(info.contents), bytes.fromhex(info.delta), bytes.fromhex(info.seal))
        facts = (info.project, info.number, info.parent, info.created, info.author, info.message, info.size)
        self._connection.execute("INSERT INTO catalogs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*facts, *hashes))

    def write_head(self, project: str, number: int, seal: bytes) -> None:
        """Make a catalog the newest of its project."""
        self._connection.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (project, number, seal))

    def next_version(self, at_least: int = 0) -> int:
        """Return a version that no side value ever had."""
        self._connection.execute("UPDATE clock SET version = max(version + 1, ?) WHERE id = 1", (at_least,))
        (version,) = self._connection.execute("SELECT version FROM clock WHERE id = 1").fetchone()
        return int(version)

    def write_side(self, row: SideRow) -> None:
        """Store a side value."""
        self._connection.execute("INSERT OR REPLACE INTO sides VALUES (?, ?, ?, ?, ?, ?)", row)

    def remove_side(self, project: str, space: str, key: str) -> None:
        """Remove a side value, if it is there."""
        where = "project = ? AND space = ? AND key = ?"
        self._connection.execute(f"DELETE FROM sides WHERE {where}", (project, space, key))
