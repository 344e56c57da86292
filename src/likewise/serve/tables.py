"""Tables: the bodies of requests that are Arrow streams, read without trusting them, and answers as tables.

A stream is looked at message by message before Arrow decodes it: compressed buffers, which may unfold to any size, are
refused unread, and so are more rows than the limit. Then Arrow's own checks of every offset run, and what the columns
take when they are unfolded is bounded: dictionaries and views may stand for far more than they hold.

An answer has the entities' columns, then the features', then for each feature ``{name}__status`` (the numbers of
:class:`~likewise.online.response.FieldStatus`) and ``{name}__ts``, its record's event time, null where there is
none. The metadata of a field says the feature's type, that of the schema how many columns there are of each kind.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.columns import to_utc_micros
from likewise.core.errors import InvalidTime, SourceDrift
from likewise.core.frames import refuse_twins, to_columns
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type, is_list
from likewise.online.response import OnlineResponse
from likewise.serve.problem import Refusal, json_pointer
from likewise.serve.settings import Limits

STATUS, TIME = "__status", "__ts"
"""What stands behind a feature's name in the names of the columns of its statuses and event times."""
META = b"likewise"
"""The key of the schema's metadata that says how many columns there are of each kind, as JSON."""
_MOST_COLUMNS = 5_000
_DEEPEST = 16
_EACH = 8
_UNFOLDED = 4
_RECORD_BATCH, _DICTIONARY = 3, 2
_TIMES = arrow_type(UnixTimestamp)


def read_table(body: bytes, limits: Limits) -> pa.Table:
    """Return the table that a body holds.

    Args:
        body: a stream of Arrow's IPC format.
        limits: what is bounded.

    Raises:
        Refusal: it is no such stream, is compressed, or is too large; a column is of a type that is not read.

    Example:
        >>> sink = pa.BufferOutputStream()
        >>> table = pa.table({"user": [1, 2]})
        >>> with pa.ipc.new_stream(sink, table.schema) as writer:
        ...     writer.write_table(table)
        >>> read_table(sink.getvalue().to_pybytes(), Limits()).num_rows
        2
    """
    try:
        _refuse_messages(body, limits)
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            _refuse_schema(reader.schema)
            batches = [_checked(batch, limits) for batch in reader]
            table = pa.Table.from_batches(batches, reader.schema.remove_metadata())
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError, OverflowError, struct.error, IndexError, RecursionError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Refusal("not_arrow", f"{said}; send one stream of Arrow's IPC format", "") from error
    refuse_twins(names, "table's columns")
    left = limits.bulk_bytes * _UNFOLDED
    for name, column in zip(names, table.columns, strict=True):
        left -= sum(_unfolded(chunk, left) for chunk in column.chunks)
        if left < 0:
            raise _too_wide(name, limits)
    return table


def columns_of(table: pa.Table) -> dict[str, list[Any]]:
    """Return a table as Python values by column; times are UTC, to the microsecond.

    Raises:
        Refusal: a time lies outside the years 1 to 9999.
    """
    plain = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            try:
                column = to_utc_micros(column, f"column {name!r}")
            except (InvalidTime, SourceDrift) as error:
                raise Refusal("invalid", str(error), json_pointer("entities", name)) from error
        plain[name] = column
    try:
        return to_columns(pa.table(plain) if plain else table)
    except (ValueError, OverflowError) as error:  # times inside lists that have no date
        raise Refusal("invalid", f"the table holds a value that Python has not: {error}", "") from error


# ---- Before Arrow decodes it ---------------------------------------------------------------------------------------


def _refuse_messages(body: bytes, limits: Limits) -> None:
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    rows = 0
    for message in _messages(reader):
        kind, length, compressed = _looked_at(message.metadata.to_pybytes())
        if compressed:
            raise Refusal("not_arrow", "its buffers are compressed; send them plain", "")
        if kind == _RECORD_BATCH:
            rows += length
        if length < 0 or rows > limits.bulk_rows or length > limits.bulk_bytes:
            most = limits.bulk_rows
            raise Refusal("too_large", f"a table of {rows:,} rows; send at most {most:,} at once", "")


