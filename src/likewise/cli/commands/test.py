"""The command that runs a repo's example cases: test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.output import iso, print_json, some, table_lines
from likewise.cli.session import Session
from likewise.core.errors import RequestError
from likewise.core.time import from_micros

if TYPE_CHECKING:
    from likewise.cases.run import Check, Result


@verb(
    "test",
    ("likewise test", "all cases in the repo's folder cases"),
    ("likewise test cases/spending.yaml", "those of one file"),
    ("likewise test -k ttl", "those with ttl in their names"),
    ("likewise test --online-store lmdb", "with an online store on disk, in a temporary folder"),
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "--name", default="", metavar="TEXT", help="Run the cases whose names have this in them.")
@click.option(
    "--online-store",
    default="memory",
    show_default=True,
    metavar="TYPE",
    help="The type of the online store that is made for it: memory, sqlite or lmdb.",
)
@pass_session
@click.pass_context
def test(ctx: click.Context, session: Session, paths: tuple[Path, ...], name: str, online_store: str) -> None:
    """Run example cases on both paths.

    Training and serving have to give what a case expects; else the exit code is 1. A case says which rows there
    are, and what the values are at a time for a key. PATHS are files of cases, or folders of such; by default the
    repo's folder cases. The definitions are those of the repo's files, applied or not; they run over temporary sources,
    registry and online store, and nothing else is touched.
    """
    from likewise.cases.case_files import read_cases
    from likewise.cases.run import run_cases
    from likewise.config import load_config

    repo = session.repo()
    found = [case for case in read_cases(repo, paths) if name.lower() in case.name.lower()]
    if not found:
        raise RequestError(f"no case has {name!r} in its name", cure="give a part of a case's name, or leave -k out")
    report = (lambda result: None) if session.json else _print
    results = run_cases(repo, load_config(session.config_file()), found, online_store, report)
    if session.json:
        print_json([_data(result) for result in results])
    else:
        session.say(_summary(results))
    ctx.exit(0 if all(result.passed for result in results) else 1)


def _print(result: Result) -> None:
    """Print how one case went, as soon as it is known."""
    mark = click.style("ok  ", fg="green") if result.passed else click.style("FAIL", fg="red", bold=True)
    where = f"{result.case.origin.file}:{result.case.origin.line}"
    click.echo(f"{mark}  {result.case.name}" + ("" if result.passed else f"  ({where})"))
    if result.error:
        click.echo(f"      {result.error}")
    for group in _groups([check for check in result.checks if not check.passed]):
        click.echo(f"      {_asked(group[0])}  (line {group[0].line})")
        rows = [(check.feature, check.expected, *_outcomes(check)) for check in group]
        for line in table_lines(
            ["FEATURE", "EXPECTED", "TRAINING", "SERVING"], [list(map(_shown, row)) for row in rows]
        ):
            click.echo(f"        {line}")


def _groups(checks: Sequence[Check]) -> list[list[Check]]:
    """Return checks of one key and time together."""
    found: dict[tuple[int, int, str], list[Check]] = {}
    for check in checks:
        found.setdefault((check.line, check.at, _asked(check)), []).append(check)
    return list(found.values())


def _asked(check: Check) -> str:
    given = {**check.key, **check.request}
    key = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return " ".join(filter(None, [key, f"at {iso(from_micros(check.at))}"]))


def _outcomes(check: Check) -> tuple[Any, Any]:
    """Return what training and serving gave; what is wrong is marked."""
    training = _Outcome(check.training, "" if check.training_agrees else " ✗")
    if not check.status:
        return training, _Outcome("not online", "")
    status = "" if check.status in ("PRESENT", "NULL_VALUE") else f" {check.status}"
    return training, _Outcome(check.serving, f"{status}{'' if check.serving_agrees else ' ✗'}")


class _Outcome:
    """A value with what is said of it."""

    def __init__(self, value: Any, said: str) -> None:
        self.value = value
        self.said = said


def _shown(value: Any) -> str:
    if isinstance(value, _Outcome):
        return f"{_literal(value.value)}{value.said}"
    return value if isinstance(value, str) else _literal(value)


def _literal(value: Any) -> str:
    """Write a value with all its digits, so that no difference is rounded away."""
    from likewise.cases.case import Approx

    if value is None:
        return "null"
    return str(value) if isinstance(value, Approx) else repr(value)


def _summary(results: Sequence[Result]) -> str:
    values = sum(len(result.checks) for result in results)
    failed = [result for result in results if not result.passed]
    said = (
        f"{some(len(failed), 'case')} of {len(results):,} failed" if failed else f"{some(len(results), 'case')} passed"
    )
    return f"{said}; {some(values, 'value')} compared in training and serving."


def _data(result: Result) -> dict[str, Any]:
    return {
        "case": result.case.name,
        "file": result.case.origin.file,
        "line": result.case.origin.line,
        "passed": result.passed,
        "error": result.error,
        "checks": [
            {
                "feature": check.feature,
                "key": check.key,
                "request": check.request,
                "at": from_micros(check.at),
                "line": check.line,
                "passed": check.passed,
                "expected": _plain(check.expected),
                "training": check.training,
                "serving": check.serving,
                "status": check.status,
            }
            for check in result.checks
        ],
    }


def _plain(expected: Any) -> Any:
    from likewise.cases.case import Approx

    return {"approx": expected.value, "within": expected.within} if isinstance(expected, Approx) else expected


COMMANDS: Mapping[str, click.Command] = {"test": test}
