"""JsonForm: how the values of each feature type stand in JSON, so that nothing is lost on the way there and back.

JSON has no NaN, no bytes and no times, and says nothing of how wide a number is. The form is protobuf's where that has
one, so a Feast client reads it:

- booleans, text, numbers and null are JSON's; integers are written out, however long, and floats with as many digits
  as give back the same bits, those of Float32 too;
- NaN and the infinities are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``;
- times are ISO 8601 text in UTC with up to six places, ``"2024-01-31T10:00:00.000001Z"``;
- bytes are base64 with padding, UUIDs and decimals their text;
- lists are arrays, sets arrays in ascending order, maps and structs objects.

What a value is cannot be seen from its form, so the type is always known from the definition. What to do is decided
once for a type, outside of all loops; None means that nothing has to be done.
"""

from __future__ import annotations

import base64
import binascii
import decimal
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from likewise.core.errors import RequestError
from likewise.core.time import from_micros, to_micros
from likewise.core.types import Family, FeatureType

Convert = Callable[[Any], Any]
"""Turns one value that is not None."""
_STRANGE: Mapping[str, float] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
"""Writes times, bytes, UUIDs and decimals in this form itself."""
_WRITTEN = frozenset(
    {Family.BOOL, Family.INT, Family.TEXT, Family.BYTES, Family.TIME, Family.UUID, Family.DECIMAL, Family.MAP}
)


def column_encoder(feature_type: FeatureType) -> Callable[[Sequence[Any]], bytes]:
    """Return what writes a column's values, None being null, as a JSON array; hot.

    Args:
        feature_type: the type of the values, which are as an online answer has them.

    Example:
        >>> from likewise.core.types import Float64, Set, String
        >>> column_encoder(Float64)([1.5, None, float("nan")])
        b'[1.5,null,"NaN"]'
        >>> column_encoder(Set(String))([{"b", "a"}])
        b'[["a","b"]]'
    """
    if feature_type.family in _WRITTEN:
        return _encode
    convert, is_float, sets = to_json(feature_type), feature_type.family is Family.FLOAT, has_sets(feature_type)

    def encode(values: Sequence[Any]) -> bytes:
        if not sets:
            done = _encode(values)  # it writes null for NaN and the infinities, so without a null there are none
            if done.find(b"n") < 0 or b"null" not in done:
                return done
            if is_float and done.count(b"null") == _count_none(values):
                return done
        return _encode(values if convert is None else _converted(values, convert))

    return encode


def has_sets(feature_type: FeatureType) -> bool:
    """Tell whether values of a type hold sets, which have no order of their own.

    Example:
        >>> from likewise.core.types import Array, Int64
        >>> has_sets(Array(Int64))
        False
    """
    inner = [of for _, of in feature_type.fields] + ([feature_type.inner] if feature_type.inner is not None else [])
    return feature_type.family is Family.SET or any(map(has_sets, inner))


def to_json(feature_type: FeatureType) -> Convert | None:
    """Return what turns a value into one that msgspec writes in this form; None where it does as it is.

    Example:
        >>> from likewise.core.types import Float64
        >>> to_json(Float64)(float("-inf"))
        '-Infinity'
    """
    match feature_type.family:
        case Family.FLOAT:
            return _number
        case Family.SET if feature_type.inner is not None:
            return _set_writer(to_json(feature_type.inner))
        case Family.LIST if feature_type.inner is not None:
            inner = to_json(feature_type.inner)
            return None if inner is None else lambda items: _converted(items, inner)
        case Family.STRUCT:
            writers = {name: write for name, of in feature_type.fields if (write := to_json(of)) is not None}
            return _each_field(writers) if writers else None
    return None


