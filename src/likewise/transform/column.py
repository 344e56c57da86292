"""Column: one declared column, and the only way by which values from Python or Arrow become values of its type.

The Python path, :meth:`Column.lists`, is the meaning; the Arrow path takes whole columns at once where that is plainly
the same, and otherwise goes the Python path. Both are decided on the type, once per column.
"""

from __future__ import annotations

import math
import reprlib
from array import array as packed
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.time import EARLIEST, EPOCH, LATEST
from likewise.core.types import Family, FeatureType, arrow_type, is_list
from likewise.transform.values import BOUNDS, EXACT_FLOAT, Refused, taker, wanted

_PLAIN = {
    Family.BOOL: bool,
    Family.INT: int,
    Family.FLOAT: float,
    Family.TEXT: str,
    Family.BYTES: bytes,
}
"""The families whose values are immutable and of one Python type."""
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class Misfit(Exception):
    """The first value of a column that is not of its type."""

    def __init__(self, row: int, value: object, why: str, cure: str) -> None:
        super().__init__(row, value, why, cure)
        self.row = row
        self.value = value
        self.why = why
        self.cure = cure

    def text(self, name: str, declared: FeatureType, rows: Sequence[int] | None = None) -> str:
        """Return what is wrong in words, with the value quoted.

        Args:
            name: the column.
            declared: its type.
            rows: the number of each row in the caller's batch, where this column holds only some of its rows.
        """
        row = self.row if rows is None else rows[self.row]
        found = f"{reprlib.repr(self.value)} ({type(self.value).__name__})"
        return f"{name!r}, declared {declared}, holds {found} in row {row}, which {self.why}"


