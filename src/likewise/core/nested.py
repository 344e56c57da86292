"""Nested: lists, sets, structs and maps, rebuilt from parts that were brought to a type of their own.

Sets stand in ascending order without repeats, as online: one zero, NaN after the numbers, null last. Of the values of
one key of a map, the last counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from likewise.core.types import Family, FeatureType

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Part = Callable[["pa.Array", FeatureType], "pa.Array"]
"""Brings a part of the values to a declared type."""


def with_parts(column: pa.Array, declared: FeatureType, part: Part) -> pa.Array:
    """Return a list, set, struct or map in a declared type.

    Args:
        column: the values; not a null type.
        declared: their type.
        part: brings the elements or fields to theirs.

    Example:
        >>> import pyarrow as pa
        >>> from likewise.core.types import Int64, Set
        >>> with_parts(pa.array([[3, 1, None, 1]]), Set(Int64), lambda column, declared: column).to_pylist()
        [[1, 3, None]]
    """
    import pyarrow as pa

    if declared.family is Family.STRUCT:
        return _struct(column, declared, part)
    if declared.family is Family.MAP:
        return _last_of_each_key(column.cast(pa.map_(pa.string(), pa.string())))
    return _lists(column, declared, part)


def _struct(column: pa.Array, declared: FeatureType, part: Part) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    done = [part(pc.struct_field(column, name), kind) for name, kind in declared.fields]
    return pa.StructArray.from_arrays(done, [name for name, _ in declared.fields], mask=_nulls(column))


def _lists(column: pa.Array, declared: FeatureType, part: Part) -> pa.Array:
    import pyarrow.compute as pc

    assert declared.inner is not None
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    values = part(pc.list_flatten(column), declared.inner)
    if declared.family is Family.SET:
        lengths, values = _ascending(lengths, values)
    return _from_lengths(lengths, values, _nulls(column))


def _from_lengths(lengths: npt.NDArray[np.int64], values: pa.Array, nulls: pa.Array | None) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return pa.ListArray.from_arrays(pa.array(ends).cast(pa.int32()), values, mask=nulls)


def _nulls(column: pa.Array) -> pa.Array | None:
    return column.is_null() if column.null_count else None


def _ascending(lengths: npt.NDArray[np.int64], values: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Return lists of elements, each in ascending order and without repeats."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        values = pc.add(values, pa.scalar(0.0, values.type))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    pairs = pa.table({"owner": owner, "value": values})
    order = pc.sort_indices(pairs, sort_keys=[("owner", "ascending"), ("value", "ascending")])
    values = values.take(order)  # the owners are in order, as they were
    again = np.concatenate([[False], (owner[1:] == owner[:-1]) & _like_the_one_before(values)])[: len(owner)]
    return np.bincount(owner[~again], minlength=len(lengths)), values.filter(pa.array(~again))


def _like_the_one_before(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell of each value but the first whether it equals the one before it; null is like null, and NaN like NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    one, two = values.slice(1), values.slice(0, max(0, len(values) - 1))
    same = pc.equal(one, two).fill_null(False)
    alike = [pc.is_null]
    if pa.types.is_floating(values.type):
        alike.append(lambda column: pc.is_nan(column).fill_null(False))
    for strange in alike:
        same = pc.or_(same, pc.and_(strange(one), strange(two)))
    found: npt.NDArray[np.bool_] = same.to_numpy(zero_copy_only=False)
    return found


def _last_of_each_key(column: pa.MapArray) -> pa.MapArray:
    import numpy as np
    import pyarrow as pa

    ends = column.offsets.to_numpy()
    codes = column.keys.dictionary_encode()
    inside = codes.indices.to_numpy()[ends[0] : ends[-1]].astype(np.int64)
    owner = np.repeat(np.arange(len(column)), np.diff(ends))
    ordered = np.sort(owner * max(1, len(codes.dictionary)) + inside)
    if (ordered[1:] != ordered[:-1]).all():
        return column
    return pa.array(list(map(_without_repeats, column.to_pylist())), column.type)


def _without_repeats(pairs: Sequence[tuple[Any, Any]] | None) -> list[tuple[Any, Any]] | None:
    return None if pairs is None else list(dict(pairs).items())
