"""The command that looks for what is wrong: doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.exits import ExitCode
from likewise.cli.output import print_json
from likewise.cli.session import Session

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@verb(
    "doctor",
    ("likewise doctor", "look at everything"),
    ("likewise doctor --output json", "for a program"),
)
@pass_session
@click.pass_context
def doctor(ctx: click.Context, session: Session) -> None:
    """Look for what is wrong, and say the cure.

    Installation, settings, registry, definitions, sources, online store, disk and clock are looked at. Everything is
    only read. Exits with 1 when something failed; warnings are worth a look.
    """
    from likewise.cli.checkup import check_up

    found = []
    for finding in check_up(session):
        found.append(finding)
        if not session.json:
            mark = click.style(f"{finding.state:<7}", fg=COLOURS[finding.state])
            click.echo(f"{mark}  {finding.topic:<12}  {finding.what}")
            if finding.cure:
                click.echo(f"{'':<23}{finding.cure}")
    if session.json:
        print_json([asdict(finding) for finding in found])
    failed = sum(finding.state == "failed" for finding in found)
    ctx.exit(ExitCode.FAILED if failed else ExitCode.OK)


COMMANDS: Mapping[str, click.Command] = {"doctor": doctor}
