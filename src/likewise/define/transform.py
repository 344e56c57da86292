"""The on-demand view: features computed when they are asked for, by one function for training and serving (S10)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from likewise.core.errors import InvalidDefinition
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.function import UserFunction, described, name_of
from likewise.define.projection import AnyView
from likewise.define.source import RequestSource, checked_fields
from likewise.define.view import FeatureView, entity_names, listed_entities, mode_text

MODES = ("pandas", "python", "polars")
"""The modes an on-demand view can be computed in."""


class OnDemandFeatureView(AnyView):
    """Features that are computed when they are asked for, from other features and the request.

    The same function serves training and online reads.

    Args:
        name: unique among views.
        sources: feature views (or parts of one, ``view[["a"]]``) and request sources, whose columns the function gets.
        schema: the columns the function returns, at least one; it must return each of them and no others.
        udf: the function.
        mode: ``"pandas"`` (DataFrame to DataFrame), ``"python"`` (dict of lists to dict of lists; with ``singleton``
            dict of values to dict of values), or ``"polars"`` (DataFrame to DataFrame).
        singleton: in mode ``"python"``, call the function once a row.
        entities: kept, as Feast has it.
        write_to_online_store: declared; refused by name where a row is written.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        udf_string: the function's source text, where Python cannot find it.
        features: an older name of ``schema``.
        inputs: an older name of ``sources``: a mapping of any name to source.
        org: the organisation it belongs to, for people.
        version: kept, as Feast has it; the registry's history has the versions of every view.
        enabled: whether it may be read; False is what ``disable_feature_view`` does.
        track_metrics: kept for the feature server.
        input_schema: refused by name, as are ``feature_transformation`` and ``aggregations``.

    Example:
        >>> from likewise.core.types import Float64
        >>> payment = RequestSource("payment", [Field("amount", Float64)])
        >>> def doubled(inputs):
        ...     return {"twice": [2 * amount for amount in inputs["amount"]]}
        >>> view = OnDemandFeatureView("doubled", [payment], [Field("twice", Float64)], doubled, "python")
        >>> view({"amount": [2.5]})
        {'twice': [5.0]}
    """

    kind = "on_demand_feature_view"
    noun = "on-demand feature view"

    def __init__(
        self,
        name: str,
        sources: Sequence[object] | Mapping[str, object] | None = None,
        schema: Sequence[Field] | None = None,
        udf: Callable[..., Any] | UserFunction | None = None,
        mode: str = "pandas",
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        singleton: bool = False,
        entities: Sequence[Entity | str] | None = None,
        udf_string: str = "",
        write_to_online_store: bool = False,
        features: Sequence[Field] | None = None,
        inputs: Mapping[str, object] | None = None,
        org: str = "",
        version: str = "latest",
        enabled: bool = True,
        track_metrics: bool = False,
        input_schema: object = None,
        feature_transformation: object = None,
        aggregations: object = None,
    ) -> None:
        super().__init__(name, description, tags, owner)
        given = self.spelled({"sources": sources, "inputs": inputs})
        listed = self._listed_sources(given)
        self.source_views = [source for source in listed if isinstance(source, FeatureView)]
        self.request_sources = [source for source in listed if isinstance(source, RequestSource)]
        for source in listed:
            if not isinstance(source, FeatureView | RequestSource):
                self.wrong(f"sources holds {source!r}", "give feature views and request sources")
        for view in self.source_views:
            self.problems.extend(view.part_problems)
        self.fields = checked_fields(self, self.spelled({"schema": schema, "features": features}), "schema")
        self.mode = mode_text(mode)
        self.singleton = self.expect(singleton, bool, "singleton", False)
        self.entities = entity_names(self, listed_entities(self, entities))
        self.write_to_online_store = self.expect(write_to_online_store, bool, "write_to_online_store", False)
        self.org = self.expect(org, str, "org", "")
        self.version = self.expect(version, str, "version", "latest")
        self.enabled = self.expect(enabled, bool, "enabled", True)
        self.track_metrics = self.expect(track_metrics, bool, "track_metrics", False)
        self.function = None
        if udf is not None:
            self.function = described(self, udf, udf_string)
        elif feature_transformation is None:
            self.wrong("it has no function", "give udf=, or use the decorator @on_demand_feature_view")
        self._refuse(input_schema, feature_transformation, aggregations)
        self._check(listed, given)

    def _listed_sources(self, sources: object) -> list[object]:
        given = list(sources.values()) if isinstance(sources, Mapping) else sources
        return self.listed(given, "sources", "give sources=[a_view, a_request_source]", (FeatureView, RequestSource))

    def _refuse(self, input_schema: object, feature_transformation: object, aggregations: object) -> None:
        """Refuse, by their names, Feast's arguments that this version does not compute."""
        if input_schema is not None:
            self.wrong("input_schema is not computed", "give what a request must hold as sources=[RequestSource(…)]")
        if feature_transformation is not None:
            self.wrong("feature_transformation is not computed", "give the function itself as udf")
        if aggregations:
            self.wrong("aggregations is not computed", "compute them upstream, and read them with a FeatureView")

    def _check(self, listed: Sequence[object], given: object) -> None:
        if not listed and not given:
            self.wrong("it has no sources", "give sources=[a_view, a_request_source]")
        if not self.fields:
            self.wrong("its schema is empty", "list each returned column: schema=[Field('ratio', Float64)]")
        if self.mode not in MODES:
            self.wrong(f"mode={self.mode!r} is not known", f"use one of {', '.join(map(repr, MODES))}")
        if self.singleton and self.mode != "python":
            self.wrong(
                f"singleton=True does not go with mode={self.mode!r}", "use mode='python', or leave singleton out"
            )

    @property
    def schema(self) -> list[Field]:
        """The columns the function returns."""
        return self.fields

    @property
    def features(self) -> list[Field]:
        """The columns the function returns; a part's own when this is a part."""
        if self.projection.features is None:
            return self.fields
        by_name = {field.name: field for field in self.fields}
        return [by_name[name] for name in self.projection.features if name in by_name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as it was written: ``view(df)``."""
        if self.function is None or self.function.call is None:
            raise InvalidDefinition(f"{self.title} has no function here", cure="load the repo that defines it")
        return self.function.call(*args, **kwargs)

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        if self.projection.name != self.name:
            yield "as", self.projection.name
        yield "sources", ", ".join(source.name for source in [*self.source_views, *self.request_sources])
        yield "features", ", ".join(f"{field.name} {field.dtype}" for field in self.features)
        yield "mode", f"{self.mode}{' singleton' if self.singleton else ''}"
        if self.function is not None:
            yield "function", f"{self.function.name} ({self.function.hash[:12]})"
        yield from self._kept()
        yield from rest

    def _kept(self) -> Iterable[tuple[str, str]]:
        """Return what it says that changes no value, as (label, text)."""
        if self.entities:
            yield "entities", ", ".join(self.entities)
        if not self.enabled:
            yield "enabled", "no"
        if self.write_to_online_store:
            yield "write_to_online_store", "yes"
        if self.version != "latest":
            yield "declared_version", self.version
        if self.org:
            yield "org", self.org
        if self.track_metrics:
            yield "track_metrics", "yes"


def on_demand_feature_view(
    *,
    sources: Sequence[object] | Mapping[str, object] | None = None,
    schema: Sequence[Field] | None = None,
    mode: str = "pandas",
    name: str | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    owner: str = "",
    **more: Any,
) -> Callable[[Callable[..., Any]], OnDemandFeatureView]:
    """Turn a function into an on-demand feature view of its name.

    Args:
        sources: feature views and request sources, whose columns the function gets.
        schema: the columns it returns.
        mode: ``"pandas"``, ``"python"`` or ``"polars"``.
        name: the view's name; the function's by default.
        description: what it is; the function's docstring by default.
        tags: free labels, text to text.
        owner: who answers for it.
        more: the other arguments of :class:`OnDemandFeatureView`.

    Example:
        >>> from likewise.core.types import Float64
        >>> payment = RequestSource("payment", [Field("amount", Float64)])
        >>> @on_demand_feature_view(sources=[payment], schema=[Field("twice", Float64)], mode="python")
        ... def doubled(inputs):
        ...     return {"twice": [2 * amount for amount in inputs["amount"]]}
        >>> doubled.name, [field.name for field in doubled.features]
        ('doubled', ['twice'])
    """
    explode = more.pop("explode", False)

    def decorate(function: Callable[..., Any]) -> OnDemandFeatureView:
        words = description or inspect.getdoc(function) or ""
        view = OnDemandFeatureView(
            name or name_of(function), sources, schema, function, mode, words, tags, owner, **more
        )
        if explode:
            view.wrong("explode=True is not computed", "return one row for each row given")
        return view

    return decorate
