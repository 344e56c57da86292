"""Definitions: a catalog's contents as objects, found by name; what is absent is named, with near misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from likewise.core.errors import (
    DataSourceNotFound,
    EntityNotFound,
    FeatureServiceNotFound,
    FeatureViewNotFound,
    NotFound,
    PushSourceNotFound,
)
from likewise.core.names import near_misses
from likewise.define.contents import Contents
from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, PushSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView
from likewise.registry.catalog import Catalog
from likewise.registry.codec import decode

D = TypeVar("D", bound=Definition)


class Definitions:
    """The definitions of one catalog, as objects.

    Args:
        project: the project's name.
        number: the catalog's number.
        contents: what it holds.
    """

    def __init__(self, project: str, number: int, contents: Contents) -> None:
        self.project = project
        self.number = number
        self.contents = contents
        self.entities: Mapping[str, Entity] = _by_name(contents.entities)
        self.sources: Mapping[str, DataSource] = _by_name(contents.sources)
        self.views: Mapping[str, FeatureView] = _by_name(contents.views)
        self.on_demand: Mapping[str, OnDemandFeatureView] = _by_name(contents.on_demand)
        self.services: Mapping[str, FeatureService] = _by_name(contents.services)

    def entity(self, name: str) -> Entity:
        """Return an entity."""
        return self._find(self.entities, name, "entity", EntityNotFound)

    def source(self, name: str) -> DataSource:
        """Return a data source."""
        return self._find(self.sources, name, "data source", DataSourceNotFound)

    def push_source(self, name: str) -> PushSource:
        """Return a push source."""
        pushed = {n: source for n, source in self.sources.items() if isinstance(source, PushSource)}
        return self._find(pushed, name, "push source", PushSourceNotFound)

    def view(self, name: str) -> FeatureView:
        """Return a feature view of any kind but an on-demand one."""
        return self._find(self.views, name, "feature view", FeatureViewNotFound)

    def on_demand_view(self, name: str) -> OnDemandFeatureView:
        """Return an on-demand view."""
        return self._find(self.on_demand, name, "on-demand feature view", FeatureViewNotFound)

    def service(self, name: str) -> FeatureService:
        """Return a feature service."""
        return self._find(self.services, name, "feature service", FeatureServiceNotFound)

    def any_view(self, name: str) -> FeatureView | OnDemandFeatureView:
        """Return a view of any kind."""
        views: dict[str, FeatureView | OnDemandFeatureView] = {**self.views, **self.on_demand}
        return self._find(views, name, "feature view", FeatureViewNotFound)

    def pushed_views(self, source: str) -> list[FeatureView]:
        """Return the views that a push source feeds."""
        fed = ((view, view.stream_source) for view in self.views.values())
        return [view for view, stream in fed if stream is not None and stream.name == source]

    def _find(self, found: Mapping[str, D], name: str, noun: str, error: type[NotFound]) -> D:
        if name in found:
            return found[name]
        none = "define it, and run 'likewise apply'"
        cure = near_misses(name, found, none) if self.number else "nothing was applied yet; run 'likewise apply'"
        raise error(f"there is no {noun} {name!r} in project {self.project!r}", cure=cure)


def read_definitions(catalog: Catalog) -> Definitions:
    """Return a catalog's definitions as objects."""
    return Definitions(catalog.project, catalog.number, decode(catalog.definitions()))


def _by_name(definitions: Iterable[D]) -> dict[str, D]:
    return {definition.name: definition for definition in definitions}
