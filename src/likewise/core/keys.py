"""Entity keys: typed values to bytes and back, and the coercion that comes before (S9).

A key is one version byte, then for each join key, in sorted order of the join keys' names, one tag byte and a payload::

    0x01 bool       1 byte, 00 or 01
    0x02 int        8 bytes, big-endian, value + 2^63
    0x03 float      8 bytes, IEEE 754, sign bit flipped (all bits, if negative); -0.0 is 0.0, NaN is refused
    0x04 text       length in 4 bytes, then UTF-8, as given: no Unicode normalisation
    0x05 bytes      length in 4 bytes, then the bytes
    0x06 timestamp  8 bytes, microseconds since the epoch as int
    0x07 uuid       16 bytes
    0x08 decimal    length in 4 bytes, then the plain digits without trailing zeros

The tag keeps 1, "1", 1.0 and True apart, the lengths keep ("a", "bc") and ("ab", "c") apart. Numbers and times sort as
bytes in their own order (text sorts by length first), so a store that is written in the order of the join keys is
written from left to right. The bytes never change for a version byte; golden tests hold them.
"""

from __future__ import annotations

import decimal
import math
import re
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, repeat
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from likewise.core.columns import Column, cast_exactly, conform
from likewise.core.errors import EntityKeyError, InvalidType, SourceDrift, StoreCorrupt, StoreTooNew
from likewise.core.time import EARLIEST, LATEST, from_micros, to_micros
from likewise.core.types import Family, FeatureType, arrow_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Matrix = npt.NDArray[np.uint8]

VERSION = 1
"""The first byte of every key."""

_BIAS = 1 << 63
_ALL = (1 << 64) - 1
_SLICE = 65_536
"""How many rows are turned at a time, so that what they need stays in the processor's cache."""
_TAGS = {
    Family.BOOL: 1,
    Family.INT: 2,
    Family.FLOAT: 3,
    Family.TEXT: 4,
    Family.BYTES: 5,
    Family.TIME: 6,
    Family.UUID: 7,
    Family.DECIMAL: 8,
}
KEY_FAMILIES = frozenset(_TAGS)
"""What a key may be made of."""
KEY_CURE = "use text, a number, bytes, Bool, UnixTimestamp, Uuid or Decimal"
_ONE_BY_ONE = (Family.UUID, Family.DECIMAL)
_SORTED_AS_VALUES = (Family.BOOL, Family.INT, Family.TIME)
_BOUNDS = {"Int32": (-(1 << 31), (1 << 31) - 1), "Int64": (-(1 << 63), (1 << 63) - 1)}
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,25}\s*")
_LONGEST_DECIMAL = 1000
_LONGEST_WHOLE = 20
"""The most digits that are written out to find out how many there are."""
_WHOLE_DIGITS, _FRACTION_DIGITS = 20, 18
"""The most digits that a decimal key may have before, and after, its point, as in every column of decimals."""

Pieces = list[bytes]
"""What one join key adds to the keys, one item for each row."""


