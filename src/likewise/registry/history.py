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
Features = tuple[tuple[str, FeatureType], ...]
"""(name in records, type) of the features of one version of a view, in order."""


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
    versions = view_versions(registry, project, view)
    names = {source for version in versions for source in _sources(_as_it_was(registry, project, version))}
    changes = [change for name in names for change in registry.definition_versions(project, "data_source", name)]
    numbers = sorted({version.since for version in [*versions, *changes]})
    found = (_as_it_stood(registry, project, view, number) for number in numbers)
    return [tuple((old.stored_name(f.name), f.dtype) for f in old.features) for old in found if old is not None]


def past_views(registry: RegistryReader, project: str, name: str, number: int) -> list[FeatureView]:
    """Return a view as a catalog has it, and as those before had it, newest first, as far back as it was always there.

    Catalogs that changed neither the view, nor its sources, nor its entities are passed over.

    Args:
        registry: the registry.
        project: the project.
        name: the view.
        number: the catalog's number.
    """
    versions: list[DefinitionVersion] = []
    for version in reversed(view_versions(registry, project, name)):
        if version.since <= number and (not versions or version.until == versions[-1].since):
            versions.append(version)
    if not versions or ((until := versions[0].until) is not None and until <= number):
        return []
    named = [("data_source", source) for v in versions for source in _sources(_as_it_was(registry, project, v))]
    named += [("entity", entity) for v in versions for entity in v.definition.get("entities", ())]
    around = [c for kind, each in dict.fromkeys(named) for c in registry.definition_versions(project, kind, each)]
    numbers = {found.since for found in [*versions, *around] if versions[-1].since <= found.since <= number}
    views = (_as_it_stood(registry, project, name, each) for each in sorted(numbers, reverse=True))
    return [view for view in views if view is not None]


def _sources(view: FeatureView) -> list[str]:
    return [source.name for source in (view.source, view.batch_source) if source is not None]


def _as_it_was(registry: RegistryReader, project: str, version: DefinitionVersion) -> FeatureView:
    around = registry.catalog(project, version.since).definitions("entity", "data_source", *VIEW_KINDS)
    name = version.definition["name"]
    others = [plain for plain in around if plain["kind"] not in VIEW_KINDS or plain["name"] != name]
    views = decode([*others, version.definition]).views
    return next(view for view in views if view.name == name)


def _as_it_stood(registry: RegistryReader, project: str, name: str, number: int) -> FeatureView | None:
    """Return a view of an older catalog; None where that has none of the name."""
    catalog = registry.catalog(project, number)
    views = decode(catalog.definitions("entity", "data_source", *VIEW_KINDS)).views
    return next((view for view in views if view.name == name), None)
