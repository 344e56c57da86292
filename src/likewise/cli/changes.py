"""Changes: what a plan would do, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import click

from likewise.registry.diff import Change, describe

COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def change_lines(changes: Iterable[Change]) -> list[str]:
    """Return changes field by field, breaking ones marked, with colours."""
    return [_coloured(line) for change in changes for line in describe(change)]


def _coloured(line: str) -> str:
    text, mark, why = line.partition("BREAKING")
    colour = COLOURS.get(line[:1]) if not line.startswith(" ") else None
    shown = click.style(text, fg=colour) if colour else text
    return shown + (click.style(mark + why, fg="red", bold=True) if mark else "")


def change_data(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Return changes as plain data."""
    return [{**asdict(change), "breaking": change.breaking} for change in changes]


def counted(changes: Sequence[Change]) -> str:
    """Count changes.

    Example:
        >>> counted([Change("entity", "a", "create"), Change("entity", "b", "delete", why="who reads it fails")])
        '1 to create, 1 to delete (1 breaking)'
    """
    words = {action: sum(change.action == action for change in changes) for action in ("create", "update", "delete")}
    breaking = sum(change.breaking for change in changes)
    shown = ", ".join(f"{count} to {action}" for action, count in words.items() if count)
    return shown + (f" ({breaking} breaking)" if breaking else "")
