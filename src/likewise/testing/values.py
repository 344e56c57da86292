"""Values: what a value is in plain Python, so that two of them can be compared by type and by bits."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from likewise.core.time import to_micros
from likewise.core.types import Family, FeatureType


def exact(value: Any) -> Any:
    """Return a form of a value that equals another's only if type and bits agree; all NaN are one.

    Example:
        >>> exact(1) == exact(1.0), exact(True) == exact(1), exact(0.0) == exact(-0.0)
        (False, False, False)
        >>> exact([float("nan")]) == exact([float("nan")])
        True
    """
    match value:
        case None:
            return None
        case float():
            return ("float", "nan" if value != value else struct.pack(">d", value))
        case datetime():
            return ("int", to_micros(value))
        case Decimal():
            return ("decimal", decimal_text(value))
        case Mapping():
            return ("record", tuple((name, exact(inner)) for name, inner in value.items()))
        case list() | tuple():
            return ("list", tuple(exact(inner) for inner in value))
        case _:
            return (type(value).__name__, value)


def decimal_text(value: Decimal) -> str:
    """Return all digits of a decimal number, without zeros at the end; Python's own arithmetic would round to 28.

    Example:
        >>> decimal_text(Decimal("1.10")), decimal_text(Decimal("1E+2")), decimal_text(Decimal("-0.00"))
        ('1.1', '100', '0')
    """
    text = format(value, "f")
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short


def exact_all(values: Iterable[Any]) -> list[Any]:
    """Return the comparable form of each of several values.

    Example:
        >>> exact_all([1, None])
        [('int', 1), None]
    """
    return [exact(value) for value in values]


def declared(value: Any, feature_type: FeatureType) -> Any:
    """Return what a source's value is in its declared type: Float32 rounds, floats are no integers.

    Example:
        >>> from likewise.core.types import Array, Float32, Float64
        >>> declared(0.1, Float32), declared([0.1], Array(Float32)), declared(0.1, Float64)
        (0.10000000149011612, [0.10000000149011612], 0.1)
    """
    if value is None:
        return None
    if feature_type.inner is not None:
        return [declared(element, feature_type.inner) for element in value]
    if feature_type.family is Family.STRUCT:
        return {name: declared(value[name], inner) for name, inner in feature_type.fields}
    if feature_type.name == "Float64":
        return float(value)
    if feature_type.name == "Float32":
        return struct.unpack("f", struct.pack("f", value))[0]
    return value
