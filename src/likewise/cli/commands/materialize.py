"""Commands that fill the online store from the sources: materialize, materialize-incremental."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.completion import STORED, definition_names
from likewise.cli.output import iso, moment, print_json, print_table
from likewise.cli.session import Session
from likewise.core.time import from_micros

if TYPE_CHECKING:
    from likewise.jobs.materialize import Done, Event

VIEWS = click.option(
    "-v",
    "--views",
    multiple=True,
    metavar="VIEW",
    shell_complete=definition_names(*STORED),
    help="This view only; may be given several times. All by default.",
)
ALLOW_FUTURE = click.option("--allow-future", is_flag=True, help="Let the end lie in the future.")
VERSION = click.option("--version", help="The applied version, such as v2; older ones are not kept online.")
NO_PROGRESS = click.option("--no-progress", is_flag=True, help="Do not show how far it has come.")


@verb(
    "materialize",
    ("likewise materialize 2024-01-01 2024-02-01", "the rows of January, up to midnight of February 1st"),
    ("likewise materialize 2024-01-01T00:00:00 2024-01-31T18:00:00 -v driver_stats", "one view, to the second"),
    ("likewise materialize --disable-event-timestamp", "everything up to now"),
)
@click.argument("start_ts", metavar="[START", required=False)
@click.argument("end_ts", metavar="END]", required=False)
@VIEWS
@click.option("--disable-event-timestamp", is_flag=True, help="Take everything up to now, whatever the dates.")
@ALLOW_FUTURE
@NO_PROGRESS
@VERSION
@pass_session
def materialize(
    session: Session,
    start_ts: str | None,
    end_ts: str | None,
    views: tuple[str, ...],
    disable_event_timestamp: bool,
    allow_future: bool,
    no_progress: bool,
    version: str | None,
) -> None:
    """Write a span of time to the online store.

    That is the latest row of each key between two times. START and END are event times, both included: 2024-01-31, or
    ISO 8601 such as 2024-01-31T10:00:00Z; without a zone they are UTC. A row never replaces a newer one, so times may
    overlap, and a run that was killed can be run again.
    """
    if not disable_event_timestamp and (start_ts is None or end_ts is None):
        what = "START and END are missing" if start_ts is None else "END is missing"
        raise click.UsageError(f"{what}; give both, or --disable-event-timestamp")
    with session.open() as store, progress(no_progress) as report:
        done = store.materialize(
            start_ts or "0001-01-01",
            end_ts or "0001-01-01",
            list(views) or None,
            disable_event_timestamp,
            version=version,
            allow_future=allow_future,
            report=report,
        )
    _print(session, done)


@verb(
    "materialize-incremental",
    ("likewise materialize-incremental", "what came since the last time, up to now"),
    ("likewise materialize-incremental 2024-01-31T18:00:00", "up to a time"),
    ("likewise materialize-incremental $(date -u +%Y-%m-%dT%H:%M:%S) -v driver_stats", "one view, up to now"),
)
@click.argument("end_ts", metavar="[END]", required=False)
@VIEWS
@ALLOW_FUTURE
@NO_PROGRESS
@VERSION
@pass_session
def materialize_incremental(
    session: Session,
    end_ts: str | None,
    views: tuple[str, ...],
    allow_future: bool,
    no_progress: bool,
    version: str | None,
) -> None:
    """Write what is new to the online store.

    That is what came since the last time, up to END; now by default. The first time that is all that still counts:
    the view's last ttl, or all history when it has none. Later it is what lies after the last end, less the view's
    lookback for rows that arrive late.
    """
    with session.open() as store, progress(no_progress) as report:
        end = store.clock.now() if end_ts is None else end_ts
        done = store.materialize_incremental(
            end, list(views) or None, version=version, allow_future=allow_future, report=report
        )
    _print(session, done)


def progress(hidden: bool) -> AbstractContextManager[Callable[[Event], None] | None]:
    """Return what shows how far a materialization has come, unless it is hidden."""
    from likewise.cli.progress import materialize_progress

    return nullcontext() if hidden else materialize_progress()


def _print(session: Session, done: Sequence[Done]) -> None:
    if session.json:
        print_json([_data(each) for each in done])
    elif not done:
        session.say("There is nothing to materialize: no view is online and has a batch source.")
    else:
        print_table(
            ["VIEW", "FROM", "TO", "KEYS", "WRITTEN", "SECONDS", "WHY"],
            [
                (d.view, moment(d.start), moment(d.end), f"{d.keys:,}", f"{d.written:,}", f"{d.seconds:.1f}", d.why)
                for d in done
            ],
            right=["KEYS", "WRITTEN", "SECONDS"],
        )


def _data(done: Done) -> dict[str, Any]:
    return {
        "view": done.view,
        "start": iso(from_micros(done.start)),
        "end": iso(from_micros(done.end)),
        "keys": done.keys,
        "written": done.written,
        "seconds": round(done.seconds, 3),
        "why": done.why,
    }


COMMANDS: Mapping[str, click.Command] = {
    "materialize": materialize,
    "materialize-incremental": materialize_incremental,
}