class KeyCodec:
    """Turns the values of some join keys into key bytes; the types are looked at once, here.

    Args:
        types: the join keys' types, in sorted order of the join keys' names; none for a view without entities.
        names: the join keys' names in the same order, for messages.

    Raises:
        InvalidType: a type that cannot be part of a key, such as a list.

    Example:
        >>> from likewise.core.types import Int64, String
        >>> codec = KeyCodec([Int64, String], ["customer", "terminal"])
        >>> codec.encode([[7], ["a"]])[0].hex(" ")
        '01 02 80 00 00 00 00 00 00 07 04 00 00 00 01 61'
        >>> codec.decode(codec.encode([[7], ["a"]])[0])
        (7, 'a')
    """

    def __init__(self, types: Sequence[FeatureType], names: Sequence[str] = ()) -> None:
        self.types = tuple(types)
        self.names = tuple(names) or tuple(f"key {number}" for number in range(1, len(self.types) + 1))
        heads = [bytes([_tag(t, name)]) for t, name in zip(self.types, self.names, strict=True)]
        self._heads = [bytes([VERSION]) + head if i == 0 else head for i, head in enumerate(heads)]
        self._encoders = [_ENCODERS[t.family](head) for t, head in zip(self.types, self._heads, strict=True)]

    def encode(self, columns: Sequence[Sequence[Any]], rows: int = 0) -> list[bytes]:
        """Turn columns of coerced Python values into keys.

        Args:
            columns: one for each join key, in the codec's order, of one length, as :func:`coerce` returns them.
            rows: how many keys to return for a view without entities; not looked at otherwise.

        Raises:
            EntityKeyError: text that UTF-8 cannot hold.
        """
        pieces = [encode(column) for encode, column in zip(self._encoders, columns, strict=True)]
        return _joined(pieces, rows)

    def encode_arrow(self, columns: Sequence[pa.Array | pa.ChunkedArray], rows: int = 0) -> list[bytes]:
        """Turn Arrow columns into keys, a batch at a time.

        Args:
            columns: one for each join key, in the codec's order, of one length; of the join key's Arrow type or of one
                whose values all fit it.
            rows: how many keys to return for a view without entities; not looked at otherwise.

        Raises:
            EntityKeyError: a null, NaN, or a value that does not fit the join key's type.
        """
        if not self.types:
            return _joined([], rows)
        keys: list[bytes] = []
        for start in range(0, len(columns[0]), _SLICE):
            keys += self._encode_slice([_flat(column.slice(start, _SLICE)) for column in columns], start)
        return keys

    def order(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
        """Return the numbers of the rows in the order of their keys.

        A store with a tree of pages (LMDB, SQLite) that is written in this order is written from left to right, which
        is several times as fast as any other order, and makes smaller files.

        Args:
            columns: as for :meth:`encode_arrow`, at least one.

        Example:
            >>> import pyarrow as pa
            >>> from likewise.core.types import String
            >>> KeyCodec([String]).order([pa.array(["b", "aa", "a"])]).to_pylist()
            [2, 0, 1]
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if all(t.family in _SORTED_AS_VALUES for t in self.types) and self.types:
            names = [str(number) for number in range(len(self.types))]
            table = pa.table(dict(zip(names, columns, strict=True)))
            return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
        return pc.sort_indices(pa.array(self.encode_arrow(columns), pa.binary()))

    def decode(self, key: bytes) -> tuple[Any, ...]:
        """Return the values that a key was made of; times, UUIDs and decimals as such.

        Raises:
            StoreCorrupt: the bytes are not a key, or not one of these join keys.
        """
        values = decode_key(key)
        if tuple(key_tags(key)) != tuple(head[-1] for head in self._heads):
            raise StoreCorrupt(f"the key {key[:40].hex(' ')} is not one of {list(self.names)}", cure=_REBUILD)
        return values

    def _encode_slice(self, columns: list[pa.Array], start: int) -> list[bytes]:
        checked = [
            column if t.family in _ONE_BY_ONE else _coerced(name, column, t, start)
            for column, name, t in zip(columns, self.names, self.types, strict=True)
        ]
        fixed = [_matrix(column, t.family) for column, t in zip(checked, self.types, strict=True)]
        matrices = [matrix for matrix in fixed if matrix is not None]
        if len(matrices) == len(fixed):
            return _rows_of(self._heads, matrices)
        pieces = [
            _rows_of([head], [matrix]) if matrix is not None else self._encode_variable(i, column, start)
            for i, (head, column, matrix) in enumerate(zip(self._heads, checked, fixed, strict=True))
        ]
        return _joined(pieces, 0)

    def _encode_variable(self, index: int, column: pa.Array, start: int) -> Pieces:
        if self.types[index].family in (Family.TEXT, Family.BYTES):
            return _text_pieces(column, self._heads[index])
        values = coerce(self.names[index], column.to_pylist(), self.types[index], start)
        return self._encoders[index](values)


def coerce(
    name: str, values: Iterable[Any], wanted: FeatureType, first_row: int = 0, *, nulls: bool = False
) -> list[Any]:
    """Turn values into those of a join key's type, where nothing is lost by it.

    ``"1"`` and ``1.0`` become 1 for an integer key. What would be a guess is refused: True or 1.5 for an integer, 1 for
    text.

    Args:
        name: the join key's name, for messages.
        values: Python or numpy values.
        wanted: the join key's type.
        first_row: the row number of the first value, for messages.
        nulls: whether None stays None; otherwise it is refused.

    Returns:
        A list of int, float, str, bytes, bool, datetime (UTC), UUID or Decimal.

    Raises:
        EntityKeyError: a value is null, or is not of the type; the message names the join key, the row (from 0) and
            the value.

    Example:
        >>> from likewise.core.types import Int64
        >>> coerce("customer", [1, "2", 3.0], Int64)
        [1, 2, 3]
        >>> coerce("user", [1, None], Int64)
        Traceback (most recent call last):
        likewise.core.errors.EntityKeyError: the join key 'user' is null in row 1. give every row a whole number (Int64)
    """
    given = list(values)
    if _already(given, wanted):
        return given
    _tag(wanted, name)
    convert = _CONVERTERS[wanted.family]
    done: list[Any] = []
    for row, value in enumerate(given):
        try:
            done.append(None if value is None and nulls else convert(value, wanted))
        except (ValueError, TypeError, ArithmeticError, struct.error) as error:
            raise _refused(name, first_row + row, value, wanted) from error
    return done


def coerce_column(name: str, column: Column, wanted: FeatureType, first_row: int = 0, *, nulls: bool = False) -> Column:
    """Turn an Arrow column into one of a join key's type, by the very rule of :func:`coerce`.

    What Arrow turns without loss is turned as a whole; everything else goes through :func:`coerce`, value by value.

    Args:
        name: the join key's name, for messages.
        column: the values, of any type.
        wanted: the join key's type.
        first_row: the row number of the first value, for messages.
        nulls: whether a null stays one, as in entity rows, where it matches nothing; otherwise it is refused.

    Returns:
        The column in the join key's Arrow type; UUIDs as their usual text.

    Raises:
        EntityKeyError: a value is null, or is not of the type; the message names the join key, the row (from 0) and
            the value.

    Example:
        >>> import pyarrow as pa
        >>> from likewise.core.types import Int64
        >>> coerce_column("customer", pa.array(["1", None]), Int64, nulls=True).to_pylist()
        [1, None]
    """
    import pyarrow as pa

    _tag(wanted, name)
    if not isinstance(column, pa.ChunkedArray):
        return _coerced(name, _flat(column), wanted, first_row, nulls)
    starts = accumulate(map(len, column.chunks), initial=first_row)
    done = [_coerced(name, _flat(chunk), wanted, at, nulls) for chunk, at in zip(column.chunks, starts, strict=False)]
    return pa.chunked_array(done, arrow_type(wanted))


def decode_key(key: bytes) -> tuple[Any, ...]:
    """Return the values that a key was made of, whatever its join keys are.

    Raises:
        StoreCorrupt: the bytes are not a key.
        StoreTooNew: they are a key of a newer version.

    Example:
        >>> decode_key(bytes.fromhex("01028000000000000007040000000161"))
        (7, 'a')
    """
    return tuple(value for _, value in _fields(key))


def key_tags(key: bytes) -> list[int]:
    """Return the tag of each value in a key.

    Example:
        >>> key_tags(bytes.fromhex("010101"))
        [1]
    """
    return [tag for tag, _ in _fields(key)]


# ---- Python values to bytes ----------------------------------------------------------------------------------------


def _joined(pieces: list[Pieces], rows: int) -> list[bytes]:
    if not pieces:
        return [bytes([VERSION])] * rows
    if len(pieces) == 1:
        return pieces[0]
    return [b"".join(row) for row in zip(*pieces, strict=True)]


def _bools(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    no, yes = head + b"\0", head + b"\1"
    return lambda column: [yes if value else no for value in column]


def _ints(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    any_int = struct.Struct(f">{len(head)}sQ").pack
    below_32_bits, begin = struct.Struct(f">{len(head) + 4}sI").pack, head + b"\x80\0\0\0"

    def encode(column: Sequence[Any]) -> Pieces:
        try:  # most are, and are packed in two thirds of the time: no larger int is made of them
            return list(map(below_32_bits, repeat(begin), column))
        except struct.error:
            return [any_int(head, value + _BIAS) for value in column]

    return encode


def _floats(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    return lambda column: [head + _float_bytes(value) for value in column]


def _float_bytes(value: float) -> bytes:
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
    return struct.pack(">Q", bits ^ (_ALL if bits >> 63 else _BIAS))


def _texts(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    def encode(column: Sequence[Any]) -> Pieces:
        try:
            raw = [value.encode() for value in column]
        except UnicodeEncodeError as error:
            raise EntityKeyError(
                f"the entity key {error.object!r} holds half of a surrogate pair, which is no text",
                cure="give text that UTF-8 can hold",
            ) from error
        return [head + len(value).to_bytes(4, "big") + value for value in raw]

    return encode


def _binaries(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    return lambda column: [head + len(value).to_bytes(4, "big") + value for value in column]


def _times(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    ints = _ints(head)
    return lambda column: ints([to_micros(value) for value in column])


def _uuids(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    return lambda column: [head + value.bytes for value in column]


def _decimals(head: bytes) -> Callable[[Sequence[Any]], Pieces]:
    texts = _texts(head)
    return lambda column: texts([plain_decimal(value) for value in column])


def plain_decimal(value: decimal.Decimal) -> str:
    """Write a decimal as plain digits: no exponent, no trailing zeros, one zero.

    Example:
        >>> plain_decimal(decimal.Decimal("-1.50")), plain_decimal(decimal.Decimal("1E+3"))
        ('-1.5', '1000')
    """
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


_ENCODERS: dict[Family, Callable[[bytes], Callable[[Sequence[Any]], Pieces]]] = {
    Family.BOOL: _bools,
    Family.INT: _ints,
    Family.FLOAT: _floats,
    Family.TEXT: _texts,
    Family.BYTES: _binaries,
    Family.TIME: _times,
    Family.UUID: _uuids,
    Family.DECIMAL: _decimals,
}


# ---- Arrow columns to bytes ----------------------------------------------------------------------------------------


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _coerced(name: str, column: pa.Array, wanted: FeatureType, start: int, nulls: bool = False) -> pa.Array:
    """Return a column in its key's Arrow type; what Arrow cannot turn without loss goes through :func:`coerce`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count and not nulls:
        raise _refused(name, start + pc.index(column.is_null(), True).as_py(), None, wanted)
    settled = _at_once(column, name, wanted, start)
    if settled is not None:
        return settled
    values = coerce(name, column.to_pylist(), wanted, start, nulls=nulls)
    if wanted.family is Family.UUID:
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, arrow_type(wanted))


