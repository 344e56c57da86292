"""Sameness: whether values are the same, to the bit, or as near as float sums of windows have to be (S6)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.types import Family, FeatureType

_PLAIN = frozenset({Family.BOOL, Family.INT, Family.TEXT, Family.BYTES, Family.TIME, Family.UUID, Family.DECIMAL})
EXACT = 0.0
"""To the bit; a NaN is every other NaN."""
SUMS = 1e-12
"""How far float sums, means and moments may differ, relative to the greater one (S6)."""
OF_SUMS = 1e-9
"""How far what a function makes of such values may differ."""


def same(a: pa.Array, b: pa.Array, kind: FeatureType, within: float = EXACT) -> npt.NDArray[np.bool_]:
    """Return which values of two columns are the same; two nulls are.

    Args:
        a: a column.
        b: another one, as long.
        kind: the type of both.
        within: how far floats may differ, relative to the greater one.

    Example:
        >>> from likewise.core.types import Float64
        >>> nan = float("nan")
        >>> a, b = pa.array([nan, 0.0, None, 1.0]), pa.array([nan, -0.0, None, 1.0 + 1e-13])
        >>> same(a, b, Float64).tolist()
        [True, False, True, False]
        >>> same(a, b, Float64, SUMS).tolist()
        [True, True, True, True]
    """
    if kind.family is Family.FLOAT:
        return _same_floats(a, b, within)
    if kind.family in _PLAIN:
        equal = pc.equal(a, b.cast(a.type)).fill_null(False)
        both = pc.and_(pc.is_null(a), pc.is_null(b))
        return np.asarray(pc.or_(equal, both))
    pairs = zip(a.to_pylist(), b.to_pylist(), strict=True)
    is_set = kind.family is Family.SET
    return np.fromiter((_alike(_sorted(v, is_set), _sorted(w, is_set), within) for v, w in pairs), np.bool_, len(a))


def _same_floats(a: pa.Array, b: pa.Array, within: float) -> npt.NDArray[np.bool_]:
    there = np.asarray(a.is_valid()), np.asarray(b.is_valid())
    x, y = (np.asarray(pc.fill_null(column, 0.0)) for column in (a, b.cast(a.type)))
    bits = np.dtype(f"i{x.dtype.itemsize}")
    near = (x.view(bits) == y.view(bits)) | (np.isnan(x) & np.isnan(y))
    if within:
        with np.errstate(invalid="ignore"):
            near |= np.abs(x - y) <= within * np.maximum(np.abs(x), np.abs(y))
    equal: npt.NDArray[np.bool_] = (there[0] == there[1]) & (near | ~there[0])
    return equal


def _sorted(value: Any, is_set: bool) -> Any:
    return sorted(value, key=repr) if is_set and value is not None else value


def _alike(a: Any, b: Any, within: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        if within and abs(a - b) <= within * max(abs(a), abs(b)):
            return True
        return struct.pack("<d", a) == struct.pack("<d", b) or (a != a and b != b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_alike(v, w, within) for v, w in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_alike(a[name], b[name], within) for name in a)
    return type(a) is type(b) and bool(a == b)
