"""Commands that move a registry: registry export, registry import, registry create-schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from likewise.cli.command import Noun, pass_session, verb
from likewise.cli.output import print_json, some
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.registry.holdings import Holdings

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@verb(
    "export",
    ("likewise registry export registry.jsonl", "everything, of all projects"),
    ("likewise registry export payments.jsonl --project payments", "one project"),
)
@FILE
@click.option("--project", "projects", multiple=True, metavar="NAME", help="Only this project; several may be given.")
@pass_session
def export(session: Session, file: Path, projects: tuple[str, ...]) -> None:
    """Write all that the registry holds to FILE.

    That is every definition that was ever applied, the whole history (numbers, times, authors, messages), and what lies
    beside it: watermarks, saved datasets, access keys (their hashes), the audit log. A lease that is held is not taken
    along. FILE is text, one JSON object a line, and ends with a hash of all; it holds no code.

    To move a registry from a file to a database: stop what writes to it, export, change 'registry:' in
    feature_store.yaml, and import.
    """
    from likewise.core.errors import NotFound
    from likewise.core.names import near_misses
    from likewise.registry.transfer import write_file

    with session.open() as store:
        held = store.registry.holdings()
    if projects:
        unknown = next((name for name in projects if name not in held.histories), None)
        if unknown is not None:
            cure = near_misses(unknown, held.histories, "nothing was applied yet; run 'likewise apply'")
            raise NotFound(f"there is no project {unknown!r} in the registry", cure=cure)
        held = held.of(projects)
    write_file(file, held)
    _say(session, held, f"Written to {file}")


@verb("import", ("likewise registry import registry.jsonl", "take over what was exported from another registry"))
@FILE
@pass_session
def import_(session: Session, file: Path) -> None:
    """Take over what 'likewise registry export' wrote to FILE.

    Every hash is checked, and it is all or nothing. A project that the registry has already must have the beginning of
    the same history: it goes on then as FILE says. Any other is refused, and nothing is changed. Values beside the
    catalogs, such as watermarks, are as in FILE afterwards. The online store is left as it is; it serves on where the
    project's name stays.
    """
    from likewise.registry.transfer import read_file

    held = read_file(file)
    with session.open() as store:
        store.registry.take(held)
    _say(session, held, "Now in the registry")


def _say(session: Session, held: Holdings, what: str) -> None:
    if session.json:
        projects = {project: infos[-1].number for project, infos in held.histories.items()}
        print_json({"projects": projects, "definitions": len(held.bodies), "beside": len(held.sides)})
        return
    session.say(
        f"{what}: {some(len(held.histories), 'project')}, {some(len(held.bodies), 'version')} of definitions, "
        f"{some(len(held.sides), 'value')} beside them."
    )
    for project, infos in held.histories.items():
        session.say(f"  {project}: {some(len(infos), 'catalog')}")


@verb("create-schema", ("likewise registry create-schema | psql feast", "make the tables by hand"))
@pass_session
def create_schema(session: Session) -> None:
    """Print the SQL that makes the tables of a registry in a database.

    The first apply makes them by itself. This is for where it may not: give a user who may only read and write rows the
    tables that somebody else made.
    """
    from likewise.config import load_config
    from likewise.core.errors import ConfigError
    from likewise.registry.sql import schema_of

    config = load_config(session.config_file()).registry
    if config.registry_type != "sql":
        what = f"the registry of this repo is of type {config.registry_type!r}, which has no tables to make"
        raise ConfigError(what, cure="give the URL of a database as registry: in feature_store.yaml")
    statements = schema_of(config.path)
    if session.json:
        print_json(statements)
    else:
        click.echo("\n".join(f"{statement};" for statement in statements))


COMMANDS: Mapping[str, click.Command] = {
    "registry": Noun(
        "registry",
        help="Move a registry to another kind.",
        commands=[export, import_, create_schema],
    ),
}