def _messages(reader: Any) -> Iterator[Any]:
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _looked_at(flat: bytes) -> tuple[int, int, bool]:
    """Return a message's kind, how many rows it has, and whether it is compressed; from its flatbuffer's tables."""
    message = _table_at(flat, 0)
    kind_at, header_at = _slot(flat, message, 1), _slot(flat, message, 2)
    kind = flat[kind_at] if kind_at else 0
    if kind not in (_RECORD_BATCH, _DICTIONARY) or not header_at:
        return kind, 0, False
    batch = _table_at(flat, header_at)
    if kind == _DICTIONARY:
        data_at = _slot(flat, batch, 1)
        if not data_at:
            return kind, 0, False
        batch = _table_at(flat, data_at)
    length_at = _slot(flat, batch, 0)
    length = struct.unpack_from("<q", flat, length_at)[0] if length_at else 0
    return kind, length, bool(_slot(flat, batch, 3))


def _table_at(flat: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", flat, at)[0])


def _slot(flat: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table stands; 0 when it is not there."""
    fields = table - int(struct.unpack_from("<i", flat, table)[0])
    if fields < 0:
        raise ValueError("its metadata points nowhere")
    size = struct.unpack_from("<H", flat, fields)[0]
    place = 4 + 2 * number
    offset = int(struct.unpack_from("<H", flat, fields + place)[0]) if place + 2 <= size else 0
    return table + offset if offset else 0


# ---- When it is decoded --------------------------------------------------------------------------------------------


def _refuse_schema(schema: pa.Schema) -> None:
    if len(schema) > _MOST_COLUMNS:
        raise Refusal("too_large", f"a table of {len(schema):,} columns; send at most {_MOST_COLUMNS:,}", "")
    for field in schema:
        if not _is_read(field.type, _DEEPEST):
            what = f"column {field.name[:100]!r} is of Arrow's type {str(field.type)[:100]}, which is not read here"
            raise Refusal("invalid", f"{what}; cast it", json_pointer(field.name))


def _is_read(kind: pa.DataType, deepest: int) -> bool:
    """Tell whether a type is one of those whose size can be told before they are unfolded."""
    checks = pa.types
    if deepest == 0:
        return False
    if checks.is_dictionary(kind):
        return (
            deepest == _DEEPEST and not checks.is_nested(kind.value_type) and _is_read(kind.value_type, 1)
        )  # no views
    if checks.is_map(kind):
        return _is_read(kind.key_type, deepest - 1) and _is_read(kind.item_type, deepest - 1)
    if checks.is_struct(kind):
        return all(_is_read(field.type, deepest - 1) for field in kind)
    if is_list(kind):
        return _is_read(kind.value_type, deepest - 1)
    plain = (checks.is_null, checks.is_boolean, checks.is_integer, checks.is_floating, checks.is_decimal)
    texts = (checks.is_string, checks.is_large_string, checks.is_binary, checks.is_large_binary)
    others = (checks.is_fixed_size_binary, checks.is_timestamp, checks.is_date)
    views = (checks.is_string_view, checks.is_binary_view) if deepest == _DEEPEST else ()
    return any(is_kind(kind) for is_kind in (*plain, *texts, *others, *views))


def _checked(batch: pa.RecordBatch, limits: Limits) -> pa.RecordBatch:
    """Return a batch whose every offset and text is as it should be; views are counted before, as texts take time."""
    batch.validate()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _is_view(column.type) and _view_bytes(column) > limits.bulk_bytes * _UNFOLDED:
            raise _too_wide(name, limits)
    batch.validate(full=True)
    return batch


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _too_wide(name: str, limits: Limits) -> Refusal:
    what = f"its columns take more than {limits.bulk_bytes * _UNFOLDED:,} bytes when they are unfolded"
    return Refusal("too_large", f"{what}; send fewer rows at once", json_pointer(name))


def _unfolded(column: pa.Array, left: int) -> int:
    """Return about how many bytes a column has when each of its values is written out; more than ``left`` is enough."""
    kind, checks = column.type, pa.types
    size = len(column) * _EACH
    if size > left:
        return size
    if checks.is_dictionary(kind):
        return size + _of_dictionary(column)
    if checks.is_map(kind):
        entries = column.offsets[len(column)].as_py() - column.offsets[0].as_py()
        first = column.offsets[0].as_py()
        parts = [column.keys.slice(first, entries), column.items.slice(first, entries)]
        return size + sum(_unfolded(part, left - size) for part in parts)
    if checks.is_struct(kind):
        return size + sum(_unfolded(part, left - size) for part in column.flatten())
    if checks.is_fixed_size_list(kind):
        inner = len(column) * kind.list_size
        return size + (inner * _EACH if inner * _EACH > left else _unfolded(column.flatten(), left - size))
    if is_list(kind):
        return size + _unfolded(column.flatten(), left - size)
    if checks.is_fixed_size_binary(kind) or checks.is_decimal(kind):
        return size + len(column) * int(kind.byte_width)
    return size + _text_bytes(column)


def _text_bytes(column: pa.Array) -> int:
    """Return how many bytes the texts of a column have together; 0 for what is none."""
    kind, checks = column.type, pa.types
    if _is_view(kind):
        return _view_bytes(column)
    if checks.is_string(kind) or checks.is_large_string(kind) or checks.is_binary(kind) or checks.is_large_binary(kind):
        return int(pc.sum(pc.binary_length(column).cast(pa.int64())).as_py() or 0)
    return 0


def _view_bytes(column: pa.Array) -> int:
    """Return the same of a column of views: each begins with its length, in four bytes of sixteen."""
    import numpy as np

    views = np.frombuffer(column.buffers()[1], np.uint32)[::4][column.offset : column.offset + len(column)]
    return int(views.sum(dtype=np.int64))


def _of_dictionary(column: pa.DictionaryArray) -> int:
    values = column.dictionary
    longest = 0
    if _text_bytes(values):
        lengths = pc.binary_length(values).cast(pa.int64())
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    if pa.types.is_fixed_size_binary(values.type):
        longest = values.type.byte_width
    return len(column) * longest


# ---- Answers -------------------------------------------------------------------------------------------------------


class TableWriter:
    """Writes answers as tables; what depends on names and types is decided when it is made.

    Args:
        keys: the name and type of each column of entities.
        features: the name and type of each feature.

    Example:
        >>> from likewise.core.types import Int64
        >>> from likewise.online.response import Answered
        >>> writer = TableWriter([("user", Int64)], [("visits", Int64)])
        >>> visits = Answered("visits", Int64, [7], None, [0])
        >>> body = writer.write([OnlineResponse({"user": [1]}, {"user": Int64}, [visits])], 1 << 20)
        >>> pa.ipc.open_stream(body).read_all().column_names
        ['user', 'visits', 'visits__status', 'visits__ts']
    """

    def __init__(self, keys: Sequence[tuple[str, FeatureType]], features: Sequence[tuple[str, FeatureType]]) -> None:
        from likewise.online.columns import ColumnWriter

        columns = [*keys, *features]
        self._columns = [ColumnWriter(name, kind) for name, kind in columns]
        fields = [pa.field(name, arrow_type(kind), metadata=_said(kind)) for name, kind in columns]
        for name, _ in features:
            fields += [pa.field(name + STATUS, pa.uint8()), pa.field(name + TIME, _TIMES)]
        counts = json.dumps({"format": 1, "keys": len(keys), "features": len(features)})
        self._schema = pa.schema(fields, {META: counts})

    def batch(self, answer: OnlineResponse) -> pa.RecordBatch:
        """Return the answer as rows of the table."""
        given = [*answer.keys.values(), *(feature.values for feature in answer.features)]
        arrays = [writer.array(values) for writer, values in zip(self._columns, given, strict=True)]
        times: dict[int, pa.Array] = {}
        for feature in answer.features:
            at = times.get(id(feature.times))
            if at is None:
                at = times[id(feature.times)] = pa.array(list(feature.times), pa.int64()).cast(_TIMES)
            arrays += [pa.array(list(map(int, feature.statuses())), pa.uint8()), at]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def write(self, answers: Iterable[OnlineResponse], most: int) -> bytes:
        """Return the body of an answer that comes in parts.

        Args:
            answers: the parts, each made when it is its turn.
            most: the most bytes of the body.

        Raises:
            Refusal: it has more.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as writer:
            for answer in answers:
                writer.write_batch(self.batch(answer))
                if sink.tell() > most:
                    raise Refusal("too_large", f"the answer has more than {most:,} bytes; ask for fewer rows at once")
        return bytes(sink.getvalue())


def _said(kind: FeatureType) -> Mapping[bytes, bytes]:
    return {b"likewise.type": kind.name.encode()}
