"""Match: the keys of the entity rows as numbers, and the columns by which source rows are matched to them (S9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.columns import Column
from likewise.core.types import Family, FeatureType
from likewise.offline.asof import NEVER, NOBODY, Flags, Ints

Hashes = npt.NDArray[np.uint64]

_KIND: dict[Family, pa.DataType] = {
    Family.BOOL: pa.bool_(),
    Family.INT: pa.int64(),
    Family.FLOAT: pa.float64(),
    Family.TEXT: pa.string(),
    Family.UUID: pa.string(),
    Family.BYTES: pa.binary(),
    Family.TIME: pa.int64(),
    Family.DECIMAL: pa.decimal128(38, 18),
}
"""What the keys of each family are compared as."""


@dataclass(frozen=True, slots=True)
class SpineKeys:
    """The keys of the entity rows, numbered."""

    codes: Ints
    """The number of each entity row's key, from 0; :data:`~likewise.offline.asof.NOBODY` where a part of it is null."""
    count: int
    """How many numbers there are."""
    low: int | None
    """If numbers are integer keys less this, the smallest key; else None."""
    distinct: tuple[pa.Array, ...]
    """The parts of each key, by its number, where ``low`` is None; none for a view without entities."""


def number_keys(columns: Sequence[Column], types: Sequence[FeatureType], rows: int) -> SpineKeys:
    """Number the keys of the entity rows.

    Args:
        columns: the parts of the keys, in their types' Arrow types.
        types: the parts' types.
        rows: how many entity rows there are.

    Example:
        >>> from likewise.core.types import String
        >>> number_keys([pa.array(["b", "a", None, "b"])], [String], 4).codes.tolist()
        [0, 1, -1, 0]
    """
    if not columns:
        return SpineKeys(np.zeros(rows, np.int64), 1, None, ())
    parts = [comparable(column, kind) for column, kind in zip(columns, types, strict=True)]
    if len(parts) == 1 and types[0].family is Family.INT:
        dense = _dense(parts[0])
        if dense is not None:
            return dense
    return _numbered(parts)


def comparable(column: Column, kind: FeatureType) -> Column:
    """Return a key column as one whose equal values are equal keys: one width for a family, one zero, no NaN.

    Example:
        >>> from likewise.core.types import Float64
        >>> comparable(pa.array([-0.0, float("nan")]), Float64).to_pylist()
        [0.0, None]
    """
    if column.type != _KIND[kind.family]:
        column = column.cast(_KIND[kind.family])
    if kind.family is Family.FLOAT:
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), pc.add(column, 0.0))
    return column


def comparable_fields(types: Sequence[FeatureType]) -> list[tuple[str, pa.DataType]]:
    """Return name and type of each part of a key, as :func:`comparable` makes it."""
    return [(f"k{number}", _KIND[kind.family]) for number, kind in enumerate(types)]


def part_numbers(columns: Sequence[Column], parts: int, rows: int) -> Ints:
    """Return which of several equal parts each key is in, by a hash of its value that never changes.

    Args:
        columns: the parts of the keys, as :func:`comparable` makes them; what a null gives has no meaning.
        parts: how many there are.
        rows: how many keys there are.

    Example:
        >>> part_numbers([pa.array([1, 2, 3, 4], pa.int64())], 2, 4).tolist()
        [1, 0, 0, 0]
    """
    mixed = np.zeros(rows, np.uint64)
    for column in columns:
        mixed = _mixed(mixed * _ODD + _hashes(column))
    return (mixed % np.uint64(parts)).astype(np.int64)


_ODD = np.uint64(0x9E3779B97F4A7C15)
_PRIME = 0x100000001B3
_PIECE = 1 << 20
"""How many bytes of text are hashed at a time, so that they stay in the processor's cache."""


def _mixed(values: Hashes) -> Hashes:
    """Mix the bits of whole numbers: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hashes(column: Column) -> Hashes:
    """Return a number for each value, which is the value's own and nothing else's business."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):  # more text than one array holds
        return np.concatenate([_hashes(chunk) for chunk in whole.chunks])
    if pa.types.is_decimal(whole.type):
        words: Hashes = np.frombuffer(whole.buffers()[1], np.uint64)[2 * whole.offset :][: 2 * len(whole)]
        low, high = words[::2], words[1::2]
        return _mixed(low) + high
    if pa.types.is_floating(whole.type):
        numbers: npt.NDArray[np.float64] = whole.fill_null(0.0).to_numpy(zero_copy_only=False)
        return numbers.view(np.uint64)
    if not pa.types.is_string(whole.type) and not pa.types.is_binary(whole.type):
        return whole_numbers(whole).view(np.uint64)
    return _text_hashes(whole)


