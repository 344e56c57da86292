"""Columns: Arrow columns brought to a declared type, without loss or with an error that names column and row.

What is free: widening, and Float64 to Float32, which is rounding. What is checked value by value: whole floats to
integers, wider integers to narrower ones, decimals by their digits, the range of Float32. Times become microseconds in
UTC; finer digits are cut off downwards (S1). UUIDs become their usual text, sets ascending and without repeats, and of
a map's values for one key the last one counts: so they are the same online, and match by value as keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from likewise.core.errors import InvalidTime, SourceDrift
from likewise.core.nested import with_parts
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import NESTED, Family, FeatureType, accepts, arrow_type, is_list, type_from_arrow

if TYPE_CHECKING:
    import pyarrow as pa

Column = Any
"""A ``pa.Array`` or ``pa.ChunkedArray``; pyarrow has no name for both."""

_RULED = (Family.TIME, Family.UUID, Family.SET, Family.MAP)
"""The families whose values may have to be turned, although the column's type is the right one."""
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_SHOWN = 200
"""How many characters of a value a message shows."""


def conform(column: Column, declared: FeatureType, what: str) -> Column:
    """Return a column in the Arrow type of a declared type.

    Args:
        column: the values.
        declared: the type they are to have.
        what: the column's name and place, for messages, such as ``column 'amount' of data/cards.parquet``.

    Raises:
        SourceDrift: the column's type cannot hold the declared one, or a value does not fit it.
        InvalidTime: a time lies outside the years 1 to 9999.

    Example:
        >>> import pyarrow as pa
        >>> from likewise.core.types import Int64
        >>> conform(pa.array([1.0, None]), Int64, "column 'a'").type
        DataType(int64)
    """
    import pyarrow as pa

    if declared.family is Family.TIME:
        return to_utc_micros(column, what)
    if column.type == arrow_type(declared) and not _is_ruled(declared):
        return column
    if not accepts(declared, column.type):
        raise SourceDrift(f"{what} holds {column.type}, not {declared}", cure="retype the column, or the Field")
    try:
        return _each_chunk(column, declared)
    except pa.ArrowNotImplementedError as error:
        raise SourceDrift(
            f"{what} holds {column.type}, not {declared}", cure="retype the column, or the Field"
        ) from error
    except (ValueError, InvalidTime) as error:  # Arrow's errors of a bad value are ValueErrors
        raise _misfit(column, declared, what, error) from error


def first_misfit(convert: Callable[[Column], object], column: Column) -> int:
    """Return the number of the first value that cannot be converted, found by halves.

    Args:
        convert: raises a ValueError, SourceDrift or InvalidTime if one of the values given does not fit.
        column: values of which one at least does not fit.

    Example:
        >>> import pyarrow as pa
        >>> first_misfit(lambda part: part.cast(pa.int8()), pa.array([1, 2, 300, 4]))
        2
    """
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            convert(column.slice(start, middle - start))
            start = middle
        except (ValueError, SourceDrift):
            stop = middle
    return start


def shown(value: pa.Scalar) -> str:
    """Show a value in a message; a time as the whole number that it is, which may have no date.

    Example:
        >>> import pyarrow as pa
        >>> shown(pa.scalar("a")), shown(pa.scalar(2**62, pa.timestamp("us")))
        ("'a'", '4611686018427387904')
    """
    import pyarrow as pa

    try:
        text = repr(value.value if pa.types.is_timestamp(value.type) else value.as_py())
    except (ValueError, OverflowError):  # a time without a date, inside
        text = str(value.type)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def without_views(column: Column) -> Column:
    """Return a column of Arrow's view types as one of plain types, of which Arrow can take values.

    Example:
        >>> import pyarrow as pa
        >>> without_views(pa.array(["a"]).cast(pa.string_view())).type
        DataType(string)
    """
    plain = _plain_type(column.type)
    return column if plain is column.type else column.cast(plain)


