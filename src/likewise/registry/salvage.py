"""Salvage: what of a damaged registry file is whole, and a new file made of it."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.core.errors import NotFound
from likewise.registry.catalog import CatalogInfo, Entry, Key, digest, empty_catalog, entries_hash, seal_of
from likewise.registry.database import DAMAGE, connect, make_file, sync_folder, temporary_name
from likewise.registry.file_rows import ENTRIES, INFOS, SIDES, FileRows, entry_of, info_of
from likewise.registry.rows import SideRow, head_seal, side_is_whole

_INFO_TYPES = ("str", "int", "int", "int", "str", "str", "int", "bytes", "bytes", "bytes")
_ENTRY_TYPES = ("str", "str", "int", "bytes NoneType")
_SIDE_TYPES = ("str", "str", "str", "int", "bytes", "bytes")


@dataclass(frozen=True, slots=True)
class Remains:
    """What of a damaged registry passes its checks."""

    histories: Mapping[str, Sequence[CatalogInfo]]
    """Project to its catalogs from 1 up to the newest one that is whole with all of its definitions."""
    entries: Mapping[str, Sequence[Entry]]
    """Project to the entries of these catalogs, in order."""
    bodies: Mapping[str, bytes]
    """The texts of definitions that pass their hash, by hash."""
    sides: Sequence[SideRow]
    """The rows of the side table that carry their seal."""


def restorable(path: Path) -> dict[str, int]:
    """Return the newest catalog of each project that is whole in a damaged file; empty when there is none."""
    return {project: infos[-1].number for project, infos in remains(path).histories.items()}


def restore(path: str | Path) -> dict[str, int]:
    """Replace a damaged registry by a new one with all that is whole of it; the damaged one is kept beside it.

    No other process may use the file meanwhile.

    Args:
        path: the damaged file; it is kept as ``<name>.damaged``, ``<name>.damaged-2`` and so on.

    Returns:
        Project to the newest catalog that was restored.

    Raises:
        NotFound: nothing of it is whole; nothing was changed.
    """
    damaged = Path(path)
    whole = remains(damaged)
    if not whole.histories:
        raise NotFound(f"nothing can be restored from {str(damaged)!r}", cure="put a backup in its place")
    new = temporary_name(damaged)
    try:
        make_file(new, lambda connection: _write(connection, whole))
        _keep(damaged)
        new.replace(damaged)
        sync_folder(damaged.parent)
    finally:
        new.unlink(missing_ok=True)
    return {project: infos[-1].number for project, infos in whole.histories.items()}


def remains(path: Path) -> Remains:
    """Read all that passes its checks from a registry file, whatever state it is in; the file is not changed."""
    try:
        with contextlib.closing(connect(path, "ro", wait=1.0)) as connection:
            texts = _rows(connection, "SELECT hash, body FROM definitions", "hash", ("bytes", "bytes"))
            bodies = {found.hex(): body for found, body in texts if digest(body) == found.hex()}
            infos = [info_of(row) for row in _rows(connection, INFOS, "project, number", _INFO_TYPES)]
            sides = [SideRow(*row) for row in _rows(connection, SIDES, "project, space, key", _SIDE_TYPES)]
            entries = _rows(connection, ENTRIES, "project", ("str", *_ENTRY_TYPES))
    except (*DAMAGE, OSError):
        return Remains({}, {}, {}, [])
    histories, kept = {}, {}
    for project in sorted({info.project for info in infos}):
        mine = [entry for name, *row in entries if name == project and (entry := entry_of(row)).number > 0]
        chain = _chain(project, [info for info in infos if info.project == project], mine)
        last = _last_whole(chain, mine, bodies)
        if last:
            histories[project] = chain[:last]
            kept[project] = [entry for entry in _in_order(mine) if entry.number <= last]
    return Remains(histories, kept, bodies, [row for row in sides if side_is_whole(row)])


def _rows(connection: sqlite3.Connection, query: str, order: str, types: Sequence[str]) -> list[tuple[Any, ...]]:
    """Read the rows that can be read, from both ends, and drop those whose values are of another type."""
    backwards = ", ".join(f"{column} DESC" for column in order.split(", "))
    ways = (query, f"{query} ORDER BY {order}", f"{query} ORDER BY {backwards}")
    found = dict.fromkeys(itertools.chain.from_iterable(_until_damage(connection, way) for way in ways))
    return [row for row in found if all(type(v).__name__ in t for v, t in zip(row, types, strict=True))]


def _until_damage(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(*DAMAGE):
        yield from connection.execute(query)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.number, entry.kind, entry.name))


def _chain(project: str, infos: Iterable[CatalogInfo], entries: Iterable[Entry]) -> list[CatalogInfo]:
    """Return the catalogs from 1 on as far as their seals and their entries' hashes hold."""
    by_number = {info.number: info for info in infos}
    deltas = {n: entries_hash(group) for n, group in itertools.groupby(_in_order(entries), lambda entry: entry.number)}
    chain = [empty_catalog(project).info]
    for number in itertools.count(1):
        info = by_number.get(number)
        if info is None or seal_of(info, chain[-1].seal) != info.seal or deltas.get(number) != info.delta:
            return chain[1:]
        chain.append(info)
    return []


def _last_whole(chain: Sequence[CatalogInfo], entries: Iterable[Entry], bodies: Container[str]) -> int:
    """Return the number of the newest catalog in a chain all of whose definitions have their texts; 0 if none has."""
    missing: set[Key] = set()
    last = 0
    for number, group in itertools.groupby(_in_order(entries), lambda entry: entry.number):
        if number > len(chain):
            break
        for entry in group:
            lost = entry.hash is not None and entry.hash not in bodies
            (missing.add if lost else missing.discard)((entry.kind, entry.name))
        last = last if missing else number
    return last


def _write(connection: sqlite3.Connection, whole: Remains) -> None:
    rows = FileRows(connection)
    rows.write_definitions(whole.bodies)
    for project, infos in whole.histories.items():
        rows.write_entries(project, whole.entries[project])
        for info in infos:
            rows.write_info(info)
        rows.write_head(project, infos[-1].number, head_seal(project, infos[-1].number, infos[-1].seal))
    for side in whole.sides:
        rows.write_side(side)
    rows.next_version(max((side.version for side in whole.sides), default=0))


def _keep(damaged: Path) -> None:
    for place in itertools.count(1):
        kept = damaged.with_name(f"{damaged.name}.damaged" + (f"-{place}" if place > 1 else ""))
        if not kept.exists():
            shutil.copy2(damaged, kept)
            return
