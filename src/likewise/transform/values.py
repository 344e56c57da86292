"""Python values of a declared type: what is taken as one, and in which form.

One rule: a value is taken when the declared type holds the very same number, text, time or list: ``True`` is 1 and
``2.0`` is 2. Only floats, and decimals beyond 18 digits after the point, round. Nothing is guessed: text is not read as
a number, a number not as a time.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import numpy as np

from likewise.core.errors import InvalidTime
from likewise.core.time import from_micros, to_micros
from likewise.core.types import Family, FeatureType

Taker = Callable[[Any], Any]
"""Takes one value, never None, to its declared type, or raises :class:`Refused`."""

EXACT_FLOAT = 2.0**53
"""From here on a float no longer tells neighbouring integers apart, so it is not taken as one."""
BOUNDS: Mapping[str, tuple[int, int]] = {"Int32": (-(2**31), 2**31 - 1), "Int64": (-(2**63), 2**63 - 1)}
"""The least and the greatest value of each integer type."""

_DECIMAL_PLACES = Decimal("1E-18")
_DECIMAL_LIMIT = Decimal("1E+20")
_DECIMAL_DIGITS = Context(prec=76, rounding=ROUND_HALF_EVEN)


class Refused(Exception):
    """A value that is not of the declared type; its text says why."""


def taker(feature_type: FeatureType) -> Taker:
    """Return the function that takes one Python value to a declared type; decided once per column.

    Args:
        feature_type: the declared type.

    Example:
        >>> from likewise.core.types import Array, Int64
        >>> taker(Array(Int64))((1.0, True, None))
        [1, 1, None]
    """
    family, inner = feature_type.family, feature_type.inner
    if family in (Family.LIST, Family.SET) and inner is not None:
        return _set(taker(inner)) if family is Family.SET else _list(taker(inner))
    if family is Family.STRUCT:
        return _struct({name: taker(field) for name, field in feature_type.fields})
    if family is Family.INT:
        return _int(*BOUNDS[feature_type.name])
    if feature_type.name == "Float32":
        return _float32
    return _TAKERS.get(family, _unknown)


def giver(feature_type: FeatureType) -> Taker | None:
    """Return the function that makes of a value what the reader of an online answer gets; None where it is the same.

    A function sees a set as a list in ascending order and a UUID as text, which are the same in every process; a reader
    gets a ``set`` and a ``uuid.UUID``.

    Example:
        >>> from likewise.core.types import Int64, Set
        >>> giver(Set(Int64))([1, 2]), giver(Int64)
        ({1, 2}, None)
    """
    inner = giver(feature_type.inner) if feature_type.inner is not None else None
    if feature_type.family is Family.UUID:
        return uuid.UUID
    if feature_type.family is Family.SET:
        return set if inner is None else lambda items: set(each_given(items, inner))
    if feature_type.family is Family.LIST and inner is not None:
        return lambda items: each_given(items, inner)
    fields = {name: give for name, field in feature_type.fields if (give := giver(field)) is not None}
    return _fields_giver(fields) if fields else None


def each_given(values: Iterable[Any], give: Taker) -> list[Any]:
    """Return values as ``give`` gives each; None stays None."""
    return [None if value is None else give(value) for value in values]


def _fields_giver(fields: Mapping[str, Taker]) -> Taker:
    def give(value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: each_given([item], fields[name])[0] if name in fields else item for name, item in value.items()}

    return give


def wanted(feature_type: FeatureType) -> str:
    """Return what to give for a type, for messages: ``whole numbers from -2147483648 to 2147483647``."""
    if feature_type.family is Family.INT:
        low, high = BOUNDS[feature_type.name]
        return f"whole numbers from {low} to {high}"
    if feature_type.family is Family.STRUCT:
        return f"dicts with {', '.join(repr(name) for name, _ in feature_type.fields)}"
    if feature_type.family in (Family.LIST, Family.SET) and feature_type.inner is not None:
        return f"lists of {wanted(feature_type.inner)}"
    return _WANTED.get(feature_type.family, str(feature_type))


def _bool(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.integer | np.floating) and value in (0, 1):
        return value == 1
    raise Refused("is neither true nor false")


def _int(low: int, high: int) -> Taker:
    def take(value: Any) -> int:
        if isinstance(value, int | np.integer | np.bool_):
            whole = int(value)
        elif isinstance(value, float | np.floating):
            whole = _whole(float(value))
        else:
            raise Refused("is not a whole number")
        if low <= whole <= high:
            return whole
        raise Refused("is out of range")

    return take


def _whole(value: float) -> int:
    if not math.isfinite(value) or not value.is_integer():
        raise Refused("is not a whole number")
    if abs(value) >= EXACT_FLOAT:
        raise Refused("is a float from 2**53 on, which may have lost its last digits; compute it in integers")
    return int(value)


def _float64(value: Any) -> float:
    if isinstance(value, float | np.floating | int | np.integer | np.bool_):
        try:
            return float(value)
        except OverflowError as error:
            raise Refused("is out of range") from error
    raise Refused("is not a number")


def _float32(value: Any) -> float:
    wide = _float64(value)
    try:
        return float(struct.unpack("<f", struct.pack("<f", wide))[0])
    except OverflowError as error:
        raise Refused("is out of range") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused("is not text")
    text = str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Refused("holds half of a surrogate pair, which is no character") from error
    return text


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise Refused("is not bytes")


def _time(value: Any) -> datetime:
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if not isinstance(value, date | np.datetime64):
        raise Refused("is not a time")
    try:
        return from_micros(to_micros(value))
    except InvalidTime as error:
        raise Refused("is not a time from year 1 to 9999") from error


def _uuid(value: Any) -> str:
    if isinstance(value, uuid.UUID):
        return str(value)
    try:
        return str(uuid.UUID(_text(value)))
    except ValueError as error:
        raise Refused("is not a UUID") from error


def _decimal(value: Any) -> Decimal:
    if not isinstance(value, Decimal | int | np.integer):
        raise Refused("is not a decimal number")
    number = Decimal(value) if isinstance(value, Decimal) else Decimal(int(value))
    if not number.is_finite() or number.copy_abs() >= _DECIMAL_LIMIT:  # abs() rounds to 28 digits
        raise Refused("does not fit 20 digits before the point")
    places = number.quantize(_DECIMAL_PLACES, context=_DECIMAL_DIGITS)
    short = places.normalize(_DECIMAL_DIGITS) if places else Decimal(0)
    return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1), context=_DECIMAL_DIGITS)  # type: ignore[operator]


def _list(take: Taker) -> Taker:
    def each(value: Any) -> list[Any]:
        if isinstance(value, np.ndarray):
            value = array_items(value)
        if not isinstance(value, list | tuple):
            raise Refused("is not a list")
        return [None if item is None else take(item) for item in value]

    return each


def array_items(array: np.ndarray[Any, Any]) -> list[Any]:
    """Return the items of a numpy array, times as numpy has them, for Python's would lose their unit."""
    if array.dtype.kind in "Mm":
        return [None if np.isnat(item) else item for item in array]
    items: list[Any] = array.tolist()
    return items


