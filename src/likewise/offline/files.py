"""Files: which files a source has and in which order, and how one is added.

A location's path names a file, a directory or a glob, looked at in this order:

* a file: that file, whatever characters its name has
* a directory: the files in it, at any depth, whose ending means the location's format; names that start with ``.`` or
  ``_`` are no data
* a glob: the files that match it

Files count in the order of their paths (S2). Rows are added as new Parquet files, never by rewriting one:

* a directory or glob of Parquet files gets a file that it matches, named after the file that is last by now and the
  time: ``part-9.parquet`` is followed by ``part-9~01700000000000000-000000-5f3a9c1e.parquet``, so path order is the
  order of arrival, and whoever else reads the path sees the new rows
* a single file, and any source of CSV or JSON lines, gets one in the folder beside it that is called as the path and
  ``.appended``; these count after all others
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import itertools
import os
import re
import secrets
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from likewise.core.errors import SourceError, SourceMissing
from likewise.core.names import near_misses
from likewise.define.source import FORMATS
from likewise.offline.base import Removed
from likewise.offline.disk import room_for, sync_folder
from likewise.plan.scan import Location

_COUNTER = itertools.count()
_STAMPED = re.compile(r"(?P<base>.*)~(?P<micros>\d{17})-\d+-(?:[0-9a-f]{8}){1,4}", re.DOTALL)


def files_of(location: Location) -> list[tuple[str, str]]:
    """Return path and format of each of a source's files, in order.

    Raises:
        SourceMissing: there are none.
    """
    if location.files is not None:
        return list(location.files)
    found = [(path, location.format) for path in _own_files(location)]
    added = Path(beside(location))
    if added.is_dir():
        found += [(path, "parquet") for path in _data_below(added, "parquet")]
    if not found:
        raise SourceMissing(
            f"the source {location.shown or location.path!r} has no {location.format} file; looked for {location.path}",
            cure=_nearby(location),
        )
    return found


def fingerprint(location: Location) -> tuple[tuple[str, int, int, int], ...]:
    """Return each of a source's files with its stamp: what is different once the source is.

    Raises:
        SourceMissing: there are none.
    """
    return tuple((path, *file_stamp(path)) for path, _ in files_of(location))


def file_stamp(path: str) -> tuple[int, int, int]:
    """Return inode, size and time of change of a file: what is different once it was written anew."""
    stat = Path(path).stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def add_file(location: Location, rows: pa.Table, token: bytes | None = None) -> str:
    """Add rows to a source as one new Parquet file, and return its path; it appears whole or not at all.

    Args:
        location: where the source lies.
        rows: the rows.
        token: names them: if rows of this name were added before, nothing is. None for no name.

    Raises:
        SourceError: no new file can match the glob, or the folder cannot be written.
        StoreFull: the disk is full.
    """
    mark = secrets.token_hex(4) if token is None else hashlib.blake2b(token, digest_size=16).hexdigest()
    target = _new_path(location, mark)
    if token is not None:
        for path in [*_own_files(location), *_data_below(Path(beside(location)), "parquet")]:
            if Path(path).stem.endswith(f"-{mark}"):
                return path
    try:
        with room_for(f"{rows.num_rows:,} rows in {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(rows, target)
    except OSError as error:
        raise SourceError(f"{target} cannot be written: {error}", cure="see to the folder and its rights") from error
    return str(target)


def remove_rows(location: Location, keys: Mapping[str, pa.Scalar]) -> Removed:
    """Remove the rows of a key from the files that were added to a source; no other file is touched.

    A file that holds such rows is written anew without them, and stands whole in its place; it stays even without a
    row, so that a push of its token still adds nothing.

    Args:
        location: where the source lies; nobody may add to it meanwhile (:mod:`likewise.offline.source_lock`).
        keys: column of the files to the value it must have; all of them.

    Raises:
        SourceError: a file cannot be read or written.
        StoreFull: the disk is full; files stand as they were, or without the rows.
    """
    removed, rewritten, left = 0, [], {}
    for path, form in files_of(location):
        if form != "parquet" or _STAMPED.fullmatch(Path(path).stem) is None:
            if found := rows_of_key(path, form, keys):
                left[path] = found
        elif found := remove_from_file(path, keys):
            removed += found
            rewritten.append(path)
    return Removed(removed, tuple(rewritten), left)


def remove_from_file(path: str, keys: Mapping[str, pa.Scalar]) -> int:
    """Remove the rows of a key from a Parquet file, which is written anew if it has any; return how many they were.

    Args:
        path: the file.
        keys: column of the file to the value it must have; all of them.

    Raises:
        SourceError: it cannot be read or written.
        StoreFull: the disk is full; the file stands as it was.
    """
    found = rows_of_key(path, "parquet", keys)
    if found:
        _keep_others(Path(path), keys)
    return found


def rows_of_key(path: str, form: str, keys: Mapping[str, pa.Scalar]) -> int:
    """Return how many rows of a key a file of a format holds.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        opened = ds.dataset(path, format="json" if form == "jsonl" else form)
        condition = _is_key(opened.schema, keys)
        return 0 if condition is None else int(opened.count_rows(filter=condition))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}", cure="restore the file, or take it away") from error


