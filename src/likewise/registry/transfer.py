"""Transfer: all that a registry holds as a text, to move it to a registry of another kind, or to keep it.

The text has one JSON object a line: what it is and its format; the definitions by their hash; the catalogs; what each
catalog did to each definition; the values beside them; and at the end how many lines there were, and the hash of all.
It holds data only. Reading it checks every hash, so a text that was cut or changed is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from likewise.core.errors import StoreError, StoreFull
from likewise.registry import leases
from likewise.registry.base import RegistryCorrupt, RegistryTooNew
from likewise.registry.catalog import CatalogInfo, Entry, canonical
from likewise.registry.database import NO_SPACE, sync_folder, temporary_name
from likewise.registry.handover import verify
from likewise.registry.holdings import Holdings, SideItem

FORMAT = 1
"""The newest format this version reads, and the one it writes."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`."""
_ENTRY = tuple[str, int, str, str, str | None]
_BESIDE = tuple[str, str, str, int]


def dump(holdings: Holdings) -> Iterator[str]:
    """Yield the lines of a text, without their ends.

    A lease is written without its holder: only its number, so that fencing goes on where it is taken over.

    Example:
        >>> list(dump(Holdings({}, {}, {}, [])))[0]
        '{"likewise_registry":1,"needs":"0.1.0"}'
    """
    whole, count = hashlib.sha256(), 0
    for line in _lines(holdings):
        whole.update(line.encode() + b"\n")
        count += 1
        yield line
    yield _line({"end": whole.hexdigest(), "lines": count})


def _lines(holdings: Holdings) -> Iterator[str]:
    yield _line({"likewise_registry": FORMAT, "needs": NEEDS})
    for found, body in sorted(holdings.bodies.items()):
        yield _line({"definition": found, "is": json.loads(body)})
    for project, infos in sorted(holdings.histories.items()):
        for info in infos:
            yield _line({"catalog": asdict(info)})
        for entry in holdings.entries[project]:
            yield _line({"entry": [project, entry.number, entry.kind, entry.name, entry.hash]})
    for item in holdings.sides:
        value = json.loads(item.body)
        if item.space == leases.SPACE:
            value = leases.handed_over(value, None)
        yield _line({"beside": [item.project, item.space, item.key, item.version], "is": value})


def _line(value: Mapping[str, Any]) -> str:
    return canonical(dict(value), "the line").decode()


def load(lines: Iterable[str], place: str) -> Holdings:
    """Return what a text holds, every hash checked.

    Args:
        lines: its lines, with or without their ends.
        place: where the text is, for messages.

    Raises:
        RegistryTooNew: a newer version wrote it; the message names the version that reads it.
        RegistryCorrupt: it is no such text, it was cut or changed, or a hash fails.
    """
    reading = _Reading(place)
    for line in lines:
        reading.take(line.rstrip("\r\n"))
    return reading.done()


class _Reading:
    """Takes line after line, and says what they hold."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._whole = hashlib.sha256()
        self._count = 0
        self._ended = False
        self._bodies: dict[str, bytes] = {}
        self._histories: dict[str, list[CatalogInfo]] = {}
        self._entries: dict[str, list[Entry]] = {}
        self._sides: list[SideItem] = []

    def take(self, line: str) -> None:
        if self._ended:
            raise self._wrong("it goes on behind its end")
        try:
            self._take(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
            raise self._wrong(f"line {self._count + 1} is not one of its lines") from error
        self._whole.update(line.encode("utf-8", "surrogatepass") + b"\n")
        self._count += 1

    def _take(self, found: dict[str, Any]) -> None:
        if not self._count:
            self._begin(found)
        elif "definition" in found:
            self._bodies[found["definition"]] = canonical(found["is"])
        elif "catalog" in found:
            info = msgspec.convert(found["catalog"], CatalogInfo)
            self._histories.setdefault(info.project, []).append(info)
            self._entries.setdefault(info.project, [])
        elif "entry" in found:
            project, number, kind, name, content = msgspec.convert(found["entry"], _ENTRY)
            self._entries[project].append(Entry(kind, name, number, content))
        elif "beside" in found:
            project, space, key, version = msgspec.convert(found["beside"], _BESIDE)
            self._sides.append(SideItem(project, space, key, version, canonical(found["is"])))
        else:
            self._end(found["end"], found["lines"])

    def _begin(self, found: dict[str, Any]) -> None:
        if found["likewise_registry"] > FORMAT:
            raise RegistryTooNew(self._place, found["likewise_registry"], FORMAT, str(found["needs"]))

    def _end(self, whole: str, count: int) -> None:
        if (whole, count) != (self._whole.hexdigest(), self._count):
            raise self._wrong(f"it is not what was written: its {self._count} lines fail the hash in the last one")
        self._ended = True

    def done(self) -> Holdings:
        if not self._ended:
            raise self._wrong(f"it is cut off after {self._count} lines")
        held = Holdings(self._histories, self._entries, self._bodies, self._sides)
        verify(held, self._place)
        return held

    def _wrong(self, what: str) -> RegistryCorrupt:
        return RegistryCorrupt(self._place, what, cure="give a file of 'likewise registry export', or export it again")


def write_file(path: Path, holdings: Holdings) -> None:
    """Write the text to a file, which appears whole or not at all.

    Raises:
        StoreFull: no space is left; there is no file, or the one that was there before.
        StoreError: it cannot be written.
    """
    new = temporary_name(path)
    try:
        try:
            with new.open("x", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in dump(holdings))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            sync_folder(path.parent)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StoreFull(f"no space is left to write {str(path)!r}", cure="free some, and try again") from error
        raise StoreError(f"{str(path)!r} cannot be written: {error.strerror}", cure="check the path") from error


def read_file(path: Path) -> Holdings:
    """Return what a file holds, every hash checked.

    Raises:
        StoreError: it cannot be read.
        RegistryTooNew: a newer version wrote it.
        RegistryCorrupt: it is no such text, it was cut or changed, or a hash fails.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return load(file, str(path))
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error.strerror}", cure="check the path") from error
    except UnicodeDecodeError as error:
        raise RegistryCorrupt(str(path), "it is not text", cure="give a file of 'likewise registry export'") from error
