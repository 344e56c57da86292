"""Commands that look at definitions: list and describe for each kind of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import Noun, pass_session, verb
from likewise.cli.completion import STORED, VIEWS, definition_names
from likewise.cli.output import Cells, print_json, print_list, print_table
from likewise.cli.session import Session, parse_tags
from likewise.core.time import span_text

if TYPE_CHECKING:
    from likewise.define.definition import Definition
    from likewise.define.entity import Entity
    from likewise.define.service import FeatureService
    from likewise.define.source import DataSource
    from likewise.define.transform import OnDemandFeatureView
    from likewise.define.view import FeatureView
    from likewise.store import FeatureStore

TAGS = click.option(
    "--tags", multiple=True, metavar="KEY:VALUE", help="Only those with this tag; may be given several times."
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of definition that can be listed and described."""

    command: str
    """The group of commands: ``entities``."""
    noun: str
    """One of them, in words."""
    heads: Sequence[str]
    """The columns of a list."""
    listed: Callable[[FeatureStore, Mapping[str, str]], Sequence[Definition]]
    """Returns those with all the given tags."""
    row: Callable[[Any], Cells]
    """Returns the columns of one."""
    found: Callable[[FeatureStore, str], Definition]
    """Returns one by its name."""
    kinds: Sequence[str]
    """The kinds that the registry knows them by."""
    right: Sequence[str] = ()
    """The columns that hold numbers."""


def _view_row(view: FeatureView | OnDemandFeatureView) -> Cells:
    return view.name, ", ".join(view.entities), len(view.features), _type(view), view.description


def _stored_row(view: FeatureView) -> Cells:
    source = ", ".join(part.name for part in view.source_views) or view.source_name
    return view.name, ", ".join(view.entities), len(view.features), span_text(view.ttl), source, view.description


def _on_demand_row(view: OnDemandFeatureView) -> Cells:
    inputs = ", ".join(source.name for source in [*view.source_views, *view.request_sources])
    return view.name, inputs, len(view.features), view.mode, view.description


def _service_row(service: FeatureService) -> Cells:
    return service.name, ", ".join(projection.name for projection in service.projections), service.description


def _entity_row(entity: Entity) -> Cells:
    return entity.name, entity.join_key, entity.type.name, entity.description


def _source_row(source: DataSource) -> Cells:
    return source.name, source.type_name, _where(source), source.timestamp_field, source.description


def _where(source: DataSource) -> str:
    facts = dict(source.summary())
    return facts.get("path") or facts.get("batch_source", "")


def _type(definition: Definition) -> str:
    return type(definition).__name__


KINDS: Sequence[Kind] = (
    Kind(
        "feature-views",
        "feature view",
        ("NAME", "ENTITIES", "FEATURES", "TYPE", "DESCRIPTION"),
        lambda store, tags: store.list_all_feature_views(tags=tags),
        _view_row,
        lambda store, name: store.definitions.any_view(name),
        VIEWS,
        ("FEATURES",),
    ),
    Kind(
        "on-demand-feature-views",
        "on-demand feature view",
        ("NAME", "INPUTS", "FEATURES", "MODE", "DESCRIPTION"),
        lambda store, tags: store.list_on_demand_feature_views(tags=tags),
        _on_demand_row,
        lambda store, name: store.get_on_demand_feature_view(name),
        ("on_demand_feature_view",),
        ("FEATURES",),
    ),
    Kind(
        "stream-feature-views",
        "stream feature view",
        ("NAME", "ENTITIES", "FEATURES", "TTL", "SOURCE", "DESCRIPTION"),
        lambda store, tags: store.list_stream_feature_views(tags=tags),
        _stored_row,
        lambda store, name: store.get_stream_feature_view(name),
        ("stream_feature_view",),
        ("FEATURES",),
    ),
    Kind(
        "feature-services",
        "feature service",
        ("NAME", "VIEWS", "DESCRIPTION"),
        lambda store, tags: store.list_feature_services(tags=tags),
        _service_row,
        lambda store, name: store.get_feature_service(name),
        ("feature_service",),
    ),
    Kind(
        "entities",
        "entity",
        ("NAME", "JOIN KEY", "TYPE", "DESCRIPTION"),
        lambda store, tags: store.list_entities(tags=tags),
        _entity_row,
        lambda store, name: store.get_entity(name),
        ("entity",),
    ),
    Kind(
        "data-sources",
        "data source",
        ("NAME", "TYPE", "WHERE", "EVENT TIME", "DESCRIPTION"),
        lambda store, tags: store.list_data_sources(tags=tags),
        _source_row,
        lambda store, name: store.get_data_source(name),
        ("data_source",),
    ),
)


