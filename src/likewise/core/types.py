"""Feature types: Feast's names, each with one Arrow type and one name in the registry.

A type is a small frozen record; ``Int64``, ``Float32``, ``String`` and the others are its instances, ``Array(t)``,
``Set(t)`` and ``Struct({...})`` make more of them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from likewise.core.errors import InvalidType
from likewise.core.names import near_misses

if TYPE_CHECKING:
    import pyarrow as pa


class Family(enum.Enum):
    """What the values of a type are made of; codecs decide on it once, outside their loops."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "text"
    BYTES = "bytes"
    TIME = "time"
    UUID = "uuid"
    DECIMAL = "decimal"
    LIST = "list"
    SET = "set"
    MAP = "map"
    STRUCT = "struct"
    UNKNOWN = "unknown"


NESTED = (Family.LIST, Family.SET, Family.STRUCT, Family.MAP)
"""The families whose values have parts."""


@dataclass(frozen=True, slots=True)
class FeatureType:
    """The type of a feature or an entity key.

    Example:
        >>> Array(Int64)
        Array(Int64)
        >>> Array(Int64) == parse_type("Array(Int64)")
        True
    """

    name: str
    """The canonical text, as it stands in the registry: ``Int64``, ``Array(Int64)``, ``Struct({a: Int64})``."""
    family: Family
    """What its values are made of."""
    inner: FeatureType | None = None
    """The type of the elements of an Array or a Set."""
    fields: tuple[tuple[str, FeatureType], ...] = ()
    """The named fields of a Struct."""
    fault: InvalidType | None = field(default=None, compare=False, repr=False)
    """What is wrong with it, said where it is used: a repo lists all its problems, so making a type raises none."""

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name

    def to_value_type(self) -> ValueType:
        """Return Feast's ``ValueType`` for this type.

        Example:
            >>> Float64.to_value_type().name
            'DOUBLE'
        """
        if self.family in (Family.LIST, Family.SET) and self.inner is not None:
            suffix = "LIST" if self.family is Family.LIST else "SET"
            base = _TO_VALUE_TYPE.get(self.inner.name, "VALUE")
            return ValueType.__members__.get(f"{base}_{suffix}", ValueType[f"VALUE_{suffix}"])
        if self.family is Family.STRUCT:
            return ValueType.STRUCT
        return ValueType[_TO_VALUE_TYPE.get(self.name, "UNKNOWN")]


class ValueType(enum.Enum):
    """Feast's value types with Feast's numbers; accepted wherever a type is expected.

    Example:
        >>> as_type(ValueType.DOUBLE)
        Float64
    """

    UNKNOWN = 0
    BYTES = 1
    STRING = 2
    INT32 = 3
    INT64 = 4
    DOUBLE = 5
    FLOAT = 6
    BOOL = 7
    UNIX_TIMESTAMP = 8
    BYTES_LIST = 11
    STRING_LIST = 12
    INT32_LIST = 13
    INT64_LIST = 14
    DOUBLE_LIST = 15
    FLOAT_LIST = 16
    BOOL_LIST = 17
    UNIX_TIMESTAMP_LIST = 18
    NULL = 19
    MAP = 20
    MAP_LIST = 21
    BYTES_SET = 22
    STRING_SET = 23
    INT32_SET = 24
    INT64_SET = 25
    DOUBLE_SET = 26
    FLOAT_SET = 27
    BOOL_SET = 28
    UNIX_TIMESTAMP_SET = 29
    PDF_BYTES = 30
    IMAGE_BYTES = 31
    JSON = 32
    JSON_LIST = 33
    STRUCT = 34
    STRUCT_LIST = 35
    UUID = 36
    TIME_UUID = 37
    UUID_LIST = 38
    TIME_UUID_LIST = 39
    UUID_SET = 40
    TIME_UUID_SET = 41
    VALUE_LIST = 42
    VALUE_SET = 43
    DECIMAL = 44
    DECIMAL_LIST = 45
    DECIMAL_SET = 46
    SCALAR_MAP = 47
    ZONED_TIMESTAMP = 48