def _at_once(column: pa.Array, name: str, wanted: FeatureType, start: int) -> pa.Array | None:
    """Return a whole column in its key's Arrow type; None where its values have to be looked at one by one."""
    from pyarrow import types

    if wanted.family is Family.TIME and types.is_timestamp(column.type):
        return _in_years(column, name, wanted, start)
    try:
        if types.is_null(column.type):
            return column.cast(arrow_type(wanted))
        if wanted.family is Family.UUID:
            return conform(column, wanted, name)
        if wanted.family is Family.FLOAT and types.is_floating(column.type):
            return _plain_floats(cast_exactly(column, arrow_type(wanted)))
        if column.type == arrow_type(wanted):
            return column
        return column.cast(arrow_type(wanted)) if _same_kind(column.type, wanted.family) else None
    except (ValueError, SourceDrift):  # one value does not fit: coerce() finds it and names it
        return None


def _plain_floats(column: pa.Array) -> pa.Array | None:
    """Return floats with one zero; None if one is NaN, which is no key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return None if pc.any(pc.is_nan(column)).as_py() else pc.add(column, pa.scalar(0.0, column.type))


def _same_kind(found: pa.DataType, family: Family) -> bool:
    from pyarrow import types

    kinds = {
        Family.INT: (types.is_integer,),
        Family.TEXT: (types.is_large_string, types.is_string_view),
        Family.BYTES: (types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
    }
    return any(holds(found) for holds in kinds.get(family, ()))


def _in_years(column: pa.Array, name: str, wanted: FeatureType, start: int) -> pa.Array:
    """Return times as whole microseconds, finer digits cut off downwards, all of them in the years 1 to 9999."""
    import numpy as np
    import pyarrow as pa

    factor = {"s": 1_000_000, "ms": 1000}.get(column.type.unit, 1)
    nulls = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    ticks = column.cast(pa.int64()).fill_null(0).to_numpy()
    if column.type.unit == "ns":
        ticks = ticks // 1000
    outside = (ticks < EARLIEST // factor) | (ticks > LATEST // factor)
    if outside.any():
        row = int(np.argmax(outside))
        raise _refused(name, start + row, column[row].cast(pa.int64()).as_py(), wanted)
    return pa.array(ticks * factor, mask=nulls).cast(arrow_type(wanted))


def _matrix(column: pa.Array, family: Family) -> Matrix | None:
    """Return the payload of a type of fixed width, one row for each key; None for the other types."""
    import numpy as np

    match family:
        case Family.BOOL:
            flags: Matrix = column.to_numpy(zero_copy_only=False).astype(np.uint8).reshape(-1, 1)
            return flags
        case Family.INT | Family.TIME:
            bits = column.to_numpy().astype(np.int64).view(np.uint64) ^ np.uint64(_BIAS)
        case Family.FLOAT:
            bits = (column.to_numpy().astype(np.float64) + 0.0).view(np.uint64)
            bits = bits ^ np.where(bits >> np.uint64(63), np.uint64(_ALL), np.uint64(_BIAS))
        case _:
            return None
    words: Matrix = bits.astype(">u8").view(np.uint8).reshape(-1, 8)
    return words


def _rows_of(heads: Sequence[bytes], matrices: Sequence[Matrix]) -> Pieces:
    """Put heads and payloads of fixed width side by side, and cut the result into rows."""
    import numpy as np

    width = sum(map(len, heads)) + sum(matrix.shape[1] for matrix in matrices)
    whole = np.empty((len(matrices[0]), width), np.uint8)
    at = 0
    for head, matrix in zip(heads, matrices, strict=True):
        for part in (np.frombuffer(head, np.uint8), matrix):
            whole[:, at : at + part.shape[-1]] = part
            at += part.shape[-1]
    rows: Pieces = whole.view(f"V{width}").ravel().tolist()
    return rows


def _text_pieces(column: pa.Array, head: bytes) -> Pieces:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(column).to_numpy().astype(">u4").view(np.uint8).reshape(-1, 4)
    heads = pa.array(_rows_of([head], [lengths]), pa.binary())
    pieces: Pieces = pc.binary_join_element_wise(heads, column.cast(pa.binary()), b"").to_pylist()
    return pieces


# ---- Any value to one of the key's type ----------------------------------------------------------------------------


def _already(values: list[Any], wanted: FeatureType) -> bool:
    """Whether nothing has to be turned: the way of every request that gives the right types."""
    if set(map(type, values)) != {_READY.get(wanted.family)}:
        return False
    if wanted.family is Family.INT:
        low, high = _BOUNDS[wanted.name]
        return bool(min(values) >= low and max(values) <= high)
    return True


def _to_bool(value: Any, _: FeatureType) -> bool:
    if isinstance(value, bool) or type(value).__name__ == "bool":  # numpy's bool has the same name
        return bool(value)
    raise TypeError


def _to_int(value: Any, wanted: FeatureType) -> int:
    number = _whole(value)
    low, high = _BOUNDS[wanted.name]
    if not low <= number <= high:
        raise ValueError
    return number


def _whole(value: Any) -> int:
    """Return a value as an int that equals it, or raise."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise ValueError
        return int(value)
    if not isinstance(value, decimal.Decimal | Real) or type(value).__name__ == "timedelta64":  # numpy says it is one
        raise TypeError
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, decimal.Decimal) and value.adjusted() > _LONGEST_WHOLE:  # 1E+999999 takes a minute as an int
        raise ValueError
    number = int(value) if isinstance(value, decimal.Decimal) else int(float(value))
    if number != value:
        raise ValueError
    return number


