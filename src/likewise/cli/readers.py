"""Readers: which definitions are built on which, so that nothing is deleted under somebody's feet."""

from __future__ import annotations

from collections.abc import Iterator

from likewise.define.contents import Contents
from likewise.define.definition import Definition
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, PushSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView


def readers(contents: Contents, definition: Definition) -> list[Definition]:
    """Return the definitions that are built on one, each once.

    Args:
        contents: all applied definitions.
        definition: one of them.

    Example:
        >>> from likewise.define.contents import collect
        >>> from likewise.define.entity import Entity
        >>> from likewise.define.source import FileSource
        >>> source = FileSource(name="days", path="a.parquet", timestamp_field="t")
        >>> contents = collect([FeatureView(name="visits", source=source, entities=[Entity(name="user")])])
        >>> [reader.name for reader in readers(contents, source)]
        ['visits']
    """
    below = _slot(definition)
    found = {_slot(each): each for each in contents.all() if below in {_slot(other) for other in _below(each)}}
    return list(found.values())


def _slot(definition: Definition) -> tuple[str, str]:
    """Return what identifies a definition; views of all kinds share their names."""
    kind = "view" if isinstance(definition, FeatureView | OnDemandFeatureView) else definition.kind
    return kind, definition.name


def _below(definition: Definition) -> Iterator[Definition]:
    """Return what a definition is built on."""
    match definition:
        case FeatureView():
            yield from definition.entity_objects
            sources: list[DataSource | None] = [definition.source, definition.batch_source]
            yield from (source for source in sources if source is not None)
            yield from definition.source_views
        case OnDemandFeatureView():
            yield from definition.source_views
            yield from definition.request_sources
        case FeatureService():
            yield from definition.views
        case PushSource() if definition.batch_source is not None:
            yield definition.batch_source