def cast_exactly(column: Column, wanted: pa.DataType) -> Column:
    """Cast a column of numbers, text or bytes; Arrow's own cast wraps around large decimals and makes floats infinite.

    Raises:
        ValueError: a value does not fit; floats are rounded to Float32, but stay finite.

    Example:
        >>> import pyarrow as pa
        >>> cast_exactly(pa.array([1e300]), pa.float32())
        Traceback (most recent call last):
        ValueError: give a number that is less than 3.5e38, or declare it Float64
    """
    import pyarrow as pa

    if pa.types.is_decimal(column.type) and pa.types.is_decimal(wanted):
        _refuse_long_decimals(column, wanted)
    if not pa.types.is_float32(wanted):
        return column.cast(wanted)
    found = column.cast(wanted, safe=False)
    _refuse_new_infinities(column, found)
    return found


def to_utc_micros(column: Column, what: str) -> Column:
    """Return a column of times as ``timestamp[us, tz=UTC]``.

    Args:
        column: timestamps of any unit, naive (UTC) or aware, or dates.
        what: the column's name and place, for messages.

    Raises:
        SourceDrift: the column holds no times.
        InvalidTime: a time lies outside the years 1 to 9999; the message names the row.

    Example:
        >>> import pyarrow as pa
        >>> to_utc_micros(pa.array([1], pa.timestamp("s")), "column 't'").type
        TimestampType(timestamp[us, tz=UTC])
    """
    import pyarrow as pa

    wanted = pa.timestamp("us", tz="UTC")
    if pa.types.is_null(column.type):
        return column.cast(wanted)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        raise SourceDrift(f"{what} holds {column.type}, not times", cure="make it a timestamp: pd.to_datetime(…)")
    micros = column if column.type.unit == "us" else _micros(column, what)
    result = micros.cast(pa.int64()).cast(wanted) if micros.type != wanted else micros
    _refuse_out_of_range(result, what)
    return result


def _micros(column: Column, what: str) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    raw = column.cast(pa.int64())
    if column.type.unit == "ns":  # floor, also before 1970: Arrow's own division cuts towards zero
        quotient = pc.divide(raw, 1000)
        below = pc.less(pc.multiply(quotient, 1000), raw)
        exact = pc.equal(pc.multiply(quotient, 1000), raw)
        down = pc.if_else(pc.or_(exact, below), 0, 1)
        return pc.subtract(quotient, down).cast(pa.timestamp("us"))
    factor = {"s": 1_000_000, "ms": 1000}[column.type.unit]
    try:
        return pc.multiply_checked(raw, factor).cast(pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        limit = LATEST // factor
        raise _out_of_range(pc.greater(pc.abs(raw), limit), column, what) from error


def _refuse_out_of_range(column: Column, what: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    raw = column.cast(pa.int64())
    bounds = pc.min_max(raw)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is not None and (low < EARLIEST or high > LATEST):
        raise _out_of_range(pc.or_(pc.less(raw, EARLIEST), pc.greater(raw, LATEST)), raw, what)


def _out_of_range(bad: Column, column: Column, what: str) -> InvalidTime:
    import pyarrow as pa
    import pyarrow.compute as pc

    row = pc.index(bad, pa.scalar(True)).as_py()
    value = column[row].cast(pa.int64()).as_py()
    return InvalidTime(
        f"{what}, row {row}: the time {value} lies outside the years 1 to 9999", cure="check its unit and its origin"
    )


def _is_ruled(declared: FeatureType) -> bool:
    inner = [kind for _, kind in declared.fields] + ([declared.inner] if declared.inner is not None else [])
    return declared.family in _RULED or any(map(_is_ruled, inner))


def _each_chunk(column: Column, declared: FeatureType) -> Column:
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return _converted(column, declared)
    return pa.chunked_array([_converted(chunk, declared) for chunk in column.chunks], arrow_type(declared))


def _converted(column: pa.Array, declared: FeatureType) -> pa.Array:
    """Return values in a declared type; raise a ValueError, an InvalidTime for times, if one does not fit."""
    import pyarrow as pa

    wanted = arrow_type(declared)
    if column.type == wanted and not _is_ruled(declared):
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), wanted)
    if declared.family is Family.TIME:
        return to_utc_micros(column, "")
    is_uuid = declared.family is Family.UUID or isinstance(column.type, pa.UuidType)
    plain = _plain_storage(column)
    if is_uuid:
        return _uuid_texts(plain)
    if declared.family in NESTED:
        return with_parts(plain, declared, _converted)
    return cast_exactly(plain, wanted)


