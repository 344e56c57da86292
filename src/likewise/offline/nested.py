"""Nested: times inside of lists and structs, brought to microseconds in UTC by the rule of all times (S1)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.columns import Column, conform, to_utc_micros
from likewise.core.types import Family, FeatureType


def conform_nested(column: Column, declared: FeatureType, what: str) -> Column:
    """Return a column in the Arrow type of a declared type, as ``conform`` does, also the times inside of its values.

    Example:
        >>> from likewise.core.types import Array, UnixTimestamp
        >>> ticks = pa.array([[-1, None]], pa.list_(pa.timestamp("ns")))
        >>> conform_nested(ticks, Array(UnixTimestamp), "").cast(pa.list_(pa.int64())).to_pylist()
        [[-1, None]]
    """
    if declared.family in (Family.LIST, Family.SET, Family.STRUCT) and _has_times(declared):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        done = [_with_times(chunk, declared, what) for chunk in chunks]
        column = pa.chunked_array(done) if done else column
    return conform(column, declared, what)


def _has_times(declared: FeatureType) -> bool:
    inner = [kind for _, kind in declared.fields] + ([declared.inner] if declared.inner is not None else [])
    return declared.family is Family.TIME or any(map(_has_times, inner))


def _with_times(column: pa.Array, declared: FeatureType, what: str) -> pa.Array:
    if not _has_times(declared) or pa.types.is_null(column.type):
        return column
    if declared.family is Family.TIME:
        return to_utc_micros(column, what)
    if declared.family is Family.STRUCT:
        kinds = dict(declared.fields)
        children = [pc.struct_field(column, field.name) for field in column.type]
        done = [
            _with_times(child, kinds[field.name], what) if field.name in kinds else child
            for field, child in zip(column.type, children, strict=True)
        ]
        return pa.StructArray.from_arrays(done, [field.name for field in column.type], mask=column.is_null())
    assert declared.inner is not None
    lengths = pc.list_value_length(column).fill_null(0)
    ends = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))]).astype(np.int32)
    values = _with_times(pc.list_flatten(column), declared.inner, what)
    return pa.ListArray.from_arrays(pa.array(ends), values, mask=column.is_null())
