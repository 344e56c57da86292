"""Exits: how a command ends: its exit code, and what an error says on the way out.

Errors of Likewise are told in one line, without a traceback; so is what nobody expected, with the way to see more.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from likewise.core.errors import LikewiseError, RepoProblems

DEBUG_IT = "run it again with --debug to see where it happens, and report it"


class ExitCode(enum.IntEnum):
    """What the exit code of a command says."""

    OK = 0
    FAILED = 1
    DIFFERENT = 2
    UNCONFIRMED = 3
    USAGE = 64
    UNEXPECTED = 70
    TRY_AGAIN = 75
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.OK: "done; for plan: no differences",
    ExitCode.FAILED: "failed or refused: the message says what is wrong, where, and the cure",
    ExitCode.DIFFERENT: "plan, verify: there are differences",
    ExitCode.UNCONFIRMED: "not confirmed: it would delete, and nobody said yes; nothing was changed",
    ExitCode.USAGE: "the command line is wrong: an unknown command or option, a missing argument",
    ExitCode.UNEXPECTED: "an error nobody expected; --debug shows where",
    ExitCode.TRY_AGAIN: "another run was faster or is still at work: try again",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.UNREAD: "whoever read the output went away",
}
"""Each exit code in words, for help and the reference page. ``likewise run`` has the codes of the program it runs."""


class NotConfirmed(LikewiseError):
    """A command that deletes was not told to go on; nothing was changed."""


class Unread(Exception):
    """Whoever read the standard output went away."""


def code_of(error: BaseException) -> ExitCode:
    """Return the exit code for an error.

    Example:
        >>> code_of(NotConfirmed("it would delete")).value
        3
    """
    match error:
        case Unread():
            return ExitCode.UNREAD
        case click.Abort():
            return ExitCode.INTERRUPTED
        case NotConfirmed():
            return ExitCode.UNCONFIRMED
        case LikewiseError(transient=True):
            return ExitCode.TRY_AGAIN
        case LikewiseError():
            return ExitCode.FAILED
        case click.UsageError():
            return ExitCode.USAGE
        case click.ClickException() | OSError():
            return ExitCode.FAILED
    return ExitCode.UNEXPECTED


def tell(error: BaseException, debug: bool, as_json: bool = False) -> None:
    """Say on standard error what ended a command.

    Args:
        error: what ended it.
        debug: whether to show the traceback as well.
        as_json: whether to say it for programs: as one JSON object on one line, the last one.
    """
    if isinstance(error, Unread):
        return
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return
    if debug:
        click.echo("".join(traceback.format_exception(error)).rstrip(), err=True, color=False)
    elif code_of(error) is ExitCode.UNEXPECTED:
        logging.getLogger("likewise").debug("unexpected error", exc_info=error)
    if as_json:
        click.echo(json.dumps({"error": error_data(error)}, ensure_ascii=False), err=True, color=False)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {_words(error)}", err=True, color=colours())


def error_data(error: BaseException) -> dict[str, Any]:
    """Return an error as plain data: its type, what is wrong, and the cure; empty when none is known.

    Example:
        >>> error_data(NotConfirmed("it would delete", cure="give --yes"))
        {'type': 'NotConfirmed', 'message': 'it would delete', 'cure': 'give --yes'}
    """
    kind = type(error).__name__
    match error:
        case RepoProblems():
            problems = [asdict(problem) for problem in error.problems]
            head = error.message.partition("\n")[0]
            return {"type": kind, "message": head, "cure": error.cure, "problems": problems}
        case LikewiseError():
            return {"type": kind, "message": error.message, "cure": error.cure}
        case click.exceptions.NoArgsIsHelpError():
            return {"type": "UsageError", "message": "there is no command", "cure": _usage_cure(error)}
        case click.UsageError():
            return {"type": kind, "message": _usage_fault(error), "cure": _usage_cure(error)}
    message = f"{error}" if code_of(error) is ExitCode.UNEXPECTED else _words(error)
    return {"type": kind, "message": message, "cure": DEBUG_IT if code_of(error) is ExitCode.UNEXPECTED else ""}


def colours() -> bool | None:
    """Return whether output has colours: False if ``NO_COLOR`` asks for none, else None, which is on a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _words(error: BaseException) -> str:
    match error:
        case click.Abort():
            return "interrupted"
        case LikewiseError():
            return str(error)
        case click.UsageError():
            return _usage_words(error)
        case click.ClickException():
            return error.format_message()
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}"
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"{said}. Nobody expected this; {DEBUG_IT}"


def _usage_words(error: click.UsageError) -> str:
    what, cure = _usage_fault(error), _usage_cure(error)
    end = "" if what.endswith("?") else "."
    return f"{what}{end} {cure}" if cure else what


def _usage_fault(error: click.UsageError) -> str:
    what = error.format_message()
    return (what[:1].lower() + what[1:] if what[1:2].islower() else what).rstrip(".")


def _usage_cure(error: click.UsageError) -> str:
    return "" if error.ctx is None else f"See '{error.ctx.command_path} --help'"