def _plain_storage(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    while isinstance(column.type, pa.BaseExtensionType | pa.DictionaryType):
        column = column.storage if isinstance(column.type, pa.BaseExtensionType) else column.dictionary_decode()
    return column


def _plain_type(held: pa.DataType) -> pa.DataType:
    """Return a type without views; the very type given, if it has none."""
    import pyarrow as pa

    if pa.types.is_string_view(held):
        return pa.string()
    if pa.types.is_binary_view(held):
        return pa.binary()
    if pa.types.is_map(held):
        key, item = _plain_type(held.key_type), _plain_type(held.item_type)
        return held if key is held.key_type and item is held.item_type else pa.map_(key, item)
    if pa.types.is_struct(held):
        fields = [field.with_type(_plain_type(field.type)) for field in held]
        return held if fields == list(held) else pa.struct(fields)
    if not is_list(held):
        return held
    inner = held.value_field.with_type(_plain_type(held.value_type))
    if inner == held.value_field:
        return held
    if pa.types.is_fixed_size_list(held):
        return pa.list_(inner, held.list_size)
    return pa.large_list(inner) if pa.types.is_large_list(held) else pa.list_(inner)


def _refuse_long_decimals(column: Column, wanted: pa.DataType) -> None:
    import pyarrow.compute as pc

    digits = wanted.precision - wanted.scale
    if column.type.precision - column.type.scale <= digits:
        return
    ends = pc.min_max(column).as_py()
    if any(end is not None and end.copy_abs() >= 10**digits for end in ends.values()):
        raise ValueError(f"give a decimal of at most {digits} digits before its point")


def _refuse_new_infinities(column: Column, found: Column) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.is_inf(found)).as_py():
        return
    given = column if pa.types.is_floating(column.type) else column.cast(pa.float64())
    if pc.any(pc.and_(pc.is_inf(found), pc.invert(pc.is_inf(given)))).as_py():
        raise ValueError("give a number that is less than 3.5e38, or declare it Float64")


def _uuid_texts(column: pa.Array) -> pa.Array:
    """Return UUIDs, as text of any spelling or as 16 bytes, as their usual text in lower case."""
    import uuid

    import pyarrow as pa
    import pyarrow.compute as pc

    if type_from_arrow(column.type).family is Family.BYTES:
        return pa.array([None if raw is None else _uuid_text(raw) for raw in column.to_pylist()], pa.string())
    texts = pc.ascii_lower(column.cast(pa.string()))
    if pc.all(pc.match_substring_regex(texts, _UUID)).as_py() is not False:  # None: all are null
        return texts
    return pa.array([None if text is None else str(uuid.UUID(text)) for text in texts.to_pylist()], pa.string())


def _uuid_text(raw: bytes) -> str:
    text = raw.hex()
    if len(text) != 32:
        raise ValueError("give 16 bytes")
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _misfit(column: Column, declared: FeatureType, what: str, error: Exception) -> SourceDrift | InvalidTime:
    import pyarrow as pa

    row = first_misfit(lambda part: _each_chunk(part, declared), column)
    message = f"{what}, row {row}: {shown(column[row])} does not fit {declared}"
    if isinstance(error, InvalidTime):
        return InvalidTime(message, cure="check its unit and its origin")
    own = "" if isinstance(error, pa.ArrowInvalid) or declared.family is Family.UUID else str(error)
    return SourceDrift(message, cure=own or "mend the value, or declare the field as a wider type")
