"""Writes: pushed rows into the online store, into the files of a source, or both."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from likewise.core.aggregates import NEVER
from likewise.core.columns import Column, cast_exactly, conform, to_utc_micros
from likewise.core.errors import InvalidTime, RequestError, SourceDrift
from likewise.core.keys import KeyCodec, coerce_column
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, Float32, Float64
from likewise.define.source import DataSource, FileSource
from likewise.define.view import FeatureView
from likewise.jobs.files import noted
from likewise.jobs.notices import say_if_ahead
from likewise.jobs.spine import time_column
from likewise.jobs.states import Push, StatesBatch, change_states, delete_states, start_states
from likewise.offline.base import EVENT_TIME, OfflineEngine
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.events import Events, Ints
from likewise.online.rows import Layout, RowWriter, head_of, tombstone
from likewise.online.window_state import WindowStates
from likewise.plan.former import Former
from likewise.plan.lookup import deletions_name, table_name
from likewise.plan.scan import Location, locate, refuse_foreign, sorted_keys
from likewise.plan.windows import WindowSet, windows_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class OnlineBatch:
    """Records of one view, ready to be written."""

    table: str
    """The view's table in the online store."""
    keys: Sequence[bytes]
    """The entity keys."""
    records: Sequence[bytes]
    """A record for each key."""

    def begin(self, store: OnlineStore, now: int) -> int:
        """Make the table; values belong to no generation."""
        store.create([self.table])
        return 0

    def write(self, store: OnlineStore, push: Push, begun: int) -> int:
        """Write the records, each unless a newer one is there, and return how many were written."""
        return store.write(self.table, self.keys, self.records)


Batch = OnlineBatch | StatesBatch
"""Rows of one view on their way into the online store: values, or events for its windows."""


def prepare(project: str, view: FeatureView, rows: pa.Table, engine: OfflineEngine, now: int) -> Batch:
    """Return rows of a view ready to be written. Nothing is written: what does not fit is found out before.

    Args:
        project: the project.
        view: the view.
        rows: keys, event time and features, or what windows read, under the view's names or the source's columns; for a
            view with a transformation what it returned.
        engine: computes what windows read.
        now: the time, in microseconds since the epoch: the created time of rows that have none.

    Raises:
        RequestError: a column is missing, or holds what does not fit.
        NotSupported: the view has a transformation of a mode that is not run.
    """
    refuse_foreign(view)
    windows = windows_of(view)
    if windows is None:
        return online_batch(project, view, rows, now)
    return states_batch(project, view, windows, rows, engine, now)


def states_batch(
    project: str,
    view: FeatureView,
    windows: WindowSet,
    rows: pa.Table,
    engine: OfflineEngine,
    now: int,
    former: bool = False,
) -> StatesBatch:
    """Return rows of a view with windows as events for the states of their keys; see :func:`prepare`."""
    import numpy as np
    import pyarrow as pa

    source, table = _time_source(view), table_name(project, view)
    keys = _keys(rows, source, view)
    event = _times(rows, source, source.timestamp_field, view)
    say_if_ahead(table, view.name, _newest(event), now)
    created = _created(rows, source, view, now)
    read = {name: _feature(rows, source, name, kind, view) for name, kind in windows.columns}
    columns = engine.compute(pa.table({EVENT_TIME: event, **read}), windows.inputs)
    inputs = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    place: dict[bytes, int] = {}
    code = np.fromiter((place.setdefault(key, len(place)) for key in keys), np.int64, len(keys))
    made = None if created is None else _micros(created)
    events = Events(list(place), code, _micros(event), made, np.arange(len(keys)), inputs)
    states = WindowStates(windows, table, windows.has_source)
    return StatesBatch(table, states, events, deletions_name(project, view), former)


def online_batch(project: str, view: FeatureView, rows: pa.Table, now: int) -> OnlineBatch:
    """Return rows of a view as online records. Nothing is written: what does not fit is found out before.

    Args:
        project: the project.
        view: the view.
        rows: keys, event time and features, under the view's names or the source's columns; for a view with a
            transformation what it returned.
        now: the time, in microseconds since the epoch: the created time of rows that have none.

    Raises:
        RequestError: a column is missing, or holds what does not fit.
        NotSupported: the view has windows, or a transformation of a mode that is not run.
    """
    source = _time_source(view)
    keys = _keys(rows, source, view)
    event = _times(rows, source, source.timestamp_field, view)
    say_if_ahead(table_name(project, view), view.name, _newest(event), now)
    created = _created(rows, source, view, now)
    columns = [_feature(rows, source, field.name, field.dtype, view) for field in view.features]
    writer = RowWriter(Layout.of((view.stored_name(field.name), field.dtype) for field in view.features))
    records = writer.encode_arrow(keys, event, created, columns)
    return OnlineBatch(table_name(project, view), keys, records)