def _to_float(value: Any, wanted: FeatureType) -> float:
    if isinstance(value, bool) or not isinstance(value, Real | decimal.Decimal | str):
        raise TypeError
    number = float(value)
    if math.isnan(number) or (isinstance(value, Integral) and int(number) != int(value)):
        raise ValueError
    if math.isinf(number) and isinstance(value, str | decimal.Decimal) and decimal.Decimal(value).is_finite():
        raise ValueError  # 1e999 is not infinity
    if wanted.name == "Float32":
        (number,) = struct.unpack("<f", struct.pack("<f", number))
    return number + 0.0


def _to_text(value: Any, _: FeatureType) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _to_bytes(value: Any, _: FeatureType) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _to_time(value: Any, _: FeatureType) -> datetime:
    return from_micros(to_micros(_whole(value) if isinstance(value, Integral) else value, "key"))


def _to_uuid(value: Any, _: FeatureType) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    if not isinstance(value, str | bytes):
        raise TypeError
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(value)


def _to_decimal(value: Any, _: FeatureType) -> decimal.Decimal:
    if isinstance(value, bool) or not isinstance(value, decimal.Decimal | Integral | str):
        raise TypeError
    number = decimal.Decimal(int(value)) if isinstance(value, Integral) else decimal.Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_DECIMAL:
        raise ValueError
    whole, _point, fraction = plain_decimal(number).lstrip("-").partition(".")
    if len(whole) > _WHOLE_DIGITS or len(fraction) > _FRACTION_DIGITS:
        raise ValueError
    return decimal.Decimal(plain_decimal(number))