Invalid = FeatureType("Invalid", Family.UNKNOWN)
Bytes = FeatureType("Bytes", Family.BYTES)
String = FeatureType("String", Family.TEXT)
Bool = FeatureType("Bool", Family.BOOL)
Int32 = FeatureType("Int32", Family.INT)
Int64 = FeatureType("Int64", Family.INT)
Float32 = FeatureType("Float32", Family.FLOAT)
Float64 = FeatureType("Float64", Family.FLOAT)
UnixTimestamp = FeatureType("UnixTimestamp", Family.TIME)
ZonedTimestamp = FeatureType("ZonedTimestamp", Family.TIME)
PdfBytes = FeatureType("PdfBytes", Family.BYTES)
ImageBytes = FeatureType("ImageBytes", Family.BYTES)
Json = FeatureType("Json", Family.TEXT)
Uuid = FeatureType("Uuid", Family.UUID)
TimeUuid = FeatureType("TimeUuid", Family.UUID)
Decimal = FeatureType("Decimal", Family.DECIMAL)
Map = FeatureType("Map", Family.MAP)
ScalarMap = FeatureType("ScalarMap", Family.MAP)

SCALARS: Mapping[str, FeatureType] = {
    t.name: t
    for t in (
        Bytes,
        String,
        Bool,
        Int32,
        Int64,
        Float32,
        Float64,
        UnixTimestamp,
        ZonedTimestamp,
        PdfBytes,
        ImageBytes,
        Json,
        Uuid,
        TimeUuid,
        Decimal,
        Map,
        ScalarMap,
    )
}
"""Every type that takes no argument, by name."""

_TO_VALUE_TYPE = {
    "Invalid": "UNKNOWN",
    "Bytes": "BYTES",
    "String": "STRING",
    "Bool": "BOOL",
    "Int32": "INT32",
    "Int64": "INT64",
    "Float32": "FLOAT",
    "Float64": "DOUBLE",
    "UnixTimestamp": "UNIX_TIMESTAMP",
    "ZonedTimestamp": "ZONED_TIMESTAMP",
    "PdfBytes": "PDF_BYTES",
    "ImageBytes": "IMAGE_BYTES",
    "Json": "JSON",
    "Uuid": "UUID",
    "TimeUuid": "TIME_UUID",
    "Decimal": "DECIMAL",
    "Map": "MAP",
    "ScalarMap": "SCALAR_MAP",
}
_FROM_VALUE_TYPE = {value: name for name, value in _TO_VALUE_TYPE.items() if name != "Invalid"}


def Array(inner: object) -> FeatureType:
    """Return the type of lists whose elements have one type.

    Args:
        inner: the elements' type. What is none is named where the list is used.

    Example:
        >>> Array(Array(String))
        Array(Array(String))
    """
    return _made_of("Array", Family.LIST, inner)


def Set(inner: object) -> FeatureType:
    """Return the type of sets whose elements have one type; stored in ascending order, without repeats.

    Args:
        inner: the elements' type: text, a number, bytes, a time or the like. What is none is named where the set is
            used, and so is a set of lists, sets, maps or structs, of which Python can make no set.

    Example:
        >>> Set(String)
        Set(String)
    """
    made = _made_of("Set", Family.SET, inner)
    if made.inner is None or made.inner.family not in NESTED:
        return made
    fault = InvalidType(f"{made} is no type: a set cannot hold {made.inner}", cure=f"declare it Array({made.inner})")
    return FeatureType(made.name, Family.UNKNOWN, fault=fault)


def _made_of(maker: str, family: Family, inner: object) -> FeatureType:
    try:
        element = as_type(inner)
    except InvalidType as error:
        return FeatureType(f"{maker}({inner!r})", Family.UNKNOWN, fault=error)
    return FeatureType(f"{maker}({element.name})", family, inner=element)


def Struct(fields: Mapping[str, object]) -> FeatureType:
    """Return the type of records with named, typed fields.

    Args:
        fields: field name to type, in order; at least one. What cannot be is named where the struct is used.

    Example:
        >>> Struct({"lat": Float64, "lon": Float64})
        Struct({lat: Float64, lon: Float64})
    """
    try:
        typed = tuple(_typed_fields(fields))
    except InvalidType as error:
        return FeatureType(f"Struct({fields!r})", Family.UNKNOWN, fault=error)
    text = ", ".join(f"{name}: {inner.name}" for name, inner in typed)
    return FeatureType(f"Struct({{{text}}})", Family.STRUCT, fields=typed)


def _typed_fields(fields: object) -> Iterator[tuple[str, FeatureType]]:
    known = isinstance(fields, Mapping) and all(isinstance(n, str) and re.fullmatch(r"\w+", n) for n in fields)
    if not isinstance(fields, Mapping) or not fields or not known:
        raise InvalidType(
            f"Struct({fields!r}) has no fields, or a field name that is not a plain word",
            cure="write Struct({'lat': Float64, 'lon': Float64})",
        )
    for name, inner in fields.items():
        yield name, as_type(inner)


