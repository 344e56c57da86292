"""Writes: pushed rows into the online store, into the files of a source, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from likewise.core.columns import Column, cast_exactly, conform, to_utc_micros
from likewise.core.errors import EntityKeyError, InvalidTime, RequestError, SourceDrift
from likewise.core.keys import KeyCodec, coerce
from likewise.core.names import near_misses
from likewise.core.types import Family, FeatureType, arrow_type
from likewise.define.source import DataSource, FileSource
from likewise.define.view import FeatureView
from likewise.jobs.spine import time_column
from likewise.offline.base import OfflineEngine
from likewise.online.base import OnlineStore
from likewise.online.rows import Layout, RowWriter, head_of, tombstone
from likewise.plan.lookup import table_name
from likewise.plan.scan import locate, refuse_computed, sorted_keys

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


def online_batch(project: str, view: FeatureView, rows: pa.Table, now: int) -> OnlineBatch:
    """Return rows of a view as online records. Nothing is written: what does not fit is found out before.

    Args:
        project: the project.
        view: the view.
        rows: keys, event time and features, under the view's names or the source's columns.
        now: the time, in microseconds since the epoch: the created time of rows that have none.

    Raises:
        RequestError: a column is missing, or holds what does not fit.
        NotSupported: the view has windows, or a transformation.
    """
    refuse_computed(view)
    source = _time_source(view)
    keys = _keys(rows, source, view)
    event = _times(rows, source, source.timestamp_field, view)
    created = _created(rows, source, view, now)
    columns = [_feature(rows, source, field.name, field.dtype, view) for field in view.features]
    writer = RowWriter(Layout.of((field.name, field.dtype) for field in view.features))
    records = writer.encode_arrow(keys, event, created, columns)
    return OnlineBatch(table_name(project, view), keys, records)


def write_batch(store: OnlineStore, batch: OnlineBatch) -> int:
    """Write records to the online store, each unless a newer one is there, and return how many were written."""
    store.create([batch.table])
    return store.write(batch.table, batch.keys, batch.records)


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
    [stored] = store.read([(table, keys)])
    times = [now if record is None else max(now, head_of(record).event) for record in stored]
    return write_batch(store, OnlineBatch(table, keys, [tombstone(k, t) for k, t in zip(keys, times, strict=True)]))


def write_offline(engine: OfflineEngine, view: FeatureView, rows: pa.Table, root: str, now: int) -> str:
    """Add rows to the files of a view's batch source, as one new file.

    Args:
        engine: writes the file.
        view: the view.
        rows: keys, event time and features, under the view's names or the source's columns.
        root: the repo's folder.
        now: the created time of rows that have none, in microseconds since the epoch.

    Returns:
        The path of the new file.
    """
    import pyarrow as pa

    source = view.batch_source
    if not isinstance(source, FileSource):
        raise RequestError(f"{view.title} has no files to add rows to", cure="give its push source a batch_source")
    location = locate(source, root)
    schema = engine.schema(location)
    columns = {column.name: _offline_column(rows, source, column, view, now) for column in schema}
    return engine.append(location, pa.table(columns))


def _offline_column(rows: pa.Table, source: FileSource, column: pa.Field, view: FeatureView, now: int) -> Column:
    import pyarrow as pa

    name = source.field_mapping.get(column.name, column.name)
    declared = {f.name: f.dtype for f in view.features}
    keys = {entity.join_key: entity.type for entity in sorted_keys(view)}
    if name in keys:
        return _as(_key(rows, source, name, keys[name], view), column, view)
    if column.name == source.timestamp_field:
        return _as(_times(rows, source, column.name, view), column, view)
    if column.name == source.created_timestamp_column:
        return _as(_created(rows, source, view, now), column, view)
    if name in declared:
        return _as(_feature(rows, source, name, declared[name], view), column, view)
    given = _find(rows, source, name)
    return pa.nulls(rows.num_rows, column.type) if given is None else _as(given, column, view)


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
    columns = [_key(rows, source, entity.join_key, entity.type, view) for entity in entities]
    codec = KeyCodec([entity.type for entity in entities], [entity.join_key for entity in entities])
    return codec.encode_arrow(columns, rows.num_rows)


def _time_source(view: FeatureView) -> DataSource:
    source = view.source
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


def _key(rows: pa.Table, source: DataSource, name: str, declared: FeatureType, view: FeatureView) -> Column:
    import pyarrow as pa

    column = _needed(rows, source, name, view)
    if column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        raise EntityKeyError(f"row {row} for {view.title} has no key {name!r}: it is null", cure="leave the row out")
    if column.type == arrow_type(declared) and declared.family is not Family.TIME:
        return column
    values: Sequence[Any] = coerce(name, column.to_pylist(), declared)
    plain = [str(value) for value in values] if declared.family is Family.UUID else values
    return pa.array(plain, arrow_type(declared))


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
