"""Scan: which rows of a source are read, and how their columns are meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.core.errors import EntityKeyError, NotSupported
from likewise.core.types import Family, FeatureType, Int64
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.source import FileSource
from likewise.define.view import FeatureView, WindowedView


@dataclass(frozen=True, slots=True)
class Location:
    """Where the files of a source lie."""

    path: str
    """A file, a directory or a glob; absolute."""
    format: str
    """``parquet``, ``csv`` or ``jsonl``."""
    shown: str = ""
    """The path as the definition gives it, for messages; empty: the path itself."""


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
        NotSupported: the view computes windows or transforms its rows, or has no files.
    """
    refuse_computed(view)
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise NotSupported(
            f"{view.title} has no batch source, so it has no history",
            cure="give its push source a batch_source=FileSource(…)",
        )
    return Scan(
        view.name,
        locate(source, root),
        source.timestamp_field,
        source.created_timestamp_column,
        tuple(ScanColumn(source.column_of(entity.join_key), entity.type) for entity in sorted_keys(view)),
        tuple(ScanColumn(source.column_of(field.name), field.dtype) for field in columns),
    )


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


def is_computed(view: FeatureView) -> bool:
    """Tell whether a view's values are windows, or rows that were transformed, which this version does not compute."""
    return isinstance(view, WindowedView) and (bool(view.aggregations) or view.function is not None)


def refuse_computed(view: FeatureView) -> None:
    """Refuse a view whose values this version does not compute.

    Raises:
        NotSupported: it has windows, or a transformation.
    """
    if not isinstance(view, WindowedView) or not is_computed(view):
        return
    if view.aggregations:
        names = ", ".join(repr(aggregation.feature) for aggregation in view.windows())
        raise NotSupported(
            f"{view.title} aggregates over time windows ({names}), which this version declares but does not compute",
            cure="compute the windows upstream and read them with a FeatureView",
        )
    name = view.function.name if view.function is not None else ""
    raise NotSupported(
        f"{view.title} transforms its rows with {name!r}, which this version does not run",
        cure="transform the rows upstream and read them with a FeatureView",
    )
