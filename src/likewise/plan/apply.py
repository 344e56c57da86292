"""ApplyPlan: what applying a repo would change, with everything resolved that only the sources know.

A plan holds the complete new set of definitions as plain data, and the differences to the catalog it was planned on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from likewise.core.errors import LikewiseError, Problem, RepoProblems
from likewise.core.keys import KEY_CURE, KEY_FAMILIES
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, Float64, Int64, Invalid, accepts, type_from_arrow
from likewise.define.check import check
from likewise.define.contents import Contents, collect
from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.source import FileSource, PushSource
from likewise.define.view import FeatureView, WindowedView
from likewise.plan.scan import Location, is_computed, locate
from likewise.registry.catalog import Catalog
from likewise.registry.codec import decode, encode
from likewise.registry.diff import Change, diff

if TYPE_CHECKING:
    import pyarrow as pa

D = TypeVar("D", bound=Definition)
SchemaReader = Callable[[Location], "pa.Schema | None"]
"""Returns the columns of a source; None when sources are not to be looked at."""


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """What an apply would do."""

    project: str
    """The project."""
    base: int
    """The number of the catalog it was planned on; the commit fails if there is a newer one by then."""
    definitions: tuple[Mapping[str, Any], ...]
    """The complete new set, as plain data."""
    changes: tuple[Change, ...]
    """What differs from the base, in a stable order."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(file of the repo that was not loaded, why)."""

    @property
    def deletes(self) -> tuple[Change, ...]:
        """The changes that delete something."""
        return tuple(change for change in self.changes if change.action == "delete")


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """What is to be applied."""

    objects: Sequence[Definition]
    """The definitions."""
    partial: bool = False
    """Whether what is registered but not among the objects stays."""
    delete: Sequence[Definition] = ()
    """What is to be deleted, with ``partial``."""
    problems: Sequence[Problem] = ()
    """What is already known to be wrong, from loading the files."""
    skipped: Sequence[tuple[str, str]] = ()
    """(file of the repo that was not loaded, why)."""


def plan_apply(request: ApplyRequest, current: Catalog, root: str, read_schema: SchemaReader) -> ApplyPlan:
    """Plan to apply definitions on a catalog.

    Args:
        request: what is to be applied.
        current: the catalog that it is planned on.
        root: the repo's folder, to which the paths of sources are relative.
        read_schema: tells the columns of a source.

    Raises:
        RepoProblems: something is wrong; all of it is listed.
    """
    contents, fresh = _merged(request, current)
    problems = [*request.problems, *check(contents, current.project)]
    registered = {entity.name: entity.type for entity in decode(current.definitions("entity")).entities}
    resolved = _Resolver(root, read_schema, fresh, registered).resolve(contents)
    problems.extend(resolved.problems)
    if problems:
        raise RepoProblems([_relative(problem, root) for problem in dict.fromkeys(problems)])
    definitions = tuple(encode(definition) for definition in _deduplicated(resolved.contents.all()))
    changes = diff(current.definitions(), definitions)
    return ApplyPlan(current.project, current.number, definitions, tuple(changes), tuple(request.skipped))


def _merged(request: ApplyRequest, current: Catalog) -> tuple[Contents, set[str]]:
    """Return all definitions that are to stand, and the names of the sources that are new among them."""
    new = collect(request.objects)
    fresh = {source.name for source in new.sources}
    if not request.partial:
        return new, fresh
    gone = {_slot(definition) for definition in [*new.all(), *request.delete]}
    kept = decode(current.definitions())
    _keep_key_types(new, kept)
    fresh |= _read_by_retyped_keys(new, kept)

    def both(ours: Sequence[D], theirs: Sequence[D]) -> list[D]:
        return [*ours, *(definition for definition in theirs if _slot(definition) not in gone)]

    return Contents(
        both(new.projects, kept.projects),
        both(new.entities, kept.entities),
        both(new.sources, kept.sources),
        both(new.views, kept.views),
        both(new.on_demand, kept.on_demand),
        both(new.services, kept.services),
    ), fresh


def _read_by_retyped_keys(new: Contents, kept: Contents) -> set[str]:
    """Return the sources of views whose keys are of another type now: they are looked at again."""
    types = {entity.name: entity.type for entity in kept.entities}
    retyped = {e.name for e in new.entities if e.name in types and e.type not in (Invalid, types[e.name])}
    views = (view for view in kept.views if retyped.intersection(view.entities))
    return {view.batch_source.name for view in views if view.batch_source is not None}


def _keep_key_types(new: Contents, kept: Contents) -> None:
    """Let an entity that is applied again without a type keep the one that its sources gave it."""
    known = {entity.name: entity.type for entity in kept.entities}
    for position, entity in enumerate(new.entities):
        if entity.type is Invalid and entity.name in known:
            new.entities[position] = copy.copy(entity)
            new.entities[position].type = known[entity.name]