def delete_online(store: OnlineStore, project: str, view: FeatureView, rows: pa.Table, now: int) -> int:
    """Delete keys of a view, also one whose row has an event time that is still to come.

    Rows with an event time up to now, and up to that of the row that was there, do not come back; newer ones do.

    Args:
        store: the store.
        project: the project.
        view: the view.
        rows: the keys.
        now: the time of the deletion, in microseconds since the epoch.

    Returns:
        How many keys were deleted.
    """
    keys, table = _keys(rows, _time_source(view), view), table_name(project, view)
    store.create([table])
    windows = windows_of(view)
    if windows is not None:
        start_states(store, table, windows.has_source, now)
        states = WindowStates(windows, table, windows.has_source)
        return delete_states(store, deletions_name(project, view), states, list(dict.fromkeys(keys)), now)
    [stored] = store.read([(table, keys)])
    times = [now if record is None else max(now, head_of(record).event) for record in stored]
    return store.write(table, keys, [tombstone(k, t) for k, t in zip(keys, times, strict=True)])


def delete_former(store: OnlineStore, former: Former, rows: pa.Table, now: int) -> None:
    """Delete keys of a view from states that an earlier definition left; see :func:`delete_online`."""
    keys = _keys(rows, _time_source(former.view), former.view)
    states = WindowStates(former.windows, former.table, former.windows.has_source)
    with contextlib.suppress(TableMissing):  # dropped meanwhile
        distinct = list(dict.fromkeys(keys))
        change_states(store, former.table, distinct, lambda some, stored: states.deleted(some, stored, now))


def offline_location(view: FeatureView, root: str) -> Location:
    """Return where pushed rows of a view are added.

    Raises:
        RequestError: it has no files to add rows to.
    """
    return locate(_file_source(view), root)


def _file_source(view: FeatureView) -> FileSource:
    source = _first_view(view).batch_source
    if not isinstance(source, FileSource):
        title = _first_view(view).title
        raise RequestError(f"{title} has no files to add rows to", cure="give its push source a batch_source")
    return source


def _first_view(view: FeatureView) -> FeatureView:
    """Return the view whose rows a view's are made of in the end."""
    return _first_view(view.source_views[0]) if view.source_views else view


def write_offline(
    engine: OfflineEngine,
    view: FeatureView,
    rows: pa.Table,
    root: str,
    now: int,
    token: bytes | None = None,
    note: str = "",
    readers: Sequence[FeatureView] = (),
) -> str:
    """Add rows to the files of a view's batch source, as one new file.

    Args:
        engine: writes the file.
        view: the view.
        rows: keys, event time and features, under the view's names or the source's columns.
        root: the repo's folder.
        now: the created time of rows that have none, in microseconds since the epoch.
        token: the push's idempotency key; a second push of the same key adds nothing. None when none was given.
        note: what the file is to say beside the rows (:func:`likewise.jobs.files.note_of`).
        readers: the other views that are made of these files.

    Returns:
        The path of the new file, or of the one that the first push of this key added.
    """
    import pyarrow as pa

    view, source = _first_view(view), _file_source(view)
    location = locate(source, root)
    schema = engine.schema(location)
    columns = {column.name: _offline_column(rows, source, column, view, now) for column in schema}
    for reader in {id(each): each for each in (view, *map(_first_view, readers))}.values():
        _refuse_rounded(rows, source, columns, reader)
    return engine.append(location, noted(pa.table(columns), note), token)


def _offline_column(rows: pa.Table, source: FileSource, column: pa.Field, view: FeatureView, now: int) -> Column:
    import pyarrow as pa

    name = source.field_mapping.get(column.name, column.name)
    declared = _read_types(view)
    keys = {} if view.is_derived else {entity.join_key: entity.type for entity in sorted_keys(view)}
    if name in keys:
        return _as(coerce_column(name, _needed(rows, source, name, view), keys[name]), column, view)
    if column.name == source.timestamp_field:
        return _as(_times(rows, source, column.name, view), column, view)
    if column.name == source.created_timestamp_column:
        return _as(_created(rows, source, view, now), column, view)
    if name in declared:
        found = _feature(rows, source, name, declared[name], view)
        if declared[name] == Float32 and pa.types.is_float64(column.type):  # others may read all of it
            found = _feature(rows, source, name, Float64, view)
        return _as(found, column, view)
    given = _find(rows, source, name)
    return pa.nulls(rows.num_rows, column.type) if given is None else _as(given, column, view)


