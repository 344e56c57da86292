"""The rules that definitions keep among themselves. All are checked, and every problem is listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from likewise.core.errors import InvalidName, Problem
from likewise.core.names import check_name, near_misses
from likewise.define.contents import Contents
from likewise.define.definition import Definition
from likewise.define.service import FeatureService
from likewise.define.source import FileSource, PushSource, RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, WindowedView

RESERVED = ("event_timestamp", "created_timestamp", "entity_df")
"""Names of features that would be taken for something else."""


def check(contents: Contents, project: str = "") -> list[Problem]:
    """Return everything that is wrong with a repo's definitions, in the order of files and lines.

    Args:
        contents: the definitions.
        project: the project's name in the configuration; empty when it is not known.

    Example:
        >>> from likewise.define.contents import collect
        >>> [problem] = check(collect([FeatureView(name="cards")]))
        >>> problem.what
        "feature view 'cards': it has no source"
    """
    found = [problem for definition in contents.all() for problem in definition.problems]
    found.extend(_project_name(contents, project))
    for rule in (_unique_names, _entities_known, _referred, _derived, _features, _sources, _on_demand, _services):
        found.extend(rule(contents))
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.file, problem.line))


def _problem(definition: Definition, what: str, cure: str) -> Problem:
    return Problem(definition.said(what), cure, definition.origin.file, definition.origin.line)


def _project_name(contents: Contents, project: str) -> Iterator[Problem]:
    for extra in contents.projects[1:]:
        yield _problem(extra, "a repo has one project", "remove all but one Project")
    for defined in contents.projects[:1]:
        if project and defined.name != project:
            yield _problem(defined, f"feature_store.yaml says project: {project}", "give both the same name")


def _unique_names(contents: Contents) -> Iterator[Problem]:
    views = [*contents.views, *contents.on_demand]
    yield from _twice(contents.entities, lambda name: name)
    yield from _twice(contents.sources, lambda name: name)
    yield from _twice(views, str.lower)
    yield from _twice(contents.services, lambda name: name)
    names = {view.name: view for view in views}
    for service in contents.services:
        if service.name in names:
            yield _problem(service, "a view has the same name", "rename one of them: a bare name must mean one thing")


def _twice(definitions: Sequence[Definition], fold: Callable[[str], str]) -> Iterator[Problem]:
    by_name: dict[str, list[Definition]] = defaultdict(list)
    for definition in definitions:
        by_name[fold(str(definition.name))].append(definition)
    for first, *others in by_name.values():
        for other in others:
            if not alike(first, other):
                where = f" at {first.origin.file}:{first.origin.line}" if first.origin.file else ""
                yield _problem(other, f"{first.title} is defined differently{where}", "rename or remove one of them")


def alike(one: object, other: object) -> bool:
    """Tell whether two definitions say the same, wherever they were written."""
    if isinstance(one, Definition) and isinstance(other, Definition):
        left, right = _said(one), _said(other)
        return type(one) is type(other) and left.keys() == right.keys() and all(alike(left[k], right[k]) for k in left)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def _said(definition: Definition) -> dict[str, object]:
    hidden = ("origin", "problems", "part_problems", "projection", "function")
    said = {name: value for name, value in vars(definition).items() if name not in hidden}
    function = definition.function if isinstance(definition, OnDemandFeatureView | FeatureView) else None
    return {**said, "function": function and function.hash}


def _entities_known(contents: Contents) -> Iterator[Problem]:
    known = {entity.name for entity in contents.entities}
    owners: list[FeatureView | OnDemandFeatureView] = [*contents.views, *contents.on_demand]
    for owner in owners:
        for name in owner.entities:
            if name not in known:
                cure = near_misses(name, known, f"define it: Entity(name={name!r})")
                yield _problem(owner, f"there is no entity {name!r}", cure)


def _referred(contents: Contents) -> Iterator[Problem]:
    """Find what is read but not there, as after the deletion of something that others read."""
    views = {view.name for view in [*contents.views, *contents.on_demand]}
    stored = {view.name for view in contents.views}
    sources = {source.name for source in contents.sources}
    readers: list[tuple[Definition, str, Iterable[str], set[str]]] = [
        *((view, "data source", [view.source_name], sources) for view in contents.views if view.source is not None),
        *((view, "feature view", [s.name for s in view.source_views], stored) for view in contents.views),
        *((view, "feature view", [source.name for source in view.source_views], views) for view in contents.on_demand),
        *((view, "data source", [s.name for s in view.request_sources], sources) for view in contents.on_demand),
        *((service, "feature view", [p.view for p in service.projections], views) for service in contents.services),
    ]
    for source in contents.sources:
        if isinstance(source, PushSource) and source.batch_source is not None:
            readers.append((source, "data source", [source.batch_source.name], sources))
    for reader, noun, names, known in readers:
        for name in names:
            if name not in known:
                cure = f"define it, or delete {reader.title} as well"
                yield _problem(reader, f"it reads {noun} {name!r}, which is not there", cure)


def circles(contents: Contents) -> list[Problem]:
    """Return a problem for each view that reads its own rows in the end; nothing can be known of such views.

    Args:
        contents: the definitions.
    """
    views = {view.name: view for view in contents.views}
    found = []
    for view in views.values():
        way = _way_back(view, views)
        if way:
            shown = " -> ".join(map(repr, [view.name, *way]))
            found.append(_problem(view, f"it reads itself: {shown}", "read a source at the end of the chain"))
    return found


def _way_back(view: FeatureView, views: Mapping[str, FeatureView]) -> list[str]:
    """Return the names of the views by which a view reads itself, the last being its own; none if it does not."""
    ways: dict[str, list[str]] = {view.name: []}
    queue = [view]
    for reader in queue:
        for name in (source.name for source in reader.source_views):
            if name == view.name:
                return [*ways[reader.name], name]
            if name not in ways and name in views:
                ways[name] = [*ways[reader.name], name]
                queue.append(views[name])
    return []


def _derived(contents: Contents) -> Iterator[Problem]:
    """Find views over other views that have no rows to read."""
    views = {view.name: view for view in contents.views}
    for view in contents.views:
        if len(view.source_views) > 1 and view.function is None:
            what = f"it reads {len(view.source_views)} views and has no function that makes rows of theirs"
            yield _problem(view, what, "give udf=, with one argument for each view")
        for name in (source.name for source in view.source_views):
            above = views.get(name)
            if isinstance(above, WindowedView) and above.aggregations:
                what = f"it reads the rows of {name!r}, which has windows: values at any time, and no rows"
                yield _problem(view, what, "aggregate in the last view of the chain, or read its source")


def _features(contents: Contents) -> Iterator[Problem]:
    keys = {entity.name: entity.join_key for entity in contents.entities}
    for view in contents.views:
        joined = [keys.get(name, name) for name in view.entities]
        for key in sorted({key for key in joined if joined.count(key) > 1}):
            yield _problem(view, f"two of its entities have the join key {key!r}", "give each entity its own join key")
        names = [field.name for field in view.fields if field.name not in joined]
        if view.fields and not names and not isinstance(view, WindowedView):
            yield _problem(view, "its schema lists only keys", "list at least one feature, or leave schema out")
        for name in names:
            if name in RESERVED and name not in view.time_columns:
                yield _problem(view, f"a feature cannot be named {name!r}", "map it to another name with field_mapping")
        yield from _windows(view, names)


def _windows(view: FeatureView, names: Sequence[str]) -> Iterator[Problem]:
    if not isinstance(view, WindowedView) or not view.aggregations:
        return
    made = [aggregation.feature for aggregation in view.windows()]
    for name in sorted({name for name in made if made.count(name) > 1}):
        yield _problem(view, f"two aggregations make the feature {name!r}", "give each a name=")
    for name in dict.fromkeys(made):
        yield from _made(view, name)
    for name in names:
        if name not in made and not view.is_derived:
            cure = near_misses(name, made)
            yield _problem(view, f"no aggregation makes the feature {name!r} of its schema", cure)


def _made(view: WindowedView, name: str) -> Iterator[Problem]:
    """Find what is wrong with the name of a feature that an aggregation makes."""
    try:
        check_name(name, "feature")
    except InvalidName:
        yield _problem(view, f"an aggregation makes the feature {name!r}, which cannot be a name", "give it a name=")
    if name in view.join_keys or name in view.time_columns:
        what = f"an aggregation makes the feature {name!r}, which is a key or a time of its rows"
        yield _problem(view, what, "give it another name=")
    elif name in RESERVED and name not in [field.name for field in view.fields]:  # a field's name is refused above
        yield _problem(view, f"a feature cannot be named {name!r}", "give it another name=")


def _sources(contents: Contents) -> Iterator[Problem]:
    for source in contents.sources:
        if not isinstance(source, FileSource | PushSource | RequestSource):
            what = f"a {type(source).__name__} cannot be read by this version"
            yield _problem(source, what, "give a FileSource, a PushSource or a RequestSource")
        if isinstance(source, FileSource) and "\0" in source.path:
            yield _problem(source, "its path holds a NUL character", "give the path of a file, a directory or a glob")


def _on_demand(contents: Contents) -> Iterator[Problem]:
    for view in contents.on_demand:
        outputs = {field.name for field in view.features}
        requested = {field.name for source in view.request_sources for field in source.schema}
        for name in sorted(outputs & requested):
            yield _problem(view, f"it returns {name!r}, which the request gives", "give the output another name")
        yield from _clashing_inputs(view)


def _clashing_inputs(view: OnDemandFeatureView) -> Iterator[Problem]:
    giver: dict[str, str] = {}
    sources: list[FeatureView | RequestSource] = [*view.source_views, *view.request_sources]
    for source in sources:
        for field in _columns(source):
            other = giver.setdefault(field, source.name)
            if other != source.name:
                what = f"both {other!r} and {source.name!r} give it a column {field!r}"
                yield _problem(view, what, f"take a part of one of them, such as {source.name}[[…]], without {field!r}")


def _columns(source: FeatureView | RequestSource) -> Iterable[str]:
    fields = source.schema if isinstance(source, RequestSource) else source.features
    return [field.name for field in fields]


def _services(contents: Contents) -> Iterator[Problem]:
    entities = {entity.name: entity.join_key for entity in contents.entities}
    views = {view.name: view for view in [*contents.views, *contents.on_demand]}
    for service in contents.services:
        yield from _service_names(service)
        said = {view.projection for view in service.views if view.part_problems}  # said where the part was made
        for projection in service.projections:
            view = views.get(projection.view)
            if view is None or projection in said:
                continue
            known = view.known_names
            keys = [entities.get(name, name) for name in view.entities]
            for name in projection.features or ():
                if known and name not in known:
                    what = f"view {projection.view!r} has no feature {name!r}"
                    yield _problem(service, what, near_misses(name, known))
            for key, _ in projection.join_key_map:
                if key not in keys:
                    what = f"view {projection.view!r} has no join key {key!r}"
                    cure = near_misses(key, keys, "the view has no entities: leave the join key map out")
                    yield _problem(service, what, cure)


def _service_names(service: FeatureService) -> Iterator[Problem]:
    shown = [projection.name for projection in service.projections]
    for name in sorted({name for name in shown if shown.count(name) > 1}):
        cure = "list its features in one part, or give one of them another name with with_name"
        yield _problem(service, f"it lists {name!r} twice", cure)
