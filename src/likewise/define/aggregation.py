"""Aggregation: one windowed feature, declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from likewise.core.aggregates import NAMES, parse_function
from likewise.core.errors import InvalidDefinition
from likewise.core.time import EARLIEST, LATEST, span_micros

FUNCTIONS = NAMES
"""The functions an aggregation may name."""
ROWS = "*"
"""The column that stands for the rows themselves, which can only be counted."""
_ALL_TIME = LATEST - EARLIEST


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A function over the events of a window.

    The window at a time t covers the events in (t - delay - time_window, t - delay] (S5).

    Args:
        column: the column to aggregate, or an SQL expression over the event's columns; ``*`` counts rows.
        function: one of :data:`FUNCTIONS`, in any case; some take a number: ``last_n(5)``, ``top_k(3)``,
            ``approx_percentile(0.99)``.
        time_window: the window's length, more than zero; None is the whole life.
        slide_interval: what the window's old end is aligned down to, counted from the epoch: more than zero, and no
            more than the window, which would otherwise mean up to many times its length; None is exact.
        name: the feature's name; by default ``{function}_{column}``, with ``_{seconds}s`` when there is a window.
        delay: how far the window's end lies before the time asked for, more than zero; None is not at all.
        where: an SQL condition on the event's columns; events for which it is not true count as null. Empty: all count.

    Example:
        >>> Aggregation("amount", "sum", timedelta(hours=1)).feature
        'sum_amount_3600s'
    """

    column: str = ""
    function: str = ""
    time_window: timedelta | None = None
    slide_interval: timedelta | None = None
    name: str | None = None
    delay: timedelta | None = None
    where: str = ""

    @property
    def feature(self) -> str:
        """The name of the feature it makes."""
        if self.name:
            return str(self.name)
        function = re.sub(r"\W+", "_", str(self.function)).strip("_")  # last_n(5) is last_n_5
        base = f"{function}_{'rows' if self.column == ROWS else self.column}"
        window: object = self.time_window
        return f"{base}_{int(window.total_seconds())}s" if isinstance(window, timedelta) else base

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with it, as (what, cure)."""
        yield from self._function_faults()
        texts: Mapping[str, object] = {"name": self.name or "", "where": self.where}
        for argument, text in texts.items():
            if not isinstance(text, str):
                yield f"{self._label}: {argument}={text!r} is not text", f"give text as {argument}"
        yield from self._span_faults()

    @property
    def _label(self) -> str:
        return f"aggregation {self.function!r} of {self.column!r}"

    def _function_faults(self) -> Iterator[tuple[str, str]]:
        function: object = self.function
        column: object = self.column
        called = ""
        try:
            called = parse_function(str(function)).name
        except InvalidDefinition as error:
            yield error.message, error.cure
        if not isinstance(column, str) or not column.strip():
            yield f"aggregation {function!r} has no column", "name the column to aggregate, or '*' to count rows"
        elif column == ROWS and called not in ("count", ""):
            yield f"{self._label}: '*' stands for rows, which can only be counted", "name the column to aggregate"

    def _span_faults(self) -> Iterator[tuple[str, str]]:
        spans: Mapping[str, object] = {
            "time_window": self.time_window,
            "slide_interval": self.slide_interval,
            "delay": self.delay,
        }
        for argument, span in spans.items():
            if span is None:
                continue
            if not isinstance(span, timedelta):
                yield f"{self._label}: {argument}={span!r} is no timedelta", f"write {argument}=timedelta(hours=1)"
            elif span <= timedelta(0):
                cure = "leave it out" if argument == "delay" else f"give a {argument} of more than zero"
                yield f"{self._label}: {argument}={span} is not positive", cure
            elif span_micros(span) > _ALL_TIME:
                yield f"{self._label}: {argument}={span} is longer than all time", "leave it out"
        window, slide = spans["time_window"], spans["slide_interval"]
        if isinstance(window, timedelta) and isinstance(slide, timedelta) and slide > window > timedelta(0):
            what = f"{self._label}: slide_interval={slide} is longer than time_window={window}"
            yield what, "give a slide_interval of at most the window"