def _read_types(view: FeatureView) -> dict[str, FeatureType]:
    """Return in which types a view reads columns of its source, by their names in the view."""
    if view.is_derived:
        return {field.name: field.dtype for field in view.takes}
    windows = windows_of(view)
    return {field.name: field.dtype for field in view.features} if windows is None else dict(windows.columns)


def _refuse_rounded(rows: pa.Table, source: FileSource, columns: dict[str, Column], view: FeatureView) -> None:
    """Refuse numbers that a view would read from the files in another way than they were pushed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, kind in _read_types(view).items():
        stored, given = columns.get(source.column_of(name)), _find(rows, source, name)
        if kind != Float64 or stored is None or given is None or not pa.types.is_float32(stored.type):
            continue
        given = conform(given, kind, f"column {name!r} of the rows for {view.title}")
        differs = pc.and_(pc.not_equal(given, stored.cast(given.type)), pc.invert(pc.is_nan(given)))
        if pc.any(differs).as_py():
            row = differs.index(pa.scalar(True)).as_py()
            raise RequestError(
                f"column {name!r} of the rows for {view.title}, row {row}: the source's float cannot hold "
                f"{given[row].as_py()!r}, which is declared Float64",
                cure="declare it Float32, keep it as double in the source, or push online only",
            )


def _as(values: Column, column: pa.Field, view: FeatureView) -> Column:
    import pyarrow as pa

    if pa.types.is_date(column.type):
        raise RequestError(
            f"the source of {view.title} keeps {column.name!r} as dates, which cannot hold a time of day",
            cure="store it as a timestamp, or push online only",
        )
    if pa.types.is_timestamp(column.type):
        return to_utc_micros(values, column.name).cast(pa.int64()).cast(pa.timestamp("us", tz=column.type.tz))
    try:
        return values.cast(column.type) if pa.types.is_nested(column.type) else cast_exactly(values, column.type)
    except (ValueError, pa.ArrowNotImplementedError) as error:
        what = f"column {column.name!r} of the rows for {view.title} does not fit the source's {column.type}: {error}"
        raise RequestError(what, cure="give values of that type") from error


def _keys(rows: pa.Table, source: DataSource, view: FeatureView) -> list[bytes]:
    entities = sorted_keys(view)
    columns = [_needed(rows, source, entity.join_key, view) for entity in entities]
    codec = KeyCodec([entity.type for entity in entities], [entity.join_key for entity in entities])
    return codec.encode_arrow(columns, rows.num_rows)


def _time_source(view: FeatureView) -> DataSource:
    source = view.row_source
    if source is None:
        raise RequestError(f"{view.title} has no source", cure="apply it with one")
    return source


def _find(rows: pa.Table, source: DataSource, name: str) -> Column | None:
    for candidate in (name, source.column_of(name)):
        if candidate in rows.column_names:
            return rows.column(candidate)
    return None


def _needed(rows: pa.Table, source: DataSource, name: str, view: FeatureView) -> Column:
    found = _find(rows, source, name)
    if found is None:
        raise RequestError(
            f"the rows for {view.title} have no column {name!r}", cure=near_misses(name, rows.column_names)
        )
    return found


def _times(rows: pa.Table, source: DataSource, name: str, view: FeatureView) -> Column:
    import pyarrow as pa

    column = _needed(rows, source, name or time_column(rows, f"the rows for {view.title}"), view)
    if column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        raise InvalidTime(
            f"row {row} for {view.title} has no event time: it is null", cure="give every row its event time"
        )
    try:
        return to_utc_micros(column, f"the event time of the rows for {view.title}")
    except SourceDrift as error:
        raise InvalidTime(error.message, cure=error.cure) from error


def _micros(times: Column) -> Ints:
    import numpy as np
    import pyarrow as pa

    found: Ints = np.asarray(times.cast(pa.int64()).fill_null(NEVER), np.int64)
    return found


def _newest(times: Column) -> int | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    newest: int | None = pc.max(times.cast(pa.int64())).as_py()
    return newest


def _created(rows: pa.Table, source: DataSource, view: FeatureView, now: int) -> Column | None:
    import pyarrow as pa

    name = source.created_timestamp_column
    if not name:
        return None
    given = _find(rows, source, name)
    if given is not None:
        return to_utc_micros(given, f"column {name!r} of the rows for {view.title}")
    return pa.array([now] * rows.num_rows, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _feature(rows: pa.Table, source: DataSource, name: str, declared: FeatureType, view: FeatureView) -> Column:
    column = _needed(rows, source, name, view)
    try:
        return conform(column, declared, f"column {name!r} of the rows for {view.title}")
    except SourceDrift as error:
        raise RequestError(error.message, cure=error.cure) from error
