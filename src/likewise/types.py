"""The types of features and keys, under Feast's names.

Example:
    >>> from likewise.types import Array, Float32, Int64
    >>> Array(Float32), Int64
    (Array(Float32), Int64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Invalid,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ValueType,
    ZonedTimestamp,
    arrow_type,
    as_type,
    from_value_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

FeastType = FeatureType
"""Feast's name for the class of all types."""
ComplexFeastType = FeatureType
"""Feast's name for the class of types such as ``Array(Int64)``; here all types have one class."""


class PrimitiveFeastType:
    """The plain types under the names of Feast's enumeration.

    Example:
        >>> PrimitiveFeastType.INT64
        Int64
    """

    INVALID = Invalid
    BYTES = Bytes
    STRING = String
    BOOL = Bool
    INT32 = Int32
    INT64 = Int64
    FLOAT32 = Float32
    FLOAT64 = Float64
    UNIX_TIMESTAMP = UnixTimestamp
    ZONED_TIMESTAMP = ZonedTimestamp
    PDF_BYTES = PdfBytes
    IMAGE_BYTES = ImageBytes
    JSON = Json
    UUID = Uuid
    TIME_UUID = TimeUuid
    DECIMAL = Decimal
    MAP = Map
    SCALAR_MAP = ScalarMap


_VECTORS = ("BYTES_LIST", "INT32_LIST", "INT64_LIST", "DOUBLE_LIST", "FLOAT_LIST", "BOOL_LIST")
FEAST_VECTOR_TYPES: tuple[ValueType | FeatureType, ...] = (
    *(ValueType[name] for name in _VECTORS),
    *(from_value_type(ValueType[name]) for name in _VECTORS),
)
"""What may be declared as a vector: each as a ``ValueType`` and as a type."""


def from_feast_type(feast_type: FeatureType | ValueType) -> ValueType:
    """Return the ``ValueType`` that stands for a type.

    Example:
        >>> from_feast_type(Array(Float32)).name
        'FLOAT_LIST'
    """
    return as_type(feast_type).to_value_type()


def from_feast_to_pyarrow_type(feast_type: FeatureType | ValueType) -> pa.DataType:
    """Return the Arrow type that holds a type's values.

    Example:
        >>> from_feast_to_pyarrow_type(UnixTimestamp)
        TimestampType(timestamp[us, tz=UTC])
    """
    return arrow_type(as_type(feast_type))


__all__ = [
    "FEAST_VECTOR_TYPES",
    "Array",
    "Bool",
    "Bytes",
    "ComplexFeastType",
    "Decimal",
    "FeastType",
    "FeatureType",
    "Float32",
    "Float64",
    "ImageBytes",
    "Int32",
    "Int64",
    "Invalid",
    "Json",
    "Map",
    "PdfBytes",
    "PrimitiveFeastType",
    "ScalarMap",
    "Set",
    "String",
    "Struct",
    "TimeUuid",
    "UnixTimestamp",
    "Uuid",
    "ValueType",
    "ZonedTimestamp",
    "from_feast_to_pyarrow_type",
    "from_feast_type",
    "from_value_type",
]
