"""Commands that look at the whole catalog, and beside it: features, saved-datasets, projects, registry-dump."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import Noun, pass_session, verb
from likewise.cli.commands.definitions import TAGS, say_none
from likewise.cli.output import in_words, iso, moment, print_json, print_list, print_pairs, print_table
from likewise.cli.session import Session, parse_tags
from likewise.core.time import from_micros

if TYPE_CHECKING:
    from likewise.define.field import Field
    from likewise.define.transform import OnDemandFeatureView
    from likewise.define.view import FeatureView
    from likewise.jobs.datasets import SavedDataset

# Features


@verb(
    "list",
    ("likewise features list", "every feature of every view"),
    ("likewise features list --tags team:fraud", "those of the views with a tag"),
)
@TAGS
@pass_session
def features_list(session: Session, tags: tuple[str, ...]) -> None:
    """List every feature of every view."""
    with session.open() as store:
        views = store.list_all_feature_views(tags=parse_tags(tags))
        rows = [(each.name, view.name, each.dtype.name, each.description) for view in views for each in view.features]
        if session.json:
            print_json([dict(zip(("feature", "view", "type", "description"), row, strict=True)) for row in rows])
        elif not rows:
            say_none(session, store, "features")
        else:
            print_list(["FEATURE", "VIEW", "TYPE", "DESCRIPTION"], rows)


@verb("describe", ("likewise features describe conv_rate", "which views have a feature of this name"))
@click.argument("name")
@pass_session
def features_describe(session: Session, name: str) -> None:
    """Describe one feature.

    That is the feature with this NAME in every view that has it; view:feature means one.
    """
    from likewise.core.errors import FeatureNotFound
    from likewise.core.names import near_misses

    wanted_view, _, wanted = name.rpartition(":")
    with session.open() as store:
        everything = [(view, each) for view in store.list_all_feature_views() for each in view.features]
        found = [pair for pair in everything if pair[1].name == wanted and wanted_view in ("", pair[0].name)]
        if not found:
            names = [each.name for _, each in everything]
            cure = near_misses(wanted, names, "nothing was applied yet; run 'likewise apply'")
            raise FeatureNotFound(f"there is no feature {name!r}", cure=cure)
        if session.json:
            print_json([_feature_data(view, each) for view, each in found])
            return
        for view, each in found:
            click.echo(f"{click.style('feature', bold=True)} {view.name}:{each.name}")
            facts = _feature_data(view, each).items()
            print_pairs([(label, in_words(value)) for label, value in facts if label not in ("feature", "view")])


def _feature_data(view: FeatureView | OnDemandFeatureView, each: Field) -> dict[str, Any]:
    words = {"description": each.description, "tags": each.tags}
    shown = {label: value for label, value in words.items() if value}
    facts = {"feature": each.name, "view": view.name, "type": each.dtype.name}
    return {**facts, "entities": ", ".join(view.entities), **shown}


# Saved datasets and projects


@verb("list", ("likewise saved-datasets list", "all training sets that were saved"))
@TAGS
@pass_session
def datasets_list(session: Session, tags: tuple[str, ...]) -> None:
    """List the saved training sets."""
    with session.open() as store:
        found = store.list_saved_datasets(tags=parse_tags(tags))
        if session.json:
            print_json([_dataset_data(each) for each in found])
        elif not found:
            session.say("There are no saved datasets.")
        else:
            print_table(
                ["NAME", "ROWS", "FEATURES", "CATALOG", "CREATED", "PATH"],
                [(d.name, d.rows, len(d.features), d.catalog, moment(d.created), d.path) for d in found],
                right=["ROWS", "FEATURES", "CATALOG"],
            )


@verb("describe", ("likewise saved-datasets describe march", "what it holds, and what it was made from"))
@click.argument("name")
@pass_session
def datasets_describe(session: Session, name: str) -> None:
    """Describe one saved training set: what it holds, and what it was made from."""
    with session.open() as store:
        found = store.get_saved_dataset(name)
    if session.json:
        print_json(_dataset_data(found))
        return
    click.echo(f"{click.style('saved dataset', bold=True)} {name}")
    print_pairs(_dataset_facts(found))


def _dataset_facts(dataset: SavedDataset) -> list[tuple[str, object]]:
    """Return what there is to say of a saved dataset, in words."""
    views = [f"{view} ({found[:12]})" for view, found in dataset.hashes.items()]
    facts: dict[str, object] = {
        "file": dataset.path,
        "created": moment(dataset.created),
        "rows": f"{dataset.rows:,}",
        "join keys": dataset.join_keys,
        "features": dataset.features,
        "full feature names": dataset.full_feature_names,
        "feature service": dataset.feature_service_name,
        "made from": [f"catalog {dataset.catalog}", *views],
        "tags": dataset.tags,
    }
    return [(label, in_words(value)) for label, value in facts.items() if value not in ("", (), None, {})]


def _dataset_data(dataset: SavedDataset) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(dataset), "created": iso(from_micros(dataset.created))}


@verb("list", ("likewise projects list", "all projects of the repo's registry"))
@pass_session
def projects_list(session: Session) -> None:
    """List the projects of the registry."""
    with session.open() as store:
        names = store.registry.projects()
        rows = [(name, store.registry.head(name), name == store.project) for name in names]
    if session.json:
        print_json([dict(zip(("name", "catalog", "current"), row, strict=True)) for row in rows])
    elif not rows:
        session.say("Nothing was applied yet; run 'likewise apply'.")
    else:
        shown = [(name, catalog, "this repo's" if current else "") for name, catalog, current in rows]
        print_table(["NAME", "CATALOG", ""], shown, right=["CATALOG"])


@verb("describe", ("likewise projects describe payments", "what the project holds"))
@click.argument("name", required=False)
@pass_session
def projects_describe(session: Session, name: str | None) -> None:
    """Describe one project; by default the repo's own."""
    from likewise.core.errors import NotFound
    from likewise.core.names import near_misses
    from likewise.registry.catalog import noun

    with session.open() as store:
        wanted, known = name or store.project, store.registry.projects()
        if wanted not in (*known, store.project):
            cure = near_misses(wanted, known, "nothing was applied yet; run 'likewise apply'")
            raise NotFound(f"there is no project {wanted!r} in the registry", cure=cure)
        catalog = store.registry.catalog(wanted)
        own = catalog.find("project", wanted) or {"name": wanted}
    counts = {kind: len(catalog.names(kind)) for kind in dict.fromkeys(kind for kind, _ in catalog.manifest)}
    if session.json:
        print_json({**own, "catalog": catalog.number, "definitions": counts})
        return
    click.echo(f"{click.style('project', bold=True)} {wanted}")
    words = [(label, in_words(value)) for label, value in own.items() if label not in ("kind", "name")]
    held = [(noun(kind), count) for kind, count in counts.items() if kind != "project"]
    print_pairs([*words, ("catalog", catalog.number), *held])


