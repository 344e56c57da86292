"""History: older versions of views, and the layouts their records were written in."""

from __future__ import annotations

from likewise.core.errors import FeatureViewNotFound
from likewise.core.types import FeatureType
from likewise.define.view import FeatureView
from likewise.registry.base import RegistryReader
from likewise.registry.catalog import DefinitionVersion
from likewise.registry.codec import decode
from likewise.registry.definitions import Definitions

VIEW_KINDS = ("feature_view", "batch_feature_view", "stream_feature_view")
"""The kinds of views whose values are stored."""
Features = tuple[tuple[str, FeatureType], ...]
"""(name, type) of the features of one version of a view, in order."""


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
    return _as_it_was(registry, definitions.project, versions[version - 1])


def view_versions(registry: RegistryReader, project: str, name: str) -> list[DefinitionVersion]:
    """Return every content a view ever had, oldest first, whatever kind of view it was."""
    found = [version for kind in VIEW_KINDS for version in registry.definition_versions(project, kind, name)]
    return sorted(found, key=lambda version: version.since)


def past_features(registry: RegistryReader, project: str, view: str) -> list[Features]:
    """Return the features of every version of a view, without its keys and times, oldest first."""
    views = (_as_it_was(registry, project, version) for version in view_versions(registry, project, view))
    return [tuple((field.name, field.dtype) for field in old.features) for old in views]


def _as_it_was(registry: RegistryReader, project: str, version: DefinitionVersion) -> FeatureView:
    around = registry.catalog(project, version.since).definitions("entity", "data_source")
    [view] = decode([*around, version.definition]).views
    return view
