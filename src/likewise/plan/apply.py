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
from likewise.core.types import (
    FeatureType,
    Float64,
    Int64,
    Invalid,
    UnixTimestamp,
    accepts,
    arrow_type,
    type_from_arrow,
)
from likewise.define.check import check, circles
from likewise.define.contents import Contents, collect
from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.source import DataSource, FileSource, PushSource
from likewise.define.view import FeatureView, WindowedView
from likewise.plan.scan import Location, locate
from likewise.plan.window_inputs import EventColumns, TypeReader, resolve_windows
from likewise.registry.catalog import Catalog
from likewise.registry.codec import decode, encode
from likewise.registry.diff import Change, diff

if TYPE_CHECKING:
    import pyarrow as pa

D = TypeVar("D", bound=Definition)
SchemaReader = Callable[[Location], "pa.Schema | None"]
"""Returns the columns of a source; None when sources are not to be looked at."""

MadeReader = Callable[[FeatureView], "pa.Schema | None"]
"""Returns the columns that a view's function makes of its source's first rows; None when it is not to be run."""


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


def plan_apply(
    request: ApplyRequest,
    current: Catalog,
    root: str,
    read_schema: SchemaReader,
    read_type: TypeReader,
    *,
    read_made: MadeReader = lambda view: None,
) -> ApplyPlan:
    """Plan to apply definitions on a catalog.

    Args:
        request: what is to be applied.
        current: the catalog that it is planned on.
        root: the repo's folder, to which the paths of sources are relative.
        read_schema: tells the columns of a source.
        read_type: tells the type of an SQL expression that a window reads.
        read_made: tells the columns that a view's function makes, where the view does not declare them.

    Raises:
        RepoProblems: something is wrong; all of it is listed.
    """
    contents, fresh = _merged(request, current)
    turning = circles(contents)
    if turning:  # nothing else can be found out about such views
        raise RepoProblems([_relative(problem, root) for problem in turning])
    problems = [*request.problems, *check(contents, current.project)]
    known = decode(current.definitions())
    registered = {entity.name: entity.type for entity in known.entities}
    inputs = {view.name: view.inputs for view in known.views if isinstance(view, WindowedView)}
    resolved = _Resolver(root, read_schema, read_type, read_made, fresh, registered, inputs).resolve(contents)
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
    read_type: TypeReader
    read_made: MadeReader
    fresh: set[str]
    registered: Mapping[str, FeatureType]
    registered_inputs: Mapping[str, Sequence[Field]]
    problems: list[Problem] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    schemas: dict[str, pa.Schema | None] = field(default_factory=dict)
    key_types: dict[str, FeatureType] = field(default_factory=dict)
    views: dict[str, FeatureView] = field(default_factory=dict)
    made: dict[str, pa.Schema | None] = field(default_factory=dict)

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
        for view in parents_first(contents.views):
            self.views[view.name] = self._view(view, typed, sources)
        self.contents = Contents(
            contents.projects,
            list(typed.values()),
            list(sources.values()),
            [self.views[view.name] for view in contents.views],
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
            if column not in schema.names and view.is_derived:
                continue  # its function may make it
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
        above = ((part, self.views.get(part.name, part)) for part in view.source_views)
        resolved.source_views = [whole.with_projection(part.projection) for part, whole in above]
        for entity in resolved.entity_objects:
            if entity.type is Invalid and not self._unreadable(view):
                what = f"the type of the key of entity {entity.name!r} cannot be told"
                self.wrong(view, what, "give the entity a type, such as value_type=ValueType.INT64")
        if resolved.is_derived:
            self._derive(resolved)
        if isinstance(resolved, WindowedView) and resolved.aggregations:
            self._resolve_windows(resolved)
        else:
            self._check_fields(resolved)
        return resolved

    def _unreadable(self, view: FeatureView) -> bool:
        """Tell whether the source's columns are not known because it could not be read, which is said elsewhere."""
        source = view.batch_source
        return isinstance(source, FileSource) and self.schemas.get(source.name) is None and bool(self.problems)

    def _columns(self, view: FeatureView) -> pa.Schema | None:
        """Return the columns of the rows that a view's features are read from; None where they are not known."""
        if view.is_derived:
            return self.made.get(view.name)
        source = view.batch_source
        return self.schemas.get(source.name) if source is not None else None

    def _derive(self, view: FeatureView) -> None:
        """Find out what a derived view's function is given and, where that is not declared, what it makes."""
        stream, schema = view.stream_source, None
        if not view.source_views and view.batch_source is not None:
            schema = self.schemas.get(view.batch_source.name)
        if schema is not None:
            view.takes = list(self._taken(view, schema))
        elif not view.source_views and not view.takes and stream is not None:
            view.takes = list(stream.schema)
        if view.function is None:
            self.made[view.name] = _row_schema(view.source_views[0])
        elif view.function.call is not None and (not view.features or _has_windows(view)):
            self._make(view)

    def _taken(self, view: FeatureView, schema: pa.Schema) -> Iterator[Field]:
        """Return the columns of a source that a function is given: all that have a type a feature can have."""
        source = view.batch_source
        assert source is not None
        times = (source.timestamp_field, source.created_timestamp_column)
        for column in schema:
            name = column.name if column.name in times else source.field_mapping.get(column.name, column.name)
            try:
                yield Field(name, UnixTimestamp if name in times else type_from_arrow(column.type))
            except LikewiseError:
                continue

    def _make(self, view: FeatureView) -> None:
        if self._unreadable(view) or any(entity.type is Invalid for entity in view.entity_objects):
            return  # which is said elsewhere
        try:
            self.made[view.name] = self.read_made(view)
        except LikewiseError as error:
            self.wrong(view, error.message, error.cure)

    def _check_fields(self, view: FeatureView) -> None:
        source, schema = self._named(view), self._columns(view)
        if source is None or schema is None:
            if not view.features and source is not None and not self._unreadable(view) and not self._has_problem(view):
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

    def _named(self, view: FeatureView) -> DataSource | None:
        """Return what says how the columns of a view's history are called."""
        return view.row_source if view.is_derived else view.batch_source

    def _has_problem(self, view: FeatureView) -> bool:
        """Tell whether something is wrong with a view already."""
        return any(problem.what.startswith(view.title) for problem in self.problems)

    def _inferred(self, view: FeatureView, schema: pa.Schema) -> Iterator[Field]:
        source = self._named(view)
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

    def _resolve_windows(self, view: WindowedView) -> None:
        if self._unreadable(view):
            return
        for what, cure in resolve_windows(view, self._event_columns(view), self.read_type):
            self.wrong(view, what, cure)

    def _event_columns(self, view: WindowedView) -> EventColumns:
        """Return what is known of the columns of a view's rows: what it says itself counts before what others say."""
        schema = self._columns(view)
        types: dict[str, FeatureType] = {}
        unusable: dict[str, LikewiseError] = {}
        if schema is None:
            types |= {field.name: field.dtype for field in self._told(view)}
        else:
            self._check_inputs(view, schema)
        for column in schema or ():
            name = column.name if view.is_derived else _mapped(view, column.name)
            try:
                types[name] = type_from_arrow(column.type)
            except LikewiseError as error:
                unusable[name] = error
        types |= {field.name: field.dtype for field in view.inputs}
        types |= {name: UnixTimestamp for name in view.time_columns if name}
        types |= {entity.join_key: entity.type for entity in view.entity_objects}
        return EventColumns(types, schema is not None, unusable)

    def _told(self, view: WindowedView) -> list[Field]:
        """Return what is said of the columns of rows that no file shows, what counts more coming later.

        The fields of a schema that no window makes say the types of the rows that a function returns.
        """
        made = {aggregation.feature for aggregation in view.windows()}
        pushed = view.source.schema if isinstance(view.source, PushSource) and not view.is_derived else []
        unmade = [field for field in view.fields if field.name not in made]
        return [*self.registered_inputs.get(view.name, ()), *pushed, *unmade]

    def _check_inputs(self, view: WindowedView, schema: pa.Schema) -> None:
        source = self._named(view)
        for declared in view.inputs:
            column = declared.name if source is None else source.column_of(declared.name)
            if column not in schema.names:
                what = f"its source has no column {column!r} for {declared.name!r} of its inputs"
                self.wrong(view, what, near_misses(column, schema.names))
            elif not accepts(declared.dtype, schema.field(column).type):
                held = schema.field(column).type
                what = f"{declared.name!r} of its inputs is {declared.dtype}, but column {column!r} holds {held}"
                self.wrong(view, what, _retype(held))


def _mapped(view: FeatureView, column: str) -> str:
    """Return a view's name for a column of its source."""
    source = view.batch_source
    return column if source is None else source.field_mapping.get(column, column)


def parents_first(views: Iterable[FeatureView]) -> list[FeatureView]:
    """Return views in an order in which each comes after those whose rows it reads; a circle is broken somewhere."""
    by_name = {view.name: view for view in views}
    ordered: dict[str, FeatureView] = {}
    begun: set[str] = set()

    def add(view: FeatureView) -> None:
        if view.name in begun:
            return
        begun.add(view.name)
        for part in view.source_views:
            add(by_name.get(part.name, part))
        ordered[view.name] = view

    for view in by_name.values():
        add(view)
    return [view for view in ordered.values() if view.name in by_name]


def _has_windows(view: FeatureView) -> bool:
    return isinstance(view, WindowedView) and bool(view.aggregations)


def _row_schema(part: FeatureView) -> pa.Schema | None:
    """Return the columns of the rows of a view that is read as it is; None where their types are not known."""
    import pyarrow as pa

    if not part.features or any(entity.type is Invalid for entity in part.entity_objects):
        return None
    keys = [(entity.join_key, arrow_type(entity.type)) for entity in part.entity_objects]
    times = [(name, arrow_type(UnixTimestamp)) for name in sorted(part.time_columns) if name]
    return pa.schema([*keys, *times, *((field.name, arrow_type(field.dtype)) for field in part.features)])


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
