"""Selection: which features were asked for, in which order, and what each is called in the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from likewise.core.errors import (
    FeatureNameCollision,
    FeatureNotFound,
    InvalidDefinition,
    InvalidFeatureReference,
    NotSupported,
    RequestError,
)
from likewise.core.names import FeatureReference, near_misses, parse_reference
from likewise.core.types import FeatureType
from likewise.define.service import FeatureService, OnFailedRead
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection
from likewise.plan.scan import refuse_foreign
from likewise.registry.definitions import Definitions

VersionReader = Callable[[str, int], FeatureView]
"""Returns an older version of a view by its name and number."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One feature that was asked for."""

    part: Projection
    """The view it comes from, and how it is seen; its ``features`` is None."""
    feature: str
    """The feature's name in the view."""
    name: str
    """Its name in the answer."""
    type: FeatureType
    """Its type."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The features of one request."""

    picks: tuple[Pick, ...]
    """The features, in the order asked for, each once."""
    views: dict[Projection, FeatureView]
    """The views that are read: those asked for, and those that on-demand views need."""
    on_demand: dict[str, OnDemandFeatureView]
    """The on-demand views that are computed."""
    on_failed_read: OnFailedRead = "error"
    """What an online read gets that the store fails: what all that was asked for agrees on, else an error."""

    def needed(self, part: Projection) -> list[str]:
        """Return the features of a view that are read: asked for, or needed by an on-demand view."""
        asked = [pick.feature for pick in self.picks if pick.part == part]
        wanted = [
            field.name
            for view in self.on_demand.values()
            for source in view.source_views
            if _whole(source.projection) == part
            for field in source.features
        ]
        return list(dict.fromkeys([*asked, *wanted]))


def select(
    definitions: Definitions,
    features: str | FeatureService | Sequence[str | FeatureService],
    full_feature_names: bool,
    read_version: VersionReader | None = None,
) -> Selection:
    """Resolve what was asked for.

    Args:
        definitions: the catalog's definitions.
        features: ``view:feature`` texts, bare names of views and services, or services, in any mix.
        full_feature_names: whether a feature is called ``view__feature`` in the answer.
        read_version: returns an older version of a view, for ``view@v2:feature``; None refuses those.

    Raises:
        FeatureNotFound, FeatureViewNotFound, FeatureServiceNotFound: a name nobody has.
        FeatureNameCollision: two features have one name in the answer.
        InvalidDefinition: a service, or a part of a view in it, is not as it has to be.
        NotSupported: an older version was asked for where there is none: online, or of an on-demand view.
    """
    if not isinstance(features, Iterable | FeatureService):
        raise RequestError(f"features={features!r} names no features", cure="give features=['view:feature', …]")
    listed = [features] if isinstance(features, str | FeatureService) else list(features)
    if not listed:
        raise RequestError("no features were asked for", cure="give features=['view:feature', …] or a feature service")
    chooser = _Chooser(definitions, full_feature_names, read_version)
    picks = list(dict.fromkeys(pick for item in listed for pick in chooser.picks(item)))
    _refuse_collisions(picks)
    policies = set(map(chooser.policy, listed))
    policy = policies.pop() if len(policies) == 1 else "error"
    return Selection(tuple(picks), chooser.views, chooser.on_demand, policy)


