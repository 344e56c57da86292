"""Explanation: a plan in words, without running it. What explains can only read."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from likewise.core.time import span_text
from likewise.plan.training import AsOfJoin, TrainingPlan


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
        hashes: the hash of each view's definition, by name.
    """
    lines: list[str] = []
    for join in plan.joins:
        lines.extend(_join_lines(join, plan, hashes))
    for step in plan.on_demand:
        given = ", ".join(name for _, name in step.inputs)
        lines.append(f"compute on-demand view {step.view!r} (definition {hashes.get(step.view, '')[:12]})")
        lines.append(f"  from {given}")
    lines.append("return the entity rows in their order, then " + ", ".join(name for _, name, _ in plan.features))
    title = f"training set of {rows:,} entity rows at {plan.time!r}, from catalog {plan.catalog} of {plan.project!r}"
    return Explanation(title, tuple(lines))


def _join_lines(join: AsOfJoin, plan: TrainingPlan, hashes: Mapping[str, str]) -> list[str]:
    scan = join.scan
    keys = ", ".join(
        spine if spine == key.column else f"{spine} = {key.column}"
        for spine, key in zip(join.spine_keys, scan.keys, strict=True)
    )
    ttl = None if join.ttl is None else timedelta(microseconds=join.ttl)
    definition = hashes.get(scan.view, "")[:12]
    columns = ", ".join(dict.fromkeys(column.column for column in scan.columns))
    tie = f"{scan.time}, {scan.created}, order in the files" if scan.created else f"{scan.time}, order in the files"
    known = f" that was created ({scan.created}) by then" if plan.known_by and scan.created else ""
    return [
        f"join view {scan.view!r} (definition {definition}) on {keys or 'nothing: one row for all'}",
        f"  read {columns} of {scan.location.shown or scan.location.path}",
        f"  the latest row, by ({tie}), at or before the entity row's {plan.time}{known}",
        f"  no older than its ttl: {span_text(ttl)}",
    ]
