"""Backup: registry, watermarks and online data as one set of files, and back.

::

    registry.jsonl       what 'likewise registry export' writes, of this project
    online/00000.arrow   the records of one table: keys and records, zstd
    backup.json          what the set holds, with the hash of each file; written last, so a set without it is none

The registry is read first. A watermark never says more than what the online data, which is read after it, holds; what
is older than the watermark says is only materialized again. While a set is made, no materialization runs; reads and
pushes go on. A set is put back online first and registry last, and may be put back again after a run that was killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from likewise.core.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew
from likewise.online.base import OnlineStore, TableMissing
from likewise.registry.base import Registry
from likewise.registry.database import NO_SPACE
from likewise.registry.handover import refuse_other_history
from likewise.registry.transfer import read_file, write_file
from likewise.registry.watermarks import all_watermarks, begin_anew

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""The version of what a set looks like."""
NEEDS = "0.1.0"
"""The version of Likewise that reads it."""
MANIFEST, REGISTRY, ONLINE = "backup.json", "registry.jsonl", "online"
Report = Callable[[str, int], None]
"""Is told a table's name, and how many of its records are done."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a set."""

    file: str
    """Its path in the set's folder."""
    sha256: str
    """The hash of its bytes."""
    table: str = ""
    """The online table that it holds; empty for the registry."""
    records: int = 0
    """How many records."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a set holds."""

    likewise_backup: int
    """The version of its format."""
    needs: str
    """The version of Likewise that reads it."""
    project: str
    """The project."""
    catalog: int
    """The number of the newest catalog."""
    made: str
    """When it was made, ISO 8601."""
    parts: list[Part]
    """Its files."""
    seal: str = ""
    """The hash of all the rest."""

    def sealed(self) -> Manifest:
        """Return it with its seal."""
        rest = msgspec.json.encode(msgspec.structs.replace(self, seal=""))
        return msgspec.structs.replace(self, seal=hashlib.sha256(rest).hexdigest())

    @property
    def records(self) -> int:
        """How many online records it holds."""
        return sum(part.records for part in self.parts)


@dataclass(frozen=True, slots=True)
class BackupKit:
    """What a backup works with."""

    project: str
    """The project."""
    registry: Registry
    """The registry."""
    store: OnlineStore
    """The online store."""
    report: Report
    """Is told how far it has come."""


def back_up(kit: BackupKit, folder: Path, tables: Callable[[], Sequence[str]], made: str) -> Manifest:
    """Write a set.

    Args:
        kit: what to do it with.
        folder: where to; it must be empty, or not there.
        tables: returns the project's tables in the online store; it is asked once the registry was read.
        made: the time, ISO 8601.

    Raises:
        StoreFull: no space is left; nothing of the set is left either.
        StoreError: the folder holds something, or cannot be written.
        TableMissing: somebody applied meanwhile; make it again.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"the folder {str(folder)!r} is not empty", cure="give a new one")
        try:
            return _write_set(kit, folder, tables, made)
        except BaseException:
            _remove_set(folder, is_new)
            raise
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        if error.errno in NO_SPACE:
            what = f"no space is left for the backup in {str(folder)!r}"
            raise StoreFull(what, cure="free some, and try again; nothing of it is left") from error
        raise StoreError(f"{str(folder)!r} cannot be written: {error.strerror}", cure="check the path") from error


def _write_set(kit: BackupKit, folder: Path, tables: Callable[[], Sequence[str]], made: str) -> Manifest:
    held = kit.registry.holdings().of([kit.project])
    write_file(folder / REGISTRY, held)
    (folder / ONLINE).mkdir()
    parts = [Part(file=REGISTRY, sha256=_hash(folder / REGISTRY))]
    for number, table in enumerate(tables()):
        file = f"{ONLINE}/{number:05d}.arrow"
        records = _write_table(kit, table, folder / file)
        parts.append(Part(file=file, sha256=_hash(folder / file), table=table, records=records))
    histories = held.histories.get(kit.project, ())
    manifest = Manifest(
        likewise_backup=FORMAT,
        needs=NEEDS,
        project=kit.project,
        catalog=histories[-1].number if histories else 0,
        made=made,
        parts=parts,
    ).sealed()
    _write_manifest(folder, manifest)
    return manifest


def _remove_set(folder: Path, whole: bool) -> None:
    """Remove what was written of a set that cannot be finished, so that the same folder can be given again."""
    for name in (REGISTRY, f".{MANIFEST}.part", MANIFEST):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / ONLINE, ignore_errors=True)
    if whole:
        shutil.rmtree(folder, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """Return what a set holds, every file of it checked.

    Raises:
        StoreError: there is no set.
        StoreTooNew: a newer version made it.
        StoreCorrupt: a file was changed, or is missing.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        cure = "give the folder of 'likewise backup'; one that was not finished has none"
        raise StoreError(f"there is no {MANIFEST} in {str(folder)!r}", cure=cure) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{folder / MANIFEST} cannot be read: {error}", cure="take another backup") from error
    if manifest.likewise_backup > FORMAT:
        what = f"the backup in {str(folder)!r} has format {manifest.likewise_backup}; this version reads {FORMAT}"
        raise StoreTooNew(what, cure=f"install Likewise >= {manifest.needs}")
    for part in manifest.parts:
        if Path(part.file).is_absolute() or ".." in Path(part.file).parts:
            raise StoreCorrupt(f"{MANIFEST} names the file {part.file!r}, outside of the set", cure="take another one")
        if part.table and not part.table.startswith(f"{manifest.project}/"):
            what = f"{MANIFEST} names the online table {part.table!r}, which is not of project {manifest.project!r}"
            raise StoreCorrupt(what, cure="take another backup")
    if manifest.sealed() != manifest:
        raise StoreCorrupt(f"{folder / MANIFEST} is not as it was written", cure="take another backup")
    for part in manifest.parts:
        path = folder / part.file
        if not path.is_file() or _hash(path) != part.sha256:
            raise StoreCorrupt(f"{path} is missing, or not as it was written", cure="take another backup")
    return manifest


