"""Codec: definitions to plain JSON data and back. No code is stored or run: of a function, its text and its hash.

What is empty is left out, so that a field added by a later version does not change the hash of what does not use it.
Object to data to object gives an equal object, but for a function, which comes back without its ``call``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from likewise.core.errors import StoreCorrupt
from likewise.core.time import span_micros
from likewise.core.types import Invalid, parse_type
from likewise.define.aggregation import Aggregation
from likewise.define.contents import Contents
from likewise.define.definition import Definition, Origin
from likewise.define.entity import Entity
from likewise.define.feature_logging import FileLoggingDestination, LoggingConfig
from likewise.define.field import Field
from likewise.define.function import UserFunction
from likewise.define.project import Project
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, FileSource, PushSource, RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection
from likewise.define.windowed import BatchFeatureView, StreamFeatureView

Data = dict[str, Any]
"""One definition as plain JSON data."""
REGISTERED = Origin("", 0)
"""Where definitions come from that were read from a registry: no file of anybody's."""


def encode(definition: Definition) -> Data:
    """Return a definition as plain data.

    Example:
        >>> encode(Entity(name="user", join_keys=["user_id"]))
        {'kind': 'entity', 'name': 'user', 'join_key': 'user_id'}
    """
    words = {
        "kind": definition.kind,
        "name": definition.name,
        "description": definition.description,
        "tags": definition.tags,
        "owner": definition.owner,
    }
    return _lean({**words, **_ENCODERS[definition.kind](definition)})


def _lean(data: Mapping[str, Any]) -> Data:
    return {key: value for key, value in data.items() if value or (value == 0 and value is not False)}


def _project(project: Project) -> Data:
    made, changed = project.created_timestamp, project.last_updated_timestamp
    return {
        "created_timestamp": "" if made is None else made.isoformat(),
        "last_updated_timestamp": "" if changed is None else changed.isoformat(),
    }


def _entity(entity: Entity) -> Data:
    return {"join_key": entity.join_key, "type": "" if entity.type is Invalid else entity.type.name}


def _source(source: DataSource) -> Data:
    base: Data = {
        "type": source.type_name,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column,
        "field_mapping": source.field_mapping,
    }
    more: Data
    match source:
        case FileSource():
            more = {
                "path": source.path,
                "format": source.file_format,
                "s3_endpoint_override": source.s3_endpoint_override,
                "date_partition_column": source.date_partition_column,
            }
        case PushSource():
            batch = source.batch_source.name if source.batch_source else ""
            more = {"batch_source": batch, "pushed": _fields(source.schema)}
        case RequestSource():
            more = {"schema": _fields(source.schema)}
        case _:
            more = {}
    return {**base, **more}


def _fields(fields: Iterable[Field]) -> list[Data]:
    return [
        _lean(
            {
                "name": field.name,
                "type": field.dtype.name,
                "description": field.description,
                "tags": field.tags,
                "vector_index": field.vector_index,
                "vector_length": field.vector_length or None,
                "vector_search_metric": field.vector_search_metric,
            }
        )
        for field in fields
    ]


def _view(view: FeatureView) -> Data:
    data: Data = {
        "source": view.source.name if view.source is not None else "",
        "views": [_projection(source.projection) for source in view.source_views],
        "takes": _fields(view.takes),
        "entities": view.entities,
        "schema": _fields(view.fields),
        "ttl": _span(view.ttl),
        "lookback": _span(view.lookback),
        "offline_only": not view.online,
        "offline": view.offline,
        "org": view.org,
        "mode": view.mode,
        "enable_validation": view.enable_validation,
        "version": "" if view.version == "latest" else view.version,
        "disabled": not view.enabled,
    }
    if isinstance(view, BatchFeatureView):
        data |= {
            "aggregations": [_aggregation(a) for a in view.aggregations],
            "inputs": _fields(view.inputs),
            "derived": {text: kind.name for text, kind in view.derived.items()},
            "function": _function(view.function),
            "timestamp_field": view.timestamp_field,
            "enable_tiling": view.enable_tiling,
            "tiling_hop_size": _span(view.tiling_hop_size),
            "batch_engine": view.batch_engine,
            "stream_engine": view.stream_engine,
        }
    return data


