"""HelpPage: help pages with colours and frames, by rich-click. Only imported when a page is shown on a terminal."""

from __future__ import annotations

from typing import Any

import click
from rich_click import RichCommand, RichCommandPanel, RichContext, RichGroup, RichPanel

from likewise.cli.footer import Footer, Sections, styled_footer

LOOKS = {"text_markup": None, "max_width": 110}
"""Settings of rich-click that differ from its own."""


def coloured_page(command: click.Command, ctx: click.Context, sections: Sections, footer: Footer) -> str:
    """Return the help page of a command, drawn by a twin of it that rich-click knows how to draw.

    Args:
        command: the command.
        ctx: the context it is asked in.
        sections: the headings to put a group's commands under; none for one list.
        footer: what follows the options.
    """
    with RichContext(_twin(command, ctx, sections), info_name=ctx.command_path, rich_help_config=LOOKS) as drawn:
        drawn_page = drawn.command.get_help(drawn)
    return "\n\n".join([drawn_page.rstrip(), *styled_footer(footer)])


def _twin(command: click.Command, ctx: click.Context, sections: Sections) -> RichCommand:
    settings: dict[str, Any] = {
        "name": command.name,
        "help": command.help,
        "params": [param for param in command.params if not (isinstance(param, click.Option) and param.hidden)],
        "context_settings": {"help_option_names": ["-h", "--help"]},
    }
    if not isinstance(command, click.Group):
        return RichCommand(**settings)
    names = command.list_commands(ctx)
    below = {name: found for name in names if (found := command.get_command(ctx, name)) is not None}
    panels: list[RichPanel[Any, Any]] = [
        RichCommandPanel(title, commands=list(listed)) for title, listed in sections.items()
    ]
    return RichGroup(**settings, commands=below, panels=panels)
