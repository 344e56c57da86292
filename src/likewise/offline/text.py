"""Text: CSV and JSON lines files, as Parquet copies of their fields' texts, and what a text means in a declared type.

A text file is read once from front to back. Its fields are copied as they stand, in order, into a Parquet file that is
thrown away afterwards; from there on it is read like any other, a few columns and row groups at a time, and a field is
turned into a value only where one is asked for. What a field means is said by its declared type alone, never guessed:

* CSV: an empty field is null; numbers, ``true``/``false`` and ISO 8601 times in their usual spelling; text as it stands
* JSON lines: the JSON value of that kind; a field that is left out is null; times are ISO 8601 text
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from likewise.core.columns import Column, cast_exactly, conform
from likewise.core.errors import SourceDrift
from likewise.core.time import to_micros
from likewise.core.types import Array, Family, FeatureType, Float64, arrow_type

_ROWS = 1 << 17
"""How many rows a row group of a copy has."""
INFER = 1 << 24
"""From how many bytes at the start of a file its types are inferred."""
Rule = Callable[[Any, FeatureType], Any]
"""Turns one field into a value of a declared type; raises ValueError where it is none."""


# ---- copies ----------------------------------------------------------------------------------------------------------


def copy_csv(path: str, columns: Sequence[str], target: str) -> list[str]:
    """Copy some fields of a CSV file as text to a Parquet file.

    Args:
        path: the CSV file, with a header line; in UTF-8.
        columns: which fields; those that the file lacks are left out.
        target: the Parquet file.

    Returns:
        The names of all fields of the file.
    """
    names: list[str] = csv_reader(path).schema.names
    chosen = [name for name in dict.fromkeys(columns) if name in names]
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=chosen or names[:1],
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    _write(csv_reader(path, convert), target)
    return names


def csv_reader(path: str, convert: pa.csv.ConvertOptions | None = None) -> pa.RecordBatchReader:
    """Open a CSV file; types are inferred from its first rows where nothing else is said."""
    return pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=INFER),
        parse_options=pa.csv.ParseOptions(delimiter="\t" if path.endswith(".tsv") else ",", newlines_in_values=True),
        convert_options=convert or pa.csv.ConvertOptions(null_values=[""]),
    )


def copy_json_lines(path: str, columns: Sequence[str], target: str) -> list[str]:
    """Copy some fields of a JSON lines file as JSON text to a Parquet file; all else as :func:`copy_csv`."""
    names: set[str] = set()
    schema = pa.schema([(name, pa.binary()) for name in dict.fromkeys(columns)])
    batches = (_json_batch(rows, schema, names) for rows in _json_rows(path))
    _write(pa.RecordBatchReader.from_batches(schema, batches), target)
    return sorted(names) or schema.names  # a file without rows lacks nothing


def count_csv(path: str) -> int:
    """Return how many rows a CSV file has."""
    first = csv_reader(path).schema.names[:1]
    convert = pa.csv.ConvertOptions(include_columns=first, column_types=dict.fromkeys(first, pa.string()))
    return sum(batch.num_rows for batch in csv_reader(path, convert))


def count_json_lines(path: str) -> int:
    """Return how many rows a JSON lines file has."""
    with Path(path).open("rb") as file:
        return sum(1 for line in file if line.strip())


def _json_rows(path: str) -> Iterator[list[dict[str, msgspec.Raw]]]:
    with Path(path).open("rb") as file:
        file.seek(3 if file.read(3) == codecs.BOM_UTF8 else 0)
        while lines := file.readlines(INFER):
            try:
                yield _OBJECTS.decode_lines(b"".join(lines))
            except msgspec.DecodeError:
                yield [_json_object(line) for line in lines if line.strip()]


def _json_object(line: bytes) -> dict[str, msgspec.Raw]:
    """Read a line by Python's own rules, which know NaN and Infinity; its values stay as they are written."""
    text = line.decode()
    if not isinstance(json.loads(text), dict):
        raise ValueError(f"the line {line[:60]!r} is no JSON object")
    return {name: msgspec.Raw(value.encode()) for name, value in _members(text)}


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a JSON object that is known to be one, the values as text."""
    decode = json.JSONDecoder().raw_decode
    at = _filled(text, text.index("{") + 1)
    while text[at] != "}":
        name, colon = decode(text, at)
        start = _filled(text, _filled(text, colon) + 1)
        _, stop = decode(text, start)
        yield name, text[start:stop]
        at = _filled(text, stop)
        at = _filled(text, at + 1) if text[at] == "," else at


def _filled(text: str, at: int) -> int:
    """Return where the white space that may be at a place ends."""
    while text[at] in " \t\r\n":
        at += 1
    return at


def _json_batch(rows: list[dict[str, msgspec.Raw]], schema: pa.Schema, names: set[str]) -> pa.RecordBatch:
    names.update(*rows)
    return pa.record_batch([_json_texts(rows, name) for name in schema.names], schema)


def _json_texts(rows: list[dict[str, msgspec.Raw]], name: str) -> pa.Array:
    texts = pa.array([bytes(row.get(name, _NULL)) for row in rows], pa.binary())
    return pc.if_else(pc.equal(texts, b"null"), pa.scalar(None, pa.binary()), texts)


def _write(reader: pa.RecordBatchReader, target: str) -> None:
    with pq.ParquetWriter(target, reader.schema, compression="lz4") as writer:
        for batch in reader:
            writer.write_batch(batch, row_group_size=_ROWS)


# ---- what texts mean -------------------------------------------------------------------------------------------------


def from_csv(column: Column, declared: FeatureType, what: str) -> Column:
    """Return fields of a CSV file in the Arrow type of a declared type.

    Args:
        column: the fields' texts.
        declared: the type.
        what: the column's name and place, for messages.

    Raises:
        SourceDrift: a field is no such value.

    Example:
        >>> from likewise.core.types import Bool, Int64
        >>> from_csv(pa.array(["007", "1.0", None]), Int64, "").to_pylist()
        [7, 1, None]
        >>> from_csv(pa.array(["true", "False"]), Bool, "").to_pylist()
        [True, False]
    """
    if declared.family is Family.UUID:
        return conform(column, declared, what)
    try:
        return _CSV_COLUMNS[declared.family](column, declared)
    except (KeyError, ValueError, pa.ArrowNotImplementedError):  # Arrow's error of a bad value is a ValueError
        return _each(column, csv_value, declared, what)


def csv_value(text: str, declared: FeatureType) -> Any:
    """Return what one field of a CSV file means.

    Raises:
        ValueError: it is no such value.
    """
    match declared.family:
        case Family.TEXT | Family.UUID:
            return text
        case Family.BOOL if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case Family.INT | Family.FLOAT | Family.DECIMAL if _NUMBER.fullmatch(text):
            return _number(text, declared)
        case Family.TIME:
            return to_micros(text)
    raise ValueError(text)


def from_json(column: Column, declared: FeatureType, what: str) -> Column:
    """Return JSON texts in the Arrow type of a declared type; arguments and errors as :func:`from_csv`.

    Example:
        >>> from likewise.core.types import Array, Float64
        >>> from_json(pa.array([b"[1, 2.5, null]", None]), Array(Float64), "").to_pylist()
        [[1.0, 2.5, None], None]
    """
    shape = _json_shape(declared)
    if shape is not None:
        try:
            texts = b",".join(text or b"null" for text in column.to_pylist())
            if _is_whole(declared) and _FRACTION.search(texts):
                raise ValueError  # msgspec would read 9007199254740993.0 as a double
            values = msgspec.json.decode(b"[" + texts + b"]", type=shape)
            if declared.family is Family.TIME:
                return _times(pa.array(values, pa.string()), declared)
            return conform(pa.array(values, arrow_type(_in_doubles(declared))), declared, what)
        except (ValueError, OverflowError, SourceDrift):
            pass  # below, value by value, the one that does not fit is found
    return _each(column, lambda text, kind: json_value(_exact_json(text), kind), declared, what)


def json_value(value: Any, declared: FeatureType) -> Any:
    """Return what a value of a JSON line means.

    Raises:
        ValueError: it is no such value.
    """
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    match declared.family:
        case _ if value is None:
            return None
        case Family.BOOL if isinstance(value, bool):
            return value
        case Family.TEXT | Family.UUID if isinstance(value, str):
            return value
        case Family.INT if is_number:
            return _whole(Decimal(str(value)), declared)
        case Family.FLOAT if is_number and (not isinstance(value, int) or _fits_double(value, declared)):
            return _finite(float(value), value, declared)
        case Family.DECIMAL if is_number:
            return Decimal(str(value))
        case Family.TIME if isinstance(value, str):
            return to_micros(value)
        case Family.LIST | Family.SET if isinstance(value, list) and declared.inner is not None:
            return [json_value(element, declared.inner) for element in value]
        case Family.MAP if isinstance(value, dict):
            return list(value.items())
        case Family.STRUCT if isinstance(value, dict):
            return {name: json_value(value.get(name), inner) for name, inner in declared.fields}
    raise ValueError(value)


def _each(column: Column, rule: Rule, declared: FeatureType, what: str) -> pa.Array:
    texts = column.to_pylist()
    try:
        values = [None if text is None else rule(text, declared) for text in texts]
        return conform(pa.array(values, arrow_type(declared)), declared, what)
    except _MISFITS:
        raise _first_misfit(texts, rule, declared, what) from None


def _first_misfit(texts: list[Any], rule: Rule, declared: FeatureType, what: str) -> SourceDrift:
    for row, text in enumerate(texts):
        try:
            pa.array([None if text is None else rule(text, declared)], arrow_type(declared))
        except _MISFITS:
            cure = "mend the value, or retype the field"
            return SourceDrift(f"{what}, row {row}: {text!r} does not fit {declared}", cure=cure)
    return SourceDrift(f"{what} does not fit {declared}", cure="retype the field")


def _integers(column: Column, declared: FeatureType) -> Column:
    if pc.any(pc.match_substring(column, "x", ignore_case=True)).as_py():
        raise ValueError  # Arrow would read 0x1F
    return column.cast(arrow_type(declared))


def _floats(column: Column, declared: FeatureType) -> Column:
    found = column.cast(pa.float64())
    if pc.any(pc.is_inf(found)).as_py():
        raise ValueError  # Arrow would read 1e999
    return cast_exactly(found, arrow_type(declared))


def _bools(column: Column, declared: FeatureType) -> Column:
    lower = pc.utf8_lower(column)
    truth = pc.equal(lower, "true")
    if not pc.all(pc.or_(truth, pc.equal(lower, "false"))).as_py():
        raise ValueError
    return truth


def _times(column: Column, declared: FeatureType) -> Column:
    """Return ISO 8601 texts as times; naive ones, and those with an offset, are for two different casts of Arrow's."""
    utc = arrow_type(declared)
    zoned = pc.match_substring_regex(column, r":.*(Z|[+-]\d\d(:?\d\d)?)$")
    nothing = pa.scalar(None, pa.string())
    naive = pc.if_else(zoned, nothing, column).cast(pa.timestamp("us")).cast(pa.int64()).cast(utc)
    return conform(pc.coalesce(naive, pc.if_else(zoned, column, nothing).cast(utc)), declared, "")


