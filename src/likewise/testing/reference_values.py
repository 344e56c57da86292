"""Reference values: what a value in a file means in a declared type, one value at a time.

Each of the three converters takes a value and the declared type, and raises a ``ValueError`` that says what is wrong
with the value. Which columns of a typed file may hold a type, ``likewise.core.types.accepts`` tells; of their values

* Int32 and Int64 take whole numbers in range, floats too when they are whole,
* Float64 takes every number that it holds exactly, Float32 rounds what lies in its range; text and JSON numbers are
  refused where they would become infinite,
* UnixTimestamp takes times of any unit, naive ones as UTC, dates as midnight; finer digits are cut off downwards (S1),
* Decimal takes what has up to 18 digits behind the point and 20 before it,
* Uuid takes 16 bytes and text of any usual spelling, and is its text in lower case,
* lists, maps and structs take what their parts take; sets stand in ascending order without repeats, one zero, NaN after
  the numbers and null last; of a map's values for one key the last counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any
from uuid import UUID

import pyarrow as pa

from likewise.core.errors import InvalidTime
from likewise.core.time import EARLIEST, LATEST, to_micros
from likewise.core.types import Family, FeatureType
from likewise.testing.values import decimal_text, declared

Converter = Callable[[Any, FeatureType], Any]
"""Turns one value of a file into one of a declared type; None stays None."""

_PER_MICRO = {"s": 1_000_000, "ms": 1_000, "us": 1}
_RANGE = {"Int32": 2**31, "Int64": 2**63}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_BOOLS = {"true": True, "false": False}


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column's values as plain Python ones; times as microseconds, cut off downwards.

    Example:
        >>> plain_values(pa.array([-1, 1999], pa.timestamp("ns")))
        [-1, 1]
    """
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in plain_values(chunk)]
    kind, checks = column.type, pa.types
    if checks.is_dictionary(kind):
        return plain_values(column.dictionary_decode())
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if checks.is_timestamp(kind):
        return [_micros(ticks, kind.unit) for ticks in column.view(pa.int64()).to_pylist()]
    if checks.is_date(kind):
        return [None if day is None else to_micros(day) for day in column.to_pylist()]
    if checks.is_map(kind):
        return [_pairs(value) if value.is_valid else None for value in column]
    if _is_list(kind):
        return [plain_values(value.values) if value.is_valid else None for value in column]
    if checks.is_struct(kind):
        inner = {field.name: plain_values(column.field(number)) for number, field in enumerate(kind)}
        return [
            {name: values[row] for name, values in inner.items()} if valid else None
            for row, valid in enumerate(column.is_valid().to_pylist())
        ]
    values: list[Any] = column.to_pylist()
    return values


def from_arrow(value: Any, wanted: FeatureType) -> Any:
    """Turn a plain value of a typed file into one of the declared type.

    Example:
        >>> from likewise.core.types import Int64
        >>> from_arrow(3.0, Int64)
        3
    """
    match wanted.family:
        case _ if value is None:
            return None
        case Family.INT:
            return _whole(value, wanted)
        case Family.FLOAT:
            return _float(value, wanted)
        case Family.TIME:
            return _in_years(value)
        case Family.DECIMAL:
            return _decimal(Decimal(value))
        case Family.UUID:
            return _uuid(value)
        case Family.LIST | Family.SET if wanted.inner is not None:
            return _listed([from_arrow(element, wanted.inner) for element in value], wanted)
        case Family.MAP:
            return list(dict(value).items())
        case Family.STRUCT:
            return {name: from_arrow(value[name], inner) for name, inner in wanted.fields}
        case _:
            return value


def from_text(text: str | None, wanted: FeatureType) -> Any:
    """Turn one field of a CSV file into a value of the declared type.

    Example:
        >>> from likewise.core.types import Int64, String
        >>> from_text("007", Int64), from_text("007", String)
        (7, '007')
    """
    match wanted.family:
        case _ if text is None:
            return None
        case Family.TEXT:
            return text
        case Family.UUID:
            return _uuid(text)
        case Family.BOOL if text.lower() in _BOOLS:
            return _BOOLS[text.lower()]
        case Family.INT | Family.FLOAT | Family.DECIMAL if _NUMBER.fullmatch(text):
            return _number(text, wanted)
        case Family.TIME:
            return iso_micros(text)
    raise ValueError(f"the text {text!r}")


