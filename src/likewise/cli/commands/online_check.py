"""Commands that compare the online store with the sources, and mend it: verify-online, rebuild-online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.commands.materialize import NO_PROGRESS, progress
from likewise.cli.completion import STORED, definition_names
from likewise.cli.exits import ExitCode
from likewise.cli.output import moment, plain, print_json, print_table
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.jobs.verify_online import KeyDifference, OnlineCheck

VIEWS = click.argument("views", nargs=-1, metavar="[VIEW]...", shell_complete=definition_names(*STORED))
LIMIT = click.option(
    "-n", "--limit", type=click.IntRange(0), default=10, show_default=True, help="How many differences to tell of each."
)


@verb(
    "verify-online",
    ("likewise verify-online", "all views that are online and have a batch source"),
    ("likewise verify-online driver_stats -n 100", "one view, with its first hundred differences"),
)
@VIEWS
@LIMIT
@pass_session
def verify_online(session: Session, views: tuple[str, ...], limit: int) -> None:
    """Compare what is stored online with the sources.

    For each key, the record must be that of the source's latest row up to the watermark, and what is served of a window
    must be what a training set says at the watermark. What the store may rightly have instead is counted apart: newer
    rows, which were pushed or materialized since, and keys that were deleted. Exits with 1 when anything differs;
    likewise rebuild-online mends it.
    """
    from likewise.cli.progress import spinner

    with session.open() as store, spinner("comparing the online store with its sources"):
        found = store.verify_online(list(views) or None, limit)
    _say(session, found, "DIFFERENT")
    if any(check.differences for check in found):
        click.get_current_context().exit(ExitCode.FAILED)


@verb(
    "rebuild-online",
    ("likewise rebuild-online", "all views that are online and have a batch source"),
    ("likewise rebuild-online driver_stats", "one view"),
)
@VIEWS
@LIMIT
@NO_PROGRESS
@pass_session
def rebuild_online(session: Session, views: tuple[str, ...], limit: int, no_progress: bool) -> None:
    """Make the online store anew from the sources.

    All that counts now is stored again, and what is stored but damaged, different or in no source is replaced. Reads go
    on meanwhile; what was pushed and is newer stays, and so do deletions that the store still knows. Use it after a
    store was lost or restored, when doctor or verify-online says that something is wrong, or when rows were taken out
    of a source. Of a view with windows whose records are damaged, what was pushed to the online store only is lost.
    """
    with session.open() as store, progress(no_progress) as report:
        found = store.rebuild_online(list(views) or None, limit, report=report)
    _say(session, found, "MENDED")


def _say(session: Session, found: Sequence[OnlineCheck], what: str) -> None:
    if session.json:
        print_json([_data(check) for check in found])
        return
    if not found:
        session.say("There is nothing to compare: no view is online and has a batch source.")
        return
    print_table(
        ["VIEW", "UP TO", "KEYS", "EQUAL", what, "OTHERS"],
        [_row(check) for check in found],
        right=["KEYS", "EQUAL", what],
    )
    for check in found:
        for each in check.examples:
            click.echo(f"{check.view}: {each}")


def _row(check: OnlineCheck) -> tuple[object, ...]:
    counts = check.counts
    others = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()) if count and kind != "equal")
    until = "never materialized" if check.until is None else moment(check.until)
    return check.view, until, f"{counts.total():,}", f"{counts['equal']:,}", f"{check.differences:,}", others


def _data(check: OnlineCheck) -> dict[str, Any]:
    return {
        "view": check.view,
        "until": None if check.until is None else moment(check.until),
        "differences": check.differences,
        "counts": {kind: count for kind, count in sorted(check.counts.items()) if count},
        "examples": [_example(each) for each in check.examples],
    }


def _example(found: KeyDifference) -> dict[str, Any]:
    values = {name: {"offline": plain(row), "online": plain(held)} for name, (row, held) in found.features.items()}
    times = {"offline_event_time": found.offline, "online_event_time": found.online}
    shown = {name: moment(at) for name, at in times.items() if at is not None}
    return {"kind": found.kind, "key": plain(dict(found.key)), **shown, "features": values}


COMMANDS: Mapping[str, click.Command] = {"verify-online": verify_online, "rebuild-online": rebuild_online}