def _group(kind: Kind) -> Noun:
    """Return the commands about one kind of definition."""
    plural = kind.command.replace("-", " ").replace("on demand", "on-demand")

    @verb(
        "list",
        (f"likewise {kind.command} list", f"all applied {plural}"),
        (f"likewise {kind.command} list --tags team:fraud", "those with a tag"),
        (f"likewise {kind.command} list --output json", "their whole definitions, for a program"),
        help=f"List the applied {plural}.",
    )
    @TAGS
    @pass_session
    def list_(session: Session, tags: tuple[str, ...]) -> None:
        with session.open() as store:
            found = kind.listed(store, parse_tags(tags))
            if session.json:
                print_json([_plain(store, each) for each in found])
            elif not found:
                say_none(session, store, plural)
            else:
                print_list(kind.heads, [kind.row(each) for each in found], kind.right)

    @verb(
        "describe",
        (f"likewise {kind.command} describe NAME", "what is known of it"),
        (f"likewise {kind.command} describe NAME --output json", "its whole definition, for a program"),
        help=f"Describe one {kind.noun}.",
    )
    @click.argument("name", shell_complete=definition_names(*kind.kinds))
    @pass_session
    def describe(session: Session, name: str) -> None:
        from likewise.cli.description import print_description

        with session.open() as store:
            found = kind.found(store, name)
            if session.json:
                print_json(_plain(store, found))
            else:
                print_description(store, found)

    return Noun(kind.command, help=f"List {plural}, or describe one.", commands=[list_, describe])


def say_none(session: Session, store: FeatureStore, plural: str) -> None:
    """Say that a list is empty, and why."""
    applied = store.definitions.number > 0
    session.say(f"There are no {plural}." if applied else "Nothing was applied yet; run 'likewise apply'.")


def _plain(store: FeatureStore, definition: Definition) -> dict[str, Any] | None:
    return store.registry.catalog(store.project, store.definitions.number).find(definition.kind, definition.name)


@verb("list-versions", ("likewise feature-views list-versions driver_stats", "every content the view ever had"))
@click.argument("name", shell_complete=definition_names(*STORED))
@pass_session
def list_versions(session: Session, name: str) -> None:
    """List the versions of a feature view.

    A version is a content that it had; view@v2:feature reads the second.
    """
    from likewise.registry.history import view_versions

    with session.open() as store:
        store.definitions.view(name)
        versions = view_versions(store.registry, store.project, name)
    if session.json:
        print_json(
            [
                {
                    "version": place,
                    "since": each.since,
                    "until": each.until,
                    "hash": each.hash,
                    "definition": each.definition,
                }
                for place, each in enumerate(versions, 1)
            ]
        )
        return
    rows = [
        (f"v{place}", each.since, each.until, each.hash[:12], len(each.definition.get("schema", ())))
        for place, each in enumerate(versions, 1)
    ]
    print_table(["VERSION", "SINCE CATALOG", "UNTIL CATALOG", "HASH", "COLUMNS"], rows, ["SINCE CATALOG", "COLUMNS"])


def _switch(name: str, enabled: bool, words: str) -> click.Command:
    """Return the command that lets a view be read, or has it refused."""

    @verb(name, (f"likewise feature-views {name} driver_stats", words), help=f"{words[0].upper()}{words[1:]}.")
    @click.argument("name", shell_complete=definition_names(*VIEWS))
    @pass_session
    def switch(session: Session, name: str) -> None:
        with session.open() as store:
            done = store.enable_feature_view(name) if enabled else store.disable_feature_view(name)
        if session.json:
            print_json({"name": name, "enabled": enabled, "catalog": done.catalog})
        else:
            session.say(f"{name} is {'enabled' if enabled else 'disabled'}; catalog {done.catalog} stands now.")

    return switch


GROUPS: Mapping[str, Noun] = {kind.command: _group(kind) for kind in KINDS}
GROUPS["feature-views"].add_command(list_versions)
for _command in (
    _switch("enable", True, "let a view be read and materialized again"),
    _switch("disable", False, "have a view refused wherever it is asked for, until it is enabled"),
):
    GROUPS["feature-views"].add_command(_command)
COMMANDS: Mapping[str, click.Command] = GROUPS
