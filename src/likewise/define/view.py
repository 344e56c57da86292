"""Feature views: features of an entity, from a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from likewise.core.names import near_misses
from likewise.core.time import span_text
from likewise.core.types import FeatureType
from likewise.define.aggregation import Aggregation
from likewise.define.definition import Definition, is_text_to_text
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.function import UserFunction
from likewise.define.projection import AnyView
from likewise.define.projection import Projection as Projection
from likewise.define.source import DataSource, PushSource, checked_fields


class FeatureView(AnyView):
    """Features of one or several entities, read from a source.

    Args:
        name: unique among views, whatever the case of its letters.
        source: where the rows come from; another view, whose rows are read then, with its features as the columns.
        schema: the features (and key columns, if you like) with their types; by default all columns of the source but
            its keys and times, as they are when the repo is applied.
        entities: what the features describe; several make a composite key, none a view of one global row.
        ttl: for how long a value counts after its event time, both ends included; None or 0 is without limit.
        online: whether it is materialized and served.
        offline: kept, as Feast has it; where pushed rows go is said by each push.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        lookback: how late rows may arrive: each incremental materialization reads this span again; at least 0.
        features: an older name of ``schema``.
        batch_source: an older name of ``source``, as are ``input`` and ``stream_source``.
        org: the organisation it belongs to, for people.
        mode: kept, as Feast has it; a plain view transforms nothing.
        enable_validation: kept, as Feast has it; every value is checked anyway.
        version: kept, as Feast has it; the registry's history has the versions of every view.
        enabled: whether it may be read; False is what ``disable_feature_view`` does.
        sink_source: accepted for a view over other views, as Feast wants one there, and not written to; otherwise
            refused by name.

    Example:
        >>> from likewise.define.source import FileSource
        >>> from likewise.core.types import Int64
        >>> stats = FeatureView(
        ...     name="user_stats",
        ...     entities=[Entity(name="user", join_keys=["user_id"])],
        ...     ttl=timedelta(days=1),
        ...     schema=[Field("visits", Int64)],
        ...     source=FileSource(path="visits.parquet", timestamp_field="at"),
        ... )
        >>> stats
        FeatureView(name='user_stats', entities='user', features='visits Int64', ttl='1 day', source='visits.parquet')
        >>> stats[["visits"]].with_name("then").projection.name
        'then'
    """

    kind = "feature_view"
    noun = "feature view"
    function: UserFunction | None = None

    def __init__(
        self,
        name: str,
        source: DataSource | FeatureView | Sequence[FeatureView] | None = None,
        schema: Sequence[Field] | None = None,
        entities: Sequence[Entity | str] | None = None,
        ttl: timedelta | None = timedelta(0),
        online: bool = True,
        offline: bool = False,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        lookback: timedelta | None = None,
        features: Sequence[Field] | None = None,
        batch_source: DataSource | None = None,
        input: DataSource | None = None,
        stream_source: DataSource | None = None,
        org: str = "",
        mode: object = None,
        enable_validation: bool = False,
        version: str = "latest",
        enabled: bool = True,
        sink_source: object = None,
    ) -> None:
        super().__init__(name, description, tags, owner)
        given_source = self._one_source(source, stream_source, {"batch_source": batch_source, "input": input})
        self.source_views = self._source_views(given_source)
        self.source = None if self.source_views else self._source(given_source)
        self.takes: list[Field] = []
        given = listed_entities(self, entities)
        self.entity_objects = [entity for entity in given if isinstance(entity, Entity)]
        self.entities = entity_names(self, given)
        self.fields = checked_fields(self, self.spelled({"schema": schema, "features": features}), "schema")
        self.ttl = self._span(ttl, "ttl")
        self.lookback = self._span(lookback, "lookback")
        self.online = self.expect(online, bool, "online", True)
        self.offline = self.expect(offline, bool, "offline", False)
        self.org = self.expect(org, str, "org", "")
        self.mode = mode_text(mode)
        self.enable_validation = self.expect(enable_validation, bool, "enable_validation", False)
        self.version = self.expect(version, str, "version", "latest")
        self.enabled = self.expect(enabled, bool, "enabled", True)
        if sink_source is not None and not self.source_views:  # which Feast wants there
            self.wrong("sink_source is not written to", "leave it out; rows are pushed to the batch source")

    def _one_source(self, source: object, stream: object, batch: Mapping[str, object]) -> object:
        """Return the source that is given under any of its names; a stream may stand beside the history it has."""
        history = stream.batch_source if isinstance(stream, PushSource) else None
        others = {name: given for name, given in batch.items() if given is None or given is not history}
        return self.spelled({"source": source, "stream_source": stream, **others})

    def _source_views(self, source: object) -> list[FeatureView]:
        """Return the views whose rows it reads, when its source is a view, or a list of them."""
        listed = list(source) if isinstance(source, list | tuple) else [source]
        views = [view for view in listed if isinstance(view, FeatureView)]
        if not views:
            return []
        for other in (other for other in listed if not isinstance(other, FeatureView)):
            self.wrong(f"source holds {other!r}, which is no feature view", "give views only, or one source")
        for view in views:
            self.problems.extend(view.part_problems)
        return views

    def _source(self, source: object) -> DataSource | None:
        if isinstance(source, DataSource):
            return source
        if source is not None:
            self.wrong(f"source={source!r} is no source", "give a FileSource, a PushSource, or a feature view")
        else:
            self.wrong("it has no source", "give source=FileSource(path=…, timestamp_field=…)")
        return None

    def _span(self, span: object, argument: str) -> timedelta | None:
        if span is None or (isinstance(span, timedelta) and span >= timedelta(0)):
            return span or None
        if isinstance(span, timedelta):
            self.wrong(f"{argument}={span} is negative", f"give a {argument} of zero or more; zero is without limit")
        else:
            self.wrong(f"{argument}={span!r} is no timedelta", f"write {argument}=timedelta(days=1)")
        return None

    @property
    def is_derived(self) -> bool:
        """Whether its rows are made of others: by a function, or by reading another view's."""
        return self.function is not None or bool(self.source_views)

    @property
    def row_source(self) -> DataSource | None:
        """What says how the columns of its rows are called; derived rows have the view's own names for them."""
        above = self.source_views[0].row_source if self.source_views else self.source
        if above is None or not self.is_derived:
            return above
        return DataSource(self.name, above.timestamp_field, above.created_timestamp_column)

    @property
    def batch_source(self) -> DataSource | None:
        """The source that holds the history: the source itself, or the batch source of a push source.

        For a view over other views it is that of the first of them.
        """
        if self.source_views:
            return self.source_views[0].batch_source
        return self.source.batch_source if isinstance(self.source, PushSource) else self.source

    @property
    def stream_source(self) -> PushSource | None:
        """The push source, when there is one; a view over one other view is fed by what feeds that one."""
        if len(self.source_views) == 1:
            return self.source_views[0].stream_source
        return self.source if isinstance(self.source, PushSource) else None

    @property
    def source_name(self) -> str:
        """The source's name; empty when it has none."""
        return self.source.name if self.source is not None else ""

    @property
    def schema(self) -> list[Field]:
        """All declared columns: keys that were listed, and features."""
        return self.fields

    @property
    def join_keys(self) -> list[str]:
        """The key columns, in the order of the entities, as far as the entities are given as objects."""
        keys = {entity.name: entity.join_key for entity in self.entity_objects}
        return [keys.get(name, name) for name in self.entities]

    @property
    def features(self) -> list[Field]:
        """The features: the declared columns that are no keys and no times; a part's own when this is a part."""
        taken = {*self.join_keys, *self.time_columns}
        found = [field for field in self.fields if field.name not in taken]
        if self.projection.features is None:
            return found
        by_name = {field.name: field for field in found}
        return [by_name[name] for name in self.projection.features if name in by_name]

    @property
    def entity_columns(self) -> list[Field]:
        """The key columns that the schema lists."""
        keys = set(self.join_keys)
        return [field for field in self.fields if field.name in keys]

    @property
    def time_columns(self) -> set[str]:
        """The columns of event and created time; an empty name stands for one that was not given."""
        source = self.row_source
        if source is None:
            return set()
        return {source.timestamp_field, source.created_timestamp_column}

    def stored_name(self, name: str) -> str:
        """Return what online records call a feature, and tables a key: its name, and the column that is mapped to it.

        So a value that was stored from one column is never taken for that of another.

        Example:
            >>> from likewise.define.source import FileSource
            >>> source = FileSource(path="a.parquet", timestamp_field="t", field_mapping={"amt": "amount"})
            >>> view = FeatureView("v", source)
            >>> view.stored_name("amount"), view.stored_name("count")
            ('amount=amt', 'count')
        """
        if self.is_derived:  # made by a function: the table's name says by which
            return name
        column = name if self.source is None else self.source.column_of(name)
        return name if column == name else f"{name}={column}"

    @property
    def materialization_intervals(self) -> list[tuple[datetime, datetime]]:
        """Always empty, for a definition does not know what was done with it: ask the store.

        ``store.materialization_intervals(name)`` returns the spans of event time that are materialized.
        """
        return []

    @property
    def most_recent_end_time(self) -> datetime | None:
        """Always None, as :attr:`materialization_intervals` is always empty: ask the store."""
        return None

    def with_join_key_map(self, join_key_map: Mapping[str, str]) -> Self:
        """Return the view with its keys read from other columns of the request.

        Args:
            join_key_map: join key of the view to column of the entity rows.
        """
        if not is_text_to_text(join_key_map):
            part = self._seen(self.projection)
            part.misread(f"cannot take the join key map {join_key_map!r}", "write {'user_id': 'sender_id'}")
            return part
        part = self._seen(replace(self.projection, join_key_map=tuple(join_key_map.items())))
        for key in join_key_map:
            if self.entity_objects and key not in self.join_keys:
                cure = near_misses(key, self.join_keys, "it has no entities: leave the join key map out")
                part.misread(f"has no join key {key!r}", cure)
        return part

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        if self.projection.name != self.name:
            yield "as", self.projection.name
        yield "entities", ", ".join(self.entities) or "none"
        shown = ", ".join(f"{field.name} {field.dtype}" for field in self.features)
        yield "features", shown or "from the source"
        yield "ttl", span_text(self.ttl)
        if self.source is not None:
            yield "source", self.source.name
        if self.source_views:
            yield "source", ", ".join(view.name for view in self.source_views)
        if not self.online:
            yield "online", "no"
        if self.lookback is not None:
            yield "lookback", span_text(self.lookback)
        yield from _kept(self)
        yield from rest


