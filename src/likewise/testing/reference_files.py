"""Reference files: a source's files, read whole into plain values, as the oracle's rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from likewise.core.errors import SourceDrift, SourceUnreadable
from likewise.core.types import FeatureType, UnixTimestamp, accepts
from likewise.offline.files import files_of
from likewise.plan.scan import Location, Scan
from likewise.testing.oracle import Row
from likewise.testing.reference_values import Converter, from_arrow, from_json, from_text, plain_values


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file, read."""

    path: str
    """Where it lies."""
    rows: int
    """How many rows it has."""
    columns: Mapping[str, Sequence[Any]]
    """Column to plain values."""
    types: Mapping[str, pa.DataType]
    """Column to its type, where the format knows types."""
    convert: Converter
    """What turns its values into those of a declared type."""

    def values(self, column: str, wanted: FeatureType, view: str) -> list[Any]:
        """Return a column's values in the declared type.

        Raises:
            SourceDrift: there is no such column, or a value does not fit.
        """
        if column not in self.columns:
            raise self._drift(column, f"is missing; the file has {', '.join(map(repr, self.columns))}", view)
        found = self.types.get(column)
        if found is not None and not accepts(wanted, found):
            raise self._drift(column, f"holds {found}, which cannot hold {wanted}", view)
        return [self._value(column, row, value, wanted, view) for row, value in enumerate(self.columns[column])]

    def _value(self, column: str, row: int, value: Any, wanted: FeatureType, view: str) -> Any:
        try:
            return self.convert(value, wanted)
        except ValueError as error:
            raise self._drift(column, f"row {row} holds {error}, which is no {wanted}", view) from error

    def _drift(self, column: str, what: str, view: str) -> SourceDrift:
        return SourceDrift(
            f"{self.path}: column {column!r} {what}", cure=f"mend the file, or the schema of view {view!r}"
        )


def scan_rows(scan: Scan) -> list[Row]:
    """Return a scan's rows, in path order and file order.

    Raises:
        SourceMissing: the path matches no file.
        SourceUnreadable: a file is not of the format.
        SourceDrift: a column is missing or does not hold its declared type.
    """
    found: list[Row] = []
    for file in read_files(scan.location):
        keys = [file.values(key.column, key.type, scan.view) for key in scan.keys]
        events = file.values(scan.time, UnixTimestamp, scan.view)
        created = file.values(scan.created, UnixTimestamp, scan.view) if scan.created else [None] * file.rows
        columns = [file.values(column.column, column.type, scan.view) for column in scan.columns]
        for row in range(file.rows):
            key = tuple(values[row] for values in keys)
            values = tuple(values[row] for values in columns)
            found.append(Row(key, events[row], created[row], len(found), values))
    return found


def read_files(location: Location) -> Iterator[RawFile]:
    """Read a source's files one after the other, in order."""
    read = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_json_lines}
    for path, form in files_of(location):
        with _named(path, form):
            file = read[form](path)
        yield file


def common_schema(location: Location) -> pa.Schema:
    """Return the columns of a source and their types, alike in all of its files.

    Raises:
        SourceDrift: two files hold a column in types neither of which holds the other's values.
    """
    types: dict[str, pa.DataType] = {}
    for path, form in files_of(location):
        with _named(path, form):
            schema = _schema(path, form)
        for field in schema:
            types[field.name] = _common(types.get(field.name, pa.null()), field.type, path, field.name)
    return pa.schema(list(types.items()))


@contextlib.contextmanager
def _named(path: str, form: str) -> Iterator[None]:
    """Turn what a library says of a damaged file into an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        cure = "restore the file, or write it again"
        raise SourceUnreadable(f"{path} cannot be read as {form}: {error}", cure=cure) from error


def _read_parquet(path: str) -> RawFile:
    table = pa.parquet.ParquetFile(path).read()
    columns = {name: plain_values(table.column(number)) for number, name in enumerate(table.column_names)}
    types = dict(zip(table.column_names, table.schema.types, strict=True))
    return RawFile(path, table.num_rows, columns, types, from_arrow)


def _read_csv(path: str) -> RawFile:
    names = _csv(path, pa.csv.ConvertOptions()).column_names
    texts = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    table = _csv(path, texts)
    return RawFile(path, table.num_rows, table.to_pydict(), {}, from_text)


def _read_json_lines(path: str) -> RawFile:
    with Path(path).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no JSON object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return RawFile(path, len(rows), {name: [row.get(name) for row in rows] for name in names}, {}, from_json)


def _schema(path: str, form: str) -> pa.Schema:
    match form:
        case "parquet":
            return pa.parquet.ParquetFile(path).schema_arrow
        case "csv":
            return _csv(path, pa.csv.ConvertOptions(null_values=[""])).schema
    return pa.json.read_json(path).schema


def _csv(path: str, convert: pa.csv.ConvertOptions) -> pa.Table:
    parse = pa.csv.ParseOptions(delimiter="\t" if path.endswith(".tsv") else ",", newlines_in_values=True)
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _common(one: pa.DataType, other: pa.DataType, path: str, column: str) -> pa.DataType:
    if pa.types.is_null(one) or one == other:
        return other
    if pa.types.is_null(other):
        return one
    if pa.types.is_list(one) and pa.types.is_list(other):  # those of one file may all be empty
        return pa.list_(_common(one.value_type, other.value_type, path, column))
    for wide, narrow in ((one, other), (other, one)):
        if _holds(wide, narrow):
            return wide
    raise SourceDrift(
        f"{path}: column {column!r} holds {other}, but {one} in the files before", cure="write the files with one type"
    )


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Say whether a type holds all values of another without loss."""
    checks = pa.types
    if checks.is_timestamp(wide) and checks.is_timestamp(narrow):
        units = ("s", "ms", "us", "ns")
        return wide.tz == narrow.tz and units.index(wide.unit) >= units.index(narrow.unit)
    if checks.is_floating(wide) and checks.is_integer(narrow):
        return bool(narrow.bit_width * 2 <= wide.bit_width)
    same = (checks.is_floating, checks.is_signed_integer, checks.is_unsigned_integer)
    return any(kind(wide) and kind(narrow) and wide.bit_width >= narrow.bit_width for kind in same)
