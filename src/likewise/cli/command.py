"""Command: the classes that all commands are made of: options that go anywhere, help with examples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from likewise.cli.footer import Footer, Sections, write_footer
from likewise.cli.session import FORMS, Session, one_line_warnings

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every command."""


class Page(click.Command):
    """A command whose help page has a footer, and colours on a terminal."""

    def __init__(self, *args: Any, footer: Footer = (), **more: Any) -> None:
        super().__init__(*args, **{"context_settings": SETTINGS, **more})
        self.footer = footer

    @property
    def sections(self) -> Sections:
        """The headings to put the commands of a group under."""
        return {}

    def get_help(self, ctx: click.Context) -> str:
        """Return the help page."""
        if not sys.stdout.isatty():
            return super().get_help(ctx)
        from likewise.cli.help_page import coloured_page

        return coloured_page(self, ctx, self.sections, self.footer)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the footer."""
        write_footer(self.footer, formatter)


class Verb(Page):
    """A command that does one thing. It takes ``--output``, ``--debug`` and ``--chdir`` after its name as well."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params.extend(shared_options(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, with warnings of one line each."""
        with one_line_warnings():
            return super().invoke(ctx)


class Noun(Page, click.Group):
    """Commands about one kind of thing: ``likewise entities list``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which they were added."""
        return list(self.commands)


def verb(name: str, *examples: tuple[str, str], **more: Any) -> Callable[[Callable[..., None]], Verb]:
    """Turn a function into a command.

    Args:
        name: the command.
        examples: command lines to show in its help, each with what it does.
        more: further arguments of ``click.Command``.
    """
    footer = [("Examples", examples)] if examples else []
    return click.command(name, cls=Verb, footer=footer, **more)


pass_session = click.make_pass_decorator(Session)
"""Gives a command the session as its first argument."""


def shared_options(hidden: bool = False) -> list[click.Option]:
    """Return the options that every command takes, before or after its name.

    Args:
        hidden: whether the help page leaves out those that are explained once for all commands.
    """
    return [
        click.Option(
            ["-c", "--chdir"],
            type=click.Path(path_type=Path),
            metavar="DIR",
            expose_value=False,
            callback=_keep,
            hidden=hidden,
            help="Look for the repo from this folder, not from the working folder.",
        ),
        click.Option(
            ["--output"],
            type=click.Choice(FORMS),
            expose_value=False,
            callback=_keep,
            help="How to print results: a table for people (the default), or JSON for programs.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_keep,
            hidden=hidden,
            help="Show the traceback of an error.",
        ),
    ]


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    if not value:
        return
    session = ctx.ensure_object(Session)
    match option.name:
        case "chdir":
            session.folder = value
        case "output":
            session.form = value
        case "debug":
            session.debug = True
