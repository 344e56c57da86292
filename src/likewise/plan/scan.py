"""Scan: which rows of a source are read, and how their columns are meant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from likewise.core.errors import EntityKeyError, NotSupported
from likewise.core.types import Family, FeatureType, Int64, UnixTimestamp
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.source import FileSource
from likewise.define.view import FeatureView, WindowedView
from likewise.define.windowed import ROW_MODES


@dataclass(frozen=True, slots=True)
class Location:
    """Where the files of a source lie."""

    path: str
    """A file, a directory or a glob; absolute."""
    format: str
    """``parquet``, ``csv`` or ``jsonl``."""
    shown: str = ""
    """The path as the definition gives it, for messages; empty: the path itself."""
    derivation: Derivation | None = None
    """How its rows are made, where they lie in no file of the user's; None for files."""
    files: tuple[tuple[str, str], ...] | None = None
    """(path, format) of the files that are read, in order, whatever lies there since; None: those that are there."""


@dataclass(frozen=True, slots=True)
class ScanColumn:
    """One column of a source, and the type its values are to have."""

    column: str
    """The column's name in the files."""
    type: FeatureType
    """The declared type; values that do not fit it are an error that names file and column."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The rows of one view's source."""

    view: str
    """The view's name, for messages."""
    location: Location
    """Where the files lie."""
    time: str
    """The column of the event time."""
    created: str
    """The column of the created time; empty when there is none."""
    keys: tuple[ScanColumn, ...]
    """The key columns, sorted by join key; none for a view without entities, whose rows all have one key."""
    columns: tuple[ScanColumn, ...]
    """The features' columns, in the order of the view. One column may stand for several features."""


@dataclass(frozen=True, slots=True)
class GivenRows:
    """The rows of one source that a view's function is given, or that the view reads as they are."""

    table: str
    """The name of the table that they are in a query."""
    columns: tuple[ScanColumn, ...]
    """The columns, times among them, under the names that the function knows; none: those that were pushed."""
    scan: Scan | None
    """How to read them, its columns in the same order; None when there is no history."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """How the rows of a view are made of others."""

    view: str
    """The view."""
    title: str
    """The view's kind and name, for messages."""
    mode: str
    """What the function takes and returns: one of :data:`ROW_MODES`."""
    function: str
    """The hash of the function's source; empty: the rows of the only source are taken as they are."""
    given: tuple[GivenRows, ...]
    """What the function is given, one for each of its arguments."""
    keys: tuple[str, ...]
    """The join keys among the outputs."""
    times: tuple[str, ...]
    """The event time among the outputs, and the created time, if the source has one."""
    outputs: tuple[ScanColumn, ...]
    """The columns that count of what it returns: keys, times, then features, or what windows read."""
    is_open: bool = False
    """Whether it may return more columns than that, as where windows read only some of them."""


def locate(source: FileSource, root: str) -> Location:
    """Return where the files of a source lie.

    Args:
        source: the source; its path may be relative to the repo, absolute, or a ``file://`` address.
        root: the repo's folder.

    Raises:
        NotSupported: the path is the address of an object store.

    Example:
        >>> locate(FileSource(path="data/a.parquet", timestamp_field="t"), "/repo").path
        '/repo/data/a.parquet'
    """
    path = source.path.removeprefix("file://")
    if "://" in path:
        scheme = path.partition("://")[0]
        raise NotSupported(
            f"{source.title}: the path {source.path!r} is in an object store ({scheme})",
            cure="this version reads local files; give a local path",
        )
    return Location(os.path.normpath(Path(root, Path(path).expanduser())), source.file_format, source.path)


def scan_of(view: FeatureView, root: str, columns: Sequence[Field]) -> Scan:
    """Return the scan that reads some of a view's features from its batch source.

    Args:
        view: a view of a catalog: its entities' types are known.
        root: the repo's folder.
        columns: the features to read, in order.

    Raises:
        NotSupported: the view computes windows, its function is one that this version does not run, or it has no files.
    """
    refuse_foreign(view)
    source = view.row_source if view.is_derived else view.batch_source
    location = location_of(view, root)
    assert source is not None  # or it would have no location
    return Scan(
        view.name,
        location,
        source.timestamp_field,
        source.created_timestamp_column,
        tuple(ScanColumn(source.column_of(entity.join_key), entity.type) for entity in sorted_keys(view)),
        tuple(ScanColumn(source.column_of(field.name), field.dtype) for field in columns),
    )


def location_of(view: FeatureView, root: str) -> Location:
    """Return where the rows of a view lie: in the files of its batch source, or nowhere yet, but how they are made.

    Args:
        view: a view of a catalog.
        root: the repo's folder.

    Raises:
        NotSupported: it has no files.
    """
    if view.is_derived:
        derivation = derivation_of(view, root)
        if all(given.scan is not None and given.columns for given in derivation.given):
            made = f"the rows that {view.title} makes of {_origins(view)}"
            return Location("", "parquet", made, derivation)
        if derivation.given[0].scan is not None:
            raise NotSupported(
                f"{view.title} was applied without a look at its source, so what its function is given is not known",
                cure="apply it without skip_source_validation",
            )
    source = view.batch_source
    if isinstance(source, FileSource):
        return locate(source, root)
    raise NotSupported(
        f"{view.title} has no batch source, so it has no history",
        cure="give its push source a batch_source=FileSource(…)",
    )


