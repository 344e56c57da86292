"""Schema: the columns of a source's files, and the types that hold what all of them hold."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.json

from likewise.core.errors import SourceDrift
from likewise.core.types import is_list
from likewise.offline.files import files_of
from likewise.offline.source import naming, read_footer
from likewise.offline.text import INFER, csv_reader
from likewise.plan.scan import Location

_UNITS = ("s", "ms", "us", "ns")


def common_schema(location: Location) -> pa.Schema:
    """Return the columns of a source and their types, in the order in which its files bring them.

    The types of text files are inferred from their first 16 MiB.

    Raises:
        SourceMissing: there are no files.
        SourceUnreadable: a file is not of its format.
        SourceDrift: two files hold a column in types none of which holds the other's values.
    """
    types: dict[str, pa.DataType] = {}
    for path, form in files_of(location):
        for name, found in zip(*_file_schema(path, form), strict=True):
            known = types.setdefault(name, found)
            common = _common(known, found)
            if common is None:
                raise SourceDrift(
                    f"column {name!r} of {path} holds {found}, and {known} in the files before it",
                    cure="write the files with one type",
                )
            types[name] = common
    return pa.schema(list(types.items()))


def _file_schema(path: str, form: str) -> tuple[list[str], list[pa.DataType]]:
    if form == "parquet":
        schema = read_footer(path)[1]
        return schema.names, schema.types
    with naming(path, form):
        reader = csv_reader(path) if form == "csv" else _json_reader(path)
        return reader.schema.names, reader.schema.types


def _json_reader(path: str) -> pa.RecordBatchReader:
    return pa.json.open_json(path, read_options=pa.json.ReadOptions(block_size=INFER))


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds all values of both; None if there is none."""
    if pa.types.is_null(one) or one == other:
        return other
    if pa.types.is_null(other) or _holds(one, other):
        return one
    if _holds(other, one):
        return other
    if is_list(one) and is_list(other):  # one of them may be of lists that are all empty
        inner = _common(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):  # naive is UTC; a zone is only a way to show a time
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), "UTC")
    return None


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    checks = pa.types
    if checks.is_timestamp(wide) and checks.is_timestamp(narrow):
        return wide.tz == narrow.tz and _UNITS.index(wide.unit) >= _UNITS.index(narrow.unit)
    if checks.is_floating(wide) and checks.is_integer(narrow):
        return bool(narrow.bit_width * 2 <= wide.bit_width)
    if checks.is_signed_integer(wide) and checks.is_unsigned_integer(narrow):
        return bool(narrow.bit_width < wide.bit_width)
    if checks.is_dictionary(narrow):
        return bool(wide == narrow.value_type)
    if checks.is_large_string(wide) or checks.is_large_binary(wide):
        return bool(checks.is_string(narrow) if checks.is_large_string(wide) else checks.is_binary(narrow))
    same = (checks.is_floating, checks.is_signed_integer, checks.is_unsigned_integer)
    return any(kind(wide) and kind(narrow) and wide.bit_width >= narrow.bit_width for kind in same)