def put_back(kit: BackupKit, folder: Path, manifest: Manifest) -> None:
    """Put a set back: records first, then what recognises the store, then the registry.

    Args:
        kit: what to do it with; its online store has none of the tables, or nothing else in them than the set.
        folder: the set's folder.
        manifest: what it holds, checked.

    Raises:
        StoreError: a table holds other records than the set, or the set is of another project.
        HistoriesDiffer: the registry has another history of the project.
    """
    if manifest.project != kit.project:
        what = f"the backup is of project {manifest.project!r}, and this repo's is {kit.project!r}"
        raise StoreError(what, cure="restore it in a repo of that project")
    held = read_file(folder / REGISTRY).of([kit.project])
    refuse_other_history(kit.registry.holdings().of([kit.project]), held, "the registry")
    for view in all_watermarks(kit.registry.side, kit.project):  # those that the set lacks say of its tables too much
        begin_anew(kit.registry.side, kit.project, view)
    tables = sorted((part for part in manifest.parts if part.table), key=lambda part: part.table.endswith("/.store"))
    kit.store.create([part.table for part in tables])
    for part in tables:
        _read_table(kit, part, folder / part.file)
    kit.registry.take(held)


def _write_table(kit: BackupKit, table: str, path: Path) -> int:
    import pyarrow as pa

    count = 0
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with path.open("xb") as file:
        with pa.ipc.new_stream(file, _schema(), options=options) as writer:
            for keys, records in kit.store.pages(table):
                writer.write_batch(pa.record_batch([keys, records], schema=_schema()))
                count += len(keys)
                kit.report(table, count)
        file.flush()
        os.fsync(file.fileno())
    return count


def _read_table(kit: BackupKit, part: Part, path: Path) -> None:
    import pyarrow as pa

    count = 0
    with pa.ipc.open_stream(path) as reader:
        for batch in reader:
            keys, records = (column.to_pylist() for column in batch.columns)
            lost = kit.store.swap(part.table, keys, [None] * len(keys), records)
            if lost:
                _refuse_others(kit.store, part.table, [keys[at] for at in lost], [records[at] for at in lost])
            count += len(keys)
            kit.report(part.table, count)


def _refuse_others(store: OnlineStore, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> None:
    [stored] = store.read([(table, keys)])
    other = sum(a != b for a, b in zip(records, stored, strict=True))
    if other:
        raise StoreError(
            f"the online table {table!r} holds {other:,} other records than the backup",
            cure="restore into an empty online store: point online_store at a new one, or run 'likewise teardown'",
        )


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("key", pa.binary()), ("record", pa.binary())])


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    part = folder / f".{MANIFEST}.part"
    with part.open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / MANIFEST)
    for each in (folder / ONLINE, folder):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_tables(store: OnlineStore, wanted: Sequence[str]) -> list[str]:
    """Return the tables that are there."""
    found = []
    for table in wanted:
        try:
            store.scan(table, limit=1)
        except TableMissing:
            continue
        found.append(table)
    return found