def _is_key(schema: pa.Schema, keys: Mapping[str, pa.Scalar]) -> pc.Expression | None:
    """Return what is true of the rows of a key; None where no row can be: a column is missing, or of another kind."""
    condition: pc.Expression | None = None
    for name, value in keys.items():
        if name not in schema.names:
            return None
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        try:
            equal = pc.field(name).cast(kind) == value.cast(kind)
        except pa.ArrowException:
            return None
        condition = equal if condition is None else condition & equal
    return condition


def _keep_others(path: Path, keys: Mapping[str, pa.Scalar]) -> None:
    rows = pq.ParquetFile(path).read()  # not as a part of a folder, whose name would add columns
    condition = _is_key(rows.schema, keys)
    assert condition is not None
    others = rows.filter(~condition | condition.is_null()).replace_schema_metadata(rows.schema.metadata)
    try:
        with room_for(f"{others.num_rows:,} rows in {path}"):
            _write(others, path)
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error}", cure="see to the folder and its rights") from error


def _own_files(location: Location) -> list[str]:
    path = Path(location.path)
    if path.is_file():
        return [location.path]
    if path.is_dir():
        return _data_below(path, location.format)
    matches = glob.glob(location.path, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
    return sorted(file for file in matches if Path(file).is_file())


def _data_below(folder: Path, form: str) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if _is_data(file.relative_to(folder), form))


def _is_data(path: Path, form: str) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.parts)
    return not hidden and FORMATS.get(path.suffix[1:].lower()) == form


def beside(location: Location) -> str:
    """Return the folder of the rows that were added to what is no directory or glob of Parquet files."""
    folder, name = os.path.split(location.path.rstrip("/"))
    plain = name if Path(location.path).exists() else re.sub(r"[*?\[\]]", lambda m: urllib.parse.quote(m[0]), name)
    return str(Path(_fixed(folder)) / f"{plain}.appended")


def _fixed(folder: str) -> str:
    """Return a folder up to its first part that has a wildcard."""
    path = Path(folder)
    for part in [path, *path.parents]:
        if not glob.has_magic(str(part)) or part.exists():
            return str(part)
    return folder


def _new_path(location: Location, mark: str) -> Path:
    path = Path(location.path)
    is_glob = glob.has_magic(location.path) and not path.exists()
    one_file = not is_glob and not path.is_dir() and (path.is_file() or path.suffix[1:].lower() in FORMATS)
    if location.format != "parquet" or one_file:
        folder = Path(beside(location))
        return _after(sorted(_data_below(folder, "parquet")), folder / "rows.parquet", mark)
    first = Path(re.sub(r"\[[^]]*\]|[*?]", "rows", location.path)) if is_glob else path / "rows.parquet"
    found = _after(_own_files(location), first, mark)
    if is_glob and not _matches(found, location.path):
        raise SourceError(
            f"the name of a new file, such as {found.name!r}, cannot match {location.shown or location.path!r}",
            cure="use a glob such as 'folder/*.parquet'",
        )
    return found


def _matches(path: Path, pattern: str) -> bool:
    parts, wanted = path.parts, Path(pattern).parts
    if "**" in wanted:
        return fnmatch.fnmatchcase(parts[-1], wanted[-1])
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _after(files: list[str], first: Path, mark: str) -> Path:
    """Return a new path that sorts after all files; the clock says which, unless it was set back."""
    last = Path(files[-1]) if files else first
    stamped = _STAMPED.fullmatch(last.stem)
    base = stamped["base"] if stamped else last.stem
    earliest = int(stamped["micros"]) + 1 if stamped else 0
    micros = max(time.time_ns() // 1000, earliest)
    return last.with_name(f"{base}~{micros:017}-{next(_COUNTER):06}-{mark}{last.suffix}")


def _write(rows: pa.Table, target: Path) -> None:
    """Write a file under a name that no reader takes for data, and rename it once it is on the disk."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("wb") as file:
            pq.write_table(rows, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)


def _nearby(location: Location) -> str:
    """Offer names that look like the missing one, or say which folder is not there."""
    path = Path(location.path)
    folder = next(parent for parent in path.parents if parent.is_dir())
    if folder != path.parent:
        missing = folder / path.relative_to(folder).parts[0]
        return f"there is no folder {str(missing)!r}; make the files, or mend the path"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return near_misses(path.name, names) if names else "the folder is empty; make the files, or mend the path"