def as_type(value: object) -> FeatureType:
    """Take whatever Feast accepts as a type: one of ours, a ``ValueType``, a name, a Python type.

    Raises:
        InvalidType: it is no type.

    Example:
        >>> as_type(ValueType.FLOAT), as_type("Int64"), as_type(str)
        (Float32, Int64, String)
    """
    if isinstance(value, FeatureType):
        if value.fault is not None:
            raise InvalidType(value.fault.message, cure=value.fault.cure)
        return value
    if isinstance(value, ValueType):
        return from_value_type(value)
    if isinstance(value, str):
        return parse_type(value)
    if isinstance(value, type) and value in _FROM_PYTHON:
        return _FROM_PYTHON[value]
    raise InvalidType(
        f"{value!r} is not a feature type", cure="use one of likewise.types, such as Int64, Float32 or Array(String)"
    )


def from_value_type(value: ValueType) -> FeatureType:
    """Return the type that a Feast ``ValueType`` stands for.

    Example:
        >>> from_value_type(ValueType.INT64_LIST)
        Array(Int64)
    """
    name = value.name
    for suffix, make in (("_LIST", Array), ("_SET", Set)):
        if name.endswith(suffix) and name.removesuffix(suffix) in _FROM_VALUE_TYPE:
            return make(SCALARS[_FROM_VALUE_TYPE[name.removesuffix(suffix)]])
    if name in _FROM_VALUE_TYPE:
        return SCALARS[_FROM_VALUE_TYPE[name]]
    raise InvalidType(f"ValueType.{name} has no type of its own", cure="name the type, such as Int64 or Array(String)")


_FROM_PYTHON: Mapping[type, FeatureType] = {bool: Bool, int: Int64, float: Float64, str: String, bytes: Bytes}
_TOKEN = re.compile(r"\s*([A-Za-z]\w*|[(){}:,]|\w+)")


