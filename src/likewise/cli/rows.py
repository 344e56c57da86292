"""Rows: tables that come with a command line, in a file or as JSON text, and results that go to a file."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.cli.output import plain
from likewise.core.errors import InvalidTime, RequestError
from likewise.core.frames import to_rows
from likewise.core.names import near_misses
from likewise.core.time import from_micros, to_micros
from likewise.core.types import Family

if TYPE_CHECKING:
    import pyarrow as pa

    from likewise.jobs.training import RetrievalJob
    from likewise.registry.definitions import Definitions

STDIN = "-"
"""Stands for standard input, which holds JSON."""
TIME = "event_timestamp"


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of columns by their names, where a file says less than a table: CSV and JSON have no times."""

    texts: frozenset[str] = frozenset()
    """Columns that hold text, even if it looks like numbers."""
    times: frozenset[str] = frozenset({TIME})
    """Columns that hold times, written as ISO 8601."""


def hints_of(definitions: Definitions) -> Hints:
    """Return what the definitions say of columns: keys, event times, features."""
    families: dict[str, set[Family]] = {}
    for entity in definitions.entities.values():
        for name in (entity.name, entity.join_key):
            families.setdefault(name, set()).add(entity.type.family)
    fields = [each for view in definitions.views.values() for each in view.features]
    fields += [each for view in definitions.on_demand.values() for r in view.request_sources for each in r.schema]
    for each in fields:
        families.setdefault(each.name, set()).add(each.dtype.family)
    times = {name for source in definitions.sources.values() for name in _time_columns(source)}
    return Hints(
        frozenset(name for name, found in families.items() if found == {Family.TEXT}),
        frozenset({TIME, *times, *(name for name, found in families.items() if found == {Family.TIME})}),
    )


def _time_columns(source: Any) -> list[str]:
    return [name for name in (source.timestamp_field, source.created_timestamp_column) if name]


def read_rows(given: str, what: str, hints: Hints) -> pa.Table:
    """Return the rows that a command line gives.

    Args:
        given: the path of a Parquet, CSV or JSON file, JSON text, or ``-`` for JSON on standard input.
        what: what the rows are, for messages.
        hints: what is known of their columns.

    Raises:
        RequestError: it is none of these, or cannot be read.

    Example:
        >>> read_rows('[{"user_id": 1, "event_timestamp": "2024-01-01"}]', "entity rows", Hints()).num_rows
        1
    """
    if given == STDIN:
        return _from_json(sys.stdin.read(), what, "standard input", hints)
    if given.lstrip()[:1] in ("[", "{"):
        return _from_json(given, what, "the JSON text", hints)
    path = Path(given)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RequestError(
            f"{given!r} is neither JSON text nor a file of {what}",
            cure=f"give a file that ends with {', '.join(READERS)}, or JSON such as '[{{\"user_id\": 1}}]'",
        )
    if not path.is_file():
        others = [other.name for other in path.parent.glob("*") if other.suffix in READERS]
        near = near_misses(path.name, others, "mend the path, or write the file")
        raise RequestError(f"there is no file {given!r} in {str(path.parent.resolve())!r}", cure=near)
    return reader(path, what, hints)


def _read_parquet(path: Path, what: str, hints: Hints) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except pa.ArrowException as error:
        raise RequestError(f"{str(path)!r} cannot be read as Parquet: {error}", cure="write it again") from error


def _read_csv(path: Path, what: str, hints: Hints) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    types = dict.fromkeys([*hints.texts, *hints.times], pa.string())
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=["", "NULL", "null"])
    try:
        rows = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=separator), convert_options=options)
    except pa.ArrowException as error:
        raise RequestError(f"{str(path)!r} cannot be read as CSV: {error}", cure="correct the line") from error
    return _with_times(rows, str(path), hints)


def _read_json(path: Path, what: str, hints: Hints) -> pa.Table:
    return _from_json(path.read_text(encoding="utf-8"), what, repr(str(path)), hints)


READERS: Mapping[str, Callable[[Path, str, Hints], pa.Table]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
}
"""File endings and what reads each."""


def _from_json(text: str, what: str, where: str, hints: Hints) -> pa.Table:
    """Read a list of rows, a mapping of columns, or a row a line."""
    from likewise.core.frames import to_table

    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        found = _json_lines(text)
        if found is None:
            at = f"line {error.lineno}, column {error.colno}"
            raise RequestError(f"{where} is not JSON: {error.msg} at {at}", cure="mend it there") from error
    rows = found
    if isinstance(found, dict):
        columns = all(isinstance(values, list) for values in found.values())
        rows = found if columns else [found]
    return _with_times(to_table(rows, what), where, hints)


def _json_lines(text: str) -> list[Any] | None:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()] or None
    except json.JSONDecodeError:
        return None


def _with_times(rows: pa.Table, where: str, hints: Hints) -> pa.Table:
    import pyarrow as pa

    for position, column in enumerate(rows.schema):
        if column.name in hints.times and pa.types.is_string(column.type):
            values = rows.column(position).to_pylist()
            times = pa.array(
                [_time(value, row, column.name, where) for row, value in enumerate(values)], pa.timestamp("us", "UTC")
            )
            rows = rows.set_column(position, column.name, times)
    return rows


def _time(value: str | None, row: int, column: str, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        return from_micros(to_micros(value))
    except InvalidTime as error:
        raise InvalidTime(f"row {row} of {where}, column {column!r}: {error.message}", cure=error.cure) from error


# Writing


def write_rows(job: RetrievalJob, path: Path) -> int:
    """Write a training set to a file, whole or not at all, and return the number of its rows.

    Args:
        job: the training set.
        path: the file; its ending says the format. One that is there is replaced.

    Raises:
        RequestError: the ending is not known.
    """
    ending = path.suffix.lower()
    if ending in (".parquet", ".pq"):
        return _row_count(job.persist(path.absolute(), allow_overwrite=True))
    write = WRITERS.get(ending)
    if write is None:
        known = ", ".join([".parquet", *WRITERS])
        raise RequestError(f"{str(path)!r} has an ending that is not known", cure=f"use one of {known}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        rows = write(job.to_arrow_batches(), part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return rows


def _row_count(path: Path) -> int:
    import pyarrow.parquet as pq

    rows: int = pq.read_metadata(path).num_rows
    return rows


def _write_csv(batches: pa.RecordBatchReader, path: Path) -> int:
    from pyarrow import csv

    rows = 0
    with csv.CSVWriter(path, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_json_lines(batches: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for batch in batches:
            for row in to_rows(batch):
                file.write(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n")
            rows += batch.num_rows
    return rows


WRITERS: Mapping[str, Callable[[pa.RecordBatchReader, Path], int]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
}
"""File endings other than Parquet's, and what writes each."""