def _kept(view: FeatureView) -> Iterable[tuple[str, str]]:
    """Return what a view says that changes no value, as (label, text)."""
    if view.offline:
        yield "offline", "yes"
    if not view.enabled:
        yield "enabled", "no"
    if view.enable_validation:
        yield "enable_validation", "yes"
    if view.version != "latest":
        yield "declared_version", view.version
    if view.org:
        yield "org", view.org
    if view.mode and not isinstance(view, WindowedView):  # which say so beside their function
        yield "mode", view.mode


class WindowedView(FeatureView):
    """A view that may transform its source and aggregate it over windows."""

    aggregations: list[Aggregation]
    inputs: list[Field]
    """The columns of its rows that windows read, with their types; filled in when it is applied."""
    derived: dict[str, FeatureType]
    """The type of each SQL expression that windows read, by its text; filled in when it is applied."""

    @property
    def features(self) -> list[Field]:
        """The features; with windows just those that they make: what else a schema lists says types of columns."""
        found = super().features
        made = {aggregation.feature for aggregation in self.windows()}
        return [field for field in found if field.name in made or not made]

    @property
    def known_names(self) -> list[str]:
        """The names that a part of the view may have: its windows' as well, which no schema need list."""
        return list(dict.fromkeys([*super().known_names, *(aggregation.feature for aggregation in self.windows())]))

    def windows(self) -> list[Aggregation]:
        """The aggregations under the features' names.

        Unnamed aggregations take the names of the schema's fields by position, when there are as many of both.
        """
        taken = {*self.join_keys, *self.time_columns, *(aggregation.feature for aggregation in self.aggregations)}
        free = [field.name for field in self.fields if field.name not in taken]
        fields = {field.name for field in self.fields}
        unnamed = [a for a in self.aggregations if not a.name and a.feature not in fields]
        if len(free) != len(unnamed):
            return list(self.aggregations)
        names = dict(zip(map(id, unnamed), free, strict=True))
        return [replace(a, name=names[id(a)]) if id(a) in names else a for a in self.aggregations]

    def _set_aggregations(self, aggregations: object) -> None:
        cure = "write aggregations=[Aggregation('amount', 'sum', timedelta(hours=1))]"
        listed = self.listed(aggregations, "aggregations", cure, (Aggregation,))
        self.aggregations = [a for a in listed if isinstance(a, Aggregation)]
        for given in listed:
            if not isinstance(given, Aggregation):
                self.wrong(f"aggregations holds {given!r}", "write Aggregation('amount', 'sum', timedelta(hours=1))")
        for aggregation in self.aggregations:
            for what, cure in aggregation.faults():
                self.wrong(what, cure)

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        yield from super().summary()
        if self.aggregations:
            yield "aggregations", ", ".join(a.feature for a in self.windows())


def listed_entities(owner: Definition, entities: object) -> list[object]:
    """Return the entities of a list; one that is not in a list is a list of one."""
    return owner.listed(entities, "entities", "write entities=[customer]", (Entity, str))


def entity_names(owner: Definition, entities: Iterable[object]) -> list[str]:
    """Return the names of entities given as objects or by name; note on ``owner`` what is neither, or stands twice."""
    names: list[str] = []
    for entity in entities:
        if not isinstance(entity, Entity | str):
            owner.wrong(f"entities holds {entity!r}", "give an Entity, or its name")
            continue
        name = entity.name if isinstance(entity, Entity) else entity
        if name in names:
            owner.wrong(f"entities names {name!r} twice", "remove one of them")
        else:
            names.append(name)
    return names


def mode_text(mode: object) -> str:
    """Return a mode's name: ``"pandas"`` for ``"pandas"`` and for Feast's ``TransformationMode.PANDAS``."""
    return "" if mode is None else str(mode).rpartition(".")[2].lower()