_CONVERTERS: dict[Family, Callable[[Any, FeatureType], Any]] = {
    Family.BOOL: _to_bool,
    Family.INT: _to_int,
    Family.FLOAT: _to_float,
    Family.TEXT: _to_text,
    Family.BYTES: _to_bytes,
    Family.TIME: _to_time,
    Family.UUID: _to_uuid,
    Family.DECIMAL: _to_decimal,
}
_READY: dict[Family, type] = {
    Family.BOOL: bool,
    Family.INT: int,
    Family.TEXT: str,
    Family.BYTES: bytes,
    Family.UUID: uuid.UUID,
}
_WORDS = {
    Family.BOOL: "True or False",
    Family.INT: "a whole number",
    Family.FLOAT: "a number",
    Family.TEXT: "text",
    Family.BYTES: "bytes",
    Family.TIME: "a datetime, or ISO 8601 text",
    Family.UUID: "a UUID, or its text",
    Family.DECIMAL: "a Decimal, an integer, or the text of one",
}


def _refused(name: str, row: int, value: object, wanted: FeatureType) -> EntityKeyError:
    words = _WORDS[wanted.family]
    if value is None:
        what, cure = f"the join key {name!r} is null in row {row}", f"give every row {words} ({wanted})"
        return EntityKeyError(what, cure=cure, column=name, row=row)
    text = repr(value)
    shown = text if len(text) <= 80 else text[:77] + "..."
    return EntityKeyError(
        f"the join key {name!r} is {shown} ({type(value).__name__}) in row {row}, and its entity says {wanted}",
        cure=f"give {words} that {wanted} can hold",
        column=name,
        row=row,
    )


