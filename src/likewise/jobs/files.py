"""Files: Parquet files that appear whole or not at all (temp, fsync, rename, fsync of the folder)."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.core.errors import InvalidType, RequestError, StoreFull
from likewise.define.storage import SavedDatasetFileStorage

if TYPE_CHECKING:
    import pyarrow as pa


def write_parquet(batches: pa.RecordBatchReader, storage: object, allow_overwrite: bool, root: str = "") -> Path:
    """Write a stream of batches to one Parquet file.

    Args:
        batches: the rows.
        storage: a path, or a ``SavedDatasetFileStorage``.
        allow_overwrite: whether a file that is there is replaced.
        root: the folder that a relative path starts from; empty: the working folder.

    Raises:
        RequestError: the file is there, and may not be replaced.
        StoreFull: the disk is full; what was there before is untouched.
    """
    path = Path(root) / storage_path(storage)
    if path.exists() and not allow_overwrite:
        raise RequestError(f"{path} is there already", cure="give another path, or allow_overwrite=True")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        _write(batches, part)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull(f"no space is left to write {path}", cure="free some, and try again") from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return path


def storage_path(storage: object) -> str:
    """Return the path of a storage.

    Raises:
        InvalidType: it is neither a path nor a ``SavedDatasetFileStorage``.
    """
    if isinstance(storage, SavedDatasetFileStorage):
        return storage.path
    if isinstance(storage, str | os.PathLike):
        return os.fspath(storage)
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