def derivation_of(view: FeatureView, root: str) -> Derivation:
    """Return how the rows of a derived view are made.

    Args:
        view: a derived view of a catalog.
        root: the repo's folder.
    """
    source = view.row_source
    names = [source.timestamp_field, source.created_timestamp_column] if source is not None else []
    times = tuple(filter(None, names))
    keys = tuple(ScanColumn(entity.join_key, entity.type) for entity in sorted_keys(view))
    kept = [*keys, *(ScanColumn(name, UnixTimestamp) for name in times)]
    taken = {column.column for column in kept}
    values = (ScanColumn(field.name, field.dtype) for field in row_fields(view) if field.name not in taken)
    return Derivation(
        view.name,
        view.title,
        view.mode,
        view.function.hash if view.function is not None else "",
        tuple(_given(part, root) for part in view.source_views) or (_given_source(view, root),),
        tuple(key.column for key in keys),
        times,
        (*kept, *values),
        isinstance(view, WindowedView) and bool(view.aggregations),
    )


def row_fields(view: FeatureView) -> Sequence[Field]:
    """Return the columns of a view's rows, but keys and times: its features, or what its windows read."""
    return view.inputs if isinstance(view, WindowedView) and view.aggregations else view.features


def lineage(view: FeatureView) -> str:
    """Return a hash of all functions that a view's rows went through; empty when it reads a source as it is."""
    if not view.is_derived:
        return ""
    function = view.function.hash if view.function is not None else ""
    above = [(part.projection, lineage(part)) for part in view.source_views]
    mapping = sorted(view.source.field_mapping.items()) if view.source is not None else []
    return hashlib.sha256(repr((view.mode, function, above, mapping)).encode()).hexdigest()


def _given_source(view: FeatureView, root: str) -> GivenRows:
    """Return the rows of a view's own source: all of its columns, under the view's names."""
    source = view.batch_source
    columns = tuple(ScanColumn(field.name, field.dtype) for field in view.takes)
    table = view.source_name if view.source_name.isidentifier() else "source"
    if source is None or not isinstance(source, FileSource):
        return GivenRows(table, columns, None)
    times = (source.timestamp_field, source.created_timestamp_column)
    read = tuple(
        ScanColumn(name if (name := column.column) in times else source.column_of(name), column.type)
        for column in columns
    )
    return GivenRows(table, columns, Scan(view.name, locate(source, root), *times, (), read))


def _given(part: FeatureView, root: str) -> GivenRows:
    """Return the rows of another view: its keys, its times and its features."""
    source = part.row_source
    names = [source.timestamp_field, source.created_timestamp_column] if source is not None else []
    times = [ScanColumn(name, UnixTimestamp) for name in names if name]
    keys = [ScanColumn(entity.join_key, entity.type) for entity in sorted_keys(part)]
    features = [ScanColumn(field.name, field.dtype) for field in part.features]
    columns = (*keys, *times, *features)
    if part.batch_source is None:
        return GivenRows(part.name, columns, None)
    scan = scan_of(part, root, part.features)
    return GivenRows(part.name, columns, replace(scan, keys=(), columns=(*scan.keys, *times, *scan.columns)))


def _origins(view: FeatureView) -> str:
    """Return the files that a view's rows come from in the end, for people."""
    if view.source_views:
        return ", ".join(dict.fromkeys(map(_origins, view.source_views)))
    source = view.batch_source
    return repr(source.path) if isinstance(source, FileSource) else repr(view.source_name)


def sorted_keys(view: FeatureView) -> list[Entity]:
    """Return a view's entities in the order of their join keys, which is the order of keys in an entity key (S9)."""
    return sorted(view.entity_objects, key=lambda entity: entity.join_key)


def shared_key_type(column: str, known: FeatureType | None, entity: Entity, view: FeatureView) -> FeatureType:
    """Return the type of a request's column that is a key of several views.

    Args:
        column: the column.
        known: its type in the views before; None when this is the first.
        entity: what it is the key of in this view.
        view: this view, for messages.

    Raises:
        EntityKeyError: the types differ; a value cannot be two different keys (S9).
    """
    if known is None or known == entity.type:
        return entity.type
    if known.family is entity.type.family is Family.INT:  # one key, however wide the column is declared
        return Int64
    raise EntityKeyError(
        f"the column {column!r} is a key of type {known} in one view and of type {entity.type} in {view.title}",
        cure="give one of them another column with with_join_key_map",
    )


def is_foreign(view: FeatureView) -> bool:
    """Tell whether a view's rows are made by a function of a mode that this version does not run."""
    return view.function is not None and view.mode not in ROW_MODES


def refuse_foreign(view: FeatureView) -> None:
    """Refuse a view whose values this version does not compute.

    Raises:
        NotSupported: it has a transformation of a mode that is not run.
    """
    if is_foreign(view):
        name = view.function.name if view.function is not None else ""
        raise NotSupported(
            f"{view.title} transforms its rows with {name!r} in mode={view.mode!r}, which this version does not run",
            cure=f"write the function for one of {', '.join(map(repr, ROW_MODES))}, and say so with mode=",
        )
