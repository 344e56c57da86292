"""Values: how the values of each feature type stand in an online record, and what a reader gets for them.

Numbers, booleans, text and bytes stand as msgpack has them; a time is an int of microseconds, a UUID 16 bytes, a
decimal its text, a list an array, a set a sorted array without repeats, a map or struct a map. What to do is decided
once for a type, outside of all loops; None means that nothing has to be done.
"""

from __future__ import annotations

import decimal
import operator
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from likewise.core.time import EPOCH, from_micros, to_micros
from likewise.core.types import Family, FeatureType

Convert = Callable[[Any], Any]
"""Turns one value that is not None."""


def converted(items: Iterable[Any], convert: Convert) -> list[Any]:
    """Return the items turned by ``convert``; None stays None.

    Example:
        >>> converted([1, None], str)
        ['1', None]
    """
    return [None if item is None else convert(item) for item in items]


def from_wire(t: FeatureType) -> Convert | None:
    """Return what turns one value of a record into the one that a reader gets; None where it is the same.

    Example:
        >>> from likewise.core.types import Int64, UnixTimestamp
        >>> from_wire(Int64) is None
        True
        >>> from_wire(UnixTimestamp)(0).isoformat()
        '1970-01-01T00:00:00+00:00'
    """
    match t.family:
        case Family.TIME:
            return from_micros
        case Family.UUID:
            return lambda raw: uuid.UUID(bytes=raw)
        case Family.DECIMAL:
            return decimal.Decimal
        case Family.SET if t.inner is not None:
            inner = from_wire(t.inner)
            return set if inner is None else lambda items: set(converted(items, inner))
        case _:
            return _inside(t, from_wire)


def column_from_wire(t: FeatureType) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """Return what turns a column of records' values into the one that a reader gets; None where it is the same.

    Example:
        >>> from likewise.core.types import Decimal
        >>> column_from_wire(Decimal)(["1.5", None])
        [Decimal('1.5'), None]
    """
    if t.family is Family.TIME:
        return _moments
    convert = from_wire(t)
    return None if convert is None else lambda items: converted(items, convert)


def _moments(items: Sequence[int | None]) -> list[datetime | None]:
    """Turn microseconds into times; hot, so without a call for each."""
    epoch, span = EPOCH, timedelta
    return [None if micros is None else epoch + span(0, 0, micros) for micros in items]


def to_wire(t: FeatureType) -> Convert | None:
    """Return what turns one of Arrow's Python values into one that msgpack has; None where it is one."""
    match t.family:
        case Family.TIME:
            return to_micros  # only inside lists and structs: whole columns are turned at once
        case Family.UUID:
            return lambda text: uuid.UUID(text).bytes
        case Family.DECIMAL:
            return str
        case Family.MAP:
            return dict
        case Family.SET if t.inner is not None:
            return _sorted_set(to_wire(t.inner))
        case _:
            return _inside(t, to_wire)


def to_arrow(t: FeatureType) -> Convert | None:
    """Return what turns one Python value into one that Arrow takes without guessing; None where it does already."""
    match t.family:
        case Family.INT:
            return _exact_int
        case Family.TIME:
            return to_micros
        case Family.UUID:
            return lambda value: str(uuid.UUID(bytes=value) if isinstance(value, bytes) else value)
        case Family.LIST | Family.SET if t.inner is not None:
            return _listed(to_arrow(t.inner))
        case _:
            return _inside(t, to_arrow)


def _inside(t: FeatureType, convert: Callable[[FeatureType], Convert | None]) -> Convert | None:
    """The conversion of a list or struct whose elements need one; None where they need none."""
    if t.family is Family.LIST and t.inner is not None:
        inner = convert(t.inner)
        return None if inner is None else _each(inner)
    if t.family is Family.STRUCT:
        fields = {name: inner for name, inner in ((name, convert(of)) for name, of in t.fields) if inner is not None}
        return _each_field(fields) if fields else None
    return None


def _each(convert: Convert) -> Convert:
    return lambda items: converted(items, convert)


def _listed(convert: Convert | None) -> Convert:
    def apply(items: Any) -> list[Any]:
        if isinstance(items, str | bytes | Mapping):
            raise TypeError(f"{items!r} is no list")
        return list(items) if convert is None else converted(items, convert)

    return apply


def _each_field(converts: Mapping[str, Convert]) -> Convert:
    def apply(record: Mapping[str, Any]) -> dict[str, Any]:
        done = dict(record)
        for name, convert in converts.items():
            if done.get(name) is not None:
                done[name] = convert(done[name])
        return done

    return apply


def _sorted_set(convert: Convert | None) -> Convert:
    def apply(items: Iterable[Any]) -> list[Any]:
        wire = items if convert is None else converted(items, convert)
        unique = {msgspec.msgpack.encode(item): item for item in wire}
        return [item for _, item in sorted(unique.items(), key=_ascending)]

    return apply


def _ascending(pair: tuple[bytes, Any]) -> tuple[bool, bool, Any, bytes]:
    packed, item = pair
    plain = item is not None and item == item and not isinstance(item, list | dict)
    return item is None, not plain, item if plain else 0, packed


def _exact_int(value: Any) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    if isinstance(value, bool):
        raise TypeError(f"{value} is no number")
    return number
