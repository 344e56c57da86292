"""History: older versions of views, and the layouts their records were written in."""

from __future__ import annotations

from likewise.core.errors import FeatureViewNotFound, NotSupported
from likewise.core.types import FeatureType
from likewise.define.view import FeatureView
from likewise.registry.base import RegistryReader
from likewise.registry.catalog import DefinitionVersion
from likewise.registry.codec import decode
from likewise.registry.definitions import Definitions

VIEW_KINDS = ("feature_view", "batch_feature_view", "stream_feature_view")
"""The kinds of views whose values are stored."""
_MOST_CATALOGS = 8
"""How many catalogs are kept decoded while they are asked for again and again."""
Features = tuple[tuple[str, FeatureType], ...]
"""(name in records, type) of the features of one version of a view, in order."""


class PastCatalogs:
    """The views of a project's catalogs; the last few that were asked for are kept.

    Args:
        registry: the registry.
        project: the project.
    """

    def __init__(self, registry: RegistryReader, project: str) -> None:
        self._registry = registry
        self._project = project
        self._views: dict[int, dict[str, FeatureView]] = {}

    def view(self, name: str, number: int) -> FeatureView | None:
        """Return a view as a catalog has it; None where that has none of the name."""
        if number not in self._views:
            if len(self._views) >= _MOST_CATALOGS:
                del self._views[next(iter(self._views))]
            plain = self._registry.catalog(self._project, number).definitions("entity", "data_source", *VIEW_KINDS)
            self._views[number] = {view.name: view for view in decode(plain).views}
        return self._views[number].get(name)

    def version(self, version: DefinitionVersion) -> FeatureView:
        """Return a version of a view, over its sources and entities as they were when it was applied."""
        view = self.view(version.name, version.since)
        assert view is not None, f"catalog {version.since} holds what it brought"
        return view


def view_version(registry: RegistryReader, definitions: Definitions, name: str, version: int) -> FeatureView:
    """Return an older version of a view, over its sources and entities as they were then.

    Args:
        registry: the registry.
        definitions: the applied definitions.
        name: the view.
        version: the version, from 1.

    Raises:
        FeatureViewNotFound: the view has no such version.
    """
    versions = view_versions(registry, definitions.project, name)
    if not 1 <= version <= len(versions):
        known = f"it has versions 1 to {len(versions)}" if versions else "it was never applied"
        raise FeatureViewNotFound(f"feature view {name!r} has no version {version}", cure=known)
    return PastCatalogs(registry, definitions.project).version(versions[version - 1])


def view_versions(registry: RegistryReader, project: str, name: str) -> list[DefinitionVersion]:
    """Return every content a view ever had, oldest first, whatever kind of view it was."""
    found = [version for kind in VIEW_KINDS for version in registry.definition_versions(project, kind, name)]
    return sorted(found, key=lambda version: version.since)


def refuse_other_version(registry: RegistryReader, definitions: Definitions, name: str, version: str) -> None:
    """Refuse a version of a view that is not the applied one: the online store keeps the values of that one only.

    Args:
        registry: the registry.
        definitions: the applied definitions.
        name: the view.
        version: ``latest`` for the applied one, or its number: ``v2`` or ``2``.

    Raises:
        NotSupported: it is another one, or no version at all.
    """
    manifest = registry.catalog(definitions.project, definitions.number).manifest
    hashes = {found for (kind, known), found in manifest.items() if known == name and kind in VIEW_KINDS}
    versions = enumerate(view_versions(registry, definitions.project, name), 1)
    applied = [f"v{number}" for number, found in versions if found.hash in hashes]
    if version == "latest" or f"v{str(version).removeprefix('v')}" in applied:
        return
    raise NotSupported(
        f"version {version!r} of view {name!r} is not the applied one ({applied[-1]}), and the online store keeps the "
        "values of that one only",
        cure="leave the version out, or roll back to the catalog that applied it",
    )


def past_features(registry: RegistryReader, project: str, view: str) -> list[Features]:
    """Return the features of a view, as its records call them, under all definitions of it and of its sources."""
    then, versions = PastCatalogs(registry, project), view_versions(registry, project, view)
    names = {source for version in versions for source in _sources(then.version(version))}
    changes = [change for name in names for change in registry.definition_versions(project, "data_source", name)]
    numbers = sorted({version.since for version in [*versions, *changes]})
    found = (then.view(view, number) for number in numbers)
    return [tuple((old.stored_name(f.name), f.dtype) for f in old.features) for old in found if old is not None]


def past_views(
    registry: RegistryReader, project: str, name: str, number: int, catalogs: PastCatalogs | None = None
) -> list[FeatureView]:
    """Return a view as a catalog has it, and as those before had it, newest first, as far back as it was always there.

    Catalogs that changed neither the view, nor its sources, nor its entities are passed over.

    Args:
        registry: the registry.
        project: the project.
        name: the view.
        number: the catalog's number.
        catalogs: the project's, for who asks for many views; None: they are read for this one.
    """
    then = PastCatalogs(registry, project) if catalogs is None else catalogs
    versions: list[DefinitionVersion] = []
    for version in reversed(view_versions(registry, project, name)):
        if version.since <= number and (not versions or version.until == versions[-1].since):
            versions.append(version)
    if not versions or ((until := versions[0].until) is not None and until <= number):
        return []
    named = [("data_source", source) for v in versions for source in _sources(then.version(v))]
    named += [("entity", entity) for v in versions for entity in v.definition.get("entities", ())]
    around = [c for kind, each in dict.fromkeys(named) for c in registry.definition_versions(project, kind, each)]
    numbers = {found.since for found in [*versions, *around] if versions[-1].since <= found.since <= number}
    views = (then.view(name, each) for each in sorted(numbers, reverse=True))
    return [view for view in views if view is not None]


def _sources(view: FeatureView) -> list[str]:
    return [source.name for source in (view.source, view.batch_source) if source is not None]