def parse_type(text: str) -> FeatureType:
    """Read a type from its canonical text.

    Raises:
        InvalidType: the text names no type.

    Example:
        >>> parse_type("Struct({a: Array(Int64), b: String})")
        Struct({a: Array(Int64), b: String})
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text) or len(tokens) > 4096:
        raise _unknown_type(text)
    try:
        parsed = _parse(tokens, text)
    except (IndexError, RecursionError) as error:
        raise _unknown_type(text) from error
    if tokens:
        raise _unknown_type(text)
    return as_type(parsed)


def _parse(tokens: list[str], text: str) -> FeatureType:
    head = tokens.pop(0)
    if head in ("Array", "Set"):
        _expect(tokens, "(", text)
        inner = _parse(tokens, text)
        _expect(tokens, ")", text)
        return Array(inner) if head == "Array" else Set(inner)
    if head == "Struct":
        return _parse_struct(tokens, text)
    if head not in SCALARS:
        raise _unknown_type(text)
    return SCALARS[head]


def _parse_struct(tokens: list[str], text: str) -> FeatureType:
    _expect(tokens, "(", text)
    _expect(tokens, "{", text)
    fields: dict[str, object] = {}
    while True:
        name = tokens.pop(0)
        _expect(tokens, ":", text)
        fields[name] = _parse(tokens, text)
        if tokens[0] != ",":
            break
        tokens.pop(0)
    _expect(tokens, "}", text)
    _expect(tokens, ")", text)
    return Struct(fields)


def _expect(tokens: list[str], wanted: str, text: str) -> None:
    if tokens.pop(0) != wanted:
        raise _unknown_type(text)


def _unknown_type(text: str) -> InvalidType:
    known = [*SCALARS, "Array", "Set", "Struct"]
    return InvalidType(f"{text!r} is not a feature type", cure=near_misses(text, known))


def arrow_type(feature_type: FeatureType) -> pa.DataType:
    """Return the Arrow type that holds a feature type's values.

    Example:
        >>> arrow_type(Array(UnixTimestamp))
        ListType(list<item: timestamp[us, tz=UTC]>)
    """
    import pyarrow as pa

    simple = {
        "Bool": pa.bool_(),
        "Int32": pa.int32(),
        "Int64": pa.int64(),
        "Float32": pa.float32(),
        "Float64": pa.float64(),
        "Decimal": pa.decimal128(38, 18),
        "Map": pa.map_(pa.string(), pa.string()),
        "ScalarMap": pa.map_(pa.string(), pa.string()),
    }
    if feature_type.name in simple:
        return simple[feature_type.name]
    match feature_type.family:
        case Family.TEXT:
            return pa.string()
        case Family.BYTES:
            return pa.binary()
        case Family.TIME:
            return pa.timestamp("us", tz="UTC")
        case Family.UUID:
            return pa.string()
        case Family.LIST | Family.SET if feature_type.inner is not None:
            return pa.list_(arrow_type(feature_type.inner))
        case Family.STRUCT:
            return pa.struct([(name, arrow_type(inner)) for name, inner in feature_type.fields])
    raise InvalidType(f"{feature_type.name} has no Arrow type", cure="name the feature's type in its Field")


def type_from_arrow(data_type: pa.DataType) -> FeatureType:
    """Return the feature type that holds an Arrow type's values without loss.

    Raises:
        InvalidType: there is none.

    Example:
        >>> import pyarrow as pa
        >>> type_from_arrow(pa.int16()), type_from_arrow(pa.list_(pa.float32()))
        (Int32, Array(Float32))
    """
    import pyarrow as pa

    checks = pa.types
    if checks.is_dictionary(data_type):
        return type_from_arrow(data_type.value_type)
    for holds, found in (
        (checks.is_boolean, Bool),
        (lambda t: t in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()), Int32),
        (checks.is_integer, Int64),
        (lambda t: t in (pa.float16(), pa.float32()), Float32),
        (checks.is_floating, Float64),
        (lambda t: checks.is_string(t) or checks.is_large_string(t) or checks.is_string_view(t), String),
        (lambda t: checks.is_binary(t) or checks.is_large_binary(t) or checks.is_binary_view(t), Bytes),
        (checks.is_fixed_size_binary, Bytes),
        (lambda t: checks.is_timestamp(t) or checks.is_date(t), UnixTimestamp),
        (checks.is_decimal, Decimal),
        (lambda t: checks.is_map(t) and accepts(String, t.key_type) and accepts(String, t.item_type), Map),
    ):
        if holds(data_type):
            return found
    if is_list(data_type):
        return Array(type_from_arrow(data_type.value_type))
    if checks.is_struct(data_type):
        return Struct({field.name: type_from_arrow(field.type) for field in data_type})
    raise InvalidType(f"no feature type holds Arrow's {data_type}", cure="cast the column in the source")


def accepts(declared: FeatureType, data_type: pa.DataType) -> bool:
    """Tell whether a column of an Arrow type can hold values of a declared type.

    Widening is free; a float column may hold integers, and a wider integer column narrower ones, if every value
    fits, which is checked when the values are read.

    Example:
        >>> import pyarrow as pa
        >>> accepts(Int64, pa.float64()), accepts(Int64, pa.string())
        (True, False)
    """
    import pyarrow as pa

    if pa.types.is_null(data_type):  # also the elements of lists that are all empty
        return True
    if isinstance(data_type, pa.UuidType):
        return declared.family in (Family.UUID, Family.TEXT)
    if isinstance(data_type, pa.BaseExtensionType):
        return accepts(declared, data_type.storage_type)
    if pa.types.is_dictionary(data_type):
        return accepts(declared, data_type.value_type)
    if declared.family in (Family.LIST, Family.SET) and declared.inner is not None:
        return is_list(data_type) and accepts(declared.inner, data_type.value_type)
    if declared.family is Family.STRUCT:
        held = {part.name: part.type for part in data_type} if pa.types.is_struct(data_type) else {}
        return all(name in held and accepts(inner, held[name]) for name, inner in declared.fields)
    try:
        found = type_from_arrow(data_type)
    except InvalidType:
        return False
    return found.family in _WIDENING.get(declared.family, (declared.family,))


def is_list(data_type: pa.DataType) -> bool:
    """Tell whether an Arrow type is one of its kinds of lists.

    Example:
        >>> import pyarrow as pa
        >>> is_list(pa.list_(pa.int64())), is_list(pa.int64())
        (True, False)
    """
    import pyarrow as pa

    checks = pa.types
    return bool(checks.is_list(data_type) or checks.is_large_list(data_type) or checks.is_fixed_size_list(data_type))


_WIDENING: Mapping[Family, tuple[Family, ...]] = {
    Family.INT: (Family.INT, Family.FLOAT),
    Family.FLOAT: (Family.FLOAT, Family.INT, Family.DECIMAL),
    Family.DECIMAL: (Family.DECIMAL, Family.INT),
    Family.UUID: (Family.UUID, Family.TEXT, Family.BYTES),
}