_CSV_COLUMNS: dict[Family, Callable[[Column, FeatureType], Column]] = {
    Family.TEXT: lambda column, declared: column,
    Family.INT: _integers,
    Family.FLOAT: _floats,
    Family.BOOL: _bools,
    Family.TIME: _times,
}
"""How whole columns are turned; what fails is turned value by value, which knows more spellings and names the value."""
_JSON_SHAPES: dict[Family, Any] = {
    Family.INT: list[int | None],
    Family.FLOAT: list[int | float | None],  # so that Arrow sees the integers, and refuses those that it would round
    Family.BOOL: list[bool | None],
    Family.TEXT: list[str | None],
    Family.TIME: list[str | None],
    Family.UUID: list[str | None],
}
_MISFITS = (ValueError, TypeError, OverflowError, RecursionError)
"""What is raised for a value that does not fit; Arrow's errors are among them."""
_NULL = msgspec.Raw(b"null")
_OBJECTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_RANGE = {"Int32": 2**31, "Int64": 2**63}
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103
"""The least double that Float32 would round to infinity."""
_FRACTION = re.compile(rb"[.eE]")


def _number(text: str, declared: FeatureType) -> Any:
    if declared.family is Family.FLOAT:
        found = float(text)
        return _finite(found, found if "inf" in text.lower() else 0, declared)
    number = _exact(text)
    return _whole(number, declared) if declared.family is Family.INT else number


