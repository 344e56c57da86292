"""The command that reads the log of all changes: audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.output import moment, print_json, print_list
from likewise.cli.session import Session
from likewise.core.time import to_micros

if TYPE_CHECKING:
    from likewise.registry.audit import Entry


@verb(
    "audit",
    ("likewise audit", "the newest 20 entries"),
    ("likewise audit --what forget --since 2026-01-01", "who forgot what this year"),
    ("likewise audit --check", "whether an entry was changed or is missing; prints the newest hash"),
    ("likewise audit --check --hash 5f2e…", "also whether the entry with the hash you noted is still there"),
)
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", default=20, help="How many; 20 by default.")
@click.option("--what", multiple=True, metavar="KIND", help="Only these kinds, such as apply or forget.")
@click.option("--since", metavar="TIME", help="Only from this time on, ISO 8601.")
@click.option("--check", is_flag=True, help="Check the chain instead; exits with 1 when something is wrong.")
@click.option("--hash", "noted", default="", metavar="HASH", help="With --check: a hash that you noted before.")
@pass_session
def audit(session: Session, limit: int, what: tuple[str, ...], since: str | None, check: bool, noted: str) -> None:
    """Show who changed what, and when.

    Every apply, rollback, teardown, materialization, deletion and change of access keys is an entry of a log that is
    only ever added to. Each entry holds the hash of the one before, so --check finds what was changed or taken out.
    Whoever can write the registry can make the whole log anew: note the newest hash elsewhere from time to time, and
    give it with --hash. LIKEWISE_ACTOR says who works here; by default user and machine.
    """
    with session.open() as store:
        if check:
            _say_checked(session, store.check_audit(noted))
            return
        found = store.audit_log()
    start = None if since is None else to_micros(since, "--since")
    shown = [each for each in found if (not what or each.what in what) and (start is None or each.at >= start)]
    newest = shown[-limit:][::-1]
    if session.json:
        print_json([_data(each) for each in newest])
    elif not newest:
        session.say("No entry of that kind." if found else "Nothing was changed yet.")
    else:
        print_list(["NUMBER", "WHEN", "BY", "WHAT", "TO"], [_row(each) for each in newest])


def _say_checked(session: Session, found: Sequence[Entry]) -> None:
    newest = found[-1].hash if found else ""
    if session.json:
        print_json({"entries": len(found), "hash": newest})
    else:
        session.say(f"{len(found):,} entries, none changed and none missing. Newest hash: {newest or 'none'}")


def _data(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": moment(entry.at),
        "who": entry.who,
        "what": entry.what,
        "objects": list(entry.objects),
        "detail": entry.detail,
        "catalog_before": entry.before,
        "catalog": entry.catalog,
        "hash": entry.hash,
    }


def _row(entry: Entry) -> tuple[object, ...]:
    objects = ", ".join(entry.objects[:3]) + (f" and {len(entry.objects) - 3} more" if len(entry.objects) > 3 else "")
    told = "; ".join(filter(None, (objects, entry.detail)))
    return entry.number, moment(entry.at), entry.who, entry.what, told


COMMANDS: Mapping[str, click.Command] = {"audit": audit}