def _slot(definition: Definition) -> tuple[str, str]:
    kind = "view" if definition.kind.endswith("feature_view") else definition.kind
    return kind, definition.name


def _deduplicated(definitions: Iterable[Definition]) -> list[Definition]:
    return list({_slot(definition): definition for definition in definitions}.values())


def _relative(problem: Problem, root: str) -> Problem:
    prefix = root.rstrip("/") + "/"
    return replace(problem, file=problem.file.removeprefix(prefix))


@dataclass(slots=True)
class _Resolver:
    """Fills in what the definitions leave to the sources: types of keys, schemas, the column of times."""

    root: str
    read_schema: SchemaReader
    fresh: set[str]
    registered: Mapping[str, FeatureType]
    problems: list[Problem] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    schemas: dict[str, pa.Schema | None] = field(default_factory=dict)
    key_types: dict[str, FeatureType] = field(default_factory=dict)

    def resolve(self, contents: Contents) -> _Resolver:
        entities = {entity.name: entity for entity in contents.entities}
        for source in contents.sources:
            if isinstance(source, FileSource) and source.name in self.fresh:
                self.schemas[source.name] = self._schema(source)
        sources = {source.name: self._with_time(source) for source in contents.sources}
        sources |= {name: _over(source, sources) for name, source in sources.items() if isinstance(source, PushSource)}
        for view in contents.views:
            self._infer_keys(view, entities)
        typed = {name: self._typed(entity) for name, entity in entities.items()}
        views = [self._view(view, typed, sources) for view in contents.views]
        self.contents = Contents(
            contents.projects,
            list(typed.values()),
            list(sources.values()),
            views,
            contents.on_demand,
            contents.services,
        )
        return self

    def wrong(self, definition: Definition, what: str, cure: str) -> None:
        origin = definition.origin
        self.problems.append(Problem(definition.said(what), cure, origin.file, origin.line))

    def _schema(self, source: FileSource) -> pa.Schema | None:
        try:
            return self.read_schema(locate(source, self.root))
        except LikewiseError as error:
            self.wrong(source, error.message, error.cure)
            return None

    def _with_time(self, source: Any) -> Any:
        """Return the source with its column of times, which may be told by being the only one."""
        schema = self.schemas.get(source.name)
        if not isinstance(source, FileSource):
            return source
        if schema is None:
            if not source.timestamp_field and not self.problems:
                self.wrong(source, "it does not say which column holds the event time", "give timestamp_field=…")
            return source
        if not source.timestamp_field:
            source = self._infer_time(source, schema)
        for column in (source.timestamp_field, source.created_timestamp_column):
            if column:
                self._check_time(source, schema, column)
        for column in source.field_mapping:
            if column not in schema.names:
                self.wrong(
                    source, f"{source.path!r} has no column {column!r} to map", near_misses(column, schema.names)
                )
        return source

    def _infer_time(self, source: FileSource, schema: pa.Schema) -> FileSource:
        times = [c.name for c in schema if _is_time(c.type) and c.name != source.created_timestamp_column]
        if len(times) != 1:
            found = f"columns of times: {', '.join(map(repr, times))}" if times else "it has no column of times"
            self.wrong(source, "it does not say which column holds the event time", f"give timestamp_field=…; {found}")
            return source
        other = copy.copy(source)
        other.timestamp_field = times[0]
        return other

    def _check_time(self, source: FileSource, schema: pa.Schema, column: str) -> None:
        if column not in schema.names:
            self.wrong(source, f"{source.path!r} has no column {column!r}", near_misses(column, schema.names))
        elif source.file_format == "jsonl" and _is_text(schema.field(column).type):
            return  # JSON has no times: they are ISO text, which the reader takes, or names the row that is none
        elif not _is_time(schema.field(column).type):
            what = f"column {column!r} of {source.path!r} holds {schema.field(column).type}, not times"
            self.wrong(source, what, "store it as a timestamp")

    def _infer_keys(self, view: FeatureView, entities: Mapping[str, Entity]) -> None:
        source = view.batch_source
        schema = self.schemas.get(source.name) if source is not None else None
        for name in view.entities:
            entity = entities.get(name)
            if entity is None or source is None or schema is None:
                continue
            column = source.column_of(entity.join_key)
            if column not in schema.names:
                what = f"{source.name!r} has no column {column!r} for the key of entity {name!r}"
                self.wrong(view, what, near_misses(column, schema.names))
            else:
                self._infer_key(view, entity, schema.field(column))

    def _infer_key(self, view: FeatureView, entity: Entity, column: pa.Field) -> None:
        declared = next((f.dtype for f in view.entity_columns if f.name == entity.join_key), entity.type)
        known = entity.type if entity.type is not Invalid else declared
        if known is not Invalid:
            self._keep_key(view, entity, known)
            if not accepts(known, column.type):
                what = f"column {column.name!r} holds {column.type}, but the key of entity {entity.name!r} is {known}"
                self.wrong(view, what, f"make it value_type={known.to_value_type()}, or retype the column")
            return
        try:
            self._keep_key(view, entity, type_from_arrow(column.type))
        except LikewiseError as error:
            self.wrong(view, f"the key {column.name!r}: {error.message}", error.cure)

    def _keep_key(self, view: FeatureView, entity: Entity, found: FeatureType) -> None:
        other = self.key_types.setdefault(entity.name, found)
        if other is found or other == found:
            return
        if other.family is found.family:
            wide = {other, found} & {Int64, Float64}
            self.key_types[entity.name] = wide.pop() if wide else found
            return
        what = f"the key of entity {entity.name!r} is {found} here, and {other} in another view"
        self.wrong(view, what, "give the entity a value_type, and retype one of the columns")

    def _typed(self, entity: Entity) -> Entity:
        """Return the entity with its key's type: its own, its sources', or the one it was registered with."""
        found = self.key_types.get(entity.name, self.registered.get(entity.name))
        if entity.type is not Invalid or found is None:
            return entity
        if found.family not in KEY_FAMILIES:
            self.wrong(entity, f"its key {entity.join_key!r} is {found} in the sources, which no key can be", KEY_CURE)
        typed = copy.copy(entity)
        typed.type = found
        return typed

    def _view(self, view: FeatureView, entities: Mapping[str, Entity], sources: Mapping[str, Any]) -> FeatureView:
        resolved = copy.copy(view)
        resolved.entity_objects = [entities[name] for name in view.entities if name in entities]
        if view.source is not None:
            resolved.source = sources.get(view.source.name, view.source)
        for entity in resolved.entity_objects:
            if entity.type is Invalid and not self._unreadable(view):
                what = f"the type of the key of entity {entity.name!r} cannot be told"
                self.wrong(view, what, "give the entity a type, such as value_type=ValueType.INT64")
        if isinstance(resolved, WindowedView) and is_computed(resolved):
            self._check_windows(resolved)
        else:
            self._check_fields(resolved)
        return resolved

    def _unreadable(self, view: FeatureView) -> bool:
        """Tell whether the source's columns are not known because it could not be read, which is said elsewhere."""
        source = view.batch_source
        return isinstance(source, FileSource) and self.schemas.get(source.name) is None and bool(self.problems)

    def _columns(self, view: FeatureView) -> pa.Schema | None:
        source = view.batch_source
        return self.schemas.get(source.name) if source is not None else None

    def _check_fields(self, view: FeatureView) -> None:
        source, schema = view.batch_source, self._columns(view)
        if source is None or schema is None:
            if not view.features and source is not None and not self._unreadable(view):
                self.wrong(view, "it lists no features", "give schema=[Field('amount', Float32), …]")
            return
        if not view.features:
            view.fields = [*view.fields, *self._inferred(view, schema)]
            return
        for declared in view.features:
            column = source.column_of(declared.name)
            if column not in schema.names:
                what = f"{source.name!r} has no column {column!r} for the feature {declared.name!r}"
                self.wrong(view, what, near_misses(column, schema.names))
            elif not accepts(declared.dtype, schema.field(column).type):
                held = schema.field(column).type
                where = f"column {column!r} of {source.name!r}"
                what = f"feature {declared.name!r} is {declared.dtype}, but {where} holds {held}"
                self.wrong(view, what, _retype(held))

    def _inferred(self, view: FeatureView, schema: pa.Schema) -> Iterator[Field]:
        source = view.batch_source
        assert source is not None
        taken = {source.timestamp_field, source.created_timestamp_column, *map(source.column_of, view.join_keys)}
        for column in schema:
            if column.name in taken:
                continue
            name = source.field_mapping.get(column.name, column.name)
            try:
                yield Field(name, type_from_arrow(column.type))
            except LikewiseError as error:
                self.wrong(view, f"column {column.name!r}: {error.message}", "list the features you want in schema=")

    def _check_windows(self, view: WindowedView) -> None:
        source, schema = view.batch_source, self._columns(view)
        if source is None or schema is None or view.function is not None:
            return
        for aggregation in view.aggregations:
            column = source.column_of(aggregation.column)
            if column != "*" and column not in schema.names:
                what = f"{source.name!r} has no column {column!r} to aggregate"
                self.wrong(view, what, near_misses(column, schema.names))


def _over(push: PushSource, sources: Mapping[str, Any]) -> PushSource:
    """Return a push source over its batch source as it was resolved, whose column of times may be known only now."""
    if push.batch_source is None:
        return push
    other = copy.copy(push)
    batch = sources.get(push.batch_source.name, push.batch_source)
    other.batch_source = batch
    other.timestamp_field = push.timestamp_field or batch.timestamp_field
    return other


def _is_text(data_type: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def _is_time(data_type: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(data_type) or pa.types.is_date(data_type))


def _retype(held: pa.DataType) -> str:
    try:
        return f"declare it {type_from_arrow(held)}, or retype the column"
    except LikewiseError:
        return "retype the column"