def _set(take: Taker) -> Taker:
    each = _list(take)

    def ascending(value: Any) -> list[Any]:
        items = each(list(value) if isinstance(value, set | frozenset) else value)
        plain = {item for item in items if item is not None and item == item}
        return (
            sorted(plain) + [item for item in items if item is not None and item != item][:1] + [None] * (None in items)
        )

    return ascending


def _map(value: Any) -> dict[str, str | None]:
    if isinstance(value, list) and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in value):
        value = dict(value)  # as Arrow has it
    if not isinstance(value, Mapping):
        raise Refused("is not a dict")
    return {_text(key): None if item is None else _text(item) for key, item in value.items()}


def _struct(fields: Mapping[str, Taker]) -> Taker:
    def take(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused("is not a dict")
        unknown = [name for name in value if name not in fields]
        if unknown:
            raise Refused(f"has a field {unknown[0]!r} that is not declared")
        got = {name: value.get(name) for name in fields}
        return {name: None if item is None else fields[name](item) for name, item in got.items()}

    return take


def _unknown(value: Any) -> Any:
    raise Refused("has no declared type")


_TAKERS: Mapping[Family, Taker] = {
    Family.BOOL: _bool,
    Family.FLOAT: _float64,
    Family.TEXT: _text,
    Family.BYTES: _bytes,
    Family.TIME: _time,
    Family.UUID: _uuid,
    Family.DECIMAL: _decimal,
    Family.MAP: _map,
}
_WANTED: Mapping[Family, str] = {
    Family.BOOL: "True and False",
    Family.FLOAT: "numbers",
    Family.TEXT: "text",
    Family.BYTES: "bytes",
    Family.TIME: "datetimes",
    Family.UUID: "UUIDs",
    Family.DECIMAL: "decimal.Decimal values",
    Family.MAP: "dicts of text to text",
}