class Column:
    """A declared column.

    Args:
        name: its name.
        feature_type: its type.
        nan_is_null: whether a NaN or NaT where the type has none is a missing value, as pandas people write it.

    Example:
        >>> from likewise.core.types import Int64
        >>> Column("age", Int64).lists([1, 2.0, None])
        [1, 2, None]
    """

    __slots__ = ("_fast", "_nan_is_null", "_plain", "_take", "arrow_type", "name", "type")

    def __init__(self, name: str, feature_type: FeatureType, *, nan_is_null: bool = False) -> None:
        self.name = name
        self.type = feature_type
        self.arrow_type = arrow_type(feature_type)
        self._take = taker(feature_type)
        self._nan_is_null = nan_is_null and feature_type.family is not Family.FLOAT
        plain = _PLAIN.get(feature_type.family)
        self._plain = frozenset({plain, NoneType}) if plain is not None else None
        self._fast = _fast_python(feature_type)

    # Hot: the next two run for every column of every online read.
    def lists(self, values: Sequence[Any]) -> list[Any]:
        """Return the values as declared, in a new list; nothing in it is shared with what was given but immutables.

        Raises:
            Misfit: one of them is not of the type.
        """
        if self._plain is not None:
            kinds = set(map(type, values))
            if kinds <= self._plain:
                present = values if NoneType not in kinds else [value for value in values if value is not None]
                settled = self._fast(values, present)
                if settled is not None:
                    return settled
        return list(self._each(values))

    def settled(self, values: Sequence[Any]) -> list[Any]:
        """Return values that are as declared already, in a new list like that of :meth:`lists`."""
        return list(values) if self._plain is not None else self.lists(values)

    def _each(self, values: Sequence[Any]) -> Iterator[Any]:
        take = self._take
        for row, value in enumerate(values):
            if value is None or (self._nan_is_null and _is_nan(value)):
                yield None
                continue
            try:
                yield take(value)
            except Refused as refused:
                raise Misfit(row, value, str(refused), wanted(self.type)) from refused

    def arrow(self, array: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Return an Arrow column as declared.

        Raises:
            Misfit: one of its values is not of the type.
        """
        whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        settled = _fast_arrow(whole, self.type, self.arrow_type)
        return settled if settled is not None else self.to_arrow(self.lists(whole.to_pylist()))

    def to_arrow(self, values: list[Any]) -> pa.Array:
        """Return values that are as declared as an Arrow column."""
        return pa.array(_as_pairs(values, self.type), self.arrow_type)

    def to_lists(self, array: pa.Array) -> list[Any]:
        """Return an Arrow column that is as declared as Python values, new ones."""
        if self.type.family is Family.TIME:
            return _moments(array)
        values: list[Any] = array.to_pylist()
        if self._plain is not None or self.type.family is Family.UUID or _is_plain_list(self.type):
            return values
        return self.lists(values)

    def empty(self) -> pa.Array:
        """Return the column without rows."""
        return pa.array([], self.arrow_type)


def _is_nan(value: object) -> bool:
    return isinstance(value, float | np.floating | datetime) and value != value


def _is_plain_list(feature_type: FeatureType) -> bool:
    return feature_type.family is Family.LIST and feature_type.inner is not None and feature_type.inner.family in _PLAIN


def _moments(array: pa.Array) -> list[datetime | None]:
    micros = array.cast(pa.int64()).to_pylist()
    return [None if one is None else EPOCH + timedelta(microseconds=one) for one in micros]


def _as_pairs(values: list[Any], feature_type: FeatureType) -> list[Any]:
    """Return values with every dict of a Map as the list of pairs that Arrow takes."""
    if feature_type.family is Family.MAP:
        return [None if value is None else list(value.items()) for value in values]
    if feature_type.family is Family.LIST and feature_type.inner is not None and _holds_map(feature_type.inner):
        inner = feature_type.inner
        return [None if value is None else _as_pairs(value, inner) for value in values]
    if feature_type.family is Family.STRUCT and _holds_map(feature_type):
        return [None if value is None else _struct_as_pairs(value, feature_type) for value in values]
    return values


def _struct_as_pairs(value: dict[str, Any], feature_type: FeatureType) -> dict[str, Any]:
    return {name: _as_pairs([value[name]], inner)[0] for name, inner in feature_type.fields}


def _holds_map(feature_type: FeatureType) -> bool:
    inner = [field for _, field in feature_type.fields] + ([feature_type.inner] if feature_type.inner else [])
    return feature_type.family is Family.MAP or any(map(_holds_map, inner))


# Python values: what a column of one plain Python type still has to pass. None means: look at each value.


def _fast_python(feature_type: FeatureType) -> Callable[[Sequence[Any], Sequence[Any]], list[Any] | None]:
    if feature_type.family is Family.INT:
        return _in_bounds(*BOUNDS[feature_type.name])
    if feature_type.name == "Float32":
        return _as_float32
    return _encodable if feature_type.family is Family.TEXT else _as_they_are


def _in_bounds(low: int, high: int) -> Callable[[Sequence[Any], Sequence[Any]], list[Any] | None]:
    def check(values: Sequence[Any], present: Sequence[Any]) -> list[Any] | None:
        if present and not low <= min(present) <= max(present) <= high:
            return None
        return list(values)

    return check


def _as_float32(values: Sequence[Any], present: Sequence[Any]) -> list[Any] | None:
    narrow = packed("f", present).tolist()
    if (math.inf in narrow or -math.inf in narrow) and list(map(math.isinf, narrow)) != list(map(math.isinf, present)):
        return None
    if present is values:
        return narrow
    rest = iter(narrow)
    return [None if value is None else next(rest) for value in values]


def _encodable(values: Sequence[Any], present: Sequence[Any]) -> list[Any] | None:
    if not all(map(str.isascii, present)):
        try:
            "".join(present).encode()
        except UnicodeEncodeError:
            return None
    return list(values)


def _as_they_are(values: Sequence[Any], present: Sequence[Any]) -> list[Any] | None:
    return list(values)


# Arrow columns: whole columns at once. None means: look at each value.


def _fast_arrow(array: pa.Array, feature_type: FeatureType, target: pa.DataType) -> pa.Array | None:
    family = feature_type.family
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    if family in (Family.INT, Family.FLOAT, Family.BOOL):
        return array if array.type == target else _numbers(array, family, target)
    if family in (Family.TEXT, Family.BYTES, Family.UUID):
        return _strings(array, family, target)
    if family is Family.TIME:
        return _times(array, target)
    if family is Family.LIST and feature_type.inner is not None:
        return _elements(array, feature_type.inner, target)
    return array if array.type == target and family is Family.DECIMAL else None


def _numbers(array: pa.Array, family: Family, target: pa.DataType) -> pa.Array | None:
    checks = pa.types
    if not (checks.is_integer(array.type) or checks.is_floating(array.type) or checks.is_boolean(array.type)):
        return None
    mask = None
    if array.null_count:
        mask = array.is_null().to_numpy(zero_copy_only=False)
        array = array.fill_null(False if checks.is_boolean(array.type) else 0)
    numbers = array.to_numpy(zero_copy_only=False)
    with np.errstate(all="ignore"):
        settled = _NUMBERS[family](numbers, np.dtype(target.to_pandas_dtype()))
    return None if settled is None else pa.array(settled, target, mask=mask, from_pandas=False)


def _as_ints(numbers: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    if numbers.dtype.kind == "f" and not ((numbers == np.floor(numbers)) & (np.abs(numbers) < EXACT_FLOAT)).all():
        return None
    if numbers.dtype.kind != "b" and len(numbers):
        bounds = np.iinfo(dtype)
        if not bounds.min <= int(numbers.min()) <= int(numbers.max()) <= bounds.max:
            return None
    return numbers.astype(dtype)


def _as_floats(numbers: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    wide = numbers.astype(np.float64)  # an integer is rounded to a double first, as Python does
    narrow = wide.astype(dtype)
    return narrow if dtype == np.float64 or (np.isinf(narrow) == np.isinf(wide)).all() else None


def _as_bools(numbers: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    return numbers == 1 if ((numbers == 0) | (numbers == 1)).all() else None


_NUMBERS = {Family.INT: _as_ints, Family.FLOAT: _as_floats, Family.BOOL: _as_bools}


def _strings(array: pa.Array, family: Family, target: pa.DataType) -> pa.Array | None:
    checks = pa.types
    kind = array.type.value_type if checks.is_dictionary(array.type) else array.type
    if family is Family.BYTES:
        fits = checks.is_binary(kind) or checks.is_large_binary(kind) or checks.is_binary_view(kind)
    else:
        fits = checks.is_string(kind) or checks.is_large_string(kind) or checks.is_string_view(kind)
    if not fits:
        return None
    text = array if array.type == target else array.cast(target)
    if family is Family.UUID and not pc.all(pc.match_substring_regex(text, _UUID), min_count=0).as_py():
        return None
    return text


def _times(array: pa.Array, target: pa.DataType) -> pa.Array | None:
    if not pa.types.is_timestamp(array.type):
        return None
    ticks = array.cast(pa.int64())
    per_unit = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[array.type.unit]
    bounds = pc.min_max(ticks)
    low, high = (bounds[end].as_py() for end in ("min", "max"))
    scale = 1000 if array.type.unit == "ns" else 1
    if low is not None and not EARLIEST <= low * per_unit // scale <= high * per_unit // scale <= LATEST:
        raise _out_of_years(ticks.to_pylist(), per_unit, scale, array.type)
    if array.type.unit == "ns":
        mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        ticks = pa.array(ticks.fill_null(0).to_numpy() // 1000, mask=mask)
    elif per_unit > 1:
        ticks = pc.multiply(ticks, per_unit)
    return array if array.type == target else ticks.cast(target)


def _out_of_years(ticks: list[int | None], per_unit: int, scale: int, data_type: pa.DataType) -> Misfit:
    numbered = ((row, tick) for row, tick in enumerate(ticks) if tick is not None)
    row, tick = next((row, tick) for row, tick in numbered if not EARLIEST <= tick * per_unit // scale <= LATEST)
    return Misfit(row, tick, f"as {data_type} is not a time from year 1 to 9999", "times from year 1 to 9999")


def _elements(array: pa.Array, inner: FeatureType, target: pa.DataType) -> pa.Array | None:
    if not is_list(array.type) or inner.family not in _PLAIN:
        return None
    items = _fast_arrow(array.flatten(), inner, target.value_type)
    if items is None:
        return None
    if array.type == target and items.type == array.type.value_type and array.offset == 0:
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, items, mask=array.is_null() if array.null_count else None)
