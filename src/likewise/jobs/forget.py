"""Forget: takes an entity out of the online store, of windows' states, and of the files that the store owns.

The files come first: then each key is marked as deleted online, with the time of now, so that no materialization that
read the files before can bring it back. A file is owned when a push or a write added it; others belong to whoever made
them, and are told with how many rows of the entity they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.core.errors import RequestError, SourceError, SourceMissing
from likewise.core.keys import KeyCodec, coerce
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, arrow_type
from likewise.define.projection import Projection
from likewise.define.source import FileSource
from likewise.define.view import FeatureView
from likewise.jobs.backfill import FIRST_KEY
from likewise.jobs.write import delete_former, delete_online, offline_location
from likewise.offline.base import OfflineEngine, Removed, Span
from likewise.offline.files import remove_from_file, rows_of_key
from likewise.online.base import OnlineStore, TableMissing
from likewise.plan.former import Former
from likewise.plan.lookup import table_name
from likewise.plan.scan import scan_of, sorted_keys

if TYPE_CHECKING:
    import pyarrow as pa

_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class ForgetKit:
    """What forgetting works with."""

    project: str
    """The project."""
    root: str
    """The repo's folder."""
    engine: OfflineEngine
    """Removes rows from files."""
    store: OnlineStore
    """Is deleted from."""
    now: int
    """The time of the deletion, in microseconds since the epoch."""


@dataclass(slots=True)
class Forgotten:
    """What was forgotten of one view."""

    view: str
    """The view."""
    online: int = 0
    """How many keys are marked as deleted online."""
    rows: int = 0
    """How many rows were removed from files that the store owns."""
    files: tuple[str, ...] = ()
    """The files that were written anew without them."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Files that are not changed, with how many rows of the entity each holds: remove them there."""
    unknown: str = ""
    """The source of which nobody knows whether it holds the entity, as a function makes the key's columns; else
    empty."""

    def __str__(self) -> str:
        left = "".join(f"; {path} still has {rows:,}" for path, rows in self.left.items())
        unknown = f"; nobody knows about {self.unknown}" if self.unknown else ""
        return f"{self.view}: {self.online:,} keys online, {self.rows:,} rows in {len(self.files)} files{left}{unknown}"


def forget_served(folder: Path, keys: Sequence[Mapping[str, tuple[Any, FeatureType]]]) -> Forgotten:
    """Take an entity out of a log of served features.

    Args:
        folder: the log's folder.
        keys: column to value and type, for each way in which the log may call the entity (:func:`called`).
    """
    rows = {
        str(file): sum(_forget_logged(file, key) for key in keys if file.exists())
        for file in sorted(folder.rglob("*.parquet"))
    }
    files = tuple(file for file, count in rows.items() if count)
    return Forgotten(f"served features in {folder}", 0, sum(rows.values()), files)


def _forget_logged(file: Path, key: Mapping[str, tuple[Any, FeatureType]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from likewise.jobs.served import in_folders

    try:
        opened = pq.read_metadata(file)
        folders = in_folders(pq.read_schema(file))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} cannot be read: {error}", cure="restore the file, or take it away") from error
    if any(folders[name].as_py() != value for name, (value, _) in key.items() if name in folders):
        return 0
    left = {name: pa.scalar(value, arrow_type(kind)) for name, (value, kind) in key.items() if name not in folders}
    if left:
        return remove_from_file(str(file), left)
    file.unlink()
    with suppress(OSError):  # others are in it
        file.parent.rmdir()
    return int(opened.num_rows)


def called(
    key: Mapping[str, tuple[Any, FeatureType]], projections: Iterable[Projection]
) -> list[dict[str, tuple[Any, FeatureType]]]:
    """Return a key under each set of names that requests may give its columns: their own, and those of key maps."""
    maps = [{}, *(dict(part.join_key_map) for part in projections)]
    found = [{renamed.get(name, name): value for name, value in key.items()} for renamed in maps]
    return [names for place, names in enumerate(found) if names not in found[:place]]


def left_in(files: Mapping[str, str], keys: Sequence[Mapping[str, tuple[Any, FeatureType]]]) -> list[Forgotten]:
    """Return which saved datasets hold an entity; they are not changed.

    Args:
        files: the path of each, by its name.
        keys: as for :func:`forget_served`.
    """
    import pyarrow as pa

    found = []
    for name, path in files.items():
        columns = [{n: pa.scalar(value, arrow_type(kind)) for n, (value, kind) in key.items()} for key in keys]
        rows = sum(rows_of_key(path, "parquet", each) for each in columns) if Path(path).is_file() else 0
        if rows:
            found.append(Forgotten(f"saved dataset {name!r}", left={path: rows}))
    return found


def views_of_key(views: Mapping[str, FeatureView], key: Mapping[str, Any]) -> list[FeatureView]:
    """Return the views whose keys have all the given columns.

    Raises:
        RequestError: there is none, or no column was given.
    """
    if not key:
        raise RequestError("no key is given", cure="name the entity, such as user_id=1")
    found = [view for view in views.values() if key.keys() <= {entity.join_key for entity in view.entity_objects}]
    if not found:
        known = sorted({entity.join_key for view in views.values() for entity in view.entity_objects})
        cure = near_misses(next((name for name in key if name not in known), ""), known)
        raise RequestError(f"no view has the key {', '.join(map(repr, key))}", cure=cure)
    return found


def digest_of(key: Mapping[str, Any]) -> str:
    """Return what an entity is called in the audit log, which names no entity."""
    return hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:16]


