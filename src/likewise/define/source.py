"""Sources: where rows come from."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from likewise.core.errors import InvalidType
from likewise.define.definition import Definition, is_text_to_text
from likewise.define.field import Field


class DataSource(Definition):
    """Where the rows of a view come from.

    Args:
        name: unique among sources.
        timestamp_field: the column that holds the event time.
        created_timestamp_column: the column that says when a row was written; of two rows of one key and event time
            the one created later counts. Empty: there is none.
        field_mapping: column in the source to its name in the view.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
    """

    kind = "data_source"
    noun = "data source"
    type_name: ClassVar[str] = ""

    def __init__(
        self,
        name: str,
        timestamp_field: str = "",
        created_timestamp_column: str = "",
        field_mapping: Mapping[str, str] | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
    ) -> None:
        super().__init__(name, description, tags, owner)
        self.timestamp_field = self.expect(timestamp_field, str, "timestamp_field", "")
        self.created_timestamp_column = self.expect(created_timestamp_column, str, "created_timestamp_column", "")
        self.field_mapping = self._mapping(field_mapping)
        taken = list(self.field_mapping.values())
        if len(set(taken)) < len(taken):
            self.wrong(f"field_mapping={self.field_mapping!r} maps two columns to one name", "give each its own name")

    def _mapping(self, given: object) -> dict[str, str]:
        if given is None or is_text_to_text(given):
            return dict(given or {})
        what = f"field_mapping={given!r} is not a mapping of text to text"
        self.wrong(what, "write field_mapping={'uid': 'user_id'}")
        return {}

    def column_of(self, field: str) -> str:
        """Return the source's column behind a name of the view.

        Example:
            >>> FileSource(path="a.parquet", timestamp_field="t", field_mapping={"uid": "user_id"}).column_of("user_id")
            'uid'
        """
        for column, mapped in self.field_mapping.items():
            if mapped == field:
                return column
        return field

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        if self.timestamp_field:
            yield "timestamp_field", self.timestamp_field
        if self.created_timestamp_column:
            yield "created_timestamp_column", self.created_timestamp_column
        if self.field_mapping:
            yield "field_mapping", ", ".join(f"{column} as {name}" for column, name in self.field_mapping.items())
        yield from rest


class ParquetFormat:
    """Marks a file source of Parquet files, as in Feast.

    Example:
        >>> FileSource(path="rows.data", file_format=ParquetFormat()).file_format
        'parquet'
    """

    name = "parquet"


class CsvFormat:
    """Marks a file source of comma-separated values with a header line.

    Example:
        >>> FileSource(path="rows.data", file_format=CsvFormat()).file_format
        'csv'
    """

    name = "csv"


class JsonLinesFormat:
    """Marks a file source of one JSON object a line.

    Example:
        >>> FileSource(path="rows.data", file_format=JsonLinesFormat()).file_format
        'jsonl'
    """

    name = "jsonl"


FileFormat = ParquetFormat | CsvFormat | JsonLinesFormat
FORMATS: Mapping[str, str] = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
}
"""File endings and the format each means."""


class FileSource(DataSource):
    """Rows in files: one file, a directory of files, or a glob; Parquet, CSV or JSON lines.

    Args:
        path: the file, directory or glob, relative to the repo. Files count in the order of their paths.
        name: unique among sources; the path by default.
        timestamp_field: the column that holds the event time; naive times are UTC.
        created_timestamp_column: the column that says when a row was written; empty when there is none.
        field_mapping: column in the file to its name in the view.
        file_format: ``"parquet"``, ``"csv"`` or ``"jsonl"``, or one of Feast's format objects; by default it is told
            by the path's ending, and a directory holds Parquet unless told otherwise.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        event_timestamp_column: an older spelling of ``timestamp_field``.
        s3_endpoint_override: kept for object stores.
        date_partition_column: kept, as Feast has it; which files are read does not depend on it.

    Example:
        >>> FileSource(path="cards.parquet", timestamp_field="at")
        FileSource(name='cards.parquet', path='cards.parquet', format='parquet', timestamp_field='at')
    """

    type_name = "file"

    def __init__(
        self,
        path: str = "",
        name: str = "",
        timestamp_field: str = "",
        created_timestamp_column: str = "",
        field_mapping: Mapping[str, str] | None = None,
        file_format: FileFormat | str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        event_timestamp_column: str = "",
        s3_endpoint_override: str | None = None,
        date_partition_column: str = "",
    ) -> None:
        is_path = isinstance(path, str | os.PathLike)
        self.path = os.fspath(path) if is_path else ""
        super().__init__(
            name if name != "" else self.path,
            timestamp_field,
            created_timestamp_column,
            field_mapping,
            description,
            tags,
            owner,
        )
        if event_timestamp_column:
            times = {"timestamp_field": timestamp_field, "event_timestamp_column": event_timestamp_column}
            self.timestamp_field = self.expect(self.spelled(times), str, "event_timestamp_column", "")
        self.date_partition_column = self.expect(date_partition_column, str, "date_partition_column", "")
        self.s3_endpoint_override = self.expect(s3_endpoint_override, str, "s3_endpoint_override", "")
        self.file_format = self._format(file_format)
        if not self.path:
            what = "it has no path" if is_path or path is None else f"path={path!r} is no path"
            self.wrong(what, "give path='data/file.parquet', a directory, or a glob")

    def _check_name(self, name: object) -> None:
        if name != self.path:  # a path need not be a name
            super()._check_name(name)

    def _format(self, given: object) -> str:
        asked = given.name if isinstance(given, FileFormat) else given
        ending = self.path.rstrip("/").rsplit("/", 1)[-1].rpartition(".")[2].lower()
        if asked is None:
            return FORMATS.get(ending, "parquet")
        if isinstance(asked, str) and asked in FORMATS:
            return FORMATS[asked]
        self.wrong(f"file_format={asked!r} is not known", "use 'parquet', 'csv' or 'jsonl'")
        return "parquet"

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        yield "path", self.path
        yield "format", self.file_format
        if self.date_partition_column:
            yield "date_partition_column", self.date_partition_column
        if self.s3_endpoint_override:
            yield "s3_endpoint_override", self.s3_endpoint_override
        yield from rest


class PushSource(DataSource):
    """Rows that a program pushes; its batch source, if any, holds their history.

    Args:
        name: unique among sources.
        batch_source: the source of the history, which also names the time columns; None when there is no history.
        timestamp_field: the event time's column, when there is no batch source.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        schema: the columns of what is pushed, for people; what a push must hold is said by the views it feeds.

    Example:
        >>> PushSource("clicks", timestamp_field="at")
        PushSource(name='clicks', timestamp_field='at')
    """

    type_name = "push"

    def __init__(
        self,
        name: str,
        batch_source: DataSource | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        timestamp_field: str = "",
        created_timestamp_column: str = "",
        schema: Sequence[Field] | Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(name, timestamp_field, created_timestamp_column, None, description, tags, owner)
        self.schema = fields_of(self, schema)
        self.batch_source = batch_source if isinstance(batch_source, DataSource) else None
        if batch_source is not None and self.batch_source is None:
            self.wrong(f"batch_source={batch_source!r} is no source", "give a FileSource")
        if self.batch_source is not None:
            self.timestamp_field = self.timestamp_field or self.batch_source.timestamp_field
            self.created_timestamp_column = self.created_timestamp_column or self.batch_source.created_timestamp_column
            self.field_mapping = dict(self.batch_source.field_mapping)

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        if self.batch_source is not None:
            yield "batch_source", self.batch_source.name
        if self.schema:
            yield "schema", fields_text(self.schema)
        yield from rest


class RequestSource(DataSource):
    """Values that come with the request, for on-demand features.

    Args:
        name: unique among sources.
        schema: the fields a request must give.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        timestamp_field: accepted and kept.

    Example:
        >>> from likewise.core.types import Float64
        >>> RequestSource("payment", schema=[Field("amount", Float64)])
        RequestSource(name='payment', schema='amount Float64')
    """

    type_name = "request"

    def __init__(
        self,
        name: str,
        schema: Sequence[Field] | Mapping[str, object],
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        timestamp_field: str | None = None,
    ) -> None:
        super().__init__(name, timestamp_field or "", "", None, description, tags, owner)
        self.schema = fields_of(self, schema)

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        yield "schema", fields_text(self.schema)
        yield from rest


class PushMode(enum.Enum):
    """Where pushed rows go.

    Example:
        >>> PushMode.ONLINE_AND_OFFLINE.value
        3
    """

    ONLINE = 1
    OFFLINE = 2
    ONLINE_AND_OFFLINE = 3


def push_mode(value: object) -> PushMode:
    """Return a mode given as such, or by its name as the feature server has it.

    Raises:
        InvalidType: it is no mode.

    Example:
        >>> push_mode("online_and_offline").name
        'ONLINE_AND_OFFLINE'
    """
    if isinstance(value, PushMode):
        return value
    if isinstance(value, str) and value.upper() in PushMode.__members__:
        return PushMode[value.upper()]
    raise InvalidType(f"to={value!r} is no push mode", cure="use PushMode.ONLINE, OFFLINE or ONLINE_AND_OFFLINE")


def fields_of(owner: Definition, schema: object) -> list[Field]:
    """Return the fields of a schema, which may be a mapping of name to type; note on ``owner`` what is wrong."""
    fields = [Field(name, kind) for name, kind in schema.items()] if isinstance(schema, Mapping) else schema
    return checked_fields(owner, fields, "schema")


def fields_text(fields: Iterable[Field]) -> str:
    """Return fields as text: ``amount Float64, city String``."""
    return ", ".join(f"{field.name} {field.dtype}" for field in fields)


def checked_fields(owner: Definition, fields: object, argument: str) -> list[Field]:
    """Return the fields among ``fields``; note on ``owner`` what is no field, is broken, or stands twice."""
    found: dict[str, Field] = {}
    for field in owner.listed(fields, argument, f"write {argument}=[Field('amount', Float32)]"):
        if not isinstance(field, Field):
            owner.wrong(f"{argument} holds {field!r}, which is no Field", "write Field(name='amount', dtype=Float32)")
            continue
        for error in field.errors:
            owner.wrong(error.message, error.cure)
        if field.name in found:
            owner.wrong(f"{argument} names {field.name!r} twice", "remove one of them")
        found[field.name] = field
    return list(found.values())
