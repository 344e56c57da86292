"""The command that says what made a value: explain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.commands.online import parse_rows
from likewise.cli.completion import STORED, definition_names
from likewise.cli.output import print_json
from likewise.cli.session import Session
from likewise.core.errors import RequestError

_NEXT_KEY = re.compile(r",(?=\s*\w+=)")


@verb(
    "explain",
    ("likewise explain driver_stats:conv_rate --key driver_id=1001", "the value now, and the row that it is from"),
    ("likewise explain cards:spent_7d -k card_id=7 --at 2024-01-31T10:00:00", "a window: its bounds and its events"),
    ("likewise explain routes:trips --key driver_id=1001,city=Rome", "a key of two columns"),
    ("likewise explain cards:spent_7d -k card_id=7 --online", "what the online store has: events and tiles"),
)
@click.argument("feature", shell_complete=definition_names(*STORED))
@click.option(
    "-k",
    "--key",
    multiple=True,
    metavar="KEY=VALUE",
    help="The entity key, such as driver_id=1001; several columns with commas between, or several times.",
)
@click.option("--at", "--as-of", "at", metavar="TIME", help="The time that the value is for; now by default.")
@click.option("--online", is_flag=True, help="Explain the value of the online store, not that of a training set.")
@click.option("--known-by", is_flag=True, help="A row counts only once it was created, too.")
@pass_session
def explain(session: Session, feature: str, key: tuple[str, ...], at: str | None, online: bool, known_by: bool) -> None:
    """Say what made a value of a feature.

    That is the row that counted, or the window's bounds and the events in it. FEATURE is view:feature, of any view but
    an on-demand one. With it comes the hash of the definition and the number of the catalog, and the value as it is
    computed again from just what is listed. Text shows the first and the last of many events; JSON has all of them.
    """
    with session.open() as store:
        found = store.explain(feature, one_key(key), at, online=online, filter_by_created_timestamp=known_by)
    if session.json:
        print_json(found.to_dict())
    else:
        click.echo(repr(found))


def one_key(given: Sequence[str]) -> dict[str, Any]:
    """Return the entity key that ``--key`` options give.

    Args:
        given: ``key=value`` texts, with commas between several, or a JSON row.

    Raises:
        RequestError: they are no key, or more than one.

    Example:
        >>> one_key(["driver_id=1001,city=Rome, Italy"])
        {'driver_id': '1001', 'city': 'Rome, Italy'}
    """
    parts = [part for text in given for part in (_NEXT_KEY.split(text) if text.lstrip()[:1] != "{" else [text])]
    rows = parse_rows(parts)
    if len(rows) > 1:
        raise RequestError(f"{' '.join(given)!r} is {len(rows)} keys", cure="give each column of the key once")
    return rows[0] if rows else {}


COMMANDS: Mapping[str, click.Command] = {"explain": explain}