def _aggregation(aggregation: Aggregation) -> Data:
    return _lean(
        {
            "column": aggregation.column,
            "function": aggregation.function,
            "time_window": _span(aggregation.time_window),
            "slide_interval": _span(aggregation.slide_interval),
            "name": aggregation.name,
            "delay": _span(aggregation.delay),
            "where": aggregation.where,
        }
    )


def _function(function: UserFunction | None) -> Data | None:
    return None if function is None else {"name": function.name, "hash": function.hash, "text": function.text}


def _on_demand(view: OnDemandFeatureView) -> Data:
    return {
        "views": [_projection(source.projection) for source in view.source_views],
        "requests": [source.name for source in view.request_sources],
        "schema": _fields(view.features),
        "mode": view.mode,
        "singleton": view.singleton,
        "entities": view.entities,
        "write_to_online_store": view.write_to_online_store,
        "function": _function(view.function),
        "org": view.org,
        "version": "" if view.version == "latest" else view.version,
        "track_metrics": view.track_metrics,
        "disabled": not view.enabled,
    }


def _service(service: FeatureService) -> Data:
    return {
        "features": [_projection(projection) for projection in service.projections],
        "logging_config": _logging(service.logging_config),
        "precompute_online": service.precompute_online,
        "on_failed_read": "" if service.on_failed_read == "error" else service.on_failed_read,
    }


def _logging(config: LoggingConfig | None) -> Data | None:
    if config is None:
        return None
    to = config.destination
    where = {"type": "file", "path": to.path, "s3_endpoint_override": to.s3_endpoint_override}
    return {
        "destination": _lean({**where, "partition_by": list(to.partition_by or ())}),
        "sample_rate": float(config.sample_rate),
    }


def _projection(projection: Projection) -> Data:
    return {
        "view": projection.view,
        **({"alias": projection.alias} if projection.alias else {}),
        **({"features": list(projection.features)} if projection.features is not None else {}),
        **({"join_key_map": dict(projection.join_key_map)} if projection.join_key_map else {}),
        **({"version": projection.version} if projection.version is not None else {}),
    }


def _span(span: timedelta | None) -> int | None:
    return None if span is None else span_micros(span)


_ENCODERS: Mapping[str, Callable[[Any], Data]] = {
    Project.kind: _project,
    Entity.kind: _entity,
    DataSource.kind: _source,
    FeatureView.kind: _view,
    BatchFeatureView.kind: _view,
    StreamFeatureView.kind: _view,
    OnDemandFeatureView.kind: _on_demand,
    FeatureService.kind: _service,
}


def decode(definitions: Iterable[Mapping[str, Any]]) -> Contents:
    """Return definitions from plain data, with their references to each other made whole.

    Args:
        definitions: a complete set: whatever one refers to is among them.

    Raises:
        StoreCorrupt: the data is not what :func:`encode` makes.

    Example:
        >>> decode([encode(Entity(name="user", join_keys=["user_id"]))]).entities
        [Entity(name='user', join_key='user_id', type='from the source')]
    """
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    try:
        for data in definitions:
            by_kind.setdefault(data["kind"], []).append(data)
        return _decode(by_kind)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreCorrupt(f"a stored definition cannot be read: {error!r}", cure="restore the registry") from error


