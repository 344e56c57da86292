"""The command that compares what was served with the offline source: verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.exits import ExitCode
from likewise.cli.output import cell, iso, print_json, print_table
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.jobs.verification import Difference, FeatureCheck, Verification


@verb(
    "verify",
    ("likewise verify", "what the services' logs have, against the source"),
    ("likewise verify data/served --since 2024-01-31", "a log's answers from a day on"),
    ("likewise verify --service fraud_v1 --limit 100000 --output json", "one service, for a program"),
)
@click.argument("logs", nargs=-1, type=click.Path(path_type=Path, file_okay=False), metavar="[LOG]...")
@click.option("--service", metavar="NAME", help="Only answers to this feature service.")
@click.option("--since", metavar="TIME", help="Only answers from this time on.")
@click.option("--until", metavar="TIME", help="Only answers up to this time.")
@click.option("--limit", type=click.IntRange(1), metavar="ROWS", help="At most this many rows.")
@click.option("--no-progress", is_flag=True, help="Do not show how far it has come.")
@pass_session
@click.pass_context
def verify(
    ctx: click.Context,
    session: Session,
    logs: tuple[Path, ...],
    service: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    no_progress: bool,
) -> None:
    """Compare what was served with the offline source.

    LOG is the folder of a log that 'likewise serve' wrote; by default those of all services with a logging_config.
    Each logged answer is computed again for its time, with the definitions of its catalog, and compared feature by
    feature. Stale values are right ones whose later row need not have been there yet. Exits with 2 if values differ.
    """
    from likewise.cli.progress import verify_progress

    folders = [folder.absolute() for folder in logs] or None
    with session.open() as store, verify_progress(not no_progress) as report:
        found = store.verify_served(folders, service=service, since=since, until=until, limit=limit, report=report)
    if session.json:
        print_json(_data(found))
    else:
        _print(session, found)
    ctx.exit(ExitCode.DIFFERENT if found.different else ExitCode.OK)


def _data(found: Verification) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "files": found.files,
        "compared": found.compared,
        "different": found.different,
        "features": [
            {
                "feature": check.feature,
                "compared": check.compared,
                "equal": check.equal,
                "stale": check.stale,
                "different": check.different,
                "not_compared": check.skipped,
                "notes": check.notes,
                "examples": [asdict(example) for example in check.examples],
            }
            for check in found.features.values()
        ],
    }


def _print(session: Session, found: Verification) -> None:
    if not found.rows:
        session.say("The logs have no such answers.")
        return
    print_table(
        ["FEATURE", "COMPARED", "EQUAL", "STALE", "DIFFERENT", "NOT COMPARED"],
        [_line(check) for check in found.features.values()],
        right=["COMPARED", "EQUAL", "STALE", "DIFFERENT", "NOT COMPARED"],
    )
    for line in dict.fromkeys(_said(found)):
        click.echo(line)
    for check in found.features.values():
        for example in check.examples:
            click.echo(f"\n{check.feature} differs{_shown(example)}")
    click.echo()
    session.say(repr(found).splitlines()[0])


def _line(check: FeatureCheck) -> tuple[str, ...]:
    counts = check.compared, check.equal, check.stale, check.different, sum(check.skipped.values())
    return check.feature, *(f"{count:,}" for count in counts)


def _said(found: Verification) -> list[str]:
    """Return why values were not compared, each reason once."""
    from likewise.jobs.verification import REASONS, Outcome

    reasons = {Outcome[name.upper()]: 0 for check in found.features.values() for name in check.skipped}
    for check in found.features.values():
        for name, count in check.skipped.items():
            reasons[Outcome[name.upper()]] += count
    lines = [f"not compared, {count:,} values: {REASONS[reason]}" for reason, count in reasons.items()]
    return [*lines, *(note for check in found.features.values() for note in check.notes)]


def _shown(example: Difference) -> str:
    key = ", ".join(f"{name}={value!r}" for name, value in example.key.items())
    sides = [
        ("served", example.served, example.served_status, example.served_time),
        ("source", example.recomputed, example.recomputed_status, example.recomputed_time),
    ]
    lines = [f" for {key} at {iso(example.at)} (request {example.request_id}): {example.why}"]
    for side, value, status, time in sides:
        event = "" if time is None else f", event time {iso(time)}"
        lines.append(f"  {side}  {cell(value)} ({status}{event})")
    return "\n".join(lines)


COMMANDS: Mapping[str, click.Command] = {"verify": verify}
