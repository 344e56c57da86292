"""Contents: the definitions of a repo, sorted by kind, with everything they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.project import Project
from likewise.define.projection import AnyView
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, PushSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView

V = TypeVar("V", bound=AnyView)


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
    listed = list(objects)
    found = _Found(contents, {view.name for view in listed if isinstance(view, AnyView) and not view.is_part})
    for definition in listed:
        found.add(definition)
    contents.views = [_with_parts(view, found.parts) for view in contents.views]
    contents.on_demand = [_with_parts(view, found.parts) for view in contents.on_demand]
    return contents


@dataclass(slots=True)
class _Found:
    contents: Contents
    own_views: set[str]
    """The names of the views that are listed whole, or were made whole."""
    seen: set[int] = field(default_factory=set)
    parts: list[AnyView] = field(default_factory=list)
    """Parts of views that are wrong in themselves."""

    def add(self, definition: Definition) -> None:
        if id(definition) in self.seen:
            return
        self.seen.add(id(definition))
        match definition:
            case Project():
                self.contents.projects.append(definition)
            case Entity():
                self.contents.entities.append(definition)
            case DataSource():
                self.contents.sources.append(definition)
            case FeatureView():
                self._add_view(definition, self.contents.views)
            case OnDemandFeatureView():
                self._add_view(definition, self.contents.on_demand)
            case FeatureService():
                self.contents.services.append(definition)
        for other in _referred(definition):
            self.add(other)

    def _add_view(self, view: V, views: list[V]) -> None:
        if view.part_problems:
            self.parts.append(view)
        if not view.is_part:
            views.append(view)
        elif view.name not in self.own_views:
            self.own_views.add(view.name)
            views.append(view.whole())


def _with_parts(view: V, parts: Iterable[AnyView]) -> V:
    """Return the view with what is wrong with its parts, which are not applied themselves."""
    problems = [problem for part in parts if part.name == view.name for problem in part.part_problems]
    if not problems:
        return view
    whole = view.whole()
    whole.problems.extend(problems)
    return whole


def _referred(definition: Definition) -> Iterable[Definition]:
    match definition:
        case PushSource() if definition.batch_source is not None:
            return [definition.batch_source]
        case FeatureView():
            source = [] if definition.source is None else [definition.source]
            return [*definition.entity_objects, *source, *definition.source_views]
        case OnDemandFeatureView():
            return [*definition.source_views, *definition.request_sources]
        case FeatureService():
            return definition.views
    return []