def typed(views: Sequence[FeatureView], key: Mapping[str, Any]) -> dict[str, tuple[Any, FeatureType]]:
    """Return the key's values as their types have them.

    Raises:
        EntityKeyError: a value is of the wrong type.
    """
    kinds = {entity.join_key: entity.type for view in views for entity in view.entity_objects}
    return {name: (coerce(name, [value], kinds[name])[0], kinds[name]) for name, value in key.items()}


def forget_view(
    kit: ForgetKit, view: FeatureView, formers: Sequence[Former], key: Mapping[str, tuple[Any, FeatureType]]
) -> Forgotten:
    """Take an entity out of one view.

    Args:
        kit: what to do it with.
        view: the view.
        formers: the states that it had before.
        key: column to value and type; some or all of the view's keys.
    """
    removed = _forget_rows(kit, view, key)
    found = Forgotten(view.name, 0, removed.rows, removed.files, removed.left, _unknown(kit, view, key))
    if view.online:
        rows = _online_keys(kit, view, [former.table for former in formers], key)
        for former in formers:
            delete_former(kit.store, former, rows, kit.now)
        found.online = delete_online(kit.store, kit.project, view, rows, kit.now)
    return found


def _forget_rows(kit: ForgetKit, view: FeatureView, key: Mapping[str, tuple[Any, FeatureType]]) -> Removed:
    import pyarrow as pa

    if not isinstance(view.batch_source, FileSource) and not view.source_views:
        return Removed(0, (), {})
    location = offline_location(view, kit.root)
    source = _source(view)
    columns = {source.column_of(name): pa.scalar(value, arrow_type(kind)) for name, (value, kind) in key.items()}
    try:
        with kit.engine.guarded(location, alone=True):
            return kit.engine.remove(location, columns)
    except SourceMissing:
        return Removed(0, (), {})


def _unknown(kit: ForgetKit, view: FeatureView, key: Mapping[str, tuple[Any, FeatureType]]) -> str:
    """Return the source whose rows have not all columns of the key: a function makes them of others."""
    if not isinstance(view.batch_source, FileSource) and not view.source_views:
        return ""
    location, source = offline_location(view, kit.root), _source(view)
    try:
        names = kit.engine.schema(location).names
    except SourceMissing:
        return ""
    return "" if {source.column_of(name) for name in key} <= set(names) else location.shown or location.path


def _source(view: FeatureView) -> FileSource:
    if view.source_views:
        return _source(view.source_views[0])
    assert isinstance(view.batch_source, FileSource)
    return view.batch_source


def _online_keys(
    kit: ForgetKit, view: FeatureView, formers: Sequence[str], key: Mapping[str, tuple[Any, FeatureType]]
) -> pa.Table:
    """Return the whole keys to delete; of a part of the key all that the tables and the source have."""
    import pyarrow as pa

    entities = sorted_keys(view)
    types = {entity.join_key: arrow_type(entity.type) for entity in entities}
    if len(key) == len(entities):
        return pa.table({name: pa.array([value], types[name]) for name, (value, _) in key.items()})
    codec = KeyCodec([entity.type for entity in entities], list(types))
    places = [(place, key[name][0]) for place, name in enumerate(types) if name in key]
    found = dict.fromkeys(_keys_in_source(kit, view, key))
    for table in (table_name(kit.project, view), *formers):
        whole = map(codec.decode, _all_keys(kit.store, table))
        found |= dict.fromkeys(each for each in whole if all(each[place] == value for place, value in places))
    columns = zip(*found, strict=True) if found else [()] * len(types)
    return pa.table({name: pa.array(c, kind) for (name, kind), c in zip(types.items(), columns, strict=True)})


def _keys_in_source(
    kit: ForgetKit, view: FeatureView, key: Mapping[str, tuple[Any, FeatureType]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the whole keys that a materialization at work may be about to write."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if view.batch_source is None and not view.source_views:
        return
    names = [entity.join_key for entity in sorted_keys(view)]
    try:
        for batch in kit.engine.latest(scan_of(view, kit.root, []), Span(None, None)):
            table = pa.table(batch.columns[: len(names)], names=names)
            for name, (value, kind) in key.items():
                table = table.filter(pc.equal(table[name], pa.scalar(value, arrow_type(kind))))
            yield from zip(*(column.to_pylist() for column in table.columns), strict=True)
    except SourceMissing:
        return


def _all_keys(store: OnlineStore, table: str) -> Iterator[bytes]:
    after = FIRST_KEY
    while page := _scan(store, table, after):
        yield from page
        after = page[-1]


def _scan(store: OnlineStore, table: str, after: bytes) -> list[bytes]:
    try:
        return [key for key, _ in store.scan(table, after, _PAGE)]
    except TableMissing:
        return []
