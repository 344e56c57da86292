"""Description: a definition in words: what it says, what it is made of, who reads it, how far it is materialized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from likewise.cli.output import moment, print_list, print_pairs, print_table
from likewise.core.errors import NotSupported
from likewise.core.time import span_text

if TYPE_CHECKING:
    from likewise.define.definition import Definition
    from likewise.define.field import Field
    from likewise.define.function import UserFunction
    from likewise.define.service import FeatureService
    from likewise.define.view import FeatureView, WindowedView
    from likewise.store import FeatureStore

Pairs = list[tuple[str, object]]
"""Labels and values."""


def print_description(store: FeatureStore, definition: Definition) -> None:
    """Print what is known of an applied definition.

    Args:
        store: the feature store it is applied in.
        definition: one of its definitions.
    """
    from likewise.define.service import FeatureService
    from likewise.define.transform import OnDemandFeatureView
    from likewise.define.view import FeatureView, WindowedView

    (_, name), *pairs = definition.summary()
    shown_below = {"features", "aggregations", "online"}
    facts: Pairs = [(label.replace("_", " "), text) for label, text in pairs if label not in shown_below]
    click.echo(f"{click.style(definition.noun, bold=True)} {name}")
    match definition:
        case WindowedView():
            print_pairs([*facts, *_stored_facts(store, definition), *_readers(store, definition)])
            _print_fields(definition.features)
            _print_windows(definition)
            _print_code(definition.function)
        case FeatureView():
            print_pairs([*facts, *_stored_facts(store, definition), *_readers(store, definition)])
            _print_fields(definition.features)
        case OnDemandFeatureView():
            print_pairs([*facts, *_readers(store, definition)])
            _print_fields(definition.features)
            _print_code(definition.function)
        case FeatureService():
            print_pairs([*facts, *_renamed_keys(definition)])
            _print_picks(store, definition)
        case _:
            print_pairs([*facts, *_readers(store, definition)])


def _stored_facts(store: FeatureStore, view: FeatureView) -> Pairs:
    from likewise.registry.history import view_versions
    from likewise.registry.watermarks import read_watermark

    versions = view_versions(store.registry, store.project, view.name)
    mark = read_watermark(store.registry.side, store.project, view.name)
    keys = ", ".join(f"{entity.join_key} {entity.type}" for entity in view.entity_objects)
    return [
        ("keys", keys or "none: one row for all"),
        ("online", "yes" if view.online else "no"),
        ("version", f"{len(versions)}, since catalog {versions[-1].since}"),
        ("materialized", "never" if mark.end is None else f"up to {moment(mark.end)}"),
    ]


def _readers(store: FeatureStore, definition: Definition) -> Pairs:
    from likewise.cli.readers import readers

    names = [reader.name for reader in readers(store.definitions.contents, definition)]
    return [("read by", ", ".join(names))] if names else []


def _renamed_keys(service: FeatureService) -> Pairs:
    """Return which column of a request holds each key that has another name there."""
    return [
        (f"keys of {part.name}", ", ".join(f"{key} from {column}" for key, column in part.join_key_map))
        for part in service.projections
        if part.join_key_map
    ]


def _print_fields(fields: Iterable[Field]) -> None:
    rows = [(each.name, each.dtype.name, each.description, _tags(each), _vector(each)) for each in fields]
    if rows:
        click.echo()
        print_list(["FEATURE", "TYPE", "DESCRIPTION", "TAGS", "VECTOR"], rows)


def _tags(field: Field) -> str:
    return ", ".join(f"{key}={value}" for key, value in field.tags.items())


def _vector(field: Field) -> str:
    """Return what a field says of vector search; empty when it says nothing."""
    said = {"indexed": field.vector_index, f"length {field.vector_length}": field.vector_length > 0}
    metric = field.vector_search_metric or ""
    return ", ".join([*(words for words, is_so in said.items() if is_so), *([metric] if metric else [])])


def _print_windows(view: WindowedView) -> None:
    rows = [
        (
            each.feature,
            each.function,
            each.column,
            span_text(each.time_window),
            span_text(each.slide_interval) if each.slide_interval else "",
            span_text(each.delay) if each.delay else "",
            each.where,
        )
        for each in view.windows()
    ]
    if rows:
        click.echo()
        print_list(["AGGREGATION", "FUNCTION", "COLUMN", "WINDOW", "SLIDE", "DELAY", "WHERE"], rows)


def _print_code(function: UserFunction | None) -> None:
    if function is not None:
        click.echo()
        click.echo("\n".join(f"  {line}" for line in function.text.rstrip().splitlines()))


def _print_picks(store: FeatureStore, service: FeatureService) -> None:
    from likewise.plan.selection import select

    try:
        picks = select(store.definitions, service, full_feature_names=True).picks
    except NotSupported as error:  # a view with windows: its names are all there is to say
        click.echo(f"  {error}")
        return
    click.echo()
    print_table(["FEATURE", "VIEW", "TYPE"], [(pick.feature, pick.part.name, pick.type.name) for pick in picks])