@verb("current_project", ("likewise projects current_project", "the repo's own project"))
@pass_session
def current_project(session: Session) -> None:
    """Print the name of the repo's own project."""
    from likewise.config import load_config

    name = load_config(session.config_file()).project
    if session.json:
        print_json({"name": name})
    else:
        click.echo(name)


# The whole catalog


@verb(
    "registry-dump",
    ("likewise registry-dump > catalog.json", "all applied definitions as JSON"),
    ("likewise registry-dump --catalog 3", "those of an older catalog"),
)
@click.option("--catalog", type=click.IntRange(min=0), metavar="N", help="The catalog's number; the newest by default.")
@pass_session
def registry_dump(session: Session, catalog: int | None) -> None:
    """Print all definitions of a catalog as JSON."""
    with session.open() as store:
        found = store.registry.catalog(store.project, catalog)
    info = found.info
    print_json(
        {
            "project": info.project,
            "catalog": info.number,
            "created": iso(from_micros(info.created)) if info.number else None,
            "author": info.author,
            "message": info.message,
            "seal": info.seal,
            "definitions": found.definitions(),
        }
    )


COMMANDS: Mapping[str, click.Command] = {
    "features": Noun("features", help="List features, or describe one.", commands=[features_list, features_describe]),
    "saved-datasets": Noun(
        "saved-datasets", help="List saved training sets, or describe one.", commands=[datasets_list, datasets_describe]
    ),
    "projects": Noun(
        "projects", help="List projects, or describe one.", commands=[projects_list, projects_describe, current_project]
    ),
    "registry-dump": registry_dump,
}
