"""Notices: warnings that are said once a process, at the line of the user's program that is being run."""

from __future__ import annotations

import warnings
from datetime import timedelta

from likewise.core.time import from_micros, span_text
from likewise.define.definition import caller

TOLERATED = 60 * 1_000_000
"""How many microseconds a row may be ahead of this machine's clock before anything is said: clocks differ."""
_said: set[tuple[str, str]] = set()


def say_once(table: str, about: str, message: str) -> None:
    """Warn, unless this process has said the same of the same table before.

    Args:
        table: the view's online table.
        about: what sort of warning it is.
        message: the warning.
    """
    if (table, about) in _said:
        return
    _said.add((table, about))
    place = caller()
    warnings.warn_explicit(f"{message} This is said once a process.", UserWarning, place.file, place.line)


def say_if_ahead(table: str, view: str, newest: int | None, now: int) -> None:
    """Warn of rows from the future, as a naive ``datetime.now()`` east of Greenwich makes them.

    Args:
        table: the view's online table.
        view: the view.
        newest: the latest event time, in microseconds since the epoch; None when there is none.
        now: the time, likewise.
    """
    if newest is None or newest - now <= TOLERATED:
        return
    ahead, until = span_text(timedelta(seconds=(newest - now) // 1_000_000)), from_micros(newest).isoformat()
    say_once(
        table,
        "rows from the future",
        f"view {view!r} has rows with event times up to {ahead} ahead of now (up to {until}): "
        "they are not served before their time. Naive times are UTC: write datetime.now(timezone.utc), not "
        "datetime.now(); or set the clock of whoever writes them.",
    )
