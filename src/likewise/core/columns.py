"""Columns: Arrow columns brought to a declared type, without loss or with an error that names column and row.

What is free: widening, and Float64 to Float32, which is rounding. What is checked value by value: whole floats to
integers, wider integers to narrower ones. Times become microseconds in UTC; finer digits are cut off downwards (S1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from likewise.core.errors import InvalidTime, SourceDrift
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import Family, FeatureType, accepts, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

Column = Any
"""A ``pa.Array`` or ``pa.ChunkedArray``; pyarrow has no name for both."""


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

    wanted = arrow_type(declared)
    if column.type == wanted and declared.family is not Family.TIME:
        return column
    if declared.family is Family.TIME:
        return to_utc_micros(column, what)
    if not accepts(declared, column.type):
        raise SourceDrift(f"{what} holds {column.type}, not {declared}", cure="retype the column, or the Field")
    plain = _plain_storage(column)
    if declared.family is Family.UUID and not pa.types.is_string(plain.type):
        return _uuid_text(plain, what)
    try:
        return plain.cast(wanted, safe=not pa.types.is_float32(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _misfit(plain, wanted, declared, what) from error


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


def _plain_storage(column: Column) -> Column:
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        return column.cast(column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _uuid_text(column: Column, what: str) -> Column:
    import uuid

    import pyarrow as pa

    try:
        texts = [None if raw is None else str(uuid.UUID(bytes=bytes(raw))) for raw in column.to_pylist()]
    except (TypeError, ValueError) as error:
        raise SourceDrift(f"{what} holds {column.type}, which is not 16 bytes a value", cure="store uuids") from error
    return pa.array(texts, pa.string())


def _misfit(column: Column, wanted: pa.DataType, declared: FeatureType, what: str) -> SourceDrift:
    import pyarrow as pa

    for row, value in enumerate(column):
        try:
            pa.array([value.as_py()], column.type).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return SourceDrift(
                f"{what}, row {row}: {value.as_py()!r} does not fit {declared}",
                cure="mend the value, or declare the field as a wider type",
            )
    return SourceDrift(f"{what} does not fit {declared}", cure="retype the column, or the Field")
