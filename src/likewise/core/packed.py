"""Packed: Python values as msgpack, so that each comes back as what it was, without anybody knowing its type.

msgpack has booleans, integers of 64 bits, floats, text, bytes, lists, mappings with text as keys, and times (its own
extension -1; microseconds, UTC). The rest are extensions of our own::

    1    decimal                  its text
    2    UUID                     its 16 bytes
    3    set                      a list, packed
    4    integer beyond 64 bits   its text

Times that say no zone are UTC, tuples are lists, and NumPy's arrays and scalars are the Python values that they hold.
"""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec.msgpack import Ext

_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})
_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1
_DECIMAL, _UUID, _SET, _BIG = 1, 2, 3, 4
_encode = msgspec.msgpack.Encoder().encode


@runtime_checkable
class _Tolist(Protocol):
    """What NumPy's arrays and scalars have, and pandas' columns."""

    def tolist(self) -> Any: ...


def pack(value: Any) -> bytes:
    """Return a value as msgpack; hot.

    Raises:
        TypeError: it holds something that has no form here.

    Example:
        >>> import decimal
        >>> unpack(pack({"price": [decimal.Decimal("1.50"), None], "tags": {"a"}}))
        {'price': [Decimal('1.50'), None], 'tags': {'a'}}
    """
    try:
        return _encode(_packable(value))
    except OverflowError:
        return _encode(_packable(value, big=True))


def unpack(data: bytes) -> Any:
    """Return the value that :func:`pack` made msgpack of.

    Raises:
        ValueError: it is no msgpack, or holds an extension nobody knows; also if it is nested too deeply.

    Example:
        >>> unpack(b"\\xc4\\x01a")
        b'a'
    """
    try:
        return _decode(data)
    except (ArithmeticError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _packable(value: Any, *, big: bool = False) -> Any:
    """Return a value in which all has a form of its own in msgpack; what is plain is taken as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return Ext(_BIG, str(value).encode()) if big and kind is int and not _LEAST <= value <= _GREATEST else value
    if kind is list or kind is tuple:
        return value if not big and _PLAIN.issuperset(map(type, value)) else [_packable(v, big=big) for v in value]
    if kind is dict:
        return {_name(name): _packable(inner, big=big) for name, inner in value.items()}
    for held, convert in _FORMS:
        if isinstance(value, held):
            return convert(value)
    return _other(value, big)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is a key of a mapping, and no text")
    return name


def _other(value: Any, big: bool) -> Any:
    if isinstance(value, Mapping):
        return _packable(dict(value), big=big)
    if isinstance(value, Sequence):
        return _packable(list(value), big=big)
    if isinstance(value, _Tolist):
        import numpy as np

        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "M":
            value = value.astype("datetime64[us]")  # finer ones would be bare numbers
        return _packable(value.tolist(), big=big)
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


def _moment(value: datetime) -> Any:
    if value != value:  # pandas' NaT
        return None
    whole = datetime.combine(value.date(), value.time(), value.tzinfo or UTC)  # pandas' times are not Python's own
    return whole.replace(fold=value.fold).astimezone(UTC)


def _whole_number(value: int) -> Any:
    number = int(value)
    return number if _LEAST <= number <= _GREATEST else Ext(_BIG, str(number).encode())


_FORMS: Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = (
    (datetime, _moment),
    (decimal.Decimal, lambda value: Ext(_DECIMAL, str(value).encode())),
    (uuid.UUID, lambda value: Ext(_UUID, value.bytes)),
    ((set, frozenset), lambda value: Ext(_SET, pack(list(value)))),
    (bool, bool),
    (int, _whole_number),
    (float, float),
    (str, str),
    ((bytes, bytearray, memoryview), bytes),
)


def _extension(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    match code:
        case 1:
            return decimal.Decimal(raw.decode())
        case 2:
            return uuid.UUID(bytes=raw)
        case 3:
            return _set(_decode_in_set(raw))
        case 4:
            return int(raw.decode())
    raise ValueError(f"the extension {code} is not known")


def _set(items: Any) -> set[Any]:
    if not isinstance(items, list):
        raise ValueError("a set is no list")
    try:
        return set(items)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _extension_in_set(code: int, data: memoryview) -> Any:
    """Return a value in a set; one cannot be a set itself: each level would keep a copy of all that is in it."""
    if code == _SET:
        raise ValueError("a set is in a set")
    return _extension(code, data)


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
_decode_in_set = msgspec.msgpack.Decoder(ext_hook=_extension_in_set).decode