@dataclass(slots=True)
class _Chooser:
    definitions: Definitions
    full_names: bool
    read_version: VersionReader | None
    views: dict[Projection, FeatureView]
    on_demand: dict[str, OnDemandFeatureView]

    def __init__(self, definitions: Definitions, full_names: bool, read_version: VersionReader | None) -> None:
        self.definitions = definitions
        self.full_names = full_names
        self.read_version = read_version
        self.views = {}
        self.on_demand = {}

    def picks(self, item: str | FeatureService) -> Iterator[Pick]:
        if isinstance(item, FeatureService):
            yield from self._service(item)
            return
        reference = parse_reference(item)
        if reference.feature is None and reference.view in self.definitions.services:
            yield from self._service(self.definitions.service(reference.view))
            return
        features = None if reference.feature is None else (reference.feature,)
        yield from self._part(self._projection(reference, features))

    def policy(self, item: str | FeatureService) -> OnFailedRead:
        """Return what somebody who asks for one item gets where the store fails: only a service says."""
        if isinstance(item, FeatureService):
            return item.on_failed_read
        reference = parse_reference(item)
        service = self.definitions.services.get(reference.view) if reference.feature is None else None
        return "error" if service is None else service.on_failed_read

    def _projection(self, reference: FeatureReference, features: tuple[str, ...] | None) -> Projection:
        known = {**self.definitions.views, **self.definitions.on_demand}
        if reference.view not in known and reference.feature is None:
            names = [*known, *self.definitions.services]
            cure = near_misses(reference.view, names, "nothing was applied yet; run 'likewise apply'")
            raise InvalidFeatureReference(f"{reference.view!r} is neither a view nor a service", cure=cure)
        return Projection(reference.view, features=features, version=reference.version)

    def _service(self, service: FeatureService) -> Iterator[Pick]:
        for projection in service.projections:
            yield from self._part(projection)
        for problem in service.problems[:1]:
            raise InvalidDefinition(problem.what, cure=problem.cure)

    def _part(self, projection: Projection) -> Iterator[Pick]:
        if projection.view in self.definitions.on_demand:
            yield from self._on_demand(projection)
            return
        view = self._view(projection)
        _refuse_disabled(view)
        refuse_foreign(view)
        for key, _ in projection.join_key_map:
            if key not in view.join_keys:
                cure = near_misses(key, view.join_keys, "it has no entities: leave the join key map out")
                raise InvalidDefinition(f"{view.title} has no join key {key!r}", cure=cure)
        part = _whole(projection)
        self.views[part] = view
        yield from self._named(part, projection, {field.name: field.dtype for field in view.features}, view.title)

    def _view(self, projection: Projection) -> FeatureView:
        if projection.version is None:
            return self.definitions.view(projection.view)
        if self.read_version is None:
            raise NotSupported(
                f"{projection.name!r} is an older version, and the online store keeps the applied one only",
                cure=f"ask for {projection.view!r}; older versions are for training sets",
            )
        return self.read_version(projection.view, projection.version)

    def _on_demand(self, projection: Projection) -> Iterator[Pick]:
        view = self.definitions.on_demand_view(projection.view)
        if projection.version is not None:
            raise NotSupported(
                f"{projection.name!r} is an older version of an on-demand view, whose function is not kept",
                cure=f"ask for {projection.view!r}",
            )
        _refuse_disabled(view)
        self.on_demand[view.name] = view
        for source in view.source_views:
            whole = self.definitions.view(source.name)
            _refuse_disabled(whole)
            refuse_foreign(whole)
            self.views[_whole(source.projection)] = whole
        types = {field.name: field.dtype for field in view.features}
        yield from self._named(_whole(projection), projection, types, view.title)

    def _named(
        self, part: Projection, projection: Projection, types: dict[str, FeatureType], title: str
    ) -> Iterator[Pick]:
        for feature in projection.features if projection.features is not None else types:
            if feature not in types:
                raise FeatureNotFound(f"{title} has no feature {feature!r}", cure=near_misses(feature, types))
            name = f"{projection.name}__{feature}" if self.full_names else feature
            yield Pick(part, feature, name, types[feature])


def _refuse_disabled(view: FeatureView | OnDemandFeatureView) -> None:
    if not view.enabled:
        raise NotSupported(f"{view.title} is disabled", cure="apply it with enabled=True, or ask for another one")


def _whole(projection: Projection) -> Projection:
    return replace(projection, features=None)


def _refuse_collisions(picks: Iterable[Pick]) -> None:
    seen: dict[str, Pick] = {}
    for pick in picks:
        other = seen.setdefault(pick.name, pick)
        if other != pick:
            raise FeatureNameCollision(
                f"two features are called {pick.name!r}: one of view {other.part.name!r}, one of {pick.part.name!r}",
                cure="ask with full_feature_names=True, or give one of the views another name with with_name",
            )
