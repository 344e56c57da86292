"""Former: the states of a view's earlier definitions, which answer what did not change until the new ones are made.

A view whose windows change gets an empty table. While the states in it do not reach as far as a read asks, the tables
that the view had before answer for those of its features that were the same in them, and pushes go to all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from likewise.define.view import FeatureView
from likewise.plan.lookup import FormerRead, LookupPlan, ViewRead, table_name
from likewise.plan.scan import sorted_keys
from likewise.plan.windows import WindowFeature, WindowSet, windows_if_known


@dataclass(frozen=True, slots=True)
class Former:
    """The states of a view as it was defined before."""

    view: FeatureView
    """The view as it was."""
    windows: WindowSet
    """Its windows then."""
    table: str
    """Its table in the online store then."""


def formers(project: str, view: FeatureView, past: Iterable[FeatureView]) -> list[Former]:
    """Return the states of a view's past that can say something of it, newest first; none where it has no windows.

    That takes rows of the same keys and times, from a push source of the same name, made by the same functions; and a
    feature that is the same.

    Args:
        project: the project.
        view: the view.
        past: the view as it was, newest first.
    """
    windows = windows_if_known(view)
    if windows is None:
        return []
    found: dict[str, Former] = {}
    for then in past:
        before = windows_if_known(then)
        if before is not None and _rows(view, windows) == _rows(then, before) and answers(windows, before):
            table = table_name(project, then)
            found.setdefault(table, Former(then, before, table))
    found.pop(table_name(project, view), None)
    return list(found.values())


def with_formers(plan: LookupPlan, found: Mapping[str, Sequence[Former]]) -> LookupPlan:
    """Return an online read that asks earlier states as well.

    Args:
        plan: the read.
        found: view to its former states, newest first.
    """
    reads = tuple(replace(read, formers=_reads(read, found.get(read.view, ()))) for read in plan.reads)
    return replace(plan, reads=reads)


def _reads(read: ViewRead, found: Sequence[Former]) -> tuple[FormerRead, ...]:
    if read.windows is None:
        return ()
    made = []
    for former in found:
        same = answers(read.windows, former.windows)
        places = tuple((number, same[name]) for number, name in enumerate(read.wanted) if name in same)
        made.append(FormerRead(former.table, former.windows, places))
    return tuple(each for each in made if each.places)


def answers(windows: WindowSet, before: WindowSet) -> dict[str, int]:
    """Return which features are the same as one of other windows: their names, and the places of those.

    Args:
        windows: the windows.
        before: the other windows.
    """
    places = {_computed(before, feature): place for place, feature in enumerate(before.features)}
    same = {feature.name: places.get(_computed(windows, feature)) for feature in windows.features}
    return {name: place for name, place in same.items() if place is not None}


def _computed(windows: WindowSet, feature: WindowFeature) -> tuple[object, ...]:
    return windows.inputs[feature.input], feature.function, feature.window, feature.type


def _rows(view: FeatureView, windows: WindowSet) -> tuple[object, ...]:
    """Return what says which rows a view is made of, but for where the files of their history lie."""
    source, stream = view.row_source, view.stream_source
    keys = [(view.stored_name(entity.join_key), entity.type) for entity in sorted_keys(view)]
    times = None if source is None else (source.timestamp_field, source.created_timestamp_column)
    return keys, times, None if stream is None else stream.name, windows.origin, windows.has_source
