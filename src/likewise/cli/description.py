"""Description: a definition in words: what it says, what it is made of, who reads it, how far it is materialized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from likewise.cli.output import moment, print_list, print_pairs, print_table
from likewise.core.errors import NotSupported

if TYPE_CHECKING:
    from likewise.define.definition import Definition
    from likewise.define.field import Field
    from likewise.define.service import FeatureService
    from likewise.define.transform import OnDemandFeatureView
    from likewise.define.view import FeatureView
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
    from likewise.define.view import FeatureView

    (_, name), *pairs = definition.summary()
    facts: Pairs = [(label.replace("_", " "), text) for label, text in pairs if label != "features"]
    click.echo(f"{click.style(definition.noun, bold=True)} {name}")
    match definition:
        case FeatureView():
            print_pairs([*facts, *_stored_facts(store, definition), *_readers(store, name)])
            _print_fields(definition.features)
        case OnDemandFeatureView():
            print_pairs([*facts, *_readers(store, name)])
            _print_fields(definition.features)
            _print_code(definition)
        case FeatureService():
            print_pairs(facts)
            _print_picks(store, definition)
        case _:
            print_pairs([*facts, *_users(store, definition)])


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


def _readers(store: FeatureStore, view: str) -> Pairs:
    services = [s.name for s in store.list_feature_services() if any(p.view == view for p in s.projections)]
    computed = [v.name for v in store.list_on_demand_feature_views() if any(s.name == view for s in v.source_views)]
    return [("read by", ", ".join([*computed, *services]))] if computed or services else []


def _users(store: FeatureStore, definition: Definition) -> Pairs:
    views = store.list_feature_views()
    if definition.kind == "entity":
        names = [view.name for view in views if definition.name in view.entities]
    else:
        names = [v.name for v in views if v.source_name == definition.name or _batch_name(v) == definition.name]
        on_demand = store.list_on_demand_feature_views()
        names += [v.name for v in on_demand if any(s.name == definition.name for s in v.request_sources)]
    return [("used by", ", ".join(names))] if names else []


def _batch_name(view: FeatureView) -> str:
    return view.batch_source.name if view.batch_source is not None else ""


def _print_fields(fields: Iterable[Field]) -> None:
    click.echo()
    print_list(["FEATURE", "TYPE", "DESCRIPTION"], [(each.name, each.dtype.name, each.description) for each in fields])


def _print_code(view: OnDemandFeatureView) -> None:
    if view.function is not None:
        click.echo()
        click.echo("\n".join(f"  {line}" for line in view.function.text.rstrip().splitlines()))


def _print_picks(store: FeatureStore, service: FeatureService) -> None:
    from likewise.plan.selection import select

    try:
        picks = select(store.definitions, service, full_feature_names=True).picks
    except NotSupported as error:  # a view with windows: its names are all there is to say
        click.echo(f"  {error}")
        return
    click.echo()
    print_table(["FEATURE", "VIEW", "TYPE"], [(pick.feature, pick.part.name, pick.type.name) for pick in picks])