def _text_hashes(column: pa.Array) -> Hashes:
    """Hash texts as polynomials over their bytes."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
    letters = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    found = np.zeros(len(column), np.uint64)
    cuts = np.unique(np.searchsorted(ends, np.arange(ends[0], ends[-1] + _PIECE, _PIECE)).clip(0, len(column)))
    for start, stop in zip([0, *cuts], [*cuts, len(column)], strict=True):
        if start < stop:
            found[start:stop] = _piece_hashes(letters, ends[start : stop + 1])
    return found


def _piece_hashes(letters: npt.NDArray[np.uint8], ends: Ints) -> Hashes:
    lengths = np.diff(ends)
    powers = np.ones(int(lengths.max(initial=0)) + 1, np.uint64)
    np.multiply.accumulate(np.full(len(powers) - 1, _PRIME, np.uint64), out=powers[1:])
    position = np.arange(ends[0], ends[-1]) - np.repeat(ends[:-1], lengths)
    terms = (letters[ends[0] : ends[-1]].astype(np.uint64) + np.uint64(1)) * powers[position]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    found: Hashes = sums[ends[1:] - ends[0]] - sums[ends[:-1] - ends[0]] + lengths.astype(np.uint64)
    return found


def whole_numbers(column: Column) -> Ints:
    """Return a column of integers or times as an array; a null becomes :data:`~likewise.offline.asof.NEVER`.

    Example:
        >>> whole_numbers(pa.array([1, 2], pa.timestamp("us"))).tolist()
        [1, 2]
    """
    if column.type != pa.int64():
        column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(NEVER)
    array: Ints = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return array


def dense_codes(column: Column, low: int, count: int) -> tuple[Ints, Flags]:
    """Return the codes of integer keys that are numbered by subtraction, and which of them are codes of a key.

    Example:
        >>> dense_codes(pa.array([7, 5, None]), low=7, count=2)[1].tolist()
        [True, False, False]
    """
    codes = whole_numbers(column) - low  # what overflows lands far out of range
    inside = codes.view(np.uint64) < count
    if column.null_count:
        inside &= flags(column.is_valid())
    return codes, inside


def flags(column: Column) -> Flags:
    """Return a column of booleans without nulls as an array."""
    array: Flags = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return array


def _dense(column: Column) -> SpineKeys | None:
    """Number integer keys by subtraction, if they lie close enough for a table of all that lie between them."""
    ends = pc.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None:
        return SpineKeys(np.full(len(column), NOBODY), 0, 0, ())
    if high - low >= max(8 * len(column), 1 << 20):
        return None
    codes, known = dense_codes(column, low, high - low + 1)
    return SpineKeys(np.where(known, codes, NOBODY), high - low + 1, low, ())


def _numbered(parts: Sequence[Column]) -> SpineKeys:
    codes, distinct = _encoded(parts[0])
    tables = [distinct]
    for part in parts[1:]:
        more, distinct = _encoded(part)
        missing = (codes == NOBODY) | (more == NOBODY)
        pairs = pa.array(np.where(missing, 0, codes * len(distinct) + more), mask=missing)
        codes, combined = _encoded(pairs)
        earlier = pa.array(combined.to_numpy() // max(1, len(distinct)))
        own = pa.array(combined.to_numpy() % max(1, len(distinct)))
        tables = [*(table.take(earlier) for table in tables), distinct.take(own)]
    return SpineKeys(codes, len(tables[0]), None, tuple(tables))


def _encoded(column: Column) -> tuple[Ints, pa.Array]:
    """Return the number of each value, NOBODY for null, and the distinct values in the order of their numbers."""
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks() if encoded.num_chunks else pa.array([], column.type).dictionary_encode()
    codes = encoded.indices.cast(pa.int64()).fill_null(NOBODY).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary
