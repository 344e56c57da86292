"""Contents: the definitions of a repo, sorted by kind, with everything they refer to."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.project import Project
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, PushSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection


@dataclass(slots=True)
class Contents:
    """The definitions of a repo, each once, in the order they were found."""

    projects: list[Project] = field(default_factory=list)
    """At most one counts."""
    entities: list[Entity] = field(default_factory=list)
    """Those listed, and those that views refer to."""
    sources: list[DataSource] = field(default_factory=list)
    """Those listed, those of views, and batch sources of push sources."""
    views: list[FeatureView] = field(default_factory=list)
    """Feature views of all kinds but on-demand ones; whole, never a part or an alias."""
    on_demand: list[OnDemandFeatureView] = field(default_factory=list)
    """On-demand views."""
    services: list[FeatureService] = field(default_factory=list)
    """Feature services."""

    def all(self) -> Iterator[Definition]:
        """Return every definition, sources before the views that read them."""
        yield from self.projects
        yield from self.entities
        yield from self.sources
        yield from self.views
        yield from self.on_demand
        yield from self.services


def collect(objects: Iterable[Definition]) -> Contents:
    """Sort definitions by kind, and add what they refer to.

    Args:
        objects: definitions in any order; one that stands twice counts once.

    Example:
        >>> from likewise.define.source import FileSource
        >>> source = FileSource(path="a.parquet", timestamp_field="t")
        >>> [view] = collect([FeatureView(name="a", source=source, entities=[Entity(name="user")])]).views
        >>> view.name
        'a'
    """
    contents = Contents()
    seen: set[int] = set()
    listed = list(objects)
    own_views = {view.name for view in listed if isinstance(view, FeatureView) and not _is_part(view)}
    for definition in listed:
        _add(definition, contents, seen, own_views)
    return contents


def _add(definition: Definition, contents: Contents, seen: set[int], own_views: set[str]) -> None:
    if id(definition) in seen:
        return
    seen.add(id(definition))
    match definition:
        case Project():
            contents.projects.append(definition)
        case Entity():
            contents.entities.append(definition)
        case DataSource():
            contents.sources.append(definition)
        case FeatureView():
            _add_view(definition, contents, own_views)
        case OnDemandFeatureView():
            contents.on_demand.append(definition)
        case FeatureService():
            contents.services.append(definition)
    for other in _referred(definition):
        _add(other, contents, seen, own_views)


def _add_view(view: FeatureView, contents: Contents, own_views: set[str]) -> None:
    if not _is_part(view):
        contents.views.append(view)
    elif view.name not in own_views:
        own_views.add(view.name)
        whole = copy.copy(view)
        whole.projection = Projection(view.name)
        contents.views.append(whole)


def _is_part(view: FeatureView) -> bool:
    return view.projection != Projection(view.name)


def _referred(definition: Definition) -> Iterable[Definition]:
    match definition:
        case PushSource() if definition.batch_source is not None:
            return [definition.batch_source]
        case FeatureView():
            return [*definition.entity_objects, *([definition.source] if definition.source is not None else [])]
        case OnDemandFeatureView():
            return [*definition.source_views, *definition.request_sources]
        case FeatureService():
            return definition.views
    return []
