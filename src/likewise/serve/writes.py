"""Writes: POST /push and /write-to-online-store; one after the other, from a thread beside the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from likewise.core.errors import LikewiseError, RequestError, SourceDrift
from likewise.core.frames import to_table
from likewise.core.json_form import decode_column, from_json
from likewise.core.types import NESTED, FeatureType, UnixTimestamp
from likewise.define.source import DataSource
from likewise.define.view import FeatureView
from likewise.online.columns import ColumnWriter
from likewise.serve.call import ARROW, Answer, Call, encode
from likewise.serve.deadlines import in_time
from likewise.serve.forms import push_of_table, write_of_table
from likewise.serve.metrics import Metrics
from likewise.serve.payload import Columns, PushBody, WriteBody, read_body
from likewise.serve.problem import RETRY_AFTER, Refusal, pointer_of, refusal_of
from likewise.serve.reach import check_push, check_there, check_views
from likewise.serve.settings import Limits
from likewise.serve.state import State

if TYPE_CHECKING:
    import pyarrow as pa

_TIME = "event_timestamp"


class Written(Struct, frozen=True):
    """What became of rows that were pushed or written."""

    written: int
    """How many online records were written; where a newer one was there, it stays, and the row does not count."""


class Writes:
    """Takes pushed rows.

    Args:
        state: the store.
        limits: what is bounded.
        metrics: counts.
    """

    def __init__(self, state: State, limits: Limits, metrics: Metrics) -> None:
        self._state = state
        self._limits = limits
        self._metrics = metrics
        self._at_work = 0
        self._thread = ThreadPoolExecutor(1, "likewise-write")

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def push(self, call: Call) -> Answer:
        """Write rows to all views of a push source."""
        body = push_of_table(call) if call.media == ARROW else read_body(call.body, PushBody, self._limits)
        return await self._written(lambda: self._push(body, call), call.end)

    async def write(self, call: Call) -> Answer:
        """Write rows of one view to the online store."""
        body = write_of_table(call) if call.media == ARROW else read_body(call.body, WriteBody, self._limits)
        check_views(call.caller, [body.feature_view_name], "/feature_view_name")
        return await self._written(lambda: self._write(body, call), call.end)

    async def _written(self, work: Callable[[], int], end: float | None) -> Answer:
        if self._at_work >= self._limits.writes:
            raise Refusal("overloaded", f"{self._at_work} writes wait already; try again", headers=RETRY_AFTER)
        self._at_work += 1
        try:
            written = await in_time(self._thread, end, work)
        except LikewiseError as error:
            raise refusal_of(error, pointer_of(error, "df", names="feature_view_name")) from error
        finally:
            self._at_work -= 1
        self._metrics.writes.inc(written)
        return Answer(encode(Written(written)))

    def _push(self, body: PushBody, call: Call) -> int:
        store, caller = self._state.store, call.caller
        store.refresh_registry()
        offline = body.to != "online"
        check_push(caller, body.push_source_name, offline, store.definitions, str(store.repo_path))
        source = store.definitions.push_source(body.push_source_name)
        views = store.definitions.pushed_views(source.name)
        rows = self._rows(call, body.df, views)
        return store.push(source.name, rows, to=body.to, idempotency_key=body.idempotency_key)  # type: ignore[arg-type]

    def _write(self, body: WriteBody, call: Call) -> int:
        store, caller = self._state.store, call.caller
        store.refresh_registry()
        check_there(caller, [body.feature_view_name], "/feature_view_name", store.definitions)
        view = store.definitions.view(body.feature_view_name)
        return store.write_to_online_store(view.name, self._rows(call, body.df, [view]))

    def _rows(self, call: Call, columns: Columns, views: Iterable[FeatureView]) -> pa.Table:
        """Return the rows of a body: a table as it is, JSON by what the views say of its columns."""
        if call.media != ARROW:
            return _rows(columns, views)
        from likewise.serve.tables import read_table

        return read_table(call.body, self._limits)


def _rows(columns: Columns, views: Iterable[FeatureView]) -> pa.Table:
    """Return rows with Python's values in the place of JSON's, by what the views say of their columns."""
    import pyarrow as pa

    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        said = ", ".join(f"{name!r}: {len(values)}" for name, values in columns.items())
        raise RequestError(f"the columns differ in length ({said})", cure="give each as many values")
    types = _types(views)
    decoded = {name: decode_column(name, columns[name], types[name]) for name in types.keys() & columns.keys()}
    nested = {
        name: _nested(name, values, types[name]) for name, values in decoded.items() if types[name].family in NESTED
    }
    plain = to_table({name: decoded.get(name, columns[name]) for name in columns if name not in nested}, "rows")
    return pa.table({name: nested[name] if name in nested else plain.column(name) for name in columns})


def _nested(name: str, values: Sequence[Any], kind: FeatureType) -> pa.Array:
    """Return a column of values that have parts; of which Arrow by itself cannot tell a map from a struct."""
    try:
        return ColumnWriter(name, kind).array(values)
    except SourceDrift as error:
        raise RequestError(error.message, cure=f"give values of {kind}", column=name) from error


def _types(views: Iterable[FeatureView]) -> Mapping[str, FeatureType]:
    """Return the types of the columns whose JSON has a form of its own; a column that two views differ on has none."""
    found: dict[str, FeatureType] = {_TIME: UnixTimestamp}
    clash: set[str] = set()
    for view in views:
        for name, kind in _columns(view):
            if found.setdefault(name, kind) != kind:
                clash.add(name)
    return {name: kind for name, kind in found.items() if name not in clash and _is_special(kind)}


def _is_special(kind: FeatureType) -> bool:
    return kind.family in NESTED or from_json(kind) is not None


def _columns(view: FeatureView) -> Iterable[tuple[str, FeatureType]]:
    sources = [each for each in (view.stream_source, view.batch_source) if each is not None]
    for source in sources:
        for name in (source.timestamp_field, source.created_timestamp_column):
            if name:
                yield name, UnixTimestamp
    for entity in view.entity_objects:
        for name in _names(sources, entity.join_key):
            yield name, entity.type
    if view.function is None:  # what a function reads is its own affair
        for field in view.features:
            for name in _names(sources, field.name):
                yield name, field.dtype


def _names(sources: Iterable[DataSource], name: str) -> set[str]:
    return {name, *(source.column_of(name) for source in sources)}
