"""Commands that keep registry, watermarks and online data as one set of files: backup, restore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.output import print_json, some
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.jobs.backup import Manifest

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@verb(
    "backup",
    ("likewise backup backups/2026-11-22", "everything but the sources, in a new folder"),
    ("likewise backup /mnt/safe/$(date +%F)", "every night, from cron"),
)
@FOLDER
@pass_session
def backup(session: Session, folder: Path) -> None:
    """Back up registry, watermarks and online data.

    DIR must be empty, or not there. In it are the whole history of the project, what lies beside it (watermarks, access
    keys' hashes, the audit log), all online records, and a list of the files with their hashes, which is written last.
    While it is made no materialization runs; reads and pushes go on. Sources are not in it. The set fits any kind of
    registry and online store: so it also moves a project from one to another.
    """
    from likewise.cli.progress import spinner

    with session.open() as store, spinner("writing the backup"):
        made = store.backup(folder)
    _say(session, made, f"Written to {folder}")


@verb(
    "restore",
    ("likewise restore backups/2026-11-22", "into the registry and the online store of this repo"),
    ("likewise -f other.yaml restore backups/2026-11-22", "into others, such as a new Redis"),
)
@FOLDER
@pass_session
def restore(session: Session, folder: Path) -> None:
    """Put back what 'likewise backup' wrote to DIR.

    Every file is checked first. The online store must not have the project's tables, or nothing else in them than DIR;
    the registry must be empty, or have the beginning of the same history. A restore that was killed is run again. What
    came into the sources since then is materialized by 'likewise materialize-incremental'.
    """
    from likewise.cli.progress import spinner

    with session.open() as store, spinner("restoring the backup"):
        made = store.restore(folder)
    _say(session, made, "Restored")


def _say(session: Session, made: Manifest, what: str) -> None:
    tables = sum(1 for part in made.parts if part.table)
    if session.json:
        facts = {"project": made.project, "catalog": made.catalog, "made": made.made}
        print_json({**facts, "tables": tables, "records": made.records})
        return
    session.say(
        f"{what}: project {made.project!r}, catalog {made.catalog}, {some(made.records, 'record')} of "
        f"{some(tables, 'online table')}, as of {made.made}."
    )


COMMANDS: Mapping[str, click.Command] = {"backup": backup, "restore": restore}