def _whole(number: Decimal, declared: FeatureType) -> int:
    limit = _RANGE[declared.name]
    if not number.is_finite() or not -limit <= number < limit or number != number.to_integral_value():
        raise ValueError(number)
    return int(number)


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error


def _exact_json(text: bytes) -> Any:
    """Read JSON with its fractions as decimals, which lose nothing."""
    return json.loads(text, parse_float=_exact)


def _fits_double(value: int, declared: FeatureType) -> bool:
    """Tell whether a whole number need not be rounded; Float32 rounds."""
    return declared.name == "Float32" or float(value) == value


def _finite(found: float, given: float | Decimal, declared: FeatureType) -> float:
    """Return a float, which must be finite if the number that was given is."""
    if math.isinf(found) and found != given:
        raise ValueError(given)
    if declared.name == "Float32" and not math.isinf(found) and abs(found) >= _BEYOND_FLOAT32:
        raise ValueError(given)
    return found


def _in_doubles(declared: FeatureType) -> FeatureType:
    """Return a type of lists with Float64 for Float32, whose range is checked later."""
    if declared.inner is not None:
        return Array(_in_doubles(declared.inner))
    return Float64 if declared.name == "Float32" else declared


def _is_whole(declared: FeatureType) -> bool:
    return _is_whole(declared.inner) if declared.inner is not None else declared.family is Family.INT


def _json_shape(declared: FeatureType) -> Any:
    """Return the Python type that a JSON array of such values is quickly decoded as; None if there is none."""
    if declared.family in (Family.LIST, Family.SET) and declared.inner is not None:
        if declared.inner.family is Family.TIME:
            return None
        inner = _json_shape(declared.inner)
        return None if inner is None else GenericAlias(list, (inner | None,))
    return _JSON_SHAPES.get(declared.family)
