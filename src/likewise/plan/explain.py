"""Explanation: a plan in words, without running it. What explains can only read."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from likewise.core.time import span_text
from likewise.core.windows import Window
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.plan.windows import WindowFeature, WindowJoin, WindowSet


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a plan would do, line by line."""

    title: str
    """What is explained."""
    lines: tuple[str, ...]
    """One statement a line; what belongs to the line above is indented by two spaces."""

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in self.lines)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def explain_training(plan: TrainingPlan, rows: int, hashes: Mapping[str, str]) -> Explanation:
    """Explain a training set.

    Args:
        plan: the plan.
        rows: how many entity rows there are.
        hashes: the hash of the definition of each view, by the name or version asked for.
    """
    lines: list[str] = []
    for join in plan.joins:
        lines.extend(_join_lines(join, plan, hashes))
    for computed in plan.windows:
        lines.extend(_window_lines(computed, plan, hashes))
    for step in plan.on_demand:
        given = ", ".join(name for _, name in step.inputs)
        lines.append(f"compute on-demand view {step.view!r} (definition {hashes.get(step.view, '')[:12]})")
        lines.append(f"  from {given}")
    lines.append("return the entity rows in their order, then " + ", ".join(name for _, name, _ in plan.features))
    title = f"training set of {rows:,} entity rows at {plan.time!r}, from catalog {plan.catalog} of {plan.project!r}"
    return Explanation(title, tuple(lines))


def _keys(join: AsOfJoin | WindowJoin) -> str:
    named = zip(join.spine_keys, join.scan.keys, strict=True)
    keys = [spine if spine == key.column else f"{spine} = {key.column}" for spine, key in named]
    return ", ".join(keys) or "nothing: one row for all"


def _created_by_then(join: AsOfJoin | WindowJoin, plan: TrainingPlan) -> str:
    return f" that was created ({join.scan.created}) by then" if plan.known_by and join.scan.created else ""


def _window_lines(join: WindowJoin, plan: TrainingPlan, hashes: Mapping[str, str]) -> list[str]:
    scan, windows = join.scan, join.windows
    view = join.reference or scan.view
    columns = ", ".join(dict.fromkeys([scan.time, *(column.column for column in scan.columns)]))
    known = _created_by_then(join, plan)
    return [
        f"aggregate view {view!r} (definition {hashes.get(view, '')[:12]}) on {_keys(join)}",
        f"  read {columns} of {scan.location.shown or scan.location.path}",
        *(f"  {_window_line(feature, windows, plan.time)}{known}" for feature in windows.features),
    ]


def _window_line(feature: WindowFeature, windows: WindowSet, time: str) -> str:
    read = windows.inputs[feature.input]
    condition = f" where {read.where}" if read.where else ""
    return f"{feature.name} = {feature.function} of {read.expression}{condition}, {window_text(feature.window, time)}"


def window_text(window: Window, time: str) -> str:
    """Return which events a window covers, in words.

    Args:
        window: the window.
        time: what the time that it is taken at is called.

    Example:
        >>> window_text(Window(width=3_600_000_000, slide=60_000_000, delay=1_000_000), "at")
        'events after at - 1 second - 1 hour, down to a multiple of 1 minute, up to at - 1 second'
        >>> window_text(Window(width=None), "at")
        'events up to at'
    """
    end = f"{time} - {_span(window.delay)}" if window.delay else time
    if window.width is None:
        return f"events up to {end}"
    aligned = f", down to a multiple of {_span(window.slide)}," if window.slide else ""
    return f"events after {end} - {_span(window.width)}{aligned} up to {end}"


def _span(micros: int) -> str:
    return span_text(timedelta(microseconds=micros))


def _join_lines(join: AsOfJoin, plan: TrainingPlan, hashes: Mapping[str, str]) -> list[str]:
    scan = join.scan
    ttl = None if join.ttl is None else timedelta(microseconds=join.ttl)
    view = join.reference or scan.view
    definition = hashes.get(view, "")[:12]
    columns = ", ".join(dict.fromkeys(column.column for column in scan.columns))
    tie = f"{scan.time}, {scan.created}, order in the files" if scan.created else f"{scan.time}, order in the files"
    known = _created_by_then(join, plan)
    return [
        f"join view {view!r} (definition {definition}) on {_keys(join)}",
        f"  read {columns} of {scan.location.shown or scan.location.path}",
        f"  the latest row, by ({tie}), at or before the entity row's {plan.time}{known}",
        f"  no older than its ttl: {span_text(ttl)}",
    ]
