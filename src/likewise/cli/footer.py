"""Footer: what stands below the options of a help page: examples, exit codes. Written plain, or with colours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import click

Sections = Mapping[str, Sequence[str]]
"""Heading to the names of the commands below it."""
Footer = Sequence[tuple[str, Sequence[tuple[str, str]]]]
"""(heading, lines) of each part, a line being (term, words)."""
LONGEST_TERM = 60
"""How many characters a term may have before its words go on the next line."""


def write_footer(footer: Footer, formatter: click.HelpFormatter) -> None:
    """Write it plain, as click writes options."""
    for heading, lines in footer:
        with formatter.section(heading):
            formatter.write_dl(lines, col_max=LONGEST_TERM)


def styled_footer(footer: Footer, width: int = 100) -> Iterator[str]:
    """Return each part as text with colours.

    Example:
        >>> [text] = styled_footer([("Examples", [("likewise plan", "show what apply would do")])])
        >>> print(click.unstyle(text))
         Examples
           likewise plan  show what apply would do
    """
    for heading, lines in footer:
        column = max((len(term) for term, _ in lines if len(term) <= LONGEST_TERM), default=0)
        shown = [click.style(f" {heading}", bold=True)]
        for term, words in lines:
            gap = " " * (column - len(term)) if len(term) <= LONGEST_TERM else "\n" + " " * (column + 3)
            wrapped = textwrap.fill(words, max(30, width - column - 5), subsequent_indent=" " * (column + 5))
            shown.append(f"   {click.style(term, fg='cyan')}{gap}  {wrapped}")
        yield "\n".join(shown)
