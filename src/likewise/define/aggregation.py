"""Aggregation: one windowed feature, declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from likewise.core.names import near_misses

FUNCTIONS = (
    "count",
    "sum",
    "mean",
    "avg",
    "min",
    "max",
    "var_samp",
    "var_pop",
    "stddev_samp",
    "stddev_pop",
    "std",
    "var",
    "first",
    "last",
    "first_n",
    "last_n",
    "last_distinct_n",
    "count_distinct",
    "nunique",
    "approx_count_distinct",
    "approx_percentile",
    "median",
    "top_k",
)
"""The functions an aggregation may name."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A function over the events of a window.

    Args:
        column: the column to aggregate; ``*`` counts rows.
        function: one of :data:`FUNCTIONS`.
        time_window: the window's length, more than zero; None is the whole life.
        slide_interval: what the window's old end is aligned down to, more than zero; None is exact.
        name: the feature's name; by default ``{function}_{column}``, with ``_{seconds}s`` when there is a window.
        delay: how far the window's end lies before the time asked for, at least zero.
        where: an SQL condition on the event's columns; empty takes every event.

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
        base = f"{self.function}_{self.column}"
        window: object = self.time_window
        return f"{base}_{int(window.total_seconds())}s" if isinstance(window, timedelta) else base

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with it, as (what, cure)."""
        label = f"aggregation {self.function!r} of {self.column!r}"
        if str(self.function).lower() not in FUNCTIONS:
            yield f"aggregation function {self.function!r} is not known", near_misses(str(self.function), FUNCTIONS)
        column: object = self.column
        if not isinstance(column, str) or not column:
            yield f"aggregation {self.function!r} has no column", "name the column to aggregate, or '*' to count rows"
        texts: Mapping[str, object] = {"name": self.name or "", "where": self.where}
        for argument, text in texts.items():
            if not isinstance(text, str):
                yield f"{label}: {argument}={text!r} is not text", f"give text as {argument}"
        spans: Mapping[str, tuple[object, bool]] = {
            "time_window": (self.time_window, False),
            "slide_interval": (self.slide_interval, False),
            "delay": (self.delay, True),
        }
        for argument, (span, zero_allowed) in spans.items():
            if span is None:
                continue
            if not isinstance(span, timedelta):
                yield f"{label}: {argument}={span!r} is no timedelta", f"write {argument}=timedelta(hours=1)"
            elif span < timedelta(0) or (span == timedelta(0) and not zero_allowed):
                yield f"{label}: {argument}={span} is not positive", f"give a {argument} of more than zero"
