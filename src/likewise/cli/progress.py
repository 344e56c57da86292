"""Progress: how far a long command has come: bars on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from likewise.jobs.materialize import Event
    from likewise.jobs.verify import VerifyEvent

EVERY = 10.0
"""Seconds between two lines where there are no bars."""


@contextmanager
def materialize_progress(bars: bool | None = None) -> Iterator[Callable[[Event], None]]:
    """Show how far a materialization has come, on standard error.

    Args:
        bars: whether to draw bars; None: if standard error is a terminal.
    """
    if not (sys.stderr.isatty() if bars is None else bars):
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    keys = TextColumn("{task.fields[keys]:,} keys")
    columns = (TextColumn("{task.description}"), BarColumn(), keys, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def report(event: Event) -> None:
            if event.view not in tasks:
                for done in tasks.values():
                    progress.update(done, completed=progress.tasks[done].total)
                tasks[event.view] = progress.add_task(event.view, total=event.chunks, keys=0)
            progress.update(tasks[event.view], completed=event.chunk, keys=event.keys)

        yield report


@contextmanager
def verify_progress(shown: bool = True, bars: bool | None = None) -> Iterator[Callable[[VerifyEvent], None]]:
    """Show how far a verification has come, on standard error.

    Args:
        shown: whether to.
        bars: whether to draw a bar; None: if standard error is a terminal.
    """
    if not shown or not (sys.stderr.isatty() if bars is None else bars):
        yield _VerifyLines() if shown else lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda event: progress.update(task, completed=event.rows, total=event.of)


@contextmanager
def spinner(words: str, shown: bool | None = None) -> Iterator[None]:
    """Show on standard error that something is at work.

    Args:
        words: what is being done.
        shown: whether to; None: if standard error is a terminal.
    """
    if not (sys.stderr.isatty() if shown is None else shown):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(words):
        yield


@dataclass(slots=True)
class _VerifyLines:
    """Prints a line now and then."""

    last: float = field(default_factory=time.monotonic)

    def __call__(self, event: VerifyEvent) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            click.echo(f"{event.rows:,} of {event.of:,} rows compared", err=True)


@dataclass(slots=True)
class Lines:
    """Prints a line now and then.

    Example:
        >>> from likewise.jobs.materialize import Event
        >>> lines = Lines(echo=print, clock=iter([0.0, 5.0, 12.0]).__next__)
        >>> lines(Event("cards", 0, 3, 50_000))
        >>> lines(Event("cards", 1, 3, 2_000_000))
        cards: chunk 2 of 3, 2,000,000 keys so far
    """

    echo: Callable[[str], None] = field(default=lambda line: click.echo(line, err=True))
    """Prints a line."""
    clock: Callable[[], float] = time.monotonic
    """Tells the time in seconds."""
    last: float = field(init=False)
    """When the last line was printed."""

    def __post_init__(self) -> None:
        self.last = self.clock()

    def __call__(self, event: Event) -> None:
        """Hear how far it has come."""
        now = self.clock()
        if now - self.last >= EVERY:
            self.last = now
            self.echo(f"{event.view}: chunk {event.chunk + 1} of {event.chunks}, {event.keys:,} keys so far")