def _tag(wanted: FeatureType, name: str) -> int:
    if wanted.family not in _TAGS:
        raise InvalidType(
            f"the join key {name!r} has type {wanted}, which cannot be part of a key",
            cure=KEY_CURE,
        )
    return _TAGS[wanted.family]


# ---- Bytes to values -----------------------------------------------------------------------------------------------

_REBUILD = "rebuild the online store from the sources"


def _fields(key: bytes) -> Iterator[tuple[int, Any]]:
    if key[:1] != bytes([VERSION]):
        if key and key[0] > VERSION:
            raise StoreTooNew(
                f"the entity key {key[:40].hex(' ')} has format {key[0]}, and this version of Likewise reads {VERSION}",
                cure="install a newer Likewise",
            )
        raise _not_a_key(key)
    at = 1
    while at < len(key):
        tag = key[at]
        at += 1
        size = _WIDTHS.get(tag, -1)
        if size < 0:
            size = int.from_bytes(key[at : at + 4].ljust(4, b"\xff"), "big")
            at += 4
        payload = key[at : at + size]
        if tag not in _READERS or len(payload) != size:
            raise _not_a_key(key)
        try:
            yield tag, _READERS[tag](payload)
        except (ValueError, ArithmeticError) as error:
            raise _not_a_key(key) from error
        at += size


def _read_bool(payload: bytes) -> bool:
    if payload not in (b"\0", b"\1"):
        raise ValueError
    return payload == b"\1"


def _read_int(payload: bytes) -> int:
    return int.from_bytes(payload, "big") - _BIAS


def _read_float(payload: bytes) -> float:
    bits = int.from_bytes(payload, "big")
    (number,) = struct.unpack(">d", struct.pack(">Q", bits ^ (_BIAS if bits >> 63 else _ALL)))
    return float(number)


_WIDTHS = {1: 1, 2: 8, 3: 8, 6: 8, 7: 16}
_READERS: dict[int, Callable[[bytes], Any]] = {
    1: _read_bool,
    2: _read_int,
    3: _read_float,
    4: bytes.decode,
    5: bytes,
    6: lambda payload: from_micros(_read_int(payload)),
    7: lambda payload: uuid.UUID(bytes=payload),
    8: lambda payload: decimal.Decimal(payload.decode("ascii")),
}


def _not_a_key(key: bytes) -> StoreCorrupt:
    return StoreCorrupt(f"the bytes {key[:40].hex(' ')} are not an entity key", cure=_REBUILD)
