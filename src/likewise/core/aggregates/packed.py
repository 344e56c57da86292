"""Packed: how an aggregate's values stand in its state, where msgpack has no form of their own for them.

Decimals are their plain text, maps lists of pairs; everything else stands as it is. What to do is decided once for a
type; None means that nothing has to be done.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from typing import Any

from likewise.core.keys import plain_decimal
from likewise.core.time import to_micros
from likewise.core.types import NESTED, Family, FeatureType

Convert = Callable[[Any], Any]
"""Turns one value that is not None."""


def same(value: Any) -> Any:
    """Return the value itself."""
    return value


def packer(kind: FeatureType) -> Convert:
    """Return what turns a value of a type into its form in a state.

    Example:
        >>> from likewise.core.types import Array, Decimal
        >>> packer(Array(Decimal))([decimal.Decimal("1.50"), None])
        ['1.5', None]
    """
    if kind.family is Family.DECIMAL:
        return plain_decimal
    return _nested(kind, _part_packer) if kind.family in NESTED else same


def unpacker(kind: FeatureType) -> Convert:
    """Return what turns a value's form in a state into the value.

    Example:
        >>> from likewise.core.types import Decimal
        >>> unpacker(Decimal)("1.5")
        Decimal('1.5')
    """
    if kind.family is Family.DECIMAL:
        return decimal.Decimal
    if kind.family is Family.MAP:
        return lambda pairs: [(key, value) for key, value in pairs]
    return _nested(kind, unpacker) if kind.family in NESTED else same


def _part_packer(kind: FeatureType) -> Convert:
    """Parts of a value are as Arrow gives them: times in a list are datetimes, or already microseconds."""
    return to_micros if kind.family is Family.TIME else packer(kind)


def _nested(kind: FeatureType, convert: Callable[[FeatureType], Convert]) -> Convert:
    if kind.family is Family.MAP:
        return lambda value: [[key, of] for key, of in (value.items() if isinstance(value, Mapping) else value)]
    if kind.family is Family.STRUCT:
        fields = [(name, convert(inner)) for name, inner in kind.fields]
        return lambda record: {name: _unless_null(turn, record.get(name)) for name, turn in fields}
    assert kind.inner is not None
    turn = convert(kind.inner)
    return lambda items: [_unless_null(turn, item) for item in items]


def _unless_null(turn: Convert, value: Any) -> Any:
    return None if value is None else turn(value)