def from_json(value: Any, wanted: FeatureType) -> Any:
    """Turn one value of a JSON line into one of the declared type.

    Example:
        >>> from likewise.core.types import Array, Float64
        >>> from_json([1, 2.5, None], Array(Float64))
        [1.0, 2.5, None]
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match wanted.family:
        case _ if value is None:
            return None
        case Family.BOOL if isinstance(value, bool):
            return value
        case Family.TEXT if isinstance(value, str):
            return value
        case Family.UUID if isinstance(value, str):
            return _uuid(value)
        case Family.INT if number:
            return _whole(value, wanted)
        case Family.FLOAT if number:
            return _float(value, wanted)
        case Family.DECIMAL if number:
            return _decimal(Decimal(str(value)))
        case Family.TIME if isinstance(value, str):
            return iso_micros(value)
        case Family.LIST | Family.SET if isinstance(value, list) and wanted.inner is not None:
            return _listed([from_json(element, wanted.inner) for element in value], wanted)
        case Family.MAP if isinstance(value, dict):
            return list(value.items())
        case Family.STRUCT if isinstance(value, dict):
            return {name: from_json(value.get(name), inner) for name, inner in wanted.fields}
    raise ValueError(f"the value {value!r}")


def iso_micros(text: str) -> int:
    """Return the microseconds of an ISO 8601 text; a naive one is UTC.

    Example:
        >>> iso_micros("1970-01-01 01:00:00+01:00")
        0
    """
    try:
        return to_micros(text)
    except InvalidTime as error:
        raise ValueError(f"the text {text!r}, which is no time") from error


def _micros(ticks: int | None, unit: str) -> int | None:
    if ticks is None:
        return None
    return ticks // 1000 if unit == "ns" else ticks * _PER_MICRO[unit]


def _in_years(micros: int) -> int:
    if EARLIEST <= micros <= LATEST:
        return micros
    raise ValueError(f"the time {micros} µs, outside of the years 1 to 9999")


def _float(value: int | float | Decimal, wanted: FeatureType) -> float:
    if isinstance(value, int) and wanted.name == "Float64" and int(float(value)) != value:
        raise ValueError(f"the number {value!r}, which a double does not hold exactly")
    number: float = declared(float(value), wanted)
    if isinf(number) and number != value:
        raise ValueError(f"the number {value!r}, which is out of range")
    return number


def _decimal(value: Decimal) -> Decimal:
    if not value.is_finite() or value.copy_abs() >= 10**20 or len(decimal_text(value).partition(".")[2]) > 18:
        raise ValueError(f"the number {value}, which is out of range")
    return value


def _uuid(value: bytes | str) -> str:
    if isinstance(value, bytes) and len(value) != 16:
        raise ValueError(f"the bytes {value!r}, which are not 16")
    return str(UUID(bytes=value) if isinstance(value, bytes) else UUID(value))


def _listed(elements: list[Any], wanted: FeatureType) -> list[Any]:
    if wanted.family is not Family.SET:
        return elements
    numbers = {element for element in elements if element is not None and element == element}
    found: list[Any] = sorted(0.0 if element == 0.0 and isinstance(element, float) else element for element in numbers)
    nans = [element for element in elements if element != element][:1]
    return [*found, *nans, *([None] if None in elements else [])]


def _whole(value: int | float | Decimal, wanted: FeatureType) -> int:
    limit = _RANGE[wanted.name]
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise ValueError(f"the number {value!r}, which is not whole")
    if not -limit <= int(value) < limit:
        raise ValueError(f"the number {value!r}, which is out of range")
    return int(value)


def _number(text: str, wanted: FeatureType) -> Any:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"the text {text!r}") from error
    if wanted.family is Family.INT:
        return _whole(number, wanted) if number.is_finite() else _whole(float(text), wanted)
    return _float(number, wanted) if wanted.family is Family.FLOAT else _decimal(number)


def _pairs(value: pa.MapScalar) -> list[tuple[Any, Any]]:
    entries = value.values
    return list(zip(plain_values(entries.field(0)), plain_values(entries.field(1)), strict=True))


def _is_list(kind: pa.DataType) -> bool:
    checks = pa.types
    return bool(checks.is_list(kind) or checks.is_large_list(kind) or checks.is_fixed_size_list(kind))
