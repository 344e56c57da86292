"""Spine: the entity rows of a training set, with keys and times of one type each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from likewise.core.columns import to_utc_micros
from likewise.core.errors import InvalidTime, RequestError, SourceDrift
from likewise.core.frames import refuse_twins, to_table
from likewise.core.keys import coerce_column
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, arrow_type
from likewise.define.view import FeatureView, Projection
from likewise.offline.base import EVENT_TIME, OfflineEngine, Span
from likewise.plan.scan import scan_of, sorted_keys
from likewise.plan.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

TIME = "event_timestamp"
"""The usual name of the entity rows' column of times."""
MOST_ROWS = 1 << 31
"""How many entity rows one training set may have."""


def read_spine(entity_df: object, engine: OfflineEngine) -> pa.Table:
    """Return the entity rows as a table.

    Args:
        entity_df: a frame, an Arrow table or stream, or an SQL query that selects them.
        engine: runs the query.

    Raises:
        RequestError: it is none of these, or has no rows' columns at all.
    """
    table = engine.query(entity_df).read_all() if isinstance(entity_df, str) else to_table(entity_df, "entity rows")
    refuse_twins(table.column_names, "entity rows")
    if table.num_rows >= MOST_ROWS:
        raise RequestError(
            f"{table.num_rows:,} entity rows are too many", cure=f"ask for less than {MOST_ROWS:,} at once"
        )
    return table


def range_spine(selection: Selection, engine: OfflineEngine, root: str, start: int | None, end: int) -> pa.Table:
    """Return every (key, event time) that the views have in a span of event times, by time and key, each once.

    Args:
        selection: the features asked for; all of its views have the same keys.
        engine: reads the sources.
        root: the repo's folder.
        start: the first event time, in microseconds since the epoch; None is without limit.
        end: the last event time, included.

    Raises:
        RequestError: the views have different keys, or an on-demand view needs request data.
    """
    import pyarrow as pa

    keys = {tuple(_renamed(part, view)) for part, view in selection.views.items()}
    if not keys:
        raise RequestError("no view that was asked for has rows of its own", cure="give the entity rows")
    if len(keys) != 1:
        raise RequestError(
            f"the views have different keys: {', '.join(map(str, sorted(keys)))}",
            cure="give the entity rows, or ask for views of one entity at a time",
        )
    [names] = keys
    points = []
    for view in selection.views.values():
        for batch in engine.rows(scan_of(view, root, ()), Span(start, end)):
            points.append(pa.table([*batch.columns[: len(names)], batch.column(EVENT_TIME)], names=[*names, TIME]))
    if not points:
        kinds = [arrow_type(entity.type) for entity in sorted_keys(next(iter(selection.views.values())))]
        return pa.schema([*zip(names, kinds, strict=True), (TIME, pa.timestamp("us", tz="UTC"))]).empty_table()
    unique = pa.concat_tables(points).group_by([*names, TIME], use_threads=False).aggregate([])
    return unique.sort_by([(TIME, "ascending"), *((name, "ascending") for name in names)])


def _renamed(part: Projection, view: FeatureView) -> list[str]:
    renamed = dict(part.join_key_map)
    return [renamed.get(entity.join_key, entity.join_key) for entity in sorted_keys(view)]


def time_column(table: pa.Table, what: str = "the entity rows") -> str:
    """Return the name of the rows' column of times: ``event_timestamp``, or the only column of times.

    Args:
        table: the rows.
        what: what the rows are, for messages.

    Raises:
        RequestError: there is none, or more than one.
    """
    import pyarrow as pa

    if TIME in table.column_names:
        return TIME
    times = [c.name for c in table.schema if pa.types.is_timestamp(c.type) or pa.types.is_date(c.type)]
    if len(times) == 1:
        return str(times[0])
    if not times:
        cure = f"add a column {TIME!r}; {near_misses(TIME, table.column_names)}"
        raise RequestError(f"{what} have no column of times", cure=cure)
    raise RequestError(
        f"{what} have several columns of times: {', '.join(map(repr, times))}",
        cure=f"name the one that counts {TIME!r}",
    )


def with_utc_times(table: pa.Table, time: str) -> pa.Table:
    """Return the table with its column of times as ``timestamp[us, tz=UTC]``.

    Raises:
        InvalidTime: the column holds no times, or one that is out of range.
    """
    position = table.column_names.index(time)
    column = table.column(position)
    try:
        return table.set_column(position, time, to_utc_micros(column, f"column {time!r} of the entity rows"))
    except SourceDrift as error:
        raise InvalidTime(error.message, cure=error.cure) from error


def narrowed(table: pa.Table, time: str, keys: Sequence[tuple[str, FeatureType]]) -> pa.Table:
    """Return the columns that a join needs: the times, and the keys in their declared types.

    Raises:
        EntityKeyError: a key cannot be taken as its declared type; a null is allowed and matches nothing.
    """
    import pyarrow as pa

    columns = {time: table.column(time)}
    for name, declared in keys:
        columns[name] = coerce_column(name, table.column(name), declared, nulls=True)
    return pa.table(columns)
