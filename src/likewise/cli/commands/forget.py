"""The command that takes an entity out of everything the store owns: forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.commands.online import parse_rows
from likewise.cli.completion import STORED, definition_names
from likewise.cli.output import print_json, print_table
from likewise.cli.session import Session
from likewise.core.errors import RequestError

if TYPE_CHECKING:
    from likewise.jobs.forget import Forgotten


@verb(
    "forget",
    ("likewise forget --key user_id=1001", "one user, in all views with the key user_id, after asking"),
    ("likewise forget --key user_id=1001 --key merchant_id=7 --yes", "views that have both keys"),
    ("likewise forget --key user_id=1001 -v user_stats --log served", "one view, and a log of 'likewise serve'"),
)
@click.option("-k", "--key", "keys", multiple=True, required=True, metavar="KEY=VALUE", help="A join key's value.")
@click.option(
    "-v",
    "--views",
    multiple=True,
    metavar="VIEW",
    shell_complete=definition_names(*STORED),
    help="This view only; may be given several times. All that have the keys by default.",
)
@click.option("--log", "logs", multiple=True, metavar="DIR", help="Another folder with a log of served features.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_session
def forget(session: Session, keys: tuple[str, ...], views: tuple[str, ...], logs: tuple[str, ...], yes: bool) -> None:
    """Take an entity out of the store.

    It is removed from the online store, from the states of windows, from the files that pushes and writes added, from
    what functions of views made, and from the logs of served features. It does not come back by a materialization, not
    even by one that is at work; rows with event times after now count again. Files that others made are not touched:
    those that still hold the entity are listed, saved datasets too, with how many rows, and the exit code is 1 then.
    So it is where a function makes the key's columns, as nobody knows then which rows of the source are the entity's.
    The audit log says who forgot, where and when; whom only as a digest of the key.
    """
    [key, *more] = parse_rows(keys)
    if more:
        raise RequestError("--key names one entity", cure="run it once for each")
    with session.open() as store:
        where = ", ".join(views) or f"all views with the key {', '.join(key)}"
        session.confirm(f"Forget {', '.join(keys)} in {where}", yes)
        found = store.forget(key, list(views) or None, logs=logs)
    _say(session, found)
    if any(each.left or each.unknown for each in found):
        click.get_current_context().exit(1)


def _say(session: Session, found: Sequence[Forgotten]) -> None:
    if session.json:
        print_json(
            [
                {
                    "view": f.view,
                    "online_keys": f.online,
                    "rows": f.rows,
                    "files": f.files,
                    "left": dict(f.left),
                    "unknown": f.unknown,
                }
                for f in found
            ]
        )
        return
    print_table(
        ["WHERE", "ONLINE KEYS", "ROWS", "FILES REWRITTEN"],
        [(f.view, f"{f.online:,}", f"{f.rows:,}", len(f.files)) for f in found],
        right=["ONLINE KEYS", "ROWS", "FILES REWRITTEN"],
    )
    for path, rows in sorted({item for each in found for item in each.left.items()}):
        click.echo(f"not touched: {path} still holds {rows:,} rows; it is not the store's own: remove them there")
    for source in sorted({each.unknown for each in found} - {""}):
        click.echo(f"not known: whether {source} holds it, as a view's function makes the key's columns; look there")


COMMANDS: Mapping[str, click.Command] = {"forget": forget}