def from_json(feature_type: FeatureType) -> Convert | None:
    """Return what turns a value of a request into Python's; None where it is that already.

    It raises ValueError for what cannot be a value of the type.  What is of another kind altogether, such as a number
    where text should be, is left for whoever checks types to refuse by name.

    Example:
        >>> from likewise.core.types import Bytes, UnixTimestamp
        >>> from_json(Bytes)("YQ=="), from_json(UnixTimestamp)("1970-01-01T00:00:01Z").second
        (b'a', 1)
    """
    match feature_type.family:
        case Family.FLOAT:
            return _read_number
        case Family.BYTES:
            return _read_bytes
        case Family.TIME:
            return _read_time
        case Family.UUID:
            return _read_uuid
        case Family.DECIMAL:
            return _read_decimal
        case Family.LIST | Family.SET if feature_type.inner is not None:
            inner = from_json(feature_type.inner)
            return None if inner is None else _list_reader(inner)
        case Family.STRUCT:
            readers = {name: read for name, of in feature_type.fields if (read := from_json(of)) is not None}
            return _each_field(readers) if readers else None
    return None


def decode_column(name: str, values: Iterable[Any], feature_type: FeatureType) -> Sequence[Any]:
    """Return the values of a column of a request as Python has them.

    Args:
        name: the column, for messages.
        values: as JSON gave them.
        feature_type: their type.

    Raises:
        RequestError: one cannot be a value of the type; it says which, as ``column`` and ``row``.

    Example:
        >>> from likewise.core.types import Decimal
        >>> decode_column("price", ["1.50", None], Decimal)
        [Decimal('1.50'), None]
    """
    convert = from_json(feature_type)
    listed = list(values)
    if convert is None:
        return listed
    for row, value in enumerate(listed):
        if value is not None:
            try:
                listed[row] = convert(value)
            except (ValueError, ArithmeticError) as error:
                raise _refused(name, row, value, feature_type) from error
    return listed


def _refused(name: str, row: int, value: object, feature_type: FeatureType) -> RequestError:
    text = repr(value)
    shown = text if len(text) <= 80 else text[:77] + "..."
    return RequestError(
        f"column {name!r} is {shown} in row {row}, and its type is {feature_type}",
        cure=f"give {_WORDS.get(feature_type.family, 'the form that docs/serving.md has for the type')}",
        column=name,
        row=row,
    )


_WORDS: Mapping[Family, str] = {
    Family.FLOAT: "a number, 'NaN', 'Infinity' or '-Infinity'",
    Family.BYTES: "bytes in base64, such as 'YQ=='",
    Family.TIME: "ISO 8601 text, such as '2024-01-31T10:00:00Z'",
    Family.UUID: "the text of a UUID",
    Family.DECIMAL: "the text of a decimal number, such as '1.50'",
}


# Writing


def _count_none(values: Sequence[Any]) -> int:
    return sum(value is None for value in values)


def _converted(items: Iterable[Any], convert: Convert) -> list[Any]:
    return [None if item is None else convert(item) for item in items]


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _set_writer(convert: Convert | None) -> Convert:
    def write(items: Iterable[Any]) -> list[Any]:
        there = [item for item in items if item is not None]
        plain = sorted(item for item in there if item == item)
        strange = [item for item in there if item != item][:1]  # NaN comes after the numbers, null last
        ordered = [*plain, *strange, *([None] if len(there) < len(list(items)) else [])]
        return ordered if convert is None else _converted(ordered, convert)

    return write


# Reading


def _read_number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in _STRANGE:
        raise ValueError(value)
    return _STRANGE[value]


def _read_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(value)
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(value) from error


def _read_time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError(value)
    return from_micros(to_micros(value))


def _read_uuid(value: Any) -> uuid.UUID:
    if not isinstance(value, str):
        raise ValueError(value)
    return uuid.UUID(value)


def _read_decimal(value: Any) -> decimal.Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(value)
    return decimal.Decimal(value)


def _list_reader(convert: Convert) -> Convert:
    return lambda items: _converted(items, convert) if isinstance(items, list) else items


def _each_field(converts: Mapping[str, Convert]) -> Convert:
    def apply(record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        done = dict(record)
        for name, convert in converts.items():
            if done.get(name) is not None:
                done[name] = convert(done[name])
        return done

    return apply
