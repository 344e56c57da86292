"""Feature views: features of an entity, from a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from likewise.core.names import near_misses
from likewise.core.time import span_text
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
        source: where the rows come from.
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

    def __init__(
        self,
        name: str,
        source: DataSource | None = None,
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
        self.source = self._source(stream_source or source or batch_source or input)
        given = listed_entities(self, entities)
        self.entity_objects = [entity for entity in given if isinstance(entity, Entity)]
        self.entities = entity_names(self, given)
        self.fields = checked_fields(self, schema if schema is not None else features, "schema")
        self.ttl = self._span(ttl, "ttl")
        self.lookback = self._span(lookback, "lookback")
        self.online = bool(online)
        self.offline = bool(offline)
        self.org = self.expect(org, str, "org", "")
        self.mode = mode_text(mode)
        self.enable_validation = bool(enable_validation)
        self.version = self.expect(version, str, "version", "latest")
        self.enabled = bool(enabled)

    def _source(self, source: object) -> DataSource | None:
        if isinstance(source, DataSource):
            return source
        if isinstance(source, FeatureView | list):
            self.wrong("its source is another feature view", "chained views are not computed yet; give a FileSource")
        elif source is not None:
            self.wrong(f"source={source!r} is no source", "give a FileSource or a PushSource")
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
    def batch_source(self) -> DataSource | None:
        """The source that holds the history: the source itself, or the batch source of a push source."""
        return self.source.batch_source if isinstance(self.source, PushSource) else self.source

    @property
    def stream_source(self) -> DataSource | None:
        """The push source, when there is one."""
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
        """The source's columns of event and created time; an empty name stands for one that was not given."""
        source = self.source
        if source is None:
            return set()
        return {source.timestamp_field, source.created_timestamp_column}

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
                part.misread(f"has no join key {key!r}", near_misses(key, self.join_keys))
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
        if not self.online:
            yield "online", "no"
        yield from rest


class WindowedView(FeatureView):
    """A view that may transform its source and aggregate it over windows."""

    aggregations: list[Aggregation]
    function: UserFunction | None

    def windows(self) -> list[Aggregation]:
        """The aggregations under the features' names.

        Unnamed aggregations take the names of the schema's fields by position, when there are as many of both.
        """
        named = {aggregation.feature for aggregation in self.aggregations}
        free = [field.name for field in self.features if field.name not in named]
        unnamed = [a for a in self.aggregations if not a.name and a.feature not in {f.name for f in self.features}]
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
