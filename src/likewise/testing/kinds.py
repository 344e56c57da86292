"""Kinds: the types of features and keys that generated cases use, each with values that are likely to come to harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal as Exact
from typing import Any

import pyarrow as pa

from likewise.core import types as t
from likewise.core.errors import BackendMissing
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import FeatureType, arrow_type

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise BackendMissing("generated cases need hypothesis", cure='pip install "likewise[testing]"') from missing

NOON = 1_704_110_400_000_000
"""2024-01-01T12:00:00Z in microseconds: around here lie most of the generated times."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A declared type, the type that files hold it in, and values for it."""

    type: FeatureType
    """The declared type."""
    stored: pa.DataType
    """The files' type."""
    values: st.SearchStrategy[Any]
    """The values, as the files hold them; times in microseconds."""

    def __repr__(self) -> str:
        return f"<{self.type} as {self.stored}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what hypothesis prints of a failing case


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A declared type of keys, values of it that must stay apart, and types in which files may hold all of these."""

    type: FeatureType
    """The declared type."""
    values: tuple[Any, ...]
    """The values; times in microseconds."""
    stored: tuple[pa.DataType, ...]
    """The files' types."""


def column(values: Sequence[Any], stored: pa.DataType) -> pa.Array:
    """Return values as a column of a file; times get digits finer than a microsecond where the type has them.

    Example:
        >>> column([0, 5, None], pa.timestamp("ns")).cast(pa.int64()).to_pylist()
        [0, 5337, None]
    """
    if not pa.types.is_timestamp(stored):
        return pa.array(values, stored)
    size = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[stored.unit]
    ticks = [None if value is None else value // size for value in values]
    if stored.unit == "ns":
        ticks = [None if tick is None else tick * 1000 + row * 337 % 1000 for row, tick in enumerate(ticks)]
    return pa.array(ticks, stored)


_NAN, _INF = float("nan"), float("inf")
_TEXTS = ("", "a", "A", "01", "1", "é", "e\u0301", "a\0", "\0", "\u202eab", "שלום", "👩‍👩‍👧", "x" * 300, "NULL", "nan")
_BYTES = (b"", b"\0", b"\0\0", b"\xff\xfe", b"a" * 20)
_UUIDS = ("00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_MOMENTS = (EARLIEST, LATEST, -1, 0, NOON, NOON + 1)
_texts = st.sampled_from(_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
_whole = st.sampled_from((0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)))
_small = st.integers(-3, 100)
_double = st.sampled_from((0.0, -0.0, 0.1, 1.5, _NAN, _INF, -_INF, 5e-324, 1.7976931348623157e308))
_single = st.sampled_from((0.0, -0.0, 0.5, _NAN, _INF, -_INF))
_exact = st.sampled_from((Exact("0"), Exact("-1.10"), Exact("99999999999999999999.999999999999999999")))
_pairs = st.lists(st.tuples(st.sampled_from(("a", "b", "é")), st.none() | _texts), max_size=2, unique_by=lambda p: p[0])


def _lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.none() | values, max_size=3)


def _kind(feature_type: FeatureType, values: st.SearchStrategy[Any], stored: pa.DataType | None = None) -> Kind:
    return Kind(feature_type, arrow_type(feature_type) if stored is None else stored, values)


KINDS: tuple[Kind, ...] = (
    _kind(t.Int64, _whole),
    _kind(t.Int64, _small, pa.int8()),
    _kind(t.Int64, _small, pa.float64()),
    _kind(t.Int32, st.sampled_from((0, 2**31 - 1, -(2**31)))),
    _kind(t.Int32, _small, pa.int64()),
    _kind(t.Float64, _double),
    _kind(t.Float64, _single, pa.float32()),
    _kind(t.Float64, _small, pa.int32()),
    _kind(t.Float32, _single),
    _kind(t.Float32, st.sampled_from((0.1, 16_777_217.0, _NAN, -0.0, 1e-46)), pa.float64()),
    _kind(t.Bool, st.booleans()),
    _kind(t.String, _texts),
    _kind(t.String, _texts, pa.large_string()),
    _kind(t.String, _texts, pa.dictionary(pa.int32(), pa.string())),
    _kind(t.Bytes, st.sampled_from(_BYTES)),
    _kind(t.UnixTimestamp, st.sampled_from(_MOMENTS)),
    _kind(t.UnixTimestamp, st.sampled_from((0, -1000, NOON)), pa.timestamp("ms", "Europe/Berlin")),
    _kind(t.UnixTimestamp, st.sampled_from((0, -1, NOON)), pa.timestamp("ns")),
    _kind(t.Json, st.sampled_from(('{"a": [1, null]}', "null"))),
    _kind(t.Uuid, st.sampled_from(_UUIDS)),
    _kind(t.Decimal, _exact),
    _kind(t.Map, _pairs),
    _kind(t.Array(t.Int64), _lists(_whole)),
    _kind(t.Array(t.Float32), _lists(_single), pa.list_(pa.float64())),
    _kind(t.Array(t.String), _lists(_texts)),
    _kind(t.Array(t.UnixTimestamp), _lists(st.sampled_from(_MOMENTS))),
    _kind(t.Array(t.Array(t.Int64)), _lists(_lists(_small))),
    _kind(t.Set(t.String), st.sampled_from((["a", "b"], ["é"], []))),
    _kind(t.Struct({"a": t.Int64, "b": t.String}), st.fixed_dictionaries({"a": st.none() | _whole, "b": _texts})),
)
"""The kinds of features."""

KEY_KINDS: tuple[KeyKind, ...] = (
    KeyKind(t.Int64, (1, 2, 3, 100), (pa.int64(), pa.int8(), pa.uint32(), pa.float64())),
    KeyKind(t.Int64, (0, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)), (pa.int64(),)),
    KeyKind(t.Int32, (0, 1, -(2**31)), (pa.int32(), pa.int64())),
    KeyKind(t.String, _TEXTS, (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))),
    KeyKind(t.Bytes, _BYTES, (pa.binary(), pa.large_binary())),
    KeyKind(t.Bool, (True, False), (pa.bool_(),)),
    KeyKind(t.UnixTimestamp, (NOON, NOON + 1, -1), (pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ns"))),
    KeyKind(t.Uuid, _UUIDS, (pa.string(),)),
    KeyKind(t.Float64, (0.5, 0.1, -_INF), (pa.float64(),)),
)
"""The kinds of keys."""