def _decode(by_kind: Mapping[str, Sequence[Mapping[str, Any]]]) -> Contents:
    projects = [_to_project(data) for data in by_kind.get(Project.kind, ())]
    entities = {data["name"]: _to_entity(data) for data in by_kind.get(Entity.kind, ())}
    sources: dict[str, DataSource] = {}
    for data in sorted(by_kind.get(DataSource.kind, ()), key=lambda data: data["type"] == "push"):
        sources[data["name"]] = _to_source(data, sources)
    kinds = (FeatureView, BatchFeatureView, StreamFeatureView)
    described = {data["name"]: (made, data) for made in kinds for data in by_kind.get(made.kind, ())}
    views: dict[str, FeatureView] = {}
    for name in described:
        _add_view(name, described, views, sources, entities)
    on_demand = {
        data["name"]: _to_on_demand(data, views, sources) for data in by_kind.get(OnDemandFeatureView.kind, ())
    }
    every: dict[str, FeatureView | OnDemandFeatureView] = {**views, **on_demand}
    services = [_to_service(data, every) for data in by_kind.get(FeatureService.kind, ())]
    contents = Contents(
        projects,
        list(entities.values()),
        list(sources.values()),
        list(views.values()),
        list(on_demand.values()),
        services,
    )
    for definition in contents.all():
        definition.origin = REGISTERED
    return contents


def _words(data: Mapping[str, Any]) -> Data:
    return {
        "name": data["name"],
        "description": data.get("description", ""),
        "tags": data.get("tags", {}),
        "owner": data.get("owner", ""),
    }


def _to_project(data: Mapping[str, Any]) -> Project:
    times = {name: data[name] for name in ("created_timestamp", "last_updated_timestamp") if name in data}
    return Project(**_words(data), **times)


def _to_entity(data: Mapping[str, Any]) -> Entity:
    value_type = parse_type(data["type"]) if data.get("type") else None
    return Entity(**_words(data), join_keys=[data["join_key"]], value_type=value_type)


def _to_source(data: Mapping[str, Any], sources: Mapping[str, DataSource]) -> DataSource:
    times = {
        "timestamp_field": data.get("timestamp_field", ""),
        "created_timestamp_column": data.get("created_timestamp_column", ""),
    }
    match data["type"]:
        case "file":
            return FileSource(
                **_words(data),
                **times,
                path=data["path"],
                file_format=data["format"],
                field_mapping=data.get("field_mapping", {}),
                s3_endpoint_override=data.get("s3_endpoint_override"),
                date_partition_column=data.get("date_partition_column", ""),
            )
        case "push":
            batch = sources[data["batch_source"]] if data.get("batch_source") else None
            return PushSource(**_words(data), **times, batch_source=batch, schema=_to_fields(data.get("pushed", ())))
        case "request":
            return RequestSource(
                **_words(data), schema=_to_fields(data.get("schema", ())), timestamp_field=times["timestamp_field"]
            )
    raise ValueError(f"source type {data['type']!r}")


def _to_fields(fields: Iterable[Mapping[str, Any]]) -> list[Field]:
    return [
        Field(
            field["name"],
            Invalid if field["type"] == Invalid.name else parse_type(field["type"]),
            field.get("description", ""),
            field.get("tags", {}),
            field.get("vector_index", False),
            field.get("vector_length", 0),
            field.get("vector_search_metric"),
        )
        for field in fields
    ]


def _add_view(
    name: str,
    described: Mapping[str, tuple[type[FeatureView], Mapping[str, Any]]],
    views: dict[str, FeatureView],
    sources: Mapping[str, DataSource],
    entities: Mapping[str, Entity],
) -> None:
    """Make a view, after those whose rows it reads."""
    if name in views:
        return
    made, data = described[name]
    for part in data.get("views", ()):
        _add_view(part["view"], described, views, sources, entities)
    parts = [views[part["view"]].with_projection(_to_projection(part)) for part in data.get("views", ())]
    source = sources[data["source"]] if data.get("source") else None
    views[name] = _to_view(made, data, parts or source, entities)
    views[name].takes = _to_fields(data.get("takes", ()))


