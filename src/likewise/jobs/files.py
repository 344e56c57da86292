"""Files: Parquet files that appear whole or not at all (temp, fsync, rename, fsync of the folder)."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.core.errors import InvalidType, LikewiseError, RequestError, SourceUnreadable, StoreFull
from likewise.define.source import CsvFormat, JsonLinesFormat
from likewise.define.storage import SavedDatasetFileStorage

if TYPE_CHECKING:
    import pyarrow as pa

OTHER_FORMATS = frozenset(
    f".{ending}"
    for ending in (
        *("csv", "tsv", "txt", "json", "jsonl", "ndjson", "xls", "xlsx", "gz", "zip"),
        *("arrow", "avro", "feather", "h5", "hdf5", "ipc", "orc", "pickle", "pkl"),
    )
)
"""Endings that promise something else than Parquet."""


_NOTE = b"likewise.note"


def noted(rows: pa.Table, note: str) -> pa.Table:
    """Return rows whose file will say something beside them.

    Args:
        rows: the rows.
        note: what; empty for nothing.
    """
    return rows.replace_schema_metadata({_NOTE: note}) if note else rows


def note_of(path: str) -> str:
    """Return what a file says beside its rows; empty where it says nothing.

    Raises:
        SourceUnreadable: it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        what = f"{path} cannot be read as parquet: {error}"
        raise SourceUnreadable(what, cure="restore the file, or take it away") from error
    note: bytes = said.get(_NOTE, b"")
    return note.decode()


def write_parquet(batches: pa.RecordBatchReader, storage: object, allow_overwrite: bool, root: str = "") -> Path:
    """Write a stream of batches to one Parquet file.

    Args:
        batches: the rows.
        storage: a path, or a ``SavedDatasetFileStorage``.
        allow_overwrite: whether a file that is there is replaced.
        root: the folder that a relative path starts from; empty: the working folder.

    Raises:
        RequestError: the file is there and may not be replaced, cannot be written, or has another format's ending.
        StoreFull: the disk is full; what was there before is untouched.
    """
    path = _free_path(Path(root) / storage_path(storage), allow_overwrite)
    part = path.with_name(f".{uuid.uuid4().hex}.part")  # of its own, for the path's name may be as long as it can be
    try:
        _write(batches, part)
        part.replace(path)
        _sync_folder(path.parent)
    except LikewiseError:  # of the rows, some of which are OSErrors as well
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull(f"no space is left to write {path}", cure="free some, and try again") from error
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def _free_path(path: Path, allow_overwrite: bool) -> Path:
    """Return the path, with its folder made."""
    if "\0" in str(path):
        raise RequestError(f"the path {str(path)!r} holds a NUL character", cure="give the path of a file")
    if path.suffix.lower() in OTHER_FORMATS:
        raise RequestError(
            f"{path} would hold Parquet, which is all that is written, under the ending {path.suffix!r}",
            cure="give a path that ends in .parquet; for another format, write what to_df() returns",
        )
    try:
        there = path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    if path.is_dir():
        raise RequestError(f"{path} is a folder", cure="give the path of a file, such as train.parquet")
    if there and not allow_overwrite:
        raise RequestError(f"{path} is there already", cure="give another path, or allow_overwrite=True")
    return path


def _unwritable(path: Path, error: OSError) -> RequestError:
    why = error.strerror or str(error)
    is_long = error.errno == errno.ENAMETOOLONG
    cure = "give a shorter path" if is_long else "give a path in a folder that you may write to"
    return RequestError(f"{path} cannot be written: {why}", cure=cure)


def storage_path(storage: object) -> str:
    """Return the path of a storage.

    Raises:
        InvalidType: it is neither a path nor a ``SavedDatasetFileStorage``.
        RequestError: it asks for another format than Parquet.
    """
    if isinstance(storage, SavedDatasetFileStorage):
        if isinstance(storage.file_format, CsvFormat | JsonLinesFormat):
            what = f"file_format={type(storage.file_format).__name__}() is not written, only Parquet is"
            raise RequestError(what, cure="leave file_format out; for another format, write what to_df() returns")
        return storage_path(storage.path)
    if isinstance(storage, str | os.PathLike):
        return str(os.fspath(storage))
    raise InvalidType(f"{storage!r} is no storage", cure="give a path, or SavedDatasetFileStorage(path='…')")


def _write(batches: pa.RecordBatchReader, part: Path) -> None:
    import pyarrow.parquet as pq

    with part.open("wb") as file:
        with pq.ParquetWriter(file, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