def _to_view(
    made: type[FeatureView],
    data: Mapping[str, Any],
    source: DataSource | list[FeatureView] | None,
    entities: Mapping[str, Entity],
) -> FeatureView:
    common: Data = {
        **_words(data),
        "source": source,
        "schema": _to_fields(data.get("schema", ())),
        "entities": [entities.get(name, name) for name in data.get("entities", ())],
        "ttl": _to_span(data.get("ttl")),
        "lookback": _to_span(data.get("lookback")),
        "online": not data.get("offline_only", False),
        "offline": data.get("offline", False),
        "org": data.get("org", ""),
        "enable_validation": data.get("enable_validation", False),
        "version": data.get("version", "latest"),
        "enabled": not data.get("disabled", False),
        "mode": data.get("mode"),
    }
    if not issubclass(made, BatchFeatureView):
        return made(**common)
    view = made(
        **common,
        aggregations=[_to_aggregation(a) for a in data.get("aggregations", ())],
        inputs=_to_fields(data.get("inputs", ())),
        udf=_to_function(data.get("function")),
        timestamp_field=data.get("timestamp_field", ""),
        enable_tiling=data.get("enable_tiling", False),
        tiling_hop_size=_to_span(data.get("tiling_hop_size")),
        batch_engine=data.get("batch_engine"),
        stream_engine=data.get("stream_engine"),
    )
    view.derived = {text: parse_type(kind) for text, kind in data.get("derived", {}).items()}
    return view


def _to_aggregation(data: Mapping[str, Any]) -> Aggregation:
    return Aggregation(
        data["column"],
        data["function"],
        _to_span(data.get("time_window")),
        _to_span(data.get("slide_interval")),
        data.get("name"),
        _to_span(data.get("delay")),
        data.get("where", ""),
    )


def _to_function(data: Mapping[str, Any] | None) -> UserFunction | None:
    return None if data is None else UserFunction(data["name"], "", 0, data["text"], data["hash"], None)


def _to_on_demand(
    data: Mapping[str, Any], views: Mapping[str, FeatureView], sources: Mapping[str, DataSource]
) -> OnDemandFeatureView:
    parts = [views[part["view"]].with_projection(_to_projection(part)) for part in data.get("views", ())]
    return OnDemandFeatureView(
        **_words(data),
        sources=[*parts, *(sources[name] for name in data.get("requests", ()))],
        schema=_to_fields(data.get("schema", ())),
        udf=_to_function(data["function"]),
        mode=data["mode"],
        singleton=data.get("singleton", False),
        entities=data.get("entities", ()),
        write_to_online_store=data.get("write_to_online_store", False),
        org=data.get("org", ""),
        version=data.get("version", "latest"),
        track_metrics=data.get("track_metrics", False),
        enabled=not data.get("disabled", False),
    )


def _to_service(data: Mapping[str, Any], views: Mapping[str, FeatureView | OnDemandFeatureView]) -> FeatureService:
    service = FeatureService(
        **_words(data),
        features=[views[part["view"]] for part in data.get("features", ())],
        logging_config=_to_logging(data.get("logging_config")),
        precompute_online=data.get("precompute_online", False),
        on_failed_read=data.get("on_failed_read", "error"),
    )
    service.projections = [_to_projection(part) for part in data.get("features", ())]
    return service


def _to_logging(data: Mapping[str, Any] | None) -> LoggingConfig | None:
    if data is None:
        return None
    to = data["destination"]
    if to["type"] != "file":
        raise ValueError(f"destination type {to['type']!r}")
    where = FileLoggingDestination(to["path"], to.get("s3_endpoint_override", ""), to.get("partition_by"))
    return LoggingConfig(where, data["sample_rate"])


def _to_projection(data: Mapping[str, Any]) -> Projection:
    features = data.get("features")
    return Projection(
        data["view"],
        data.get("alias", ""),
        None if features is None else tuple(features),
        tuple(data.get("join_key_map", {}).items()),
        data.get("version"),
    )


def _to_span(micros: int | None) -> timedelta | None:
    return None if micros is None else timedelta(microseconds=micros)
